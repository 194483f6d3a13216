"""Matched: the topics that a pattern means, kept from one look to the next."""

from __future__ import annotations

from collections.abc import Callable, Generator

from entrepot.broker.groups.work import at_once
from entrepot.broker.name_pattern import NamePattern

PIECE = 64  # names looked at between two looks at what they cost
_COMPARED = 64  # names compared in a step


class Matched:
    """The topics that a pattern means: only those are looked at that were not there before."""

    __slots__ = ("_looked_at", "_matching", "_pattern", "_permissions")

    def __init__(self, pattern: NamePattern) -> None:
        self._pattern = pattern
        self._looked_at: frozenset[str] = frozenset()
        self._matching: frozenset[str] = frozenset()
        self._permissions: int | None = None

    def looking(self, names: frozenset[str], may_read: Callable[[str], bool], permissions: int) -> Generator[int, None, None]:
        """Look at those of `names` that were not there before, in pieces, so that among() has nothing left to do."""
        if permissions == self._permissions and names is self._looked_at:
            return
        looked_at = self._looked_at if permissions == self._permissions else frozenset()
        matching = set(self._matching & names) if looked_at else set()
        came = list(names - looked_at)
        yield len(names) // _COMPARED
        for at in range(0, len(came), PIECE):
            for name in came[at : at + PIECE]:
                if (yield from self._pattern.matching(name)) and may_read(name):
                    matching.add(name)
            yield PIECE
        self._looked_at, self._matching, self._permissions = names, frozenset(matching), permissions

    def among(self, names: frozenset[str], may_read: Callable[[str], bool], permissions: int) -> frozenset[str]:
        """Those of `names` that match and may be read; `permissions` is another number when may_read may answer otherwise."""
        at_once(self.looking(names, may_read, permissions))
        return self._matching
