"""C types for ranges.py."""

import cython
from libc.stdint cimport uint64_t

from entrepot.model.range_block cimport Block, make_block

cdef uint64_t _END
cdef uint64_t _LIMIT
cdef int _RUNS
cdef int _FULL
cdef int _BLOCK
cdef uint64_t _BLOCK_U64


@cython.final
cdef class RangeSet:
    cdef readonly uint64_t count
    cdef readonly uint64_t run_first
    cdef readonly uint64_t run_end
    cdef list blocks
    cdef Py_ssize_t hint
    cdef bint track_changes
    cdef uint64_t last_changed
    cdef set changed

    @cython.locals(low=Py_ssize_t, high=Py_ssize_t, middle=Py_ssize_t, block=Block)
    cdef Py_ssize_t find(self, uint64_t number) except -1
    @cython.locals(number=uint64_t)
    cdef int note_changed(self, uint64_t first, uint64_t end) except -1
    @cython.locals(block=Block, near=Block)
    cdef int fuse(self, Py_ssize_t index) except -1
    @cython.locals(block=Block, alone=Block, position=Py_ssize_t)
    cdef int split(self, Py_ssize_t index, uint64_t number, uint64_t count) except -1

    @cython.locals(added=uint64_t, number=uint64_t, base=uint64_t, stop=uint64_t, last=uint64_t, low=int, grown=int, index=Py_ssize_t, block=Block)
    cpdef uint64_t add(self, uint64_t first, uint64_t end) except? 0xFFFFFFFFFFFFFFFF
    @cython.locals(removed=uint64_t, number=uint64_t, base=uint64_t, stop=uint64_t, block_end=uint64_t, shrunk=int, index=Py_ssize_t, block=Block)
    cpdef uint64_t remove(self, uint64_t first, uint64_t end) except? 0xFFFFFFFFFFFFFFFF
    @cython.locals(index=Py_ssize_t, block=Block)
    cpdef bint contains(self, uint64_t offset) except? True
    @cython.locals(index=Py_ssize_t, block=Block, base=uint64_t, found=int)
    cpdef uint64_t next_present(self, uint64_t offset) except? 0xFFFFFFFFFFFFFFFF
    @cython.locals(index=Py_ssize_t, block=Block, found=int)
    cpdef uint64_t next_absent(self, uint64_t offset) except? 0xFFFFFFFFFFFFFFFF
    @cython.locals(index=Py_ssize_t, block=Block, found=int, first=uint64_t)
    cpdef bint run_at(self, uint64_t offset) except? True
    @cython.locals(total=uint64_t, index=Py_ssize_t, block=Block, base=uint64_t, stop=uint64_t, low=uint64_t)
    cpdef uint64_t count_in(self, uint64_t first, uint64_t end) except? 0xFFFFFFFFFFFFFFFF
    cpdef uint64_t clear_below(self, uint64_t offset) except? 0xFFFFFFFFFFFFFFFF
    cpdef object clear(self)
    @cython.locals(found=list, position=uint64_t, stop=uint64_t)
    cpdef list ranges(self, uint64_t first, uint64_t end, Py_ssize_t limit)
    cpdef list take_changed(self)
    @cython.locals(index=Py_ssize_t, block=Block)
    cpdef bytes encode_block(self, uint64_t number)
    @cython.locals(block=Block, index=Py_ssize_t)
    cpdef object restore_block(self, uint64_t number, bytes value)
