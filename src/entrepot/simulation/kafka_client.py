"""KafkaClient: a scripted Kafka client for simulated connections: one version of each request that producers and consumers need, Fetch in two.

Written against the protocol's tables and nothing of the broker's, so that both being wrong alike is unlikely. All versions are flexible ones: lengths
and counts are varints one larger than they say, and every structure ends with its tagged fields, which are passed over.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from entrepot.simulation.kafka_records import Unexpected
from entrepot.simulation.network import Script

Place = tuple[str, int]
"""A topic's name, and the number of one of its partitions."""

PRODUCE, FETCH, LIST_OFFSETS, METADATA, OFFSET_COMMIT, OFFSET_FETCH, FIND_COORDINATOR = 0, 1, 2, 3, 8, 9, 10
API_VERSIONS, CREATE_TOPICS, DELETE_RECORDS, INIT_PRODUCER_ID = 18, 19, 21, 22
FETCH_BY_NAME, FETCH_BY_ID = 12, 13
VERSIONS = {PRODUCE: 9, LIST_OFFSETS: 7, METADATA: 12, OFFSET_COMMIT: 8, OFFSET_FETCH: 8, FIND_COORDINATOR: 4, CREATE_TOPICS: 7, DELETE_RECORDS: 2}
VERSIONS |= {INIT_PRODUCER_ID: 4, API_VERSIONS: 3}

END, FIRST = -1, -2  # ListOffsets' special timestamps
_NO_TAGS = b"\0"
_FIRST = 1  # request of a connection: ApiVersions


class ProducedPart(NamedTuple):
    """What Produce says of a partition."""

    code: int
    base: int
    log_start: int


class FetchedPart(NamedTuple):
    """What Fetch says of a partition."""

    code: int
    high_watermark: int
    log_start: int
    data: bytes


class TopicFacts(NamedTuple):
    """What Metadata says of a topic."""

    code: int
    id: bytes
    partitions: list[int]


class Answer:
    """What is left of an answer."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, form: str) -> int:
        """The next number; `form` as in struct."""
        value: int = struct.unpack_from(">" + form, self._data, self._at)[0]
        self._at += struct.calcsize(">" + form)
        return value

    def octets(self, count: int) -> bytes:
        """So many."""
        self._at += count
        return self._data[self._at - count : self._at]

    def uvarint(self) -> int:
        """See the protocol's UNSIGNED_VARINT."""
        value = shift = 0
        while True:
            octet = self._data[self._at]
            self._at += 1
            value |= (octet & 127) << shift
            shift += 7
            if octet < 128:
                return value

    def sized(self) -> bytes:
        """COMPACT_STRING, COMPACT_BYTES or one that may be null, which is as if empty."""
        return self.octets(max(0, self.uvarint() - 1))

    def text(self) -> str:
        """A COMPACT_STRING."""
        return self.sized().decode()

    def count(self) -> range:
        """Over the elements of a COMPACT_ARRAY; none of a null one."""
        return range(max(0, self.uvarint() - 1))

    def numbers(self) -> list[int]:
        """A COMPACT_ARRAY of INT32."""
        return [self.number("i") for _ in self.count()]

    def tags(self) -> None:
        """Pass over tagged fields."""
        for _ in range(self.uvarint()):
            self.uvarint()
            self.octets(self.uvarint())


def _nothing(_: Answer) -> None:
    pass


def _uvarint(value: int) -> bytes:
    octets = bytearray()
    while value > 127:
        octets.append(value & 127 | 128)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def _sized(data: bytes | str) -> bytes:
    octets = data.encode() if isinstance(data, str) else data
    return _uvarint(len(octets) + 1) + octets


def _array(elements: Iterable[bytes]) -> bytes:
    packed = list(elements)
    return _uvarint(len(packed) + 1) + b"".join(packed)


def _by_topic(rows: Iterable[tuple[Place, bytes]]) -> bytes:
    """[topic, [row of a partition]], each row with its tags already."""
    topics: dict[str, list[bytes]] = {}
    for (topic, _), row in rows:
        topics.setdefault(topic, []).append(row)
    return _array(_sized(topic) + _array(some) + _NO_TAGS for topic, some in topics.items())


