cimport cython
from libc.stdint cimport uint64_t


@cython.final
cdef class Stream:
    cdef bytearray bits
    cdef readonly uint64_t capacity
    cdef readonly uint64_t distinct
    cdef readonly uint64_t duplicates
    cdef readonly uint64_t first
    cdef readonly uint64_t end

    @cython.locals(end=uint64_t, bits=bytearray, at=uint64_t, byte=Py_ssize_t, bit=cython.uint)
    cpdef int note(self, uint64_t first, uint64_t count) except -1
    @cython.locals(capacity=uint64_t)
    cdef int _reach(self, uint64_t end) except -1
    cpdef bint has(self, uint64_t sequence)
    cpdef uint64_t gaps(self)


@cython.final
cdef class Ledger:
    cdef readonly list streams
    cpdef Stream stream(self, Py_ssize_t publisher)
