"""C types for repeats.py."""

import cython
from libc.stdint cimport int64_t, uint64_t

from entrepot.broker.timed.offset_table cimport OffsetTable
from entrepot.model.octets cimport copy, get_u64_le, get_u64_le_ba, put_u64_le, take_ba
from entrepot.store.interface cimport Log, Store

cdef Py_ssize_t _ROW
cdef bytes _FORMAT
cdef uint64_t _INTERVAL
cdef int64_t _SLOT, _SLOT_ROWS, _MAX, _SPLIT_AT, _CHUNK, _WRAP
cdef int _FORGET_MAX, _TABLES


@cython.final
cdef class Repeats:
    cdef Store store
    cdef Log log
    cdef bytes prefix
    cdef list tables
    cdef list chunks
    cdef int64_t base
    cdef int64_t first
    cdef int64_t next
    cdef list slots
    cdef list slot_ends
    cdef int64_t slot_began
    cdef int64_t slot_rows
    cdef readonly uint64_t offset
    cdef readonly bytes message_id

    @cython.locals(key=uint64_t, found=int64_t, number=int64_t, chunk=bytearray, p=Py_ssize_t)
    cpdef bint find(self, bytes digest, uint64_t now_ms) except? True
    cpdef bint is_full(self) except? True
    @cython.locals(row=bytearray, packed=bytes, last=Py_ssize_t)
    cpdef object add(self, bytes digest, uint64_t offset, bytes message_id, int64_t now_ms)
    cdef OffsetTable table(self, uint64_t key)
    @cython.locals(place=int64_t, key=uint64_t)
    cdef object put(self, bytes packed, Py_ssize_t position)
    @cython.locals(number=int64_t, key=uint64_t)
    cdef object split(self)
    @cython.locals(chunk=bytearray, p=Py_ssize_t, key=uint64_t, left=int, table=OffsetTable)
    cpdef object expire(self, uint64_t now_ms)
    @cython.locals(value=bytes, position=Py_ssize_t)
    cpdef object load(self, uint64_t now_ms)
