"""C types for segment.py."""

import cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from entrepot.model.entry cimport StoredEntry, stored_entry
from entrepot.model.octets cimport copy, get_u16_le, get_u32_le, get_u64_le, put_u16_le, put_u32_le, put_u64_le, take, take_ba

from entrepot.store.entry_codec cimport decode_apart, decode_entry

cdef bytes _MAGIC
cdef bytes _END_MAGIC
cdef int _VERSION
cdef int _PLAIN_VERSION
cdef uint32_t _HEADER_SIZE
cdef uint32_t _FOOTER_SIZE
cdef Py_ssize_t _HEAD_SIZE
cdef Py_ssize_t _PIECE_SIZE
cdef Py_ssize_t _STEP_SIZE
cdef uint64_t _STEP_BYTES
cdef Py_ssize_t _SHARED_SIZE_MIN
cdef Py_ssize_t _SHARED_COUNT_MAX
cdef Py_ssize_t _OUTPUT_SIZE
cdef uint32_t _INLINE
cdef uint32_t _REFERENCE
cdef uint32_t _ADOPTED
cdef object _crc32c
cdef Py_ssize_t _PAGE_SIZE


@cython.final
cdef class SegmentWriter:
    cdef readonly uint64_t segment_id
    cdef readonly uint32_t piece_count
    cdef readonly uint32_t step_count
    cdef int _version
    # output
    cdef bytearray _out
    cdef Py_ssize_t _used
    cdef uint64_t _taken
    cdef list _pieces
    cdef bytearray _steps
    # the shard's
    cdef dict _shared
    cdef bytes _last_key
    # the piece's
    cdef bytes _key
    cdef uint64_t _first
    cdef uint32_t _entries
    cdef uint64_t _piece_position
    cdef uint32_t _piece_step
    cdef uint64_t _greatest_ms
    # the step's
    cdef uint64_t _step_size
    cdef uint64_t _step_time_ms

    cpdef uint64_t position(self) except? 0xFFFFFFFFFFFFFFFF
    cpdef Py_ssize_t pending(self) except -1
    @cython.locals(key=bytes)
    cpdef int begin(self, uint32_t shard, bytes log_id, uint64_t first) except -1
    @cython.locals(position=uint64_t, shared=int64_t, at=Py_ssize_t)
    cpdef int add(self, uint64_t base, uint32_t span, uint64_t time_ms, bytes source, Py_ssize_t pos, Py_ssize_t size, int64_t key) except -1
    cpdef int adopt(self, uint64_t base, uint32_t span, uint64_t time_ms, uint64_t position, Py_ssize_t size) except -1
    @cython.locals(start=Py_ssize_t)
    cdef int _in_step(self, uint64_t base, uint64_t position, uint64_t time_ms) except -1
    @cython.locals(at=Py_ssize_t)
    cdef Py_ssize_t _head(self, uint64_t base, uint32_t span, uint64_t time_ms, Py_ssize_t size, uint32_t kind) except -1
    @cython.locals(at=Py_ssize_t)
    cdef int _refer(self, uint64_t base, uint32_t span, uint64_t time_ms, Py_ssize_t size, uint32_t kind, uint64_t position) except -1
    cpdef bint knows(self, int64_t key) except? True
    @cython.locals(piece=bytearray)
    cpdef int end(self, uint64_t end) except -1
    cpdef bytes take(self)
    @cython.locals(output=bytes, rest=bytes)
    cdef bytes _take(self, Py_ssize_t size)
    @cython.locals(index=bytes, index_position=uint64_t, footer=bytearray)
    cpdef bytes finish(self)
    cdef int _end_step(self) except -1
    cdef int _room(self, Py_ssize_t size) except -1
    cdef int _put(self, bytes data, Py_ssize_t pos, Py_ssize_t size) except -1


