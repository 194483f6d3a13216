"""C types for output_buffer.py."""

cimport cython

from entrepot.model.octets cimport copy, copy_ba, take_ba

cdef Py_ssize_t _BUFFER_MIN, _PART
cdef int _QUIET_TAKES


cdef class OutputBuffer:
    # public, and its methods not C's alone, for a protocol whose frames are written by interpreted code
    cdef public bytearray _buffer
    cdef public Py_ssize_t _capacity, _filled, _sealed
    cdef public list _parts
    cdef int _quiet

    @cython.locals(size=Py_ssize_t)
    cpdef int raw(self, bytes data) except -1
    @cython.locals(data=bytes)
    cpdef bytes take_joined(self)
    @cython.locals(parts=list)
    cpdef list take(self)
    cpdef int _refer(self, bytes data, Py_ssize_t pos, Py_ssize_t size) except -1
    @cython.locals(capacity=Py_ssize_t, buffer=bytearray)
    cpdef int _room(self, Py_ssize_t need) except -1
    cpdef int _seal(self) except -1
    cdef int _emptied(self, Py_ssize_t size) except -1
