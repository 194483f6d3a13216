"""C types for passes.py."""

import cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from entrepot.model.octets cimport get_u32_le, get_u32_le_ba, get_u64_le, put_u32_le
from entrepot.store.entry_codec cimport entry_time
from entrepot.store.local.segment cimport Frame, SegmentWriter, read_frame

cdef Py_ssize_t _PAGE_SIZE
cdef Py_ssize_t _ROW_SIZE
cdef Py_ssize_t _GAP_PAGES
cdef Py_ssize_t _ENTRY_HEAD_SIZE
cdef Py_ssize_t _BODY_SIZE_MIN
cdef int _FINISHED
cdef int _MORE
cdef int _BODY
cdef int _SLICE


@cython.final
cdef class SortPass:
    cdef readonly uint32_t life
    cdef str _name
    cdef list _logs
    cdef Py_ssize_t _page_count
    cdef bytearray _reach
    # the window's
    cdef bytearray _place
    cdef bytes _arena
    cdef Py_ssize_t _page
    cdef Py_ssize_t _first_page
    cdef Py_ssize_t _end_page
    # per log
    cdef bytearray _starts
    cdef bytearray _ordered
    # where marking or emitting is
    cdef Py_ssize_t _log
    cdef Py_ssize_t _row
    cdef Py_ssize_t _last
    cdef bint _open
    cdef uint64_t _run_end

    @cython.locals(seen=Py_ssize_t, rows=bytes, position=Py_ssize_t, first=Py_ssize_t, last=Py_ssize_t)
    cpdef bint mark(self, Py_ssize_t rows_max) except? True
    @cython.locals(extents=list, loaded=Py_ssize_t, start=Py_ssize_t, last=Py_ssize_t, page=Py_ssize_t, full=bint, needed=Py_ssize_t, reach=Py_ssize_t)
    cpdef list next_window(self, Py_ssize_t size_max)
    cpdef int load(self, bytes arena) except -1
    @cython.locals(
        seen=Py_ssize_t, start=uint64_t, row=tuple, rows=bytes, at=Py_ssize_t, position=Py_ssize_t, page=Py_ssize_t, base=uint64_t, size=Py_ssize_t,
        span=uint32_t, there=Py_ssize_t, time_ms=int64_t
    )
    cpdef bint emit(self, SegmentWriter writer, Py_ssize_t rows_max, uint64_t bytes_max) except? True


@cython.final
cdef class AdoptPass:
    cdef readonly uint32_t life
    cdef readonly uint64_t alive_bytes
    cdef readonly uint64_t alive_count
    cdef str _name
    cdef list _logs
    cdef list _batch
    cdef Py_ssize_t _log
    cdef Py_ssize_t _row
    cdef bint _open
    cdef uint64_t _run_end

    @cython.locals(seen=Py_ssize_t, row=tuple, rows=bytes, at=Py_ssize_t, base=uint64_t)
    cpdef bint measure(self, Py_ssize_t rows_max) except? True
    @cython.locals(extents=list, seen=Py_ssize_t, row=tuple, rows=bytes, at=Py_ssize_t, base=uint64_t)
    cpdef list next_heads(self, Py_ssize_t rows_max)
    @cython.locals(
        there=Py_ssize_t, number=Py_ssize_t, at=Py_ssize_t, row=tuple, rows=bytes, base=uint64_t, position=uint64_t, size=Py_ssize_t, span=uint32_t,
        head=Py_ssize_t, time_ms=int64_t
    )
    cpdef int emit(self, SegmentWriter writer, bytes heads) except -1
    cpdef int finish(self, SegmentWriter writer) except -1


@cython.locals(seen=Py_ssize_t, frame=Frame, key=int64_t, start=uint64_t)
cpdef tuple copy_frames(
    SegmentWriter writer, str name, uint64_t position, bytes data, Py_ssize_t at, Py_ssize_t stop, uint64_t first, uint64_t end, object log, int64_t source,
    Py_ssize_t frames_max, uint64_t bytes_max
)
