"""C types for owners.py."""

from entrepot.broker.calls.port cimport Publish


cdef class Lane:
    cdef public Owner owner


cdef class Owner:
    cpdef bint stage(self, Lane lane, Publish call) except? True
