"""Assignors: who of a group's members is to have which partitions. The target, that is; reconciliation.py leads there.

`uniform` gives everybody as many as the others, and leaves where they are as many as that allows. `range` gives neighbouring partitions of each
topic to one member, the same ones of every topic with as many partitions and the same members.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from typing import TypeAlias

Partitions: TypeAlias = dict[bytes, set[int]]  # by topic id

BALANCE_PASSES_MAX = 16  # of members that read different topics; each pass moves partitions to those who have fewer


class Subscriber:
    """A member as an assignor sees it: `order` decides between equals, `topics` are ids, `had` is what it was to have so far."""

    __slots__ = ("had", "member_id", "order", "topics")

    def __init__(self, member_id: str, order: str, topics: frozenset[bytes], had: Partitions) -> None:
        self.member_id = member_id
        self.order = order
        self.topics = topics
        self.had = had


Assignor: TypeAlias = Callable[[list[Subscriber], Mapping[bytes, int]], dict[str, Partitions]]


def assign_range(subscribers: list[Subscriber], counts: Mapping[bytes, int]) -> dict[str, Partitions]:
    """Neighbouring partitions to one member, topic by topic. `counts`: topic id -> number of partitions."""
    given: dict[str, Partitions] = {one.member_id: {} for one in subscribers}
    ordered = sorted(subscribers, key=_order)
    for topic, count in counts.items():
        readers = [one for one in ordered if topic in one.topics]
        if not readers:
            continue
        quota, extra = divmod(count, len(readers))
        first = 0
        for index, reader in enumerate(readers):
            end = first + quota + (index < extra)
            if end > first:
                given[reader.member_id][topic] = set(range(first, end))
            first = end
    return given


def assign_uniform(subscribers: list[Subscriber], counts: Mapping[bytes, int]) -> dict[str, Partitions]:
    """As many to everybody, as far as subscriptions allow, moving few. `counts`: topic id -> number of partitions."""
    ordered = sorted(subscribers, key=_order)
    if not ordered:
        return {}
    if all(one.topics == ordered[0].topics for one in ordered):
        return _uniform_same(ordered, {topic: counts[topic] for topic in sorted(ordered[0].topics) if topic in counts})
    return _uniform_different(ordered, counts)


ASSIGNORS: dict[str, Assignor] = {"uniform": assign_uniform, "range": assign_range}
DEFAULT_ASSIGNOR = "uniform"

_NONE: frozenset[int] = frozenset()


def _order(one: Subscriber) -> tuple[str, str]:
    return one.order, one.member_id


def _uniform_same(ordered: list[Subscriber], counts: dict[bytes, int]) -> dict[str, Partitions]:
    """All read the same: each gets the quota, the first few one more, those who have one more already before others."""
    quota, extra = divmod(sum(counts.values()), len(ordered))
    free = {topic: set(range(count)) for topic, count in counts.items()}
    given: dict[str, Partitions] = {}
    room: dict[str, int] = {}
    without_extra: list[str] = []
    for one in ordered:
        kept = {topic: still for topic, partitions in one.had.items() if (still := partitions & free.get(topic, _NONE))}
        count = sum(map(len, kept.values()))
        most = quota
        if count > quota and extra > 0:
            extra -= 1
            most += 1
        else:
            without_extra.append(one.member_id)
        if count > most:
            kept = _first_of(kept, most)
            count = most
        for topic, partitions in kept.items():
            free[topic] -= partitions
        given[one.member_id] = kept
        room[one.member_id] = most - count
    for member_id in without_extra[:extra]:
        room[member_id] += 1
    takers = [one.member_id for one in ordered if room[one.member_id] > 0]
    turn = 0
    for topic, partitions in free.items():
        for partition in sorted(partitions):
            turn %= len(takers)
            member_id = takers[turn]
            given[member_id].setdefault(topic, set()).add(partition)
            room[member_id] -= 1
            if room[member_id] == 0:
                del takers[turn]
            else:
                turn += 1
    return given


def _first_of(partitions: Partitions, count: int) -> Partitions:
    """The first `count` of them."""
    kept: Partitions = {}
    for topic, those in partitions.items():
        if count == 0:
            break
        kept[topic] = set(sorted(those)[:count])
        count -= len(kept[topic])
    return kept


def _uniform_different(ordered: list[Subscriber], counts: Mapping[bytes, int]) -> dict[str, Partitions]:
    """Members read different topics: what is free goes to who has least of those who read it, then some moves from those who have more."""
    readers = {topic: [one.member_id for one in ordered if topic in one.topics] for topic in counts}
    topics = sorted((topic for topic in counts if readers[topic]), key=lambda topic: (len(readers[topic]), topic))
    load = {one.member_id: 0 for one in ordered}
    owner: dict[tuple[bytes, int], str] = {}
    for one in ordered:
        for topic, partitions in one.had.items():
            if topic in one.topics:
                for partition in partitions:
                    if partition < counts.get(topic, 0) and (topic, partition) not in owner:
                        owner[topic, partition] = one.member_id
                        load[one.member_id] += 1
    for topic in topics:
        least = _Least(readers[topic], load)
        for partition in range(counts[topic]):
            if (topic, partition) not in owner:
                member_id = owner[topic, partition] = least.take()
                load[member_id] += 1
    for _ in range(BALANCE_PASSES_MAX):
        moved = False
        for topic in topics:
            least = _Least(readers[topic], load)
            for partition in range(counts[topic]):
                before, now = owner[topic, partition], least.take()
                if load[before] > load[now] + 1:
                    owner[topic, partition] = now
                    load[before] -= 1
                    load[now] += 1
                    moved = True
        if not moved:
            break
    given: dict[str, Partitions] = {one.member_id: {} for one in ordered}
    for (topic, partition), member_id in owner.items():
        given[member_id].setdefault(topic, set()).add(partition)
    return given


class _Least:
    """Who of some members has least, while that changes."""

    def __init__(self, members: list[str], load: dict[str, int]) -> None:
        self._load = load
        self._heap = [(load[member], index, member) for index, member in enumerate(members)]
        heapq.heapify(self._heap)

    def take(self) -> str:
        """The one with least; the caller may change its load."""
        while True:
            known, index, member = self._heap[0]
            now = self._load[member]
            if known == now:
                return member
            heapq.heapreplace(self._heap, (now, index, member))
