"""RemoteLane: the number of a lane over a link. Lanes: those of one owner there, registered before they are named, and given back when nobody has them.

What is registered at one start of the owner is registered anew at the next, when it is named there: a lane stands for ids of logs.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from entrepot.broker.owners import Lane, Owner
from entrepot.cluster.owners.words import LaneIs, LanesEnd


class _Start:
    """One start of the owner: numbers registered there of lanes that nobody has any more."""

    __slots__ = ("ended",)

    def __init__(self) -> None:
        self.ended: list[int] = []


class RemoteLane(Lane):
    """`stands`: of a queue with timed leases, as far as its owner has said. `at`: the start at which it is registered."""

    def __init__(self, owner: Owner, words: LaneIs) -> None:
        self.owner = owner
        self.number = words.number
        self.words = words
        self.at: _Start | None = None
        self.stands = True

    def __del__(self) -> None:
        if self.at is not None:
            self.at.ended.append(self.number)


class Lanes:
    """say(words): what the owner is told. `start`: the one that there is now: a lane that is `at` it is registered there."""

    def __init__(self, owner: Owner, say: Callable[[Any], None]) -> None:
        self._owner = owner
        self._say = say
        self._count = 0
        self.start = _Start()
        self._timed: weakref.WeakValueDictionary[bytes, RemoteLane] = weakref.WeakValueDictionary()  # by the queue's log
        self._named: weakref.WeakValueDictionary[int, RemoteLane] = weakref.WeakValueDictionary()

    def make(self, address: bytes, log_ids: list[bytes]) -> RemoteLane:
        """Of an address. Nothing is said of it before it is used."""
        self._count += 1
        return RemoteLane(self._owner, LaneIs(self._count, address, log_ids, False))

    def timed(self, log_id: bytes) -> RemoteLane:
        """Of a queue: one for all that have it, as long as it stands."""
        lane = self._timed.get(log_id)
        if lane is None or not lane.stands:
            self._count += 1
            lane = RemoteLane(self._owner, LaneIs(self._count, b"", [log_id], True))
            self._timed[log_id] = lane
            self._named[lane.number] = lane
        return lane

    def number(self, lane: Lane) -> int:
        """What it is named by, to an owner that knows it by then."""
        assert isinstance(lane, RemoteLane)
        if lane.at is not self.start:
            lane.at = self.start
            self.tidy()
            self._say(lane.words)
        return lane.number

    def gone(self, number: int) -> None:
        """That one stands for its queue no more; nothing if nobody has it."""
        lane = self._named.get(number)
        if lane is not None:
            lane.stands = False

    def tidy(self) -> None:
        """Have those be forgotten there that nobody has here."""
        ended = self.start.ended
        if ended:
            self.start.ended = []
            self._say(LanesEnd(ended))

    def begin(self) -> None:
        """Another start of the owner: none is registered there."""
        self.start = _Start()
