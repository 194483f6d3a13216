"""What a client publishes: runs of PUBLISHes to the broker, and PUBACK, PUBREC and PUBCOMP back, in the order in which the PUBLISHes came (4.6).

3.1 and 3.1.1 have no way to say that a message is refused (3.1.1: 3.3.5): of QoS 1 and 2 the connection ends, so that it is not taken for done. What is
refused of QoS 0 is told where its sender may not publish it at all, and else it is one of those that did not arrive.
"""

from __future__ import annotations

from typing import Any

import cython

from entrepot.broker.calls.port import DONE, PENDING, Ask, Call, Publish
from entrepot.broker.calls.retained_requests import PublishRetained
from entrepot.broker.calls.session_requests import PublishOnce, ReleaseIncoming
from entrepot.model.addresses import KEY_MAX_BYTES, KEY_WORDS_MAX, pack_address
from entrepot.model.entry import CODEC_MQTT, HAS_EXPIRY
from entrepot.model.errors import Reason, Refused
from entrepot.protocols.mqtt import outcomes
from entrepot.protocols.mqtt.events import AckRun, PublishRun
from entrepot.protocols.mqtt.incoming import NEW, TAKEN
from entrepot.protocols.mqtt.packets import MQTT_5, PacketType
from entrepot.protocols.mqtt.reason_codes import MqttError, ReasonCode
from entrepot.protocols.mqtt.records import ENTRY_VERSION
from entrepot.protocols.mqtt.state import STREAM, State
from entrepot.protocols.mqtt.topics import LONG_BYTES, is_bounded, key_of

if not cython.compiled:
    from entrepot.broker.calls.port import make_ask, make_publish
    from entrepot.protocols.mqtt.incoming import ids_of, runs_of
    from entrepot.protocols.mqtt.packing import skip

EXCHANGE = b"amq.topic"
ADDRESSES_MAX = 1024  # of topics of less than LONG_BYTES; of longer ones as much fewer
_STEP_BYTES = 2048  # of a topic, copied about as often as there are those who want it
SYSTEM = b"$SYS"
_PUBACK, _PUBREC, _PUBCOMP = int(PacketType.PUBACK), int(PacketType.PUBREC), int(PacketType.PUBCOMP)
_FAILED = 0x80
_STREAM, _CODEC, _CODEC_VERSION, _HAS_EXPIRY, _V5 = STREAM, CODEC_MQTT, ENTRY_VERSION, HAS_EXPIRY, MQTT_5
_PENDING, _DONE = PENDING, DONE
_NO_MATCH = int(ReasonCode.NO_MATCHING_SUBSCRIBERS)


class Answer:
    """What is due for a run of PUBLISHes, when `call` is answered: `publish`, or what that is in. Without a call, `reason` at once.

    `keeping`: that the last of them is retained, where that is asked by itself: waited for, but they are stored, whatever becomes of it.
    """

    __slots__ = ("call", "keeping", "packet_ids", "publish", "qos", "reason")

    qos: int
    packet_ids: bytes
    publish: Publish | None
    call: Call | None
    keeping: Call | None
    reason: int


def make_answer(qos: int, packet_ids: bytes, publish: Publish | None, call: Call | None, reason: int = 0) -> Answer:
    """An Answer."""
    answer = Answer.__new__(Answer)
    answer.qos = qos
    answer.packet_ids = packet_ids
    answer.publish = publish
    answer.call = call
    answer.keeping = None
    answer.reason = reason
    return answer


def address_of(topic: bytes) -> bytes:
    """As port.Publish has it. Raises MqttError where there is none, or nobody may publish there."""
    if not is_bounded(topic):
        raise MqttError(ReasonCode.TOPIC_NAME_INVALID, f"a topic of more than {KEY_MAX_BYTES} octets or {KEY_WORDS_MAX} levels")
    if topic == SYSTEM or topic.startswith(SYSTEM + b"/"):
        raise MqttError(ReasonCode.NOT_AUTHORIZED, f"{SYSTEM.decode()} is the broker's own")
    return pack_address(EXCHANGE, key_of(topic))


def _address(session: State, topic: bytes) -> Any:
    """The address, or the MqttError that says why there is none; that is not remembered, for such a topic may have 64 KiB."""
    found: Any = session.addresses.get(topic)
    if found is None:
        try:
            found = address_of(topic)
        except MqttError as error:
            return error
        if len(session.addresses) >= ADDRESSES_MAX // (1 + len(topic) // LONG_BYTES):
            session.addresses.clear()
        session.addresses[topic] = found
    return found


