"""CONNECT, SUBSCRIBE, UNSUBSCRIBE, DISCONNECT and AUTH: a packet's bytes behind its fixed header become an event, or MqttError."""

from __future__ import annotations

from entrepot.protocols.mqtt.events import Auth, Connect, Disconnect, Subscribe, Subscription, Unsubscribe, Will
from entrepot.protocols.mqtt.packets import MQTT_5, MQTT_31, MQTT_311, PROTOCOL_NAMES, PacketType
from entrepot.protocols.mqtt.packing import RETAIN, pack_record
from entrepot.protocols.mqtt.properties import NONE, Properties, Reader, checked_text, read_properties, write_items
from entrepot.protocols.mqtt.property_table import PropertyId
from entrepot.protocols.mqtt.reason_codes import BY_CLIENT, MqttError, ReasonCode, broken_rule, malformed
from entrepot.protocols.mqtt.topics import check_name

_USER_NAME, _PASSWORD, _WILL_RETAIN, _WILL, _CLEAN, _RESERVED = 0x80, 0x40, 0x20, 0x04, 0x02, 0x01
_WILL_QOS_SHIFT = 3
_SHARE = b"$share/"


def answer_version(data: bytes) -> int:
    """In which version CONNACK is understood, whatever else is wrong with a CONNECT; 0: in none. A client of a level unknown here is told so as 3.1.1 is."""
    reader = Reader(data)
    try:
        name, level = reader.binary(), reader.number(1)
    except MqttError:
        return 0
    if name not in PROTOCOL_NAMES:
        return 0
    return level if level in PROTOCOL_NAMES[name] else MQTT_311


def read_connect(data: bytes) -> Connect:
    """CONNECT (3.1)."""
    reader = Reader(data)
    name, level = reader.binary(), reader.number(1)
    if name not in PROTOCOL_NAMES or level not in PROTOCOL_NAMES[name]:
        raise MqttError(ReasonCode.UNSUPPORTED_PROTOCOL_VERSION, f"protocol {name[:20]!r} of level {level}")
    flags = reader.number(1)
    if flags & _RESERVED:
        raise malformed("the reserved flag of CONNECT is set")  # 3.1.2.3
    if flags & _PASSWORD and not flags & _USER_NAME and level < MQTT_5:
        raise malformed("a password without a user name")  # 3.1.1: 3.1.2.9
    keep_alive_s = reader.number(2)
    properties = read_properties(reader, PacketType.CONNECT) if level == MQTT_5 else NONE
    if properties.get(PropertyId.AUTHENTICATION_DATA) is not None and properties.get(PropertyId.AUTHENTICATION_METHOD) is None:
        raise broken_rule("authentication data without a method")  # 3.1.2.11.10
    client_id = reader.text()
    will = _read_will(reader, flags, level)
    user_name = reader.text() if flags & _USER_NAME else None
    password = reader.binary() if flags & _PASSWORD else None
    _check_end(reader)
    return Connect(level, client_id, bool(flags & _CLEAN), keep_alive_s, will, user_name, password, properties)


def _read_will(reader: Reader, flags: int, level: int) -> Will | None:
    qos, retain = flags >> _WILL_QOS_SHIFT & 3, bool(flags & _WILL_RETAIN)
    if not flags & _WILL:
        if qos or retain:
            raise malformed("flags of a will without a will")  # 3.1.2.6, 3.1.2.7
        return None
    if qos == 3:
        raise malformed("a will of QoS 3")  # 3.1.2.6
    properties = read_properties(reader, PacketType.WILL) if level == MQTT_5 else NONE
    topic = reader.binary()
    check_name(topic)
    answer_to = properties.get(PropertyId.RESPONSE_TOPIC)
    if answer_to is not None:
        check_name(answer_to.encode())
    payload = reader.binary()
    expiry_s = properties.get(PropertyId.MESSAGE_EXPIRY_INTERVAL, -1)
    kept = write_items(properties.without(PropertyId.MESSAGE_EXPIRY_INTERVAL, PropertyId.WILL_DELAY_INTERVAL))
    record = pack_record(qos | (RETAIN if retain else 0), expiry_s, kept, payload)
    return Will(topic, qos, retain, record, len(payload), properties.get(PropertyId.WILL_DELAY_INTERVAL, 0), expiry_s >= 0)


