cimport cython
from libc.stdint cimport uint64_t

@cython.final
cdef class SendRun:
    cdef public bytes destination
    cdef public bytes transaction
    cdef public bytes data
    cdef public Py_ssize_t count
    cdef public Py_ssize_t body_bytes
    cdef public int flags
    cdef public bytes receipts

    cpdef SendRun cut(self, Py_ssize_t count)

@cython.final
cdef class AckRange:
    cdef public uint64_t subscription
    cdef public uint64_t lo
    cdef public uint64_t hi
    cdef public bint negative
    cdef public bint requeue
    cdef public bytes transaction
    cdef public bytes receipts

@cython.final
cdef class Frame:
    cdef readonly str command
    cdef readonly dict headers
    cdef readonly Py_ssize_t size
