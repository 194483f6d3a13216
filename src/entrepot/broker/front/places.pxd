"""C types for places.py."""

from entrepot.broker.owners cimport Lane


cdef class Place:
    cdef readonly Lane lane
    cdef readonly bint may_read
    cdef readonly bint may_write
    cdef readonly object version
