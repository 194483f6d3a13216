"""C types for local_owner.py."""

import cython

from libc.stdint cimport uint32_t, uint64_t

from entrepot.broker.calls.port cimport Ask, Publish, fail
from entrepot.broker.logs.growing cimport Growing
from entrepot.broker.logs.hub cimport Hub
from entrepot.broker.owners cimport Lane, Owner
from entrepot.broker.queue.queue cimport Queue
from entrepot.broker.subscription.consumer cimport Consumer
from entrepot.model.entry cimport Entry, make_entry
from entrepot.store.interface cimport Store

cdef int _DONE, _ACCEPT, _RELEASE
cdef int _HAS_EXPIRY
cdef int _TRANSIENT


@cython.final
cdef class LocalLane(Lane):
    # fixed
    cdef readonly bytes address
    cdef readonly list targets
    cdef readonly list logs
    cdef readonly list queues
    cdef readonly bint simple
    # the codec whose prefix is cached, and the entry that may still grow
    cdef int codec
    cdef bytes prefix
    cdef Entry entry

    cpdef object let_go(self)


cdef class LocalOwner(Owner):
    cdef readonly Hub hub
    cdef readonly Store store
    cdef readonly Growing growing
    cdef readonly object admission
    cdef public object unused

    @cython.locals(local=LocalLane, entry=Entry, queue=Queue)
    cpdef bint stage(self, Lane lane, Publish call) except? True
    @cython.locals(queue=Queue)
    cpdef object settle(self, Consumer consumer, uint64_t first, uint32_t count, int disposition)
    cpdef object credit(self, Consumer consumer)


cpdef LocalLane local_lane(Lane lane)
