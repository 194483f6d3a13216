"""C types for json_values.py."""

cimport cython

cdef Py_ssize_t _VALUES_MAX
cdef int _QUOTE, _BACKSLASH, _COMMA, _BRACKET, _BRACE

@cython.locals(size=Py_ssize_t, pos=Py_ssize_t, values=Py_ssize_t, octet=int)
cpdef Py_ssize_t check_values(bytes text) except -1
