"""C types for offset_table.py."""

import cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from entrepot.model.octets cimport get_u32_le_ba, get_u64_le_ba, put_u32_le, put_u64_le

cdef Py_ssize_t _PLACES_MIN
cdef uint64_t _SPREAD
cdef uint64_t _MASK


@cython.final
cdef class OffsetTable:
    cdef readonly Py_ssize_t count
    cdef int bits
    cdef Py_ssize_t places
    cdef bytearray keys
    cdef bytearray values

    cdef Py_ssize_t home(self, uint64_t offset) except -1
    @cython.locals(place=Py_ssize_t, key=uint64_t, found=uint64_t)
    cdef Py_ssize_t place_of(self, uint64_t offset) except -1
    @cython.locals(place=Py_ssize_t)
    cpdef int64_t get(self, uint64_t offset) except -2
    @cython.locals(place=Py_ssize_t)
    cpdef int put(self, uint64_t offset, uint32_t value) except -1
    @cython.locals(place=Py_ssize_t, value=uint32_t)
    cpdef int64_t remove(self, uint64_t offset) except -2
    @cython.locals(place=Py_ssize_t, home=Py_ssize_t, found=uint64_t)
    cdef int close_gap(self, Py_ssize_t gap) except -1
    @cython.locals(keys=bytearray, values=bytearray, old=Py_ssize_t, place=Py_ssize_t, found=uint64_t)
    cdef int resize(self, int bits) except -1
    cpdef int clear(self) except -1
