"""Produce, versions 3 to 12: the request into parts for an Append, and their answers into the response.

Every batch leaves the receive buffer with one copy and is checked as it does (record_batch.py): what is wrong with one partition's batch is that
partition's error and nobody else's. Record batches of version 2 alone are taken, as Kafka 4 does.

A request is read in one go where that is little work, as it nearly always is; else in several, and what is large is checked elsewhere (checking.py).
"""

from __future__ import annotations

from typing import Any

import cython

from entrepot.broker.calls.partition_calls import AppendPart
from entrepot.model.entry import TRANSACTIONAL
from entrepot.model.names import without_vhosts
from entrepot.protocols.kafka.answers import TEXT_MAX, TEXTS_MAX
from entrepot.protocols.kafka.batch_errors import INVALID_RECORD, InvalidBatch
from entrepot.protocols.kafka.error_codes import APPEND, ErrorCode, code_for
from entrepot.protocols.kafka.record_batch import BatchHead

if not cython.compiled:
    from entrepot.broker.calls.partition_calls import make_append_part
    from entrepot.model.octets import new_bytes
    from entrepot.protocols.kafka.primitives import Reader, Writer

PARTS_MAX = 50_000  # topics and partitions of one request
INVALID_TXN_STATE = 48

READ, RESTING, CHECKING = range(3)
STEP_BYTES = 1024  # of batches read or unpacked, as steps of net/turns.py
PART_STEPS = 4
COPIED_AT_ONCE = 1 << 20  # bytes of a batch that leave the receive buffer in one go
REWRITTEN_AT_ONCE = 64 << 10  # bytes, packed or unpacked, that are compressed anew in the loop: gzip takes two milliseconds for them

_PARTS_MAX = PARTS_MAX
_READ, _RESTING, _CHECKING = READ, RESTING, CHECKING
_STEP_BYTES = STEP_BYTES
_PART_STEPS = PART_STEPS
_COPIED_AT_ONCE = COPIED_AT_ONCE
_REWRITTEN_AT_ONCE = REWRITTEN_AT_ONCE
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
        self.batch_bytes = 0  # of its batches that are not large, packed and unpacked
        self.topics: list[ProduceTopic] = []
        self.valid: list[AppendPart] = []


