cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from benchmarks.system.connection cimport Connection
from benchmarks.system.kernel cimport now_ns, same
from benchmarks.system.latency cimport Histogram
from entrepot.model.octets cimport get_u64_be_ba, put_u64_le


# not @cython.final: Cython 3.2 refuses overriding methods declared in a final class
cdef class Publisher(Connection):
    cdef readonly uint64_t number
    cdef readonly int64_t routes
    cdef readonly Py_ssize_t stride
    cdef Py_ssize_t body_at
    cdef int64_t window
    cdef int64_t batch
    cdef int64_t reel_count
    cdef uint64_t slots_mask
    cdef uint64_t[::1] sent_ns
    cdef readonly uint64_t next
    cdef uint64_t lowest
    cdef readonly int64_t outstanding
    cdef Histogram latency
    cdef readonly uint64_t interval_ns
    cdef uint64_t first_due_ns
    cdef int fault
    cdef bytes ack
    cdef readonly list refused

    cpdef uint64_t due_ns(self)
    @cython.locals(wanted=int64_t, room=int64_t, span=int64_t, now=uint64_t, due=uint64_t, ripe=int64_t, place=int64_t)
    cpdef int pump(self) except -1
    @cython.locals(at=Py_ssize_t, sequence=uint64_t, stamp=uint64_t, publisher=uint64_t, number=uint64_t, _=int64_t)
    cdef int _stamp(self, int64_t place, int64_t count, uint64_t now) except -1
    @cython.locals(step=uint64_t)
    cdef uint64_t _wrong(self, uint64_t sequence)
    @cython.locals(pos=Py_ssize_t, step=Py_ssize_t, now=uint64_t)
    cpdef Py_ssize_t consume(self, Py_ssize_t end) except -1
    cpdef bint method(self, uint32_t method, Py_ssize_t pos, Py_ssize_t length) except? True
    cpdef int drained(self) except -1
    @cython.locals(last=uint64_t, at=uint64_t, counted=int64_t, run=uint64_t, run_ns=uint64_t, stamp=uint64_t)
    cdef int _confirm(self, uint64_t tag, bint multiple, uint64_t now, bint positive) except -1
