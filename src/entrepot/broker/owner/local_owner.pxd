"""C types for local_owner.py."""

import cython

from libc.stdint cimport uint32_t, uint64_t

from entrepot.broker.calls.lease_calls cimport EndLeases, Receive, Send
from entrepot.broker.calls.port cimport Ask, Attachment, Publish, fail
from entrepot.broker.logs.entry_codec cimport EntryCodec
from entrepot.broker.logs.growing cimport Growing
from entrepot.broker.logs.hub cimport Hub
from entrepot.broker.owners cimport Lane, Owner
from entrepot.broker.queue.queue cimport Queue
from entrepot.broker.subscription.consumer cimport Consumer
from entrepot.broker.timed.sending cimport Sending
from entrepot.broker.timed.timed_queue cimport TimedQueue
from entrepot.model.entry cimport Entry, make_entry
from entrepot.store.interface cimport Store

cdef int _DONE, _ACCEPT, _RELEASE, _UNSENT
cdef int _HAS_EXPIRY
cdef int _TRANSIENT
cdef Py_ssize_t _GROWN_PREFIX


@cython.final
cdef class LocalLane(Lane):
    # fixed
    cdef readonly bytes address
    cdef readonly list targets
    cdef readonly list logs
    cdef readonly list queues
    cdef readonly bint simple
    cdef object levels
    # the codec whose prefix is cached, and the entry that may still grow
    cdef int codec
    cdef bytes prefix
    cdef Entry entry

    @cython.locals(queue=Queue)
    cdef object _aim(self, list targets)
    cpdef object let_go(self)


@cython.final
cdef class TimedLane(Lane):
    cdef readonly TimedQueue timed
    cdef readonly Sending sending


cdef class LocalOwner(Owner):
    cdef readonly Hub hub
    cdef readonly Store store
    cdef readonly Growing growing
    cdef readonly object admission
    cdef public object unused
    cdef public object answering
    cdef public object seals
    cdef public int sealed
    cdef readonly list followers

    cpdef Lane lane(self, bytes address, list log_ids)
    @cython.locals(local=LocalLane, entry=Entry, queue=Queue)
    cpdef bint stage(self, Lane lane, Publish call) except? True
    @cython.locals(queue=Queue, codec=EntryCodec, plain=bytes, prefix=bytes, data=bytes, staged=bint, simple=bint, count=uint32_t, known=list, targets=list)
    cpdef bint stage_runs(self, bytes address, list runs, Publish call) except? True
    @cython.locals(queue=Queue)
    cpdef object settle(self, Consumer consumer, uint64_t first, uint32_t count, int disposition)
    cpdef object credit(self, Consumer consumer)
    cpdef object target(self, bytes log_id)
    cpdef object lend(self, Consumer consumer, uint64_t count)
    cpdef bint holds(self, Lane lane) except? True
    @cython.locals(local=TimedLane)
    cpdef bint send(self, Lane lane, Send call) except? True
    @cython.locals(timed=TimedQueue)
    cpdef object receive(self, Lane lane, Receive call)
    @cython.locals(timed=TimedQueue)
    cpdef object end_leases(self, Lane lane, EndLeases call)
    cpdef object withdraw_all(self, Lane lane, Attachment attachment)


cpdef LocalLane local_lane(Lane lane)
cdef TimedLane timed_lane(Lane lane)
cdef object _why_not(TimedQueue timed)
