"""C types for timed_state.py."""

import cython
from libc.stdint cimport int64_t, uint64_t

from entrepot.broker.logs.hub cimport Hub
from entrepot.broker.queue.queue cimport Queue
from entrepot.broker.subscription.leases cimport Subscription
from entrepot.broker.timed.group_scan cimport GroupScan
from entrepot.broker.timed.group_window cimport GroupWindow
from entrepot.broker.timed.kept_leases cimport KeptLeases
from entrepot.broker.timed.lease_table cimport LeaseTable
from entrepot.broker.timed.waiting_line cimport WaitingLine
from entrepot.store.interface cimport Log, Store

cdef uint64_t _TIMED
cdef uint64_t _NEVER


cdef class TimedState:
    cdef readonly Queue queue
    cdef public object definition
    cdef readonly Hub hub
    cdef readonly Store store
    cdef readonly Log log
    cdef readonly Subscription sub
    cdef readonly bytes id
    cdef public bint ended
    # leases
    cdef public Py_ssize_t in_flight_max
    cdef readonly LeaseTable leases
    cdef readonly KeptLeases kept
    cdef readonly WaitingLine line
    cdef readonly bint ordered
    cdef public GroupScan scan
    cdef public object sending
    cdef readonly object delays
    # time
    cdef int64_t last_ms
    cdef int64_t last_wall_ms
    cdef readonly object time
    cdef object timer
    cdef uint64_t timer_due

    @cython.locals(now=int64_t)
    cpdef int64_t now_ms(self) except? -1
    cpdef object release(self, uint64_t offset, int64_t row)
    cpdef object returned(self, uint64_t first, uint64_t count)
    cpdef object taken(self, uint64_t offset)
    @cython.locals(due=uint64_t, delay_ms=int64_t)
    cpdef object arm(self)
    @cython.locals(due=uint64_t, other=uint64_t)
    cdef uint64_t next_due(self) except? 0xFFFFFFFFFFFFFFFF
