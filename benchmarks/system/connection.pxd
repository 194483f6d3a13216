cimport cython
from libc.stdint cimport uint32_t

from benchmarks.system.kernel cimport receive, transmit
from benchmarks.system.tally cimport Tally
from entrepot.model.octets cimport copy_ba, get_u16_be_ba, get_u32_be_ba, take_ba


cdef class Connection:
    cdef readonly int fd
    cdef readonly Tally tally
    cdef object poller
    cdef readonly Py_ssize_t frame_max
    cdef bytearray inbox
    cdef Py_ssize_t inbox_end
    cdef bytearray outbox
    cdef Py_ssize_t out_pos
    cdef Py_ssize_t out_end
    cdef int interest
    cdef uint32_t awaiting
    cdef readonly bint failed
    cdef bint finishing
    cdef public bint reads

    @cython.locals(wanted=cython.int)
    cpdef int watch(self) except -1
    cpdef int ready(self, uint32_t mask) except -1
    @cython.locals(n=Py_ssize_t, used=Py_ssize_t)
    cpdef int read(self) except -1
    @cython.locals(pos=Py_ssize_t, step=Py_ssize_t)
    cpdef Py_ssize_t consume(self, Py_ssize_t end) except -1
    @cython.locals(size=uint32_t, length=Py_ssize_t, kind=cython.int, method=uint32_t)
    cpdef Py_ssize_t frame(self, Py_ssize_t pos, Py_ssize_t end) except -1
    cpdef bint method(self, uint32_t method, Py_ssize_t pos, Py_ssize_t length) except? True
    cpdef int content(self, int kind, Py_ssize_t pos, Py_ssize_t length) except -1
    cpdef int drained(self) except -1
    cpdef int other_method(self, uint32_t method, Py_ssize_t pos) except -1
    @cython.locals(n=Py_ssize_t)
    cpdef int flush(self) except -1
    cpdef int ask(self, bytes frame, uint32_t answer) except -1
    cpdef int fail(self, str reason) except -1
