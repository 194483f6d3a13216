"""Matched: the topics that a pattern means, kept from one look to the next."""

from __future__ import annotations

from collections.abc import Callable

from entrepot.broker.name_pattern import NamePattern


class Matched:
    """The topics that a pattern means: only those are looked at that were not there before."""

    __slots__ = ("_looked_at", "_matching", "_pattern", "_permissions")

    def __init__(self, pattern: NamePattern) -> None:
        self._pattern = pattern
        self._looked_at: frozenset[str] = frozenset()
        self._matching: frozenset[str] = frozenset()
        self._permissions: int | None = None

    def among(self, names: frozenset[str], may_read: Callable[[str], bool], permissions: int) -> frozenset[str]:
        """Those of `names` that match and may be read; `permissions` is another number when may_read may answer otherwise."""
        if permissions != self._permissions:
            self._looked_at = self._matching = frozenset()
            self._permissions = permissions
        if names is not self._looked_at:
            came = names - self._looked_at
            self._matching = (self._matching & names).union(name for name in came if self._pattern.matches(name) and may_read(name))
            self._looked_at = names
        return self._matching
