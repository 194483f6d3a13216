"""C types for group.py."""

import cython
from libc.stdint cimport uint32_t, uint64_t

from entrepot.model.entry cimport Entry
from entrepot.model.octets cimport get_u64_le_ba, put_u32_le, put_u64_le, resize_ba, take_ba
from entrepot.store.interface cimport Group, Log
from entrepot.store.local.journal cimport CommitBuilder
from entrepot.store.local.log cimport LocalLog

cdef Py_ssize_t _ROWS_MAX


@cython.final
cdef class LocalGroup(Group):
    cdef readonly uint64_t number
    cdef bint used
    cdef bint urgent
    cdef Py_ssize_t size
    cdef list entries
    cdef list targets
    cdef bytearray bases
    cdef list ends
    cdef list table
    cdef list created
    cdef list dropped
    cdef list discarded
    cdef list marked
    cdef list marks
    cdef list folds
    cdef CommitBuilder builder
    cdef bytearray places


cpdef LocalLog local_log(Log log)
cpdef bint is_large(LocalGroup group, Py_ssize_t size_max) except? True
@cython.locals(builder=CommitBuilder, log=LocalLog, places=bytearray, packed=bytearray, p=Py_ssize_t, at=Py_ssize_t, index=Py_ssize_t, entry=Entry, logs=list, n=Py_ssize_t, t=Py_ssize_t, item=Log)
cpdef int encode_group(LocalGroup group, object now_ms) except -1
@cython.locals(places=bytearray, p=Py_ssize_t, at=Py_ssize_t, index=Py_ssize_t, entry=Entry, position=uint64_t, size=uint64_t, log=LocalLog, base=uint64_t, item=Log)
cpdef object place_group(LocalGroup group, uint32_t life, uint64_t start)
