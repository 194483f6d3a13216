"""C types for turns.py."""

cdef Py_ssize_t _TURN_STEPS, _MOST
cdef Py_ssize_t _LEFTOVERS


cdef class Turns:
    cdef public Py_ssize_t left
    cdef object _later
    cdef bint _arranged
    cdef object _waiting
    cdef object _leftovers

    cpdef int spend(self, Py_ssize_t steps) except -1
    cpdef int wait(self, object function) except -1
    cpdef int leave(self, list containers) except -1
