"""Which sequence numbers of each publisher were received: one bit each, so gaps and duplicates are counted exactly.

There is one ledger for everything that must be received once in all: the consumers that share queues share one,
each consumer of a fan-out has its own.
"""

from __future__ import annotations


class Stream:
    """One publisher's sequence numbers."""

    def __init__(self) -> None:
        self.bits = bytearray(8192)
        self.capacity = 65536
        self.distinct = 0
        self.duplicates = 0
        self.first = 0
        self.end = 0

    def note(self, first: int, count: int) -> int:
        """Notes first .. first+count-1; 1 if that is too far ahead to be believed, else 0."""
        end = first + count
        if end > self.capacity:
            if end - self.capacity > 268_435_456:  # 2^28 ahead: not a sequence number of ours
                return 1
            self._reach(end)
        if self.distinct == 0 or first < self.first:
            self.first = first
        if end > self.end:
            self.end = end
        bits = self.bits
        at = first
        while at < end:
            byte = at >> 3
            if (at & 7) == 0 and end - at >= 8 and bits[byte] == 0:
                bits[byte] = 255
                self.distinct += 8
                at += 8
                continue
            bit = 1 << (at & 7)
            if bits[byte] & bit:
                self.duplicates += 1
            else:
                bits[byte] = bits[byte] | bit
                self.distinct += 1
            at += 1
        return 0

    def _reach(self, end: int) -> int:
        capacity = self.capacity * 2
        while capacity < end:
            capacity *= 2
        self.bits.extend(bytes((capacity - self.capacity) >> 3))
        self.capacity = capacity
        return 0

    def has(self, sequence: int) -> bool:
        """Whether this sequence number was received."""
        return sequence < self.capacity and bool(self.bits[sequence >> 3] >> (sequence & 7) & 1)

    def gaps(self) -> int:
        """Numbers missing between the first and the last that were received."""
        return self.end - self.first - self.distinct


class Ledger:
    """The streams of all publishers, by number."""

    def __init__(self) -> None:
        self.streams: list[Stream] = []

    def stream(self, publisher: int) -> Stream:
        """This publisher's stream, made on first use."""
        while len(self.streams) <= publisher:
            self.streams.append(Stream())
        return self.streams[publisher]

    def duplicates(self) -> int:
        """How often something was received again."""
        return sum(stream.duplicates for stream in self.streams)

    def gaps(self) -> int:
        """Numbers missing within what was received."""
        return sum(stream.gaps() for stream in self.streams)
