cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from entrepot.model.octets cimport copy, copy_ba, get_u32_le, get_u64_le, put_u16_le, put_u32_le, put_u64_le, take, take_ba

cdef uint32_t _NUMBERS, _DURABLE, _PRIORITY
cdef int _VERSION

@cython.locals(present=uint32_t, at=Py_ssize_t, other=int)
cpdef Py_ssize_t field_at(bytes data, Py_ssize_t pos, int field) except -2

@cython.locals(bit=uint32_t)
cdef Py_ssize_t _after(bytes data, Py_ssize_t at, int field) except -1

@cython.locals(at=Py_ssize_t)
cpdef bytes sized(bytes data, Py_ssize_t pos, int field)

cpdef Py_ssize_t skip(bytes data, Py_ssize_t pos, Py_ssize_t count) except -1

@cython.final
cdef class BatchBuilder:
    cdef bytearray _buffer
    cdef Py_ssize_t _capacity, _filled, _record
    cdef uint32_t _count, _present

    cpdef int begin(self) except -1
    cpdef int end(self) except -1
    cpdef int mark(self, int field) except -1
    cpdef int octet(self, int field, int value) except -1
    cpdef int number(self, int field, int64_t value) except -1
    cpdef int octets(self, int field, bytes source, Py_ssize_t pos, Py_ssize_t size) except -1
    cpdef Py_ssize_t open(self, int field) except -1
    cpdef int close(self, Py_ssize_t at) except -1
    cpdef int name(self, bytes source, Py_ssize_t pos, Py_ssize_t size) except -1
    cpdef int value(self, int kind, bytes source, Py_ssize_t pos, Py_ssize_t size) except -1
    cpdef int small(self, int kind, int width, uint64_t value) except -1
    cpdef Py_ssize_t open_value(self, int kind) except -1
    cpdef bytes build(self)
    cdef int _next(self, int field) except -1
    @cython.locals(capacity=Py_ssize_t, buffer=bytearray)
    cdef int _room(self, Py_ssize_t need) except -1
