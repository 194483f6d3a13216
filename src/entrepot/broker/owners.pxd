"""C types for owners.py."""

from libc.stdint cimport uint32_t, uint64_t

from entrepot.broker.calls.lease_calls cimport EndLeases, Receive, Send
from entrepot.broker.calls.port cimport Attachment, Publish
from entrepot.broker.subscription.consumer cimport Consumer


cdef class Lane:
    cdef public Owner owner


cdef class Owner:
    cpdef bint stage(self, Lane lane, Publish call) except? True
    cpdef object settle(self, Consumer consumer, uint64_t first, uint32_t count, int disposition)
    cpdef object credit(self, Consumer consumer)
    cpdef object lend(self, Consumer consumer, uint64_t count)
    cpdef bint holds(self, Lane lane) except? True
    cpdef bint send(self, Lane lane, Send call) except? True
    cpdef object receive(self, Lane lane, Receive call)
    cpdef object end_leases(self, Lane lane, EndLeases call)
    cpdef object withdraw_all(self, Lane lane, Attachment attachment)
