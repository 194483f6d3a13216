"""C types for receiving.py."""

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from entrepot.broker.calls.lease_calls cimport Receive, Received, make_receive
from entrepot.model.octets cimport get_u32_le, take
from entrepot.protocols.sqs.exchange cimport Exchange
from entrepot.protocols.sqs.handles cimport write_handle
from entrepot.protocols.sqs.message_attributes cimport write_json
from entrepot.protocols.sqs.packing cimport body_at, body_of, field_of, number_of
from entrepot.protocols.sqs.writing cimport Writer

cdef int _CODEC
cdef uint32_t _SENDER_ID, _SENT_TIMESTAMP, _RECEIVE_COUNT, _FIRST_RECEIVE, _SEQUENCE_NUMBER
cdef uint32_t _DEDUPLICATION_ID, _GROUP_ID, _TRACE_HEADER, _SOURCE_ARN
cdef uint32_t _ATTRIBUTES, _DEDUPLICATION, _GROUP, _SENDER, _SENT_TIME, _SOURCE, _TRACE
cdef Py_ssize_t _MESSAGE_ID, _BODY_MD5
cdef uint64_t _SEQUENCE_FIRST


@cython.final
cdef class Wanted:
    cdef readonly uint32_t system
    cdef readonly object selection
    cdef readonly bint fifo

@cython.locals(count=int, wait_ms=int64_t, visibility_ms=int64_t, fifo=bint, system=uint32_t, call=Receive)
cpdef object receive_message(Exchange exchange)
cdef Py_ssize_t _SHORT, _LONG, _STEP_BYTES, _STEP_BYTES_XML
cdef bytes _BEHIND
@cython.locals(messages=list, item=Received, size=Py_ssize_t)
cpdef object received(Exchange exchange, Receive call)
@cython.locals(writer=Writer, first=bint, messages=list, item=Received, at=Py_ssize_t)
cpdef Writer write_messages(Exchange exchange, Receive call)
@cython.locals(wanted=Wanted, data=bytes, position=Py_ssize_t, packed=bytes)
cpdef int write_message(Exchange exchange, Writer writer, Receive call, Received item, bint first) except -1
@cython.locals(data=bytes, position=Py_ssize_t, system=uint32_t, first=bint, value=bytes)
cpdef int write_system(Exchange exchange, Writer writer, Received item, Wanted wanted) except -1
cdef bint _text(Writer writer, bint first, bytes name, bytes value) except? True
cdef bint _number(Writer writer, bint first, bytes name, uint64_t value, Py_ssize_t width) except? True
@cython.locals(own=int64_t)
cpdef int64_t sent_time(Received item) except? -2
