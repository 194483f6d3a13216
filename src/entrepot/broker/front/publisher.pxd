"""C types for publisher.py."""

import cython
from libc.stdint cimport uint16_t, uint32_t, uint64_t

from entrepot.broker.calls.port cimport Publish
from entrepot.broker.front.replies cimport Replies
from entrepot.broker.logs.growing cimport Growing
from entrepot.broker.logs.hub cimport Hub
from entrepot.model.entry cimport Entry, make_entry
from entrepot.store.interface cimport Group, Log, Store

cdef int _TRANSIENT


@cython.final
cdef class Path:
    # fixed
    cdef readonly bytes address
    cdef readonly object route
    cdef readonly object router
    cdef readonly object version
    cdef readonly str exchange
    cdef readonly list durable_logs
    cdef readonly list volatile_logs
    cdef readonly list queues
    cdef readonly list topics
    cdef readonly bint plain
    cdef readonly bint by_record
    cdef readonly bint to_reply
    cdef public object sender
    # the codec whose prefix is cached, and the entries that may still grow
    cdef public int codec
    cdef public bytes prefix
    cdef public Entry durable_entry
    cdef public Entry volatile_entry

    cpdef object let_go(self)


@cython.final
cdef class Publisher:
    cdef readonly Hub hub
    cdef readonly Store store
    cdef readonly Store volatile
    cdef readonly object slow
    cdef readonly Replies replies
    cdef readonly Growing durable_growing
    cdef readonly Growing volatile_growing
    cdef public uint64_t published_count
    cdef public uint64_t published_bytes

    cpdef bint publish(self, Path path, Publish call) except? True
    @cython.locals(entry=Entry)
    cpdef object stage(self, Path path, Publish call, bytes data, uint32_t count)