@cython.final
cdef class Piece:
    cdef readonly bytes key
    cdef readonly uint64_t first
    cdef readonly uint64_t end
    cdef readonly uint64_t position
    cdef readonly uint64_t size
    cdef readonly uint64_t data_size
    cdef readonly uint64_t max_time_ms
    cdef readonly uint32_t step_first
    cdef readonly uint32_t step_count
    cdef readonly uint32_t entry_count


@cython.final
cdef class SegmentIndex:
    cdef readonly bytes data
    cdef public bytes frames
    cdef readonly uint64_t segment_id
    cdef readonly uint64_t index_position
    cdef readonly uint32_t piece_count
    cdef readonly uint32_t step_count

    cpdef Py_ssize_t size(self) except -1
    @cython.locals(start=uint64_t, size=uint64_t)
    cpdef uint64_t data_size(self, uint64_t position, uint64_t end) except? 0xFFFFFFFFFFFFFFFF
    @cython.locals(at=Py_ssize_t, piece=Piece)
    cpdef Piece piece(self, Py_ssize_t number)
    @cython.locals(low=Py_ssize_t, high=Py_ssize_t, middle=Py_ssize_t, found=list)
    cpdef list pieces(self, bytes key)
    @cython.locals(at=Py_ssize_t)
    cpdef tuple step(self, Py_ssize_t number)
    @cython.locals(steps=Py_ssize_t, low=Py_ssize_t, high=Py_ssize_t, middle=Py_ssize_t)
    cpdef Py_ssize_t step_of_offset(self, Piece piece, uint64_t offset) except -1
    @cython.locals(steps=Py_ssize_t, end=Py_ssize_t)
    cpdef Py_ssize_t step_of_time(self, Piece piece, uint64_t time_ms, Py_ssize_t number) except? -2


cpdef uint64_t check_header(str name, bytes data) except? 0xFFFFFFFFFFFFFFFF
@cython.locals(at=uint64_t, size=uint64_t, position=uint64_t)
cpdef tuple index_place(str name, uint64_t file_size, bytes footer)
@cython.locals(position=uint64_t, loaded=SegmentIndex)
cpdef SegmentIndex load_index(str name, bytes footer, bytes index)
@cython.locals(kind=uint32_t)
cdef Py_ssize_t _check_head(str name, uint64_t position, bytes data, Py_ssize_t at) except -1
cpdef Py_ssize_t frame_size(str name, uint64_t position, bytes data, Py_ssize_t at) except -1
@cython.locals(target=uint64_t)
cdef uint64_t _referred(str name, uint64_t position, bytes data, Py_ssize_t at) except? 0xFFFFFFFFFFFFFFFF
@cython.locals(at=Py_ssize_t, size=Py_ssize_t, got=Py_ssize_t, whole=Py_ssize_t, base=uint64_t)
cpdef Py_ssize_t parse_frames(
    str name, uint64_t position, bytes data, uint64_t first, uint64_t end, Py_ssize_t size_max, list entries, list references) except -1
cpdef StoredEntry decode_referred_apart(str name, uint64_t position, uint64_t base, bytes head, bytes data)
cpdef StoredEntry decode_referred(str name, uint64_t position, uint64_t base, bytes data, Py_ssize_t at, Py_ssize_t size)


@cython.final
cdef class Frame:
    cdef readonly uint64_t base
    cdef readonly uint32_t span
    cdef readonly uint64_t time_ms
    cdef readonly Py_ssize_t size
    cdef readonly Py_ssize_t at
    cdef readonly uint64_t position
    cdef readonly Py_ssize_t whole_size


@cython.locals(whole=Py_ssize_t, frame=Frame)
cpdef Frame read_frame(str name, uint64_t position, bytes data, Py_ssize_t at)
@cython.locals(at=Py_ssize_t, size=Py_ssize_t, whole=Py_ssize_t, base=uint64_t)
cpdef tuple find_time(str name, uint64_t position, bytes data, uint64_t first, uint64_t end, uint64_t time_ms)
