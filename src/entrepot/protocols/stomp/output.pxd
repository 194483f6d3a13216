cimport cython
from libc.stdint cimport int64_t, uint64_t

from entrepot.model.octets cimport copy, copy_ba, get_u32_be, take, take_ba

cdef Py_ssize_t _BUFFER_MIN, _PART, _REFERENCED_MIN, _QUIET_TAKES, _NUMBERS
cdef bytes _LENGTH, _OFFSET, _NOTHING
cdef int _V12, _HAS_TTL, _NO_DESTINATION

cdef bint _has_escape(bytes data, Py_ssize_t pos, Py_ssize_t size) except? True

@cython.final
cdef class Output:
    cdef bytearray _buffer
    cdef Py_ssize_t _capacity, _filled, _sealed, _quiet
    cdef list _parts

    @cython.locals(size=Py_ssize_t)
    cpdef int raw(self, bytes data) except -1
    @cython.locals(size=Py_ssize_t, body=Py_ssize_t, referenced=bint, block=bytes, where=bytes, bits=int)
    cpdef Py_ssize_t deliver(
        self, bytes data, Py_ssize_t pos, Py_ssize_t count, bytes head, bytes middle, bytes more, bytes destination, uint64_t delivery, int version,
        int64_t offset) except -1
    @cython.locals(data=bytes)
    cpdef bytes take_joined(self)
    @cython.locals(parts=list)
    cpdef list take(self)
    cdef int _begin(self, bytes head, bytes middle, bytes more, uint64_t delivery) except -1
    cdef int _put(self, bytes data, Py_ssize_t pos, Py_ssize_t size) except -1
    @cython.locals(count=int, rest=uint64_t, at=Py_ssize_t)
    cdef int _digits(self, uint64_t number) except -1
    @cython.locals(capacity=Py_ssize_t, buffer=bytearray)
    cdef int _room(self, Py_ssize_t need) except -1
    cdef int _seal(self) except -1
    cdef int _emptied(self, Py_ssize_t size) except -1
