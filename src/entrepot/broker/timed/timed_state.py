"""TimedState: what the parts of a queue with timed leases share: its log and subscription, its leases, its time, and the timer that ends leases.

TimedQueue makes it and adds the calls; Grants, LeaseEnds, Delays, dead letters and moves are handed it.
"""

from __future__ import annotations

from typing import Any

from entrepot.broker.queue.queue import Queue
from entrepot.broker.timed.group_scan import GroupScan
from entrepot.broker.timed.kept_leases import TIMED, KeptLeases
from entrepot.broker.timed.lease_table import LeaseTable
from entrepot.broker.timed.waiting_line import WaitingLine
from entrepot.broker.timed.waits import Waits

IN_FLIGHT_MAX = 120_000  # as SQS

_TIMED = TIMED
_NEVER = 0xFFFFFFFFFFFFFFFF


class TimedState:
    """Of one queue. `definition` is its TimedDefinition."""

    __slots__ = (
        "definition",
        "delays",
        "ended",
        "hub",
        "id",
        "in_flight_max",
        "kept",
        "last_ms",
        "last_wall_ms",
        "leases",
        "line",
        "log",
        "ordered",
        "queue",
        "scan",
        "sending",
        "store",
        "sub",
        "time",
        "timer",
        "timer_due",
    )

    def __init__(self, queue: Queue, definition: Any, waits: Waits) -> None:
        self.queue = queue
        self.definition = definition
        self.hub = queue.hub
        self.store = queue.store
        self.log = queue.log
        self.sub = queue.subscription
        self.id = queue.log.id
        self.ended = False
        # leases
        self.in_flight_max = IN_FLIGHT_MAX
        self.leases = LeaseTable()
        self.kept = KeptLeases(self.store, self.log, self.leases)
        self.line = WaitingLine(waits)  # who waits for one
        self.ordered = definition.policy.groups
        self.scan: GroupScan | None = GroupScan(queue, True) if self.ordered else None  # None as long as no record is in a group
        self.sending: Any = None  # the Sends to it
        self.delays: Any = None  # its Delays; None as long as nothing was ever delayed
        # time
        self.last_ms = 0
        self.last_wall_ms = -1
        self.time = self.store.shard_time(self.log.shard)
        self.timer: Any = None
        self.timer_due = 0

    def now_ms(self) -> int:
        """The time of the queue's shard."""
        now = self.hub.now_ms()
        if now != self.last_wall_ms:
            self.last_wall_ms = now
            self.last_ms = self.time.at(now)
        return self.last_ms

    # ---- what may be taken

    def release(self, offset: int, row: int) -> None:
        """The lease has ended: the record is ready again."""
        self.leases.lapse(row)
        self.sub.release(_TIMED, offset, 1, False)
        if self.scan is not None:
            self.scan.returned(offset, 1)
        self.hub.mark_dirty(self.queue)

    def returned(self, first: int, count: int) -> None:
        """These may be taken again."""
        if self.scan is not None:
            self.scan.returned(first, count)

    def look_at_groups(self) -> None:
        """Some record is in a group from now on."""
        if self.scan is None:
            self.scan = GroupScan(self.queue, False)

    def taken(self, offset: int) -> None:
        """A connection's consumer has it, or somebody else has, or it is gone."""
        assert self.scan is not None
        if self.sub.is_settled(offset):
            self.scan.window.remove(offset)
        else:
            self.scan.window.taken(offset)

    # ---- the timer

    def arm(self) -> None:
        """Wake up when the next lease ends."""
        due = self.next_due()
        if due == _NEVER or (self.timer is not None and self.timer_due <= due):
            return
        if self.timer is not None:
            self.timer.cancel()
        self.timer_due = due
        delay_ms = due - self.last_ms if due > self.last_ms else 0
        self.timer = self.hub.scheduler.call_later(max(delay_ms, 1) / 1000, self.due)

    def next_due(self) -> int:
        """When the next lease or delay ends."""
        due = self.leases.next_deadline()
        if self.delays is not None:
            other: int = self.delays.next_due()
            if other < due:
                return other
        return due

    def due(self) -> None:
        """Some lease or delay may have ended."""
        self.timer = None
        if not self.ended:
            self.hub.mark_dirty(self.queue)
            if self.next_due() > self.now_ms():
                self.arm()