def read_subscribe(data: bytes, version: int) -> Subscribe:
    """SUBSCRIBE (3.8)."""
    reader = Reader(data)
    packet_id = _packet_id(reader)
    properties = read_properties(reader, PacketType.SUBSCRIBE) if version == MQTT_5 else NONE
    subscriptions = []
    while reader.left:
        subscriptions.append(_read_subscription(reader, version))
    if not subscriptions:
        raise broken_rule("SUBSCRIBE without a topic filter")  # 3.8.3
    return Subscribe(packet_id, subscriptions, properties.get(PropertyId.SUBSCRIPTION_IDENTIFIER, 0), properties)


def _read_subscription(reader: Reader, version: int) -> Subscription:
    topic_filter, options = _filter(reader), reader.number(1)
    qos = options & 3
    if version == MQTT_5:
        if options & 0xC0:
            raise malformed("reserved subscription options are set")  # 3.8.3.1
        handling, no_local = options >> 4, bool(options & 4)
        if handling == 3:
            raise broken_rule("retain handling 3")
        if qos == 3:
            raise broken_rule("a subscription of QoS 3")
        if no_local and topic_filter.startswith(_SHARE):
            raise broken_rule("a shared subscription with no local")
        return Subscription(topic_filter, qos, no_local, bool(options & 8), handling)
    if options & 0xFC and version != MQTT_31 or qos == 3:  # noqa: RUF021
        raise malformed(f"requested QoS 0x{options:02x}")  # 3.1.1: 3.8.3
    return Subscription(topic_filter, qos)


def read_unsubscribe(data: bytes, version: int) -> Unsubscribe:
    """UNSUBSCRIBE (3.10)."""
    reader = Reader(data)
    packet_id = _packet_id(reader)
    properties = read_properties(reader, PacketType.UNSUBSCRIBE) if version == MQTT_5 else NONE
    filters = []
    while reader.left:
        filters.append(_filter(reader))
    if not filters:
        raise broken_rule("UNSUBSCRIBE without a topic filter")  # 3.10.3
    return Unsubscribe(packet_id, filters, properties)


def read_disconnect(data: bytes, version: int) -> Disconnect:
    """DISCONNECT (3.14)."""
    if version < MQTT_5:
        if data:
            raise malformed(f"DISCONNECT of {len(data)} bytes")
        return Disconnect()
    return Disconnect(*_reason(data, PacketType.DISCONNECT))


def read_auth(data: bytes) -> Auth:
    """AUTH (3.15)."""
    reason_code, properties = _reason(data, PacketType.AUTH)
    if properties.get(PropertyId.AUTHENTICATION_METHOD) is None:
        raise broken_rule("AUTH without an authentication method")  # 3.15.2.2.2
    return Auth(reason_code, properties)


def read_ack(data: bytes, kind: int) -> tuple[int, int]:
    """Packet id and reason code of a PUBACK or its kin of version 5 that has more than these, or whose reason is not 0 (3.4.2)."""
    reader = Reader(data)
    packet_id = _packet_id(reader)
    return packet_id, _reason(data[2:], PacketType(kind))[0]


def _reason(data: bytes, packet: PacketType) -> tuple[int, Properties]:
    """A reason code and properties: both may be left out, and the properties alone, too."""
    reader = Reader(data)
    reason_code = reader.number(1) if reader.left else 0
    if reason_code not in BY_CLIENT[packet]:
        raise broken_rule(f"reason code 0x{reason_code:02x} in a client's {packet.name}")
    properties = read_properties(reader, packet) if reader.left else NONE
    _check_end(reader)
    return reason_code, properties


def _packet_id(reader: Reader) -> int:
    packet_id = reader.number(2)
    if packet_id == 0:
        raise broken_rule("packet identifier 0")  # 2.2.1
    return packet_id


def _filter(reader: Reader) -> bytes:
    octets = reader.binary()
    checked_text(octets)
    return octets


def _check_end(reader: Reader) -> None:
    if reader.left:
        raise malformed(f"{reader.left} bytes behind the packet's end")
