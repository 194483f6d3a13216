"""C types for receive_buffer.py."""

cimport cython

from entrepot.model.octets cimport copy_ba, resize_ba

cdef Py_ssize_t _BUFFER_MIN, _BUFFER_MAX, _ROOM, _LARGE
cdef int _QUIET_READS


cdef class ReceiveBuffer:
    cdef public object share
    cdef object _view
    # public, for a codec that is interpreted
    cdef public bytearray _buffer
    cdef public Py_ssize_t _capacity, _start, _end, _total, _limit, _free, _gathered
    cdef public int _quiet
    cdef bint _filled
    cdef bint _lent
    cdef int _readers

    cpdef int of_stranger(self, Py_ssize_t limit) except -1
    cpdef int of_user(self, Py_ssize_t limit, object share) except -1
    cpdef int lend(self) except -1
    cpdef int give_back(self) except -1
    @cython.locals(left=Py_ssize_t, limit=Py_ssize_t)
    cpdef object writable(self)
    cpdef int received(self, Py_ssize_t count) except -1
    cpdef int shrink(self) except -1
    cpdef int drop(self) except -1
    @cython.locals(left=Py_ssize_t, was=Py_ssize_t, buffer=bytearray)
    cdef int _resize(self, Py_ssize_t capacity) except -1
    cdef bint _grow(self, Py_ssize_t capacity) except? True
    cdef int _hold(self) except -1
