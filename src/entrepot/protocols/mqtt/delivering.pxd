"""C types for delivering.py."""

import cython
from libc.stdint cimport int64_t, uint64_t

from entrepot.broker.calls.port cimport Attachment, Delivery, Settle, make_settle
from entrepot.model.octets cimport get_u16_be, take
from entrepot.protocols.mqtt.events cimport AckRun
from entrepot.protocols.mqtt.flights cimport Flights, Span
from entrepot.protocols.mqtt.incoming cimport ids_of, pack_ids, runs_of
from entrepot.protocols.mqtt.output cimport Output, Template, make_template
from entrepot.protocols.mqtt.packing cimport alike_count, flags_of, qos_of, skip
from entrepot.protocols.mqtt.state cimport State

cdef int _STREAM, _ACCEPT, _V5, _MAIN
cdef Py_ssize_t _OUTPUT_HIGH
cdef int _KEPT, _EXPIRES, _IS_REPEATED, _IS_KEPT, _IS_KNOWN, _ALIAS_SHIFT
cdef int _PUBREL, _FAILED


@cython.final
cdef class Source:
    cdef public int place
    cdef public bint is_loose, ended
    cdef public object subscription, identifier
    cdef public dict matches
    cdef public str queue
    cdef public uint64_t consumer_id


@cython.final
cdef class Match:
    cdef bytes topic, identifiers
    cdef int qos, retain
    cdef bint is_apart, has_alias
    cdef dict templates
    cdef Template template
    cdef int64_t key


@cython.final
cdef class Held:
    cdef readonly Source source
    cdef readonly Match match
    cdef bytes data
    cdef Py_ssize_t pos
    cdef readonly Py_ssize_t count
    cdef readonly uint64_t offset
    cdef int64_t append_time_ms
    cdef bint redelivered


@cython.locals(held=Held)
cdef Held _held(Delivery delivery, Match match)
@cython.locals(source=Source, data=bytes, pos=Py_ssize_t, matches=dict, match=Match, end=Py_ssize_t, held=Held)
cpdef Py_ssize_t deliver(State session, Delivery delivery) except? -1
@cython.locals(size=Py_ssize_t)
cdef int _written(State session) except -1
cdef int _settle(State session, Source source, uint64_t offset, Py_ssize_t count) except -1
@cython.locals(matches=dict, found=Match, address=bytes)
cdef Match _remember(State session, Source source, bytes data)
@cython.locals(match=Match, source=Source, flights=Flights, is_own=bint, count=Py_ssize_t, begun=Py_ssize_t, room=Py_ssize_t, qos=int, spans=list, span=Span)
cdef bint _begin(State session, Held held) except? True
@cython.locals(pos=Py_ssize_t, at=Py_ssize_t, is_repeated=bint)
cdef Py_ssize_t _send_span(State session, Held held, Span span) except -1
@cython.locals(alike=Py_ssize_t)
cdef Py_ssize_t _send(State session, Match match, bytes data, Py_ssize_t pos, Py_ssize_t count, int64_t append_time_ms) except -1
@cython.locals(match=Match, address=bytes, data=bytes)
cpdef int tell(State session, bytes topic, bytes record) except -1
@cython.locals(flags=int, key=int64_t, template=Template, age_s=int64_t, end=Py_ssize_t)
cdef Py_ssize_t _deliver(
    State session, Match match, bytes data, Py_ssize_t pos, Py_ssize_t count, int64_t append_time_ms, int qos, Py_ssize_t first_id, bint is_repeated) except -1
@cython.locals(template=Template, alias=int64_t, is_known=bint)
cdef Py_ssize_t _deliver_by_alias(
    State session, Match match, bytes data, Py_ssize_t pos, Py_ssize_t count, int64_t append_time_ms, Py_ssize_t first_id, int64_t key) except -1
cdef int64_t _age_s(State session, int64_t append_time_ms) except -1
@cython.locals(template=Template)
cdef Template _template_of(State session, Match match, int64_t key)
@cython.locals(properties=bytes, topic=bytes)
cdef Template _template(State session, Match match, int64_t key)
cpdef int pump(State session) except -1
cdef list _ranges(AckRun run)
@cython.locals(found=list, span=Span, source=Source)
cdef list _settlements(State session, list spans)
@cython.locals(settlement=Settle)
cdef int _settle_spans(State session, list spans) except -1
@cython.locals(first=Py_ssize_t, count=Py_ssize_t, spans=list)
cpdef int acknowledged(State session, AckRun run) except -1
@cython.locals(first=Py_ssize_t, count=Py_ssize_t, spans=list)
cpdef int received(State session, AckRun run) except -1
cdef int _release(State session, Py_ssize_t first, Py_ssize_t count, bint some_unknown, list spans) except -1
@cython.locals(first=Py_ssize_t, count=Py_ssize_t)
cpdef int completed(State session, AckRun run) except -1
