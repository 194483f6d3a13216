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

from functools import partial
from typing import Any

import cython

from entrepot.broker.calls.port import DONE, Call, Delivery, Publish
from entrepot.model.entry import CODEC_MQTT
from entrepot.net.receive_buffer import BUFFER_MAX_BYTES
from entrepot.protocols.mqtt import authenticating, connecting, outcomes, retained, steps, subscribing
from entrepot.protocols.mqtt.events import AckRun, Auth, Connect, Disconnect, Pings, PublishRun, Subscribe, Unsubscribe
from entrepot.protocols.mqtt.publishing import unheard
from entrepot.protocols.mqtt.reason_codes import MqttError
from entrepot.protocols.mqtt.state import CLOSED, LEAVING, OPEN, State, overrun

if not cython.compiled:
    from entrepot.protocols.mqtt.delivering import acknowledged, received
    from entrepot.protocols.mqtt.delivering import completed as let_go
    from entrepot.protocols.mqtt.delivering import deliver as send_delivery
    from entrepot.protocols.mqtt.publishing import publish, released, write_answers

ANSWERS_HIGH = 4096  # runs of PUBLISHes that wait until they are durable: above this nothing is read
PIECE_STEPS = 100  # of events taken in, between two looks at what the turn has left (net/turns.py)
EVENT_STEPS = 6  # what an event costs; of a packet that is not hot
PACKET_STEPS = 20
ID_STEPS = 1  # of an acknowledgement, or a PUBLISH of QoS 2, that is looked up by itself

_PIECE_STEPS, _EVENT_STEPS, _PACKET_STEPS, _ID_STEPS = PIECE_STEPS, EVENT_STEPS, PACKET_STEPS, ID_STEPS
_ANSWERS_HIGH = ANSWERS_HIGH
_LEAVING, _DONE = LEAVING, DONE
_PUBACK, _PUBREC, _PUBREL = 4, 5, 6  # else PUBCOMP


class Session(State):
    """See net.session.Session for what the network calls, and broker.port.Sink for what the port calls; state.py for what it has.

    port: has attach(sink, principal, namespace, codec). authenticator: see connecting.py. name: of the session, not given
    twice. wall_ms: the time. journal(text, first bytes) notes what the operator should know. turns: net.turns.Turns of the process. unfinished, strangers:
    net.unfinished.Unfinished of all connections, and of those before their login, if they share a limit.
    """

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
        share = None if self.unfinished is None else self.unfinished.share(partial(overrun, self))
        self.decoder.accept(BUFFER_MAX_BYTES, share, self.settings.offer.topic_alias_maximum)
        self.unread = True

    def queue_arguments(self) -> dict[str, Any]:
        """Of a queue that nobody waits for who is away."""
        return {"x-max-length": self.settings.queued_max} if self.settings.queued_max else {}

    # ---- bytes in

    def get_buffer(self, size_hint: int) -> Any:
        """See net.session.Session."""
        return self.decoder.writable()

    def buffer_updated(self, count: int) -> object:
        """See net.session.Session."""
        self.heard = True
        if self.state >= _LEAVING:
            return None
        events = self.decoder.feed(count)
        if self.backlog:
            self.backlog.extend(events)
        else:
            self.take_in(events)
        return None

    def take_in(self, events: list[Any]) -> object:
        """Events, as far as the turn allows and nothing waits; the others later."""
        turns = self.turns
        steps = done = 0
        self.taking = True
        try:
            while True:
                if self.backlog:
                    events[done:done] = self.backlog
                    self.backlog = []
                if self.state >= _LEAVING:
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
                if steps >= _PIECE_STEPS or done == 0:
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
        return None

    def step(self, event: Any) -> int:
        """One event; the steps that it cost."""
        steps = _EVENT_STEPS
        if isinstance(event, AckRun):
            acks = event
            steps += _ID_STEPS if acks.ascending else _ID_STEPS * acks.count
        elif isinstance(event, PublishRun):
            run = event
            if run.qos == 2:
                steps += _ID_STEPS * run.count
        elif not isinstance(event, Pings):
            steps += _PACKET_STEPS
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

    def update_paused(self) -> object:
        """Whether reading stops, by all that may hold it."""
        waits = self.throttled or self.authenticating or self.steps is not None
        paused = (waits or len(self.backlog) > 0 or len(self.answers) > _ANSWERS_HIGH) and self.state < _LEAVING
        if self.paused != paused:
            self.paused = paused
            self.wake()
        return None

    def on_event(self, event: Any) -> object:
        """One event of the decoder. What the peer did wrong is answered here."""
        try:
            if isinstance(event, PublishRun):
                publish(self, event)
            elif isinstance(event, AckRun):
                self.on_acks(event)
            elif isinstance(event, Pings):
                self.output.pings(event.count)
                self.wake()
            elif isinstance(event, MqttError):
                self.fail(event)
            else:
                self.on_packet(event)
        except MqttError as error:
            self.fail(error)
        return None

    def on_acks(self, run: AckRun) -> object:
        """Acknowledgements of the client. Raises MqttError."""
        if run.kind == _PUBACK:
            acknowledged(self, run)
        elif run.kind == _PUBREC:
            received(self, run)
        elif run.kind == _PUBREL:
            released(self, run)
        else:
            let_go(self, run)
        return None

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

    def begin(self, asking: steps.Steps) -> None:
        """A packet that asks the broker. Raises MqttError."""
        steps.begin(self, asking)

    # ---- what the port says

    def completed(self, call: Call) -> None:
        """See port.Sink."""
        if self.state >= _LEAVING:
            return
        try:
            if isinstance(call, Publish):
                run = call
                if run.confirm:
                    write_answers(self)
                elif call.outcome != _DONE:
                    unheard(call)
            else:
                self.on_answer(call)
        except MqttError as error:
            self.fail(error)
            return
        if self.steps is None and not self.taking:
            self.go_on_soon()

    def on_answer(self, call: Call) -> object:
        """What was not a mere Publish is done, or is not. Raises MqttError."""
        if call in self.step_calls:
            steps.answered(self)
        elif call is self.copies.call:
            retained.copied(self, self.copies.call)
        elif call in self.releasing:
            kind, packet_ids = self.releasing.pop(call)
            if call.outcome != _DONE:
                raise outcomes.of_call(call)
            self.output.acks(kind, packet_ids, 0)
            self.wake()
        elif call in self.asked:
            self.asked.remove(call)
            write_answers(self)
        elif call.outcome != _DONE:
            unheard(call)
        return None

    def deliver(self, delivery: Delivery) -> int:
        """See port.Sink."""
        return send_delivery(self, delivery)

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
        self.asked.clear()
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

    def flushed(self) -> object:
        """Everything was handed to the socket, and it takes more."""
        self.settle()
        if self.overfull:
            self.overfull = False
            if self.attachment is not None:
                self.attachment.resume()
        return None

    def writable(self, is_writable: bool) -> object:
        """See net.session.Session."""
        if self.attachment is None:
            return None
        if not is_writable:
            self.attachment.writable = False
        elif not self.overfull:
            self.attachment.resume()
        return None

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
        if self.attachment is not None:
            self.attachment.end()
