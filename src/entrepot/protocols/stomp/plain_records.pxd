cimport cython
from libc.stdint cimport int64_t, uint32_t

from entrepot.model.batch cimport BatchBuilder, field_at
from entrepot.model.octets cimport get_u16_le, get_u32_be, get_u32_le, get_u64_be, get_u64_le, same, take

cdef int _CONTENT_TYPE, _CONTENT_ENCODING, _CORRELATION_ID, _TYPE, _HEADERS, _DURABLE, _PRIORITY, _TIME_TO_LIVE, _ORIGIN, _VALUE, _MESSAGE_ID, _EVENT_TIME, _KEY
cdef int _REPLY_TO, _GROUP, _ANNOTATIONS, _STRING, _BYTES, _I32, _I64, _HAS_LENGTH, _HAS_TTL, _NO_DESTINATION, _PERSISTENT
cdef int _AT_KEY, _AT_CONTENT_TYPE, _AT_ENCODING, _AT_CORRELATION, _AT_REPLY, _AT_MESSAGE_ID, _AT_TIME, _AT_TYPE, _AT_GROUP, _AT_OTHER_GROUP
cdef int _AT_USER, _AT_APP, _AT_CLUSTER, _AT_PRIORITY
cdef uint32_t _PLAIN_FIELDS
cdef int64_t _SECONDS_BELOW, _TIME_MAX
cdef Py_ssize_t _OTHERS_MAX
cdef object _RARE, _NOT_PLAIN, _UNSAID
cdef dict _PLACES
cdef tuple _NOTES

@cython.locals(
    size=Py_ssize_t, body_size=Py_ssize_t, bits=int, ttl=Py_ssize_t, at=Py_ssize_t, stop=Py_ssize_t, others=list, places=list, first=Py_ssize_t,
    colon=Py_ssize_t, name=bytes, priority=int64_t, time=int64_t, opened=Py_ssize_t, index=Py_ssize_t, meant=bytes, group=Py_ssize_t)
cpdef Py_ssize_t plain_to(BatchBuilder builder, bytes data, Py_ssize_t pos, bytes origin) except -2

@cython.locals(index=Py_ssize_t)
cdef bint _is_repeated(bytes data, list others, Py_ssize_t first, Py_ssize_t size) except? True
cdef Py_ssize_t _line_end(bytes data, Py_ssize_t at) except -1
cdef bint _has_escape(bytes data, Py_ssize_t at, Py_ssize_t stop) except? True
@cython.locals(stop=Py_ssize_t, number=int64_t)
cdef int64_t _number_at(bytes data, Py_ssize_t at, int64_t most) except? -3
@cython.locals(stop=Py_ssize_t, plain=bytes)
cdef int _text_to(BatchBuilder builder, int field, bytes data, Py_ssize_t at) except -1
@cython.locals(plain=bytes)
cdef int _value_to(BatchBuilder builder, bytes data, Py_ssize_t at, Py_ssize_t stop) except -1

@cython.locals(present=uint32_t, parts=list, bits=int, at=Py_ssize_t, size=Py_ssize_t, block_size=Py_ssize_t, part=bytes, ttl=int64_t)
cpdef bytes plain_from(bytes data, Py_ssize_t pos, int64_t append_time_ms, bytes destination)

@cython.locals(seen=set, name_size=Py_ssize_t, value=Py_ssize_t, kind=int, size=Py_ssize_t, name=bytes)
cdef bint _headers_from(list parts, bytes data, Py_ssize_t at, Py_ssize_t stop) except? True
cdef bint _text_from(list parts, bytes name, bytes data, Py_ssize_t at) except? True
@cython.locals(destination=bytes)
cdef bint _reply_from(list parts, bytes reply) except? True
@cython.locals(text=bytes)
cdef bint _put(list parts, bytes data, Py_ssize_t at, Py_ssize_t size) except? True
@cython.locals(stop=Py_ssize_t, octet=int)
cdef bint _is_plain(bytes data, Py_ssize_t at, Py_ssize_t size) except? True
