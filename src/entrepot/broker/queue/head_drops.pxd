"""C types for head_drops.py."""

import cython
from libc.stdint cimport int64_t, uint64_t

from entrepot.broker.logs.cursor cimport Cursor
from entrepot.broker.logs.entry_codec cimport EntryCodec
from entrepot.broker.queue.queue cimport Queue
from entrepot.broker.subscription.leases cimport Subscription
from entrepot.model.entry cimport Entry


@cython.final
cdef class HeadDrops:
    cdef Queue _queue
    cdef object _timer
    cdef int64_t _due_ms
    cdef object _time

    @cython.locals(queue=Queue, offset=uint64_t, count=uint64_t, entry=Entry, cursor=Cursor, age=int64_t, codec=EntryCodec)
    cpdef uint64_t expire(self) except? 0xFFFFFFFFFFFFFFFF
    @cython.locals(queue=Queue, sub=Subscription, over=int64_t)
    cpdef object drop_overflow(self)
    @cython.locals(queue=Queue)
    cpdef uint64_t drop_first(self, uint64_t count) except? 0xFFFFFFFFFFFFFFFF
    @cython.locals(queue=Queue, offset=uint64_t, entry=Entry, cursor=Cursor, ttl=int64_t, own=int64_t, due_ms=int64_t)
    cpdef object set_timer(self)
    @cython.locals(cursor=Cursor, sent=int64_t)
    cdef int64_t _sent_ms(self, uint64_t offset) except? -1
    @cython.locals(queue=Queue, taken=uint64_t, first=uint64_t)
    cdef uint64_t _bury(self, uint64_t count, str reason) except? 0xFFFFFFFFFFFFFFFF
