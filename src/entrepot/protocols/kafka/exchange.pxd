"""C types for exchange.py."""

cimport cython
from libc.stdint cimport int32_t

from entrepot.broker.calls.port cimport Ask, Call, make_ask
from entrepot.protocols.kafka.primitives cimport Writer

cdef Py_ssize_t _ANSWER_MAX, _LENT_MIN


@cython.final
cdef class Exchange:
    cdef readonly object session
    cdef readonly object api
    cdef readonly int version
    cdef readonly bint flexible
    cdef readonly int32_t correlation_id
    cdef public object state
    cdef public object wanted
    cdef public list parts
    cdef public Py_ssize_t size
    cdef public bint is_read
    cdef Py_ssize_t _held_bytes
    cdef bint _lends
    cdef bint _is_long
    cdef dict _values
    cdef list _asked
    cdef list _calls
    cdef Py_ssize_t _left
    cdef object _then

    cpdef int run(self, object work) except -1
    @cython.locals(size=Py_ssize_t)
    cpdef int release(self) except -1
    cpdef int keep(self, object reader) except -1
    cpdef int hold(self, Py_ssize_t size) except -1
    @cython.locals(containers=list)
    cpdef int leave(self) except -1
    cpdef int begin(self, object reader) except -1
    @cython.locals(call=Call, asked=dict)
    cpdef int submit(self, list calls, object then) except -1
    cpdef int completed(self, Call call) except -1
    @cython.locals(calls=list, then=object)
    cdef int _ended(self) except -1
    @cython.locals(writer=Writer)
    cpdef Writer writer(self)
    cpdef int answer(self, dict values) except -1
    cpdef int encoded(self, Writer writer) except -1
    cpdef int no_answer(self) except -1
