"""C types for channel.py."""

import cython
from libc.stdint cimport uint32_t, uint64_t

from entrepot.broker.calls.port cimport Publish


@cython.final
cdef class Span:
    cdef public uint64_t first_tag
    cdef public uint64_t count
    cdef public uint64_t consumer_id
    cdef public uint64_t offset


@cython.locals(span=Span)
cpdef Span make_span(uint64_t first_tag, uint64_t count, uint64_t consumer_id, uint64_t offset)


@cython.final
cdef class Channel:
    # fixed
    cdef readonly int number
    cdef readonly int stream
    # state
    cdef public bint closing
    cdef public object waiting
    cdef public list deferred
    cdef public str last_queue
    # consuming
    cdef public dict consumers
    cdef public int next_consumer
    cdef public int prefetch
    cdef public bint limited
    cdef public object reply_consumer
    cdef public bytes reply_queue
    cdef public uint64_t next_tag
    cdef list spans
    cdef Py_ssize_t head
    cdef public object transaction
    # publishing
    cdef public bint confirming
    cdef public list unconfirmed
    cdef Py_ssize_t confirmed_head
    cdef public uint64_t confirmed_tag

    @cython.locals(last=Span, tag=uint64_t)
    cpdef uint64_t delivered(self, uint64_t consumer_id, uint64_t offset, uint64_t count) except? 0
    @cython.locals(low=Py_ssize_t, high=Py_ssize_t, middle=Py_ssize_t, span=Span)
    cdef Py_ssize_t find(self, uint64_t tag) except -1
    @cython.locals(span=Span, taken=list, index=Py_ssize_t, count=uint64_t, before=uint64_t, after=uint64_t)
    cpdef list settle_range(self, uint64_t low, uint64_t high)
    @cython.locals(span=Span, taken=list, count=uint64_t)
    cpdef list settle_through(self, uint64_t high)
    cpdef list settle_before(self, uint64_t tag)
    cdef object tidy(self)
    @cython.locals(call=Publish)
    cpdef Publish maybe_completed(self)
