"""C types for waiting_line.py."""

import cython
from libc.stdint cimport int64_t

from entrepot.broker.calls.lease_calls cimport Receive
from entrepot.broker.timed.waits cimport Waits

cdef object _SHORT


@cython.final
cdef class WaitingLine:
    cdef readonly Receive first
    cdef Receive last
    cdef readonly Py_ssize_t short_count
    cdef Waits waits

    cpdef object join(self, Receive call, int64_t wait_ms)
    @cython.locals(before=Receive, after=Receive)
    cpdef object leave(self, Receive call)
