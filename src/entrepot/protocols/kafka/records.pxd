cimport cython
from libc.stdint cimport int64_t, uint32_t

from entrepot.broker.logs.entry_codec cimport EntryCodec
from entrepot.model.octets cimport copy, get_u16_be, get_u32_be, get_u64_be, put_u16_be, put_u32_be, put_u64_be, take, take_ba
from entrepot.protocols.kafka.from_neutral cimport FromNeutral
from entrepot.protocols.kafka.record_batch cimport seal_batch, signed_u64, stamp
from entrepot.protocols.kafka.record_cursor cimport RecordCursor, make_cursor
from entrepot.protocols.kafka.to_neutral cimport ToNeutral

cdef int _VERSION, _ADDRESSED, _TAG
cdef uint32_t _LONG_RECORDS
cdef Py_ssize_t _LONG_BYTES
cdef Py_ssize_t _HEADER, _ATTRIBUTES, _BASE_TIME, _MAX_TIME, _COUNT
cdef uint32_t _COMPRESSION, _APPEND_TIME

cpdef Py_ssize_t batch_at(bytes data) except -1

cdef class KafkaEntryCodec(EntryCodec):
    cdef object _unpacker, _small
    cdef Py_ssize_t _record_max_bytes
    cdef bytes _packed, _unpacked

    cpdef bytes prefix(self, bytes address)
    cpdef Py_ssize_t start(self, bytes data) except -1
    cpdef Py_ssize_t skip(self, bytes data, Py_ssize_t position, uint32_t count) except -1
    cpdef uint32_t expired_count(self, bytes data, Py_ssize_t position, uint32_t count, int64_t age_ms) except? 0xFFFFFFFF
    cpdef bytes stamp(self, bytes data, int64_t base_offset, int epoch, int64_t append_time_ms)
    cpdef bint is_compressed_as(self, bytes data, int compression) except? True
    @cython.locals(at=Py_ssize_t, size=Py_ssize_t, buffer=bytearray)
    cpdef bytes placed(self, bytes data, int64_t base_offset)
    @cython.locals(buffer=bytearray)
    cpdef bytes placeholder(self, int64_t base_offset, uint32_t span)
    @cython.locals(at=Py_ssize_t, all_times=int64_t, origin=bytes, cursor=RecordCursor, translator=ToNeutral)
    cpdef bytes to_record_batch(self, bytes data, int64_t base_offset, int64_t append_time_ms)
    cpdef bytes from_record_batch(self, bytes batch, int64_t base_offset, int64_t append_time_ms, bytes address)
    @cython.locals(at=Py_ssize_t, compression=uint32_t)
    cpdef bint is_long(self, bytes data) except? True
    @cython.locals(at=Py_ssize_t, cursor=RecordCursor)
    cpdef tuple without_value(self, bytes data)
    cpdef bint takes_value(self) except? True
    @cython.locals(cursor=RecordCursor)
    cpdef bytes with_value(self, bytes data, bytes source, Py_ssize_t at, Py_ssize_t size)
    cdef bint _is_packed(self, bytes data, Py_ssize_t at) except? True
    @cython.locals(compression=uint32_t)
    cdef RecordCursor _cursor(self, bytes data, Py_ssize_t at)
