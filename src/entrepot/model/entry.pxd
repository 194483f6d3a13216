"""C types for entry.py."""

import cython
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

cdef Py_ssize_t _OVERHEAD
cdef list _NO_PARTS


@cython.final
cdef class Entry:
    # what is stored
    cdef readonly int codec
    cdef readonly int codec_version
    cdef public uint16_t flags
    cdef readonly uint32_t count
    cdef readonly uint32_t span
    cdef public uint32_t epoch
    cdef public int64_t append_time_ms
    cdef public int64_t max_time_ms
    cdef public int64_t producer_id
    cdef public int producer_epoch
    cdef public int64_t first_sequence
    cdef public int64_t transaction_id
    cdef public bytes data
    # while it is open, and while it is in memory
    cdef list parts
    cdef readonly Py_ssize_t size
    cdef readonly bint sealed
    cdef public Py_ssize_t targets_alive

    cpdef bint extend(self, bytes part, uint32_t count, Py_ssize_t size_max, uint32_t count_max) except? True
    cpdef int seal(self) except -1


@cython.final
cdef class StoredEntry:
    cdef readonly uint64_t base
    cdef readonly Entry entry


@cython.locals(entry=Entry)
cpdef Entry make_entry(int codec, int codec_version, uint16_t flags, bytes prefix, bytes part, uint32_t count)
@cython.locals(entry=Entry)
cpdef Entry restore_entry(int codec, int codec_version, uint16_t flags, uint32_t count, uint32_t span, bytes data)
@cython.locals(stored=StoredEntry)
cpdef StoredEntry stored_entry(uint64_t base, Entry entry)
@cython.locals(size=Py_ssize_t, stored=StoredEntry)
cpdef Py_ssize_t bytes_of(list entries) except -1
