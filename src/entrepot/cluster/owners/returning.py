"""Returning: the first moments of a start whose process was there before: nobody here is given anything until fronts elsewhere have said who holds what.

Made before the first Crossing of the start. Consumers of this process, and whoever else asks its owners directly, are let in after that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from entrepot.broker.logs.hub import Hub
from entrepot.cluster.owners.crossing import Crossing
from entrepot.model.errors import CorruptData
from entrepot.store.interface import Scheduler

LIMIT_S = 2.0  # that is waited for, once its shards are open; as long again while claims are coming, of very many consumers,
LIMITS_MAX = 5  # but no more often than this
LOOK_S = 0.005  # until it is looked again whether they are


class Returning:
    """`names`: the processes whose fronts are expected to claim. over() is called once they have, or are gone, or the time is over.

    is_open(): whether all that this process has is alive again, with what its outbox holds; nobody may claim before. corrupt(crossing, error): what waited
    of a front cannot be understood: its start is to be declared dead.
    """

    def __init__(
        self,
        hub: Hub,
        scheduler: Scheduler,
        names: Iterable[str],
        is_open: Callable[[], bool],
        over: Callable[[], None],
        corrupt: Callable[[Crossing, CorruptData], None],
    ) -> None:
        self._hub = hub
        self._scheduler = scheduler
        self._names = set(names)
        self._crossings: dict[str, Crossing] = {}
        self._is_open = is_open
        self._over = over
        self._corrupt = corrupt
        self._has_opened = False
        self._claimed = 0  # when it was looked last
        self._limits = 0  # that have passed
        self.is_over = False
        hub.hold()
        self._timer = scheduler.call_later(0.0, self._open)

    def linked(self, crossing: Crossing) -> None:
        """There is one with a start of one of them; one before of the same is dead."""
        if self.is_over:
            return
        self._crossings[crossing.link.name] = crossing
        crossing.claimed = self._look
        if self._has_opened:
            self._let(crossing, crossing.heed_claims)
        self._look()

    def gone(self, name: str) -> None:
        """Nobody is expected of that name any more, for now."""
        if not self.is_over:
            self._names.discard(name)
            self._crossings.pop(name, None)
            self._look()

    def _open(self) -> None:
        if not self._is_open():
            self._timer = self._scheduler.call_later(LOOK_S, self._open)
            return
        self._has_opened = True
        self._timer = self._scheduler.call_later(LIMIT_S, self._late)
        for crossing in list(self._crossings.values()):
            self._let(crossing, crossing.heed_claims)
        self._look()

    def _let(self, crossing: Crossing, go_on: Callable[[], None]) -> None:
        try:
            go_on()
        except CorruptData as error:
            self._corrupt(crossing, error)

    def _look(self) -> None:
        have = self._crossings
        if self._has_opened and not self.is_over and all(name in have and have[name].has_claimed for name in self._names):
            self._end()

    def _late(self) -> None:
        """The time is over, unless somebody who has begun to claim is amid it."""
        before, self._claimed = self._claimed, sum(one.claim_count for one in self._crossings.values() if not one.has_claimed)
        self._limits += 1
        if self._claimed > before and self._limits < LIMITS_MAX:
            self._timer = self._scheduler.call_later(LIMIT_S, self._late)
        else:
            self._end()

    def _end(self) -> None:
        if self.is_over:
            return
        self.is_over = True
        self._timer.cancel()
        for crossing in list(self._crossings.values()):
            self._let(crossing, crossing.go_on)
        self._hub.go_on()
        self._over()
