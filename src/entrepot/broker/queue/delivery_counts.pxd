"""C types for delivery_counts.py."""

import cython
from libc.stdint cimport uint64_t

from entrepot.broker.subscription.leases cimport Subscription
from entrepot.model.ranges cimport RangeSet
from entrepot.store.interface cimport Store

cdef uint64_t _TOLD_MAX
cdef uint64_t _END


@cython.final
cdef class DeliveryCounts:
    cdef readonly Subscription subscription
    cdef readonly Store store
    cdef readonly object state
    cdef readonly RangeSet kept
    cdef readonly RangeSet told

    cpdef uint64_t load(self) except? 0xFFFFFFFFFFFFFFFF
    cpdef uint64_t told_from(self, uint64_t offset) except? 0xFFFFFFFFFFFFFFFF
    @cython.locals(stop=uint64_t)
    cpdef object tell(self, uint64_t offset, uint64_t count)
    @cython.locals(first=uint64_t, end=uint64_t, stop=uint64_t, deliveries=uint64_t)
    cpdef object take_back(self)
    cpdef object taken(self, uint64_t first, uint64_t count)
    @cython.locals(first=uint64_t, end=uint64_t, low=uint64_t, high=uint64_t)
    cpdef object settled(self, list ranges)
