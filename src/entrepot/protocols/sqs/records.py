"""Entries of SQS messages: what the broker asks of them (docs/formats/sqs-entry.md).

    u8 version (1) | u16 address size, big-endian | address: exchange short string, routing key short string | records (packing.py)

An address is empty where the messages were sent to a queue by its name.
"""

from __future__ import annotations

from typing import Any

import cython

from entrepot.broker.logs.entry_codec import DeadLetter, EntryCodec
from entrepot.model.addresses import KEY_MAX_BYTES, pack_address
from entrepot.model.entry import CODEC_SQS
from entrepot.model.names import NAME_SIZE_MAX
from entrepot.protocols.sqs.message_attributes import unpack
from entrepot.protocols.sqs.packing import ATTRIBUTES, GROUP, MESSAGE_ID, SENT_TIME, SOURCE
from entrepot.protocols.sqs.sending import ENTRY_VERSION

if not cython.compiled:
    from entrepot.model.octets import get_u16_be, get_u32_le, take
    from entrepot.protocols.sqs.from_neutral import from_batch, from_batch_with
    from entrepot.protocols.sqs.packing import body_at, field_of, number_of, with_fields
    from entrepot.protocols.sqs.to_neutral import to_batch

_TAG, _VERSION = CODEC_SQS, ENTRY_VERSION
_ATTRIBUTES, _GROUP, _SENT_TIME, _SOURCE = ATTRIBUTES, GROUP, SENT_TIME, SOURCE
_MESSAGE_ID = MESSAGE_ID


class SqsEntryCodec(EntryCodec):
    """The codec with tag CODEC_SQS."""

    __slots__ = ()

    def __init__(self) -> None:
        self.tag = _TAG
        self.version = _VERSION
        self.by_record = True

    def prefix(self, address: bytes) -> bytes:
        """What an entry for `address` (both short strings) begins with."""
        return b"\x01" + len(address).to_bytes(2, "big") + address

    def start(self, data: bytes) -> int:
        """Position of the first record."""
        return 3 + get_u16_be(data, 1)

    def skip(self, data: bytes, position: int, count: int) -> int:
        """Position `count` records further."""
        while count > 0:
            position = position + 4 + get_u32_le(data, position)
            count -= 1
        return position

    def expired_count(self, data: bytes, position: int, count: int, age_ms: int) -> int:
        """None: how long a message is kept is the queue's to say."""
        return 0

    def time_to_live_ms(self, data: bytes, position: int) -> int:
        """None."""
        return -1

    def body_bytes(self, data: bytes, position: int, count: int) -> int:
        """Sum of the records' body sizes."""
        total = 0
        while count > 0:
            after = position + 4 + get_u32_le(data, position)
            total += after - body_at(data, position)
            position = after
            count -= 1
        return total

    def address(self, data: bytes) -> bytes:
        """Exchange and routing key short strings."""
        return take(data, 3, get_u16_be(data, 1))

    def headers(self, data: bytes, position: int) -> dict[str, Any]:
        """One record's message attributes: text as str, bytes as bytes."""
        packed = field_of(data, position, _ATTRIBUTES)
        if not packed:
            return {}
        return {name.decode(errors="replace"): value if kind.startswith(b"B") else value.decode(errors="replace") for name, kind, value in unpack(packed)}

    def key(self, data: bytes, position: int) -> bytes | None:
        """The message group."""
        return field_of(data, position, _GROUP) or None

    def further_keys(self, data: bytes, position: int) -> list[str]:
        """None."""
        return []

    def split(self, data: bytes, position: int, count: int) -> list[bytes]:
        """Each record's packed bytes."""
        records = []
        while count > 0:
            after = position + 4 + get_u32_le(data, position)
            records.append(take(data, position, after - position))
            position = after
            count -= 1
        return records

    def without_hidden_keys(self, record: bytes) -> tuple[bytes, bytes]:
        """Nothing is hidden."""
        return record, b""

    def dead_letter(self, data: bytes, record: bytes, letter: DeadLetter) -> tuple[bytes, bytes] | None:
        """(address, packed record) to publish instead: with the source queue noted, no longer delayed."""
        key = letter.queue if letter.routing_key is None else letter.routing_key
        exchange, routing_key = letter.exchange.encode(errors="surrogateescape"), key.encode(errors="surrogateescape")
        if len(exchange) > NAME_SIZE_MAX or len(routing_key) > KEY_MAX_BYTES:
            return None
        return pack_address(exchange, routing_key), self.moved(record, letter.queue, number_of(record, 0, _SENT_TIME), letter.time_ms)

    def is_cycle(self, record: bytes, queue: str) -> bool:
        """Not known: how often a message was delivered bounds what goes round."""
        return False

    def mark_delivery_count(self, record: bytes, count: int) -> bytes:
        """Counts are told beside the message."""
        return record

    def group(self, data: bytes, position: int) -> bytes:
        """The message group."""
        return field_of(data, position, _GROUP)

    def sent_time_ms(self, data: bytes, position: int) -> int:
        """See EntryCodec: kept where the message was moved."""
        return number_of(data, position, _SENT_TIME)

    def moved(self, record: bytes, source: str, sent_ms: int, time_ms: int) -> bytes:
        """See EntryCodec: the message keeps its id and has no delay of its own any more."""
        return with_fields(record, sent_ms, source.encode(errors="surrogateescape"), False)

    def renewed(self, record: bytes, record_id: bytes) -> bytes:
        """See EntryCodec."""
        octets = bytearray(record_id)
        octets[6] = octets[6] & 0x0F | 0x40  # a version 4 UUID, as all are
        octets[8] = octets[8] & 0x3F | 0x80
        plain = with_fields(record, -1, b"", False)
        return plain[:_MESSAGE_ID] + bytes(octets) + plain[_MESSAGE_ID + 16 :]

    def source_of(self, data: bytes, position: int) -> str:
        """See EntryCodec."""
        return field_of(data, position, _SOURCE).decode(errors="surrogateescape")

    def to_record_batch(self, data: bytes, base_offset: int, append_time_ms: int) -> bytes | None:
        """See EntryCodec; to_neutral.py says what becomes what."""
        return to_batch(data, 3 + get_u16_be(data, 1), append_time_ms)

    def from_record_batch(self, batch: bytes, base_offset: int, append_time_ms: int, address: bytes) -> bytes:
        """See EntryCodec; from_neutral.py says what becomes what."""
        return from_batch(batch, base_offset, append_time_ms, address)

    def takes_value(self) -> bool:
        """See EntryCodec."""
        return True

    def from_record_batch_with(self, batch: bytes, base_offset: int, append_time_ms: int, address: bytes, source: bytes, at: int, size: int) -> bytes:
        """See EntryCodec."""
        return from_batch_with(batch, base_offset, append_time_ms, address, source, at, size)

    def looks_into_values(self) -> bool:
        """See EntryCodec: for characters that SQS does not take, and for the MD5."""
        return True
