"""What a session has sent with QoS 1 and 2 and is not through with: identifiers in use, flow control, and what is sent again (4.3, 4.4, 4.9).

Kept are spans of messages that were sent one behind the other: identifiers and offsets count up together. An acknowledgement of the oldest shortens its
span, one from amid a span divides it. Spans stand in the order in which they were sent, which is the order of sending again (4.4, 4.6).

Stored form, big-endian: u8 version (1) | u16 identifier to be given next | (u8 state, u32 source, u64 first offset, u16 first identifier, u16 count)*
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from entrepot.model.errors import CorruptData

ID_MAX = 65_535
OWN_IDS = 49_151
"""Of the session's own queue identifiers are 1 + offset mod so many: the same ones after a crash, with nothing stored. Others are above."""
SENT, RELEASED = 0, 1
"""States of a flight: PUBLISH is sent, and waits for PUBACK or PUBREC; PUBREL is (QoS 2 alone, whose message has reached the client), and waits for PUBCOMP."""

_VERSION = 1
_HEAD = struct.Struct(">BH")
_SPAN = struct.Struct(">BIQHH")
_QOS_2 = 0x80  # of the state, in the stored form
_ID_MAX, _OWN_IDS = ID_MAX, OWN_IDS
_SENT, _RELEASED = SENT, RELEASED


class Span:
    """`count` messages of `source` from offset `first` on, sent with `qos` and identifiers from `first_id` on. `is_out`: on this connection, too."""

    __slots__ = ("count", "first", "first_id", "is_out", "qos", "source", "state")

    source: int
    first: int
    count: int
    first_id: int
    qos: int
    state: int
    is_out: bool

    def part(self, at: int, count: int) -> Span:
        """`count` of its messages from the one at `at`."""
        return make_span(self.source, self.first + at, count, self.first_id + at, self.qos, self.state, self.is_out)


def make_span(source: int, first: int, count: int, first_id: int, qos: int, state: int = SENT, is_out: bool = True) -> Span:
    """A Span."""
    span = Span.__new__(Span)
    span.source = source
    span.first = first
    span.count = count
    span.first_id = first_id
    span.qos = qos
    span.state = state
    span.is_out = is_out
    return span


