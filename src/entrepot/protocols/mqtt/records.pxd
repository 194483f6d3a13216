"""C types for records.py."""

cimport cython
from libc.stdint cimport int64_t, uint32_t

from entrepot.broker.logs.entry_codec cimport EntryCodec
from entrepot.model.octets cimport get_u16_be, get_u32_be, take
from entrepot.protocols.mqtt.packing cimport expiry_of, flags_of, payload_of, properties_of, skip

cdef class MqttEntryCodec(EntryCodec):
    cpdef bytes prefix(self, bytes address)
    cpdef Py_ssize_t start(self, bytes data) except -1
    cpdef Py_ssize_t skip(self, bytes data, Py_ssize_t position, uint32_t count) except -1
    @cython.locals(found=uint32_t, expiry_s=int64_t)
    cpdef uint32_t expired_count(self, bytes data, Py_ssize_t position, uint32_t count, int64_t age_ms) except? 0xFFFFFFFF
    @cython.locals(total=int64_t, size=uint32_t)
    cpdef int64_t body_bytes(self, bytes data, Py_ssize_t position, uint32_t count) except? -1
    cpdef bytes group(self, bytes data, Py_ssize_t position)
    cpdef bytes to_record_batch(self, bytes data, int64_t base_offset, int64_t append_time_ms)
    cpdef bytes from_record_batch(self, bytes batch, int64_t base_offset, int64_t append_time_ms, bytes address)
    @cython.locals(position=Py_ssize_t, at=Py_ssize_t, size=Py_ssize_t)
    cpdef tuple without_value(self, bytes data)
    cpdef bint takes_value(self) except? True
    @cython.locals(position=Py_ssize_t)
    cpdef bytes with_value(self, bytes data, bytes source, Py_ssize_t at, Py_ssize_t size)
