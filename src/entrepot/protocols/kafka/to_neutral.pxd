cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from entrepot.model.batch cimport BatchBuilder
from entrepot.model.octets cimport get_u32_be_ba, put_u32_be, take
from entrepot.protocols.kafka.record_cursor cimport RecordCursor

cdef int _CONTENT_TYPE, _CONTENT_ENCODING, _CORRELATION_ID, _REPLY_TO, _MESSAGE_ID, _TYPE, _PRIORITY, _GROUP, _TYPES, _PLACES
cdef int _NOTE, _DROPPED, _NO_CARRIER
cdef dict _CARRIERS
cdef Py_ssize_t _NAME_MIN, _NAME_MAX, _NAME_SIZE_MAX
cdef int _F_KEY, _F_CONTENT_TYPE, _F_CONTENT_ENCODING, _F_HEADERS, _F_DURABLE, _F_PRIORITY, _F_CORRELATION_ID, _F_REPLY_TO
cdef int _F_MESSAGE_ID, _F_EVENT_TIME, _F_TYPE, _F_GROUP, _F_ANNOTATIONS, _F_ORIGIN, _F_VALUE
cdef int _NULL, _BOOL, _I8, _U64, _TIMESTAMP, _STRING, _BYTES, _FIRST_LETTER, _KINDS
cdef bytes _TRUE, _FALSE, _U64_MAX_TEXT
cdef uint64_t _U64_MAX

@cython.final
cdef class ToNeutral:
    # the batch
    cdef bytes _records
    cdef RecordCursor _cursor
    cdef BatchBuilder _builder
    cdef int64_t _base_time_ms
    cdef int64_t _append_time_ms
    cdef bytes _origin
    # the record
    cdef bytearray _places
    cdef bytearray _carriers
    cdef uint32_t _found
    cdef Py_ssize_t _plain
    cdef Py_ssize_t _notes

    cpdef bytes build(self, int64_t count)
    @cython.locals(cursor=RecordCursor, builder=BatchBuilder, records=bytes, time_ms=int64_t)
    cdef int _record(self) except -1
    @cython.locals(cursor=RecordCursor, size=Py_ssize_t, first=int, carrier=int)
    cdef int _carrier(self) except -2
    @cython.locals(cursor=RecordCursor, count=Py_ssize_t, index=Py_ssize_t, carrier=int)
    cdef int _look_for_carriers(self) except -1
    cdef int _carried(self, int carrier, int field) except -1
    @cython.locals(at=Py_ssize_t)
    cdef int _priority(self) except -1
    @cython.locals(cursor=RecordCursor, builder=BatchBuilder, letters=Py_ssize_t, opened=Py_ssize_t, index=Py_ssize_t)
    cdef int _headers(self) except -1
    @cython.locals(cursor=RecordCursor, builder=BatchBuilder, opened=Py_ssize_t, index=Py_ssize_t)
    cdef int _annotations(self) except -1
    @cython.locals(cursor=RecordCursor, kind=int)
    cdef int _untyped(self) except -1
    @cython.locals(cursor=RecordCursor, builder=BatchBuilder, text=bytes)
    cdef bint _typed(self, int kind) except -1
    @cython.locals(cursor=RecordCursor, at=Py_ssize_t, size=Py_ssize_t, unsigned=bint, width=int, negative=bint, greatest=uint64_t, number=uint64_t)
    cdef bint _integer(self, int kind) except -1
    @cython.locals(cursor=RecordCursor, number=uint64_t)
    cdef int64_t _number(self, uint64_t greatest) except -2
    @cython.locals(end=Py_ssize_t, digit=int)
    cdef bint _all_digits(self, Py_ssize_t at, Py_ssize_t size) except -1
    @cython.locals(number=uint64_t, end=Py_ssize_t, digit=int)
    cdef uint64_t _digits(self, Py_ssize_t at, Py_ssize_t size) except? 0xFFFFFFFFFFFFFFFF

@cython.locals(end=Py_ssize_t)
cpdef bint is_text(bytes data, Py_ssize_t at, Py_ssize_t size) except -1
cdef bint _is_utf8(bytes data) except -1
