cimport cython
from libc.stdint cimport uint32_t

from entrepot.model.batch cimport BatchBuilder, field_at
from entrepot.model.octets cimport get_u16_le, get_u32_be, get_u32_le, get_u64_be, get_u64_le, same, take

cdef int _CONTENT_TYPE, _CONTENT_ENCODING, _CORRELATION_ID, _TYPE, _HEADERS, _DURABLE, _PRIORITY, _TIME_TO_LIVE, _ORIGIN, _VALUE, _MESSAGE_ID, _EVENT_TIME, _KEY
cdef int _STRING, _BYTES, _I32, _I64, _HAS_LENGTH, _HAS_TTL, _NO_DESTINATION, _PERSISTENT
cdef uint32_t _PLAIN_FIELDS
cdef Py_ssize_t _OTHERS_MAX
cdef object _RARE, _NOT_PLAIN

@cython.locals(
    size=Py_ssize_t, body_size=Py_ssize_t, bits=int, ttl=Py_ssize_t, at=Py_ssize_t, stop=Py_ssize_t, others=list, content_type=Py_ssize_t,
    content_encoding=Py_ssize_t, correlation_id=Py_ssize_t, kind=Py_ssize_t, priority=int, first=Py_ssize_t, colon=Py_ssize_t, name=bytes,
    opened=Py_ssize_t, index=Py_ssize_t)
cpdef Py_ssize_t plain_to(BatchBuilder builder, bytes data, Py_ssize_t pos, bytes origin) except -2

@cython.locals(index=Py_ssize_t)
cdef bint _is_repeated(bytes data, list others, Py_ssize_t first, Py_ssize_t size) except? True

@cython.locals(stop=Py_ssize_t)
cdef int _text_to(BatchBuilder builder, int field, bytes data, Py_ssize_t first, Py_ssize_t behind) except -1

@cython.locals(present=uint32_t, parts=list, bits=int, at=Py_ssize_t, size=Py_ssize_t, block_size=Py_ssize_t, part=bytes)
cpdef bytes plain_from(bytes data, Py_ssize_t pos, bytes destination)

@cython.locals(seen=set, name_size=Py_ssize_t, value=Py_ssize_t, kind=int, size=Py_ssize_t, name=bytes)
cdef bint _headers_from(list parts, bytes data, Py_ssize_t at, Py_ssize_t stop) except? True

@cython.locals(size=Py_ssize_t)
cdef bint _text_from(list parts, bytes name, bytes data, Py_ssize_t at) except? True

@cython.locals(stop=Py_ssize_t, octet=int)
cdef bint _is_plain(bytes data, Py_ssize_t at, Py_ssize_t size) except? True
