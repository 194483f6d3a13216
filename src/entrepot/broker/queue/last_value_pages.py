"""LastValuePages: pages of last values whose keys a pattern matches, in the order of their keys, read over turns of the loop.

Some questions are at work at a time, the others wait as they came: what they have in memory is a page each. A page is answered in a turn in which all of
it is still so: what was replaced while something was fetched is read again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

from entrepot.broker.calls.questions import LastValuesPage, ReadLastValues
from entrepot.broker.calls.retained_requests import COPIES_MAX_BYTES
from entrepot.broker.catalogue.matching import TopicTrie
from entrepot.broker.queue.last_value_rows import LastValue, decoded, value_prefix
from entrepot.broker.queue.queue import Queue
from entrepot.model.entry import HAS_EXPIRY, HAS_PRIORITY, TRANSIENT, StoredEntry
from entrepot.model.errors import CorruptData, NotDone

AT_WORK_MAX = 4
ROWS_PER_TURN = 512
ROW_BYTES_PER_TURN = 1 << 16  # of their keys
FIRST_ROWS = 64
ROWS_MAX = 8192  # looked at for one page
STRETCH_BYTES = 8192  # of a read: what is next may lie anywhere

_OF_RECORDS = HAS_EXPIRY | HAS_PRIORITY | TRANSIENT

Done: TypeAlias = Callable[[NotDone | None, LastValuesPage | None], None]


class Index(Protocol):
    """LastValues, as pages see them."""

    def find(self, key: bytes) -> LastValue | None:
        """What the row of that key says."""

    def now_ms(self) -> int:
        """The time of the queue's shard."""


class Wanted:
    """A pattern, and where in the order of routing keys lies what it may match: ranges of keys, ascending. `end` None: that key alone."""

    def __init__(self, pattern: str) -> None:
        words = pattern.split(".") if pattern else []
        wild = next((index for index, word in enumerate(words) if word in ("*", "#")), len(words))
        stem = ".".join(words[:wild]).encode("utf-8", "surrogateescape")
        self._trie = TopicTrie()
        self._trie.add(pattern, True)
        self._is_apart = wild == 0 and bool(words)
        self.ranges: list[tuple[bytes, bytes | None]] = []
        if wild == 0 and words:
            self.ranges.append((b"", b""))
            return
        if wild == len(words) or words[wild] == "#":
            self.ranges.append((stem, None))
        if wild < len(words):
            self.ranges.append((stem + b".", end_of(stem + b".")))

    def matches(self, key: bytes) -> bool:
        """Whether it matches a routing key."""
        if self._is_apart and key[:1] == b"$":
            return False
        found: dict[Any, bool] = {}
        self._trie.match(key.decode("utf-8", "surrogateescape"), found)
        return bool(found)


def end_of(prefix: bytes) -> bytes:
    """The first key behind all that begin with `prefix`; b"": there is none."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes((stem[-1] + 1,)) if stem else b""


class LastValuePages:
    """Of one queue."""

    def __init__(self, index: Index, queue: Queue) -> None:
        self._index = index
        self._queue = queue
        self._at_work: set[_Reading] = set()
        self._waiting: deque[tuple[ReadLastValues, Done]] = deque()

    def read(self, question: ReadLastValues, done: Done) -> None:
        """done(why not, or None, a page): see ReadLastValues; at once, where all of it is in memory and little is looked at."""
        if len(self._at_work) < AT_WORK_MAX:
            self._begin(question, done)
        else:
            self._waiting.append((question, done))

    def _begin(self, question: ReadLastValues, done: Done) -> None:
        reading = _Reading(self._index, self._queue, question, done, self._ended)
        self._at_work.add(reading)
        reading.go_on()

    def _ended(self, reading: _Reading) -> None:
        self._at_work.discard(reading)
        if self._waiting and len(self._at_work) < AT_WORK_MAX:
            self._queue.hub.scheduler.call_soon(self._next)

    def _next(self) -> None:
        while self._waiting and len(self._at_work) < AT_WORK_MAX and not self._queue.ended:
            self._begin(*self._waiting.popleft())

    def close(self) -> None:
        """The queue has ended: all are told so, in the loop's next turn."""
        waiting, self._waiting = self._waiting, deque()
        for reading in list(self._at_work):
            reading.close()
        for _, done in waiting:
            self._queue.hub.scheduler.call_soon(done, self._queue.gone.again(), None)


class _Record:
    """One that was read."""

    __slots__ = ("append_time_ms", "data", "flags")

    def __init__(self, flags: int, data: bytes, append_time_ms: int) -> None:
        self.flags = flags
        self.data = data
        self.append_time_ms = append_time_ms


