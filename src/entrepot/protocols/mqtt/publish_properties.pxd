cimport cython
from libc.stdint cimport uint64_t

from entrepot.model.octets cimport copy_ba, get_u16_be_ba, same_ba, take_ba

cdef Py_ssize_t _PROPERTIES_MAX, _SIZE_MAX
cdef int _TOO_LARGE, _TOO_MANY, _BAD_ALIAS
cdef int _FORMAT, _EXPIRY, _CONTENT_TYPE, _RESPONSE_TOPIC, _CORRELATION, _SUBSCRIPTION, _ALIAS, _USER

@cython.final
cdef class PublishProperties:
    cdef readonly int alias
    cdef readonly Py_ssize_t alias_at, expiry_at
    cdef Py_ssize_t _checked_pos, _checked_size

    cpdef int forget(self) except -1
    cpdef int clear(self) except -1
    @cython.locals(start=Py_ssize_t, stop=Py_ssize_t, seen=uint64_t, bit=uint64_t, count=Py_ssize_t, kind=int, at=Py_ssize_t)
    cpdef int check(self, bytearray buffer, Py_ssize_t pos, Py_ssize_t size, int alias_max) except -1
    @cython.locals(expiry=Py_ssize_t, alias=Py_ssize_t, done=Py_ssize_t)
    cpdef Py_ssize_t pack(self, bytearray pack, Py_ssize_t packed, bytearray buffer, Py_ssize_t at, Py_ssize_t listed) except -1

@cython.locals(size=Py_ssize_t)
cdef Py_ssize_t _string_end(bytearray buffer, Py_ssize_t pos, Py_ssize_t stop) except -1
@cython.locals(after=Py_ssize_t)
cdef Py_ssize_t _check_string(bytearray buffer, Py_ssize_t pos, Py_ssize_t stop) except -1
