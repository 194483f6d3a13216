"""C types for priority_queue.py."""

import cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from entrepot.broker.calls.port cimport Delivery
from entrepot.broker.queue.queue cimport Queue
from entrepot.broker.subscription.consumer cimport Consumer

cdef int _SHIFT
cdef uint64_t _OFFSETS, _SLICE_MAX, _BURY_MAX, _END
cdef int _SLICES_MAX


cdef class Level(Queue):
    cdef readonly PriorityQueue whole

    cpdef object dispatch(self)


cdef class PriorityQueue(Queue):
    cdef readonly object heads_of
    cdef readonly int top
    cdef readonly list levels
    cdef readonly list further
    cdef readonly dict by_number
    cdef readonly dict tails

    cpdef Queue level(self, int number)
    cpdef Queue part(self, uint64_t offset)
    @cython.locals(level=Level)
    cdef Level _enter(self, int number, object log)
    @cython.locals(level=Queue, count=uint64_t)
    cpdef uint64_t ready(self) except? 0xFFFFFFFFFFFFFFFF
    @cython.locals(level=Queue, count=uint64_t)
    cpdef uint64_t depth(self) except? 0xFFFFFFFFFFFFFFFF
    @cython.locals(level=Queue, count=uint64_t)
    cpdef bint has_staged(self) except? True
    @cython.locals(level=Queue)
    cdef Queue highest(self)
    @cython.locals(level=Queue, consumer=Consumer, limit=uint64_t, share=uint64_t, ready=uint64_t, slices=int)
    cpdef object dispatch(self)
    @cython.locals(level=Queue)
    cdef object _end_dispatch(self)
    @cython.locals(level=Level)
    cdef object _gather(self)
    @cython.locals(level=Queue, ready=int64_t, over=int64_t)
    cdef object _drop_over(self)
    @cython.locals(level=Queue)
    cpdef uint64_t expire_head(self) except? 0xFFFFFFFFFFFFFFFF
    @cython.locals(level=Queue)
    cpdef Delivery take_one(self, Consumer getter)
    @cython.locals(level=Queue, settled=uint32_t)
    cpdef object settle(self, Consumer consumer, uint64_t first, uint32_t count)
    @cython.locals(level=Queue)
    cpdef object release(self, Consumer consumer, uint64_t first, uint32_t count, bint count_delivery)
