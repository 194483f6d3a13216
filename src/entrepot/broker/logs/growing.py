"""Growing: who has the last entry of a log at hand, since it may still grow.

It may as long as its commit is open. Whoever kept it for longer would keep its bytes in memory, and there are as many of those as there are queues and
addresses: they are told to let go of it when the first entry of another commit is noted.
"""

from __future__ import annotations

from typing import Any

from entrepot.store.interface import Group, Store


class Growing:
    """Of one store."""

    __slots__ = ("_group", "_holders", "_store")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._group: Group | None = None
        self._holders: list[Any] = []

    def note(self, holder: Any) -> None:
        """`holder` is about to keep an entry that was appended just now. What others kept of the commit before, they let go of: let_go()."""
        group = self._store.group()
        if group is not self._group:
            self.let_go()
            self._group = group
        self._holders.append(holder)

    def let_go(self) -> None:
        """Whoever keeps an entry lets go of it, and is forgotten."""
        holders, self._holders = self._holders, []
        for one in holders:
            one.let_go()
