"""C types for entry_codec.py."""

from libc.stdint cimport int64_t, uint32_t

from entrepot.broker.logs.key_hash cimport key_hash
from entrepot.model.batch cimport field_at


cdef class EntryCodec:
    cdef public int tag
    cdef public int version
    cdef public bint by_record

    cpdef bytes prefix(self, bytes address)
    cpdef Py_ssize_t start(self, bytes data) except -1
    cpdef Py_ssize_t skip(self, bytes data, Py_ssize_t position, uint32_t count) except -1
    cpdef uint32_t expired_count(self, bytes data, Py_ssize_t position, uint32_t count, int64_t age_ms) except? 0xFFFFFFFF
    cpdef bytes group(self, bytes data, Py_ssize_t position)
    cpdef int64_t sent_time_ms(self, bytes data, Py_ssize_t position) except? -2
    cpdef int64_t body_bytes(self, bytes data, Py_ssize_t position, uint32_t count) except? -1
    cpdef list by_partition(self, bytes data, uint32_t count, uint32_t partitions, uint32_t keyless)
    cpdef list by_priority(self, bytes data, uint32_t count, uint32_t top)
    cpdef list header_runs(self, bytes data, uint32_t count)
    cpdef uint32_t fitting_count(self, bytes data, Py_ssize_t position, uint32_t count, int64_t body_bytes_max) except? 0xFFFFFFFF
    cpdef uint32_t larger_count(self, bytes data, Py_ssize_t position, uint32_t count, int64_t body_bytes_max) except? 0xFFFFFFFF
    cpdef bytes placeholder(self, int64_t base_offset, uint32_t span)
    cpdef bytes stamp(self, bytes data, int64_t base_offset, int epoch, int64_t append_time_ms)
    cpdef bint is_compressed_as(self, bytes data, int compression) except? True
    cpdef bytes placed(self, bytes data, int64_t base_offset)
    cpdef bytes to_record_batch(self, bytes data, int64_t base_offset, int64_t append_time_ms)
    cpdef bytes from_record_batch(self, bytes batch, int64_t base_offset, int64_t append_time_ms, bytes address)
    cpdef bint is_long(self, bytes data) except? True
    cpdef tuple without_value(self, bytes data)
    cpdef bint takes_value(self) except? True
    cpdef bytes with_value(self, bytes data, bytes source, Py_ssize_t at, Py_ssize_t size)
    cpdef bytes from_record_batch_with(
        self, bytes batch, int64_t base_offset, int64_t append_time_ms, bytes address, bytes source, Py_ssize_t at, Py_ssize_t size)
    cpdef bint looks_into_values(self) except? True
