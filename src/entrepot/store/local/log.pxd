"""C types for log.py."""

import cython
from libc.stdint cimport uint32_t, uint64_t

from entrepot.model.entry cimport Entry, StoredEntry, bytes_of, stored_entry
from entrepot.model.octets cimport get_u64_le_ba, put_u64_le, resize_ba, take_ba
from entrepot.model.ranges cimport RangeSet
from entrepot.store.interface cimport Log, LogReader
from entrepot.store.local.index cimport Rows

cdef Py_ssize_t _OVERHEAD
cdef Py_ssize_t _FETCH
cdef Py_ssize_t _PACK_AT
cdef Py_ssize_t _PACK_TAIL_AT


@cython.final
cdef class LocalLog(Log):
    cdef public object store
    cdef public Py_ssize_t place
    cdef public bint dropped
    cdef public bint changed
    cdef readonly RangeSet holes_set
    cdef readonly Rows rows
    cdef public Py_ssize_t head_size
    cdef readonly uint64_t sealed_end
    cdef list tail
    cdef bytearray tail_bases
    cdef Py_ssize_t tail_head
    cdef Py_ssize_t tail_gone
    cdef uint64_t append_group
    cdef uint64_t table_group
    cdef uint32_t table_index
    cdef uint64_t discard_group
    cdef uint64_t discard_first
    cdef uint64_t discard_end
    cdef bytearray discard_buffer
    cdef uint64_t mark_group
    cdef uint64_t mark_staged
    cdef readonly uint64_t mark_high

    cpdef bint dead(self, uint64_t first, uint64_t end) except? True
    cpdef bint whole(self, uint64_t first, uint64_t end) except? True
    cpdef uint64_t tail_first(self) except? 0xFFFFFFFFFFFFFFFF
    cpdef uint64_t tail_end_of(self, Py_ssize_t index) except? 0xFFFFFFFFFFFFFFFF
    @cython.locals(base=uint64_t, p=Py_ssize_t)
    cpdef uint64_t push(self, Entry entry) except? 0xFFFFFFFFFFFFFFFF
    @cython.locals(n=Py_ssize_t)
    cpdef bint ends_with(self, Entry entry) except? True
    cpdef int grow(self, uint32_t count, uint64_t size) except -1
    @cython.locals(low=Py_ssize_t, high=Py_ssize_t, middle=Py_ssize_t)
    cpdef Py_ssize_t tail_find(self, uint64_t offset) except -1
    @cython.locals(freed=Py_ssize_t, head=Py_ssize_t, n=Py_ssize_t, entry=Entry)
    cpdef Py_ssize_t pop_front(self, uint64_t end) except -1
    cdef Py_ssize_t let_go(self, Entry entry) except -1
    cpdef Py_ssize_t clear(self) except -1
    @cython.locals(floor=uint64_t)
    cpdef Py_ssize_t discard_now(self, uint64_t first, uint64_t end) except -1
    @cython.locals(tail=uint64_t, gone=uint64_t, alive=uint64_t)
    cdef int shrink_cold(self, uint64_t first, uint64_t end) except -1
    @cython.locals(rows=Rows, n=Py_ssize_t)
    cdef int drop_rows(self, uint64_t floor) except -1
    @cython.locals(head=Py_ssize_t, n=Py_ssize_t, entry=Entry)
    cdef Py_ssize_t release_front(self, uint64_t floor) except -1
    @cython.locals(freed=Py_ssize_t, start=uint64_t, index=Py_ssize_t, n=Py_ssize_t, base=uint64_t, entry=Entry)
    cdef Py_ssize_t release_middle(self, uint64_t first, uint64_t end) except -1
    cdef int shrink(self, uint64_t size) except -1
    cdef int stage_mark(self, uint64_t offset) except -1
    cpdef int stage_discard(self, uint64_t first, uint64_t end) except -1
    @cython.locals(p=Py_ssize_t)
    cdef int flush_discard(self) except -1
    @cython.locals(packed=bytes)
    cpdef bytes take_discards(self)
    @cython.locals(first=Py_ssize_t, end=Py_ssize_t)
    cpdef bytes rows_through(self, uint32_t life)
    cpdef int forget_through(self, uint32_t life) except -1
    cpdef int sealed(self, uint64_t base, uint32_t life, uint32_t position, uint32_t size, uint32_t span) except -1
    cpdef int committed(self, uint64_t end) except -1
    cpdef int marked(self, uint64_t offset) except -1
    cpdef int restore(self, uint64_t first, uint64_t next_offset, uint64_t marked, uint64_t bytes_alive) except -1
    @cython.locals(end=uint64_t)
    cpdef int replay_append(self, uint64_t base, uint32_t life, uint32_t position, uint32_t size, uint32_t span) except -1


cdef class LocalReader(LogReader):
    cdef readonly LocalLog log
    cdef Py_ssize_t hint
    cdef list fetched
    cdef uint64_t fetched_first
    cdef uint64_t fetched_end
    cdef Py_ssize_t hint_fetched
    cdef uint64_t wanted
    cdef object done
    # the stretch behind it
    cdef list ahead
    cdef uint64_t ahead_first
    cdef uint64_t ahead_end
    cdef bint ahead_loading
    cdef bint closed

    @cython.locals(log=LocalLog, stored=StoredEntry)
    cpdef StoredEntry at(self, uint64_t offset)
    @cython.locals(log=LocalLog, index=Py_ssize_t, entry=Entry)
    cdef StoredEntry in_tail(self, uint64_t offset)
    @cython.locals(n=Py_ssize_t, low=Py_ssize_t, high=Py_ssize_t, middle=Py_ssize_t, stored=StoredEntry)
    cdef StoredEntry in_fetched(self, uint64_t offset)
    cdef int take_ahead(self) except -1
    @cython.locals(log=LocalLog)
    cdef int read_ahead(self) except -1
    cpdef object fetch(self, uint64_t offset, object done)
    @cython.locals(log=LocalLog)
    cdef object go_on(self, uint64_t offset)
    cpdef object loaded(self, uint64_t first, uint64_t end, list entries)
    cpdef object close(self)
