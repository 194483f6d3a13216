"""C types for shard_time.py."""

import cython
from libc.stdint cimport int64_t

cdef double _SLEW


@cython.final
cdef class ShardTime:
    cdef object _clock
    cdef double _at_s
    cdef double _ms
    cdef int64_t _tick_ms
    cdef int64_t _told_ms

    cpdef object not_before(self, int64_t time_ms)
    @cython.locals(at_s=double, passed_ms=double, most=double, off=double)
    cpdef int64_t now_ms(self) except? -1
    cpdef int64_t at(self, int64_t tick_ms) except? -1
