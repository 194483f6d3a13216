"""Entries of MQTT publishes: what the broker asks of them (docs/formats/mqtt-entry.md).

    u8 version (1) | u16 address size, big-endian | address (model/addresses.py) | records (packing.py)

The topic is the routing key, as topics.py says.
"""

from __future__ import annotations

from typing import Any

import cython

from entrepot.broker.logs.entry_codec import DeadLetter, EntryCodec
from entrepot.model.addresses import KEY_MAX_BYTES, key_in, pack_address
from entrepot.model.entry import CODEC_MQTT
from entrepot.model.names import NAME_SIZE_MAX
from entrepot.protocols.mqtt.packing import KEPT, RETAIN, pack_record
from entrepot.protocols.mqtt.properties import variable
from entrepot.protocols.mqtt.property_table import PropertyId
from entrepot.protocols.mqtt.translation import from_batch, to_batch
from entrepot.protocols.mqtt.user_properties import USER, find, items, pack_item, pack_user, parts

if not cython.compiled:
    from entrepot.model.octets import get_u16_be, get_u32_be, take
    from entrepot.protocols.mqtt.packing import expiry_of, flags_of, payload_of, properties_of, skip

ENTRY_VERSION = 1
DEATH = b"x-death"
"""User property of a dead letter, one for each queue and reason, the latest last: the reason, a space, and the queue."""

_KEY, _GROUP = b"x-key", b"x-group-id"
_IDENTIFIER = bytes((PropertyId.SUBSCRIPTION_IDENTIFIER,))


