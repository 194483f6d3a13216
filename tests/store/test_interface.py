"""What the interface promises, over every store: the local one and the volatile one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from store_bench import Bench, Loop, MemoryDisk, Told, fold

from both_modes import examples
from entrepot.model.entry import make_entry
from entrepot.model.errors import Refused, Unavailable
from entrepot.store.interface import Log
from entrepot.store.shard_time import ShardTime
from entrepot.store.volatile import VolatileStore


class VolatileBench(Bench):
    """As Bench, around a volatile store with little memory."""

    def __init__(self, memory_size_max: int = 20_000, disk: MemoryDisk | None = None) -> None:
        self.loop = Loop()
        self.disk = disk if disk is not None else MemoryDisk(self.loop)
        self.disk.loop = self.loop
        self.told = Told()
        self.store: Any = VolatileStore(self.loop, ShardTime(self.loop), fold, self.disk, memory_size_max=memory_size_max)
        self.store.set_owner(self.told)


KINDS: list[Callable[[], Bench]] = [Bench, VolatileBench]


@pytest.fixture(params=KINDS)
def bench(request: pytest.FixtureRequest) -> Bench:
    made: Bench = request.param()
    return made


def find(bench: Bench, log: Log, time_ms: int) -> int:
    found: list[int] = []
    log.find(time_ms, found.append)
    bench.loop.run(lambda: bool(found))
    return found[0]


def test_nothing_is_read_before_it_is_durable(bench: Bench) -> None:
    log = bench.create(1, 5)
    assert (log.shard, log.first_offset, log.next_offset, log.durable_offset) == (5, 0, 0, 0)
    bench.append(log, data=b"one", count=2)
    assert (log.next_offset, log.durable_offset) == (2, 0)
    assert bench.store.staged_bytes == 3
    assert log.reader().at(0) is None
    assert bench.commit()
    assert (log.next_offset, log.durable_offset) == (2, 2)
    assert bench.store.staged_bytes == 0
    assert bench.read(log) == [(0, 2, b"one")]
    assert bench.told.groups[0].logs == [log]
    assert bench.told.groups[0].durable


def test_groups_come_in_order_with_what_was_hung_on_them(bench: Bench) -> None:
    log = bench.create(1)
    seen: list[int] = []
    for number in range(5):
        bench.append(log)
        bench.store.group().calls.append(lambda number=number: seen.append(number))
        bench.store.urgent()
        if number % 2:
            bench.loop.run(lambda number=number: number in seen)
    bench.loop.run(lambda: len(seen) == 5)
    assert seen == [0, 1, 2, 3, 4]
    sequences = [group.sequence for group in bench.told.groups]
    assert sequences == sorted(set(sequences))


def test_what_the_owner_stages_when_told_is_the_next_group(bench: Bench) -> None:
    log = bench.create(1)
    bench.append(log)

    def again() -> None:
        bench.append(log, data=b"again")
        bench.store.urgent()

    bench.store.group().calls.append(again)
    assert bench.commit()
    bench.loop.run(lambda: log.durable_offset == 2)
    assert len(bench.told.groups) == 2


def test_one_entry_in_several_logs(bench: Bench) -> None:
    logs = [bench.create(number) for number in range(3)]
    bench.append(logs[0], data=b"before")
    entry = bench.append(*logs, data=b"shared", count=2)
    assert bench.commit()
    for log, base in zip(logs, (1, 0, 0), strict=True):
        stored = log.reader().at(base + 1)
        assert stored is not None
        assert stored.base == base
        assert stored.entry is entry
    assert entry.sealed
    assert entry.append_time_ms >= 1_700_000_000_000


def test_extend_joins_only_the_last_open_entry_of_exactly_its_logs(bench: Bench) -> None:
    a, b = bench.create(1), bench.create(2)
    entry = bench.append(a, b, data=b"x")
    assert bench.store.extend([a, b], entry, b"y", 2)
    assert not bench.store.extend([a], entry, b"y", 1)
    assert (a.next_offset, b.next_offset) == (3, 3)
    bench.append(b, data=b"z")
    assert not bench.store.extend([a, b], entry, b"y", 1)
    assert bench.commit()
    assert not bench.store.extend([a, b], entry, b"y", 1)
    assert bench.read(a) == [(0, 3, b"xy")]
    assert bench.read(b) == [(0, 3, b"xy"), (3, 1, b"z")]
    large = bench.append(a, data=b"l" * 60_000)
    assert not bench.store.extend([a], large, b"m" * 6000, 1)


def test_discards_holes_and_marks(bench: Bench) -> None:
    log = bench.create(1)
    for number in range(20):
        bench.append(log, data=b"%d" % number)
    bench.store.mark(log, 9)
    bench.store.mark(log, 4)
    assert bench.commit()
    assert log.marked_offset == 9
    bench.store.discard(log, 0, 3)
    bench.store.discard(log, 5, 8)
    bench.store.discard(log, 7, 7)
    assert (log.first_offset, list(log.holes())) == (3, [(5, 8)])
    assert [base for base, _, _ in bench.read(log)] == [3, 4, *range(8, 20)]
    bench.store.discard(log, 2, 5)
    assert (log.first_offset, list(log.holes())) == (8, [])
    with pytest.raises(ValueError, match="21"):
        bench.store.discard(log, 0, 21)
    bench.store.discard(log, 8, 20)
    assert bench.commit()
    assert (log.first_offset, bench.read(log)) == (20, [])


def test_a_partly_discarded_entry_stays_until_its_last_record_goes(bench: Bench) -> None:
    log = bench.create(1)
    bench.append(log, data=b"ten", count=10)
    bench.append(log, data=b"one")
    assert bench.commit()
    bench.store.discard(log, 0, 9)
    stored = log.reader().at(0)
    assert stored is not None
    assert (stored.base, stored.entry.data) == (0, b"ten")
    bench.store.discard(log, 9, 10)
    stored = log.reader().at(0)
    assert stored is not None
    assert stored.base == 10


def test_a_dropped_log_is_gone_and_its_readers_end(bench: Bench) -> None:
    log = bench.create(1)
    bench.append(log)
    assert bench.commit()
    reader = log.reader()
    bench.store.drop_log(log)
    assert reader.at(0) is None
    assert bench.store.log(log.id) is None
    assert list(bench.store.logs()) == []
    assert bench.commit()


def test_a_log_is_created_once(bench: Bench) -> None:
    log = bench.create(1)
    assert bench.store.log(log.id) is log
    with pytest.raises(Refused):
        bench.create(1)
    with pytest.raises(ValueError, match="16"):
        bench.store.create_log(0, b"short")


def test_folded_state(bench: Bench) -> None:
    for shard, key, delta in ((0, b"a", b"1"), (0, b"b", b"2"), (0, b"a", b"3"), (1, b"a", b"4"), (0, b"c", b"5"), (0, b"c", b"-")):
        bench.store.fold(shard, key, delta)
    assert bench.store.get(0, b"a") == b"13"
    assert bench.store.get(0, b"c") is None
    assert bench.store.scan(0, b"", b"z", 9) == [(b"a", b"13"), (b"b", b"2")]
    assert bench.store.scan(1, b"", b"z", 9) == [(b"a", b"4")]
    assert bench.commit()
    assert bench.store.get(0, b"b") == b"2"


def test_find_goes_by_the_greatest_or_else_the_append_time(bench: Bench) -> None:
    log = bench.create(1)
    for number in range(60):
        entry = make_entry(2, 1, 0, b"", b"%03d" % number * 300, 1)
        entry.max_time_ms = number * 10 + 10
        bench.store.append([log], entry)
        assert bench.commit()
        bench.loop.run()
    for time_ms, offset in ((0, 0), (10, 0), (15, 1), (300, 29), (600, 59), (601, 60)):
        assert find(bench, log, time_ms) == offset
    other = bench.create(2)
    bench.append(other)
    assert bench.commit()
    assert find(bench, other, bench.loop.wall_ms() - 1) == 0  # a commit takes less
    assert find(bench, other, bench.loop.wall_ms() + 1000) == 1


def test_after_close_nothing_is_staged(bench: Bench) -> None:
    log = bench.create(1)
    bench.append(log)
    bench.close()
    assert log.durable_offset == 1
    with pytest.raises(Unavailable):
        bench.append(log)


operations = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True), st.integers(1, 5), st.integers(0, 9000)),
        st.tuples(st.just("extend"), st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True), st.integers(1, 5), st.integers(0, 9000)),
        st.tuples(st.just("discard"), st.integers(0, 2), st.integers(0, 40), st.integers(1, 30)),
        st.tuples(st.just("commit")),
        st.tuples(st.just("read"), st.integers(0, 2), st.integers(0, 40)),
        st.tuples(st.just("drop"), st.integers(0, 2)),
    ),
    max_size=40,
)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=examples(60), deadline=None)
@given(operations)
def test_against_a_model(kind: Callable[[], Bench], history: list[Any]) -> None:
    bench = kind()
    logs = [bench.create(number) for number in range(3)]
    entries: dict[bytes, list[tuple[int, int, bytes]]] = {log.id: [] for log in logs}
    alive: dict[bytes, set[int]] = {log.id: set() for log in logs}
    last: tuple[Any, list[Log]] | None = None
    number = 3
    for step in history:
        if step[0] == "append":
            targets = [logs[index] for index in step[1]]
            data = bytes([number & 255]) * step[3]
            last = bench.append(*targets, data=data, count=step[2]), targets
            for log in targets:
                entries[log.id].append((log.next_offset - step[2], step[2], data))
                alive[log.id].update(range(log.next_offset - step[2], log.next_offset))
        elif step[0] == "extend" and last is not None:
            targets = [logs[index] for index in step[1]]
            data = bytes([number & 255]) * step[3]
            if bench.store.extend(targets, last[0], data, step[2]):
                assert set(map(id, targets)) == set(map(id, last[1]))
                for log in targets:
                    base, count, before = entries[log.id].pop()
                    entries[log.id].append((base, count + step[2], before + data))
                    alive[log.id].update(range(log.next_offset - step[2], log.next_offset))
        elif step[0] == "discard":
            log = logs[step[1]]
            first, end = min(step[2], log.next_offset), min(step[2] + step[3], log.next_offset)
            bench.store.discard(log, first, end)
            alive[log.id] -= set(range(first, end))
        elif step[0] == "commit":
            assert bench.commit()
            bench.loop.run()
        elif step[0] == "drop":
            bench.store.drop_log(logs[step[1]])
            number += 1
            logs[step[1]] = bench.create(number)
            entries[logs[step[1]].id] = []
            alive[logs[step[1]].id] = set()
            last = None
        elif step[0] == "read":
            log = logs[step[1]]
            wanted = [
                row
                for row in entries[log.id]
                if row[0] + row[1] > step[2] and row[0] < log.durable_offset and alive[log.id].intersection(range(max(row[0], step[2]), row[0] + row[1]))
            ]
            assert bench.read(log, step[2]) == wanted
    assert bench.commit()
    for log in logs:
        assert bench.read(log) == [row for row in entries[log.id] if alive[log.id].intersection(range(row[0], row[0] + row[1]))]
        assert list(log.holes()) == holes_of(alive[log.id], log.first_offset, log.next_offset)
        bench.store.discard(log, 0, log.next_offset)
    assert bench.commit()
    bench.loop.run()
    if isinstance(bench.store, VolatileStore):
        assert [log.bytes_alive for log in logs] == [0, 0, 0]
        assert bench.store.statistics()["memory_bytes"] == 0
        assert bench.store.statistics()["spilling_bytes"] == 0
        assert len([name for name in bench.disk.names() if name.startswith("scratch-")]) <= 1


def holes_of(alive: set[int], first: int, end: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for offset in range(first, end):
        if offset not in alive:
            if found and found[-1][1] == offset:
                found[-1] = (found[-1][0], offset + 1)
            else:
                found.append((offset, offset + 1))
    return found
