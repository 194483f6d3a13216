"""C types for queue.py."""

import cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from entrepot.broker.calls.port cimport Attachment, Delivery
from entrepot.broker.logs.cursor cimport Cursor
from entrepot.broker.logs.entry_codec cimport EntryCodec
from entrepot.broker.logs.hub cimport Hub
from entrepot.broker.logs.log_owner cimport LogOwner
from entrepot.broker.queue.delivery_counts cimport DeliveryCounts
from entrepot.broker.subscription.consumer cimport Consumer
from entrepot.broker.subscription.leases cimport Subscription
from entrepot.model.entry cimport Entry
from entrepot.store.interface cimport Log, Store

cdef uint64_t _SLICE_MAX
cdef uint64_t _SLICE_BYTES
cdef int _SLICES_MAX
cdef uint64_t _END
cdef int _CONTROL
cdef int _TRANSACTIONAL
cdef int _HERE
cdef int _GAP
cdef uint64_t _BURY_MAX


cdef class Queue(LogOwner):
    # identity
    cdef readonly object definition
    cdef readonly str name
    cdef readonly Hub hub
    cdef readonly Store store
    cdef readonly Log log
    cdef readonly Subscription subscription
    cdef public uint64_t origin
    # policies, from the definition
    cdef public int64_t message_ttl_ms
    cdef readonly int64_t length_max
    cdef readonly int64_t bytes_max
    cdef readonly bint rejects_when_full
    cdef public bint choosy
    cdef readonly int64_t delivery_limit
    cdef readonly bint tells_deliveries
    cdef readonly bint single_active
    cdef readonly object dead_letters
    cdef readonly bint rejects_to_dead_letters
    cdef readonly object transactions
    # consumers
    cdef public list consumers
    cdef Py_ssize_t turn
    cdef bint prioritised
    cdef bint deserted
    cdef public object on_unused
    # reading
    cdef Cursor cursor
    cdef bint marking
    cdef uint64_t mark_step
    cdef uint64_t marked_ahead
    cdef uint64_t fresh_from
    # ready body bytes, kept only with bytes_max
    cdef public int64_t ready_bytes
    cdef readonly object heads
    # deliveries against a limit
    cdef readonly DeliveryCounts counts
    cdef public bint overdelivered
    cdef public object timed
    cdef public bint ended
    cdef readonly object gone
    cdef list waiting
    cdef public bint expirable
    cdef public uint64_t burying

    cpdef uint64_t ready(self) except? 0xFFFFFFFFFFFFFFFF
    cpdef uint64_t depth(self) except? 0xFFFFFFFFFFFFFFFF
    @cython.locals(consumer=Consumer, index=Py_ssize_t, count=Py_ssize_t, best=Consumer)
    cdef Consumer pick(self)
    @cython.locals(end=uint64_t)
    cpdef uint64_t visible_end(self) except? 0xFFFFFFFFFFFFFFFF
    cdef bint is_passed_over(self, Entry entry) except? True
    @cython.locals(found=int)
    cdef bint locate(self, uint64_t offset) except? True
    @cython.locals(marked=uint64_t)
    cdef bint may_deliver(self, uint64_t offset) except? True
    @cython.locals(consumer=Consumer, limit=uint64_t, share=uint64_t, ready=uint64_t, slices=int)
    cpdef object dispatch(self)
    @cython.locals(offset=uint64_t, passed=uint64_t, below=uint64_t, taken=uint64_t, average=uint64_t, first=uint64_t, entry=Entry, cursor=Cursor, sub=Subscription, delivery=Delivery, data=bytes, position=Py_ssize_t, grouped=bint, told=uint64_t, counts=DeliveryCounts)
    cdef Delivery take(self, Consumer consumer, uint64_t limit)
    @cython.locals(codec=EntryCodec)
    cdef Py_ssize_t _position_in(self, bytes data, int tag, uint64_t offset) except -1
    @cython.locals(consumer=Consumer, room=uint64_t)
    cdef object _tell(self, uint64_t offset)
    cdef object _go_on_when_durable(self)
    cpdef Delivery take_one(self, Consumer getter)
    cpdef bint has_staged(self) except? True
    cpdef object settle(self, Consumer consumer, uint64_t first, uint32_t count)
    cpdef object release(self, Consumer consumer, uint64_t first, uint32_t count, bint count_delivery)
    @cython.locals(first=uint64_t, end=uint64_t)
    cpdef object discard_settled(self)
    cpdef uint64_t expire_head(self) except? 0xFFFFFFFFFFFFFFFF
    cdef int64_t body_bytes(self, uint64_t first, uint64_t count) except? -1
