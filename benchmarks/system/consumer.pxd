cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t

from benchmarks.system.connection cimport Connection
from benchmarks.system.kernel cimport get_u64_le_ba, now_ns, same
from benchmarks.system.latency cimport Histogram
from benchmarks.system.ledger cimport Ledger
from entrepot.model.octets cimport copy, copy_ba, get_u16_be_ba, get_u64_be_ba, put_u64_be, take_ba


# not @cython.final: Cython 3.2 refuses overriding methods declared in a final class
cdef class Consumer(Connection):
    cdef bytes ack
    cdef bytes filler
    cdef Py_ssize_t size
    cdef readonly Ledger ledger
    cdef Histogram latency
    cdef int64_t ack_every
    cdef int64_t since_ack
    cdef uint64_t last_tag
    cdef uint64_t[::1] expected
    cdef bytes template
    cdef Py_ssize_t stride
    cdef Py_ssize_t tag_at
    cdef Py_ssize_t head_at
    cdef int state
    cdef Py_ssize_t start
    cdef Py_ssize_t tag_at_now
    cdef uint64_t tag
    cdef bint redelivered
    cdef Py_ssize_t body_at
    cdef Py_ssize_t body_size
    cdef Py_ssize_t body_seen
    cdef bint body_damaged
    cdef uint64_t head
    cdef uint64_t stamp
    cdef uint64_t now
    cdef uint64_t run
    cdef uint64_t run_head
    cdef uint64_t run_ns

    @cython.locals(pos=Py_ssize_t, inbox=bytearray, template=bytes, stride=Py_ssize_t, tag=uint64_t, head=uint64_t, stamp=uint64_t, step=Py_ssize_t)
    cpdef Py_ssize_t consume(self, Py_ssize_t end) except -1
    cdef int _end_run(self) except -1
    @cython.locals(publisher=uint64_t, first=uint64_t)
    cpdef int note(self, uint64_t head, uint64_t stamp, uint64_t count) except -1
    @cython.locals(tag_at=Py_ssize_t)
    cpdef bint method(self, uint32_t method, Py_ssize_t pos, Py_ssize_t length) except? True
    @cython.locals(size=uint64_t)
    cpdef int content(self, int kind, Py_ssize_t pos, Py_ssize_t length) except -1
    cdef int _body(self, Py_ssize_t at, Py_ssize_t count) except -1
    cdef int _whole(self, Py_ssize_t end) except -1
    @cython.locals(at=Py_ssize_t)
    cdef int _acknowledge(self) except -1
    @cython.locals(unsent=Py_ssize_t)
    cdef int _make_room(self) except -1
    cdef int _send_acks(self) except -1
