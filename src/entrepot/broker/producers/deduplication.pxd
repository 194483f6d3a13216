"""C types for deduplication.py."""

import cython
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from entrepot.model.octets cimport copy_ba, get_u32_le, get_u32_le_ba, get_u64_le, get_u64_le_ba, put_u32_le, put_u64_le, resize_ba, take_ba
from entrepot.store.interface cimport Log, Store

cdef Py_ssize_t _HEAD
cdef Py_ssize_t _BATCH
cdef Py_ssize_t _TIMED_BATCH
cdef Py_ssize_t _BATCHES
cdef int _FORMAT
cdef int _TIMED_FORMAT
cdef uint64_t _NO_TIME
cdef int _OK
cdef int _DUPLICATE
cdef int _GAP
cdef int _FENCED
cdef int _FULL
cdef uint32_t _EPOCH_MASK


@cython.final
cdef class Holder:
    cdef readonly str name
    cdef readonly Py_ssize_t count
    cdef Producer oldest
    cdef Producer newest


@cython.final
cdef class Producer:
    cdef readonly int64_t id
    cdef bytes log_id
    cdef int shard
    cdef bytes key
    cdef readonly int32_t epoch
    cdef readonly int64_t last_ms
    cdef bint timed
    cdef bytearray packed
    cdef Holder holder
    cdef Producer older
    cdef Producer newer


@cython.final
cdef class Deduplication:
    cdef Store _store
    cdef int64_t _wrap
    cdef Py_ssize_t _producers_max
    cdef Py_ssize_t _share_max
    cdef int64_t _idle_ms
    cdef int64_t _retry_ms
    cdef dict _logs
    cdef Py_ssize_t _count
    cdef dict _holders
    cdef Holder _holder
    cdef readonly int64_t known_base
    cdef readonly uint32_t known_span
    cdef readonly int64_t known_time_ms

    @cython.locals(holder=Holder)
    cpdef object hold(self, str name)

    @cython.locals(producer=Producer, value=bytes, epoch=int64_t)
    cpdef object load(self, object shards=*)
    @cython.locals(of_log=dict)
    cpdef Producer producer(self, Log log, int64_t producer_id)
    @cython.locals(producer=Producer, packed=bytearray, size=Py_ssize_t, expected=int64_t, p=Py_ssize_t, row=Py_ssize_t, sequence=int64_t, span=uint32_t)
    cpdef int judge(self, Log log, int64_t producer_id, int32_t epoch, int64_t first_sequence, uint32_t count, int64_t now_ms) except -1
    cpdef object append(self, Log log, int64_t producer_id, int32_t epoch, int64_t first_sequence, uint32_t count, int64_t now_ms)
    @cython.locals(producer=Producer, packed=bytearray, size=Py_ssize_t, row=Py_ssize_t)
    cpdef object note(
        self, Log log, int64_t producer_id, int32_t epoch, int64_t first_sequence, uint64_t base, uint32_t count, int64_t now_ms, int64_t time_ms=*)
    @cython.locals(producer=Producer)
    cpdef object fence(self, Log log, int64_t producer_id, int32_t epoch, int64_t now_ms)
    @cython.locals(producer=Producer)
    cpdef object forget(self, Log log)
    @cython.locals(producer=Producer)
    cdef Producer _touched(self, Log log, int64_t producer_id, int32_t epoch, int64_t now_ms)
    @cython.locals(packed=bytearray, timed=bytearray, p=Py_ssize_t, at=Py_ssize_t)
    cdef object _give_times(self, Producer producer)
    @cython.locals(size=Py_ssize_t, delta=bytearray)
    cdef object _stage(self, Producer producer)
    @cython.locals(producer=Producer, of_log=dict)
    cdef Producer _add(self, bytes log_id, int shard, object producer_id)
    @cython.locals(holder=Holder)
    cdef object _link(self, Producer producer)
    @cython.locals(holder=Holder, older=Producer, newer=Producer)
    cdef object _unlink(self, Producer producer)
    @cython.locals(holder=Holder, silent=Holder, other=Holder)
    cdef bint _has_room(self, int64_t now_ms) except? True
    @cython.locals(oldest=Producer, of_log=dict)
    cdef bint _forget_silent(self, Holder holder, int64_t now_ms, int64_t silent_ms) except? True
    cdef object _drop(self, Producer producer)
