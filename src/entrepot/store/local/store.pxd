"""C types for store.py."""

import cython
from libc.stdint cimport uint32_t, uint64_t

from entrepot.model.entry cimport Entry
from entrepot.model.octets cimport get_u64_le_ba, put_u64_le, resize_ba
from entrepot.store.interface cimport Group, Log, Store
from entrepot.store.local.group cimport LocalGroup, encode_group, is_large, local_log, place_group
from entrepot.store.local.index cimport Rows
from entrepot.store.local.journal cimport CommitBuilder
from entrepot.store.local.log cimport LocalLog, LocalReader

cdef Py_ssize_t _OVERHEAD
cdef Py_ssize_t _ROW
cdef Py_ssize_t _STEP


cdef class LocalStore(Store):
    cdef object _disk
    cdef public object scheduler
    cdef public object settings
    cdef Py_ssize_t _entry_size_max
    cdef uint32_t _entry_count_max
    cdef public object ring
    cdef public object state
    cdef public object maintenance
    cdef public object owner
    cdef readonly object table
    cdef public uint32_t epoch
    cdef public uint64_t numbers
    cdef public uint64_t sequence
    cdef public uint64_t synced
    cdef public uint32_t chain
    cdef LocalGroup _open
    cdef list _encoded
    cdef LocalGroup _sealed
    cdef Py_ssize_t _group_size_max
    cdef bint _scheduled
    cdef object _timer
    cdef object _sync_timer
    cdef bint _unsynced
    cdef public object closing
    cdef readonly Py_ssize_t cached_bytes
    cdef public bint cut_wanted
    cdef public list dropped_ids
    cdef readonly uint64_t durable_number
    cdef uint64_t _staged_max
    cdef list _fifo_logs
    cdef bytearray _fifo_ends
    cdef Py_ssize_t _fifo_head
    cdef Py_ssize_t _fifo_bytes
    cdef public bint full
    cdef public bint pressure
    cdef readonly uint64_t placed
    cdef readonly uint64_t commit_count
    cdef readonly uint64_t commit_bytes
    cdef readonly double commit_seconds

    @cython.locals(group=LocalGroup, log=LocalLog, p=Py_ssize_t)
    cpdef object append(self, list logs, Entry entry)
    @cython.locals(size=Py_ssize_t, item=Log)
    cpdef bint extend(self, list logs, Entry entry, bytes part, uint32_t count) except? True
    @cython.locals(local=LocalLog, group=LocalGroup)
    cpdef object discard(self, Log log, uint64_t first, uint64_t end)
    @cython.locals(local=LocalLog, group=LocalGroup)
    cpdef object mark(self, Log log, uint64_t offset)
    @cython.locals(group=LocalGroup)
    cpdef object fold(self, int shard, bytes key, bytes delta)
    cpdef Group group(self)
    cpdef object urgent(self)
    @cython.locals(group=LocalGroup)
    cdef object _number(self, LocalLog log)
    cdef object _touch(self, LocalGroup group)
    cdef LocalGroup _new_group(self)
    cdef object _encode(self, LocalGroup group)
    @cython.locals(group=LocalGroup, builder=CommitBuilder, sequence=uint64_t, size=Py_ssize_t, position=Py_ssize_t, chain=uint32_t)
    cdef object _write(self)
    @cython.locals(index=Py_ssize_t, log=LocalLog)
    cdef object _complete(self, LocalGroup group)
    @cython.locals(group=LocalGroup)
    cdef object _next(self)
    @cython.locals(n=Py_ssize_t)
    cdef object _fifo_push(self, LocalLog log, uint64_t end)
    @cython.locals(head=Py_ssize_t, n=Py_ssize_t, log=LocalLog, end=uint64_t, budget=Py_ssize_t)
    cdef object _evict(self)
    cpdef object fetch(self, LocalReader reader, uint64_t offset)
