"""Spread: one consumer that reads partitions of a topic at several owners: to its session one, at each of them a part of it.

Parts have the consumer's own number, and send to its session themselves; what they may send they are lent (lending.py). What is settled of a topic only gives
credit, so it does not matter whose records they were: it is taken from the part that holds most.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from entrepot.broker.front.lending import SharedLimit
from entrepot.broker.owners import Owner
from entrepot.broker.subscription.consumer import Consumer, make_consumer
from entrepot.broker.topic.stream_start import Start
from entrepot.model.errors import NotDone

Done = Callable[[NotDone | None], None]


class Spread(Owner):
    """What its door asks for an owner of `consumer`, and of nobody else."""

    __slots__ = ("_failed", "_freed_last", "_left", "_shared", "consumer", "parts")

    def __init__(self, consumer: Consumer, shared: SharedLimit, owners: list[Owner]) -> None:
        self.consumer = consumer
        self._shared = shared
        self.parts: list[Consumer] = []
        self._left = 0  # owners that have not answered yet
        self._failed: NotDone | None = None
        for owner in owners:
            part = make_consumer(
                consumer.id, consumer.attachment, consumer.token, None, shared.pool(owner), consumer.limit, False, consumer.exclusive, consumer.priority
            )
            part.owner = owner
            part.source = consumer.source
            part.counts = not self.parts
            self.parts.append(part)
        self._freed_last = self.parts[0]
        consumer.owner = self
        consumer.lent = consumer.pool.lent = True

    def begin(self, by_owner: dict[Owner, list[bytes]], start: Start, done: Done) -> None:
        """Ask every owner for its partitions; done() as of Owner.consume(): all of them deliver then, or none."""
        lending = self._shared.lending
        assert lending is not None  # it has entered
        lending.hush(self.consumer.id)
        self._left = len(self.parts)
        for part in self.parts:
            part.owner.consume(part, by_owner[part.owner], start, partial(self._answered, part, done))

    def _answered(self, part: Consumer, done: Done, error: NotDone | None) -> None:
        self._left -= 1
        if error is not None:
            part.active = False
            self._failed = self._failed or error
        if self._left:
            return
        if self._failed is not None:
            self.end(self.consumer)
            done(self._failed)
            return
        done(None)
        if self._shared.lending is not None:
            self._shared.lending.begin(self.consumer.id)

    def freed_last(self) -> Consumer:
        """The part that was settled last."""
        return self._freed_last

    # ---- see Owner: what its door asks

    def settle(self, consumer: Consumer, first: int, count: int, disposition: int) -> None:
        """Somebody holds so many less."""
        while count > 0:
            part = max(self.parts, key=_leased)
            settled = min(count, part.leased)
            if settled == 0:
                break
            self._freed_last = part
            part.owner.settle(part, first, settled, disposition)
            count -= settled
        self._add_up()

    def credit(self, consumer: Consumer) -> None:
        """The connection reads again."""
        for part in self.parts:
            part.owner.credit(part)

    def cancel(self, consumer: Consumer) -> None:
        """Everywhere."""
        consumer.active = False
        for part in self.parts:
            part.owner.cancel(part)
        self._add_up()

    def end(self, consumer: Consumer) -> None:
        """Everywhere it is known."""
        consumer.active = False
        for part in self.parts:
            if part.active or part.leased:
                part.owner.end(part)
        self._add_up()

    def _add_up(self) -> None:
        """The consumer holds what its parts hold."""
        self.consumer.leased = self.consumer.pool.leased = sum(map(_leased, self.parts))


def _leased(part: Consumer) -> int:
    return part.leased
