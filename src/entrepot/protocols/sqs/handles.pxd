"""C types for handles.py."""

cimport cython
from libc.stdint cimport uint64_t

from entrepot.model.octets cimport copy, get_u32_be_ba, get_u64_be_ba, put_u32_be, put_u64_be, take_ba
from entrepot.protocols.sqs.writing cimport Writer

cdef int _VERSION
cdef Py_ssize_t _BYTES, _CHARACTERS
cdef bytes _VALUES
cdef bytearray _packed


@cython.final
cdef class Handle:
    cdef readonly bytes queue_id
    cdef readonly uint64_t offset
    cdef readonly bytes lease_id

@cython.locals(packed=bytearray)
cpdef int write_handle(Writer writer, bytes queue_id, uint64_t offset, bytes lease_id) except -1
@cython.locals(packed=bytearray, octets=bytes, at=Py_ssize_t, pos=Py_ssize_t, index=Py_ssize_t, bits=cython.uint, value=cython.uint, wrong=cython.uint)
cpdef Handle read_handle(str text)
