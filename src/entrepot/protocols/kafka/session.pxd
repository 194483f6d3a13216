"""C types for session.py."""

cimport cython
from libc.stdint cimport int64_t

from entrepot.broker.calls.port cimport Attachment, Call, Delivery, Sink
from entrepot.net.turns cimport Turns
from entrepot.protocols.kafka.exchange cimport Exchange
from entrepot.protocols.kafka.framing cimport Framing
from entrepot.protocols.kafka.output cimport Output
from entrepot.protocols.kafka.primitives cimport Reader

cdef Py_ssize_t _PIPELINE_MAX, _QUEUED_MAX
cdef int _TURN, _TURN_OTHER, _OTHER_STEPS, _PRODUCE, _API_VERSIONS
cdef Py_ssize_t _FREE


cdef class Session(Sink):
    # what net sees
    cdef readonly Output output
    cdef public bint closing
    cdef public bint paused
    cdef public double next_deadline
    # handed in
    cdef readonly object port
    cdef readonly object authenticator
    cdef readonly object settings
    cdef readonly object shared
    cdef readonly Turns turns
    cdef readonly object peer
    cdef readonly object wake
    cdef readonly object journal
    # the connection
    cdef readonly Framing framing
    cdef public object principal
    cdef public Attachment attachment
    cdef public object sasl
    cdef public str client_id
    cdef public str product
    cdef public bint heard
    cdef public double quiet_since
    cdef public bint throttled
    cdef public bint is_writable
    # requests
    cdef readonly object pending
    cdef readonly dict asked
    cdef public bint blocked
    cdef public Py_ssize_t queued_bytes
    cdef public bint pumping
    cdef public bint resting
    cdef public bint taking
    cdef readonly object fetches

    cpdef object get_buffer(self, Py_ssize_t size_hint)
    cpdef object buffer_updated(self, Py_ssize_t count)
    @cython.locals(left=int, key=int)
    cpdef object pump(self)
    @cython.locals(reader=Reader, key=int, version=int, correlation_id=int64_t, served=bint, exchange=Exchange)
    cpdef object begin(self)
    @cython.locals(exchange=Exchange, sent=bint)
    cpdef object answered(self)
    @cython.locals(exchange=Exchange)
    cpdef object completed(self, Call call)
    cpdef object go_on(self)
    cpdef Py_ssize_t deliver(self, Delivery delivery) except? -1
    cpdef object cancelled(self, object token)
    cpdef object throttle(self, bint blocked, str reason)
    cpdef object flushed(self)
    cpdef object writable(self, bint is_writable)
