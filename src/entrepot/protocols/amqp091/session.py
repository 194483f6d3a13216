"""Session: one AMQP 0-9-1 connection as a state machine. Bytes and the port's answers in, frames and calls out; sans-IO.

    handshake.py     the connection class: start, tune, open, close, heartbeats
    methods of channels, exchanges, queues, consumers: handlers.py (interpreted, one function a method)
    here             what is hot: publishes, settlements, deliveries, confirms

A channel whose client waits for an answer is held: what arrives for it meanwhile is deferred, so that answers keep the order of the
methods although calls complete in any order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import cython

from entrepot.broker.calls.port import ACCEPT, DONE, PENDING, REJECT, RELEASE, UNKNOWN, Call, Delivery, Publish, Sink
from entrepot.model.entry import CODEC_AMQP_091, HAS_EXPIRY
from entrepot.net.receive_buffer import BUFFER_MAX_BYTES
from entrepot.net.turns import Turns
from entrepot.protocols.amqp091 import handlers, handshake, moving, outcomes, staging, transactions
from entrepot.protocols.amqp091.channel import Channel
from entrepot.protocols.amqp091.codec import Decoder
from entrepot.protocols.amqp091.events import AckRange, Control, NackRange, PublishRun
from entrepot.protocols.amqp091.output import COUNT_HEADER, OFFSET_HEADER, Output, deliver_template, get_ok_template, return_template
from entrepot.protocols.amqp091.properties import DELIVERY_MODE, EXPIRATION, HEADERS, REPLY_TO, USER_ID
from entrepot.protocols.amqp091.reply_codes import AmqpError, ReplyCode
from entrepot.protocols.amqp091.states import CLOSED, HEADER, OPEN

if not cython.compiled:
    from entrepot.broker.calls.port import make_publish, make_settle
    from entrepot.model.octets import get_u16_be, take
    from entrepot.protocols.amqp091.checks import check_run
    from entrepot.protocols.amqp091.reply_to import with_reply_queue

OUTPUT_HIGH_BYTES = 1_048_576  # waiting to be sent in one tick: above this the consumer waits for the next
HEADERS_RUN = 4  # messages at a time where each is routed by its headers, which may be long work
DEFERRED_MAX = 64  # events held back for waiting channels: above this nothing is read
FRAME_MAX_DEFAULT = 131_072
CODEC_VERSION = 1
PIECE_STEPS = 100  # of events taken in, between two looks at what the turn has left (net/turns.py)
EVENT_STEPS = 4  # what an event costs; of a method that is not hot
CONTROL_STEPS = 6
STEP_BYTES = 16  # of its arguments, besides

_HANDLERS = handlers.HANDLERS | transactions.HANDLERS

_PENDING = PENDING
_DONE = DONE
_ACCEPT = ACCEPT
_OPEN = OPEN
_CODEC = CODEC_AMQP_091
_CODEC_VERSION = CODEC_VERSION
_TO_CHECK = HEADERS | DELIVERY_MODE | USER_ID | EXPIRATION
_EXPIRATION = EXPIRATION
_REPLY_TO = REPLY_TO
_HEADERS = HEADERS
_HEADERS_RUN = HEADERS_RUN
_HAS_EXPIRY = HAS_EXPIRY
_OFFSET_HEADER, _COUNT_HEADER = OFFSET_HEADER, COUNT_HEADER
_OUTPUT_HIGH = OUTPUT_HIGH_BYTES
_DEFERRED_MAX = DEFERRED_MAX
_FRAME_MAX_DEFAULT = FRAME_MAX_DEFAULT
_PIECE_STEPS, _EVENT_STEPS, _CONTROL_STEPS, _STEP_BYTES = PIECE_STEPS, EVENT_STEPS, CONTROL_STEPS, STEP_BYTES


class Subscriber:
    """One consumer of a channel, as the port's token. Keeps the frame template of the last route that it delivered."""

    __slots__ = ("channel", "consumer_id", "key", "no_ack", "tag", "tag_at", "template")

    def __init__(self, channel: Channel, tag: bytes, no_ack: bool) -> None:
        self.channel = channel
        self.tag = tag
        self.consumer_id = 0
        self.no_ack = no_ack
        self.key: bytes | None = None
        self.template = b""
        self.tag_at = 0


