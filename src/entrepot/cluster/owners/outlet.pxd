"""C types for outlet.py."""

cimport cython

from entrepot.cluster.link cimport Link


@cython.final
cdef class Outlet:
    cdef Link _link
    cdef object _routes, _told
    cdef public Py_ssize_t owner
    cdef public object wake, away
    cdef public bint is_over
