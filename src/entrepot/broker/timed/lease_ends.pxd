"""C types for lease_ends.py."""

import cython
from libc.stdint cimport int64_t, uint64_t

from entrepot.broker.calls.lease_calls cimport EndLeases
from entrepot.broker.subscription.leases cimport Subscription
from entrepot.broker.timed.lease_table cimport LeaseTable
from entrepot.broker.timed.timed_state cimport TimedState

cdef uint64_t _TIMED
cdef int64_t _LEASE_MAX
cdef int _ENDED
cdef int _NOT_LEASED
cdef int _SUPERSEDED
cdef int _FOREIGN
cdef int _TOO_LONG


@cython.final
cdef class LeaseEnds:
    cdef TimedState timed
    cdef Subscription sub
    cdef LeaseTable leases

    @cython.locals(sub=Subscription, leases=LeaseTable, statuses=list, first=uint64_t, count=uint64_t, settled=uint64_t, index=Py_ssize_t, offset=uint64_t, row=int64_t, status=int)
    cpdef object settle(self, EndLeases call)
    cdef int status_of(self, uint64_t offset) except -1
    @cython.locals(leases=LeaseTable, now=int64_t, statuses=list, index=Py_ssize_t, offset=uint64_t, visibility=int64_t, row=int64_t, status=int)
    cpdef object change(self, EndLeases call, list times)


cdef int64_t _begin_of(bytes lease_id) except? -1
