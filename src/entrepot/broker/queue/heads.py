"""Heads: what a queue asks of who takes records from its head that are not delivered. head_drops.py does so; a queue is handed it."""

from __future__ import annotations

from typing import Protocol

from entrepot.broker.subscription.consumer import Consumer

BURY_MAX = 256  # records dead-lettered per tick and queue


class Heads(Protocol):
    """Of one queue."""

    def expire(self) -> int:
        """See HeadDrops."""

    def drop_overflow(self) -> None:
        """See HeadDrops."""

    def drop_first(self, count: int) -> int:
        """See HeadDrops."""

    def bury_overdelivered(self) -> None:
        """See HeadDrops."""

    def release_or_bury(self, consumer: Consumer, first: int, count: int) -> int:
        """See HeadDrops."""

    def set_timer(self) -> None:
        """See HeadDrops."""

    def close(self) -> None:
        """See HeadDrops."""


class NoHeads:
    """Of a queue that has ended: nothing leaves it any more."""

    def expire(self) -> int:
        """None are."""
        return 0

    def drop_overflow(self) -> None:
        """None are."""

    def drop_first(self, count: int) -> int:
        """None are."""
        return 0

    def bury_overdelivered(self) -> None:
        """None are."""

    def release_or_bury(self, consumer: Consumer, first: int, count: int) -> int:
        """None are."""
        return 0

    def set_timer(self) -> None:
        """There is nothing to wait for."""

    def close(self) -> None:
        """It is."""


NO_HEADS = NoHeads()
