"""Timed leases: each with an id and a deadline, for what is settled by a handle (SQS, share groups, an ack timeout).

They live beside a connection's leases in one Subscription, which holds them under the consumer id TIMED. Times are the shard's, in
milliseconds since 1970.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right

from entrepot.broker.subscription.leases import Subscription

TIMED = 0xFFFFFFFFFFFFFFFE  # the consumer id of all timed leases; connections' ids are small
NO_DEADLINE = 0xFFFFFFFFFFFFFFFF
LEASE_ID_SIZE = 16  # bytes


class _Run:
    """[first, end) under one lease id with one deadline."""

    __slots__ = ("deadline_ms", "end", "first", "lease_id")

    def __init__(self, first: int, end: int, deadline_ms: int, lease_id: bytes) -> None:
        self.first = first
        self.end = end
        self.deadline_ms = deadline_ms
        self.lease_id = lease_id


class TimedLeases:
    """The timed leases of one subscription.

    `deltas` gathers what has to be persisted, as (first, end, deadline_ms, lease id), deadline 0 for what ended; the caller stages
    and clears it. A lease id that does not fit the offset any more (expired, taken again) is ignored, as SQS does with an old handle.
    """

    def __init__(self, subscription: Subscription) -> None:
        self.subscription = subscription
        self.deltas: list[tuple[int, int, int, bytes]] = []
        self._firsts: list[int] = []  # ascending, beside _runs
        self._runs: list[_Run] = []
        self._due: list[tuple[int, int]] = []  # heap of (deadline_ms, first); stale ones are skipped

    def __len__(self) -> int:
        """How many runs of leases there are."""
        return len(self._runs)

    def restore(self, leases: list[tuple[int, int, int, bytes]]) -> None:
        """At opening: lease again what was leased, as far as it is not settled."""
        for first, end, deadline_ms, lease_id in leases:
            position = self.subscription.next_ready(first)
            while position < end:
                stop = min(end, self.subscription.ready_until(position))
                taken = self.subscription.take_range(TIMED, position, stop - position)
                assert taken, (position, stop)
                self._insert(_Run(position, position + taken, deadline_ms, lease_id))
                position = self.subscription.next_ready(position + taken)

    def take(self, lease_id: bytes, deadline_ms: int, limit: int, below: int) -> int:
        """As Subscription.take(), under a lease of that id until `deadline_ms`."""
        taken = self.subscription.take(TIMED, limit, below)
        if taken:
            self._lease(self.subscription.taken_first, taken, deadline_ms, lease_id)
        return taken

    def take_range(self, lease_id: bytes, deadline_ms: int, first: int, count: int) -> int:
        """As Subscription.take_range(), under a lease of that id until `deadline_ms`."""
        taken = self.subscription.take_range(TIMED, first, count)
        if taken:
            self._lease(first, taken, deadline_ms, lease_id)
        return taken

    def extend(self, lease_id: bytes, first: int, count: int, deadline_ms: int) -> int:
        """Give what is still leased under that id within [first, +count) a new deadline; how many."""
        extended = 0
        for low, high in self._cut(lease_id, first, first + count):
            self._lease(low, high - low, deadline_ms, lease_id)
            extended += high - low
        return extended

    def settle(self, lease_id: bytes, first: int, count: int) -> int:
        """Settle what is still leased under that id within [first, +count); how many."""
        settled = 0
        for low, high in self._cut(lease_id, first, first + count):
            settled += self.subscription.settle(TIMED, low, high - low)
            self.deltas.append((low, high, 0, lease_id))
        return settled

    def release(self, lease_id: bytes, first: int, count: int, count_delivery: bool = True) -> int:
        """Return what is still leased under that id within [first, +count); how many."""
        released = 0
        for low, high in self._cut(lease_id, first, first + count):
            released += self.subscription.release(TIMED, low, high - low, count_delivery)
            self.deltas.append((low, high, 0, lease_id))
        return released

    def lease_of(self, offset: int) -> tuple[bytes, int] | None:
        """(lease id, deadline_ms) of an offset, if a timed lease holds it."""
        index = bisect_right(self._firsts, offset) - 1
        if index < 0 or self._runs[index].end <= offset:
            return None
        return self._runs[index].lease_id, self._runs[index].deadline_ms

    def next_deadline(self) -> int:
        """When expire() has something to do next, in ms; NO_DEADLINE if never."""
        while self._due:
            deadline_ms, first = self._due[0]
            run = self._starting_at(first)
            if run is not None and run.deadline_ms == deadline_ms:
                return deadline_ms
            heapq.heappop(self._due)
        return NO_DEADLINE

    def expire(self, now_ms: int) -> list[tuple[int, int]]:
        """Return every lease whose deadline has come; the ranges, in order of their deadlines."""
        released: list[tuple[int, int]] = []
        while self.next_deadline() <= now_ms:
            run = self._starting_at(heapq.heappop(self._due)[1])
            assert run is not None
            self.release(run.lease_id, run.first, run.end - run.first)
            released.append((run.first, run.end))
        return released

    # ---- runs

    def _lease(self, first: int, count: int, deadline_ms: int, lease_id: bytes) -> None:
        assert len(lease_id) == LEASE_ID_SIZE, lease_id
        self._insert(_Run(first, first + count, deadline_ms, lease_id))
        self.deltas.append((first, first + count, deadline_ms, lease_id))

    def _insert(self, run: _Run) -> None:
        index = bisect_right(self._firsts, run.first)
        self._firsts.insert(index, run.first)
        self._runs.insert(index, run)
        heapq.heappush(self._due, (run.deadline_ms, run.first))

    def _starting_at(self, first: int) -> _Run | None:
        index = bisect_right(self._firsts, first) - 1
        return self._runs[index] if index >= 0 and self._firsts[index] == first else None

    def _cut(self, lease_id: bytes, first: int, end: int) -> list[tuple[int, int]]:
        """Take [first, end) out of the runs of that lease id; the ranges that were there."""
        cut: list[tuple[int, int]] = []
        index = max(bisect_right(self._firsts, first) - 1, 0)
        while index < len(self._runs) and self._runs[index].first < end:
            run = self._runs[index]
            low = max(run.first, first)
            high = min(run.end, end)
            if low >= high or run.lease_id != lease_id:
                index += 1
                continue
            cut.append((low, high))
            del self._firsts[index], self._runs[index]
            if run.first < low:
                self._insert(_Run(run.first, low, run.deadline_ms, lease_id))
                index += 1
            if high < run.end:
                self._insert(_Run(high, run.end, run.deadline_ms, lease_id))
                index += 1
        return cut
