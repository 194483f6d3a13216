"""What groups know of topics: their ids and numbers of partitions, and when that changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol


class TopicFacts(NamedTuple):
    """A topic as it is now. A topic deleted and made again has another id."""

    id: bytes
    partition_count: int


class Topics(Protocol):
    """Topics of all namespaces."""

    def find(self, namespace: str, name: str) -> TopicFacts | None:
        """The topic of that name."""

    def names(self, namespace: str) -> Iterable[str]:
        """Every topic's name."""

    def version(self, namespace: str) -> int:
        """Another number whenever find() or names() may answer otherwise."""

    def changed(self, namespace: str) -> None:
        """Topics were made, deleted, or have more partitions."""


class CatalogueTopics:
    """The catalogue's topics."""

    def __init__(self, catalogue: Any) -> None:
        self._catalogue = catalogue
        self._versions: dict[str, int] = {}

    def find(self, namespace: str, name: str) -> TopicFacts | None:
        """See Topics."""
        found = self._catalogue.namespaces.get(namespace)
        definition = None if found is None else found.topics.get(name)
        if definition is None:
            return None
        return TopicFacts(definition.id, len(definition.partitions))

    def names(self, namespace: str) -> Iterable[str]:
        """See Topics."""
        found = self._catalogue.namespaces.get(namespace)
        return [] if found is None else list(found.topics)

    def version(self, namespace: str) -> int:
        """See Topics."""
        return self._versions.get(namespace, 0)

    def changed(self, namespace: str) -> None:
        """See Topics."""
        self._versions[namespace] = self.version(namespace) + 1
