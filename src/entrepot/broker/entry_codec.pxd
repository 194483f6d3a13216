"""C types for entry_codec.py."""

from libc.stdint cimport int64_t, uint32_t


cdef class EntryCodec:
    cdef public int tag
    cdef public int version

    cpdef bytes prefix(self, bytes address)
    cpdef Py_ssize_t start(self, bytes data) except -1
    cpdef Py_ssize_t skip(self, bytes data, Py_ssize_t position, uint32_t count) except -1
    cpdef uint32_t expired_count(self, bytes data, Py_ssize_t position, uint32_t count, int64_t age_ms) except? 0xFFFFFFFF
