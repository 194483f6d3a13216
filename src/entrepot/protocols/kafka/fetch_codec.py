"""Fetch, versions 4 to 17: the request into parts for a Read, and what they brought into the response.

Parts live in a FetchTable as long as their partition is fetched, so that the broker keeps its place in the log. Records are never copied on their
way out but for small entries, which cost more as a part of their own.
"""

from __future__ import annotations

import cython

from entrepot.broker.calls.partition_calls import ReadPart
from entrepot.model.errors import Reason, Refused
from entrepot.protocols.kafka.error_codes import TOPIC, ErrorCode, code_for
from entrepot.protocols.kafka.primitives import Malformed

if not cython.compiled:
    from entrepot.broker.calls.partition_calls import make_read_part
    from entrepot.protocols.kafka.primitives import Reader, Writer

PARTS_MAX = 100_000  # topics and partitions of one request, or of one session

_PARTS_MAX = PARTS_MAX


class FetchRequest:
    """What a request says before its topics."""

    def __init__(self) -> None:
        self.max_wait_ms = 0
        self.min_bytes = 0
        self.max_bytes = 0
        self.committed = False
        self.session_id = 0
        self.session_epoch = -1


class FetchTopic:
    """A topic of a table: `key` is its name, or its id from version 13 on."""

    def __init__(self, key: object) -> None:
        self.key = key
        self.by_partition: dict[int, ReadPart] = {}
        self.in_answer: list[ReadPart] = []


class FetchNote:
    """What is remembered of a part between answers: it is the part's tag."""

    def __init__(self) -> None:
        self.seen = 0  # the number of the request that named it last
        self.told = False  # whether the client knows the offsets below
        self.durable_end = -1
        self.first_offset = -1


class FetchTable:
    """The partitions that a client fetches: of one fetch session, or of the last request without one.

    `parts` is all of them, in order, for the Read; the same list until something is added or removed. `by_id`: topics are named by id.
    """

    def __init__(self) -> None:
        self.topics: dict[object, FetchTopic] = {}
        self.parts: list[ReadPart] = []
        self.count = 0
        self.by_id = False
        self.passes_over_epochs = False  # whatever epoch of a leader a client says that it knows (cluster.py)
        self.request = 0
        self.seen_count = 0  # of its parts, those that the last request has named
        self.changed = False

    def name(self, key: object, partition: int, offset: int, max_bytes: int, leader_epoch: int) -> int:
        """A request names a partition, and where to read on."""
        topic = self.topics.get(key)
        if topic is None:
            topic = FetchTopic(key)
            self.topics[key] = topic
        part = topic.by_partition.get(partition)
        if part is None:
            if isinstance(key, bytes):
                part = make_read_part("", partition, offset, max_bytes)
                part.topic_id = key
            else:
                part = make_read_part(key, partition, offset, max_bytes)  # type: ignore[arg-type]
            part.tag = FetchNote()
            self.count += 1
            if self.count > _PARTS_MAX:
                raise Malformed(f"more than {_PARTS_MAX} partitions fetched by one connection")
            topic.by_partition[partition] = part
            self.changed = True
        part.offset = offset
        part.max_bytes = max_bytes
        part.leader_epoch = -1 if self.passes_over_epochs else leader_epoch
        note: FetchNote = part.tag
        if note.seen != self.request:
            note.seen = self.request
            self.seen_count += 1
        return 0

    def forget(self, key: object, partition: int) -> ReadPart | None:
        """The part of a partition that is fetched no more."""
        topic = self.topics.get(key)
        if topic is None:
            return None
        part = topic.by_partition.pop(partition, None)
        if part is not None:
            self.changed = True
            self.count -= 1
            note: FetchNote = part.tag
            if note.seen == self.request:
                self.seen_count -= 1
            if not topic.by_partition:
                del self.topics[key]
        return part

    def forget_unseen(self) -> list[ReadPart]:
        """The parts that the last request did not name; they are out of the table."""
        gone: list[ReadPart] = []
        if self.seen_count == self.count:
            return gone
        for topic in list(self.topics.values()):
            for part in list(topic.by_partition.values()):
                note: FetchNote = part.tag
                if note.seen != self.request:
                    gone.append(part)
                    self.forget(topic.key, part.partition)
        return gone

    def all_parts(self) -> list[ReadPart]:
        """Every part, as a list that stays the same while the partitions do."""
        if self.changed:
            parts = []
            for topic in self.topics.values():
                for part in topic.by_partition.values():
                    parts.append(part)  # noqa: PERF402
            self.parts = parts
            self.changed = False
        return self.parts


