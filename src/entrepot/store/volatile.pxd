"""C types for volatile.py."""

import cython
from libc.stdint cimport uint32_t, uint64_t

from entrepot.model.entry cimport Entry, StoredEntry, stored_entry
from entrepot.store.entry_codec cimport encode_header
from entrepot.store.interface cimport Group, Log, Store
from entrepot.store.volatile_log cimport Item, VolatileLog, VolatileReader, decode_block, make_item, volatile_log

cdef Py_ssize_t _OVERHEAD
cdef Py_ssize_t _BLOCK_SIZE
cdef Py_ssize_t _KEEP_SIZE


cdef class VolatileStore(Store):
    # parts
    cdef object _scheduler
    cdef object _state
    cdef public object owner
    cdef public uint32_t epoch
    cdef dict _logs
    cdef Py_ssize_t _size_max
    cdef uint32_t _count_max
    # the open group
    cdef uint64_t _number
    cdef list _entries
    cdef bint _scheduled
    cdef Group _open
    # memory
    cdef Py_ssize_t _memory_size_max
    cdef readonly Py_ssize_t memory_bytes
    cdef object _scratch
    cdef object _waiting
    cdef bint _spill_scheduled
    cdef Py_ssize_t _spilling
    cdef bint _full

    @cython.locals(own=bint, log=VolatileLog, base=uint64_t)
    cpdef object append(self, list logs, Entry entry)
    @cython.locals(log=VolatileLog, item=Item, n=Py_ssize_t, size=Py_ssize_t)
    cpdef bint extend(self, list logs, Entry entry, bytes part, uint32_t count) except? True
    @cython.locals(mine=VolatileLog, item=Item, floor=uint64_t, index=Py_ssize_t)
    cpdef object discard(self, Log log, uint64_t first, uint64_t end)
    @cython.locals(mine=VolatileLog)
    cpdef object mark(self, Log log, uint64_t offset)
    cpdef object fold(self, int shard, bytes key, bytes delta)
    cpdef Group group(self)
    cpdef object urgent(self)
    @cython.locals(group=Group)
    cdef Group _new_group(self)
    cdef object _touch(self)
    cdef object _check(self)
    cdef object _release(self, VolatileLog log, Item item)
    cdef object _forget(self, VolatileLog log, Item item, Entry entry)
    cdef object _spill_soon(self)
    @cython.locals(
        index=Py_ssize_t, kept=Py_ssize_t, parts=list, items=list, size=Py_ssize_t, item=Item, stored=StoredEntry, entry=Entry, data=bytes, header=bytes
    )
    cdef bint _spill_log(self, VolatileLog log, Py_ssize_t keep) except? True
    @cython.locals(log=VolatileLog, index=Py_ssize_t, item=Item)
    cpdef object fetch(self, VolatileReader reader, uint64_t offset)
