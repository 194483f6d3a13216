"""Waits: Receives that wait, by when they give up: a wheel of slots of 10 ms, each a chain through its calls; one timer for all.

A waiting call costs the call itself, and is taken out in no time wherever it stands.
"""

from __future__ import annotations

import heapq
from typing import Any

from entrepot.broker.calls.lease_calls import Receive
from entrepot.broker.logs.hub import Hub

SLOT_MS = 10
_SLOT = SLOT_MS


class Waits:
    """One per broker. over(call) is called when its time is up, once, after it was taken out."""

    __slots__ = ("count", "hub", "over", "slots", "slots_due", "timer", "timer_slot")

    count: int

    def __init__(self, hub: Hub, over: Any) -> None:
        self.hub = hub
        self.over = over
        self.count = 0
        self.slots: dict[int, Receive] = {}  # the first of each
        self.slots_due: list[int] = []  # a heap of their numbers; what is not in `slots` any more is passed over
        self.timer: Any = None
        self.timer_slot = 0

    def add(self, call: Receive, wait_ms: int) -> None:
        """Have it wait so long."""
        slot = (self.now_ms() + wait_ms + _SLOT - 1) // _SLOT
        first = self.slots.get(slot)
        call.slot = slot
        call.slot_before = None
        call.slot_after = first
        if first is None:
            heapq.heappush(self.slots_due, slot)
            if self.timer is None or slot < self.timer_slot:
                self.set_timer(slot)
        else:
            first.slot_before = call
        self.slots[slot] = call
        self.count += 1

    def remove(self, call: Receive) -> None:
        """It waits no more; nothing if it does not."""
        if call.slot < 0:
            return
        before = call.slot_before
        after = call.slot_after
        if before is not None:
            before.slot_after = after
        elif after is not None:
            self.slots[call.slot] = after
        else:
            del self.slots[call.slot]
        if after is not None:
            after.slot_before = before
        call.slot = -1
        call.slot_before = None
        call.slot_after = None
        self.count -= 1

    def set_timer(self, slot: int) -> None:
        """Wake up for that slot."""
        if self.timer is not None:
            self.timer.cancel()
        self.timer_slot = slot
        delay_ms = slot * _SLOT - self.now_ms()
        self.timer = self.hub.scheduler.call_later(max(delay_ms, 1) / 1000, self.due)

    def due(self) -> None:
        """Whose time is up is told."""
        self.timer = None
        now_ms = self.now_ms()
        while self.slots_due and (self.slots_due[0] * _SLOT <= now_ms or self.slots_due[0] not in self.slots):
            slot = heapq.heappop(self.slots_due)
            call = self.slots.get(slot)
            while call is not None:
                self.remove(call)
                self.over(call)
                call = self.slots.get(slot)
        if self.slots_due and (self.timer is None or self.slots_due[0] < self.timer_slot):
            self.set_timer(self.slots_due[0])

    def now_ms(self) -> int:
        """The scheduler's time."""
        return int(self.hub.scheduler.time() * 1000)
