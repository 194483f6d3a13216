"""C types for state.py."""

import cython

from entrepot.broker.calls.port cimport Attachment, Settle, Sink, make_ask
from entrepot.net.turns cimport Turns
from entrepot.protocols.mqtt.codec cimport Decoder
from entrepot.protocols.mqtt.flights cimport Flights
from entrepot.protocols.mqtt.incoming cimport Incoming
from entrepot.protocols.mqtt.output cimport Output

cdef int _STREAM


cdef class State(Sink):
    # what net sees
    cdef readonly Output output
    cdef public bint closing, paused
    cdef public double next_deadline
    # handed in
    cdef readonly object port, authenticator, settings, wall_ms, peer, wake, journal, unfinished
    cdef readonly str name
    cdef readonly Turns turns
    # the connection
    cdef readonly Decoder decoder
    cdef public int state, version
    cdef public object connect, terms, login, principal, number
    cdef public str user, virtual_host, client_id
    cdef public bint is_kept, authenticating, throttled, overfull, heard
    cdef public double heard_at
    cdef public object watches_system, system_told, system_at
    cdef public Attachment attachment
    # what waits
    cdef public list backlog, step_calls
    cdef public bint unread, arranged, taking, is_list, advancing
    cdef public object steps
    cdef public Py_ssize_t steps_waiting
    # what the client publishes
    cdef readonly dict addresses, withouts, releasing
    cdef readonly set asked
    cdef public Incoming incoming
    cdef readonly object answers
    # what is sent to it
    cdef readonly object subscriptions, copies
    cdef public dict sources
    cdef public int last_place
    cdef readonly dict shared, matches
    cdef public Flights flights
    cdef public object held, aliases
    cdef public list unsettled
    cdef public bint settling

    cpdef object submit(self, object request)
    @cython.locals(settlements=list, settlement=Settle)
    cpdef object settle(self)
    cpdef object settle_soon(self)
    cpdef object fail(self, object error)
