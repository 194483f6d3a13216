"""Figures: what owners say of queues and partitions that are listed, asked for many at once. While an answer is on its way a list waits, WAIT_S at most.

An owner that took longer is passed over by all lists until it has answered: its process stands still, perhaps.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from functools import partial
from typing import Any, TypeAlias

from entrepot.broker.calls.questions import AskPartitions, AskQueues, PartitionFigures, QueueFigures
from entrepot.broker.catalogue.definitions import QueueDefinition, TopicDefinition
from entrepot.broker.front.owner_table import OwnerTable
from entrepot.broker.owners import Owner
from entrepot.model.errors import NotDone, Unavailable

AT_ONCE = 64  # logs that are asked of in a step
WAIT_S = 5.0

OfQueues: TypeAlias = Generator["Waiting", None, dict[bytes, QueueFigures]]
OfPartitions: TypeAlias = Generator["Waiting", None, dict[int, tuple[Owner, PartitionFigures]]]
_ByOwner: TypeAlias = dict[Owner, list[bytes]]


class Waiting:
    """Instead of a row: `count` owners have not answered. Who has nothing else to do sets `then`, which is called when they have."""

    __slots__ = ("count", "then")

    def __init__(self, count: int) -> None:
        self.count = count
        self.then: Callable[[], object] | None = None

    def answered(self) -> None:
        """One has."""
        self.count -= 1
        if self.count == 0 and self.then is not None:
            self.then()

    def over(self) -> None:
        """Nobody waits any longer for those that have not."""
        self.count = 0
        if self.then is not None:
            self.then()


class Figures:
    """By one table of owners. Of what is on its way to another owner, or is gone, there are none."""

    def __init__(self, owners: OwnerTable, scheduler: Any) -> None:
        self._owners = owners
        self._scheduler = scheduler
        self._late: set[Owner] = set()

    def of_queues(self, definitions: Iterable[QueueDefinition]) -> OfQueues:
        """Of some queues, AT_ONCE at most, by the ids of their logs."""
        by_owner: _ByOwner = {}
        for definition in definitions:
            try:
                by_owner.setdefault(self._owners.owner(definition), []).append(definition.log_id)
            except Unavailable:
                continue
        found: dict[bytes, QueueFigures] = yield from self._asked(AskQueues, by_owner)
        return found

    def of_partitions(self, topic: TopicDefinition, numbers: Iterable[int]) -> OfPartitions:
        """Of some partitions of a topic, AT_ONCE at most, by their numbers, and who has them."""
        by_owner: _ByOwner = {}
        place_of: dict[bytes, tuple[int, Owner]] = {}
        for number in numbers:
            log_id = topic.partitions[number]
            try:
                owner = self._owners.owner(topic, number)
            except Unavailable:
                continue
            by_owner.setdefault(owner, []).append(log_id)
            place_of[log_id] = number, owner
        found: dict[bytes, PartitionFigures] = yield from self._asked(AskPartitions, by_owner)
        return {number: (owner, found[log_id]) for log_id, (number, owner) in place_of.items() if log_id in found}

    def _asked(self, question: Callable[[list[bytes]], Any], by_owner: _ByOwner) -> Generator[Waiting, None, dict[bytes, Any]]:
        found: dict[bytes, Any] = {}
        silent = {owner for owner in by_owner if owner not in self._late}
        waiting = Waiting(len(silent))

        def answered(owner: Owner, error: NotDone | None, answer: Any) -> None:
            self._late.discard(owner)
            if owner not in silent or not waiting.count:
                return
            silent.discard(owner)
            if error is None:
                found.update((log_id, figures) for log_id, figures in zip(by_owner[owner], answer, strict=True) if figures is not None)
            waiting.answered()

        def over() -> None:
            self._late |= silent
            waiting.over()

        for owner in list(silent):
            owner.ask(question(by_owner[owner]), partial(answered, owner))
        timer = self._scheduler.call_later(WAIT_S, over) if waiting.count else None
        try:
            while waiting.count:
                yield waiting
        finally:
            if timer is not None:
                timer.cancel()
        return found
