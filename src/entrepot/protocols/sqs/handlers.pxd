"""C types for handlers.py."""

cimport cython


@cython.final
cdef class Route:
    cdef readonly object action
    cdef readonly str name
    cdef readonly tuple required
    cdef readonly object decode
    cdef readonly object handler
