"""C types for session.py."""

import cython
from libc.stdint cimport uint16_t, uint32_t, uint64_t

from entrepot.broker.calls.port cimport Attachment, Call, Delivery, Publish, Settle, Sink, make_publish, make_settle
from entrepot.model.octets cimport get_u16_be, take
from entrepot.net.turns cimport Turns
from entrepot.protocols.amqp091.channel cimport Channel, Span
from entrepot.protocols.amqp091.checks cimport check_run
from entrepot.protocols.amqp091.codec cimport Decoder
from entrepot.protocols.amqp091.events cimport AckRange, Control, NackRange, PublishRun
from entrepot.protocols.amqp091.output cimport Output
from entrepot.protocols.amqp091.reply_to cimport with_reply_queue

cdef dict _HANDLERS
cdef int _PENDING
cdef int _DONE
cdef int _ACCEPT
cdef int _OPEN
cdef int _CODEC
cdef int _CODEC_VERSION
cdef int _TO_CHECK
cdef int _EXPIRATION
cdef int _REPLY_TO
cdef int _HEADERS
cdef Py_ssize_t _HEADERS_RUN
cdef uint16_t _HAS_EXPIRY
cdef bytes _OFFSET_HEADER, _COUNT_HEADER
cdef Py_ssize_t _OUTPUT_HIGH
cdef Py_ssize_t _DEFERRED_MAX
cdef Py_ssize_t _FRAME_MAX_DEFAULT
cdef Py_ssize_t _PIECE_STEPS, _EVENT_STEPS, _CONTROL_STEPS, _STEP_BYTES


@cython.final
cdef class Subscriber:
    cdef readonly Channel channel
    cdef readonly bytes tag
    cdef public uint64_t consumer_id
    cdef readonly bint no_ack
    cdef bytes key
    cdef bytes template
    cdef Py_ssize_t tag_at


cdef class Session(Sink):
    # what net sees
    cdef readonly Output output
    cdef public bint closing
    cdef public bint paused
    cdef public double next_deadline
    # handed in
    cdef readonly object port
    cdef readonly object peer
    cdef readonly object settings
    cdef readonly object authenticator
    cdef readonly object wake
    cdef readonly object journal
    cdef readonly object unfinished
    cdef public object staging
    # the connection
    cdef readonly Decoder decoder
    cdef public int state
    cdef public object principal
    cdef public bytes user
    cdef public Attachment attachment
    cdef public object client_properties
    cdef public str vhost
    cdef public Py_ssize_t frame_max
    cdef public int channel_max
    cdef public int heartbeat_s
    cdef public bint heard
    cdef public bint spoke
    cdef public int silent_periods
    cdef public bint throttled
    cdef public str blocked_reason
    cdef public bint overfull
    cdef public bint authenticating
    cdef public list early
    cdef public list backlog
    cdef public bint arranged
    cdef public bint taking
    cdef readonly Turns turns
    # channels
    cdef readonly dict channels
    cdef readonly dict by_stream
    cdef public int last_stream
    cdef public Py_ssize_t deferred_count
    cdef public Channel recent
    cdef public object mover
    cdef public object leaving

    cpdef object get_buffer(self, Py_ssize_t size_hint)
    @cython.locals(events=list)
    cpdef object buffer_updated(self, Py_ssize_t count)
    @cython.locals(turns=Turns, steps=Py_ssize_t, done=Py_ssize_t)
    cpdef object take_in(self, list events)
    @cython.locals(steps=Py_ssize_t, attachment=Attachment)
    cpdef Py_ssize_t step(self, object event) except -1
    cpdef object on_event(self, object event)
    @cython.locals(channel=Channel)
    cdef Channel channel_of(self, int number)
    cpdef bint held_back(self, Channel channel, object event) except? True
    @cython.locals(channel=Channel, scattered=bint, call=Publish)
    cdef object on_publish(self, PublishRun run)
    @cython.locals(channel=Channel, taken=list, span=Span, disposition=int)
    cdef object on_settle(self, int number, uint64_t low, uint64_t high, bint multiple, int disposition, object event)
    @cython.locals(channel=Channel, publish=Publish)
    cpdef object completed(self, Call call)
    @cython.locals(call=Publish, low=uint64_t, high=uint64_t)
    cdef object confirm(self, Channel channel)
    @cython.locals(subscriber=Subscriber, channel=Channel, data=bytes, key=bytes, tag=uint64_t, position=Py_ssize_t, template=bytes, tag_at=Py_ssize_t)
    cpdef Py_ssize_t deliver(self, Delivery delivery) except? -1
    cpdef object flushed(self)
    cpdef object writable(self, bint is_writable)