class Flights:
    """Of one session. `source` names where an offset counts, `receive_maximum` is the client's, of this connection."""

    def __init__(self, receive_maximum: int = ID_MAX) -> None:
        self.receive_maximum = receive_maximum
        self.count = 0  # in flight
        self._out = 0  # of these, on this connection
        self._next_id = OWN_IDS + 1
        self._behind = 0
        self._spans: list[Span] = []

    def room(self) -> int:
        """How many more may be sent now; 0 while what is to be sent again is not out yet."""
        if self._out < self.count:
            return 0
        return max(0, self.receive_maximum - self._out)

    def begin(self, source: int, first: int, count: int, qos: int) -> list[Span]:
        """Messages from offset `first` on are sent with `qos` 1 or 2: as spans with the next identifiers that are free. At most `room`.

        Fewer, or none, where there are no more identifiers; the rest is to wait for acknowledgements.
        """
        assert 0 < count <= self.room(), f"{count} messages where {self.room()} may be sent"
        found: list[Span] = []
        looked_at = 0
        while count and looked_at < len(self._spans) + 2:
            free = self._free_ids(self._next_id, min(count, _ID_MAX + 1 - self._next_id))
            behind = self._behind
            if free:
                found.append(self._add(make_span(source, first, free, self._next_id, qos)))
                behind = self._next_id + free
                first += free
                count -= free
                looked_at = 0
            looked_at += 1
            self._next_id = behind if behind <= _ID_MAX else _OWN_IDS + 1
        return found

    def begin_own(self, source: int, first: int, count: int, qos: int) -> list[Span]:
        """The same of the session's own queue, with the identifiers that its offsets say; fewer, where one of them is in use."""
        assert 0 < count <= self.room(), f"{count} messages where {self.room()} may be sent"
        found: list[Span] = []
        while count:
            first_id = 1 + first % _OWN_IDS
            free = self._free_ids(first_id, min(count, _OWN_IDS + 1 - first_id))
            if not free:
                break
            found.append(self._add(make_span(source, first, free, first_id, qos)))
            first += free
            count -= free
        return found

    def _add(self, span: Span) -> Span:
        self.count += span.count
        self._out += span.count
        if self._spans:
            last = self._spans[len(self._spans) - 1]
            if _goes_on(last, span):
                last.count += span.count
                return span
        self._spans.append(span)
        return span.part(0, span.count)

    def _free_ids(self, first_id: int, count: int) -> int:
        """How many of `count` identifiers from there are free up to the first in use; if it is that one, `_behind` is the next behind those in use with it."""
        self._behind = first_id
        for span in self._spans:
            if span.first_id <= first_id < span.first_id + span.count:
                self._behind = span.first_id + span.count
                return 0
            if span.first_id > first_id:
                count = min(count, span.first_id - first_id)
        return count

    def acknowledged(self, first_id: int, count: int, qos: int) -> tuple[list[Span], int]:
        """PUBACK (`qos` 1), or a PUBREC that refuses (2), for identifiers from `first_id` on: what is to be settled, and how many were not in flight so."""
        return self._end(first_id, count, qos, _SENT)

    def completed(self, first_id: int, count: int) -> int:
        """PUBCOMP for identifiers from `first_id` on; how many were not in flight so."""
        return self._end(first_id, count, 2, _RELEASED)[1]

    def _end(self, first_id: int, count: int, qos: int, state: int) -> tuple[list[Span], int]:
        ended = []
        unknown = 0
        while count:
            index = self._find(first_id, qos, state)
            if index < 0:
                step = 1
                unknown += 1
            else:
                span = self._spans[index]
                at = first_id - span.first_id
                step = min(count, span.count - at)
                ended.append(span.part(at, step))
                self._cut(index, at, step)
                self.count -= step
                self._out -= step
            first_id += step
            count -= step
        return ended, unknown

    def received(self, first_id: int, count: int) -> tuple[list[Span], int]:
        """PUBREC for identifiers from `first_id` on: what is to be settled, and how many were neither waiting for it nor released before.

        PUBREL is due for all of them: with the reason that its identifier is not found, of version 5, for the latter (4.3.3).
        """
        settled = []
        unknown = 0
        while count:
            index = self._find(first_id, 2, _SENT)
            step = 1
            if index >= 0:
                span = self._spans[index]
                at = first_id - span.first_id
                step = min(count, span.count - at)
                part = span.part(at, step)
                settled.append(part)
                self._cut(index, at, step, make_span(part.source, part.first, step, part.first_id, 2, _RELEASED))
            elif self._find(first_id, 2, _RELEASED) < 0:
                unknown += 1
            first_id += step
            count -= step
        return settled, unknown

    def is_released(self, packet_id: int) -> bool:
        """Whether PUBREL is sent for that identifier, or is to be, and no PUBCOMP has come."""
        return self._find(packet_id, 2, _RELEASED) >= 0

    def _find(self, packet_id: int, qos: int, state: int) -> int:
        """Index of the span where that identifier is in flight on this connection; -1: nowhere."""
        for index in range(len(self._spans)):
            span = self._spans[index]
            if span.first_id <= packet_id < span.first_id + span.count:
                return index if span.qos == qos and span.state == state and span.is_out else -1
        return -1

    def _cut(self, index: int, at: int, count: int, instead: Span | None = None) -> int:
        """Take `count` messages from `at` on out of a span; `instead` comes to their place, joined to what is before it where it goes on."""
        span = self._spans[index]
        if instead is None and not at:
            if count == span.count:
                del self._spans[index]
            else:
                span.first += count
                span.first_id += count
                span.count -= count
            return 0
        parts = [span.part(0, at)] if at else []
        if instead is not None:
            before = self._spans[index - 1] if index and not at else None
            if before is not None and _goes_on(before, instead):
                before.count += count
            else:
                parts.append(instead)
        if at + count < span.count:
            parts.append(span.part(at + count, span.count - at - count))
        self._spans[index : index + 1] = parts
        return 0

    # --- another connection -----------------------------------------------------------------------------------------------------------

    def resume(self, receive_maximum: int) -> None:
        """The session goes on with another connection: all is to be sent again (4.4)."""
        self.receive_maximum = receive_maximum
        self._out = 0
        for span in self._spans:
            span.is_out = False

    def restore(self, runs: Iterable[tuple[int, int]]) -> None:
        """Identifiers, (first, count) each, ascending, whose message the client had on another connection: PUBREL is to be sent again."""
        for first_id, count in in_order(runs):
            self._spans.append(make_span(0, 0, count, first_id, 2, RELEASED, False))
            self.count += count

    def again(self) -> list[Span]:
        """What is to be sent now of what was in flight, in order: PUBLISH with DUP where the state is SENT, else PUBREL; as much as the client takes.

        More comes when some of it was acknowledged.
        """
        found = []
        index = 0
        while index < len(self._spans):
            span = self._spans[index]
            if not span.is_out:
                free = self.receive_maximum - self._out
                if span.state == SENT and free < span.count:
                    if free <= 0:
                        break
                    self._spans[index : index + 1] = [span.part(0, free), span.part(free, span.count - free)]
                    span = self._spans[index]
                span.is_out = True
                self._out += span.count
                found.append(span.part(0, span.count))
            index += 1
        return found

    def give_up(self, source: int) -> list[Span]:
        """What is of `source` is in flight no more, but for what the client has already (RELEASED): what is to go back to its place."""
        given = [span for span in self._spans if span.source == source and span.state == SENT]
        self._spans = [span for span in self._spans if span not in given]
        self.count -= sum(span.count for span in given)
        self._out -= sum(span.count for span in given if span.is_out)
        return given

    def spans(self) -> Iterator[Span]:
        """All that is in flight, in order."""
        return iter(self._spans)

    # --- stored -----------------------------------------------------------------------------------------------------------------------

    def pack(self) -> bytes:
        """The stored form."""
        spans = [_SPAN.pack(span.state | (_QOS_2 if span.qos == 2 else 0), span.source, span.first, span.first_id, span.count) for span in self._spans]
        return _HEAD.pack(_VERSION, self._next_id) + b"".join(spans)


