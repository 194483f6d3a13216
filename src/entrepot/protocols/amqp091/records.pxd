cimport cython
from libc.stdint cimport int64_t, uint32_t

from entrepot.broker.logs.entry_codec cimport EntryCodec
from entrepot.broker.logs.key_hash cimport key_hash
from entrepot.model.batch cimport sized
from entrepot.model.octets cimport copy, get_u16_be, get_u32_be, resize_ba, take, take_ba
from entrepot.protocols.amqp091.properties cimport expiration_ms, find_header, property_at
from entrepot.protocols.amqp091.translation cimport from_batch, start_of, to_batch

cdef int _VERSION, _VERSION_HIDING
cdef Py_ssize_t _BATCH_HEADER, _SHORT_ADDRESS
cdef int _ORIGIN
cdef uint32_t _HEADERS, _PRIORITY
cdef bytes _KEY
cdef int _STRING, _OCTETS

cpdef Py_ssize_t skip(bytes data, Py_ssize_t pos, Py_ssize_t count) except -1

@cython.locals(count=Py_ssize_t)
cpdef Py_ssize_t count_records(bytes data, Py_ssize_t pos) except -1

@cython.locals(found=list)
cpdef list positions(bytes data, Py_ssize_t pos, Py_ssize_t count)


@cython.final
cdef class PartitionRun:
    cdef readonly uint32_t number
    cdef uint32_t count
    cdef Py_ssize_t first, end, size
    cdef bytearray buffer


@cython.final
cdef class PartitionRuns:
    cdef bytes data
    cdef dict runs
    cdef PartitionRun last

    @cython.locals(run=PartitionRun)
    cdef int put(self, uint32_t number, Py_ssize_t position, Py_ssize_t after) except -1
    @cython.locals(count=Py_ssize_t, size=Py_ssize_t)
    cdef int _copy(self, PartitionRun run) except -1
    @cython.locals(run=PartitionRun, found=list)
    cdef list taken(self, uint32_t count)


@cython.locals(at=Py_ssize_t)
cdef bytes header_table(bytes data, Py_ssize_t position)

@cython.locals(at=Py_ssize_t)
cdef bytes key_of(bytes data, Py_ssize_t position)


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
    @cython.locals(position=Py_ssize_t, at=Py_ssize_t, size=Py_ssize_t)
    cpdef tuple without_value(self, bytes data)
    cpdef bint takes_value(self) except? True
    @cython.locals(position=Py_ssize_t)
    cpdef bytes with_value(self, bytes data, bytes source, Py_ssize_t at, Py_ssize_t size)
    @cython.locals(total=int64_t, size=uint32_t)
    cpdef int64_t body_bytes(self, bytes data, Py_ssize_t position, uint32_t count) except? -1
    @cython.locals(runs=PartitionRuns, left=uint32_t, position=Py_ssize_t, after=Py_ssize_t, key=bytes)
    cpdef list by_partition(self, bytes data, uint32_t count, uint32_t partitions, uint32_t keyless)
    @cython.locals(runs=PartitionRuns, left=uint32_t, position=Py_ssize_t, after=Py_ssize_t, number=uint32_t)
    cpdef list by_priority(self, bytes data, uint32_t count, uint32_t top)
    @cython.locals(runs=list, table=bytes, other=bytes, first=Py_ssize_t, position=Py_ssize_t, alike=uint32_t)
    cpdef list header_runs(self, bytes data, uint32_t count)
    @cython.locals(found=uint32_t, size=uint32_t)
    cpdef uint32_t fitting_count(self, bytes data, Py_ssize_t position, uint32_t count, int64_t body_bytes_max) except? 0xFFFFFFFF
    @cython.locals(found=uint32_t, size=uint32_t)
    cpdef uint32_t larger_count(self, bytes data, Py_ssize_t position, uint32_t count, int64_t body_bytes_max) except? 0xFFFFFFFF
