"""Wandering: shards of a running broker that close at random and open again some time later, and nobody may keep what he had found in one."""

from __future__ import annotations

import gc
from typing import Any

from entrepot.broker.broker import Broker
from entrepot.broker.queue.queue import Queue
from entrepot.broker.timed.timed_queue import TimedQueue
from entrepot.model.errors import Unavailable
from entrepot.simulation.loop import SimulatedLoop
from entrepot.simulation.store_model import Violation

CLOSED_MAX = 3  # shards that are away at once
CLOSES, OPENS = 0.02, 0.06  # how likely in one action
FORGOTTEN_S = 0.3  # after which nothing may refer to what was in a closed shard: about the longest that calls are held back by faults


class Wandering:
    """Of one run. `rate` 0: nothing moves; otherwise what the chances are multiplied with. `also`: shards of other things than logs."""

    def __init__(self, loop: SimulatedLoop, rate: float, also: list[int]) -> None:
        self._loop = loop
        self._chance = loop.random
        self.rate = rate
        self.also = also
        self.closed_count = 0
        self._broker: Broker | None = None
        self._closing: set[int] = set()
        self._closed: list[int] = []

    def begin(self, broker: Broker) -> None:
        """A life of the broker begins, with all shards open."""
        self._broker = broker
        self._closing.clear()
        self._closed.clear()

    def step(self) -> None:
        """Perhaps one closes, or one opens."""
        if self.rate == 0 or self._broker is None:
            return
        what = self._chance.random() / self.rate
        if what < CLOSES:
            self.close(self._chance.choice(self._candidates()))
        elif what < CLOSES + OPENS and self._closed:
            self._open(self._chance.choice(self._closed))

    def is_home(self, shard: int) -> bool:
        """Whether it is open."""
        return shard not in self._closing and shard not in self._closed

    def come_home(self) -> None:
        """All are open again soon, and stay so."""
        self.rate = 0.0
        for shard in list(self._closed):
            self._open(shard)

    def _candidates(self) -> list[int]:
        broker: Any = self._broker
        return sorted({log.shard for log in broker.store.logs()} | set(self.also))

    def close(self, shard: int) -> None:
        """It closes, unless it does not wander, it is closed, or too many are."""
        broker: Any = self._broker
        if self.rate == 0 or len(self._closing) + len(self._closed) >= CLOSED_MAX or shard in self._closing or shard in self._closed:
            return
        self.closed_count += 1
        self._closing.add(shard)
        self._loop.note("closes", shard)
        broker.shard_moves.close(shard, lambda: self._has_closed(broker, shard))

    def _has_closed(self, broker: Broker, shard: int) -> None:
        if broker is not self._broker:
            return
        self._closing.discard(shard)
        self._closed.append(shard)
        self._loop.call_later(FORGOTTEN_S, self._check_forgotten, broker)
        if self.rate == 0:
            self._open(shard)

    def _open(self, shard: int) -> None:
        broker: Any = self._broker
        self._closed.remove(shard)
        self._closing.add(shard)  # neither closed nor open
        self._loop.note("opens", shard)
        broker.shard_moves.open(shard, broker.store.epoch, lambda: self._closing.discard(shard))

    def _check_forgotten(self, broker: Broker) -> None:
        """Nobody refers to a queue that has moved."""
        if broker is not self._broker:
            return
        gc.collect()
        objects = gc.get_objects()
        for found in objects:
            moved = found.queue if isinstance(found, TimedQueue) else found
            if isinstance(moved, Queue) and moved.hub is broker.hub and isinstance(moved.gone, Unavailable) and moved.log.shard not in self._closing:
                holders = {type(one).__name__ for one in gc.get_referrers(found) if one is not objects} - {"frame"}
                if holders:
                    raise Violation(f"{type(found).__name__} '{moved.name}' has moved, and is still known to {', '.join(sorted(holders))}")
