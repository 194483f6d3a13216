"""Session: one MQTT connection as a state machine. Bytes and the port's answers in, packets and calls out; sans-IO.

    connecting.py    CONNECT, keep alive, take-over, DISCONNECT, the end
    authenticating.py    AUTH
    subscribing.py   SUBSCRIBE, UNSUBSCRIBE: generators, which yield what they ask the broker
    publishing.py    runs of PUBLISHes and PUBRELs of the client, and what they are answered with
    delivering.py    what is sent to it, and its acknowledgements
    retained.py      what is retained, for who subscribes
    here             turns, pausing, what waits for the broker

A connection is one stream of the port. While a packet waits for the broker's answer, what arrives behind it waits too, so that packets take effect in the order
in which they came. PUBLISHes do not wait: they are acknowledged when they are durable, in their order (4.6).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from entrepot.broker.calls.port import DONE, PENDING, Ask, Call, Delivery, Settle, Sink, make_ask
from entrepot.model.entry import CODEC_MQTT
from entrepot.model.errors import NotDone
from entrepot.net.receive_buffer import BUFFER_MAX_BYTES
from entrepot.net.turns import Turns
from entrepot.protocols.mqtt import authenticating, connecting, delivering, outcomes, publishing, retained, subscribing
from entrepot.protocols.mqtt.aliases import OutgoingAliases
from entrepot.protocols.mqtt.codec import Decoder
from entrepot.protocols.mqtt.connecting import CLOSED, LEAVING, OPEN, WAITING, Settings
from entrepot.protocols.mqtt.events import AckRun, Auth, Connect, Disconnect, Pings, PublishRun, Subscribe, Unsubscribe
from entrepot.protocols.mqtt.flights import Flights
from entrepot.protocols.mqtt.incoming import Incoming
from entrepot.protocols.mqtt.negotiation import Terms
from entrepot.protocols.mqtt.output import Output
from entrepot.protocols.mqtt.reason_codes import MqttError
from entrepot.protocols.mqtt.steps import Steps
from entrepot.protocols.mqtt.subscriptions import Subscriptions

STREAM = 1  # all that a connection asks is one stream of the port
STRANGER_BYTES = 65_536
ANSWERS_HIGH = 4096  # runs of PUBLISHes that wait until they are durable: above this nothing is read
PIECE_STEPS = 100  # of events taken in, between two looks at what the turn has left (net/turns.py)
EVENT_STEPS = 6  # what an event costs; of a packet that is not hot
PACKET_STEPS = 20
ID_STEPS = 1  # of an acknowledgement, or a PUBLISH of QoS 2, that is looked up by itself


class Session(Sink):
    """See net.session.Session for what the network calls, and broker.port.Sink for what the port calls.

    port: has attach(sink, principal, namespace, codec). authenticator: see connecting.py. name: of the session, not given
    twice. wall_ms: the time. journal(text, first bytes) notes what the operator should know. turns: net.turns.Turns of the process. unfinished, strangers:
    net.unfinished.Unfinished of all connections, and of those before their login, if they share a limit.
    """

    def __init__(
        self,
        port: Any,
        authenticator: Any,
        settings: Settings,
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
        self.decoder: Any = Decoder(settings.offer.packet_max, stranger_max=STRANGER_BYTES)
        if strangers is not None:
            self.decoder.share = strangers.share(partial(_overrun, self))
        self.state = WAITING
        self.version = 0
        self.connect: Connect | None = None
        self.terms: Terms | None = None
        self.login: authenticating.Login | None = None
        self.principal: Any = None
        self.user = ""
        self.virtual_host = ""
        self.client_id = ""
        self.number = 0  # of the session, at the port
        self.is_kept = False  # it outlives its connection
        self.attachment: Any = None
        self.authenticating = False
        self.throttled = False
        self.overfull = False
        self.heard = False  # since the last sweep
        self.heard_at = 0.0
        # what waits
        self.backlog: list[Any] = []
        self.unread = False  # the decoder has octets that it was not to look at before
        self.arranged = False  # next_turn() will come
        self.taking = False  # take_in() is at it, and looks at the backlog
        self.steps: Steps | None = None  # of the packet that waits for an answer
        self.step_calls: list[Ask] = []  # what it has asked
        self.steps_waiting = 0  # how many of them are not answered
        self.is_list = False  # it has asked several together
        self.advancing = False
        # what the client publishes: by topic, the address, or the reason that it has none
        self.addresses: dict[bytes, bytes | MqttError] = {}
        self.withouts: dict[bytes, tuple[str, ...]] = {}  # by address: queues of the session that get nothing of it
        self.incoming = Incoming(settings.offer.receive_maximum)
        self.answers: deque[publishing.Answer] = deque()  # acknowledgements that are due, in order
        self.sent: dict[Call, publishing.Answer] = {}
        self.releasing: dict[Call, tuple[int, bytes]] = {}  # PUBRELs and PUBCOMPs that go out when it is remembered that they did
        # what is sent to it
        self.subscriptions = Subscriptions()
        self.sources: dict[int, delivering.Source] = {}  # by place
        self.last_place = delivering.LOOSE
        self.shared: dict[bytes, delivering.Source] = {}  # by filter
        self.flights = Flights()
        self.aliases = OutgoingAliases(0)
        self.copies = retained.Copies()
        self.matches: dict[bytes, delivering.Match] = {}  # by address
        self.held: deque[delivering.Held] = deque()  # deliveries that wait for identifiers, or for the client's acknowledgements
        self.unsettled: list[Settle] = []  # what is settled when it is handed to the socket

    @property
    def established(self) -> bool:
        """See net.session.Session."""
        return self.attachment is not None

    def attach(self, namespace: str) -> Any:
        """The port's side of this session. Raises Refused."""
        return self.port.attach(self, self.principal, namespace, CODEC_MQTT)

    def authenticated(self, principal: Any) -> None:
        """Who it is is known; None: nobody."""
        connecting.authenticated(self, principal)

    def give_room(self) -> None:
        """Somebody has logged in: what is received is bounded as a user's, no more as a stranger's."""
        share = None if self.unfinished is None else self.unfinished.share(partial(_overrun, self))
        self.decoder.accept(BUFFER_MAX_BYTES, share, self.settings.offer.topic_alias_maximum)
        self.unread = True

    def put(self, data: bytes) -> None:
        """Send these bytes."""
        self.output.raw(data)
        self.wake()

    def subscribed_anew(self) -> None:
        """What was remembered of topics holds no more."""
        self.matches.clear()
        self.withouts.clear()

    def queue_arguments(self) -> dict[str, Any]:
        """Of a queue that nobody waits for who is away."""
        return {"x-max-length": self.settings.queued_max} if self.settings.queued_max else {}

    def submit(self, request: Any) -> None:
        """Ask something whose answer nobody waits for."""
        self.attachment.submit(make_ask(STREAM, request))

    def ask(self, request: Any, answer: publishing.Answer) -> None:
        """Ask something that a run of PUBLISHes is answered by."""
        call = make_ask(STREAM, request)
        self.sent[call] = answer
        self.attachment.submit(call)

    def when_done(self, request: Any, kind: int, packet_ids: bytes) -> None:
        """Ask something; when it is durable, acknowledgements of that kind go out."""
        call = make_ask(STREAM, request)
        self.releasing[call] = kind, packet_ids
        self.attachment.submit(call)

    # ---- bytes in

    def get_buffer(self, size_hint: int) -> Any:
        """See net.session.Session."""
        return self.decoder.writable()

    def buffer_updated(self, count: int) -> None:
        """See net.session.Session."""
        self.heard = True
        if self.state >= LEAVING:
            return
        events = self.decoder.feed(count)
        if self.backlog:
            self.backlog.extend(events)
        else:
            self.take_in(events)

    def take_in(self, events: list[Any]) -> None:
        """Events, as far as the turn allows and nothing waits; the others later."""
        turns = self.turns
        steps = done = 0
        self.taking = True
        try:
            while True:
                if self.backlog:
                    events[done:done] = self.backlog
                    self.backlog = []
                if self.state >= LEAVING:
                    break
                if done == len(events):
                    if not (self.unread or self.decoder.more) or self.decoder.error is not None:
                        break
                    self.unread = False
                    events, done = self.decoder.feed(0), 0
                    continue
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
        if isinstance(event, AckRun):
            steps += ID_STEPS * (1 if event.ascending else event.count)
        elif isinstance(event, PublishRun):
            steps += ID_STEPS * (event.count if event.qos == 2 else 0)
        elif not isinstance(event, Pings):
            steps += PACKET_STEPS
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
        if not self.taking and (self.backlog or self.paused or self.unread):
            self.go_on()

    def go_on(self) -> None:
        """Go on with what is here."""
        events = self.backlog
        self.backlog = []
        if self.state >= LEAVING:
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
        waits = self.throttled or self.authenticating or self.steps is not None
        paused = (waits or len(self.backlog) > 0 or len(self.answers) > ANSWERS_HIGH) and self.state < LEAVING
        if self.paused != paused:
            self.paused = paused
            self.wake()

    def on_event(self, event: Any) -> None:
        """One event of the decoder. What the peer did wrong is answered here."""
        try:
            if isinstance(event, PublishRun):
                publishing.publish(self, event)
            elif isinstance(event, AckRun):
                HANDLERS[event.kind](self, event)
            elif isinstance(event, Pings):
                self.output.pings(event.count)
                self.wake()
            elif isinstance(event, MqttError):
                self.fail(event)
            else:
                self.on_packet(event)
        except MqttError as error:
            self.fail(error)

    def on_packet(self, event: Any) -> None:
        """One that is no part of a run. Raises MqttError."""
        if isinstance(event, Subscribe):
            self.begin(subscribing.subscribe(self, event))
        elif isinstance(event, Unsubscribe):
            self.begin(subscribing.unsubscribe(self, event))
        elif isinstance(event, Connect):
            connecting.connect(self, event)
        elif isinstance(event, Disconnect):
            connecting.disconnect(self, event)
        else:
            assert isinstance(event, Auth)
            authenticating.authenticate(self, event, self.state == OPEN)

    # ---- packets that wait

    def begin(self, steps: Steps) -> None:
        """A packet that asks the broker. Raises MqttError."""
        self.steps = steps
        self.advance(None)

    def advance(self, answer: Any) -> None:
        """Give the packet that waits what it asked for (steps.py), and ask what it wants next. Raises MqttError."""
        steps = self.steps
        assert steps is not None
        self.advancing = True
        try:
            while True:
                asked = steps.throw(answer) if isinstance(answer, NotDone) else steps.send(answer)
                if asked is None:
                    self.turns.wait(partial(self.advance_later, steps))
                    return
                self.step_calls = [make_ask(STREAM, request) for request in (asked if isinstance(asked, list) else [asked])]
                self.is_list = isinstance(asked, list)
                self.steps_waiting = len(self.step_calls)
                for call in self.step_calls:
                    self.attachment.submit(call)
                self.steps_waiting = sum(call.outcome == PENDING for call in self.step_calls)
                if self.steps_waiting:
                    return
                answer = self.answer()
        except StopIteration:
            self.steps = None
        except NotDone as not_done:
            not_done.__traceback__ = None
            self.steps = None
            raise outcomes.as_mqtt(not_done) from None
        except MqttError:
            self.steps = None
            raise
        finally:
            self.advancing = False

    def answer(self) -> Any:
        """What the packet that waits is given: all that it asked is answered."""
        calls, self.step_calls = self.step_calls, []
        answers = [call.result if call.error is None else call.error for call in calls]
        return answers if self.is_list else answers[0]

    def advance_later(self, steps: Steps) -> None:
        """The turn that it waited for."""
        if self.steps is not steps or self.state >= LEAVING:
            return
        try:
            self.advance(None)
        except MqttError as error:
            self.fail(error)
            return
        if self.steps is None:
            self.go_on_soon()

    # ---- what the port says

    def completed(self, call: Call) -> None:
        """See port.Sink."""
        if self.state >= LEAVING:
            return
        try:
            if call in self.step_calls:
                self.steps_waiting -= 1
                if not self.steps_waiting and not self.advancing:
                    self.advance(self.answer())
            elif call is self.copies.call:
                retained.copied(self, self.copies.call)
            elif call in self.sent:
                publishing.completed(self, call)
            elif call in self.releasing:
                kind, packet_ids = self.releasing.pop(call)
                if call.outcome != DONE:
                    raise outcomes.of_call(call)
                self.output.acks(kind, packet_ids, 0)
                self.wake()
            elif call.outcome != DONE:
                publishing.unheard(call)
        except MqttError as error:
            self.fail(error)
            return
        if self.steps is None and not self.taking:
            self.go_on_soon()

    deliver = delivering.deliver

    def cancelled(self, token: Any) -> None:
        """See port.Sink."""
        if not token.ended:
            connecting.queue_gone(self, token)

    def revoked(self, reason: str) -> None:
        """See port.Sink."""
        connecting.shut_down(self, reason, connecting.REVOKED)

    def throttle(self, blocked: bool, reason: str) -> None:
        """See port.Sink. With a reason each PUBLISH is refused, and told so, for itself."""
        if not reason:
            self.throttled = blocked
            self.update_paused()
            if not blocked:
                self.go_on_soon()

    # ---- the end

    def fail(self, error: MqttError) -> None:
        """The reason, where it can be said, and the end."""
        connecting.fail(self, error)

    def taken_over(self, number: int) -> None:
        """See port.Sink."""
        connecting.taken_over(self)

    def release(self) -> None:
        """Give up what the connection holds."""
        self.backlog = []
        self.steps = None
        self.step_calls = []
        self.sent.clear()
        self.releasing.clear()
        self.answers.clear()
        self.held.clear()
        self.matches.clear()
        self.unsettled = []
        for source in self.sources.values():
            source.ended = True
        share, self.decoder.share = self.decoder.share, None
        if share is not None:
            share.close()
        self.decoder.drop()  # what comes now is read into the same small buffer again and again
        if self.attachment is not None:
            self.attachment.close()

    # ---- what the network says

    def flushed(self) -> None:
        """Everything was handed to the socket, and it takes more."""
        if self.unsettled:
            settlements, self.unsettled = self.unsettled, []
            for settlement in settlements:
                self.attachment.submit(settlement)
        if self.overfull:
            self.overfull = False
            if self.attachment is not None:
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
        connecting.deadline_reached(self, now)

    def shut_down(self, reason: str) -> None:
        """See net.session.Session."""
        connecting.shut_down(self, reason)

    def lost(self, reason: str) -> None:
        """See net.session.Session."""
        if self.state != CLOSED:
            self.release()
            self.state = CLOSED


HANDLERS: dict[int, Callable[[Any, AckRun], None]] = {
    4: delivering.acknowledged,
    5: delivering.received,
    6: publishing.released,
    7: delivering.completed,
}
"""By packet type: PUBACK, PUBREC, PUBREL, PUBCOMP."""


def _overrun(session: Session) -> bool:
    """See net.unfinished.Unfinished.share: the connection gives back what it has received."""
    error = session.decoder.overrun()
    if error is not None:
        session.fail(error)
    return session.decoder.error is not None