def decode_head(reader: Reader, version: int) -> FetchRequest:
    """The request's first fields. Raises Malformed."""
    request = FetchRequest()
    if version < 15:
        reader.i32()  # replica id
    request.max_wait_ms = max(0, reader.i32())
    request.min_bytes = max(0, reader.i32())
    request.max_bytes = max(0, reader.i32())
    request.committed = reader.i8() == 1
    if version >= 7:
        request.session_id = reader.i32()
        request.session_epoch = reader.i32()
    return request


class TopicsReading:
    """The rest of a request while it is read: read() until it is True. What it names goes into `table`; `gone` are the parts that it forgets, which are
    out of it."""

    def __init__(self, reader: Reader, version: int, table: FetchTable) -> None:
        self.gone: list[ReadPart] = []
        self._reader = reader
        self._version = version
        self._table = table
        self._begun = False
        self._forgets = False
        self._key: object = None
        self._topics_left = 0
        self._parts_left = 0

    def detach(self) -> int:
        """What is left to read stays, whatever becomes of where the request arrived."""
        return self._reader.detach()

    def read(self, most: int) -> bool:
        """Go on with so many topics and partitions; whether that was all. Raises Malformed."""
        reader = self._reader
        version = self._version
        table = self._table
        flexible = version >= 12
        if not self._begun:
            self._begun = True
            reader.elements_left = _PARTS_MAX
            table.request += 1
            table.seen_count = 0
            self._topics_left = reader.count(flexible, 3 if flexible else 6)
        while True:
            if most <= 0:
                return False
            most -= 1
            if self._parts_left > 0:
                self._parts_left -= 1
                if self._forgets:
                    part = table.forget(self._key, reader.i32())
                    if part is not None:
                        self.gone.append(part)
                    continue
                partition = reader.i32()
                leader_epoch = reader.i32() if version >= 9 else -1
                offset = reader.i64()
                if version >= 12:
                    reader.i32()  # epoch of the last record fetched
                if version >= 5:
                    reader.i64()  # a follower's log start
                table.name(self._key, partition, offset, reader.i32(), leader_epoch)
                if flexible:
                    reader.skip_tags()
                continue
            if self._key is not None:
                self._key = None
                if flexible:
                    reader.skip_tags()
            if self._topics_left > 0:
                self._topics_left -= 1
                self._key = reader.octets(16) if version >= 13 else reader.string(flexible)
                self._parts_left = reader.count(flexible, 4 if self._forgets else 16)
            elif not self._forgets and version >= 7:
                self._forgets = True
                self._topics_left = reader.count(flexible, 3 if flexible else 6)
            else:
                break
        if version >= 11:
            reader.maybe_string(flexible)  # rack
        if flexible:
            reader.skip_tags()
        return True


def encode_error(writer: Writer, version: int, code: int) -> int:
    """A response that is an error as a whole."""
    flexible = version >= 12
    writer.i32(0)
    if version >= 7:
        writer.i16(code)
        writer.i32(0)
    writer.count(0, flexible)
    if flexible:
        writer.uvarint(0)
    return 0


