"""What goes out on an MQTT connection: deliveries from packed records, runs of acknowledgements, ready-made packets.

A delivery is a PUBLISH (3.3): u8 type and flags, how many bytes follow, topic name, packet identifier of QoS 1 and 2, properties of version 5, payload.
A *Template* is all that is equal for the deliveries of one (subscription, topic); what a record adds are RETAIN, its expiry, its properties and its payload.
"""

from __future__ import annotations

import cython

from entrepot.net.output_buffer import REFERENCED_BODY_MIN_BYTES, OutputBuffer
from entrepot.protocols.mqtt.packets import VARIABLE_MAX
from entrepot.protocols.mqtt.packing import EXPIRES, KEPT, RETAIN

if not cython.compiled:
    from entrepot.model.octets import copy, get_u16_be, get_u32_be, put_u16_be, put_u32_be


# What becomes of RETAIN (3.3.1.3); of what is KEPT it stands.
RETAIN_CLEAR, RETAIN_AS_PUBLISHED = 0, 1

_REFERENCED_MIN = REFERENCED_BODY_MIN_BYTES
_VARIABLE_MAX = VARIABLE_MAX
_RETAIN, _EXPIRES, _KEPT = RETAIN, EXPIRES, KEPT
_CLEAR = RETAIN_CLEAR
_EXPIRY = 0x02  # message expiry interval
_PINGRESP = b"\xd0\x00"


class Template:
    """Of deliveries with one QoS. Octets stand as they go out.

    `topic`: with its size in front; of size 0 where `properties` has an alias for it. `properties`: those that each delivery has besides the record's own, in
    version 5: subscription identifiers, topic alias. `packet_max`: bytes of a whole packet that the client takes.
    """

    __slots__ = ("has_properties", "is_repeated", "packet_max", "properties", "qos", "retain", "topic")

    topic: bytes
    properties: bytes
    has_properties: bool
    qos: int
    retain: int
    is_repeated: bool
    packet_max: int


def make_template(
    topic: bytes, qos: int, has_properties: bool, properties: bytes = b"", retain: int = RETAIN_CLEAR, is_repeated: bool = False, packet_max: int = 0
) -> Template:
    """A Template; `topic` is a topic name, `packet_max` 0: what the protocol has (2.1.4)."""
    template = Template.__new__(Template)
    template.topic = len(topic).to_bytes(2, "big") + topic
    template.properties = properties
    template.has_properties = has_properties
    template.qos = qos
    template.retain = retain
    template.is_repeated = is_repeated
    template.packet_max = packet_max or VARIABLE_MAX + 5
    return template


class Output(OutputBuffer):
    """Packets waiting to be written to one connection, in order. `size` is how many bytes wait.

    Payloads of REFERENCED_BODY_MIN_BYTES and more are not copied: their part refers to the record data it was given.
    `written`: how many deliveries the last deliver() made.
    """

    def __init__(self) -> None:
        super().__init__()
        self.written = 0

    def acks(self, kind: int, packet_ids: bytes, reason_code: int) -> int:
        """Append a PUBACK, PUBREC, PUBREL or PUBCOMP (`kind`, its packet type) for each of `packet_ids`, u16 big-endian; a reason is for version 5 alone."""
        count = len(packet_ids) // 2
        step = 5 if reason_code else 4
        self._room(step * count)
        buffer = self._buffer
        filled = self._filled
        first = kind << 4
        if kind == 6:  # PUBREL
            first |= 2
        for number in range(count):
            buffer[filled] = first
            buffer[filled + 1] = step - 2
            put_u16_be(buffer, filled + 2, get_u16_be(packet_ids, 2 * number))
            if step == 5:
                buffer[filled + 4] = reason_code
            filled += step
        self._filled = filled
        return 0

    def pings(self, count: int) -> int:
        """Append so many PINGRESPs."""
        for _ in range(count):
            self.raw(_PINGRESP)
        return 0

    def deliver(self, data: bytes, pos: int, count: int, template: Template, first_id: int, age_s: int) -> int:
        """Append `count` deliveries of the packed records of `data` from `pos`; return the next position.

        All go with the template's QoS (packing.alike_count), those above 0 with identifiers first_id, first_id + 1 and so on, which end before 65536.
        It stops before a record that has expired when it is `age_s` seconds old, or is longer than the client takes; `written` says how many went.
        """
        topic = template.topic
        properties = template.properties
        has_properties = template.has_properties
        topic_size = len(topic)
        extra = len(properties)
        qos = template.qos
        packet_max = template.packet_max
        retain = template.retain
        first = 0x30 | qos << 1
        if template.is_repeated:
            first |= 8
        id_size = 2 if qos else 0
        written = 0
        expiry = 0
        if first_id < 0 or (qos and (first_id == 0 or count > 0x10000 - first_id)):
            raise ValueError(f"{count} packet identifiers from {first_id}")
        while written < count:
            head = get_u32_be(data, pos)
            body_size = get_u32_be(data, pos + 4)
            flags = data[pos + 8]
            expires = flags & _EXPIRES != 0
            at = pos + 9
            if expires:
                expiry = get_u32_be(data, at)
                at += 4
                if expiry <= age_s:
                    break
            own = pos + 8 + head - at
            listed = 0
            prefix = 0
            if has_properties:
                listed = extra + own
                if expires:
                    listed += 5
                prefix = variable_size(listed)
            size = topic_size + id_size + prefix + listed + body_size
            if size > _VARIABLE_MAX or 1 + variable_size(size) + size > packet_max:
                break
            referenced = body_size >= _REFERENCED_MIN
            self._room(5 + size - (body_size if referenced else 0))
            buffer = self._buffer
            filled = self._filled
            buffer[filled] = first | 1 if flags & _KEPT or (flags & _RETAIN and retain != _CLEAR) else first
            filled = put_variable(buffer, filled + 1, size)
            copy(buffer, filled, topic, 0, topic_size)
            filled += topic_size
            if qos:
                put_u16_be(buffer, filled, first_id + written)
                filled += 2
            if has_properties:
                filled = put_variable(buffer, filled, listed)
                if expires:
                    buffer[filled] = _EXPIRY
                    put_u32_be(buffer, filled + 1, expiry - age_s)
                    filled += 5
                copy(buffer, filled, properties, 0, extra)
                filled += extra
                copy(buffer, filled, data, at, own)
                filled += own
            at += own
            if referenced:
                self._filled = filled
                self._refer(data, at, body_size)
            else:
                copy(buffer, filled, data, at, body_size)
                self._filled = filled + body_size
            pos = at + body_size
            written += 1
        self.written = written
        return pos


def variable_size(value: int) -> int:
    """Bytes of a variable byte integer (1.5.5)."""
    if value < 0x80:
        return 1
    if value < 0x4000:
        return 2
    return 3 if value < 0x200000 else 4


def put_variable(buffer: bytearray, pos: int, value: int) -> int:
    """Write a variable byte integer; return the position behind it."""
    while value >= 0x80:
        buffer[pos] = value & 0x7F | 0x80
        value >>= 7
        pos += 1
    buffer[pos] = value
    return pos + 1
