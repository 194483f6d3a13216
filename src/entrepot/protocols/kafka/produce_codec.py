"""Produce, versions 3 to 12: the request into parts for an Append, and their answers into the response.

Every batch leaves the receive buffer with one copy and is checked as it does (record_batch.py): what is wrong with one partition's batch is that
partition's error and nobody else's. Record batches of version 2 alone are taken, as Kafka 4 does.
"""

from __future__ import annotations

from typing import Any

import cython

from entrepot.broker.partition_calls import AppendPart
from entrepot.model.entry import TRANSACTIONAL
from entrepot.model.names import without_vhosts
from entrepot.protocols.kafka.answers import TEXT_MAX, TEXTS_MAX
from entrepot.protocols.kafka.batch_errors import INVALID_RECORD, InvalidBatch
from entrepot.protocols.kafka.error_codes import APPEND, ErrorCode, code_for
from entrepot.protocols.kafka.record_batch import BatchHead

if not cython.compiled:
    from entrepot.broker.partition_calls import make_append_part
    from entrepot.protocols.kafka.primitives import Reader, Writer

PARTS_MAX = 100_000  # topics and partitions of one request
INVALID_TXN_STATE = 48

_PARTS_MAX = PARTS_MAX
_TEXT_MAX = TEXT_MAX
_TEXTS_MAX = TEXTS_MAX
_TRANSACTIONAL = TRANSACTIONAL


class ProduceTopic:
    """One topic of a request, its partitions in the request's order."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.parts: list[AppendPart] = []


class ProduceRequest:
    """A request. `valid` are the parts to append; the others have their error."""

    def __init__(self) -> None:
        self.transactional_id: str | None = None
        self.acks = 0
        self.timeout_ms = 0
        self.topics: list[ProduceTopic] = []
        self.valid: list[AppendPart] = []


def decode_produce(reader: Reader, flexible: bool, validator: Any) -> ProduceRequest:
    """The request that `reader` is at, behind its header. `validator` is a record_batch.BatchValidator. Raises Malformed."""
    request = ProduceRequest()
    reader.elements_left = _PARTS_MAX
    validator.begin()
    request.transactional_id = reader.maybe_string(flexible)
    request.acks = reader.i16()
    request.timeout_ms = reader.i32()
    topics_left = reader.count(flexible, 3 if flexible else 6)
    while topics_left > 0:
        topics_left -= 1
        topic = ProduceTopic(reader.string(flexible))
        request.topics.append(topic)
        parts_left = reader.count(flexible, 6 if flexible else 8)
        while parts_left > 0:
            parts_left -= 1
            partition = reader.i32()
            data = reader.maybe_octets(flexible)
            if flexible:
                reader.skip_tags()
            part = _part(topic.name, partition, data, validator)
            topic.parts.append(part)
            if part.error is None:
                request.valid.append(part)
        if flexible:
            reader.skip_tags()
    if flexible:
        reader.skip_tags()
    return request


def _part(topic: str, partition: int, data: bytes | None, validator: Any) -> AppendPart:
    """One partition's batch, checked."""
    if data is None:
        part = make_append_part(topic, partition, b"", 0, 0, -1)
        part.error = InvalidBatch(INVALID_RECORD, "there is no record batch")
        return part
    try:
        head: BatchHead = validator.validate(data)
    except InvalidBatch as invalid:
        part = make_append_part(topic, partition, b"", 0, 0, -1)
        part.error = invalid
        return part
    part = make_append_part(topic, partition, head.data, head.flags, head.count, head.max_time_ms)
    part.producer_id = head.producer_id
    part.producer_epoch = head.producer_epoch
    part.first_sequence = head.first_sequence
    if head.flags & _TRANSACTIONAL:
        part.error = InvalidBatch(INVALID_TXN_STATE, "a transactional batch; this broker has no transactions for Kafka")
    return part


def encode_produce(writer: Writer, version: int, flexible: bool, topics: list[ProduceTopic]) -> int:
    """The response, from the parts' answers; how many of them are errors."""
    errors = 0
    writer.count(len(topics), flexible)
    for topic in topics:
        writer.string(topic.name, flexible)
        writer.count(len(topic.parts), flexible)
        for part in topic.parts:
            writer.i32(part.partition)
            if part.error is None:
                writer.i16(0)
                writer.i64(part.base_offset)
                writer.i64(part.append_time_ms)
                if version >= 5:
                    writer.i64(part.first_offset)
                if version >= 8:
                    writer.count(0, flexible)
                    writer.string(None, flexible)
            else:
                errors += 1
                _encode_error(writer, version, flexible, part, errors <= _TEXTS_MAX)
            if flexible:
                writer.uvarint(0)
        if flexible:
            writer.uvarint(0)
    writer.i32(0)
    if flexible:
        writer.uvarint(0)
    return errors


def produce_code(error: BaseException | None) -> int:
    """The code of a part's error."""
    if isinstance(error, InvalidBatch):
        return error.code
    return code_for(error, APPEND, ErrorCode.NOT_LEADER_OR_FOLLOWER)


def _encode_error(writer: Writer, version: int, flexible: bool, part: AppendPart, told: bool) -> int:
    """`told`: with its text."""
    error = part.error
    writer.i16(produce_code(error))
    writer.i64(-1)
    writer.i64(-1)
    if version >= 5:
        writer.i64(-1)
    if version >= 8:
        text = without_vhosts(str(error))[:_TEXT_MAX] if told else None
        index = error.record_index if isinstance(error, InvalidBatch) else -1
        if index >= 0:
            writer.count(1, flexible)
            writer.i32(index)
            writer.string(text, flexible)
            if flexible:
                writer.uvarint(0)
        else:
            writer.count(0, flexible)
        writer.string(text, flexible)
    return 0
