"""Matched: the topics that an expression means, kept from one look to the next.

It is compiled for each look that finds new topics: that is seldom, and what is compiled would take far more memory than what members say.
"""

from __future__ import annotations

from collections.abc import Callable

from entrepot.broker.name_pattern import NamePattern


class Matched:
    """The topics that an expression means: only those are looked at that were not there before."""

    __slots__ = ("_looked_at", "_permissions", "_text", "topics")

    def __init__(self, text: str) -> None:
        self._text = text
        self._looked_at: frozenset[str] = frozenset()
        self.topics: frozenset[str] = frozenset()
        self._permissions: int | None = None

    def among(self, names: frozenset[str], may_read: Callable[[str], bool], permissions: int) -> frozenset[str]:
        """Those of `names` that match and may be read; `permissions` is another number when may_read may answer otherwise."""
        if permissions != self._permissions:
            self._looked_at = self.topics = frozenset()
            self._permissions = permissions
        if names is not self._looked_at:
            came = names - self._looked_at
            self.topics &= names
            if came:
                pattern = NamePattern(self._text)
                self.topics = self.topics.union(name for name in came if pattern.matches(name) and may_read(name))
            self._looked_at = names
        return self.topics
