"""What a client publishes: runs of PUBLISHes to the broker, and PUBACK, PUBREC and PUBCOMP back, in the order in which the PUBLISHes came (4.6).

3.1 and 3.1.1 have no way to say that a message is refused (3.1.1: 3.3.5): of QoS 1 and 2 the connection ends, so that it is not taken for done. What is
refused of QoS 0 is told where its sender may not publish it at all, and else it is one of those that did not arrive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot.broker.calls.port import Ask, Call, Publish, make_publish
from entrepot.broker.calls.retained_requests import PublishRetained
from entrepot.broker.calls.session_requests import PublishOnce, ReleaseIncoming
from entrepot.model.entry import CODEC_MQTT, HAS_EXPIRY
from entrepot.model.errors import Reason, Refused
from entrepot.protocols.mqtt import outcomes
from entrepot.protocols.mqtt.events import AckRun, PublishRun
from entrepot.protocols.mqtt.incoming import NEW, TAKEN, ids_of, runs_of
from entrepot.protocols.mqtt.packets import MQTT_5, PacketType
from entrepot.protocols.mqtt.packing import skip
from entrepot.protocols.mqtt.reason_codes import MqttError, ReasonCode
from entrepot.protocols.mqtt.records import ENTRY_VERSION
from entrepot.protocols.mqtt.topics import KEY_MAX_BYTES, key_of

if TYPE_CHECKING:
    from entrepot.protocols.mqtt.session import Session

STREAM = 1
EXCHANGE = b"\x09amq.topic"
ADDRESSES_MAX = 1024
SYSTEM = b"$SYS"
_PUBACK, _PUBREC, _PUBCOMP = int(PacketType.PUBACK), int(PacketType.PUBREC), int(PacketType.PUBCOMP)
_FAILED = 0x80


class Answer:
    """What a run of PUBLISHes is answered with, when it is `ready`: `reasons` is one for all of them, or one for each. `asked`: calls that it waits for."""

    __slots__ = ("asked", "packet_ids", "publish", "qos", "ready", "reasons")

    def __init__(self, qos: int, packet_ids: bytes, publish: Publish | None, reasons: int | list[int] = 0, ready: bool = False) -> None:
        self.qos = qos
        self.packet_ids = packet_ids
        self.publish = publish
        self.asked = 1
        self.reasons = reasons
        self.ready = ready


def address_of(topic: bytes) -> bytes:
    """As port.Publish has it. Raises MqttError where there is none, or nobody may publish there."""
    if len(topic) > KEY_MAX_BYTES:
        raise MqttError(ReasonCode.TOPIC_NAME_INVALID, f"a topic of more than {KEY_MAX_BYTES} bytes")
    if topic == SYSTEM or topic.startswith(SYSTEM + b"/"):
        raise MqttError(ReasonCode.NOT_AUTHORIZED, f"{SYSTEM.decode()} is the broker's own")
    return EXCHANGE + bytes((len(topic),)) + key_of(topic)


def _address(session: Session, topic: bytes) -> bytes | MqttError:
    """What is refused is not remembered: such a topic may have 64 KiB."""
    found = session.addresses.get(topic)
    if found is None:
        try:
            found = address_of(topic)
        except MqttError as error:
            return error
        if len(session.addresses) >= ADDRESSES_MAX:
            session.addresses.clear()
        session.addresses[topic] = found
    return found


def publish(session: Session, run: PublishRun) -> None:
    """PUBLISH, a run of them. Raises MqttError."""
    if run.qos == 1:
        session.incoming.at_least_once(run.count)
    elif run.qos == 2:
        states = session.incoming.exactly_once(run.packet_ids)
        if any(states):
            again = b"".join(run.packet_ids[2 * at : 2 * at + 2] for at, state in enumerate(states) if state == TAKEN)
            if again:
                _due(session, Answer(2, again, None, ready=True))
            run = _those(run, [at for at, state in enumerate(states) if state == NEW])
            if not run.count:
                return
    address = _address(session, run.topic)
    if isinstance(address, MqttError):
        if not run.qos:
            raise MqttError(address.reason_code, str(address))
        _due(session, Answer(run.qos, run.packet_ids, None, int(address.reason_code), True))
        return
    call = make_publish(STREAM, address, CODEC_MQTT, ENTRY_VERSION, HAS_EXPIRY if run.expires else 0, run.data, run.count, run.body_bytes)
    if session.subscriptions.no_local_count:
        _leave_out(session, call, run.topic)
    if run.qos:
        call.confirm = True
        call.mandatory = session.version == MQTT_5
        answer = Answer(run.qos, run.packet_ids, call)
        session.answers.append(answer)
        if run.qos == 2 and session.is_kept:
            session.ask(PublishOnce(session.number, [call], runs_of(ids_of(run.packet_ids))), answer)
            if run.retain:
                answer.asked += 1
                session.ask(PublishRetained(_last_of(call), kept_only=True), answer)
        elif run.retain:
            session.ask(PublishRetained(call), answer)
        else:
            session.sent[call] = answer
            session.attachment.submit(call)
    elif run.retain:
        session.submit(PublishRetained(call))
    else:
        session.attachment.submit(call)


def _leave_out(session: Session, call: Publish, topic: bytes) -> None:
    """Of its own subscriptions only such match as want nothing of what their client publishes (3.8.3.1): its queues get none of it."""
    own = session.withouts.get(call.address)
    if own is None:
        wanted = [subscription.no_local for subscription, _ in session.subscriptions.matching(topic)]
        own = tuple(source.queue for source in session.sources.values() if source.queue and source.subscription is None) if wanted and all(wanted) else ()
        if len(session.withouts) >= ADDRESSES_MAX:
            session.withouts.clear()
        session.withouts[call.address] = own
    if own:
        call.without = own
        call.scattered = True


def _last_of(call: Publish) -> Publish:
    """Of a run the last message, which is the one that is retained."""
    pos = skip(call.data, 0, call.count - 1)
    size = int.from_bytes(call.data[pos + 4 : pos + 8], "big")
    last = make_publish(STREAM, call.address, CODEC_MQTT, ENTRY_VERSION, call.flags, call.data[pos:], 1, size)
    last.confirm = True
    return last


def _those(run: PublishRun, places: list[int]) -> PublishRun:
    """Only these messages of a run."""
    records, body_bytes = [], 0
    pos = at = 0
    for place in places:
        pos = skip(run.data, pos, place - at)
        after = skip(run.data, pos, 1)
        records.append(run.data[pos:after])
        body_bytes += int.from_bytes(run.data[pos + 4 : pos + 8], "big")
        pos, at = after, place + 1
    packet_ids = b"".join(run.packet_ids[2 * place : 2 * place + 2] for place in places)
    return PublishRun(run.topic, run.qos, run.retain, b"".join(records), len(places), packet_ids, body_bytes, run.expires)


def completed(session: Session, call: Call) -> None:
    """A run is durable, or will not be. Raises MqttError."""
    answer = session.sent.pop(call)
    answer.asked -= 1
    if not _only_keeps(call):
        assert answer.publish is not None
        answer.reasons = outcomes.of_publish(call, answer.publish, session.version, answer.packet_ids)
    if answer.asked:
        return
    answer.publish = None
    answer.ready = True
    write_answers(session)


def _only_keeps(call: Call) -> bool:
    """Whether it is what is retained of a message that is published otherwise: waited for, but that message is stored, whatever becomes of this."""
    return isinstance(call, Ask) and isinstance(call.request, PublishRetained) and call.request.kept_only


def unheard(call: Call) -> None:
    """What nobody waits for is not done. Raises MqttError, where a message of QoS 0 may not be published at all."""
    is_publish = isinstance(call, Publish) or (isinstance(call, Ask) and isinstance(call.request, PublishRetained))
    if is_publish and isinstance(call.error, Refused) and call.error.reason is Reason.NOT_PERMITTED:
        raise outcomes.as_mqtt(call.error)


def _due(session: Session, answer: Answer) -> None:
    session.answers.append(answer)
    write_answers(session)


def write_answers(session: Session) -> None:
    """Those that are ready, up to the first that is not. Raises MqttError."""
    answers = session.answers
    while answers and answers[0].ready:
        _write(session, answers.popleft())
    session.wake()


def _write(session: Session, answer: Answer) -> None:
    reasons, packet_ids = answer.reasons, answer.packet_ids
    if not isinstance(reasons, list):
        _write_alike(session, answer.qos, packet_ids, reasons)
        return
    start = 0
    for at in range(1, len(reasons) + 1):
        if at == len(reasons) or reasons[at] != reasons[start]:
            _write_alike(session, answer.qos, packet_ids[2 * start : 2 * at], reasons[start])
            start = at


def _write_alike(session: Session, qos: int, packet_ids: bytes, reason: int) -> None:
    failed = reason >= _FAILED
    if failed and session.version != MQTT_5:
        raise MqttError(reason, "a message is refused")
    if qos == 1:
        session.incoming.answered(len(packet_ids) // 2)
    elif failed:
        session.incoming.refused(packet_ids)
    else:
        session.incoming.stored(packet_ids)
    session.output.acks(_PUBACK if qos == 1 else _PUBREC, packet_ids, reason)


def released(session: Session, run: AckRun) -> None:
    """PUBREL: identifiers of QoS 2 are free again."""
    known, unknown = session.incoming.released(run.packet_ids)
    if session.is_kept and known:
        session.when_done(ReleaseIncoming(session.number, runs_of(ids_of(known))), _PUBCOMP, known)
    else:
        session.output.acks(_PUBCOMP, known, 0)
    session.output.acks(_PUBCOMP, unknown, ReasonCode.PACKET_IDENTIFIER_NOT_FOUND if session.version == MQTT_5 else 0)
    session.wake()
