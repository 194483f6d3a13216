"""C types for recovery.py."""

import cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from entrepot.model.octets cimport get_u32_le, get_u64_le, take
from entrepot.store.entry_codec cimport entry_size, entry_span, appended_time
from entrepot.store.local.log cimport LocalLog

cdef uint32_t _MAGIC
cdef bytes _MAGIC_BYTES
cdef Py_ssize_t _HEADER
cdef int _VERSION
cdef int _APPEND
cdef int _DISCARD
cdef int _MARK
cdef int _FOLD
cdef int _CREATE
cdef int _DROP


@cython.locals(crc=uint32_t)
cpdef bint header_holds(bytes data, Py_ssize_t pos) except? True
@cython.locals(length=Py_ssize_t, crc=uint32_t)
cpdef bint commit_holds(bytes data, Py_ssize_t pos) except? True
@cython.locals(end=Py_ssize_t)
cpdef Py_ssize_t find_covering(bytes data, Py_ssize_t pos, uint64_t sequence) except -2


@cython.final
cdef class Scan:
    cdef readonly str name
    cdef readonly bytes data
    cdef readonly Py_ssize_t position
    cdef readonly uint64_t salt
    cdef readonly uint64_t sequence
    cdef readonly uint32_t chain
    cdef public bint chain_known
    cdef readonly uint64_t synced
    cdef readonly Py_ssize_t commit_position
    cdef readonly Py_ssize_t length

    @cython.locals(pos=Py_ssize_t, data=bytes)
    cpdef bint advance(self) except? True


@cython.final
cdef class Replay:
    cdef object store
    cdef uint64_t covered
    cdef uint64_t captured
    cdef bint strict
    cdef public dict logs
    cdef readonly Py_ssize_t entries
    cdef readonly int64_t time_ms

    @cython.locals(length=Py_ssize_t, start=Py_ssize_t, end=Py_ssize_t, new=bint)
    cpdef int commit(self, str name, bytes data, Py_ssize_t pos, uint64_t sequence, uint32_t life, Py_ssize_t shift) except -1
    @cython.locals(count=Py_ssize_t, p=Py_ssize_t, q=Py_ssize_t, ids=Py_ssize_t, i=Py_ssize_t, n=Py_ssize_t, table=list, code=int, size=Py_ssize_t, log=LocalLog, log_id=bytes)
    cdef int operations(self, bytes data, Py_ssize_t start, Py_ssize_t end, bint new, uint32_t life, Py_ssize_t shift) except -1
    @cython.locals(n=Py_ssize_t, at=Py_ssize_t, size=Py_ssize_t, span=uint32_t, time_ms=int64_t, q=Py_ssize_t, i=Py_ssize_t, index=Py_ssize_t, log=LocalLog, base=uint64_t)
    cdef int append(self, bytes data, Py_ssize_t p, Py_ssize_t end, list table, bint new, uint32_t life, Py_ssize_t shift) except -1
    @cython.locals(log=LocalLog)
    cdef LocalLog log_of(self, list table, Py_ssize_t index)
