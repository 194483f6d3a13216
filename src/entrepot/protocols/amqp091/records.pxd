cimport cython
from libc.stdint cimport int64_t, uint32_t

from entrepot.broker.entry_codec cimport EntryCodec
from entrepot.model.batch cimport sized
from entrepot.model.octets cimport get_u16_be, get_u32_be, take
from entrepot.protocols.amqp091.properties cimport expiration_ms, find_header, property_at
from entrepot.protocols.amqp091.translation cimport from_batch, to_batch

cdef int _VERSION
cdef Py_ssize_t _BATCH_HEADER
cdef int _ORIGIN
cdef uint32_t _HEADERS

cpdef Py_ssize_t skip(bytes data, Py_ssize_t pos, Py_ssize_t count) except -1

@cython.locals(count=Py_ssize_t)
cpdef Py_ssize_t count_records(bytes data, Py_ssize_t pos) except -1

@cython.locals(found=list)
cpdef list positions(bytes data, Py_ssize_t pos, Py_ssize_t count)

cdef class AmqpEntryCodec(EntryCodec):
    cpdef bytes prefix(self, bytes address)
    cpdef Py_ssize_t start(self, bytes data) except -1
    cpdef Py_ssize_t skip(self, bytes data, Py_ssize_t position, uint32_t count) except -1
    @cython.locals(found=uint32_t, ttl=int64_t)
    cpdef uint32_t expired_count(self, bytes data, Py_ssize_t position, uint32_t count, int64_t age_ms) except? 0xFFFFFFFF
    @cython.locals(at=Py_ssize_t)
    cpdef bytes group(self, bytes data, Py_ssize_t position)
    cpdef bytes to_record_batch(self, bytes data, int64_t base_offset, int64_t append_time_ms)
    @cython.locals(origin=bytes)
    cpdef bytes from_record_batch(self, bytes batch, int64_t base_offset, int64_t append_time_ms, bytes address)
