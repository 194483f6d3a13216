"""A stored record: what is kept of one PUBLISH, big-endian (docs/formats/mqtt-entry.md).

    u32 head size | u32 payload size | head | payload
    head: u8 flags | u32 message expiry interval in seconds, where EXPIRES | properties as they came

Flags are QoS (two bits), RETAIN, EXPIRES, KEPT. Of the properties two are not among them: the expiry, which stands in front of them, and the topic alias, which
means something on one connection only. The topic is the entry's address.
"""

from __future__ import annotations

import cython

if not cython.compiled:
    from entrepot.model.octets import get_u32_be, take

QOS = 0x03
RETAIN = 0x04
EXPIRES = 0x08
KEPT = 0x10
"""A retained message, copied for who has subscribed after it: it goes out with RETAIN, and has the subscription's identifier among its properties."""

_QOS, _EXPIRES, _KEPT = QOS, EXPIRES, KEPT


def pack_record(flags: int, expiry_s: int, properties: bytes, payload: bytes) -> bytes:
    """One record; `expiry_s` -1: it does not expire."""
    expiry = b""
    if expiry_s >= 0:
        flags |= _EXPIRES
        expiry = expiry_s.to_bytes(4, "big")
    head = b"".join((bytes((flags,)), expiry, properties))
    return b"".join((len(head).to_bytes(4, "big"), len(payload).to_bytes(4, "big"), head, payload))


# Positions are summed from the left, where each sum is 64 bits wide: C adds two 32-bit sizes in 32 bits.


def skip(data: bytes, pos: int, count: int) -> int:
    """The position `count` records behind `pos`."""
    while count > 0:
        pos = pos + 8 + get_u32_be(data, pos) + get_u32_be(data, pos + 4)
        count -= 1
    return pos


def flags_of(data: bytes, pos: int) -> int:
    """The flags of the record at `pos`."""
    return data[pos + 8]


def expiry_of(data: bytes, pos: int) -> int:
    """Seconds for which the record at `pos` may wait, counted from its append; -1: for ever."""
    if data[pos + 8] & _EXPIRES:
        return get_u32_be(data, pos + 9)
    return -1


def properties_of(data: bytes, pos: int) -> bytes:
    """The property list of the record at `pos`, without its length."""
    at = pos + 13 if data[pos + 8] & _EXPIRES else pos + 9
    return take(data, at, pos + 8 + get_u32_be(data, pos) - at)


def payload_of(data: bytes, pos: int) -> bytes:
    """The payload of the record at `pos`."""
    return take(data, pos + 8 + get_u32_be(data, pos), get_u32_be(data, pos + 4))


def qos_of(data: bytes, pos: int, qos_max: int) -> int:
    """With what QoS the record at `pos` goes to a subscription of `qos_max` (3.8.4)."""
    return min(data[pos + 8] & _QOS, qos_max)


def alike_count(data: bytes, pos: int, count: int, qos_max: int) -> int:
    """How many of the first records go to a subscription of `qos_max` with one QoS, and are all KEPT or none."""
    if count <= 0:
        return 0
    qos = qos_of(data, pos, qos_max)
    kept = data[pos + 8] & _KEPT
    found = 0
    while found < count and qos_of(data, pos, qos_max) == qos and data[pos + 8] & _KEPT == kept:
        pos = pos + 8 + get_u32_be(data, pos) + get_u32_be(data, pos + 4)
        found += 1
    return found
