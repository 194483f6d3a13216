"""C types for lease_table.py."""

import cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from entrepot.broker.timed.offset_table cimport OffsetTable
from entrepot.model.octets cimport copy, copy_ba, get_u32_le_ba, get_u64_le, get_u64_le_ba, put_u16_le, put_u32_le, put_u64_le, resize_ba, take_ba

cdef Py_ssize_t _ROW
cdef uint32_t _LAPSED
cdef uint64_t _END
cdef uint64_t _NO_BLOCK
cdef uint64_t _BLOCK
cdef Py_ssize_t _RUN
cdef int _FORMAT


@cython.final
cdef class LeaseTable:
    cdef readonly Py_ssize_t count
    cdef readonly Py_ssize_t held
    cdef readonly uint64_t end
    cdef OffsetTable index
    cdef bytearray rows
    cdef readonly Py_ssize_t capacity
    cdef int64_t free
    cdef bytearray heap
    cdef bytearray delta
    cdef uint64_t delta_block
    cdef uint64_t delta_next
    cdef list deltas
    cdef dict block_rows
    cdef uint64_t block
    cdef int64_t block_change
    cdef set emptied

    cdef int count_block(self, uint64_t block, int64_t change) except -1
    cdef int sum_block(self) except -1
    cpdef int64_t find(self, uint64_t offset) except -2
    cpdef bint is_held(self, int64_t row) except? True
    @cython.locals(p=Py_ssize_t)
    cpdef bint has_id(self, int64_t row, bytes lease_id) except? True
    cpdef bytes lease_id_of(self, int64_t row)
    cpdef uint64_t offset_of(self, int64_t row) except? 0xFFFFFFFFFFFFFFFF
    cpdef uint64_t deadline_of(self, int64_t row) except? 0xFFFFFFFFFFFFFFFF
    cpdef uint64_t first_received_of(self, int64_t row) except? 0xFFFFFFFFFFFFFFFF
    cpdef uint32_t deliveries_of(self, int64_t row) except? 0xFFFFFFFF
    @cython.locals(row=int64_t)
    cpdef uint32_t deliveries_at(self, uint64_t offset) except? 0xFFFFFFFF
    @cython.locals(first=uint32_t, count=uint64_t)
    cpdef uint64_t same_deliveries(self, uint64_t offset, uint64_t limit) except? 0xFFFFFFFFFFFFFFFF
    @cython.locals(row=int64_t, p=Py_ssize_t)
    cpdef int64_t lease(self, uint64_t offset, bytes lease_id, uint64_t deadline_ms, uint64_t now_ms, uint32_t deliveries) except -2
    @cython.locals(row=int64_t, p=Py_ssize_t)
    cpdef int restore(self, uint64_t offset, bytes lease_id, uint64_t deadline_ms, uint64_t first_received_ms, uint32_t deliveries, bint held) except -1
    @cython.locals(row=int64_t, p=Py_ssize_t)
    cpdef int adopt(self, uint64_t offset, uint64_t now_ms, uint64_t first_received_ms, uint32_t deliveries) except -1
    @cython.locals(place=Py_ssize_t)
    cpdef int change(self, int64_t row, uint64_t deadline_ms) except -1
    cpdef int hold_again(self, int64_t row, uint64_t deadline_ms) except -1
    cpdef int lapse(self, int64_t row) except -1
    cpdef uint64_t next_deadline(self) except? 0xFFFFFFFFFFFFFFFF
    @cython.locals(row=int64_t)
    cpdef uint64_t lapse_next(self, uint64_t now_ms) except? 0xFFFFFFFFFFFFFFFF
    @cython.locals(row=int64_t)
    cpdef int remove(self, uint64_t offset) except -1
    @cython.locals(row=Py_ssize_t, capacity=Py_ssize_t, offset=uint64_t)
    cpdef int remove_range(self, uint64_t first, uint64_t end) except -1
    @cython.locals(p=Py_ssize_t, offset=uint64_t, block=uint64_t, place=uint64_t, size=Py_ssize_t)
    cdef int note(self, int64_t row) except -1
    @cython.locals(at=Py_ssize_t)
    cdef bint continues(self, Py_ssize_t run, Py_ssize_t p) except? True
    @cython.locals(deltas=list, size=Py_ssize_t)
    cpdef list take_deltas(self)
    @cython.locals(row=int64_t)
    cdef int64_t add(self, uint64_t offset) except -2
    cpdef int clear(self) except -1
    @cython.locals(place=Py_ssize_t)
    cdef int push(self, int64_t row, uint64_t deadline_ms) except -1
    @cython.locals(p=Py_ssize_t, place=Py_ssize_t, last=Py_ssize_t)
    cdef int unheap(self, int64_t row) except -1
    cdef int set_place(self, Py_ssize_t place, uint64_t deadline_ms, uint32_t row) except -1
    cdef int sift(self, Py_ssize_t place) except -1
    @cython.locals(deadline=uint64_t, other=uint64_t, row=uint32_t, parent=Py_ssize_t)
    cdef int rise(self, Py_ssize_t place) except -1
    @cython.locals(deadline=uint64_t, other=uint64_t, row=uint32_t, child=Py_ssize_t)
    cdef int sink(self, Py_ssize_t place) except -1
