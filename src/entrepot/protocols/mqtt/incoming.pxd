"""C types for incoming.py."""

import cython

from entrepot.model.octets cimport get_u16_be

cpdef tuple ids_of(bytes packed)
@cython.locals(runs=list, first=Py_ssize_t, count=Py_ssize_t, packet_id=Py_ssize_t)
cpdef list runs_of(object packet_ids)
cpdef bytes pack_ids(object packet_ids)


@cython.final
cdef class Incoming:
    cdef public Py_ssize_t receive_maximum
    cdef Py_ssize_t _unanswered
    cdef set _under_way, _taken

    cpdef int at_least_once(self, Py_ssize_t count) except -1
    cpdef int answered(self, Py_ssize_t count) except -1
    @cython.locals(found=list)
    cpdef list exactly_once(self, bytes packed)
    cpdef int stored(self, bytes packed) except -1
    cpdef int refused(self, bytes packed) except -1
    @cython.locals(known=list, unknown=list)
    cpdef tuple released(self, bytes packed)
    @cython.locals(count=Py_ssize_t)
    cdef int _check(self) except -1
