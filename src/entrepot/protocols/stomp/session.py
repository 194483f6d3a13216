"""Session: one STOMP connection as a state machine. Bytes and the port's answers in, frames and calls out; sans-IO.

    handshake.py   CONNECT, heart-beats, ERROR, the end
    frames.py      SUBSCRIBE, UNSUBSCRIBE, BEGIN, COMMIT, ABORT, DISCONNECT: one generator a frame, which yields what it asks the broker
    sending.py     runs of SENDs
    browsing.py    browsers
    here           what is hot besides: ranges of acknowledgements, deliveries, receipts

A connection is one stream of the port. While a frame waits for the broker's answer, what arrives behind it waits too, so that frames take effect in the order
in which they came. SENDs do not wait: their RECEIPTs go out when they are durable.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from entrepot.broker.calls.port import ACCEPT, DONE, PENDING, REJECT, RELEASE, Ask, Call, Delivery, Publish, Settle, Sink, make_ask, make_settle
from entrepot.broker.calls.requests import CommitTogether
from entrepot.model.entry import CODEC_STOMP
from entrepot.model.errors import NotDone
from entrepot.net.receive_buffer import BUFFER_MAX_BYTES
from entrepot.net.turns import Turns
from entrepot.protocols.stomp import browsing, destinations, frames, handshake, outcomes, sending
from entrepot.protocols.stomp.codec import Decoder
from entrepot.protocols.stomp.destinations import TEMPORARY_TOPIC, Destination
from entrepot.protocols.stomp.errors import StompError
from entrepot.protocols.stomp.events import EXPIRES, TEMP_REPLY, AckRange, Frame, SendRun, receipt_of
from entrepot.protocols.stomp.handshake import CLOSED, LEAVING, OPEN, WAITING
from entrepot.protocols.stomp.headers import encode
from entrepot.protocols.stomp.output import Output
from entrepot.protocols.stomp.staging import Transaction
from entrepot.protocols.stomp.subscription import AUTO, CLIENT, Span, Subscription

STREAM = frames.STREAM
OUTPUT_HIGH_BYTES = 1_048_576  # waiting to be sent in one tick: above this the subscriptions wait for the next
STRANGER_BYTES = 8192
CONNECT_MAX_BYTES = 8000  # less than a stranger's buffer, which would grow if it were full
KNOWN_MAX = 1024  # destinations; one more, and they are looked at anew
RECEIPTS_HIGH_BYTES = 1_048_576  # RECEIPTs that wait until what they are for is durable: above this nothing is read
PIECE_STEPS = 100  # of events taken in, between two looks at what the turn has left (net/turns.py)
EVENT_STEPS = 6  # what an event costs; of a frame that is not hot
FRAME_STEPS = 20
REWRITE_STEPS = 6  # of a record that is made anew
STEP_BYTES = 16  # of a frame's headers, besides

Steps = Generator[Any, Any, None]
"""What a frame does: yields requests of the port, is given their results, or the NotDone that they ended with."""


class Session(Sink):
    """See net.session.Session for what the network calls, and broker.port.Sink for what the port calls.

    port: has attach(sink, principal, namespace, codec). authenticator: see handshake.py. name: of the session, not given twice. wall_ms: the time.
    journal(text, first bytes) notes what the operator should know. turns: net.turns.Turns of the process. unfinished, strangers: net.unfinished.Unfinished of
    all connections, and of those before their login, if they share a limit.
    """

    def __init__(
        self,
        port: Any,
        authenticator: Any,
        settings: handshake.Settings,
        name: str,
        wall_ms: Callable[[], int],
        peer: Any,
        wake: Callable[[], object],
        journal: Callable[..., None],
        turns: Turns,
        unfinished: Any = None,
        strangers: Any = None,
    ) -> None:
        # what net sees
        self.output: Any = Output()
        self.closing = False
        self.paused = False
        self.next_deadline = 1.0  # in the past: the first sweep sets the handshake's deadline
        # handed in
        self.port = port
        self.authenticator = authenticator
        self.settings = settings
        self.name = name
        self.wall_ms = wall_ms
        self.peer = peer
        self.wake = wake
        self.journal = journal
        self.turns = turns
        self.unfinished = unfinished
        # the connection
        self.decoder: Any = Decoder(CONNECT_MAX_BYTES, settings.message_size_max)
        self.decoder.of_stranger(STRANGER_BYTES)
        self.decoder.ack_prefix = name.encode() + b"-"
        if strangers is not None:
            self.decoder.share = strangers.share(partial(_overrun, self))
        self.staging: Any = None  # the share of `unfinished` that transactions have
        self.state = WAITING
        self.version = 0
        self.principal: Any = None
        self.user = ""
        self.host = ""
        self.client_id = ""
        self.attachment: Any = None
        self.authenticating = False
        self.throttled = False
        self.overfull = False
        # heart-beats: seconds between two; 0: none. When something was heard and sent last, as far as the sweep knows
        self.listen_s = 0.0
        self.beat_s = 0.0
        self.heard = False
        self.spoke = False
        self.heard_at = 0.0
        self.spoke_at = 0.0
        # what waits
        self.backlog: list[Any] = []
        self.arranged = False  # next_turn() will come
        self.taking = False  # take_in() is at it, and looks at the backlog
        self.steps: Steps | None = None  # of the frame that waits for an answer,
        self.step_frame: Frame | None = None
        self.step_call: Ask | None = None
        self.advancing = False
        self.receipts_bytes = 0  # of all in `sent`
        self.sent: dict[Call, bytes] = {}  # SENDs and acknowledgements that are not durable yet -> the RECEIPTs that they are answered with
        self.unsettled: list[Settle] = []  # what is settled when it is handed to the socket
        # what there is
        self.subscriptions: dict[str, Subscription] = {}
        self.by_number: dict[int, Subscription] = {}
        self.last_number = 0
        self.transactions: dict[bytes, Transaction] = {}
        self.destinations: dict[bytes, Destination] = {}
        self.known_queues: set[str] = set()
        self.temporaries: dict[str, str] = {}  # destination -> its queue
        self.temporary_topics: dict[str, str] = {}  # the same, its routing key
        self.browsers: list[Subscription] = []  # that have something to send yet, the one at work first
        self.browse_call: Ask | None = None

    @property
    def established(self) -> bool:
        """See net.session.Session."""
        return self.attachment is not None

    def attach(self, namespace: str) -> Any:
        """The port's side of this session. Raises Refused."""
        return self.port.attach(self, self.principal, namespace, CODEC_STOMP)

    def give_room(self) -> None:
        """Somebody has logged in: what is received is bounded as a user's, no more as a stranger's."""
        share = None if self.unfinished is None else self.unfinished.share(partial(_overrun, self))
        self.decoder.header_max = self.settings.header_max
        self.decoder.of_user(BUFFER_MAX_BYTES, share)

    def put(self, data: bytes) -> None:
        """Send these bytes."""
        self.output.raw(data)
        self.wake()

    def first_bytes(self) -> bytes:
        """What a stranger's connection began with, for hints to who came to the wrong port."""
        return self.decoder.front() if self.state == WAITING else b""

    # ---- bytes in

    def get_buffer(self, size_hint: int) -> Any:
        """See net.session.Session."""
        return self.decoder.writable()

    def buffer_updated(self, count: int) -> None:
        """See net.session.Session."""
        self.heard = True
        if self.state == CLOSED:
            return
        events = self.decoder.feed(count)
        if self.backlog:
            self.backlog.extend(events)
        else:
            self.take_in(events)

    def take_in(self, events: list[Any]) -> None:
        """Events, as far as the turn allows and nothing waits; the others later. What one of them puts into the backlog comes before those behind it."""
        turns = self.turns
        steps = done = 0
        self.taking = True
        try:
            while True:
                if self.backlog:
                    events[done:done] = self.backlog
                    self.backlog = []
                if done == len(events) or self.state in (LEAVING, CLOSED):
                    break
                if self.steps is not None or self.authenticating:
                    self.backlog = events[done:]
                    break
                if steps >= PIECE_STEPS or done == 0:
                    if steps:
                        turns.spend(steps)
                        steps = 0
                    if turns.left <= 0:
                        self.backlog = events[done:]
                        self.arrange()
                        break
                event = events[done]
                done += 1
                steps += self.step(event)
        finally:
            self.taking = False
        if steps:
            turns.spend(steps)
        self.update_paused()

    def step(self, event: Any) -> int:
        """One event; the steps that it cost."""
        steps = EVENT_STEPS
        if isinstance(event, Frame):
            steps += FRAME_STEPS + event.size // STEP_BYTES
        elif isinstance(event, SendRun) and event.flags & (EXPIRES | TEMP_REPLY):
            steps += REWRITE_STEPS * event.count
        self.on_event(event)
        attachment = self.attachment
        if attachment is not None and attachment.spent > 0:
            steps += attachment.spent
            attachment.spent = 0
        return steps

    def arrange(self) -> None:
        """Go on in a later turn."""
        if not self.arranged:
            self.arranged = True
            self.turns.wait(self.next_turn)

    def next_turn(self) -> None:
        """The turn that was waited for."""
        self.arranged = False
        self.go_on()

    def go_on_soon(self) -> None:
        """Something that was waited for has come."""
        if not self.taking and (self.backlog or self.paused):
            self.go_on()

    def go_on(self) -> None:
        """Go on with what is here."""
        events = self.backlog
        self.backlog = []
        if self.state == CLOSED:
            return
        try:
            self.take_in(events)
        except Exception as error:  # our bug: it must cost this connection, and no other
            self.journal(f"{self.peer}: connection closed: an event failed by a bug: {error!r}")
            self.state = CLOSED
            self.closing = True
            self.wake()
            raise

    def update_paused(self) -> None:
        """Whether reading stops, by all that may hold it."""
        waits = self.throttled or self.authenticating or self.steps is not None or self.state == LEAVING
        paused = (waits or len(self.backlog) > 0 or self.receipts_bytes > RECEIPTS_HIGH_BYTES) and self.state != CLOSED
        if self.paused != paused:
            self.paused = paused
            self.wake()

    def on_event(self, event: Any) -> None:
        """One event of the decoder. What the peer did wrong is answered here."""
        try:
            if isinstance(event, SendRun):
                sending.on_send(self, event)
            elif isinstance(event, AckRange):
                self.on_ack(event)
            elif isinstance(event, StompError):
                self.fail(event)
            elif self.state == WAITING:
                handshake.connect(self, event)
            else:
                self.begin(frames.steps_of(self, event), event)
        except StompError as error:
            if not error.receipt:
                error.receipt = outcomes.receipt_in(event, self.version)
            self.fail(error)

    # ---- frames that wait

    def begin(self, steps: Steps | None, frame: Frame) -> None:
        """A frame that asks the broker; None: it is done already. Raises StompError."""
        if steps is None:
            self.receipt(frame)
            return
        self.steps = steps
        self.step_frame = frame
        self.advance(None, None)

    def advance(self, result: Any, error: NotDone | None) -> None:
        """Give the frame that waits the result of what it asked, or the error. Raises StompError."""
        steps, frame = self.steps, self.step_frame
        assert steps is not None
        assert frame is not None
        self.advancing = True
        try:
            while True:
                request = steps.send(result) if error is None else steps.throw(error)
                call = self.step_call = make_ask(STREAM, request)
                self.attachment.submit(call)
                if call.outcome == PENDING:
                    return
                result, error = call.result, call.error
        except StopIteration:
            self.steps = None
            if self.state == OPEN:
                self.receipt(frame)
        except NotDone as not_done:
            not_done.__traceback__ = None
            raise self.failed(frame, outcomes.as_stomp(not_done)) from None
        except StompError as wrong:
            raise self.failed(frame, wrong) from None
        finally:
            self.advancing = False

    def failed(self, frame: Frame, error: StompError) -> StompError:
        """A frame that waited for the broker waits no more; the error with its receipt, or that of the SEND which it was about."""
        self.steps = None
        error.receipt = outcomes.receipt_in(self.backlog[0] if frame is sending.UNASKED and self.backlog else frame, self.version)
        return error

    def receipt(self, frame: Frame) -> None:
        """The RECEIPT that a frame asks for."""
        if "receipt" in frame.headers:
            self.put(encode("RECEIPT", [("receipt-id", frame.headers["receipt"])], self.version))

    # ---- SEND

    def destination(self, raw: bytes) -> Destination:
        """What it means. Raises StompError."""
        found = self.destinations.get(raw)
        if found is None:
            found = destinations.parse(raw.decode())
            if found.kind == TEMPORARY_TOPIC:
                found = frames.temporary_topic(self, raw.decode())
            if len(self.destinations) >= KNOWN_MAX:
                self.destinations.clear()
            self.destinations[raw] = found
        return found

    def transaction(self, name: bytes) -> Transaction:
        """The open one of that name. Raises StompError."""
        found = self.transactions.get(name)
        if found is None:
            raise StompError("no such transaction", f"There is no open transaction '{name.decode()[:100]}': BEGIN it.")
        return found

    # ---- ACK, NACK

    def on_ack(self, event: AckRange) -> None:
        """ACK or NACK, a range of them. Raises StompError."""
        subscription = self.by_number.get(event.subscription)
        if subscription is None:
            if 0 < event.subscription <= self.last_number and not event.receipts and not event.transaction:
                return  # its subscription has ended, and what was out is to be delivered again
            raise StompError("no such message", "The message's subscription has ended; it will be delivered again.")
        if subscription.browser is not None:  # nothing was taken
            if event.receipts:
                self.put(event.receipts)
            return
        if subscription.mode == AUTO:
            raise StompError("no such message", f"Subscription '{subscription.key[:100]}' acknowledges by itself (ack:auto).")
        taken: list[Span] | None
        if subscription.mode == CLIENT:
            taken = subscription.take_through(event.hi) if subscription.holds(event.hi) else None
        else:
            taken = subscription.take_range(event.lo, event.hi)
        if taken is None:
            raise StompError("no such message", "A message was never sent to this connection, or it is acknowledged already.")
        disposition = ACCEPT if not event.negative else RELEASE if event.requeue else REJECT
        if event.transaction:
            try:
                transaction = self.transaction(event.transaction)
            except StompError:
                subscription.put_back(taken)
                raise
            transaction.settle(subscription, taken, disposition)
            if event.receipts and self.state == OPEN:
                self.put(event.receipts)
            return
        settlements = [make_settle(STREAM, span.consumer_id, span.offset, span.count, disposition) for span in taken]
        if event.receipts:
            call = make_ask(STREAM, CommitTogether([], settlements))
            self.expect(call, event.receipts)
            self.attachment.submit(call)
            return
        for settlement in settlements:
            self.attachment.submit(settlement)

    # ---- what the port says

    def expect(self, call: Call, receipts: bytes) -> None:
        """These RECEIPTs go out when a call is done."""
        self.sent[call] = receipts
        self.receipts_bytes += len(receipts)

    def settled(self, call: Call) -> bytes:
        """A call is done, or will not be: its RECEIPTs."""
        receipts = self.sent.pop(call, b"")
        was_high = self.receipts_bytes > RECEIPTS_HIGH_BYTES
        self.receipts_bytes -= len(receipts)
        if was_high:
            self.update_paused()
        return receipts

    def completed(self, call: Call) -> None:
        """See port.Sink."""
        if self.state not in (OPEN, LEAVING):
            return
        try:
            if call is self.step_call:
                self.step_call = None
                if not self.advancing:
                    self.advance(call.result, call.error)
            elif call is self.browse_call:
                browsing.answered(self)
            elif isinstance(call, Publish):
                self.on_published(call)
            elif isinstance(call, Settle):
                raise outcomes.of_call(call)
            elif call in self.sent:
                receipts = self.settled(call)
                if call.outcome != DONE:
                    error = outcomes.of_call(call)
                    error.receipt = receipt_of(receipts)
                    raise error
                self.put(receipts)
            elif call.outcome != DONE:
                raise outcomes.of_call(call)
        except StompError as error:
            self.fail(error)
            return
        if self.state == LEAVING and not self.sent:
            self.leave()
        elif self.steps is None and not self.taking:
            self.go_on_soon()

    def on_published(self, call: Publish) -> None:
        """A run of SENDs is durable, or will not be. Raises StompError."""
        receipts = self.settled(call)
        error = None
        if call.outcome != DONE or call.nacked or (call.mandatory and (call.unroutable or call.returned)):
            error, receipts = outcomes.of_publish(call, receipts)
        if receipts:
            self.put(receipts)
        if error is not None:
            raise error

    def deliver(self, delivery: Delivery) -> int:
        """See port.Sink."""
        subscription: Subscription = delivery.token
        if subscription.ended or self.state not in (OPEN, LEAVING):  # the broker has not heard of it yet, and gives back what it had leased when it does
            return -1
        if subscription.receipt:
            self.output.raw(subscription.receipt)
            subscription.receipt = b""
        if subscription.mode == AUTO:
            first = subscription.next_delivery
            subscription.next_delivery = first + delivery.count
            if not delivery.settled:  # of a stream: its reader goes on when this is sent
                self.unsettled.append(make_settle(STREAM, delivery.consumer_id, delivery.offset, delivery.count, ACCEPT))
        else:
            first = subscription.delivered(delivery.consumer_id, delivery.offset, delivery.count)
        more = b"\n"
        if delivery.redelivered:
            more = b"\nredelivered:true\n"
        if delivery.counted:
            more += b"x-delivery-count:%d\n" % delivery.deliveries
        offset = delivery.offset if delivery.from_topic else -1
        to = subscription
        position: int = self.output.deliver(
            delivery.data, delivery.position, delivery.count, to.head, to.middle, more, to.destination, first, self.version, offset
        )
        if self.output.size > OUTPUT_HIGH_BYTES:
            self.overfull = True
            self.attachment.writable = False
        self.wake()
        return position

    def cancelled(self, token: Any) -> None:
        """See port.Sink."""
        subscription: Subscription = token
        if not subscription.ended:
            self.fail(StompError("subscription ended", f"The queue of subscription '{subscription.key[:100]}' is gone, or may not be read any more."))

    def revoked(self, reason: str) -> None:
        """See port.Sink."""
        handshake.shut_down(self, reason)

    def throttle(self, blocked: bool, reason: str) -> None:
        """See port.Sink. With a reason each SEND is refused, and told so, for itself."""
        if not reason:
            self.throttled = blocked
            self.update_paused()

    # ---- the end

    def fail(self, error: StompError) -> None:
        """ERROR, and the end."""
        handshake.fail(self, error)

    def leave(self) -> None:
        """All that came before DISCONNECT is durable."""
        frame = self.step_frame
        assert frame is not None
        self.receipt(frame)
        self.release()
        self.state = CLOSED
        self.closing = True
        self.wake()

    def release(self) -> None:
        """Give up what the connection holds."""
        self.backlog = []
        self.steps = None
        self.step_call = None
        self.sent.clear()
        self.receipts_bytes = 0
        self.unsettled = []
        self.subscriptions.clear()
        self.by_number.clear()
        self.transactions.clear()
        self.temporaries.clear()
        self.browsers.clear()
        self.browse_call = None
        if self.staging is not None:
            self.staging.close()
        share, self.decoder.share = self.decoder.share, None
        if share is not None:
            share.close()
        self.decoder.drop()  # what comes now is read into the same small buffer again and again
        if self.attachment is not None:
            self.attachment.close()

    # ---- what the network says

    def flushed(self) -> None:
        """Everything was handed to the socket, and it takes more."""
        self.spoke = True
        if self.unsettled:
            settlements, self.unsettled = self.unsettled, []
            for settlement in settlements:
                self.attachment.submit(settlement)
        if self.overfull:
            self.overfull = False
            if self.attachment is not None:
                self.attachment.resume()
        if self.browsers:
            browsing.go_on(self)

    def writable(self, is_writable: bool) -> None:
        """See net.session.Session."""
        if self.attachment is None:
            return
        if not is_writable:
            self.attachment.writable = False
        elif not self.overfull:
            self.attachment.resume()
            browsing.go_on(self)

    def deadline_reached(self, now: float) -> None:
        """See net.session.Session."""
        handshake.deadline_reached(self, now)

    def shut_down(self, reason: str) -> None:
        """See net.session.Session."""
        handshake.shut_down(self, reason)

    def lost(self, reason: str) -> None:
        """See net.session.Session."""
        self.state = CLOSED
        self.release()
        if self.attachment is not None:
            self.attachment.end()


def _overrun(session: Session) -> bool:
    """See net.unfinished.Unfinished.share: the connection gives back what it has received."""
    error = session.decoder.overrun()
    if error is not None:
        handshake.fail(session, error)
    return session.decoder.error is not None
