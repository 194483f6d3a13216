"""C types for output.py."""

cimport cython

cdef Py_ssize_t _JOINED_MAX


@cython.final
cdef class Output:
    cdef readonly Py_ssize_t size
    cdef list _parts
    cdef bytearray _small

    @cython.locals(size=Py_ssize_t)
    cpdef int add(self, list parts) except -1
    @cython.locals(parts=list)
    cpdef list take(self)
