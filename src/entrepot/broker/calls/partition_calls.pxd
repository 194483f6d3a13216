"""C types for partition_calls.py."""

import cython
from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t

from entrepot.broker.calls.port cimport Call, pend


@cython.final
cdef class AppendPart:
    # asked
    cdef public str topic
    cdef public int32_t partition
    cdef public bytes data
    cdef public uint16_t flags
    cdef public uint32_t count
    cdef public int64_t max_time_ms
    cdef public int64_t producer_id
    cdef public int32_t producer_epoch
    cdef public int64_t first_sequence
    cdef public object tag
    # answered
    cdef public int64_t base_offset
    cdef public int64_t append_time_ms
    cdef public int64_t first_offset
    cdef public object error


@cython.final
cdef class Append(Call):
    cdef public int codec
    cdef public int codec_version
    cdef public bint confirm
    cdef public list parts
    cdef public int64_t rewritten_bytes


@cython.final
cdef class ReadPart:
    # asked
    cdef public str topic
    cdef public bytes topic_id
    cdef public int32_t partition
    cdef public int64_t offset
    cdef public int64_t max_bytes
    cdef public int32_t leader_epoch
    cdef public object tag
    # the broker's
    cdef public object place
    # answered
    cdef public list data
    cdef public int64_t size
    cdef public int64_t durable_end
    cdef public int64_t stable_end
    cdef public int64_t first_offset
    cdef public list aborted
    cdef public int64_t skipped
    cdef public object error


@cython.final
cdef class Read(Call):
    cdef public int codec
    cdef public list parts
    cdef public int64_t min_bytes
    cdef public int64_t max_bytes
    cdef public int64_t max_wait_ms
    cdef public bint committed
    cdef public object state


@cython.final
cdef class CloseParts(Call):
    cdef public list parts


@cython.locals(part=AppendPart)
cpdef AppendPart make_append_part(str topic, int32_t partition, bytes data, uint16_t flags, uint32_t count, int64_t max_time_ms)
@cython.locals(call=Append)
cpdef Append make_append(int stream, int codec, int codec_version, list parts, bint confirm)
@cython.locals(part=ReadPart)
cpdef ReadPart make_read_part(str topic, int32_t partition, int64_t offset, int64_t max_bytes)
cpdef object forget_answer(ReadPart part)
@cython.locals(call=Read)
cpdef Read make_read(int stream, int codec, list parts, int64_t min_bytes, int64_t max_bytes, int64_t max_wait_ms, bint committed)
@cython.locals(call=CloseParts)
cpdef CloseParts make_close_parts(int stream, list parts)
