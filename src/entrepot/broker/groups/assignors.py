"""Assignors: who of a group's members is to have which partitions. The target, that is; reconciliation.py leads there.

`uniform` gives everybody as many as the others, and leaves where they are as many as that allows. `range` gives neighbouring partitions of each
topic to one member, the same ones of every topic with as many partitions and the same members.

Both are generators of the steps that their pieces cost (work.py), and return the target: many members of many topics take seconds.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Generator, Mapping
from typing import TypeAlias

from entrepot.broker.groups.work import at_once

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


Assigning: TypeAlias = Generator[int, None, dict[str, Partitions]]
Assignor: TypeAlias = Callable[[list[Subscriber], Mapping[bytes, int]], Assigning]


def assign_range(subscribers: list[Subscriber], counts: Mapping[bytes, int]) -> dict[str, Partitions]:
    """`range`, in one go."""
    return at_once(_range(subscribers, counts))


def assign_uniform(subscribers: list[Subscriber], counts: Mapping[bytes, int]) -> dict[str, Partitions]:
    """`uniform`, in one go."""
    return at_once(_uniform(subscribers, counts))


def _range(subscribers: list[Subscriber], counts: Mapping[bytes, int]) -> Assigning:
    """Neighbouring partitions to one member, topic by topic. `counts`: topic id -> number of partitions."""
    given: dict[str, Partitions] = {one.member_id: {} for one in subscribers}
    ordered = sorted(subscribers, key=_order)
    for topic, count in counts.items():
        yield 1 + (len(ordered) + count) // _CHEAP
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


def _uniform(subscribers: list[Subscriber], counts: Mapping[bytes, int]) -> Assigning:
    """As many to everybody, as far as subscriptions allow, moving few. `counts`: topic id -> number of partitions."""
    ordered = sorted(subscribers, key=_order)
    if not ordered:
        return {}
    if all(one.topics == ordered[0].topics for one in ordered):
        return (yield from _uniform_same(ordered, {topic: counts[topic] for topic in sorted(ordered[0].topics) if topic in counts}))
    return (yield from _uniform_different(ordered, counts))


ASSIGNORS: dict[str, Assignor] = {"uniform": _uniform, "range": _range}
DEFAULT_ASSIGNOR = "uniform"

_NONE: frozenset[int] = frozenset()
_CHEAP = 8  # of the cheapest things, in a step


def _order(one: Subscriber) -> tuple[str, str]:
    return one.order, one.member_id


def _uniform_same(ordered: list[Subscriber], counts: dict[bytes, int]) -> Assigning:
    """All read the same: each gets the quota, the first few one more, those who have one more already before others."""
    quota, extra = divmod(sum(counts.values()), len(ordered))
    free: Partitions = {}
    for topic, count in counts.items():
        free[topic] = set(range(count))
        yield 1 + count // _CHEAP
    given: dict[str, Partitions] = {}
    room: dict[str, int] = {}
    without_extra: list[str] = []
    for one in ordered:
        kept = {topic: still for topic, partitions in one.had.items() if (still := partitions & free.get(topic, _NONE))}
        count = sum(map(len, kept.values()))
        yield 1 + len(one.had) + count // _CHEAP
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
        yield 1 + len(partitions)
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


def _uniform_different(ordered: list[Subscriber], counts: Mapping[bytes, int]) -> Assigning:
    """Members read different topics: what is free goes to who has least of those who read it, then some moves from those who have more."""
    readers: dict[bytes, list[str]] = {}
    for topic in counts:
        readers[topic] = [one.member_id for one in ordered if topic in one.topics]
        yield 1 + len(ordered) // _CHEAP
    topics = sorted((topic for topic in counts if readers[topic]), key=lambda topic: (len(readers[topic]), topic))
    load = {one.member_id: 0 for one in ordered}
    owner: dict[tuple[bytes, int], str] = {}
    for one in ordered:
        yield 1
        for topic, partitions in one.had.items():
            yield 1 + len(partitions)
            if topic in one.topics:
                for partition in partitions:
                    if partition < counts.get(topic, 0) and (topic, partition) not in owner:
                        owner[topic, partition] = one.member_id
                        load[one.member_id] += 1
    for topic in topics:
        yield 1 + counts[topic] + len(readers[topic]) // _CHEAP
        least = _Least(readers[topic], load)
        for partition in range(counts[topic]):
            if (topic, partition) not in owner:
                member_id = owner[topic, partition] = least.take()
                load[member_id] += 1
    for _ in range(BALANCE_PASSES_MAX):
        moved = False
        for topic in topics:
            yield 1 + counts[topic] + len(readers[topic]) // _CHEAP
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
    for topic in topics:
        yield 1 + counts[topic]
        for partition in range(counts[topic]):
            given[owner[topic, partition]].setdefault(topic, set()).add(partition)
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
