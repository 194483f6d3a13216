"""C types for writing.py."""

cimport cython
from libc.stdint cimport uint32_t, uint64_t

from entrepot.model.octets cimport copy, copy_ba, get_u64_le, take, take_ba

cdef uint64_t _ONES, _SPACES, _QUOTES, _BACKSLASHES, _HIGH_BITS
cdef bytes _HEX, _QUOT, _AMP, _LT, _GT, _CR


@cython.final
cdef class Writer:
    cdef public Py_ssize_t filled
    cdef bytearray _buffer
    cdef Py_ssize_t _capacity

    @cython.locals(size=Py_ssize_t)
    cpdef int raw(self, bytes source) except -1
    cpdef int part(self, bytes source, Py_ssize_t pos, Py_ssize_t size) except -1
    cpdef int hexadecimal(self, bytes source, Py_ssize_t pos, Py_ssize_t count) except -1
    @cython.locals(buffer=bytearray, at=Py_ssize_t, digits=bytes)
    cpdef int uuid(self, bytes source, Py_ssize_t pos) except -1
    @cython.locals(digits=Py_ssize_t, rest=uint64_t, at=Py_ssize_t)
    cpdef int decimal(self, uint64_t value, Py_ssize_t width) except -1
    @cython.locals(
        buffer=bytearray, at=Py_ssize_t, start=Py_ssize_t, end=Py_ssize_t, octet=uint32_t, singly_to=Py_ssize_t, word=uint64_t, quote=uint64_t,
        backslash=uint64_t)
    cpdef int string(self, bytes source, Py_ssize_t pos, Py_ssize_t size) except -1
    @cython.locals(buffer=bytearray, at=Py_ssize_t, start=Py_ssize_t, end=Py_ssize_t, octet=uint32_t, name=bytes)
    cpdef int xml(self, bytes source, Py_ssize_t pos, Py_ssize_t size) except -1
    @cython.locals(text=bytes)
    cpdef int base64(self, bytes source, Py_ssize_t pos, Py_ssize_t size) except -1
    cpdef bytes take(self)
    cpdef bytes take_turned(self, Py_ssize_t middle)
    cdef int _start_over(self) except -1
    @cython.locals(capacity=Py_ssize_t, buffer=bytearray)
    cdef int _room(self, Py_ssize_t need) except -1


@cython.locals(found=Py_ssize_t, index=Py_ssize_t, octet=uint32_t)
cpdef Py_ssize_t string_size(bytes source, Py_ssize_t pos, Py_ssize_t size) except -1
@cython.locals(found=Py_ssize_t, index=Py_ssize_t, octet=uint32_t)
cpdef Py_ssize_t xml_size(bytes source, Py_ssize_t pos, Py_ssize_t size) except -1