def encode_fetch(writer: Writer, version: int, table: FetchTable, session_id: int, incremental: bool) -> int:
    """The response, from what the table's parts brought; how many of them are errors.

    `incremental`: only what the client does not know yet. What was sent is out of the parts then.
    """
    errors = 0
    for topic in begin_answer(writer, version, table, session_id, incremental):
        errors += encode_parts(writer, version, topic, 0, len(topic.in_answer))
    end_answer(writer, version)
    return errors


def begin_answer(writer: Writer, version: int, table: FetchTable, session_id: int, incremental: bool) -> list[FetchTopic]:
    """The response up to its topics; which they are. encode_parts() of each comes next, then end_answer()."""
    writer.i32(0)
    if version >= 7:
        writer.i16(0)
        writer.i32(session_id)
    topics: list[FetchTopic] = []
    for topic in table.topics.values():
        chosen: list[ReadPart] = [part for part in topic.by_partition.values() if not incremental or _has_news(part)]
        if chosen:
            topic.in_answer = chosen
            topics.append(topic)
    writer.count(len(topics), version >= 12)
    return topics


def encode_parts(writer: Writer, version: int, topic: FetchTopic, first: int, end: int) -> int:
    """The parts [first, end) of a topic that are in the answer, with what is before the first and behind the last; how many are errors."""
    flexible = version >= 12
    errors = 0
    chosen = topic.in_answer
    if first == 0:
        if version >= 13:
            writer.octets(topic.key)  # type: ignore[arg-type]
        else:
            writer.string(topic.key, flexible)  # type: ignore[arg-type]
        writer.count(len(chosen), flexible)
    while first < end:
        part = chosen[first]
        first += 1
        if part.error is not None:
            errors += 1
        _encode_part(writer, version, flexible, part)
    if end == len(chosen):
        topic.in_answer = []
        if flexible:
            writer.uvarint(0)
    return errors


def end_answer(writer: Writer, version: int) -> int:
    """What is behind the topics."""
    if version >= 12:
        writer.uvarint(0)
    return 0


def _has_news(part: ReadPart) -> bool:
    """Whether a client that knows the last answer must hear of this part."""
    note: FetchNote = part.tag
    return part.size > 0 or part.error is not None or not note.told or part.durable_end != note.durable_end or part.first_offset != note.first_offset


def fetch_code(part: ReadPart) -> int:
    """The code of a part's error."""
    error = part.error
    if error is None:
        return 0
    if part.topic_id and isinstance(error, Refused) and error.reason is Reason.NOT_FOUND:
        return ErrorCode.UNKNOWN_TOPIC_ID
    return code_for(error, TOPIC, ErrorCode.NOT_LEADER_OR_FOLLOWER)


def _encode_part(writer: Writer, version: int, flexible: bool, part: ReadPart) -> int:
    note: FetchNote = part.tag
    failed = part.error is not None
    writer.i32(part.partition)
    writer.i16(fetch_code(part) if failed else 0)
    writer.i64(-1 if failed else part.durable_end)
    writer.i64(-1 if failed else part.stable_end)
    if version >= 5:
        writer.i64(-1 if failed else part.first_offset)
    if part.aborted is None or failed:
        writer.count(-1, flexible)
    else:
        writer.count(len(part.aborted), flexible)
        for producer_id, first_offset in part.aborted:
            writer.i64(producer_id)
            writer.i64(first_offset)
            if flexible:
                writer.uvarint(0)
    if version >= 11:
        writer.i32(-1)  # no preferred replica
    if failed or part.size == 0:
        writer.count(0, flexible)
    else:
        writer.count(part.size, flexible)
        size = 0
        for data in part.data:
            writer.octets(data)
            size += len(data)
        assert size == part.size, (size, part.size)
        part.data = []
        part.size = 0
    if flexible:
        writer.uvarint(0)
    note.told = not failed
    note.durable_end = part.durable_end
    note.first_offset = part.first_offset
    return 0