class Session(Sink):
    """See net.session.Session for what the network calls, and broker.port.Sink for what the port calls.

    port: has attach(sink, principal, namespace). authenticator: see handshake.py. settings: handshake.Settings. journal(text, first bytes)
    notes what the operator should know: errors that were sent to the peer. turns: net.turns.Turns of the process. unfinished, strangers:
    net.unfinished.Unfinished of all connections, and of those before their login, if they share a limit.
    """

    __slots__ = (
        "arranged",
        "attachment",
        "authenticating",
        "authenticator",
        "backlog",
        "blocked_reason",
        "by_stream",
        "channel_max",
        "channels",
        "client_properties",
        "closing",
        "decoder",
        "deferred_count",
        "early",
        "frame_max",
        "heard",
        "heartbeat_s",
        "journal",
        "last_stream",
        "leaving",
        "mover",
        "next_deadline",
        "output",
        "overfull",
        "paused",
        "peer",
        "port",
        "principal",
        "recent",
        "settings",
        "silent_periods",
        "spoke",
        "staging",
        "state",
        "taking",
        "throttled",
        "turns",
        "unfinished",
        "user",
        "vhost",
        "wake",
    )

    def __init__(
        self,
        port: Any,
        authenticator: Any,
        settings: Any,
        peer: Any,
        wake: Callable[[], object],
        journal: Callable[..., None],
        turns: Turns,
        unfinished: Any = None,
        strangers: Any = None,
    ) -> None:
        self.output = Output()
        self.closing = False
        self.paused = False
        self.next_deadline = 1.0  # in the past: the first sweep sets the handshake's deadline
        self.port = port
        self.peer = peer
        self.settings = settings
        self.authenticator = authenticator
        self.wake = wake
        self.journal = journal
        self.decoder = Decoder(handshake.FRAME_MIN, settings.channel_max, settings.message_size_max)
        self.decoder.of_stranger(2 * handshake.FRAME_MIN)
        self.unfinished = unfinished
        self.staging: Any = None  # the share of it that transactions have
        if strangers is not None:
            self.decoder.share = strangers.share(partial(handlers.overrun, self))
        self.state = HEADER
        self.principal: Any = None
        self.user = b""
        self.attachment: Any = None  # the port's Attachment, once the connection is open
        self.client_properties: dict[str, Any] = {}
        self.vhost = ""
        self.frame_max = _FRAME_MAX_DEFAULT
        self.channel_max = settings.channel_max
        self.heartbeat_s = 0
        self.heard = False
        self.spoke = False
        self.silent_periods = 0
        self.throttled = False
        self.blocked_reason = ""
        self.overfull = False
        self.authenticating = False
        self.early: list[Any] = []  # events that arrived while credentials were checked
        self.backlog: list[Any] = []  # events that have their turn later
        self.arranged = False  # next_turn() will come
        self.taking = False  # take_in() is at it, and looks at the backlog
        self.turns = turns
        self.channels: dict[int, Channel] = {}
        self.by_stream: dict[int, Channel] = {}
        self.last_stream = 0
        self.deferred_count = 0
        self.recent: Channel | None = None
        self.mover: Any = None  # net.moves.Wish, where the connection may move to another process
        self.leaving: Any = None  # moving.Leaving, while it is about to

    @property
    def established(self) -> bool:
        """See net.session.Session."""
        return self.attachment is not None

    def give_room(self) -> None:
        """Somebody has logged in: what is received is bounded as a user's, no more as a stranger's."""
        share = None if self.unfinished is None else self.unfinished.share(partial(handlers.overrun, self))
        self.decoder.of_user(BUFFER_MAX_BYTES, share)

    # ---- bytes in

    def get_buffer(self, size_hint: int) -> Any:
        """See net.session.Session."""
        return self.decoder.writable()

    def buffer_updated(self, count: int) -> None:
        """See net.session.Session."""
        self.heard = True
        if self.state >= CLOSED:
            return
        events = self.decoder.feed(count)
        if self.backlog:
            self.backlog.extend(events)
        else:
            self.take_in(events)

    def take_in(self, events: list[Any]) -> None:
        """Events, as far as the turn allows; the others later. What one of them puts into the backlog comes before those behind it."""
        turns = self.turns
        steps = done = 0
        self.taking = True
        try:
            while True:
                if self.backlog:
                    events[done:done] = self.backlog  # in place: there may be thousands behind them
                    self.backlog = []
                if done == len(events):
                    break
                if steps >= _PIECE_STEPS or done == 0:
                    if steps:
                        turns.spend(steps)
                        steps = 0
                    if turns.left <= 0:
                        self.backlog = events[done:]
                        handlers.update_paused(self)
                        if not self.arranged:
                            self.arranged = True
                            turns.wait(self.next_turn)
                        return
                event = events[done]
                done += 1
                steps += self.step(event)
        finally:
            self.taking = False
        if steps:
            turns.spend(steps)

    def come_next(self, events: list[Any]) -> None:
        """These events before all others, as far as the turn allows."""
        self.backlog = events + self.backlog
        if not self.taking:
            self.go_on()

    def step(self, event: Any) -> int:
        """One event, or the first of it, the rest of which it puts into the backlog; the steps that it cost."""
        steps = _EVENT_STEPS
        if isinstance(event, Control):
            steps += _CONTROL_STEPS + len(event.payload) // _STEP_BYTES
        self.on_event(event)
        attachment = self.attachment
        if attachment is not None and attachment.spent > 0:
            steps += attachment.spent
            attachment.spent = 0
        return steps

    def next_turn(self) -> None:
        """The turn that was waited for."""
        self.arranged = False
        self.go_on()

    def go_on(self) -> None:
        """Go on with what is here."""
        events = self.backlog
        self.backlog = []
        if self.state >= CLOSED:
            return
        try:
            self.take_in(events)
            handlers.update_paused(self)
        except Exception as error:  # our bug: it must cost this connection, whose next events are lost, and no other
            self.journal(f"{self.peer}: connection closed: an event failed by a bug: {error!r}")
            self.state = CLOSED
            self.closing = True
            self.wake()
            raise

    def on_event(self, event: Any) -> None:
        """One event of the decoder. What the peer did wrong is answered here."""
        try:
            if self.state != _OPEN:
                handshake.on_event(self, event)
            elif isinstance(event, PublishRun):
                self.on_publish(event)
            elif isinstance(event, AckRange):
                self.on_settle(event.channel, event.lo, event.hi, event.multiple, _ACCEPT, event)
            elif isinstance(event, NackRange):
                self.on_settle(event.channel, event.lo, event.hi, event.multiple, RELEASE if event.requeue else REJECT, event)
            elif isinstance(event, Control):
                handlers.on_control(self, event, _HANDLERS)
            else:
                handlers.on_other(self, event)
        except AmqpError as error:
            handlers.fail(self, error, event)

    def channel_of(self, number: int) -> Channel:
        """The open channel of that number. Raises AmqpError 504."""
        channel = self.recent
        if channel is not None and channel.number == number:
            return channel
        channel = self.channels.get(number)
        if channel is None:
            raise AmqpError(ReplyCode.CHANNEL_ERROR, "expected 'channel.open'")
        self.recent = channel
        return channel

    def held_back(self, channel: Channel, event: Any) -> bool:
        """Whether the event is not for now: the channel is closing (it is dropped), or waits for an answer (it is deferred)."""
        if channel.closing:
            return True
        if channel.waiting is None and not channel.deferred:
            return False
        channel.deferred.append(event)
        self.deferred_count += 1
        if self.deferred_count >= _DEFERRED_MAX:
            self.paused = True
        return True

    # ---- publishing

    def on_publish(self, run: PublishRun) -> None:
        """basic.publish, a run of them. Raises AmqpError."""
        channel = self.channel_of(run.channel)
        if (channel.closing or channel.waiting is not None or channel.deferred) and self.held_back(channel, run):
            return
        if run.immediate:
            raise AmqpError(ReplyCode.NOT_IMPLEMENTED, "immediate=true", 60, 40)
        scattered = run.property_flags_or & _TO_CHECK != 0 and check_run(run.data, 1 if run.alike else run.count, self.user)
        if run.count > _HEADERS_RUN and run.property_flags_or & _HEADERS and (scattered or self.attachment.by_headers(run.key)):
            self.backlog.insert(0, run.cut(_HEADERS_RUN))
        if run.property_flags_or & _REPLY_TO:
            run.data = with_reply_queue(run.data, run.count, channel.reply_queue)
        call = make_publish(channel.stream, run.key, _CODEC, _CODEC_VERSION, 0, run.data, run.count, run.body_bytes)
        call.scattered = scattered
        if run.property_flags_or & _EXPIRATION:
            call.flags = _HAS_EXPIRY
        call.mandatory = run.mandatory
        call.confirm = channel.confirming
        if channel.confirming:
            channel.unconfirmed.append(call)
        elif channel.transaction is not None:
            staging.stage_publish(self, channel, call)
            return
        self.attachment.submit(call)

    def confirm(self, channel: Channel) -> None:
        """Answer, in order, every publish that has completed."""
        low = channel.confirmed_tag
        high = low
        while True:
            call = channel.maybe_completed()
            if call is None:
                break
            if call.outcome == _DONE and call.nacked is None:
                high += call.count
                continue
            if high > low:
                self.output.ack(channel.number, high, True)
            if call.outcome == UNKNOWN:
                raise outcomes.as_amqp(call, 60, 40)  # neither success nor failure may be claimed: the channel ends instead
            low = high + call.count
            if call.nacked is None:
                self.output.nack(channel.number, low, True)
            else:
                nacked = set(call.nacked)
                for index in range(call.count):
                    if index in nacked:
                        self.output.nack(channel.number, high + 1 + index, False)
                    else:
                        self.output.ack(channel.number, high + 1 + index, False)
            high = low
        if high > low:
            self.output.ack(channel.number, high, True)
        if high != channel.confirmed_tag:
            channel.confirmed_tag = high
            self.wake()

    def return_records(self, channel: Channel, call: Publish) -> None:
        """basic.return of what a mandatory publish could not route."""
        if not call.mandatory:
            return
        template, tag_at = return_template(ReplyCode.NO_ROUTE, b"NO_ROUTE", call.address, channel.number)
        if call.unroutable:
            self.output.deliver(call.data, 0, call.count, template, tag_at, 0, channel.number, self.frame_max)
        else:
            for index in call.returned or ():
                handlers.return_one(self, channel, call, index, template)
        self.wake()

    # ---- what the port says

    def completed(self, call: Call) -> None:
        """See port.Sink."""
        channel = self.by_stream.get(call.stream)
        if channel is None or self.state != _OPEN:
            return
        try:
            if isinstance(call, Publish):
                publish = call
                if publish.outcome != _DONE and (not channel.confirming or outcomes.closes_channel(publish.error)):
                    raise outcomes.as_amqp(publish, 60, 40)
                if publish.unroutable or publish.returned is not None:
                    self.return_records(channel, publish)
                if channel.confirming:
                    self.confirm(channel)
            else:
                handlers.answered(self, channel, call)
        except AmqpError as error:
            handlers.fail_on(self, channel, error)

    def deliver(self, delivery: Delivery) -> int:
        """See port.Sink."""
        subscriber = delivery.token
        channel = subscriber.channel
        if channel.closing:  # the broker has not heard of it yet, and gives back what it had leased when it does
            return -1
        data = delivery.data
        key = take(data, 3, get_u16_be(data, 1))
        if delivery.redelivered:
            template, tag_at = deliver_template(subscriber.tag, True, key, channel.number)
        else:
            if key != subscriber.key:
                subscriber.template, subscriber.tag_at = deliver_template(subscriber.tag, False, key, channel.number)
                subscriber.key = key
            template = subscriber.template
            tag_at = subscriber.tag_at
        if delivery.settled:
            tag = channel.next_tag
            channel.next_tag += delivery.count
        else:
            tag = channel.delivered(delivery.consumer_id, delivery.offset, delivery.count)
        if delivery.from_topic:
            position = self.output.deliver_numbered(
                data, delivery.position, delivery.count, template, tag_at, tag, channel.number, self.frame_max, _OFFSET_HEADER, delivery.offset, 1
            )
        elif delivery.counted:
            position = self.output.deliver_numbered(
                data, delivery.position, delivery.count, template, tag_at, tag, channel.number, self.frame_max, _COUNT_HEADER, delivery.deliveries, 0
            )
        else:
            position = self.output.deliver(data, delivery.position, delivery.count, template, tag_at, tag, channel.number, self.frame_max)
        if self.output.size > _OUTPUT_HIGH:
            self.overfull = True
            self.attachment.writable = False
        self.wake()
        return position

    def deliver_got(self, channel: Channel, delivery: Delivery, left: int) -> None:
        """basic.get-ok."""
        data = delivery.data
        key = take(data, 3, get_u16_be(data, 1))
        template, tag_at = get_ok_template(delivery.redelivered, key, left, channel.number)
        if delivery.settled:
            tag = channel.next_tag
            channel.next_tag += 1
        else:
            tag = channel.delivered(delivery.consumer_id, delivery.offset, 1)
        if delivery.counted:
            self.output.deliver_numbered(
                data, delivery.position, 1, template, tag_at, tag, channel.number, self.frame_max, _COUNT_HEADER, delivery.deliveries, 0
            )
        else:
            self.output.deliver(data, delivery.position, 1, template, tag_at, tag, channel.number, self.frame_max)

    def on_settle(self, number: int, low: int, high: int, multiple: bool, disposition: int, event: Any) -> None:
        """basic.ack, nack and reject of delivery tags low..high, or up to high if `multiple`. Raises AmqpError."""
        channel = self.channel_of(number)
        if (channel.closing or channel.waiting is not None or channel.deferred) and self.held_back(channel, event):
            if multiple and high == 0 and low == 0:
                event.lo = channel.next_tag  # what is delivered until it has its turn its client has not seen
            return
        if multiple:
            if high >= channel.next_tag:
                raise handlers.unknown_tag(high, event)
            taken = channel.settle_before(low) if high == 0 and low > 0 else channel.settle_through(high)
            if high and not taken:
                raise handlers.unknown_tag(high, event)
        else:
            taken = channel.settle_range(low, high)
        if channel.transaction is not None:
            unknown = taken.pop() if taken and not taken[len(taken) - 1].count else None
            staging.stage_settled(channel, taken, disposition, handlers.method_of(event))
            if unknown is not None:
                raise handlers.unknown_tag(unknown.first_tag, event)
            return
        for span in taken:
            if span.count:
                self.attachment.submit(make_settle(channel.stream, span.consumer_id, span.offset, span.count, disposition))
            else:
                raise handlers.unknown_tag(span.first_tag, event)

    def cancelled(self, token: Any) -> None:
        """See port.Sink."""
        handlers.consumer_cancelled(self, token)

    def revoked(self, reason: str) -> None:
        """See port.Sink."""
        handshake.shut_down(self, reason)

    def throttle(self, blocked: bool, reason: str) -> None:
        """See port.Sink."""
        handlers.throttle(self, blocked, reason)

    def elsewhere(self, process: str) -> None:
        """See port.Sink."""
        moving.consider(self, process)

    # ---- what the network says

    def flushed(self) -> None:
        """Everything was handed to the socket, and it takes more."""
        self.spoke = True
        if self.overfull:
            self.overfull = False
            self.attachment.resume()

    def writable(self, is_writable: bool) -> None:
        """See net.session.Session."""
        if self.attachment is None:
            return
        if not is_writable:
            self.attachment.writable = False
        elif not self.overfull:
            self.attachment.resume()

    def deadline_reached(self, now: float) -> None:
        """See net.session.Session."""
        handshake.deadline_reached(self, now)

    def shut_down(self, reason: str) -> None:
        """See net.session.Session."""
        handshake.shut_down(self, reason)

    def lost(self, reason: str) -> None:
        """See net.session.Session."""
        self.state = CLOSED
        self.backlog = []
        if self.decoder.share is not None:
            self.decoder.share.close()
        if self.staging is not None:
            self.staging.close()
        self.channels.clear()
        self.by_stream.clear()
        self.recent = None
        if self.attachment is not None:
            self.attachment.end()
