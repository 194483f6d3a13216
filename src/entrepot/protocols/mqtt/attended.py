"""Attended: which connection has which client's session, in one process. Who connects under a name that is in use takes it over (3.1.4)."""

from __future__ import annotations

from collections.abc import Callable


class Attended:
    """One per process, for all of its listeners."""

    def __init__(self) -> None:
        self._leave: dict[tuple[str, str], Callable[[], object]] = {}

    def __len__(self) -> int:
        return len(self._leave)

    def attach(self, namespace: str, client_id: str, taken_over: Callable[[], object]) -> None:
        """A connection has that client's session from now on. Whoever had it is told: taken_over()."""
        former = self._leave.pop((namespace, client_id), None)
        if former is not None:
            former()
        self._leave[namespace, client_id] = taken_over

    def detach(self, namespace: str, client_id: str, taken_over: Callable[[], object]) -> None:
        """It has ended; nothing, where another has the session by now."""
        if self._leave.get((namespace, client_id)) == taken_over:
            del self._leave[namespace, client_id]
