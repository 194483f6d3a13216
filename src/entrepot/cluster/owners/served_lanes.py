"""ServedLanes: lanes that a front in another process has registered here, each found anew whenever something has ended."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from entrepot.broker.owner.local_owner import LocalOwner
from entrepot.broker.owners import Lane
from entrepot.cluster.owners.words import LaneIs
from entrepot.model.errors import CorruptData, NotDone


class ServedLane:
    """`live`: at hand; None: something has ended since. `shards`: of its logs, once they were open here. `why`: a timed one's queue is gone for that."""

    __slots__ = ("address", "is_timed", "live", "log_ids", "number", "shards", "why")

    def __init__(self, words: LaneIs) -> None:
        self.number = words.number
        self.address = words.address
        self.log_ids = words.log_ids
        self.is_timed = words.is_timed
        self.live: Lane | None = None
        self.shards: list[int] | None = None
        self.why: NotDone | None = None


class ServedLanes:
    """Of one link, at one owner. gone(number): a queue with timed leases has none any more."""

    def __init__(self, owner: LocalOwner, gone: Callable[[int], None]) -> None:
        self._owner = owner
        self._gone = gone
        self._lanes: dict[int, ServedLane] = {}
        self._at_hand: dict[ServedLane, None] = {}  # those of addresses that are live
        self._timed: dict[int, ServedLane] = {}  # of those, the ones with timed leases that stand

    def put(self, words: LaneIs) -> None:
        """One more. Raises CorruptData."""
        if words.number in self._lanes or (words.is_timed and len(words.log_ids) != 1):
            raise CorruptData(f"lane {words.number} is registered again, or leads to {len(words.log_ids)} queues")
        lane = self._lanes[words.number] = ServedLane(words)
        with contextlib.suppress(NotDone):  # who names it will be told
            self.live(lane)

    def drop(self, numbers: list[int]) -> None:
        """They are not named again."""
        for number in numbers:
            lane = self._lanes.pop(number, None)
            self._timed.pop(number, None)
            if lane is not None:
                self._at_hand.pop(lane, None)

    def get(self, number: int, is_timed: bool) -> ServedLane:
        """That one. Raises CorruptData."""
        lane = self._lanes.get(number)
        if lane is None or lane.is_timed != is_timed:
            raise CorruptData(f"lane {number} is named, and was not registered so")
        return lane

    def live(self, lane: ServedLane) -> Lane:
        """What it leads to now: all of its logs that are not deleted. Unavailable: one of them is not open here."""
        if lane.live is not None:
            return lane.live
        if lane.why is not None:
            raise lane.why.again()
        if lane.is_timed:
            lane.live = self._owner.timed(lane.log_ids[0])
            self._timed[lane.number] = lane
            return lane.live
        if lane.shards is not None:
            left = set(self._owner.left_of(lane.log_ids, lane.shards))
            if len(left) < len(lane.log_ids):
                kept = [(log_id, shard) for log_id, shard in zip(lane.log_ids, lane.shards, strict=True) if log_id in left]
                lane.log_ids, lane.shards = [log_id for log_id, _ in kept], [shard for _, shard in kept]
        live = self._owner.lane(lane.address, lane.log_ids)
        lane.shards = self._owner.shards_of(lane.log_ids)
        lane.live = live
        self._at_hand[lane] = None
        return live

    def let_go(self) -> None:
        """Something has ended here: nothing is kept of it, and who has a queue with timed leases hears it."""
        for number, lane in list(self._timed.items()):
            if lane.live is not None and not self._owner.holds(lane.live):
                lane.why = self._owner.why_gone(lane.live)
                lane.live = None
                del self._timed[number]
                self._gone(number)
        for lane in self._at_hand:
            lane.live = None
        self._at_hand.clear()

    def timed(self) -> list[Lane]:
        """Those of queues with timed leases."""
        return [lane.live for lane in self._timed.values() if lane.live is not None]
