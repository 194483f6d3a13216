"""Nodes: the processes of one broker that clients tell apart, where their protocol wants to know which of them has what (Kafka's brokers)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

Address: TypeAlias = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Nodes:
    """`own` of `count` nodes, numbered from 0. `addresses`: of a listener that each node has one of for itself, by its name, those of all nodes in order.

    With one node there are none: it is reached where it is asked.
    """

    own: int = 0
    count: int = 1
    addresses: Mapping[str, Sequence[Address]] = field(default_factory=dict)

    def of_shard(self, shard: int) -> int:
        """The node that has a shard, as far as is known here."""
        return shard % self.count


ALONE = Nodes()
