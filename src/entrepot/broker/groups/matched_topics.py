"""Matched: the topics that an expression means, kept from one look to the next.

It is compiled for each look that finds new topics: that is seldom, and what is compiled would take far more memory than what members say.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from entrepot.broker.groups.work import at_once
from entrepot.broker.users.name_pattern import NamePattern

PIECE = 64  # names looked at between two looks at what they cost
_COMPARED = 64  # names compared in a step


class Matched:
    """The topics that an expression means: only those are looked at that were not there before."""

    __slots__ = ("_looked_at", "_permissions", "_text", "topics")

    def __init__(self, text: str) -> None:
        self._text = text
        self._looked_at: frozenset[str] = frozenset()
        self.topics: frozenset[str] = frozenset()
        self._permissions: int | None = None

    def looking(self, names: frozenset[str], may_read: Callable[[str], bool], permissions: int) -> Generator[int, None, None]:
        """Look at those of `names` that were not there before, in pieces, so that among() has nothing left to do."""
        if permissions == self._permissions and names is self._looked_at:
            return
        looked_at = self._looked_at if permissions == self._permissions else frozenset()
        matching = set(self.topics & names) if looked_at else set()
        came = list(names - looked_at)
        yield len(names) // _COMPARED
        pattern = NamePattern(self._text) if came else None
        for at in range(0, len(came), PIECE):
            for name in came[at : at + PIECE]:
                if pattern is not None and (yield from pattern.matching(name)) and may_read(name):
                    matching.add(name)
            yield PIECE
        self._looked_at, self.topics, self._permissions = names, frozenset(matching), permissions

    def among(self, names: frozenset[str], may_read: Callable[[str], bool], permissions: int) -> frozenset[str]:
        """Those of `names` that match and may be read; `permissions` is another number when may_read may answer otherwise."""
        at_once(self.looking(names, may_read, permissions))
        return self.topics
