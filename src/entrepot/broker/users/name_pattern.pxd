"""C types for name_pattern.py."""

cimport cython


@cython.final
cdef class State:
    cdef readonly frozenset nodes
    cdef object accepts
    cdef readonly list ascii
    cdef readonly dict others

    cpdef object forget(self)


@cython.final
cdef class NamePattern:
    cdef readonly str text
    cdef readonly object any
    cdef list _kinds
    cdef list _next
    cdef list _other
    cdef list _classes
    cdef bint _fold
    cdef readonly State _first
    cdef readonly dict _states
    cdef Py_ssize_t _held

    @cython.locals(state=State, following=State, character=Py_UCS4, code=Py_ssize_t)
    cpdef bint matches(self, str name) except? True
    @cython.locals(following=State, code=Py_ssize_t)
    cpdef State _step(self, State state, str character)
    cpdef object forget(self)
    cdef bint _accepts(self, State state) except? True
