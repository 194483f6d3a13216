"""C types for characters.py."""

cimport cython

@cython.locals(end=Py_ssize_t, pos=Py_ssize_t, octet=int)
cpdef Py_ssize_t illegal_at(bytes text) except -2
