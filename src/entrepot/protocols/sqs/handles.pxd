"""C types for handles.py."""

cimport cython
from libc.stdint cimport uint64_t

from entrepot.model.octets cimport copy, get_u32_be, get_u64_be, put_u32_be, put_u64_be, take, take_ba
from entrepot.protocols.sqs.writing cimport Writer

cdef int _VERSION
cdef Py_ssize_t _BYTES, _CHARACTERS
cdef bytearray _packed


@cython.final
cdef class Handle:
    cdef readonly bytes queue_id
    cdef readonly uint64_t offset
    cdef readonly bytes lease_id

@cython.locals(packed=bytearray)
cpdef int write_handle(Writer writer, bytes queue_id, uint64_t offset, bytes lease_id) except -1
@cython.locals(packed=bytes)
cpdef Handle read_handle(str text)
