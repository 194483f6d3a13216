"""C types for waits.py."""

import cython
from libc.stdint cimport int64_t

from entrepot.broker.calls.lease_calls cimport Receive
from entrepot.broker.logs.hub cimport Hub

cdef int64_t _SLOT


@cython.final
cdef class Waits:
    cdef readonly Py_ssize_t count
    cdef Hub hub
    cdef object over
    cdef dict slots
    cdef list slots_due
    cdef object timer
    cdef int64_t timer_slot

    @cython.locals(slot=int64_t, first=Receive)
    cpdef object add(self, Receive call, int64_t wait_ms)
    @cython.locals(before=Receive, after=Receive)
    cpdef object remove(self, Receive call)
    cdef int64_t now_ms(self) except? -1
