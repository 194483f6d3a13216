"""C types for publishing.py."""

import cython

from entrepot.broker.calls.port cimport Call, Publish, make_ask, make_publish
from entrepot.protocols.mqtt.events cimport AckRun, PublishRun
from entrepot.protocols.mqtt.incoming cimport ids_of, runs_of
from entrepot.protocols.mqtt.packing cimport skip
from entrepot.protocols.mqtt.state cimport State

cdef int _STREAM, _CODEC, _CODEC_VERSION, _HAS_EXPIRY, _V5
cdef Py_ssize_t _STEP_BYTES
cdef int _PENDING, _DONE, _NO_MATCH, _FAILED
cdef int _PUBACK, _PUBREC, _PUBCOMP


@cython.final
cdef class Answer:
    cdef int qos, reason
    cdef bytes packet_ids
    cdef Publish publish
    cdef Call call, keeping


@cython.locals(answer=Answer)
cdef Answer make_answer(int qos, bytes packet_ids, Publish publish, Call call, int reason=*)
cdef object _address(State session, bytes topic)
@cython.locals(states=list, call=Publish)
cpdef int publish(State session, PublishRun run) except -1
@cython.locals(remembers=bint, answer=Answer)
cdef int _publish_noted(State session, PublishRun run, Publish call) except -1
cdef int _due(State session, Answer answer) except -1
@cython.locals(answer=Answer)
cpdef int write_answers(State session) except -1
@cython.locals(call=Call, publish=Publish, start=Py_ssize_t, at=Py_ssize_t)
cdef int _write(State session, Answer answer) except -1
@cython.locals(failed=bint)
cdef int _write_alike(State session, int qos, bytes packet_ids, int reason) except -1
@cython.locals(known=bytes, unknown=bytes)
cpdef int released(State session, AckRun run) except -1
