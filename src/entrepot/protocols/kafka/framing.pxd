"""C types for framing.py."""

cimport cython
from libc.stdint cimport int64_t, uint32_t

from entrepot.model.octets cimport copy_ba, get_u16_be_ba, get_u32_be_ba, take_ba
from entrepot.protocols.kafka.primitives cimport Reader

cdef Py_ssize_t _BUFFER_MIN, _BUFFER_MAX, _ROOM, _RAW_MAX, _LARGE
cdef int _PRODUCE, _QUIET_READS


@cython.final
cdef class Framing:
    cdef public int64_t produce_size_max
    cdef public int64_t size_max
    cdef readonly int api_key
    cdef public bint raw
    cdef bytearray _buffer
    cdef object _view
    cdef Py_ssize_t _capacity, _start, _end, _total
    cdef int _quiet

    @cython.locals(left=Py_ssize_t, limit=Py_ssize_t)
    cpdef object writable(self)
    cpdef int received(self, Py_ssize_t count) except -1
    @cython.locals(left=Py_ssize_t, size=int64_t, limit=int64_t)
    cpdef bint next(self) except? True
    cpdef Reader reader(self)
    cpdef bytes token(self)
    cpdef int consume(self) except -1
    cpdef int release(self) except -1
    @cython.locals(left=Py_ssize_t, buffer=bytearray)
    cdef int _resize(self, Py_ssize_t capacity) except -1
