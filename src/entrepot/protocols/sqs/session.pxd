"""C types for session.py."""

cimport cython

from entrepot.broker.calls.port cimport Attachment, Call, Delivery, Sink
from entrepot.model.octets cimport copy, same, take_ba
from entrepot.net.turns cimport Turns
from entrepot.protocols.sqs.callers cimport Caller
from entrepot.protocols.sqs.exchange cimport Exchange
from entrepot.protocols.sqs.framing cimport Framing, Request
from entrepot.protocols.sqs.handlers cimport Route
from entrepot.protocols.sqs.json_values cimport check_values
from entrepot.protocols.sqs.output cimport Output
from entrepot.protocols.sqs.writing cimport Writer

cdef Py_ssize_t _REQUEST_STEPS, _STEP_BYTES, _LONG
cdef Py_ssize_t _PIPELINE_MAX, _WAITING_MAX, _TURN, _IDS_DRAWN, _URL_MAX
cdef bytes _CREDENTIAL, _HEX


@cython.final
cdef class Shared:
    cdef readonly object callers
    cdef readonly object clock
    cdef readonly object entropy
    cdef readonly object later
    cdef readonly object unfinished
    cdef readonly object strangers
    cdef readonly object statistics
    cdef readonly bytearray buffer
    cdef readonly Writer writer
    cdef readonly Turns turns
    cdef bytes _drawn
    cdef bytearray _id
    cdef Py_ssize_t _left

    cpdef Writer fresh_writer(self)
    @cython.locals(octets=bytearray)
    cpdef bytes message_id(self)


cdef class Session(Sink):
    # what net sees
    cdef readonly Output output
    cdef public bint closing
    cdef public bint paused
    cdef public double next_deadline
    # handed in
    cdef readonly object port
    cdef readonly object settings
    cdef readonly Shared shared
    cdef readonly Turns turns
    cdef readonly object peer
    cdef readonly object wake
    cdef readonly object journal
    # the connection
    cdef readonly Framing framing
    cdef public bint is_strangers
    cdef public Exchange active
    cdef public bint pumping
    cdef public bint rested
    cdef public bint resting
    cdef public bint throttled
    cdef public bint spent
    cdef public bint is_writable
    cdef public bint heard
    cdef public double quiet_since
    cdef public double partial_since
    cdef public unsigned long long partial_count
    # who speaks
    cdef readonly object callers
    cdef public long callers_version
    cdef public object guest
    cdef readonly dict by_key_id
    cdef public bytes last_start
    cdef public bytes last_host
    cdef public Caller last_caller
    # requests
    cdef readonly dict asked
    cdef readonly dict counted
    cdef public bytearray request_text
    cdef public unsigned long long request_count

    cpdef object get_buffer(self, Py_ssize_t size_hint)
    cpdef object buffer_updated(self, Py_ssize_t count)
    @cython.locals(left=int, framing=Framing, crowded=bint)
    cpdef object pump(self)
    @cython.locals(framing=Framing)
    cdef object _starved(self)
    @cython.locals(exchange=Exchange, operation=bytes, route=Route)
    cpdef object begin(self, Request request)
    @cython.locals(request=Request)
    cpdef object begin_query(self, Exchange exchange)
    @cython.locals(request=Request, key_id=bytes, region=bytes, name=bytes, text=bytes, start=bytes, size=Py_ssize_t, at=Py_ssize_t, end=Py_ssize_t)
    cpdef object identify(self, Exchange exchange)
    cpdef object count_as(self, bint is_strangers)
    @cython.locals(request=Request)
    cpdef object check_page(self, Exchange exchange)
    cpdef object signed_caller(self, Exchange exchange)
    cpdef object keep(self, bytes key_id, object caller)
    cpdef object forget_callers(self)
    cpdef object attachment_to(self, object caller, str namespace)
    cpdef object own_attachment(self, object caller)
    cpdef object find_target(self, Exchange exchange, str url)
    cpdef str url_of(self, Exchange exchange, str namespace, str queue)
    @cython.locals(text=bytearray, count=cython.ulonglong, at=Py_ssize_t)
    cpdef bytes request_id(self)
    cpdef object send(self, Exchange exchange, bytes answer)
    @cython.locals(exchange=Exchange)
    cpdef object completed(self, Call call)
    cpdef object count_error(self, str shape)
    cpdef Py_ssize_t deliver(self, Delivery delivery) except? -1
    cpdef object cancelled(self, object token)
    cpdef object throttle(self, bint blocked, str reason)
    cpdef object end(self)