class MqttEntryCodec(EntryCodec):
    """The codec with tag CODEC_MQTT."""

    def __init__(self) -> None:
        self.tag = CODEC_MQTT
        self.version = ENTRY_VERSION
        self.by_record = True

    def prefix(self, address: bytes) -> bytes:
        """What an entry for `address` begins with."""
        return b"\x01" + len(address).to_bytes(2, "big") + address

    def start(self, data: bytes) -> int:
        """Position of the first record."""
        return 3 + get_u16_be(data, 1)

    def skip(self, data: bytes, position: int, count: int) -> int:
        """Position `count` records further."""
        return skip(data, position, count)

    def expired_count(self, data: bytes, position: int, count: int, age_ms: int) -> int:
        """How many of the first records have an expiry of at most `age_ms`."""
        found = 0
        while found < count:
            expiry_s = expiry_of(data, position)
            if expiry_s < 0 or expiry_s * 1000 > age_ms:
                break
            position = position + 8 + get_u32_be(data, position) + get_u32_be(data, position + 4)
            found += 1
        return found

    def time_to_live_ms(self, data: bytes, position: int) -> int:
        """The record's expiry, or -1."""
        expiry_s = expiry_of(data, position)
        return expiry_s * 1000 if expiry_s >= 0 else -1

    def body_bytes(self, data: bytes, position: int, count: int) -> int:
        """Sum of the records' payload sizes."""
        total = 0
        while count > 0:
            size = get_u32_be(data, position + 4)
            total += size
            position = position + 8 + get_u32_be(data, position) + size
            count -= 1
        return total

    def address(self, data: bytes) -> bytes:
        """Exchange and routing key."""
        return take(data, 3, get_u16_be(data, 1))

    def headers(self, data: bytes, position: int) -> dict[str, Any]:
        """One record's user properties, of each name the last."""
        return {name.decode(): value.decode() for kind, name, value in items(properties_of(data, position)) if kind == USER}

    def key(self, data: bytes, position: int) -> bytes | None:
        """The user property x-key."""
        return find(data, position, _KEY)

    def group(self, data: bytes, position: int) -> bytes:
        """The user property x-group-id."""
        return find(data, position, _GROUP) or b""

    def further_keys(self, data: bytes, position: int) -> list[str]:
        """None."""
        return []

    def split(self, data: bytes, position: int, count: int) -> list[bytes]:
        """Each record's packed bytes."""
        records = []
        while count > 0:
            after = skip(data, position, 1)
            records.append(take(data, position, after - position))
            position = after
            count -= 1
        return records

    def without_hidden_keys(self, record: bytes) -> tuple[bytes, bytes]:
        """Nothing is hidden."""
        return record, b""

    def dead_letter(self, data: bytes, record: bytes, letter: DeadLetter) -> tuple[bytes, bytes] | None:
        """(address, packed record) to publish instead: with the user property x-death, and no expiry any more."""
        exchange = letter.exchange.encode(errors="surrogateescape")
        if letter.routing_key is None:
            key = key_in(self.address(data))
        else:
            key = letter.routing_key.encode(errors="surrogateescape")
        if len(exchange) > NAME_SIZE_MAX or len(key) > KEY_MAX_BYTES:
            return None
        return pack_address(exchange, key), _buried(record, letter.queue, letter.reason)

    def is_cycle(self, record: bytes, queue: str) -> bool:
        """Whether it was in this queue before, and not rejected since."""
        deaths = [value.decode(errors="replace").partition(" ") for kind, name, value in parts(record)[0] if kind == USER and name == DEATH]
        seen = [at for at, (_, _, name) in enumerate(deaths) if name == queue]
        return bool(seen) and all(reason != "rejected" for reason, _, _ in deaths[seen[len(seen) - 1] :])

    def mark_delivery_count(self, record: bytes, count: int) -> bytes:
        """MQTT says no more than DUP, beside the message."""
        return record

    def moved(self, record: bytes, source: str, sent_ms: int, time_ms: int) -> bytes:
        """See EntryCodec: as a dead letter."""
        return _buried(record, source, "delivery_limit")

    def source_of(self, data: bytes, position: int) -> str:
        """See EntryCodec: the queue of the latest x-death."""
        deaths = [value for kind, name, value in items(properties_of(data, position)) if kind == USER and name == DEATH]
        return deaths[len(deaths) - 1].decode(errors="replace").partition(" ")[2] if deaths else ""

    def to_record_batch(self, data: bytes, base_offset: int, append_time_ms: int) -> bytes | None:
        """See EntryCodec; translation.py says what becomes what."""
        return to_batch(data)

    def from_record_batch(self, batch: bytes, base_offset: int, append_time_ms: int, address: bytes) -> bytes:
        """See EntryCodec."""
        return from_batch(batch, address)

    def without_value(self, data: bytes) -> tuple[bytes, int, int] | None:
        """See EntryCodec."""
        position = 3 + get_u16_be(data, 1)
        at = position + 8 + get_u32_be(data, position)
        size = get_u32_be(data, position + 4)
        if size != len(data) - at:
            return None  # there are more records
        return b"".join((data[: position + 4], bytes(4), data[position + 8 : at])), at, size

    def takes_value(self) -> bool:
        """See EntryCodec."""
        return True

    def with_value(self, data: bytes, source: bytes, at: int, size: int) -> bytes:
        """See EntryCodec."""
        position = 7 + get_u16_be(data, 1)
        return b"".join((data[:position], size.to_bytes(4, "big"), data[position + 4 :], memoryview(source)[at : at + size]))

    def last_value_copy(self, record: bytes, age_ms: int, identifier: int) -> bytes:
        """See EntryCodec: KEPT, and with the identifier among its properties. What is left of an expiry is rounded up: it is not over yet."""
        expiry_s = expiry_of(record, 0)
        if expiry_s >= 0:
            expiry_s = max(0, -((age_ms - expiry_s * 1000) // 1000))
        listed = properties_of(record, 0)
        if identifier:
            listed = b"".join((_IDENTIFIER, variable(identifier), listed))
        return pack_record((flags_of(record, 0) & 0x03) | RETAIN | KEPT, expiry_s, listed, payload_of(record, 0))


def _buried(record: bytes, queue: str, reason: str) -> bytes:
    listed, payload = parts(record)
    death = f"{reason} {queue}".encode(errors="replace")
    kept = [pack_item(*item) for item in listed if item != (USER, DEATH, death)]
    return pack_record(flags_of(record, 0) & 7, -1, b"".join((*kept, pack_user(DEATH, death))), payload)
