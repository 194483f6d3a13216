cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from entrepot.model.batch cimport BatchBuilder, field_at
from entrepot.model.octets cimport (
    copy, get_u16_be, get_u16_le, get_u32_be, get_u32_le, get_u64_be, get_u64_le, put_u16_be, put_u32_be, put_u64_be, take, take_ba)
from entrepot.protocols.amqp091.properties cimport expiration_ms, find_header, property_at, value_end

cdef int _KEY, _HEADERS, _DURABLE, _PRIORITY, _TIME_TO_LIVE, _EVENT_TIME, _GROUP, _ANNOTATIONS, _ORIGIN, _VALUE, _CONTENT_TYPE, _CONTENT_ENCODING
cdef int _CORRELATION_ID, _REPLY_TO, _MESSAGE_ID, _TYPE
cdef int _NULL, _BOOL, _DECIMAL, _TIMESTAMP, _STRING, _BYTES, _LIST, _MAP, _I8, _U8, _I16, _U16, _I32, _U32, _I64, _U64, _F32, _F64, _CODEC
cdef Py_ssize_t _BATCH_HEADER
cdef uint64_t _SECONDS_MAX, _MILLISECONDS_MAX
cdef bytes _KEY_NAME, _GROUP_NAME, _NULL_NAME, _USER_ID_NAME, _APP_ID_NAME, _CLUSTER_ID_NAME

@cython.locals(builder=BatchBuilder, pos=Py_ssize_t, origin=bytes, end=Py_ssize_t)
cpdef object to_batch(bytes data)

@cython.locals(pos=Py_ssize_t)
cpdef Py_ssize_t start_of(bytes data) except -1

@cython.locals(
    properties_size=Py_ssize_t, body_size=Py_ssize_t, flags=uint32_t, group=Py_ssize_t, table=Py_ssize_t, key=Py_ssize_t, at=Py_ssize_t, opened=Py_ssize_t,
    ttl=int64_t, null=bint)
cdef Py_ssize_t _record_to(BatchBuilder builder, bytes data, Py_ssize_t pos, bytes origin) except -1

@cython.locals(size=Py_ssize_t)
cdef Py_ssize_t _short_to(BatchBuilder builder, int field, bytes data, Py_ssize_t at) except -1

@cython.locals(size=Py_ssize_t)
cdef Py_ssize_t _note(BatchBuilder builder, bytes name, bytes data, Py_ssize_t at) except -1

@cython.locals(at=Py_ssize_t)
cdef Py_ssize_t _carrier(bytes data, Py_ssize_t table, bytes name) except -2

@cython.locals(at=Py_ssize_t)
cdef bint _says_null(bytes data, Py_ssize_t table) except -1

@cython.locals(stop=Py_ssize_t, size=Py_ssize_t, kind=Py_ssize_t)
cdef Py_ssize_t _table_to(BatchBuilder builder, bytes data, Py_ssize_t at, bint outer) except -1

cdef bint _is_carrier(bytes data, Py_ssize_t pos, Py_ssize_t size, int kind) except -1

@cython.locals(kind=int, size=Py_ssize_t, opened=Py_ssize_t, stop=Py_ssize_t, number=uint64_t)
cdef Py_ssize_t _value_to(BatchBuilder builder, bytes data, Py_ssize_t at) except -1

cdef uint64_t _milliseconds(uint64_t seconds) except? 0xFFFFFFFFFFFFFFFF

@cython.locals(writer=_Writer, pos=Py_ssize_t)
cpdef bytes from_batch(object batch, bytes address)

@cython.final
cdef class _Writer:
    cdef bytes _source
    cdef bytearray _buffer
    cdef Py_ssize_t _filled

    cdef int start(self, bytes address) except -1
    cdef bytes data(self)
    @cython.locals(source=bytes, size=Py_ssize_t, begun=Py_ssize_t, flags=int, at=Py_ssize_t, body_size=Py_ssize_t)
    cdef Py_ssize_t record(self, Py_ssize_t pos) except -1
    @cython.locals(at=Py_ssize_t, size=Py_ssize_t)
    cdef int _short(self, Py_ssize_t pos, int field, int flag) except -1
    @cython.locals(count=int, rest=uint64_t, at=Py_ssize_t)
    cdef int _digits(self, uint64_t number) except -1
    @cython.locals(source=bytes, at=Py_ssize_t, key=Py_ssize_t, group=Py_ssize_t, begun=Py_ssize_t)
    cdef int _headers(self, Py_ssize_t pos) except -1
    cdef int _carry(self, bytes name, int kind, Py_ssize_t at) except -1
    cdef int _long(self, Py_ssize_t at, Py_ssize_t size) except -1
    @cython.locals(source=bytes, size=Py_ssize_t, value=Py_ssize_t)
    cdef int _entries(self, Py_ssize_t at, Py_ssize_t stop) except -1
    @cython.locals(source=bytes, kind=int, size=Py_ssize_t, begun=Py_ssize_t, stop=Py_ssize_t, number=uint64_t)
    cdef int _value(self, Py_ssize_t at) except -1
    cdef int _type(self, int kind) except -1
    @cython.locals(source=bytes, at=Py_ssize_t, stop=Py_ssize_t)
    cdef int _notes(self, Py_ssize_t pos) except -1
    @cython.locals(source=bytes, name_size=Py_ssize_t, value=Py_ssize_t, size=Py_ssize_t)
    cdef int _one_note(self, Py_ssize_t at, Py_ssize_t stop, bytes name, int flag) except -1
    @cython.locals(buffer=bytearray)
    cdef int _room(self, Py_ssize_t need) except -1
