"""C types for json_values.py."""

cimport cython

cdef Py_ssize_t _VALUES_MAX
cdef int _QUOTE, _BACKSLASH, _COMMA, _BRACKET, _BRACE

@cython.locals(values=Py_ssize_t, in_string=bint, escaped=bint, octet=cython.uchar)
cpdef Py_ssize_t check_values(bytes text) except -1
