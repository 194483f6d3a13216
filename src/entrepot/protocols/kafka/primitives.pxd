"""C types for primitives.py."""

cimport cython
from libc.stdint cimport int16_t, int32_t, int64_t, uint16_t, uint32_t, uint64_t

from entrepot.model.octets cimport copy, copy_ba, get_u16_be_ba, get_u32_be_ba, get_u64_be_ba, over_ba, put_u16_be, put_u32_be, put_u64_be, resize_ba, take_ba

cdef Py_ssize_t _ELEMENTS_MAX, _REFERENCED_MIN, _BUFFER, _SEALED_MIN


@cython.final
cdef class Reader:
    cdef readonly bytearray data
    cdef public Py_ssize_t pos
    cdef readonly Py_ssize_t end
    cdef public Py_ssize_t elements_left

    cpdef int need(self, int64_t size) except -1
    @cython.locals(value=int)
    cpdef int i8(self) except? -1
    @cython.locals(value=int)
    cpdef int i16(self) except? -1
    cpdef int u16(self) except? -1
    @cython.locals(value=int64_t)
    cpdef int64_t i32(self) except? -1
    @cython.locals(raw=uint64_t, low=int64_t)
    cpdef int64_t i64(self) except? -1
    @cython.locals(value=uint64_t, shift=int, octet=uint64_t)
    cpdef int64_t uvarint(self) except? -1
    @cython.locals(value=bytes)
    cpdef bytes octets(self, int64_t size)
    cpdef bytes copy_over(self, bytes target, Py_ssize_t at, Py_ssize_t size)
    @cython.locals(size=int64_t)
    cpdef int64_t size_or_null(self, bint flexible, bint is_string) except? -1
    @cython.locals(size=int64_t)
    cpdef maybe_string(self, bint flexible)
    cpdef string(self, bint flexible)
    @cython.locals(size=int64_t)
    cpdef bytes maybe_octets(self, bint flexible)
    @cython.locals(count=int64_t)
    cpdef int64_t count_or_null(self, bint flexible, Py_ssize_t element_min_size) except? -1
    @cython.locals(count=int64_t)
    cpdef int64_t count(self, bint flexible, Py_ssize_t element_min_size) except? -1
    @cython.locals(count=int64_t)
    cpdef int64_t tags(self) except? -1
    cpdef int detach(self) except -1
    @cython.locals(left=int64_t, size=int64_t)
    cpdef int skip_tags(self) except -1
    cpdef int finish(self) except -1


@cython.final
cdef class Writer:
    cdef bytearray _buffer
    cdef Py_ssize_t _capacity, _filled, _sealed
    cdef list _parts

    @cython.locals(capacity=Py_ssize_t, buffer=bytearray)
    cpdef int room(self, Py_ssize_t size) except -1
    cpdef int i8(self, int value) except -1
    cpdef int i16(self, int value) except -1
    cpdef int i32(self, int64_t value) except -1
    cpdef int i64(self, int64_t value) except -1
    @cython.locals(filled=Py_ssize_t)
    cpdef int uvarint(self, uint64_t value) except -1
    @cython.locals(size=Py_ssize_t)
    cpdef int octets(self, bytes value) except -1
    @cython.locals(raw=bytes, size=Py_ssize_t)
    cpdef int string(self, object value, bint flexible) except -1
    cpdef int sized_octets(self, bytes value, bint flexible) except -1
    cpdef int count(self, Py_ssize_t count, bint flexible) except -1
    cpdef int seal_full(self) except -1
    @cython.locals(first=bytearray)
    cpdef list finish(self)
    @cython.locals(buffer=bytearray)
    cdef int _seal(self) except -1
