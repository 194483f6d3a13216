"""C types for timed_queue.py."""

import cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from entrepot.broker.calls.lease_calls cimport EndLeases, Receive
from entrepot.broker.calls.port cimport Attachment
from entrepot.broker.timed.grants cimport Grants
from entrepot.broker.timed.lease_ends cimport LeaseEnds
from entrepot.broker.timed.timed_state cimport TimedState

cdef uint64_t _TIMED
cdef uint64_t _END
cdef int _LAPSE_MAX
cdef int _SERVE_MAX
cdef int64_t _LOAD_WAIT
cdef int _DONE
cdef int _FOREIGN
cdef object _WAITING
cdef object _SHORT
cdef object _GRANTED
cdef object _GIVEN_UP


@cython.final
cdef class TimedQueue(TimedState):
    # policies
    cdef readonly int policy_version
    cdef readonly int64_t visibility_ms
    cdef readonly int64_t wait_ms
    # what it does with its leases
    cdef readonly LeaseEnds ends
    cdef readonly Grants grants
    cdef public int64_t purged_ms
    cdef uint64_t short_until
    cdef public object move
    cdef public object moves
    cdef readonly object find

    @cython.locals(wait_ms=int64_t)
    cpdef object receive(self, Receive call)
    cdef bint is_loading(self) except? True
    cdef bint is_burying(self) except? True
    cdef object finish(self, Receive call)
    cpdef object wait_over(self, Receive call)
    cpdef object withdraw(self, Receive call)
    cpdef object end_leases(self, EndLeases call)
    @cython.locals(call=Receive, after=Receive)
    cpdef object withdraw_all(self, Attachment door)
    cpdef object advanced(self)
    cpdef object delay(self, int64_t due_ms, uint64_t first, uint64_t count)
    @cython.locals(first=uint64_t, end=uint64_t)
    cpdef object settled(self, list ranges)
    cpdef uint64_t next_of_groups(self) except? 0xFFFFFFFFFFFFFFFF
    cpdef uint64_t same_deliveries(self, uint64_t offset, uint64_t limit) except? 0xFFFFFFFFFFFFFFFF
    cpdef uint32_t deliveries_at(self, uint64_t offset) except? 0xFFFFFFFF
    cpdef object dispatch(self)
    @cython.locals(now=int64_t)
    cdef object end_due(self)
    @cython.locals(left=int, offset=uint64_t)
    cdef object expire(self, int64_t now)
    @cython.locals(left=int, call=Receive, state=object)
    cdef object serve(self)
    @cython.locals(call=Receive, after=Receive)
    cdef object finish_short(self)
