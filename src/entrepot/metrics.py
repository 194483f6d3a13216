"""The figures of a running broker: each room registers callables, and they are read when somebody asks. Nothing is counted here per message.

    metrics.counter("entrepot_commits_total", "Commits made durable", lambda: store.commits)
    metrics.gauge("entrepot_connections", "Open connections", lambda: len(connections), listener="amqp")
    metrics.histogram("entrepot_commit_seconds", "Write and sync of one commit", lambda: store.commit_times)

Names end with their unit (Prometheus's convention): `_total` for counters, `_seconds`, `_bytes`, or the things counted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

_NAME = re.compile(r"entrepot_[a-z0-9_]+\Z")


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts per bucket: counts[i] observations of at most bounds[i], the last one above all bounds."""

    bounds: Sequence[float]
    counts: Sequence[int]
    sum: float


Value = float | Histogram


@dataclass(slots=True)
class Family:
    """All figures of one name: one per set of labels."""

    name: str
    text: str
    kind: str  # "counter", "gauge" or "histogram"
    readers: list[tuple[Mapping[str, str], Callable[[], Value]]] = field(default_factory=list)


class Metrics:
    """What can be read. Registered at start; `family` takes away nothing."""

    def __init__(self) -> None:
        self._families: dict[str, Family] = {}

    def counter(self, name: str, text: str, read: Callable[[], float], **labels: str) -> None:
        """A count since start; `name` ends with _total."""
        assert name.endswith("_total"), name
        self._add(name, text, "counter", read, labels)

    def gauge(self, name: str, text: str, read: Callable[[], float], **labels: str) -> None:
        """A figure that goes up and down."""
        assert not name.endswith("_total"), name
        self._add(name, text, "gauge", read, labels)

    def histogram(self, name: str, text: str, read: Callable[[], Histogram], **labels: str) -> None:
        """A distribution; `name` ends with the observed unit."""
        self._add(name, text, "histogram", read, labels)

    def _add(self, name: str, text: str, kind: str, read: Callable[[], Value], labels: Mapping[str, str]) -> None:
        assert _NAME.match(name), name
        family = self._families.setdefault(name, Family(name, text, kind))
        assert family.kind == kind, f"{name} is a {family.kind}"
        assert all(dict(labels) != dict(there) for there, _ in family.readers), f"{name} {labels} is registered twice"
        family.readers.append((labels, read))

    def families(self) -> Iterable[Family]:
        """Every family, in the order of registration."""
        return self._families.values()

    def value(self, name: str, **labels: str) -> Value:
        """One figure now. KeyError if nobody registered it."""
        for there, read in self._families[name].readers:
            if dict(there) == labels:
                return read()
        raise KeyError(f"{name} {labels}")
