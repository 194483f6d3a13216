"""C types for index.py."""

import cython
from libc.stdint cimport uint32_t, uint64_t

from entrepot.model.entry cimport StoredEntry, stored_entry
from entrepot.model.octets cimport get_u32_le, get_u32_le_ba, get_u64_le, get_u64_le_ba, put_u32_le, put_u64_le, resize_ba, take_ba
from entrepot.store.entry_codec cimport decode_apart, decode_entry

cdef Py_ssize_t _ROW
cdef Py_ssize_t _GAP
cdef Py_ssize_t _READS
cdef Py_ssize_t _APART


@cython.final
cdef class Rows:
    cdef bytearray data
    cdef readonly Py_ssize_t count

    @cython.locals(p=Py_ssize_t)
    cpdef int append(self, uint64_t base, uint32_t life, uint32_t position, uint32_t size, uint32_t span) except -1
    cpdef uint64_t base(self, Py_ssize_t row) except? 0xFFFFFFFFFFFFFFFF
    cpdef uint32_t life(self, Py_ssize_t row) except? 0xFFFFFFFF
    cpdef uint32_t position(self, Py_ssize_t row) except? 0xFFFFFFFF
    cpdef uint32_t size(self, Py_ssize_t row) except? 0xFFFFFFFF
    cpdef uint32_t span(self, Py_ssize_t row) except? 0xFFFFFFFF
    @cython.locals(low=Py_ssize_t, high=Py_ssize_t, middle=Py_ssize_t)
    cpdef Py_ssize_t find(self, uint64_t offset) except -1
    cpdef int drop_front(self, Py_ssize_t rows) except -1
    cpdef bytes packed(self, Py_ssize_t first, Py_ssize_t end)
    @cython.locals(
        life=uint32_t, reads=list, packed=list, first=Py_ssize_t, last=Py_ssize_t, start=Py_ssize_t, stop=Py_ssize_t, read=Py_ssize_t, more=bint)
    cpdef tuple stretches(self, Py_ssize_t row, uint64_t durable_offset, Py_ssize_t size_max, object file, Py_ssize_t head_size)
    @cython.locals(position=Py_ssize_t)
    cdef bint _lies_apart(self, Py_ssize_t first, Py_ssize_t row, Py_ssize_t start, Py_ssize_t stop) except? True
    @cython.locals(low=Py_ssize_t, high=Py_ssize_t, middle=Py_ssize_t)
    cpdef Py_ssize_t through(self, uint32_t life) except -1


cpdef StoredEntry decode_row(bytes head, bytes data, bytes row)
@cython.locals(found=list, p=Py_ssize_t, pos=Py_ssize_t)
cpdef list decode_rows(bytes data, Py_ssize_t start, bytes rows)
