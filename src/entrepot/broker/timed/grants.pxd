"""C types for grants.py."""

import cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from entrepot.broker.calls.lease_calls cimport Receive, Received
from entrepot.broker.calls.port cimport Attachment
from entrepot.broker.logs.cursor cimport Cursor
from entrepot.broker.logs.entry_codec cimport EntryCodec
from entrepot.broker.logs.hub cimport Hub
from entrepot.broker.queue.queue cimport Queue
from entrepot.broker.subscription.leases cimport Subscription
from entrepot.broker.timed.group_scan cimport GroupScan
from entrepot.broker.timed.group_window cimport GroupWindow
from entrepot.broker.timed.lease_table cimport LeaseTable
from entrepot.broker.timed.timed_state cimport TimedState
from entrepot.model.octets cimport put_u16_be, put_u32_be, take_ba
from entrepot.store.interface cimport Group, Store

cdef uint64_t _TIMED
cdef uint64_t _BROKER
cdef Py_ssize_t _FEW
cdef uint64_t _BYTES_MAX
cdef uint64_t _END
cdef int _HAS_GROUPS
cdef int _DONE
cdef object _GRANTED
cdef object _GIVEN_UP


@cython.final
cdef class Granted:
    cdef readonly list calls
    cdef Grants grants
    cdef Group group


@cython.final
cdef class Grants:
    cdef TimedState timed
    cdef Queue queue
    cdef Hub hub
    cdef Store store
    cdef Subscription sub
    cdef LeaseTable leases
    cdef bytearray id_bytes
    cdef uint64_t counter
    cdef Granted granted
    cdef dict attempts
    cdef public uint32_t receive_max
    cdef public object dead_letters

    @cython.locals(queue=Queue, sub=Subscription, cursor=Cursor, now=int64_t, limit=uint64_t, got=uint64_t, want=uint64_t, size=uint64_t, average=uint64_t, taken=uint64_t, offset=uint64_t, lease_id=bytes, data=bytes)
    cpdef bint grant(self, Receive call) except? True
    @cython.locals(queue=Queue, sub=Subscription, cursor=Cursor, scan=GroupScan, window=GroupWindow, buried=bint, size=uint64_t, now=int64_t, limit=uint64_t, got=uint64_t, offset=uint64_t, lease_id=bytes, data=bytes)
    cdef bint grant_grouped(self, Receive call) except? True
    @cython.locals(left=Py_ssize_t)
    cdef Py_ssize_t room(self, Receive call) except? -1
    @cython.locals(cursor=Cursor, data=bytes)
    cdef bytes data_for(self, Receive call)
    cdef bint is_dead(self, uint64_t offset, uint32_t others) except? True
    cdef object bury(self, uint64_t offset)
    @cython.locals(cursor=Cursor, codec=EntryCodec, own=bint, position=Py_ssize_t, deadline=int64_t, leases=LeaseTable, received=list, offset=uint64_t, deliveries=uint32_t, row=int64_t, item=Received)
    cdef object give(self, Receive call, bytes data, uint64_t first, uint64_t count, uint32_t before, bytes lease_id, int64_t now)
    @cython.locals(group=Group, granted=Granted)
    cdef object granting(self, Receive call, bytes lease_id)
    @cython.locals(leases=LeaseTable, now=int64_t, item=Received, row=int64_t)
    cpdef object give_back(self, Receive call)
    @cython.locals(octets=bytearray)
    cdef bytes next_lease_id(self, int64_t now)
    @cython.locals(queue=Queue, lease_id=bytes, received=list, offset=uint64_t, cursor=Cursor, data=bytes, codec=EntryCodec, row=int64_t, item=Received)
    cdef bint grant_again(self, Receive call, int64_t now) except? True