class _Reading:
    """One page on its way."""

    def __init__(self, index: Index, queue: Queue, question: ReadLastValues, done: Done, ended: Callable[[_Reading], None]) -> None:
        self._index = index
        self._queue = queue
        self._question = question
        self._done = done
        self._ended = ended
        self._codec = queue.hub.codec(question.codec)
        self._wanted = Wanted(question.pattern.decode("utf-8", "surrogateescape"))
        self._prefix = value_prefix(queue.log.id) + bytes((len(question.exchange),)) + question.exchange
        self._ranges = deque(self._wanted.ranges)
        self._after: bytes | None = question.after or None
        self._next: bytes | None = None
        self._looked = 0
        self._rows = min(FIRST_ROWS, ROWS_PER_TURN)  # looked at in a turn, as long as they are
        self._keys: list[bytes] = []  # routing keys of the page, ascending
        self._size = 0  # of these, and of their records
        self._unread: list[tuple[int, bytes]] = []  # offset and key, in the order in which they lie, the first at the end
        self._offsets: dict[bytes, int | None] = {}  # which record of each key is read; None: none
        self._records: dict[bytes, _Record] = {}
        self._is_over = False
        self._is_stale = False  # turns have passed since rows were looked at
        self._fetched: int | None = None
        self._reader = queue.log.reader()
        self._reader.stretch_size = STRETCH_BYTES

    def go_on(self) -> None:
        """Until something is waited for, or it is answered."""
        if self._is_over:
            return
        try:
            if self._ranges:
                self._scan()
                if self._ranges:
                    self._is_stale = True
                    self._queue.hub.scheduler.call_soon(self.go_on)
                    return
                self._order(self._keys)
            if not self._read_all():
                self._is_stale = True
                return
        except CorruptData:
            self._over()
            raise
        self._answer()

    def _read_all(self) -> bool:
        """Have all records as they are in this turn of the loop; False: one is waited for."""
        while True:
            while self._unread:
                if not self._read(*self._unread[-1]):
                    return False
                self._unread.pop()
            if not self._is_stale:
                return True
            self._is_stale = False
            self._look_again()

    def close(self) -> None:
        """The queue has ended."""
        self._over()
        self._queue.hub.scheduler.call_soon(self._done, self._queue.gone.again(), None)

    def _over(self) -> None:
        self._is_over = True
        self._reader.close()
        self._ended(self)

    # ---- which

    def _scan(self) -> None:
        """Look at the rows of a turn."""
        first, end = self._ranges[0]
        begin = first if self._after is None or self._after < first else self._after + b"\x00"
        stop = first + b"\x00" if end is None else end
        if stop and begin >= stop:
            self._ranges.popleft()
            return
        queue = self._queue
        limit = self._rows
        rows = queue.store.scan(queue.log.shard, self._prefix + begin, self._prefix + stop if stop else end_of(self._prefix), limit)
        for key, row in rows:
            routing_key = key[len(self._prefix) :]
            if self._wanted.matches(routing_key) and not self._add(routing_key, decoded(row)):
                self._cut()
                return
            self._after = routing_key
        self._looked += len(rows)
        octets = sum(len(key) for key, _ in rows)
        self._rows = min(ROWS_PER_TURN, max(1, ROW_BYTES_PER_TURN * len(rows) // max(1, octets)))
        if len(rows) < limit:
            self._ranges.popleft()
        elif self._looked >= ROWS_MAX:
            self._cut()

    def _add(self, key: bytes, value: LastValue) -> bool:
        """One more of the page, unless it has expired; False: it is full."""
        if self._has_expired(value):
            return True
        if len(self._keys) >= self._question.limit or (self._keys and self._size + len(key) + value.size > COPIES_MAX_BYTES):
            return False
        self._keys.append(key)
        self._offsets[key] = value.offset
        self._size += len(key) + value.size
        return True

    def _cut(self) -> None:
        """What is behind the last that was looked at is of the next page."""
        self._next = self._after
        self._ranges.clear()

    # ---- reading

    def _order(self, keys: list[bytes]) -> None:
        """These are to be read, as they lie."""
        self._unread = sorted(((offset, key) for key in keys if (offset := self._offsets[key]) is not None), reverse=True)

    def _look_again(self) -> None:
        """Turns have passed: what was replaced meanwhile is to be read anew."""
        changed = []
        for key in self._keys:
            value = self._index.find(self._prefix + key)
            offset = None if value is None or self._has_expired(value) else value.offset
            if offset != self._offsets[key]:
                self._offsets[key] = offset
                self._records.pop(key, None)
                changed.append(key)
        self._order(changed)

    def _has_expired(self, value: LastValue) -> bool:
        return 0 < value.due_ms <= self._index.now_ms()

    def _read(self, offset: int, key: bytes) -> bool:
        """Have the record of a key; False: it is waited for."""
        queue = self._queue
        if offset >= queue.log.durable_offset:
            queue.store.urgent()
            queue.store.group().calls.append(self.go_on)
            return False
        stored = self._reader.at(offset)
        if stored is None and self._fetched != offset:
            self._fetched = offset
            self._reader.fetch(offset, self.go_on)
            return False
        self._fetched = None
        if stored is not None and stored.base == offset:  # else it was replaced meanwhile
            self._take(key, stored)
        return True

    def _take(self, key: bytes, stored: StoredEntry) -> None:
        """It is in memory."""
        codec, entry = self._codec, stored.entry
        data = self._queue.hub.translated(stored, codec.tag)
        if data is not None:
            self._records[key] = _Record(entry.flags & _OF_RECORDS, data[codec.start(data) :], entry.append_time_ms)

    def _answer(self) -> None:
        question, now_ms = self._question, self._index.now_ms()
        found: list[tuple[bytes, int, bytes]] = []
        for key in self._keys:
            record = self._records.get(key)
            if record is not None:
                copy = self._codec.last_value_copy(record.data, max(0, now_ms - record.append_time_ms), question.identifier)
                found.append((key, record.flags, copy))
        self._over()
        self._done(None, (found, self._next))
