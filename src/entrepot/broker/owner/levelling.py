"""Levelling: what is published to queues with priorities goes to the logs of their levels, each record to its own.

A run is sorted by its codec, compiled; here is what of it goes to one level. Neighbours join one entry, as those of a lane do (logs/growing.py).
A record by itself has nothing to be sorted: LevelLanes says where it goes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from entrepot.broker.calls.port import Publish
from entrepot.broker.logs.entry_codec import EntryCodec
from entrepot.broker.logs.growing import Growing
from entrepot.broker.logs.hub import Hub
from entrepot.broker.owners import Lane
from entrepot.broker.queue.priority_queue import PriorityQueue
from entrepot.broker.queue.queue import Queue
from entrepot.broker.topic.partition import Partition
from entrepot.model.entry import TRANSIENT, Entry, make_entry
from entrepot.store.interface import Log, Store

Target: TypeAlias = Queue | Partition


class Tail:
    """The end of one level's log: the entry there that may still grow."""

    __slots__ = ("entry", "logs", "prefix", "tag")

    def __init__(self, log: Log) -> None:
        self.logs = [log]
        self.entry: Entry | None = None
        self.prefix = b""
        self.tag = 0

    def let_go(self) -> None:
        """See Growing."""
        self.entry = None


_LANES_MAX = 8


class LevelLanes:
    """For an address that leads to one queue with priorities: a lane of each level, where a record by itself goes as it goes to any queue."""

    __slots__ = ("_lanes", "_make", "_queue")

    def __init__(self, queue: PriorityQueue, make: Callable[[list[Target]], Lane]) -> None:
        self._queue = queue
        self._make = make
        self._lanes: dict[int, Lane] = {}

    def of(self, codec: EntryCodec, call: Publish) -> Lane:
        """Of a call with one record. Unavailable."""
        number = codec.by_priority(call.data, 1, self._queue.top)[0][0]
        lane = self._lanes.get(number)
        if lane is None:
            if len(self._lanes) >= _LANES_MAX:  # of as many addresses as there may be
                self._lanes.clear()
            lane = self._lanes[number] = self._make([self._queue.level(number)])
        return lane


def level_lanes(targets: list[Target], make: Callable[[list[Target]], Lane]) -> LevelLanes | None:
    """For a lane with these targets, if there is but one, which takes whatever comes and has only to be sorted."""
    queue = targets[0] if len(targets) == 1 else None
    return LevelLanes(queue, make) if isinstance(queue, PriorityQueue) and not queue.rejects_when_full and queue.bytes_max < 0 else None


class Levelling:
    """Of one store."""

    def __init__(self, hub: Hub, store: Store, growing: Growing) -> None:
        self._hub = hub
        self._store = store
        self._growing = growing

    def append(self, queues: list[PriorityQueue], call: Publish, prefix: bytes, data: bytes, count: int) -> None:
        """Append `count` records of a call to their levels. What has begun is not refused: sets the store's `whole`, which is the caller's to set back."""
        codec = self._hub.codec(call.codec)
        if len(queues) == 1:
            for number, records, many in codec.by_priority(data, count, queues[0].top):
                self._grow(queues[0], number, call, prefix, records, many)
                self._store.whole = True
            return
        for top in {queue.top for queue in queues}:
            alike = [queue for queue in queues if queue.top == top]
            for number, records, many in codec.by_priority(data, count, top):
                entry = make_entry(call.codec, call.codec_version, call.flags, prefix, records, many)
                self._store.append([queue.level(number).log for queue in alike], entry)
                self._store.whole = True

    def _grow(self, queue: PriorityQueue, number: int, call: Publish, prefix: bytes, records: bytes, many: int) -> None:
        """To one level: as a part of its last entry, where that may grow."""
        tail = queue.tails.get(number)
        if tail is None:
            tail = queue.tails[number] = Tail(queue.level(number).log)
        entry = tail.entry
        alike = entry is not None and tail.prefix == prefix and tail.tag == call.codec and not (entry.flags ^ call.flags) & TRANSIENT
        if entry is not None and alike and self._store.extend(tail.logs, entry, records, many):
            entry.flags |= call.flags
            return
        entry = make_entry(call.codec, call.codec_version, call.flags, prefix, records, many)
        self._store.append(tail.logs, entry)
        self._growing.note(tail)
        tail.entry, tail.prefix, tail.tag = entry, prefix, call.codec
