"""C types for callers.py."""

cimport cython


@cython.final
cdef class Caller:
    cdef readonly object principal
    cdef readonly str namespace
    cdef readonly str account
    cdef readonly str region
    cdef readonly str arn
    cdef readonly bytes sender
    cdef readonly dict attachments
    cdef readonly dict targets
    cdef readonly dict decisions
