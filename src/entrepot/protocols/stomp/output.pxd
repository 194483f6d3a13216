cimport cython
from libc.stdint cimport int64_t, uint64_t

from entrepot.model.octets cimport copy, get_u32_be, take
from entrepot.net.output_buffer cimport OutputBuffer

cdef Py_ssize_t _REFERENCED_MIN, _NUMBERS
cdef bytes _LENGTH, _OFFSET, _NOTHING
cdef int _V12, _HAS_TTL, _NO_DESTINATION

cdef bint _has_escape(bytes data, Py_ssize_t pos, Py_ssize_t size) except? True

@cython.final
cdef class Output(OutputBuffer):
    @cython.locals(size=Py_ssize_t, body=Py_ssize_t, referenced=bint, block=bytes, where=bytes, bits=int)
    cpdef Py_ssize_t deliver(
        self, bytes data, Py_ssize_t pos, Py_ssize_t count, bytes head, bytes middle, bytes more, bytes destination, uint64_t delivery, int version,
        int64_t offset) except -1
    cdef int _begin(self, bytes head, bytes middle, bytes more, uint64_t delivery) except -1
    cdef int _put(self, bytes data, Py_ssize_t pos, Py_ssize_t size) except -1
    @cython.locals(count=int, rest=uint64_t, at=Py_ssize_t)
    cdef int _digits(self, uint64_t number) except -1
