"""C types for lease_state.py."""

import cython

from entrepot.model.octets cimport copy, copy_ba, get_u16_le_ba, put_u16_le, resize_ba, take_ba

cdef int _BLOCK
cdef Py_ssize_t _RUN


@cython.locals(start=Py_ssize_t, index=Py_ssize_t, parts=list, part=bytes, size=Py_ssize_t, at=Py_ssize_t, runs=bytearray)
cpdef object fold_all_leases(bytes key, object value, list deltas)
@cython.locals(owners=bytearray, rest=bytearray, count=Py_ssize_t, number=Py_ssize_t, offset=int, last=int, value=bytearray, size=Py_ssize_t, owner=int, first=int, half=Py_ssize_t)
cdef object joined(bytearray runs)
