cimport cython
from libc.stdint cimport uint64_t

from benchmarks.system.kernel cimport bit_length


@cython.final
cdef class Histogram:
    cdef uint64_t[::1] buckets
    cdef readonly uint64_t count
    cdef readonly uint64_t max_ns

    @cython.locals(exponent=cython.int, index=Py_ssize_t)
    cpdef int add(self, uint64_t duration_ns, uint64_t count) except -1

    @cython.locals(index=Py_ssize_t)
    cpdef object percentile_ns(self, double part)
