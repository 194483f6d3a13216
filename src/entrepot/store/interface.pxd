"""C types for interface.py: the hot fields and calls of every store."""

import cython
from libc.stdint cimport uint32_t, uint64_t

from entrepot.model.entry cimport Entry, StoredEntry
from entrepot.store.shard_time cimport ShardTime


cdef class Group:
    cdef public uint64_t sequence
    cdef public list calls
    cdef public list logs
    cdef public bint durable


cdef class Log:
    cdef readonly bytes id
    cdef readonly int shard
    cdef public uint32_t epoch
    cdef readonly bint volatile
    cdef readonly uint64_t first_offset
    cdef readonly uint64_t next_offset
    cdef readonly uint64_t durable_offset
    cdef readonly uint64_t marked_offset
    cdef readonly uint64_t bytes_alive
    cdef public object owner

    cpdef LogReader reader(self)


cdef class LogReader:
    cdef public Py_ssize_t stretch_size
    cdef public Py_ssize_t held_bytes

    cpdef StoredEntry at(self, uint64_t offset)
    cpdef object fetch(self, uint64_t offset, object done)
    cpdef object close(self)


cdef class Store:
    cdef readonly uint64_t staged_bytes
    cdef readonly object failed
    cdef readonly set closed
    cdef readonly ShardTime time
    cdef public bint whole

    cpdef object append(self, list logs, Entry entry)
    cpdef bint extend(self, list logs, Entry entry, bytes part, uint32_t count) except? True
    cpdef object discard(self, Log log, uint64_t first, uint64_t end)
    cpdef object mark(self, Log log, uint64_t offset)
    cpdef object fold(self, int shard, bytes key, bytes delta)
    cpdef Group group(self)
    cpdef object urgent(self)
