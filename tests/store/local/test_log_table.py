"""Logs are gone over, and what a checkpoint had is let go of, so many at a time."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from store_bench import SMALL, Bench

from entrepot.store.local.log import LocalLog
from entrepot.store.local.log_table import LogTable, Walk
from entrepot.store.local.maintenance import SLICE_FREED, SLICE_LOGS, Maintenance


class NoStore:
    epoch = 1


def log_of(number: int) -> LocalLog:
    return LocalLog(0, number.to_bytes(16, "big"), NoStore())


def test_a_walk_meets_each_log_once_whatever_comes_and_goes() -> None:
    table = LogTable()
    logs = [log_of(number) for number in range(100)]
    for log in logs:
        table.add(log)
    table.remove(logs[0])
    walk = table.walk()
    seen = walk.take(30)
    table.remove(logs[10])  # was met
    table.remove(logs[80])  # will not be
    table.add(log_of(200))  # neither
    while not walk.is_over:
        some = walk.take(30)
        assert len(some) <= 30
        seen += some
    assert seen == logs[1:80] + logs[81:]
    for number in (201, 202, 203):  # places of those that have gone are taken again
        table.add(log_of(number))
    again = table.walk()
    assert sorted(log.id[-1] for log in again.take(101)) == [*range(1, 10), *range(11, 80), *range(81, 100), 200, 201, 202, 203]
    assert again.is_over
    assert table.walks == 0


def test_a_walk_over_nothing_is_over() -> None:
    walk = LogTable().walk()
    assert walk.take(10) == []
    assert walk.is_over


def test_a_round_goes_over_all_logs_so_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(None, SMALL)
    logs = [bench.create(number) for number in range(5 * SLICE_LOGS)]
    assert bench.commit()
    taken: list[int] = []
    take = Walk.take

    def noted(walk: Walk, count: int) -> list[LocalLog]:
        found = take(walk, count)
        taken.append(len(found))
        return found

    monkeypatch.setattr(Walk, "take", noted)
    for _ in range(5):
        for log in logs:
            bench.append(log, data=bytes(64))
        assert bench.commit()
    bench.loop.run()
    assert bench.store.maintenance.rounds > 0
    assert max(taken) <= SLICE_LOGS
    assert sum(taken) >= 3 * len(logs)  # rows gathered, what changed captured, rows forgotten
    assert bench.store.table.walks == 0


def test_what_a_checkpoint_had_is_let_go_of_so_much_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(None, SMALL)
    left: list[int] = []
    let_go = Maintenance._let_go

    def noted(maintenance: Maintenance, containers: list[Any]) -> None:
        left.append(sum(map(len, containers)))
        let_go(maintenance, containers)
        left.append(sum(map(len, containers)))

    monkeypatch.setattr(Maintenance, "_let_go", noted)
    for number in range(3 * SLICE_FREED):
        bench.store.fold(0, b"v:%d" % number, b"\x01x")
        if number % 1000 == 999:
            assert bench.commit()
    bench.loop.run()
    assert bench.store.maintenance.rounds > 0
    assert max(left) > 3 * SLICE_FREED  # keys with their values, as they were staged, and as they were saved
    assert max(before - after for before, after in pairwise(left)) <= SLICE_FREED
    assert left[-1] == 0
