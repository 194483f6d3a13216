"""C types for flights.py."""

import cython
from libc.stdint cimport uint64_t

cdef Py_ssize_t _ID_MAX, _OWN_IDS
cdef int _SENT, _RELEASED


@cython.final
cdef class Span:
    cdef public int source, qos, state
    cdef public uint64_t first
    cdef public Py_ssize_t count, first_id
    cdef public bint is_out

    cpdef Span part(self, Py_ssize_t at, Py_ssize_t count)


@cython.locals(span=Span)
cpdef Span make_span(int source, uint64_t first, Py_ssize_t count, Py_ssize_t first_id, int qos, int state=*, bint is_out=*)


@cython.final
cdef class Flights:
    cdef public Py_ssize_t receive_maximum, count
    cdef public Py_ssize_t _next_id  # public for tests
    cdef Py_ssize_t _out, _behind
    cdef list _spans

    cpdef Py_ssize_t room(self) except -1
    @cython.locals(found=list, looked_at=Py_ssize_t, free=Py_ssize_t, behind=Py_ssize_t)
    cpdef list begin(self, int source, uint64_t first, Py_ssize_t count, int qos)
    @cython.locals(found=list, free=Py_ssize_t, first_id=Py_ssize_t)
    cpdef list begin_own(self, int source, uint64_t first, Py_ssize_t count, int qos)
    @cython.locals(last=Span)
    cdef Span _add(self, Span span)
    @cython.locals(span=Span)
    cdef Py_ssize_t _free_ids(self, Py_ssize_t first_id, Py_ssize_t count) except -1
    cpdef tuple acknowledged(self, Py_ssize_t first_id, Py_ssize_t count, int qos)
    @cython.locals(ended=list, unknown=Py_ssize_t, index=Py_ssize_t, at=Py_ssize_t, step=Py_ssize_t, span=Span)
    cdef tuple _end(self, Py_ssize_t first_id, Py_ssize_t count, int qos, int state)
    @cython.locals(settled=list, unknown=Py_ssize_t, index=Py_ssize_t, at=Py_ssize_t, step=Py_ssize_t, span=Span, part=Span)
    cpdef tuple received(self, Py_ssize_t first_id, Py_ssize_t count)
    @cython.locals(index=Py_ssize_t, span=Span)
    cdef Py_ssize_t _find(self, Py_ssize_t packet_id, int qos, int state) except -2
    @cython.locals(span=Span, parts=list, before=Span)
    cdef int _cut(self, Py_ssize_t index, Py_ssize_t at, Py_ssize_t count, Span instead=*) except -1

@cython.locals(flights=Flights, used=set)
cpdef Flights unpack(bytes data)
cdef bint _goes_on(Span before, Span after) except? True
