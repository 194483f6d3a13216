cimport cython
from libc.stdint cimport int64_t, uint64_t


@cython.final
cdef class Tally:
    cdef public int64_t budget
    cdef public int64_t lag_max
    cdef public int64_t copies
    cdef public bint publishing
    cdef public int64_t published
    cdef public int64_t confirmed
    cdef public int64_t refused
    cdef public int64_t returned
    cdef public int64_t unexpected_confirms
    cdef public int64_t delivered
    cdef public int64_t redelivered
    cdef public int64_t damaged
    cdef public int64_t reordered
    cdef public int64_t wrong_tags
    cdef public int64_t blocked
    cdef public uint64_t last_confirm_ns
    cdef public uint64_t last_delivery_ns
    cdef public int64_t answered
    cdef public list failures

    @cython.locals(room=int64_t)
    cpdef int64_t may_publish(self, int64_t wanted) except? -1
