"""What a client is told of a call that is not done: a reason code."""

from __future__ import annotations

from entrepot.broker.calls.port import DONE, UNKNOWN, Call, Publish
from entrepot.model.errors import NotDone, Reason, Refused, Unavailable
from entrepot.model.names import without_vhosts
from entrepot.protocols.mqtt.incoming import ids_of
from entrepot.protocols.mqtt.packets import MQTT_5
from entrepot.protocols.mqtt.reason_codes import MqttError, ReasonCode

_OF_REFUSED = dict.fromkeys(Reason, ReasonCode.UNSPECIFIED_ERROR) | {
    Reason.NOT_PERMITTED: ReasonCode.NOT_AUTHORIZED,
    Reason.UNAUTHENTICATED: ReasonCode.NOT_AUTHORIZED,
    Reason.LIMIT: ReasonCode.QUOTA_EXCEEDED,
    Reason.FULL: ReasonCode.QUOTA_EXCEEDED,
    Reason.TOO_LARGE: ReasonCode.QUOTA_EXCEEDED,
    Reason.TAKEN_OVER: ReasonCode.SESSION_TAKEN_OVER,
    Reason.NOT_SUPPORTED: ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR,
}


def reason_of(error: NotDone | None) -> ReasonCode:
    """Of a SUBACK, an UNSUBACK, a PUBACK, a PUBREC."""
    if isinstance(error, Refused):
        return _OF_REFUSED[error.reason]
    return ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR if isinstance(error, Unavailable) else ReasonCode.UNSPECIFIED_ERROR


def as_mqtt(error: NotDone) -> MqttError:
    """What ends a connection: in CONNACK, or in DISCONNECT."""
    text = without_vhosts(str(error))
    if isinstance(error, Refused):
        return MqttError(_OF_REFUSED[error.reason], text)
    return MqttError(ReasonCode.SERVER_BUSY if isinstance(error, Unavailable) else ReasonCode.UNSPECIFIED_ERROR, text)


def of_call(call: Call) -> MqttError:
    """What ends the connection, where there is no other way to say that a call is not done."""
    return as_mqtt(call.error) if call.error is not None else MqttError(ReasonCode.UNSPECIFIED_ERROR, "the outcome is not known")


def of_publish(call: Call, publish: Publish, version: int, packet_ids: bytes) -> int | list[int]:
    """The reason for each PUBLISH of a run, or one for all of them (0x10, nobody is subscribed, is of version 5 alone). `call`: that, or what it is in.

    Raises MqttError: it is not known.
    """
    if call.outcome == UNKNOWN:
        raise of_call(call)  # neither success nor failure: the client sends it again
    if call.outcome != DONE:
        return int(reason_of(call.error))
    if publish.error is not None:  # somebody who is to have it, too, could not be reached
        raise as_mqtt(publish.error)
    if call.result:
        refused = {packet_id for first, count in call.result for packet_id in range(first, first + count)}
        publish.nacked = [index for index, packet_id in enumerate(ids_of(packet_ids)) if packet_id in refused]
    if publish.unroutable:
        return int(ReasonCode.NO_MATCHING_SUBSCRIBERS) if version == MQTT_5 else 0
    if not publish.nacked and not publish.returned:
        return 0
    reasons = [0] * publish.count
    if version == MQTT_5:
        for index in publish.returned or ():
            reasons[index] = int(ReasonCode.NO_MATCHING_SUBSCRIBERS)
    for index in publish.nacked or ():
        reasons[index] = int(ReasonCode.QUOTA_EXCEEDED)
    return reasons
