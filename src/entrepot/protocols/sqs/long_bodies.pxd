"""C types for long_bodies.py."""

cimport cython
from libc.stdint cimport uint32_t

cdef Py_ssize_t _PIECE
cdef bytes _BASE64
cdef unsigned char _PAD

@cython.locals(end=Py_ssize_t)
cpdef Py_ssize_t text_end(const unsigned char[::1] view, Py_ssize_t start, Py_ssize_t stop) except -2
@cython.locals(room=bytearray, target=cython.uchar[::1], table="const unsigned char[::1]")
cpdef bytes base64_of(const unsigned char[::1] view, Py_ssize_t start, Py_ssize_t stop)
@cython.locals(octet=uint32_t, second=uint32_t, third=uint32_t, size=Py_ssize_t)
cdef Py_ssize_t _text(const unsigned char[::1] view, Py_ssize_t pos, Py_ssize_t stop) noexcept nogil
@cython.locals(at=Py_ssize_t, bits=uint32_t)
cdef void _encode(
    const unsigned char[::1] view, Py_ssize_t pos, Py_ssize_t stop, unsigned char[::1] target, const unsigned char[::1] table) noexcept nogil