def unpack(data: bytes) -> Flights:
    """Of a session that goes on: resume() is to be said of it. CorruptData where it is no stored form."""
    if len(data) < _HEAD.size or data[0] != _VERSION or (len(data) - _HEAD.size) % _SPAN.size:
        raise CorruptData(f"flights of {len(data)} bytes, version {data[:1].hex()}")
    flights = Flights()
    flights._next_id = _HEAD.unpack_from(data)[1]  # noqa: SLF001
    used: set[int] = set()
    for state, source, first, first_id, count in _SPAN.iter_unpack(data[_HEAD.size :]):
        ids = range(first_id, first_id + count)
        if not count or not 0 < first_id <= ID_MAX + 1 - count or state & ~_QOS_2 > RELEASED or state == RELEASED or not used.isdisjoint(ids):
            raise CorruptData(f"flights of {count} identifiers from {first_id}, state {state}")
        used.update(ids)
        flights._spans.append(make_span(source, first, count, first_id, 2 if state & _QOS_2 else 1, state & ~_QOS_2, False))  # noqa: SLF001
        flights.count += count
    if flights._next_id <= OWN_IDS:  # noqa: SLF001
        raise CorruptData(f"flights whose next identifier is {flights._next_id}")  # noqa: SLF001
    return flights


def _goes_on(before: Span, after: Span) -> bool:
    alike = before.source == after.source and before.qos == after.qos and before.state == after.state and before.is_out == after.is_out
    return alike and before.first + before.count == after.first and before.first_id + before.count == after.first_id


def in_order(runs: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ascending runs of identifiers as they were sent: those of the session's own queue begin anew behind OWN_IDS, and begin here behind their widest gap."""
    own: list[tuple[int, int]] = []
    others: list[tuple[int, int]] = []
    for first, count in runs:
        inside = max(0, min(count, _OWN_IDS + 1 - first))
        if inside:
            own.append((first, inside))
        if inside < count:
            others.append((first + inside, count - inside))
    gaps = [first - sum(own[place - 1]) if place else first + _OWN_IDS - sum(own[len(own) - 1]) for place, (first, _) in enumerate(own)]
    start = gaps.index(max(gaps)) if gaps else 0
    return own[start:] + own[:start] + others
