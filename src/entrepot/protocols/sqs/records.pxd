cimport cython
from libc.stdint cimport int64_t, uint32_t

from entrepot.broker.logs.entry_codec cimport EntryCodec
from entrepot.model.octets cimport get_u16_be, get_u32_le, take
from entrepot.protocols.sqs.from_neutral cimport from_batch, from_batch_with
from entrepot.protocols.sqs.packing cimport body_at, field_of, number_of, with_fields
from entrepot.protocols.sqs.to_neutral cimport to_batch

cdef int _TAG, _VERSION
cdef uint32_t _ATTRIBUTES, _GROUP, _SENT_TIME, _SOURCE

cdef class SqsEntryCodec(EntryCodec):
    cpdef bytes prefix(self, bytes address)
    cpdef Py_ssize_t start(self, bytes data) except -1
    cpdef Py_ssize_t skip(self, bytes data, Py_ssize_t position, uint32_t count) except -1
    cpdef uint32_t expired_count(self, bytes data, Py_ssize_t position, uint32_t count, int64_t age_ms) except? 0xFFFFFFFF
    cpdef bytes group(self, bytes data, Py_ssize_t position)
    cpdef int64_t sent_time_ms(self, bytes data, Py_ssize_t position) except? -2
    cpdef bytes to_record_batch(self, bytes data, int64_t base_offset, int64_t append_time_ms)
    cpdef bytes from_record_batch(self, bytes batch, int64_t base_offset, int64_t append_time_ms, bytes address)
    cpdef bint takes_value(self) except? True
    cpdef bytes from_record_batch_with(
        self, bytes batch, int64_t base_offset, int64_t append_time_ms, bytes address, bytes source, Py_ssize_t at, Py_ssize_t size)
    cpdef bint looks_into_values(self) except? True
