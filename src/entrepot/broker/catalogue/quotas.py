"""Quotas: how much there may be of what takes memory for good, in all and of one user.

Every queue, topic, binding, group and so on is counted for the user who made it. One user may have a share of each limit only: whoever is at it,
others still make theirs. What is large in itself (arguments, tags, what members of groups say of themselves) is counted in bytes besides.

Whoever makes something checks first, then counts it; what is taken in at the start, and what the broker makes for itself (user ""), is counted
and not checked against a share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from entrepot.model.errors import Reason, Refused

NAMESPACES = "namespaces"
EXCHANGES = "exchanges"
QUEUES = "queues"
TOPICS = "topics"
PARTITIONS = "partitions"
BINDINGS = "bindings"
CONSUMERS = "consumers"
GROUPS = "groups"
MEMBERS = "members of groups"
OFFSETS = "committed offsets"
METADATA = "bytes of arguments and metadata"

NOBODY = ""

Uses = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class QuotaLimits:
    """How many there may be, in all namespaces together; one more is refused (LIMIT). `share_percent`: of each, for one user."""

    namespaces: int = 1000
    exchanges: int = 100_000
    queues: int = 1_000_000
    topics: int = 100_000
    partitions: int = 10_000  # of one topic
    bindings: int = 2_000_000
    total_partitions: int = 200_000
    consumers: int = 500_000
    groups: int = 100_000
    total_group_members: int = 200_000
    offsets: int = 1_000_000
    metadata_bytes: int = 512 << 20
    share_percent: int = 80


class LastValueLimits(NamedTuple):
    """Of one queue of last values: how many there may be, and bytes of their entries, about."""

    values: int = 1_000_000
    values_bytes: int = 1 << 30


class Quotas:
    """Of one broker."""

    def __init__(self, limits: QuotaLimits | None = None) -> None:
        self.limits = limits = limits or QuotaLimits()
        self._most = {
            NAMESPACES: limits.namespaces,
            EXCHANGES: limits.exchanges,
            QUEUES: limits.queues,
            TOPICS: limits.topics,
            PARTITIONS: limits.total_partitions,
            BINDINGS: limits.bindings,
            CONSUMERS: limits.consumers,
            GROUPS: limits.groups,
            MEMBERS: limits.total_group_members,
            OFFSETS: limits.offsets,
            METADATA: limits.metadata_bytes,
        }
        self._share = {kind: -(-most * limits.share_percent // 100) for kind, most in self._most.items()}
        self._used = dict.fromkeys(self._most, 0)
        self._of_users: dict[str, dict[str, int]] = {kind: {} for kind in self._most}

    def used(self, kind: str) -> int:
        """How much there is."""
        return self._used[kind]

    def used_by(self, kind: str, user: str) -> int:
        """How much of it one user made."""
        return self._of_users[kind].get(user, 0)

    def check(self, user: str, uses: Uses) -> None:
        """Whether the user may make so much more. Raises Refused (LIMIT), and nothing is counted."""
        for kind, count in uses.items():
            if count <= 0:
                continue
            held, share = self.used_by(kind, user), self._share[kind]
            if user and held + count > share:
                raise Refused(Reason.LIMIT, f"user '{user}' has {held} {kind} already, and {share} is the limit of one user")
            used, most = self._used[kind], self._most[kind]
            if used + count > most:
                raise Refused(Reason.LIMIT, f"there are {used} {kind} already, and {most} is the limit")

    def count(self, user: str, uses: Uses) -> None:
        """So much more is there; negative: less."""
        for kind, count in uses.items():
            self._used[kind] += count
            if user:
                held = self._of_users[kind]
                left = held.get(user, 0) + count
                if left:
                    held[user] = left
                else:
                    held.pop(user, None)

    def take(self, user: str, uses: Uses) -> None:
        """check(), then count()."""
        self.check(user, uses)
        self.count(user, uses)

    def give_back(self, user: str, uses: Uses) -> None:
        """It is gone."""
        self.count(user, {kind: -count for kind, count in uses.items()})


class Account:
    """What one thing that grows and shrinks, such as a group, takes of the quotas of the user who made it."""

    __slots__ = ("_held", "_quotas", "user")

    def __init__(self, quotas: Quotas, user: str) -> None:
        self._quotas = quotas
        self.user = user
        self._held: dict[str, int] = {}

    def check(self, uses: Uses) -> None:
        """See Quotas.check."""
        self._quotas.check(self.user, uses)

    def count(self, uses: Uses) -> None:
        """See Quotas.count."""
        for kind, count in uses.items():
            self._held[kind] = self._held.get(kind, 0) + count
        self._quotas.count(self.user, uses)

    def take(self, uses: Uses) -> None:
        """check(), then count()."""
        self.check(uses)
        self.count(uses)

    def move_to(self, user: str) -> None:
        """It turns out to be another user's."""
        self._quotas.give_back(self.user, self._held)
        self.user = user
        self._quotas.count(user, self._held)

    def close(self) -> None:
        """All of it is gone."""
        self._quotas.give_back(self.user, self._held)
        self._held = {}
