"""C types for port.py."""

import cython
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from entrepot.model.entry cimport Entry

cdef int _DONE

cdef class Call:
    cdef public int stream
    cdef public int outcome
    cdef public object error
    cdef public object result
    cdef public Attachment attachment


cpdef int pend(Call call, int stream) except -1
cpdef int fail(Call call, object error) except -1


@cython.final
cdef class Publish(Call):
    # asked
    cdef public bytes address
    cdef public int codec
    cdef public int codec_version
    cdef public uint16_t flags
    cdef public bytes data
    cdef public uint32_t count
    cdef public uint64_t body_bytes
    cdef public bint mandatory
    cdef public bint confirm
    cdef public bint scattered
    cdef public tuple without
    # answered
    cdef public bint unroutable
    cdef public list returned
    cdef public list nacked


@cython.final
cdef class Settle(Call):
    cdef public uint64_t consumer_id
    cdef public uint64_t first
    cdef public uint32_t count
    cdef public int disposition


@cython.final
cdef class Ask(Call):
    cdef public object request


@cython.final
cdef class Delivery:
    cdef public uint64_t consumer_id
    cdef public object token
    cdef public int codec
    cdef public int codec_version
    cdef public bytes data
    cdef public Py_ssize_t position
    cdef public uint32_t count
    cdef public uint64_t offset
    cdef public uint32_t deliveries
    cdef public bint redelivered
    cdef public bint counted
    cdef public bint settled
    cdef public bint from_topic
    cdef public int64_t append_time_ms


cdef class Sink:
    cpdef object completed(self, Call call)
    cpdef Py_ssize_t deliver(self, Delivery delivery) except? -1
    cpdef object cancelled(self, object token)
    cpdef object revoked(self, str reason)
    cpdef object throttle(self, bint blocked, str reason)


cdef class Attachment:
    cdef public Sink sink
    cdef public int codec
    cdef public object principal
    cdef public str namespace
    cdef public bint writable
    cdef public bint closed
    cdef public Py_ssize_t spent

    cpdef object submit(self, Call call)
    cpdef bint by_headers(self, bytes address) except -1
    cpdef object resume(self)
    cpdef object close(self)


@cython.locals(call=Publish)
cpdef Publish make_publish(int stream, bytes address, int codec, int codec_version, uint16_t flags, bytes data, uint32_t count, uint64_t body_bytes)
@cython.locals(call=Settle)
cpdef Settle make_settle(int stream, uint64_t consumer_id, uint64_t first, uint32_t count, int disposition)
@cython.locals(call=Ask)
cpdef Ask make_ask(int stream, object request)
@cython.locals(call=Call)
cpdef object complete(list calls)
