cimport cython
from libc.stdint cimport int64_t, uint64_t

from benchmarks.system.connection cimport Connection
from benchmarks.system.kernel cimport event_fd, event_mask, now_ns, wait_events
from benchmarks.system.publisher cimport Publisher
from benchmarks.system.tally cimport Tally


@cython.final
cdef class Loop:
    cdef readonly Tally tally
    cdef readonly object poller
    cdef int poller_fd
    cdef list connections
    cdef readonly list publishers
    cdef bytearray events
    cdef readonly list samples
    cdef int64_t sample_due_ns
    cdef bint paced

    @cython.locals(tally=Tally, now=int64_t, timeout_ns=int64_t, count=Py_ssize_t, index=Py_ssize_t, connection=Connection)
    cpdef bint run(self, int64_t deadline_ns, int64_t confirmed, int64_t delivered, int64_t answered) except? True
    cpdef bint quiet(self, int64_t idle_ns, int64_t delivered) except? True
    @cython.locals(publisher=Publisher)
    cpdef int pump(self) except -1
    @cython.locals(publisher=Publisher, wait_ns=int64_t)
    cdef int64_t _pump_due(self, int64_t timeout_ns) except? -1
