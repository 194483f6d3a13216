cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from entrepot.broker.logs.entry_codec cimport EntryCodec
from entrepot.model.batch cimport sized
from entrepot.model.octets cimport get_u16_be, get_u32_be, get_u64_be, take

cdef int _TAG, _VERSION, _HAS_TTL, _ORIGIN
cdef Py_ssize_t _BATCH_HEADER

@cython.locals(end=Py_ssize_t)
cpdef Py_ssize_t after(bytes data, Py_ssize_t pos) except -1

cpdef bytes block_at(bytes data, Py_ssize_t pos)

@cython.locals(ttl=uint64_t)
cpdef int64_t ttl_at(bytes data, Py_ssize_t pos) except? -2

cdef class StompEntryCodec(EntryCodec):
    cpdef bytes prefix(self, bytes address)
    cpdef Py_ssize_t start(self, bytes data) except -1
    cpdef Py_ssize_t skip(self, bytes data, Py_ssize_t position, uint32_t count) except -1
    @cython.locals(found=uint32_t, ttl=int64_t)
    cpdef uint32_t expired_count(self, bytes data, Py_ssize_t position, uint32_t count, int64_t age_ms) except? 0xFFFFFFFF
    @cython.locals(total=int64_t)
    cpdef int64_t body_bytes(self, bytes data, Py_ssize_t position, uint32_t count) except? -1
    @cython.locals(found=uint32_t, size=uint32_t)
    cpdef uint32_t fitting_count(self, bytes data, Py_ssize_t position, uint32_t count, int64_t body_bytes_max) except? 0xFFFFFFFF
    @cython.locals(found=uint32_t, size=uint32_t)
    cpdef uint32_t larger_count(self, bytes data, Py_ssize_t position, uint32_t count, int64_t body_bytes_max) except? 0xFFFFFFFF
    cpdef bytes group(self, bytes data, Py_ssize_t position)
    cpdef bytes to_record_batch(self, bytes data, int64_t base_offset, int64_t append_time_ms)
    @cython.locals(origin=bytes)
    cpdef bytes from_record_batch(self, bytes batch, int64_t base_offset, int64_t append_time_ms, bytes address)
    @cython.locals(position=Py_ssize_t, at=Py_ssize_t, size=Py_ssize_t)
    cpdef tuple without_value(self, bytes data)
    cpdef bint takes_value(self) except? True
    @cython.locals(position=Py_ssize_t)
    cpdef bytes with_value(self, bytes data, bytes source, Py_ssize_t at, Py_ssize_t size)
