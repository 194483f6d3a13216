"""C types for exchange.py."""

cimport cython

from entrepot.broker.calls.port cimport Ask, Attachment, Call, make_ask
from entrepot.protocols.sqs.callers cimport Caller
from entrepot.protocols.sqs.framing cimport Request
from entrepot.protocols.sqs.writing cimport Writer

cdef int _PENDING, _DONE, _REFUSED, _UNAVAILABLE, _RETRIES_MAX, _DECISION_STEPS
cdef bytes _JSON_OK, _XML_OK, _PLAIN_JSON_OK, _LENGTH, _LINE_END, _HEAD_END, _HEAD_END_CLOSE
cdef object _ENCODER


@cython.final
cdef class Exchange:
    cdef readonly object session
    cdef readonly Request request
    cdef readonly bytes request_id
    cdef public object action
    cdef public bint is_json
    cdef public object input
    cdef public Caller caller
    cdef public Attachment attachment
    cdef public str queue
    cdef public object state
    cdef public object refused
    cdef public Call call
    cdef public object then
    cdef public int retries
    cdef public bint answered
    cdef public object writing

    @cython.locals(found=tuple)
    cpdef int open(self, str url) except -1
    cpdef int ask(self, object request, object then) except -1
    @cython.locals(decisions=dict)
    cpdef int submit(self, Call call, object then) except -1
    @cython.locals(outcome=int)
    cpdef int completed(self, Call call) except -1
    cdef int _refused(self, Call call) except -1
    cdef int _decide(self, object changed) except -1
    cdef int _checked(self, object version, bint granted) except -1
    cpdef int answer(self, object result) except -1
    cpdef int answer_json(self, bytes body) except -1
    @cython.locals(size=Py_ssize_t)
    cpdef int answer_written(self, Writer writer) except -1
    cpdef int answer_long(self, object answer) except -1
    cpdef int fail(self, object error) except -1
    cpdef int plain(self, int status, str text, str content_type=*) except -1
    cpdef int answer_preflight(self, bytes lines) except -1
    cdef int _send(self, bytes head, bytes body) except -1
    cpdef bytes head(self, bytes head, Py_ssize_t size)
    @cython.locals(end=bytes)
    cdef bytes _whole(self, bytes head, Py_ssize_t size, bytes body)
