"""Queues of a load that has several."""

from __future__ import annotations


def names_of(queue: str, count: int) -> list[str]:
    """Of so many queues; one has the name itself."""
    return [queue] if count == 1 else [f"{queue}-{number}" for number in range(count)]
