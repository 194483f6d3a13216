"""C types for timed_queue.py."""

import cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from entrepot.broker.cursor cimport Cursor
from entrepot.broker.entry_codec cimport EntryCodec
from entrepot.broker.hub cimport Hub
from entrepot.broker.lease_calls cimport EndLeases, Receive, Received
from entrepot.broker.port cimport Attachment
from entrepot.broker.queue cimport Queue
from entrepot.broker.subscription.leases cimport Subscription
from entrepot.broker.timed.kept_leases cimport KeptLeases
from entrepot.broker.timed.lease_table cimport LeaseTable
from entrepot.broker.timed.waiting_line cimport WaitingLine
from entrepot.broker.timed.waits cimport Waits
from entrepot.model.octets cimport put_u16_be, put_u32_be, take_ba
from entrepot.store.interface cimport Group, Log, Store

cdef uint64_t _TIMED
cdef uint64_t _END
cdef uint64_t _NEVER
cdef int _LAPSE_MAX
cdef int _SERVE_MAX
cdef int64_t _LOAD_WAIT
cdef int64_t _LEASE_MAX
cdef int _HERE
cdef int _DONE
cdef int _REFUSED
cdef int _ENDED
cdef int _NOT_LEASED
cdef int _SUPERSEDED
cdef int _FOREIGN
cdef int _TOO_LONG
cdef object _WAITING
cdef object _SHORT
cdef object _GRANTED
cdef object _GIVEN_UP


@cython.final
cdef class Granted:
    cdef readonly list calls
    cdef TimedQueue queue
    cdef Group group


@cython.final
cdef class TimedQueue:
    # identity
    cdef readonly Queue queue
    cdef public object definition
    cdef readonly Hub hub
    cdef readonly Store store
    cdef readonly Log log
    cdef readonly Subscription sub
    cdef readonly bytes id
    cdef public bint deleted
    # policies
    cdef readonly int policy_version
    cdef readonly int64_t visibility_ms
    cdef readonly int64_t wait_ms
    cdef public Py_ssize_t in_flight_max
    # leases
    cdef readonly LeaseTable leases
    cdef bytearray id_bytes
    cdef uint64_t counter
    cdef int64_t last_ms
    cdef object timer
    cdef uint64_t timer_due
    # who waits
    cdef readonly WaitingLine line
    cdef readonly KeptLeases kept
    cdef Granted granted
    cdef public object sending
    cdef public int64_t purged_ms

    cdef int64_t now_ms(self) except? -1
    @cython.locals(wait_ms=int64_t)
    cpdef object receive(self, Receive call)
    cdef object finish(self, Receive call)
    cpdef object wait_over(self, Receive call)
    cpdef object withdraw(self, Receive call)
    @cython.locals(queue=Queue, sub=Subscription, cursor=Cursor, now=int64_t, limit=uint64_t, got=uint64_t, taken=uint64_t, offset=uint64_t, lease_id=bytes, data=bytes)
    cdef bint grant(self, Receive call) except? True
    @cython.locals(cursor=Cursor, codec=EntryCodec, own=bint, position=Py_ssize_t, deadline=int64_t, leases=LeaseTable, received=list, offset=uint64_t, deliveries=uint32_t, row=int64_t, item=Received)
    cdef object give(self, Receive call, bytes data, uint64_t first, uint64_t count, uint32_t before, bytes lease_id, int64_t now)
    @cython.locals(group=Group, granted=Granted)
    cdef object granting(self, Receive call, bytes lease_id)
    @cython.locals(leases=LeaseTable, now=int64_t, item=Received, row=int64_t)
    cdef object give_back(self, Receive call)
    @cython.locals(octets=bytearray)
    cdef bytes next_lease_id(self, int64_t now)
    cpdef object end_leases(self, EndLeases call)
    @cython.locals(sub=Subscription, leases=LeaseTable, statuses=list, first=uint64_t, count=uint64_t, settled=uint64_t, index=Py_ssize_t, offset=uint64_t, row=int64_t, status=int)
    cdef object settle(self, EndLeases call)
    cdef int status_of(self, uint64_t offset) except -1
    @cython.locals(leases=LeaseTable, now=int64_t, statuses=list, index=Py_ssize_t, offset=uint64_t, visibility=int64_t, row=int64_t, status=int)
    cdef object change(self, EndLeases call, list times)
    cpdef object advanced(self)
    @cython.locals(first=uint64_t, end=uint64_t)
    cpdef object settled(self, list ranges)
    cpdef uint64_t same_deliveries(self, uint64_t offset, uint64_t limit) except? 0xFFFFFFFFFFFFFFFF
    cpdef uint32_t deliveries_at(self, uint64_t offset) except? 0xFFFFFFFF
    @cython.locals(now=int64_t)
    cpdef object dispatch(self)
    @cython.locals(left=int, offset=uint64_t)
    cdef object expire(self, int64_t now)
    @cython.locals(left=int, call=Receive, state=object)
    cdef object serve(self)
    @cython.locals(call=Receive, after=Receive)
    cdef object finish_short(self)
    @cython.locals(due=uint64_t, delay_ms=int64_t)
    cdef object arm(self)


cdef int64_t _begin_of(bytes lease_id) except? -1
