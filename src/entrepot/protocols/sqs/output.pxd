"""C types for output.py."""

cimport cython


@cython.final
cdef class Output:
    cdef readonly Py_ssize_t size
    cdef list _parts

    cpdef int add(self, bytes part) except -1
    @cython.locals(parts=list)
    cpdef list take(self)
