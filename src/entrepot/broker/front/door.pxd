"""C types for door.py."""

import cython
from libc.stdint cimport uint64_t

from entrepot.broker.calls.lease_calls cimport EndLeases, Receive, Send, Withdraw
from entrepot.broker.calls.partition_calls cimport Append, CloseParts, Read
from entrepot.broker.calls.port cimport Attachment, Call, Publish, Settle, fail
from entrepot.broker.front.appending cimport Appender
from entrepot.broker.front.places cimport Place
from entrepot.broker.front.publisher cimport Path, Publisher
from entrepot.broker.logs.hub cimport Hub
from entrepot.broker.owners cimport Owner
from entrepot.broker.subscription.consumer cimport Consumer
from entrepot.broker.topic.partition cimport TopicTable
from entrepot.broker.topic.reading cimport Reads
from entrepot.store.interface cimport Store

cdef Py_ssize_t _PATHS_MAX, _KEY_OCTETS
cdef Py_ssize_t _PLACES_MAX
cdef uint64_t _STAGED_HIGH
cdef bytes _REPLY_PREFIX


cdef class Door(Attachment):
    cdef readonly object broker
    cdef readonly tuple home
    cdef readonly Hub hub
    cdef readonly Publisher publisher
    cdef readonly Appender appender
    cdef Store store
    cdef readonly Reads reads
    cdef readonly dict consumers
    cdef readonly dict limits
    cdef readonly dict getters
    cdef readonly dict paths
    cdef readonly Path reply_path
    cdef dict places
    cdef readonly TopicTable topics
    cdef public bint blocked
    cdef public bint publishes
    cdef readonly bint by_policy
    cdef readonly bint waits

    cpdef object submit(self, Call call)
    @cython.locals(path=Path)
    cpdef bint by_headers(self, bytes address) except -1
    @cython.locals(path=Path, complete=bint)
    cdef object publish(self, Publish call)
    cdef object append(self, Append call)
    @cython.locals(consumer=Consumer, owner=Owner)
    cpdef object settle(self, Settle call)
    @cython.locals(place=Place, found=Place)
    cdef Place place(self, str name)
    @cython.locals(place=Place, complete=bint)
    cdef object send(self, Send call)
    @cython.locals(place=Place)
    cdef object receive(self, Receive call)
    @cython.locals(place=Place)
    cdef object end_leases(self, EndLeases call)
    cdef object withdraw(self, Withdraw call)
    @cython.locals(place=Place)
    cpdef object close(self)
    @cython.locals(place=Place)
    cpdef object ask_again(self)
    @cython.locals(other=Consumer, owner=Owner)
    cpdef object credit_returned(self, Consumer consumer)