def _per_partition(answer: Answer, row: Callable[[Answer], Any]) -> dict[Place, Any]:
    """The reverse, by place; row(answer) reads what is behind the partition's number and before its tags."""
    found = {}
    for _ in answer.count():
        topic = answer.text()
        for _ in answer.count():
            place = (topic, answer.number("i"))
            if place in found:
                raise Unexpected(f"{place} is answered twice")
            found[place] = row(answer)
            answer.tags()
        answer.tags()
    return found


def _produced(answer: Answer) -> ProducedPart:
    code, base, _, log_start = answer.number("h"), answer.number("q"), answer.number("q"), answer.number("q")
    for _ in answer.count():
        answer.number("i")
        answer.sized()
        answer.tags()
    answer.sized()
    return ProducedPart(code, base, log_start)


def _listed(answer: Answer) -> tuple[int, int]:
    code, _, offset, _ = answer.number("h"), answer.number("q"), answer.number("q"), answer.number("i")
    return code, offset


def _committed(answer: Answer) -> tuple[int, int]:
    offset, _, _ = answer.number("q"), answer.number("i"), answer.sized()
    return answer.number("h"), offset


class KafkaClient(Script):
    """One connection. Each request's `answered` is called with what was answered; on_ready() once it may ask, on_lost() when the broker
    has ended it. `dropped`: its own side has.
    """

    def __init__(self, on_ready: Callable[[], None], on_lost: Callable[[], None]) -> None:
        super().__init__()
        self.ready = False
        self.dropped = False
        self.asked_count = 0
        self._on_ready = on_ready
        self._on_lost = on_lost
        self._waiting: deque[tuple[int, Callable[[Answer], None]]] = deque()

    @property
    def waiting_count(self) -> int:
        """Requests that are not answered."""
        return len(self._waiting)

    def drop(self) -> None:
        """End the connection at once: what is under way is lost."""
        self.dropped = True
        self.ready = False
        if self.transport is not None:
            self.transport.abort()

    # ---- the wire

    def connection_made(self, transport: object) -> None:
        """See asyncio."""
        super().connection_made(transport)  # type: ignore[arg-type]
        if self.dropped:
            self.drop()
            return
        self._ask(API_VERSIONS, VERSIONS[API_VERSIONS], _sized("simulated") + _sized("1"), self._versions_told)

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        super().connection_lost(exc)
        self.ready = False
        if not self.dropped:
            self._on_lost()

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        self.received += data
        while len(self.received) >= 8 and not self.dropped:
            size, correlation = struct.unpack_from(">ii", self.received)
            if len(self.received) < size + 4:
                return
            answer = Answer(bytes(self.received[8 : size + 4]))
            del self.received[: size + 4]
            number, answered = self._waiting.popleft() if self._waiting else (0, _nothing)
            if number != correlation:
                raise Unexpected(f"an answer to request {correlation}, when the next is to {number}")
            if number != _FIRST:  # the header of every answer but ApiVersions' has tagged fields
                answer.tags()
            answered(answer)

    def _ask(self, key: int, version: int, body: bytes, answered: Callable[[Answer], None] | None) -> None:
        self.asked_count += 1
        number = self.asked_count
        request = struct.pack(">hhi", key, version, number) + b"\0\3sim" + _NO_TAGS + body + _NO_TAGS
        self.transport.write(struct.pack(">i", len(request)) + request)
        if answered is not None:
            self._waiting.append((number, answered))

    def _versions_told(self, answer: Answer) -> None:
        code = answer.number("h")
        told = {}
        for _ in answer.count():
            key = answer.number("h")
            told[key] = range(answer.number("h"), answer.number("h") + 1)
            answer.tags()
        for key, version in (*VERSIONS.items(), (FETCH, FETCH_BY_NAME), (FETCH, FETCH_BY_ID)):
            if code or version not in told.get(key, ()):
                raise Unexpected(f"code {code}: version {version} of API {key} is not served")
        self.ready = True
        self._on_ready()

    # ---- topics

    def create_topic(self, name: str, partitions: int, settings: dict[str, str], answered: Callable[[int], None]) -> None:
        """answered(code)."""

        def read(answer: Answer) -> None:
            answer.number("i")
            answer.count()
            answer.sized()
            answer.octets(16)
            answered(answer.number("h"))

        configs = _array(_sized(key) + _sized(value) + _NO_TAGS for key, value in settings.items())
        topic = _sized(name) + struct.pack(">ih", partitions, 1) + _array(()) + configs + _NO_TAGS
        self._ask(CREATE_TOPICS, VERSIONS[CREATE_TOPICS], _array([topic]) + struct.pack(">ib", 60_000, 0), read)

    def metadata(self, names: Iterable[str], answered: Callable[[dict[str, TopicFacts]], None]) -> None:
        """answered({topic: facts})."""

        def read(answer: Answer) -> None:
            answer.number("i")
            for _ in answer.count():
                answer.number("i")
                answer.sized()
                answer.number("i")
                answer.sized()
                answer.tags()
            answer.sized()
            answer.number("i")
            found = {}
            for _ in answer.count():
                code, name, topic_id = answer.number("h"), answer.text(), answer.octets(16)
                answer.number("b")
                partitions = []
                for _ in answer.count():
                    code = answer.number("h") or code
                    partitions.append(answer.number("i"))
                    answer.octets(8)
                    for _ in range(3):
                        answer.numbers()
                    answer.tags()
                answer.number("i")
                answer.tags()
                found[name] = TopicFacts(code, topic_id, sorted(partitions))
            answered(found)

        self._ask(METADATA, VERSIONS[METADATA], _array(bytes(16) + _sized(name) + _NO_TAGS for name in names) + b"\0\0", read)

    def delete_records(self, place: Place, before: int, answered: Callable[[int, int], None]) -> None:
        """answered(code, where the partition begins now)."""

        def read(answer: Answer) -> None:
            answer.number("i")
            low, code = _per_partition(answer, lambda answer: (answer.number("q"), answer.number("h")))[place]
            answered(code, low)

        rows = _by_topic([(place, struct.pack(">iq", place[1], before) + _NO_TAGS)])
        self._ask(DELETE_RECORDS, VERSIONS[DELETE_RECORDS], rows + struct.pack(">i", 60_000), read)

    # ---- producing

    def init_producer(self, producer_id: int, epoch: int, answered: Callable[[int, int, int], None]) -> None:
        """answered(code, producer id, epoch)."""

        def read(answer: Answer) -> None:
            answer.number("i")
            answered(answer.number("h"), answer.number("q"), answer.number("h"))

        self._ask(INIT_PRODUCER_ID, VERSIONS[INIT_PRODUCER_ID], b"\0" + struct.pack(">iqh", 60_000, producer_id, epoch), read)

    def produce(self, batches: dict[Place, bytes], acks: int, answered: Callable[[dict[Place, ProducedPart]], None]) -> None:
        """answered({place: what became of its batch}); with acks=0 nothing is answered."""

        def read(answer: Answer) -> None:
            answered(_per_partition(answer, _produced))

        rows = _by_topic((place, struct.pack(">i", place[1]) + _sized(batch) + _NO_TAGS) for place, batch in batches.items())
        self._ask(PRODUCE, VERSIONS[PRODUCE], b"\0" + struct.pack(">hi", acks, 30_000) + rows, read if acks else None)

    # ---- fetching

    def fetch(
        self,
        offsets: dict[Place, int],
        answered: Callable[[int, int, dict[Place, FetchedPart]], None],
        *,
        ids: dict[str, bytes] | None = None,
        forgotten: Iterable[Place] = (),
        session: tuple[int, int] = (0, -1),
        max_wait_ms: int = 0,
        max_bytes: int = 1 << 20,
        committed: bool = False,
    ) -> None:
        """answered(code, session id, {place: what was read}). `ids`: ask by the topics' ids, which these are."""
        names = {topic_id: name for name, topic_id in (ids or {}).items()}

        def key(topic: str) -> bytes:
            return _sized(topic) if ids is None else ids[topic]

        def read(answer: Answer) -> None:
            answer.number("i")
            code, session_id = answer.number("h"), answer.number("i")
            found = {}
            for _ in answer.count():
                topic = answer.text() if ids is None else names[answer.octets(16)]
                for _ in answer.count():
                    place = (topic, answer.number("i"))
                    part_code, end, _, start = answer.number("h"), answer.number("q"), answer.number("q"), answer.number("q")
                    for _ in answer.count():
                        answer.octets(16)
                        answer.tags()
                    answer.number("i")
                    found[place] = FetchedPart(part_code, end, start, answer.sized())
                    answer.tags()
                answer.tags()
            answered(code, session_id, found)

        topics: dict[str, list[bytes]] = {}
        for (topic, number), offset in offsets.items():
            topics.setdefault(topic, []).append(struct.pack(">iiqiqi", number, -1, offset, -1, -1, max_bytes) + _NO_TAGS)
        gone: dict[str, list[bytes]] = {}
        for topic, number in forgotten:
            gone.setdefault(topic, []).append(struct.pack(">i", number))
        body = struct.pack(">iiiibii", -1, max_wait_ms, 1, max_bytes, committed, *session)
        for rows in (topics, gone):
            body += _array(key(topic) + _array(some) + _NO_TAGS for topic, some in rows.items())
        self._ask(FETCH, FETCH_BY_NAME if ids is None else FETCH_BY_ID, body + _sized(""), read)

    def list_offsets(self, places: Iterable[Place], where: int, answered: Callable[[dict[Place, tuple[int, int]]], None]) -> None:
        """answered({place: (code, offset)}); `where` is END or FIRST."""

        def read(answer: Answer) -> None:
            answer.number("i")
            answered(_per_partition(answer, _listed))

        rows = _by_topic((place, struct.pack(">iiq", place[1], -1, where) + _NO_TAGS) for place in places)
        self._ask(LIST_OFFSETS, VERSIONS[LIST_OFFSETS], struct.pack(">ib", -1, 0) + rows, read)

    # ---- a group's offsets

    def find_coordinator(self, group: str, answered: Callable[[int], None]) -> None:
        """answered(code)."""

        def read(answer: Answer) -> None:
            answer.number("i")
            answer.count()
            answer.sized()
            answer.number("i")
            answer.sized()
            answer.number("i")
            answered(answer.number("h"))

        self._ask(FIND_COORDINATOR, VERSIONS[FIND_COORDINATOR], b"\0" + _array([_sized(group)]), read)

    def commit(self, group: str, offsets: dict[Place, int], answered: Callable[[dict[Place, int]], None]) -> None:
        """answered({place: code})."""

        def read(answer: Answer) -> None:
            answer.number("i")
            answered(_per_partition(answer, lambda answer: answer.number("h")))

        rows = _by_topic((place, struct.pack(">iqi", place[1], offset, -1) + _sized("m") + _NO_TAGS) for place, offset in offsets.items())
        self._ask(OFFSET_COMMIT, VERSIONS[OFFSET_COMMIT], _sized(group) + struct.pack(">i", -1) + _sized("") + b"\0" + rows, read)

    def committed(self, group: str, places: Iterable[Place], answered: Callable[[int, dict[Place, tuple[int, int]]], None]) -> None:
        """answered(code, {place: (code, offset)}); offset -1: none was committed."""

        def read(answer: Answer) -> None:
            answer.number("i")
            answer.count()
            answer.sized()
            found = _per_partition(answer, _committed)
            answered(answer.number("h"), found)

        rows = _by_topic((place, struct.pack(">i", place[1])) for place in places)
        self._ask(OFFSET_FETCH, VERSIONS[OFFSET_FETCH], _array([_sized(group) + rows + _NO_TAGS]) + b"\0", read)
