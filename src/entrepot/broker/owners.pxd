"""C types for owners.py."""

from libc.stdint cimport uint32_t, uint64_t

from entrepot.broker.calls.port cimport Publish
from entrepot.broker.subscription.consumer cimport Consumer


cdef class Lane:
    cdef public Owner owner


cdef class Owner:
    cpdef bint stage(self, Lane lane, Publish call) except? True
    cpdef object settle(self, Consumer consumer, uint64_t first, uint32_t count, int disposition)
    cpdef object credit(self, Consumer consumer)
