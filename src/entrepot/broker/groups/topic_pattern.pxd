"""C types for topic_pattern.py."""

cimport cython


@cython.final
cdef class State:
    cdef frozenset nodes
    cdef object accepts
    cdef list ascii
    cdef dict others

    cpdef object forget(self)


@cython.final
cdef class TopicPattern:
    cdef readonly str text
    cdef list _kinds
    cdef list _next
    cdef list _other
    cdef list _classes
    cdef bint _fold
    cdef State _first
    cdef dict _states

    @cython.locals(state=State, following=State, character=Py_UCS4, code=Py_ssize_t)
    cpdef bint matches(self, str name) except? True
    @cython.locals(following=State, code=Py_ssize_t)
    cpdef State _step(self, State state, str character)
