"""C types for session.py."""

import cython

from entrepot.broker.calls.port cimport Attachment, Call, Delivery, Publish
from entrepot.net.turns cimport Turns
from entrepot.protocols.mqtt.codec cimport Decoder
from entrepot.protocols.mqtt.delivering cimport acknowledged, received
from entrepot.protocols.mqtt.delivering cimport completed as let_go
from entrepot.protocols.mqtt.delivering cimport deliver as send_delivery
from entrepot.protocols.mqtt.events cimport AckRun, Pings, PublishRun
from entrepot.protocols.mqtt.publishing cimport publish, released, write_answers
from entrepot.protocols.mqtt.state cimport State

cdef Py_ssize_t _PIECE_STEPS, _EVENT_STEPS, _PACKET_STEPS, _ID_STEPS, _ANSWERS_HIGH
cdef int _LEAVING, _DONE, _PUBACK, _PUBREC, _PUBREL


cdef class Session(State):
    cpdef object get_buffer(self, Py_ssize_t size_hint)
    @cython.locals(events=list)
    cpdef object buffer_updated(self, Py_ssize_t count)
    @cython.locals(turns=Turns, steps=Py_ssize_t, done=Py_ssize_t)
    cpdef object take_in(self, list events)
    @cython.locals(steps=Py_ssize_t, attachment=Attachment, acks=AckRun, run=PublishRun)
    cpdef Py_ssize_t step(self, object event) except -1
    @cython.locals(waits=bint, paused=bint)
    cpdef object update_paused(self)
    cpdef object on_event(self, object event)
    cdef object on_acks(self, AckRun run)
    @cython.locals(run=Publish)
    cpdef object completed(self, Call call)
    cdef object on_answer(self, Call call)
    cpdef Py_ssize_t deliver(self, Delivery delivery) except? -1
    cpdef object fail(self, object error)
    cpdef object flushed(self)
    cpdef object writable(self, bint is_writable)
