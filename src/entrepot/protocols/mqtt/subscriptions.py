"""Subscriptions of one session: its filters with their options, and which of them match a topic (4.7)."""

from __future__ import annotations

from collections.abc import Iterator

from entrepot.protocols.mqtt.events import Subscription
from entrepot.protocols.mqtt.topics import LONG_BYTES, matches_levels


def weight_of(topic_filter: bytes) -> int:
    """As how many subscriptions one counts."""
    return 1 + len(topic_filter) // LONG_BYTES


class Subscriptions:
    """By filter. Those without wildcards are found by the topic, the others looked at one by one."""

    def __init__(self) -> None:
        self._exact: dict[bytes, tuple[Subscription, int]] = {}
        self._wild: dict[bytes, tuple[Subscription, int]] = {}
        self.weight = 0  # of all filters: one each, and one more for each LONG_BYTES of it
        self.no_local_count = 0  # of those that want nothing of what their own client publishes

    def __len__(self) -> int:
        return len(self._exact) + len(self._wild)

    def __iter__(self) -> Iterator[tuple[Subscription, int]]:
        yield from self._exact.values()
        yield from self._wild.values()

    def get(self, topic_filter: bytes) -> tuple[Subscription, int] | None:
        """The one of that filter, and its identifier."""
        return self._exact.get(topic_filter) or self._wild.get(topic_filter)

    def put(self, subscription: Subscription, identifier: int) -> None:
        """It is there from now on, instead of one with the same filter."""
        self.take(subscription.filter)
        self._of(subscription.filter)[subscription.filter] = subscription, identifier
        self.no_local_count += subscription.no_local
        self.weight += weight_of(subscription.filter)

    def take(self, topic_filter: bytes) -> None:
        """It is there no more."""
        found = self._of(topic_filter).pop(topic_filter, None)
        if found is not None:
            self.no_local_count -= found[0].no_local
            self.weight -= weight_of(topic_filter)

    def matching(self, topic: bytes) -> list[tuple[Subscription, int]]:
        """Those that match a topic, each with its identifier, 0: none."""
        exact = self._exact.get(topic)
        found = [exact] if exact else []
        if self._wild:
            levels = topic.split(b"/")
            found.extend(one for topic_filter, one in self._wild.items() if matches_levels(topic_filter, levels))
        return found

    def _of(self, topic_filter: bytes) -> dict[bytes, tuple[Subscription, int]]:
        return self._wild if b"+" in topic_filter or b"#" in topic_filter else self._exact
