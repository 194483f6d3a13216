"""LoginLine: passwords that wait for their check, in a fair order: addresses take turns, and at each address the names that are tried.

A crowd at one address, or on one name, waits behind itself. Over a limit the crowd pays, and of it who waits for longest: the newest may be the
one that is right.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass

from entrepot.broker.users.users import PlainCheck
from entrepot.model.principal import Principal

WAITING_MAX = 1000
WAITING_PER_NAME_MAX = 32  # of one name, from one address


@dataclass(frozen=True, slots=True)
class Waiting:
    """One password that waits. done(who it is, or None) is called once."""

    source: str
    name: str
    check: PlainCheck
    done: Callable[[Principal | None], None]


class LoginLine:
    """`count` wait."""

    def __init__(self, waiting_max: int = WAITING_MAX, per_name_max: int = WAITING_PER_NAME_MAX) -> None:
        self.count = 0
        self._waiting_max = waiting_max
        self._per_name_max = per_name_max
        self._sources: OrderedDict[str, OrderedDict[str, deque[Waiting]]] = OrderedDict()  # whose turn it is first, in both
        self._sizes: dict[str, int] = {}  # by source

    def add(self, waiting: Waiting) -> Waiting | None:
        """It waits from now on. The one that has to go for it, which may not be it: None if there is room for all."""
        names = self._sources.setdefault(waiting.source, OrderedDict())
        line = names.setdefault(waiting.name, deque())
        line.append(waiting)
        self.count += 1
        self._sizes[waiting.source] = self._sizes.get(waiting.source, 0) + 1
        if len(line) > self._per_name_max:
            return self._take(waiting.source, waiting.name)
        if self.count > self._waiting_max:
            source = max(self._sizes, key=self._sizes.__getitem__)
            return self._take(source, max(self._sources[source], key=lambda name: len(self._sources[source][name])))
        return None

    def next(self) -> Waiting | None:
        """Whose turn it is; it waits no more."""
        if not self.count:
            return None
        source = next(iter(self._sources))
        names = self._sources[source]
        name = next(iter(names))
        names.move_to_end(name)
        self._sources.move_to_end(source)
        return self._take(source, name)

    def _take(self, source: str, name: str) -> Waiting:
        names = self._sources[source]
        line = names[name]
        waiting = line.popleft()
        if not line:
            del names[name]
        self.count -= 1
        self._sizes[source] -= 1
        if not names:
            del self._sources[source], self._sizes[source]
        return waiting
