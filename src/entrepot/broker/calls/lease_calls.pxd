"""C types for lease_calls.py."""

import cython
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from entrepot.broker.calls.port cimport Call, pend


@cython.final
cdef class Send(Call):
    # asked
    cdef public str queue
    cdef public int codec
    cdef public int codec_version
    cdef public uint16_t flags
    cdef public bytes data
    cdef public uint32_t count
    cdef public list sizes
    cdef public list message_ids
    cdef public list delays_ms
    cdef public list groups
    cdef public list deduplication_ids
    cdef public list content_ids
    cdef public int policy_version
    cdef public bint granted
    cdef public object tag
    # answered
    cdef public list offsets
    cdef public list stored_ids
    cdef public list errors


@cython.final
cdef class Received:
    cdef public bytes data
    cdef public uint64_t base
    cdef public Py_ssize_t position
    cdef public uint64_t offset
    cdef public uint32_t deliveries
    cdef public int64_t first_received_ms
    cdef public int64_t append_time_ms


@cython.final
cdef class Receive(Call):
    # asked
    cdef public str queue
    cdef public int codec
    cdef public uint32_t count
    cdef public int64_t visibility_ms
    cdef public int64_t wait_ms
    cdef public bytes attempt_id
    cdef public int policy_version
    cdef public bint granted
    cdef public object tag
    # while it waits
    cdef public object timed
    cdef public object state
    cdef public Receive before
    cdef public Receive after
    cdef public int64_t slot
    cdef public Receive slot_before
    cdef public Receive slot_after
    # answered
    cdef public list received
    cdef public bytes lease_id
    cdef public bytes queue_id


@cython.final
cdef class Withdraw(Call):
    cdef public Receive receive


@cython.final
cdef class EndLeases(Call):
    cdef public str queue
    cdef public bytes queue_id
    cdef public list offsets
    cdef public list lease_ids
    cdef public list visibility_ms
    cdef public int policy_version
    cdef public bint granted
    cdef public object tag
    cdef public list statuses


@cython.locals(call=Send)
cpdef Send make_send(int stream, str queue, int codec, int codec_version, uint16_t flags, bytes data, uint32_t count, list sizes, list message_ids)
@cython.locals(call=Receive)
cpdef Receive make_receive(int stream, str queue, int codec, uint32_t count, int64_t visibility_ms, int64_t wait_ms)
@cython.locals(call=Withdraw)
cpdef Withdraw make_withdraw(int stream, Receive receive)
@cython.locals(call=EndLeases)
cpdef EndLeases make_end_leases(int stream, str queue, bytes queue_id, list offsets, list lease_ids, list visibility_ms)
