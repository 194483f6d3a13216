"""C types for kept_leases.py."""

import cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from entrepot.broker.subscription.leases cimport Subscription
from entrepot.broker.timed.lease_table cimport LeaseTable
from entrepot.store.interface cimport Log, Store

cdef uint64_t _BLOCK
cdef Py_ssize_t _RUN
cdef uint64_t _END


@cython.final
cdef class KeptLeases:
    cdef Store store
    cdef Log log
    cdef LeaseTable leases
    cdef bytes prefix
    cdef set blocks
    cdef uint64_t low_block

    @cython.locals(deltas=list)
    cpdef object stage(self)
    cpdef object passed(self, uint64_t floor, uint64_t cursor)
    @cython.locals(p=Py_ssize_t, low=uint64_t, end=uint64_t, deadline=uint64_t, received=uint64_t, lease_id=bytes, deliveries=uint32_t, offset=uint64_t)
    cpdef object load_block(self, Subscription sub, uint64_t base, bytes value, uint64_t now_ms)
