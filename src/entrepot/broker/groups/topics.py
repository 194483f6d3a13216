"""What groups know of topics: their ids and numbers of partitions, and when that changes."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

from entrepot.broker.catalogue.noted_revisions import NotedRevisions


class TopicFacts(NamedTuple):
    """A topic as it is now. A topic deleted and made again has another id."""

    id: bytes
    partition_count: int


class Topics(Protocol):
    """Topics of all namespaces."""

    def find(self, namespace: str, name: str) -> TopicFacts | None:
        """The topic of that name."""

    def names(self, namespace: str) -> frozenset[str]:
        """Every topic's name; the same object while nothing has changed."""

    def version(self, namespace: str) -> int:
        """Another number whenever find() or names() may answer otherwise."""

    def changed(self, namespace: str) -> None:
        """Topics were made, deleted, or have more partitions."""

    def note(self, shard: int) -> None:
        """Something is kept in a shard for a topic that is there."""


class CatalogueTopics:
    """The catalogue's topics."""

    def __init__(self, catalogue: Any, noted: NotedRevisions) -> None:
        self._catalogue = catalogue
        self._noted = noted
        self._versions: dict[str, int] = {}
        self._names: dict[str, frozenset[str]] = {}  # as of the last change, once somebody asked

    def find(self, namespace: str, name: str) -> TopicFacts | None:
        """See Topics."""
        found = self._catalogue.namespaces.get(namespace)
        definition = None if found is None else found.topics.get(name)
        if definition is None:
            return None
        return TopicFacts(definition.id, len(definition.partitions))

    def names(self, namespace: str) -> frozenset[str]:
        """See Topics."""
        names = self._names.get(namespace)
        if names is None:
            found = self._catalogue.namespaces.get(namespace)
            names = self._names[namespace] = frozenset() if found is None else frozenset(found.topics)
        return names

    def version(self, namespace: str) -> int:
        """See Topics."""
        return self._versions.get(namespace, 0)

    def note(self, shard: int) -> None:
        """See Topics."""
        self._noted.note(shard, self._catalogue.becoming)

    def changed(self, namespace: str) -> None:
        """See Topics."""
        self._versions[namespace] = self.version(namespace) + 1
        self._names.pop(namespace, None)
