"""C types for group_window.py."""

import cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from entrepot.broker.timed.offset_table cimport OffsetTable
from entrepot.model.octets cimport get_u32_le_ba, get_u64_le_ba, put_u32_le, put_u64_le, resize_ba

cdef uint64_t _END
cdef Py_ssize_t _ITEM
cdef Py_ssize_t _GROUP
cdef uint32_t _FEW
cdef int _STEPS
cdef uint64_t _NEAR
cdef uint64_t _CLASS


@cython.final
cdef class GroupWindow:
    cdef readonly bint ordered
    cdef readonly Py_ssize_t count
    cdef readonly Py_ssize_t linked
    cdef OffsetTable index
    cdef bytearray items
    cdef Py_ssize_t item_capacity
    cdef int64_t free_item
    cdef bytearray groups
    cdef Py_ssize_t group_capacity
    cdef readonly Py_ssize_t group_count
    cdef int64_t free_group
    cdef dict names
    cdef list group_names
    cdef bytearray heap
    cdef Py_ssize_t heap_count
    cdef uint64_t turn
    cdef int64_t current
    cdef int64_t hint

    cpdef bint knows(self, uint64_t offset) except? True
    @cython.locals(group=int64_t, item=int64_t, p=Py_ssize_t, g=Py_ssize_t)
    cpdef int add(self, uint64_t offset, bytes name, bint ready) except -1
    @cython.locals(group=int64_t, item=int64_t, p=Py_ssize_t, g=Py_ssize_t)
    cpdef int taken(self, uint64_t offset) except -1
    @cython.locals(group=int64_t, item=int64_t, p=Py_ssize_t, g=Py_ssize_t)
    cpdef int returned(self, uint64_t offset) except -1
    @cython.locals(group=int64_t, item=int64_t, p=Py_ssize_t, g=Py_ssize_t, ready=uint32_t, left=uint32_t)
    cpdef int remove(self, uint64_t offset) except -1
    @cython.locals(item=Py_ssize_t, offset=uint64_t)
    cpdef int remove_range(self, uint64_t first, uint64_t end) except -1
    cpdef int begin(self) except -1
    @cython.locals(after=uint32_t, offset=uint64_t, group=int64_t, item=int64_t, key=uint64_t)
    cpdef uint64_t next(self) except? 0xFFFFFFFFFFFFFFFF
    @cython.locals(item=int64_t)
    cpdef bint is_again(self, uint64_t offset) except? True
    @cython.locals(item=int64_t)
    cpdef int take(self, uint64_t offset) except -1
    @cython.locals(group=int64_t, g=Py_ssize_t)
    cdef int64_t add_group(self, bytes name) except -2
    @cython.locals(g=Py_ssize_t)
    cdef int drop_group(self, int64_t group) except -1
    @cython.locals(g=Py_ssize_t, p=Py_ssize_t, offset=uint64_t, last=uint32_t, before=uint32_t, after=uint32_t, hint=int64_t, steps=int)
    cdef int link(self, int64_t item, int64_t group) except -1
    @cython.locals(g=Py_ssize_t, p=Py_ssize_t, before=uint32_t, after=uint32_t)
    cdef int unlink(self, int64_t item, int64_t group) except -1
    @cython.locals(g=Py_ssize_t, key=uint64_t, earliest=uint64_t, first=uint32_t, few=uint32_t)
    cdef int offer(self, int64_t group) except -1
    @cython.locals(place=Py_ssize_t, parent=Py_ssize_t, other=uint64_t)
    cdef int push(self, uint64_t key, int64_t group) except -1
    @cython.locals(place=Py_ssize_t, last=Py_ssize_t, child=Py_ssize_t, other=uint64_t, key=uint64_t, group=uint32_t)
    cdef int pop(self) except -1
    @cython.locals(group=Py_ssize_t, key=uint64_t)
    cdef int rebuild(self) except -1
