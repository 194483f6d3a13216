"""The store on a disk that keeps any subset of unsynced sectors: what was durable is there, all of each commit, and nothing else."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass, field
from typing import Any

import pytest
from store_bench import SMALL, Bench, Loop, fold

from entrepot.model.entry import make_entry
from entrepot.store.interface import Group

SEEDS = int(os.environ.get("ENTREPOT_CRASH_SEEDS", "20"))


@dataclass
class ModelLog:
    shard: int
    entries: list[tuple[int, int, bytes]] = field(default_factory=list)
    gone: set[int] = field(default_factory=set)
    next: int = 0
    marked: int = 0

    def first(self) -> int:
        first = 0
        while first in self.gone:
            first += 1
        return first

    def alive(self) -> list[tuple[int, int, bytes]]:
        return [entry for entry in self.entries if any(offset not in self.gone for offset in range(entry[0], entry[0] + entry[1]))]


class Model:
    """What the store must be after a commit; operations are replayed commit by commit."""

    def __init__(self) -> None:
        self.logs: dict[bytes, ModelLog] = {}
        self.values: dict[tuple[int, bytes], bytes] = {}

    def apply(self, operations: list[tuple[Any, ...]]) -> None:
        for kind, *rest in operations:
            if kind == "create":
                self.logs[rest[0]] = ModelLog(rest[1])
            elif kind == "append":
                for log_id in rest[0]:
                    log = self.logs[log_id]
                    log.entries.append((log.next, rest[2], rest[1]))
                    log.next += rest[2]
            elif kind == "discard":
                self.logs[rest[0]].gone.update(range(rest[1], rest[2]))
            elif kind == "mark":
                self.logs[rest[0]].marked = max(self.logs[rest[0]].marked, rest[1])
            elif kind == "drop":
                del self.logs[rest[0]]
            else:
                value = fold(rest[1], self.values.get((rest[0], rest[1])), rest[2])
                if value is None:
                    self.values.pop((rest[0], rest[1]), None)
                else:
                    self.values[rest[0], rest[1]] = value


class Run:
    """One store under random operations, with their history."""

    def __init__(self, seed: int, settings: Any = SMALL) -> None:
        self.random = random.Random(seed)
        self.settings = settings
        self.bench = Bench(None, settings, seed)
        self.past = Model()  # as recovered
        self.staged = 0
        self.groups: list[tuple[Group, list[tuple[Any, ...]]]] = []
        self.count = 0
        self.commits = 0

    def note(self, *operation: Any) -> None:
        group = self.bench.store.group()
        if not self.groups or self.groups[-1][0] is not group:
            self.groups.append((group, []))
        self.groups[-1][1].append(operation)

    def step(self) -> None:
        """A few operations, perhaps some hurry, some turns of the loop."""
        store, chance = self.bench.store, self.random
        logs = list(store.logs())
        for _ in range(chance.randrange(1, 6)):
            kind = chance.random()
            if len(logs) < 2 or kind < 0.01:
                log = store.create_log(chance.randrange(4), chance.randbytes(16))
                self.note("create", log.id, log.shard)
                logs.append(log)
            elif kind < 0.55:
                targets = chance.sample(logs, min(len(logs), chance.choice([1, 1, 1, 2, 3])))
                count = chance.choice([1, 1, 2, 5])
                self.count += 1
                data = b"%d." % self.count * chance.choice([1, 3, 30, 700])
                store.append(targets, make_entry(2, 1, 0, b"", data, count))
                self.note("append", [log.id for log in targets], data, count)
            elif kind < 0.85:
                log = chance.choice(logs)
                if log.next_offset > log.first_offset:
                    first = chance.choice([log.first_offset, chance.randrange(log.first_offset, log.next_offset)])
                    end = min(log.next_offset, first + chance.choice([1, 2, 10, 40]))
                    store.discard(log, first, end)
                    self.note("discard", log.id, first, end)
            elif kind < 0.9:
                log = chance.choice(logs)
                offset = chance.randrange(log.next_offset + 1)
                store.mark(log, offset)
                self.note("mark", log.id, offset)
            elif kind < 0.99:
                key, delta = b"%d" % chance.randrange(5), chance.choice([b"a", b"b", b"-"])
                store.fold(1, key, delta)
                self.note("fold", 1, key, delta)
            elif len(logs) > 3:
                log = logs.pop(chance.randrange(len(logs)))
                self.note("drop", log.id)
                store.drop_log(log)
        if chance.random() < 0.7:
            store.urgent()
        for _ in range(chance.randrange(12)):
            if not self.bench.loop.step():
                break
        assert self.bench.told.failed is None

    def crash(self, lost: float) -> None:
        """The power goes: of unsynced sectors and names, each is lost with some probability. Reopen, and compare all there is."""
        disk = self.bench.disk.crashed(Loop(), lambda _name, _sector: self.random.random() >= lost)
        durable = max((group.sequence for group in self.bench.told.groups), default=0)
        history = {group.sequence: operations for group, operations in self.groups if group.sequence}
        base = self.bench.recovered if hasattr(self.bench, "recovered") else 0
        self.bench = self.bench.reopened(disk)
        sequence = self.bench.store.sequence
        assert sequence >= durable, "a durable commit was lost"
        for number in range(base + 1, sequence + 1):
            self.past.apply(history.get(number, []))
        self.commits += sequence - base
        self.bench.recovered = sequence  # type: ignore[attr-defined]
        self.groups = []
        self.compare()

    def compare(self) -> None:
        bench, past = self.bench, self.past
        assert {log.id for log in bench.store.logs()} == set(past.logs)
        for log in bench.store.logs():
            expected = past.logs[log.id]
            assert (log.shard, log.next_offset, log.first_offset) == (expected.shard, expected.next, expected.first())
            assert log.marked_offset >= expected.marked
            holes = {offset for first, end in log.holes() for offset in range(first, end)}
            assert holes == {offset for offset in expected.gone if offset >= expected.first()}
            assert bench.read(log) == expected.alive()
        assert dict(bench.store.scan(1, b"", b"\xff", 100)) == {key: value for (_, key), value in past.values.items()}


@pytest.mark.parametrize("seed", range(SEEDS))
def test_any_subset_of_unsynced_sectors(seed: int) -> None:
    run = Run(seed)
    for _ in range(3):
        for _ in range(run.random.randrange(20, 200)):
            run.step()
        run.crash(run.random.choice([0.0, 0.3, 0.5, 1.0]))
    run.bench.close()
    run.bench = run.bench.reopened()
    run.compare()
