"""C types for volatile_log.py."""

import cython
from libc.stdint cimport uint64_t

from entrepot.model.entry cimport StoredEntry, bytes_of, stored_entry
from entrepot.model.octets cimport get_u64_le
from entrepot.model.ranges cimport RangeSet
from entrepot.store.entry_codec cimport decode_entry, entry_size
from entrepot.store.interface cimport Log, LogReader

cdef Py_ssize_t _PACK_AT


@cython.final
cdef class Item:
    cdef public uint64_t first
    cdef public uint64_t end
    cdef public Py_ssize_t size
    cdef public bint own
    cdef public StoredEntry stored
    cdef public object block


@cython.locals(item=Item)
cpdef Item make_item(uint64_t first, uint64_t end, Py_ssize_t size, StoredEntry stored, object block, bint own)


@cython.final
cdef class VolatileLog(Log):
    cdef public object store
    cdef public bint dropped
    cdef readonly RangeSet holes_set
    cdef public list items
    cdef public Py_ssize_t head
    cdef public Py_ssize_t gone
    cdef public Py_ssize_t memory_bytes
    cdef public bint queued
    cdef public uint64_t append_group

    cpdef bint dead(self, uint64_t first, uint64_t end) except? True
    cpdef Item item_at(self, Py_ssize_t index)
    @cython.locals(low=Py_ssize_t, high=Py_ssize_t, middle=Py_ssize_t)
    cpdef Py_ssize_t find_item(self, uint64_t offset) except -1
    cpdef int pack(self) except -1


cdef class VolatileReader(LogReader):
    cdef readonly VolatileLog log
    cdef Py_ssize_t hint
    cdef readonly object block
    cdef list entries
    cdef object done

    @cython.locals(log=VolatileLog, item=Item, index=Py_ssize_t, stored=StoredEntry)
    cpdef StoredEntry at(self, uint64_t offset)
    @cython.locals(low=Py_ssize_t, high=Py_ssize_t, middle=Py_ssize_t, stored=StoredEntry)
    cdef StoredEntry fetched(self, uint64_t offset)
    cpdef object fetch(self, uint64_t offset, object done)
    cpdef object close(self)


cpdef VolatileLog volatile_log(Log log)
@cython.locals(found=list, at=Py_ssize_t, base=uint64_t, size=Py_ssize_t)
cpdef list decode_block(bytes data)