class ProduceReading:
    """A request that is being read. read() until it says READ; `large` is the batch to be checked, or compressed anew, when it says
    CHECKING: then checked(), and on."""

    def __init__(self, reader: Reader, flexible: bool, validator: Any, attachment: Any = None) -> None:
        self.request = ProduceRequest()
        self.large: bytes | None = None
        self.steps = 0  # what the last read() cost
        self._reader = reader
        self._flexible = flexible
        self._validator = validator
        self._attachment = attachment  # which knows what topics want their batches compressed with; None: as they come
        self._left_bytes = 0
        self._begun = False
        self._topics_left = 0
        self._parts_left = 0
        self._topic: ProduceTopic | None = None
        self._partition = 0
        self._copy: bytes | None = None  # of a batch that leaves the receive buffer in pieces: what has so far
        self._copied = 0

    @property
    def topic(self) -> str:
        """Whose batch `large` is."""
        assert self._topic is not None
        return self._topic.name

    def detach(self) -> int:
        """What is left to read stays, whatever becomes of where the request arrived."""
        return self._reader.detach()

    def read(self, steps_max: int) -> int:
        """Go on until about `steps_max` steps were done. READ, RESTING or CHECKING. Raises Malformed."""
        reader = self._reader
        flexible = self._flexible
        validator = self._validator
        request = self.request
        steps = 0
        if self._begun:
            validator.left_bytes = self._left_bytes
        else:
            self._begun = True
            reader.elements_left = _PARTS_MAX
            validator.begin()
            request.transactional_id = reader.maybe_string(flexible)
            request.acks = reader.i16()
            request.timeout_ms = reader.i32()
            self._topics_left = reader.count(flexible, 3 if flexible else 6)
        while True:
            if self._topic is None:
                if self._topics_left <= 0:
                    break
                self._topics_left -= 1
                self._topic = ProduceTopic(reader.string(flexible))
                request.topics.append(self._topic)
                self._parts_left = reader.count(flexible, 6 if flexible else 8)
            if self._parts_left <= 0 and self._copy is None:
                self._topic = None
                if flexible:
                    reader.skip_tags()
                steps += _PART_STEPS
                continue
            if steps >= steps_max:
                return self._stop(steps, _RESTING)
            if self._copy is None:
                self._parts_left -= 1
                self._partition = reader.i32()
                size = reader.size_or_null(flexible, False)
                if size > _COPIED_AT_ONCE:
                    reader.need(size)
                    self._copy = new_bytes(size)
                    self._copied = 0
            if self._copy is not None:
                count = min(_COPIED_AT_ONCE, len(self._copy) - self._copied)
                self._copy = reader.copy_over(self._copy, self._copied, count)
                self._copied += count
                steps += count // _STEP_BYTES
                if self._copied < len(self._copy):
                    continue
                data: bytes | None = self._copy
                self._copy = None
            else:
                data = reader.octets(size) if size >= 0 else None
                steps += size // _STEP_BYTES
            if flexible:
                reader.skip_tags()
            steps += _PART_STEPS
            if data is not None:
                unpacked = validator.unpacked_bytes
                left = validator.left_bytes
                try:
                    head = validator.maybe_validate(data)
                except InvalidBatch as invalid:
                    self._refused(invalid)
                else:
                    if head is None:
                        self.large = data
                        return self._stop(steps + (validator.unpacked_bytes - unpacked) // _STEP_BYTES, _CHECKING)
                    unpacks_to = validator.unpacked_bytes - unpacked
                    if (len(data) > _REWRITTEN_AT_ONCE or unpacks_to > _REWRITTEN_AT_ONCE) and self._is_rewritten(head, len(data)):
                        validator.left_bytes = left
                        self.large = data
                        return self._stop(steps + unpacks_to // _STEP_BYTES, _CHECKING)
                    self._valid(head, head.data)
                request.batch_bytes += len(data) + validator.unpacked_bytes - unpacked
                steps += (validator.unpacked_bytes - unpacked) // _STEP_BYTES
            else:
                self._refused(InvalidBatch(INVALID_RECORD, "there is no record batch"))
        if flexible:
            reader.skip_tags()
        return self._stop(steps, _READ)

    def _is_rewritten(self, head: BatchHead, size: int) -> bool:
        """Whether its topic wants the batch in another compression."""
        if self._attachment is None:
            return False
        wanted: int = self._attachment.compression_of(self._topic.name, size)  # type: ignore[union-attr]
        return wanted >= 0 and wanted != head.compression

    def _stop(self, steps: int, how: int) -> int:
        self.steps = steps
        self._left_bytes = self._validator.left_bytes
        return how

    def checked(self, head: Any, batch: bytes, error: Any, unpacked_bytes: int) -> int:
        """The large batch has been checked, and is good or not; `batch` is what is to be appended."""
        self.large = None
        if self._left_bytes <= 0 and unpacked_bytes:
            head, error = None, self._validator.too_much()
        self._left_bytes -= unpacked_bytes
        if head is None:
            self._refused(error)
        else:
            self._valid(head, batch)
        return 0

    def _refused(self, error: InvalidBatch) -> int:
        topic = self._topic
        part = make_append_part(topic.name, self._partition, b"", 0, 0, -1)  # type: ignore[union-attr]
        part.error = error
        topic.parts.append(part)  # type: ignore[union-attr]
        return 0

    def _valid(self, head: BatchHead, batch: bytes) -> int:
        topic = self._topic
        part = make_append_part(topic.name, self._partition, batch, head.flags, head.count, head.max_time_ms)  # type: ignore[union-attr]
        part.producer_id = head.producer_id
        part.producer_epoch = head.producer_epoch
        part.first_sequence = head.first_sequence
        topic.parts.append(part)  # type: ignore[union-attr]
        if head.flags & _TRANSACTIONAL:
            part.error = InvalidBatch(INVALID_TXN_STATE, "a transactional batch; this broker has no transactions for Kafka")
        else:
            self.request.valid.append(part)
        return 0


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
