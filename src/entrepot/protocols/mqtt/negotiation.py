"""CONNECT to what holds for the connection, and what CONNACK says of it; for each version."""

from __future__ import annotations

from dataclasses import dataclass

from entrepot.protocols.mqtt.events import Connect
from entrepot.protocols.mqtt.packets import MQTT_5, MQTT_31, VARIABLE_MAX
from entrepot.protocols.mqtt.properties import Properties
from entrepot.protocols.mqtt.property_table import PropertyId
from entrepot.protocols.mqtt.reason_codes import MqttError, ReasonCode
from entrepot.protocols.mqtt.reserved import SESSION_PREFIX, SHARED_PREFIX
from entrepot.protocols.mqtt.times import NEVER_S

CLIENT_ID_MAX_BYTES = 250
"""Its session's queue has a name of five bytes more."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What this server takes."""

    receive_maximum: int = 1000
    packet_max: int = VARIABLE_MAX + 5
    topic_alias_maximum: int = 16
    session_expiry_max_s: int = NEVER_S
    keep_alive_max_s: int = 65_535
    in_flight_max: int = 1000  # towards a client, whatever it takes


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for a connection. `session_expiry_s` 0: the session ends with it. `clean_start`: what there was of a session is dropped."""

    version: int
    client_id: str
    is_assigned: bool
    clean_start: bool
    session_expiry_s: int
    keep_alive_s: int
    receive_maximum: int  # the client's, cut to in_flight_max
    packet_max: int  # the client's
    topic_alias_maximum: int  # the client's
    says_problems: bool  # reason strings and user properties on anything but PUBLISH, CONNACK and DISCONNECT (3.1.2.11.7)
    wants_response_information: bool


_SHARE = SHARED_PREFIX.removeprefix(SESSION_PREFIX)  # of an identifier whose queue would have the name of a shared subscription's


def agree(connect: Connect, offer: Offer, assigned_id: str) -> Terms:
    """`assigned_id` is the client's that says none. MqttError where it is refused."""
    client_id = connect.client_id
    if not client_id:
        if connect.version == MQTT_31 or (connect.version < MQTT_5 and not connect.clean_start):  # 3.1: 3.1; 3.1.1: 3.1.3.1
            raise MqttError(ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, "no client identifier")
        client_id = assigned_id
    elif len(client_id.encode()) > CLIENT_ID_MAX_BYTES:
        raise MqttError(ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, f"a client identifier of more than {CLIENT_ID_MAX_BYTES} bytes")
    elif client_id.startswith(_SHARE) and "/" in client_id:
        raise MqttError(ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, f"a client identifier like those of queues of shared subscriptions: '{_SHARE}GROUP/FILTER'")
    said = connect.properties.get
    if connect.version == MQTT_5:
        expiry_s = said(PropertyId.SESSION_EXPIRY_INTERVAL, 0)
    else:
        expiry_s = 0 if connect.clean_start else NEVER_S
    keep_alive_s = connect.keep_alive_s
    if connect.version == MQTT_5 and (not keep_alive_s or keep_alive_s > offer.keep_alive_max_s) and offer.keep_alive_max_s < 65_535:
        keep_alive_s = offer.keep_alive_max_s
    return Terms(
        version=connect.version,
        client_id=client_id,
        is_assigned=not connect.client_id,
        clean_start=connect.clean_start,
        session_expiry_s=min(expiry_s, offer.session_expiry_max_s),
        keep_alive_s=keep_alive_s,
        receive_maximum=min(said(PropertyId.RECEIVE_MAXIMUM, 65_535), offer.in_flight_max),
        packet_max=min(said(PropertyId.MAXIMUM_PACKET_SIZE, VARIABLE_MAX + 5), VARIABLE_MAX + 5),
        topic_alias_maximum=said(PropertyId.TOPIC_ALIAS_MAXIMUM, 0),
        says_problems=said(PropertyId.REQUEST_PROBLEM_INFORMATION, 1) == 1,
        wants_response_information=said(PropertyId.REQUEST_RESPONSE_INFORMATION, 0) == 1,
    )


def connack_properties(connect: Connect, terms: Terms, offer: Offer) -> Properties:
    """What CONNACK of version 5 says, where it is not what the client takes for granted (3.2.2.3). Of 3.1 and 3.1.1 nothing is said."""
    items = []
    if terms.version == MQTT_5:
        if terms.session_expiry_s != connect.properties.get(PropertyId.SESSION_EXPIRY_INTERVAL, 0):
            items.append((PropertyId.SESSION_EXPIRY_INTERVAL, terms.session_expiry_s))
        if offer.receive_maximum != 65_535:
            items.append((PropertyId.RECEIVE_MAXIMUM, offer.receive_maximum))
        if offer.packet_max < VARIABLE_MAX + 5:
            items.append((PropertyId.MAXIMUM_PACKET_SIZE, offer.packet_max))
        if offer.topic_alias_maximum:
            items.append((PropertyId.TOPIC_ALIAS_MAXIMUM, offer.topic_alias_maximum))
        if terms.keep_alive_s != connect.keep_alive_s:
            items.append((PropertyId.SERVER_KEEP_ALIVE, terms.keep_alive_s))
    found = Properties(items)
    if terms.version == MQTT_5 and terms.is_assigned:
        found.items.append((PropertyId.ASSIGNED_CLIENT_IDENTIFIER, terms.client_id))
    return found
