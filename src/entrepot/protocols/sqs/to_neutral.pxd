"""C types for to_neutral.py."""

cimport cython
from libc.stdint cimport int64_t, uint32_t

from entrepot.model.batch cimport BatchBuilder
from entrepot.model.octets cimport get_u32_le, take
from entrepot.protocols.sqs.packing cimport body_of, field_of, number_of
from entrepot.protocols.sqs.writing cimport Writer

cdef uint32_t _SENT_TIME, _GROUP_FIELD, _DEDUPLICATION, _TRACE, _SOURCE, _ATTRIBUTES
cdef Py_ssize_t _MESSAGE_ID_AT
cdef int _KEY, _CONTENT_TYPE, _CONTENT_ENCODING, _HEADERS, _DURABLE, _PRIORITY, _CORRELATION_ID, _REPLY_TO, _MESSAGE_ID, _EVENT_TIME, _TYPE, _GROUP
cdef int _ORIGIN, _VALUE, _I64, _F64, _STRING, _BYTES
cdef bytes _ORIGIN_BYTES
cdef object _F64_STRUCT

@cython.locals(builder=BatchBuilder, writer=Writer, end=Py_ssize_t, origin=bytes)
cpdef bytes to_batch(bytes data, Py_ssize_t position, int64_t append_time_ms)
@cython.locals(headers=list, carried=dict, body=bytes, is_null=bint, packed=bytes, name=bytes, kind=bytes, value=bytes, message_id=bytes, sent_ms=int64_t, group=bytes)
cdef int _record(BatchBuilder builder, Writer writer, bytes data, Py_ssize_t position, int64_t append_time_ms, bytes origin) except -1
@cython.locals(value=bytes)
cdef int _carry(BatchBuilder builder, dict carried, int field) except -1
@cython.locals(deduplication_id=bytes, trace=bytes, source=bytes, at=Py_ssize_t, name=bytes, kind=bytes, value=bytes)
cdef int _headers(BatchBuilder builder, bytes data, Py_ssize_t position, list attributes) except -1
cdef int _text(BatchBuilder builder, bytes name, bytes value) except -1
@cython.locals(packed=bytes)
cdef int _number(BatchBuilder builder, bytes text) except -1
