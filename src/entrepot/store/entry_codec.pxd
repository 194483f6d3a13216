"""C types for entry_codec.py."""

import cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from entrepot.model.entry cimport Entry, restore_entry
from entrepot.model.octets cimport get_u16_le, get_u32_le, get_u64_le, put_u16_le, put_u32_le, put_u64_le, take, take_ba

cdef Py_ssize_t _HEADER_MIN
cdef Py_ssize_t _SIZE_MAX
cdef Py_ssize_t _HEADER_MAX
cdef Py_ssize_t _LARGE
cdef uint64_t _ALL
cdef int _HAS_EPOCH
cdef int _HAS_SPAN
cdef int _HAS_MAX_TIME
cdef int _HAS_PRODUCER
cdef int _HAS_TRANSACTION


@cython.locals(data=bytes, presence=int, size=Py_ssize_t, length=Py_ssize_t, head=bytearray, p=Py_ssize_t)
cpdef bytes encode_header(Entry entry)
@cython.locals(left=Py_ssize_t, size=Py_ssize_t)
cpdef Py_ssize_t entry_size(bytes data, Py_ssize_t pos, Py_ssize_t end) except -1
cpdef int64_t appended_time(bytes data, Py_ssize_t pos) except? -1
@cython.locals(size=Py_ssize_t, body=bytes, header_size=Py_ssize_t)
cpdef Entry decode_entry(bytes data, Py_ssize_t pos, Py_ssize_t end)
@cython.locals(whole=Py_ssize_t, is_header=bint, joined=bytes, body=bytes)
cpdef Entry decode_apart(bytes head, bytes data)
@cython.locals(header_size=Py_ssize_t, expected=Py_ssize_t, presence=int)
cdef int _check_header(bytes body, Py_ssize_t size) except -1
@cython.locals(presence=int, count=uint32_t, span=uint32_t, epoch=uint32_t, p=Py_ssize_t, entry=Entry)
cdef Entry _restored(bytes body, bytes data)
@cython.locals(presence=uint8_t)
cpdef uint32_t entry_span(bytes data, Py_ssize_t pos) except? 0xFFFFFFFF
@cython.locals(presence=uint8_t, p=Py_ssize_t)
cpdef int64_t entry_time(bytes data, Py_ssize_t pos) except? -1
cdef int64_t _signed(uint64_t value) except? -1
cdef int32_t _signed32(uint32_t value) except? -1
