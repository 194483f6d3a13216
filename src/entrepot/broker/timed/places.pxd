"""C types for places.py."""

from entrepot.broker.timed.sending cimport Sending
from entrepot.broker.timed.timed_queue cimport TimedQueue


cdef class Place:
    cdef readonly TimedQueue timed
    cdef readonly Sending sending
    cdef readonly bint may_read
    cdef readonly bint may_write
    cdef readonly object version
