cimport cython
from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t

from entrepot.model.octets cimport get_u16_be, get_u32_be, get_u64_be, over_u16_be, over_u32_be, over_u64_be, put_u16_be, put_u32_be, put_u64_be, take, take_ba
from entrepot.protocols.kafka.lz4_frame cimport check_lz4
from entrepot.protocols.kafka.record_cursor cimport RecordCursor, make_cursor

cdef int64_t _PLAIN_ELEMENTS, _ANY_NUMBER
cdef Py_ssize_t _HEADER, _LARGE, _PLAIN, _BEFORE_SIZE, _COPIED_MAX
cdef Py_ssize_t _SIZE, _EPOCH, _MAGIC, _CRC, _ATTRIBUTES, _LAST_DELTA
cdef Py_ssize_t _BASE_TIME, _MAX_TIME, _PRODUCER_ID, _PRODUCER_EPOCH, _FIRST_SEQUENCE, _COUNT
cdef uint32_t _COMPRESSION, _APPEND_TIME, _TRANSACTIONAL, _CONTROL, _DELETE_HORIZON
cdef int _COMPRESSION_MAX, _LZ4, _ENTRY_TRANSACTIONAL
cdef int64_t _TIME_MAX, _TIME_MIN, _REQUEST_UNPACKED_MAX

@cython.final
cdef class BatchHead:
    cdef readonly bytes data
    cdef readonly int flags
    cdef readonly int compression
    cdef readonly int64_t count
    cdef readonly int64_t base_time_ms
    cdef readonly int64_t max_time_ms
    cdef readonly int64_t producer_id
    cdef readonly int producer_epoch
    cdef readonly int64_t first_sequence

@cython.final
cdef class BatchValidator:
    cdef object _unpacker
    cdef object _small
    cdef readonly int64_t size_max
    cdef public int64_t left_bytes
    cdef public int64_t unpacked_bytes

    cpdef int begin(self) except -1
    @cython.locals(left=int64_t, records=bytes)
    cdef bytes _unpack(self, object unpacker, int compression, bytes packed)
    @cython.locals(head=BatchHead, records=bytes, start=Py_ssize_t)
    cpdef BatchHead validate(self, bytes data)
    @cython.locals(size=Py_ssize_t, head=BatchHead, records=bytes, start=Py_ssize_t, headers_max=int64_t, left=int64_t, greatest=int64_t)
    cpdef BatchHead maybe_validate(self, bytes data)

@cython.locals(attributes=uint32_t, head=BatchHead)
cdef BatchHead _head_of(bytes data)
cdef BatchHead _finished(BatchHead head, bytes data, int64_t max_time_ms)

@cython.locals(size=Py_ssize_t, covered=uint32_t)
cpdef uint32_t checksum(bytes data) except? 0xFFFFFFFF

@cython.locals(size=int64_t, magic=int, crc=uint32_t)
cdef int _check_frame(bytes data) except -1

cdef int _check_head(BatchHead head, uint32_t attributes, int64_t last_delta) except -1

@cython.locals(cursor=RecordCursor, greatest=int64_t, index=int64_t, delta=int64_t, time_ms=int64_t)
cpdef int64_t check_records(bytes records, Py_ssize_t start, int64_t count, int64_t base_time_ms, int64_t headers_max) except? -2

@cython.locals(attributes=uint32_t)
cpdef bytes stamp(bytes data, int64_t base_offset, int64_t leader_epoch, int64_t append_time_ms)

cdef int64_t _signed_u16(int64_t value) except? -2
cdef int64_t _signed_u32(int64_t value) except? -2
@cython.locals(low=int64_t)
cpdef int64_t signed_u64(uint64_t value) except? -2

@cython.locals(data=bytes)
cpdef bytes seal_batch(bytearray buffer, Py_ssize_t size, int64_t base_offset, uint32_t count)
