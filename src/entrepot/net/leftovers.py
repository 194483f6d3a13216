"""Leftovers: what long requests were read into and asked with, which is let go of little by little.

A list of a hundred thousand elements whose last owner drops it is freed in one go, in more than ten milliseconds. Whoever has had a request answered
leaves its lists here instead. They are emptied a stretch in a turn of the loop, from their ends; so nobody else may be using them, and what somebody
else still holds is not touched.
"""

from __future__ import annotations

import sys
from collections import deque
from typing import Any

LOOKS_MAX = 100  # turns in which a container is found to be somebody else's too, until it is left to that one


def _owners(holder: list[Any]) -> int:
    """Of what `holder` holds and nothing else here does; the interpreter's own references count."""
    return sys.getrefcount(holder[0])


SOLE = _owners([[]])


class Leftovers:
    """Of one process."""

    __slots__ = ("_held", "_shared")

    def __init__(self) -> None:
        self._held: deque[tuple[list[Any], int]] = deque()  # (holder of one container, in how many turns it was shared)
        self._shared: deque[tuple[list[Any], int]] = deque()

    def __len__(self) -> int:
        """How many containers are held."""
        return len(self._held) + len(self._shared)

    def add(self, containers: list[Any]) -> None:
        """Let go of the lists and dicts that are in it, and of what long ones are in them; of all else at once. `containers` is emptied."""
        while containers:
            container = containers.pop()
            if isinstance(container, (list, dict)) and container:
                self._held.append(([container], 0))

    def let_go(self, count: int) -> int:
        """Of about so many elements; how many it was."""
        self._held.extend(self._shared)
        self._shared.clear()
        left = count
        while self._held and left > 0:
            holder, looks = self._held.popleft()
            left -= 1
            if _owners(holder) > SOLE:
                if looks < LOOKS_MAX:
                    self._shared.append((holder, looks + 1))
                continue
            left = self._empty(holder[0], left)
            if holder[0]:
                self._held.appendleft((holder, looks))
        return count - left

    def _empty(self, container: Any, left: int) -> int:
        """From its end, as long as there are `left`; containers in it are held of their own."""
        if isinstance(container, list):
            while container and left > 0:
                left -= 1
                self._keep(container.pop())
        elif isinstance(container, dict):
            while container and left > 0:
                left -= 1
                self._keep(container.popitem()[1])
        return left

    def _keep(self, element: Any) -> None:
        """What an element holds of lists and dicts does not go with it."""
        if isinstance(element, list):
            if element:
                self._held.append(([element], 0))
        elif isinstance(element, dict):
            for value in element.values():
                if isinstance(value, (list, dict)) and value:
                    self._held.append(([value], 0))
