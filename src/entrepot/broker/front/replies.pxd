"""C types for replies.py."""

import cython
from libc.stdint cimport uint32_t, uint64_t

from entrepot.broker.calls.port cimport Attachment, Delivery, Publish
from entrepot.broker.catalogue.routing cimport Router
from entrepot.broker.logs.hub cimport Hub
from entrepot.broker.logs.log_owner cimport LogOwner
from entrepot.broker.owners cimport Owner
from entrepot.broker.subscription.consumer cimport Consumer

cdef Py_ssize_t _RUN_BYTES
cdef Py_ssize_t _WAITING_MAX
cdef Py_ssize_t _ALL_WAITING_MAX


cdef class Replies(Owner):
    cdef readonly Hub hub
    cdef readonly object entropy
    cdef readonly object owners
    cdef readonly dict boxes
    cdef public uint64_t dropped_count
    cdef public Py_ssize_t waiting_bytes

    cpdef object settle(self, Consumer consumer, uint64_t first, uint32_t count, int disposition)
    cpdef object credit(self, Consumer consumer)
    cpdef ReplyBox open(self, Router router, uint64_t consumer_id)
    @cython.locals(prefix=bytes)
    cpdef bint answer(self, Router router, Publish call) except? True


cdef class ReplyBox(LogOwner):
    cdef readonly Replies replies
    cdef readonly Router router
    cdef readonly str name
    cdef public Consumer consumer
    cdef uint64_t offset
    cdef readonly object waiting
    cdef Py_ssize_t waiting_bytes

    @cython.locals(consumer=Consumer, replies=Replies, size=Py_ssize_t, there=bytes)
    cpdef object put(self, bytes data, Py_ssize_t position, uint32_t count, int codec)
    @cython.locals(delivery=Delivery, attachment=Attachment)
    cdef object _send(self, Consumer consumer, bytes data, Py_ssize_t position, uint32_t count)
    @cython.locals(consumer=Consumer, data=bytes)
    cpdef object dispatch(self)
