cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from entrepot.model.octets cimport copy, copy_ba, get_u16_le, get_u32_le, get_u64_le, put_u16_be, put_u32_be, put_u64_be, take, take_ba
from entrepot.protocols.kafka.record_batch cimport seal_batch
from entrepot.protocols.kafka.to_neutral cimport is_text

cdef int _KEY, _HEADERS, _DURABLE, _PRIORITY, _TIME_TO_LIVE, _EVENT_TIME, _ANNOTATIONS, _ORIGIN, _VALUE, _FIELDS
cdef uint32_t _NUMBERS
cdef int _NULL, _BOOL, _I8, _U64, _TIMESTAMP, _STRING, _BYTES
cdef list _NAMES
cdef bytes _PRIORITY_NAME, _TIME_TO_LIVE_NAME, _TYPES_NAME, _EXCHANGE_NAME, _ROUTING_KEY_NAME, _TRUE, _FALSE
cdef int _FIRST_LETTER
cdef Py_ssize_t _BATCH_HEADER, _NEUTRAL_HEADER
cdef uint64_t _SIGN, _U64_MAX

@cython.final
cdef class FromNeutral:
    # the batch
    cdef bytes _source
    cdef int64_t _append_time_ms
    cdef bytearray _buffer
    cdef Py_ssize_t _capacity, _filled
    cdef int64_t _base_time_ms, _max_time_ms
    # the record
    cdef bytearray _heads
    cdef Py_ssize_t _heads_capacity, _heads_filled, _heads_count
    cdef bytearray _letters
    cdef Py_ssize_t _letters_capacity, _letters_count
    cdef bint _letters_wanted

    @cython.locals(count=int64_t, pos=Py_ssize_t, index=int64_t, buffer=bytearray)
    cpdef bytes build(self, int64_t base_offset)
    @cython.locals(
        source=bytes, behind=Py_ssize_t, present=uint32_t, key_at=Py_ssize_t, value_at=Py_ssize_t, headers_at=Py_ssize_t, key_size=Py_ssize_t, value_size=Py_ssize_t,
        headers_size=Py_ssize_t, time_ms=int64_t, at=Py_ssize_t, field=int, number=uint64_t, size=Py_ssize_t, name=bytes, letters=bytes, delta=int64_t)
    cdef Py_ssize_t _record(self, Py_ssize_t pos, int64_t index) except -1
    @cython.locals(size=Py_ssize_t)
    cdef int _origin(self, Py_ssize_t at, Py_ssize_t stop) except -1
    @cython.locals(source=bytes, name_size=Py_ssize_t, value=Py_ssize_t, kind=int, size=Py_ssize_t, name=bytes)
    cdef int _entries(self, Py_ssize_t at, Py_ssize_t stop, bint typed) except -1
    @cython.locals(source=bytes, text=bytes)
    cdef int _text(self, int kind, Py_ssize_t at, Py_ssize_t size) except -1
    @cython.locals(source=bytes, raw=uint64_t, end=Py_ssize_t, top=uint64_t)
    cdef bytes _integer(self, int kind, Py_ssize_t at, Py_ssize_t size)
    cdef int _letter(self, int kind) except -1
    cdef int _head(self, bytes name, bytes source, Py_ssize_t at, Py_ssize_t size) except -1
    @cython.locals(text=bytes)
    cdef int _head_digits(self, bytes name, uint64_t number) except -1
    cdef int _head_name(self, bytes source, Py_ssize_t at, Py_ssize_t size) except -1
    cdef int _head_value(self, bytes source, Py_ssize_t at, Py_ssize_t size) except -1
    cdef int _sized(self, Py_ssize_t at, Py_ssize_t size) except -1
    cdef int _varint(self, int64_t value) except -1
    cdef int _grow(self, Py_ssize_t need) except -1

@cython.locals(rest=uint64_t)
cdef Py_ssize_t _put_varint(bytearray target, Py_ssize_t at, int64_t value) except -1

@cython.locals(rest=uint64_t, width=Py_ssize_t)
cdef Py_ssize_t _width(int64_t value) except -1
