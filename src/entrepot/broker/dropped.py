"""Dropped: what is lost because somebody who is away has too much waiting: a count, and who is told."""

from __future__ import annotations

from collections.abc import Callable


class Dropped:
    """What all such queues of one broker have dropped. journal(text): for the operator, once for each queue and start."""

    def __init__(self) -> None:
        self.count = 0
        self.journal: Callable[[str], None] = _unheard


def _unheard(_: str) -> None:
    """Nobody listens."""
