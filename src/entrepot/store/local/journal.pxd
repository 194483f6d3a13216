"""C types for journal.py."""

import cython
from libc.stdint cimport uint32_t, uint64_t

from entrepot.model.entry cimport Entry
from entrepot.model.octets cimport copy, get_u32_le, get_u64_le, put_u16_le, put_u32_le, put_u64_le, resize_ba, take_ba
from entrepot.store.entry_codec cimport encode_header


cpdef bytes encode_commit_header(uint64_t sequence, uint64_t synced, uint64_t salt, uint32_t length, uint32_t payload_crc, uint32_t chain, uint32_t operations)


@cython.final
cdef class CommitBuilder:
    cdef public list parts
    cdef bytearray head
    cdef readonly Py_ssize_t size
    cdef readonly uint32_t crc
    cdef readonly uint32_t operations
    cdef readonly Py_ssize_t entry_size

    cpdef int begin(self, uint32_t count) except -1
    @cython.locals(h=Py_ssize_t)
    cpdef int log_id(self, bytes log_id) except -1
    @cython.locals(data=bytes, header=bytes, size=Py_ssize_t, length=Py_ssize_t, n=Py_ssize_t, h=Py_ssize_t, position=Py_ssize_t, head=bytearray)
    cpdef Py_ssize_t append(self, bytes targets, Entry entry) except -1
    @cython.locals(n=Py_ssize_t, h=Py_ssize_t)
    cpdef int discard(self, uint32_t log, bytes ranges) except -1
    @cython.locals(h=Py_ssize_t)
    cpdef int mark(self, uint32_t log, uint64_t offset) except -1
    @cython.locals(n=Py_ssize_t, m=Py_ssize_t, h=Py_ssize_t)
    cpdef int fold(self, uint32_t shard, bytes key, bytes delta) except -1
    @cython.locals(h=Py_ssize_t)
    cpdef int create(self, uint32_t log, uint32_t shard) except -1
    @cython.locals(h=Py_ssize_t)
    cpdef int drop(self, uint32_t log) except -1
    @cython.locals(crc=uint32_t, part=bytes)
    cpdef int seal(self) except -1
    @cython.locals(header=bytes, padding=Py_ssize_t)
    cpdef uint32_t finish(self, uint64_t sequence, uint64_t synced, uint64_t salt, uint32_t chain) except? 0xFFFFFFFF
    @cython.locals(h=Py_ssize_t)
    cdef Py_ssize_t _operation(self, int code, Py_ssize_t size) except -1
    @cython.locals(h=Py_ssize_t)
    cdef Py_ssize_t _grow(self, Py_ssize_t size) except -1
    @cython.locals(n=Py_ssize_t)
    cdef int _flush(self) except -1