def publish(session: State, run: PublishRun) -> int:
    """PUBLISH, a run of them. Raises MqttError."""
    if run.qos == 1:
        session.incoming.at_least_once(run.count)
    elif run.qos == 2:
        states = session.incoming.exactly_once(run.packet_ids)
        if len(states) > states.count(NEW):
            run = _new_of(session, run, states)
            if run.count == 0:
                return 0
    address = _address(session, run.topic)
    if not isinstance(address, bytes):
        if run.qos == 0:
            raise MqttError(address.reason_code, str(address))
        _due(session, make_answer(run.qos, run.packet_ids, None, None, int(address.reason_code)))
        return 0
    call = make_publish(_STREAM, address, _CODEC, _CODEC_VERSION, _HAS_EXPIRY if run.expires else 0, run.data, run.count, run.body_bytes)
    if len(run.topic) > _STEP_BYTES:  # is written with each of them, and found its way anew
        session.attachment.spent += run.count * (len(run.topic) // _STEP_BYTES)
    if session.subscriptions.no_local_count:
        _leave_out(session, call, run.topic)
    if run.qos:
        call.confirm = True
        call.mandatory = session.version == _V5
    if run.retain or (run.qos == 2 and session.is_kept):
        _publish_noted(session, run, call)
        return 0
    if run.qos:
        session.answers.append(make_answer(run.qos, run.packet_ids, call, call))
    session.attachment.submit(call)
    return 0


def _new_of(session: State, run: PublishRun, states: list[int]) -> PublishRun:
    """What of a run has not come before; what has, and is stored, is answered again."""
    again = b"".join([run.packet_ids[2 * at : 2 * at + 2] for at, state in enumerate(states) if state == TAKEN])
    if again:
        _due(session, make_answer(2, again, None, None))
    return _those(run, [at for at, state in enumerate(states) if state == NEW])


def _publish_noted(session: State, run: PublishRun, call: Publish) -> int:
    """One that is retained, or whose identifiers are to be remembered."""
    request: Any
    remembers = run.qos == 2 and session.is_kept
    if remembers:
        request = PublishOnce(session.number, [call], runs_of(ids_of(run.packet_ids)))
    else:
        request = PublishRetained(call)
    ask = make_ask(_STREAM, request)
    if run.qos:
        answer = make_answer(run.qos, run.packet_ids, call, ask)
        session.answers.append(answer)
        session.asked.add(ask)
        if remembers and run.retain:
            answer.keeping = make_ask(_STREAM, PublishRetained(_last_of(call), kept_only=True))
            session.asked.add(answer.keeping)
    session.attachment.submit(ask)
    if run.qos and answer.keeping is not None:
        session.attachment.submit(answer.keeping)
    return 0


def _leave_out(session: State, call: Publish, topic: bytes) -> None:
    """Of its own subscriptions only such match as want nothing of what their client publishes (3.8.3.1): its queues get none of it."""
    own = session.withouts.get(call.address)
    if own is None:
        wanted = [subscription.no_local for subscription, _ in session.subscriptions.matching(topic)]
        own = tuple(source.queue for source in session.sources.values() if source.queue and source.subscription is None) if wanted and all(wanted) else ()
        if len(session.withouts) >= ADDRESSES_MAX // (1 + len(topic) // LONG_BYTES):
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


def unheard(call: Call) -> None:
    """What nobody waits for is not done. Raises MqttError, where a message of QoS 0 may not be published at all."""
    is_publish = isinstance(call, Publish) or (isinstance(call, Ask) and isinstance(call.request, PublishRetained))
    if is_publish and isinstance(call.error, Refused) and call.error.reason is Reason.NOT_PERMITTED:
        raise outcomes.as_mqtt(call.error)


def _due(session: State, answer: Answer) -> int:
    session.answers.append(answer)
    return write_answers(session)


def write_answers(session: State) -> int:
    """Those that are ready, up to the first that is not. Raises MqttError."""
    answers = session.answers
    while answers:
        answer = answers[0]
        if answer.call is not None and answer.call.outcome == _PENDING:
            break
        if answer.keeping is not None and answer.keeping.outcome == _PENDING:
            break
        answers.popleft()
        _write(session, answer)
    session.wake()
    return 0


def _write(session: State, answer: Answer) -> int:
    call, publish = answer.call, answer.publish
    if call is None or publish is None:
        return _write_alike(session, answer.qos, answer.packet_ids, answer.reason)
    if call.outcome == _DONE and not call.result and publish.returned is None and publish.nacked is None:
        return _write_alike(session, answer.qos, answer.packet_ids, _NO_MATCH if publish.unroutable and session.version == _V5 else 0)
    reasons = outcomes.of_publish(call, publish, session.version, answer.packet_ids)
    if isinstance(reasons, int):
        return _write_alike(session, answer.qos, answer.packet_ids, reasons)
    start = 0
    for at in range(1, len(reasons) + 1):
        if at == len(reasons) or reasons[at] != reasons[start]:
            _write_alike(session, answer.qos, answer.packet_ids[2 * start : 2 * at], reasons[start])
            start = at
    return 0


def _write_alike(session: State, qos: int, packet_ids: bytes, reason: int) -> int:
    failed = reason >= _FAILED
    if failed and session.version != _V5:
        raise MqttError(reason, "a message is refused")
    if qos == 1:
        session.incoming.answered(len(packet_ids) // 2)
    elif failed:
        session.incoming.refused(packet_ids)
    else:
        session.incoming.stored(packet_ids)
    session.output.acks(_PUBACK if qos == 1 else _PUBREC, packet_ids, reason)
    return 0


def released(session: State, run: AckRun) -> int:
    """PUBREL: identifiers of QoS 2 are free again."""
    known, unknown = session.incoming.released(run.packet_ids)
    if session.is_kept and known:
        session.when_done(ReleaseIncoming(session.number, runs_of(ids_of(known))), _PUBCOMP, known)
    else:
        session.output.acks(_PUBCOMP, known, 0)
    session.output.acks(_PUBCOMP, unknown, ReasonCode.PACKET_IDENTIFIER_NOT_FOUND if session.version == MQTT_5 else 0)
    session.wake()
    return 0
