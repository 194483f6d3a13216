"""Delays: records of one queue that are not to be seen before their time. The schedule keeps them; the subscription holds them under DELAYED."""

from __future__ import annotations

from collections import deque

from entrepot.broker.subscription.schedule import SCHEDULE_PREFIX, Schedule
from entrepot.broker.timed.timed_state import TimedState

DELAYED = 0xFFFFFFFFFFFFFFFD  # the consumer id of what waits for its time
SLICE_S = 0.01  # between two slices of what a deleted queue kept
DUE_MAX = 1024  # runs whose time has come that are released at once; the rest in the next turn


class Delays:
    """Of one queue. A run is what one Send, or several in the same millisecond, delayed until one time."""

    def __init__(self, timed: TimedState) -> None:
        self._timed = timed
        self._sub = timed.sub
        self._schedule = Schedule(timed.store, timed.log.shard, timed.id)
        self._staged: deque[tuple[int, int, int]] = deque()  # (due_ms, first, count) of what is not visible yet
        self._last = (-1, 0, 0)  # the last run added: it grows

    @classmethod
    def of(cls, timed: TimedState) -> Delays | None:
        """At opening: what was kept; None if nothing waits."""
        prefix = SCHEDULE_PREFIX + timed.id
        if not timed.store.scan(timed.log.shard, prefix, prefix + b"\xff" * 17, 1):
            return None
        delays = cls(timed)
        now = timed.now_ms()
        for due_ms, first, count in list(delays._schedule.rows()):
            if due_ms > now:
                timed.sub.hold(DELAYED, first, count)
        return delays

    def add(self, due_ms: int, first: int, count: int) -> None:
        """[first, +count) was just staged: it waits until then."""
        last_due, last_first, last_count = self._last
        if last_due == due_ms and last_first + last_count == first and self._staged and self._staged[-1] == self._last:
            self._staged.pop()
            first = last_first
            count += last_count
        self._last = (due_ms, first, count)
        self._staged.append(self._last)
        self._schedule.add(due_ms, first, count)

    def advanced(self, now_ms: int) -> None:
        """More is visible: hold what is not to be seen yet."""
        end = self._sub.end
        while self._staged and self._staged[0][1] < end:
            due_ms, first, count = self._staged.popleft()
            if first + count > end:
                self._staged.appendleft((due_ms, end, first + count - end))
                count = end - first
            if due_ms > now_ms:
                self._sub.hold(DELAYED, first, count)
        self._timed.arm()

    def next_due(self) -> int:
        """When the next is to be seen."""
        return self._schedule.next_due()

    def dispatch(self, now_ms: int) -> None:
        """Release those whose time has come."""
        if self._schedule.next_due() > now_ms:
            return
        due = self._schedule.due(now_ms, DUE_MAX)
        for first, count, _ in due:
            self._sub.release(DELAYED, first, count, False)
            self._timed.returned(first, count)
        if len(due) == DUE_MAX:
            self._timed.hub.mark_dirty(self._timed.queue)
        self._timed.arm()

    def drop(self) -> None:
        """The queue is purged: so is what was kept."""
        self._schedule.drop()

    def drop_later(self) -> None:
        """The queue is deleted: what was kept goes a slice at a time."""
        if not self._schedule.drop_some(DUE_MAX):
            self._timed.hub.scheduler.call_later(SLICE_S, self.drop_later)
