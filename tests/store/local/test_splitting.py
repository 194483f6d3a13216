"""Stores divided among others and put together again: everything that can be read stays what it was, and files are shared, not copied."""

from __future__ import annotations

import errno
import os
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from opened_store import Opened
from store_bench import fold

from entrepot.clock import SystemClock
from entrepot.model.entry import make_entry, stored_entry
from entrepot.model.errors import CorruptData
from entrepot.store.interface import Log
from entrepot.store.local.checkpoint import SegmentRow, SqliteCheckpoint
from entrepot.store.local.posix_disk import PosixDisk, lock_directory
from entrepot.store.local.quarantine import quarantine
from entrepot.store.local.splitting import Divided, Part, divide, make_gravestone, settle
from entrepot.store.local.verify import verify

SEEDS = int(os.environ.get("ENTREPOT_SPLIT_SEEDS", "3"))
SHARDS = 12
HOUR_MS = 3_600_000


class AheadClock(SystemClock):
    """An hour ahead."""

    def wall_ms(self) -> int:
        return super().wall_ms() + HOUR_MS


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
    """What all stores together must hold."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.logs: dict[bytes, ModelLog] = {}
        self.values: dict[tuple[int, bytes], bytes] = {}
        self.count = 0
        self.epoch = 0
        self.time_ms = 0

    def write(self, opened: Opened, shards: list[int], steps: int) -> None:
        """Random operations on a store, of its shards."""
        store, chance = opened.store, self.random
        self.epoch = max(self.epoch, store.epoch)
        logs = list(store.logs())
        for step in range(steps):
            kind = chance.random()
            log = chance.choice(logs) if logs else None
            if log is None or kind < 0.03:
                log = store.create_log(chance.choice(shards), chance.randbytes(16))
                self.logs[log.id] = ModelLog(log.shard)
                logs.append(log)
            elif kind < 0.6:
                targets = chance.sample(logs, min(len(logs), chance.choice([1, 1, 2, 3])))
                self.count += 1
                count = chance.choice([1, 1, 3])
                data = b"%d." % self.count * chance.choice([1, 30, 300, 2000])
                store.append(targets, make_entry(2, 1, 0, b"", data, count))
                for target in targets:
                    model = self.logs[target.id]
                    model.entries.append((model.next, count, data))
                    model.next += count
            elif kind < 0.8 and log.next_offset > log.first_offset:
                first = chance.choice([log.first_offset, chance.randrange(log.first_offset, log.next_offset)])
                end = min(log.next_offset, first + chance.choice([1, 2, 30]))
                store.discard(log, first, end)
                self.logs[log.id].gone.update(range(first, end))
            elif kind < 0.85:
                offset = chance.randrange(log.next_offset + 1)
                store.mark(log, offset)
                self.logs[log.id].marked = max(self.logs[log.id].marked, offset)
            elif kind < 0.98:
                shard, key, delta = chance.choice(shards), b"%d" % chance.randrange(5), chance.choice([b"a", b"b", b"-"])
                store.fold(shard, key, delta)
                value = fold(key, self.values.pop((shard, key), None), delta)
                if value is not None:
                    self.values[shard, key] = value
            elif len(logs) > 3:
                logs.remove(log)
                store.drop_log(log)
                del self.logs[log.id]
            if step % 3 == 0:
                opened.commit()
        opened.commit()
        for log in chance.sample(logs, min(2, len(logs))):
            self.compact(opened, log)
        self.time_ms = max(self.time_ms, store.time.now_ms())

    def compact(self, opened: Opened, log: Log) -> None:
        """Every other entry of a log's first half goes, as compaction has it: it stands in older segments, and is not discarded."""
        model = self.logs[log.id]
        end = next((base for base, _, _ in reversed(model.entries) if base <= log.durable_offset // 2), 0)
        if not log.first_offset < end:
            return
        kept = [entry for number, entry in enumerate(model.entries) if entry[0] >= end or number % 2]
        entries = []
        for base, span, data in kept:
            if base < end and base >= log.first_offset:
                entry = make_entry(2, 1, 0, b"", data + b"!", span)
                entry.seal()
                entries.append(stored_entry(base, entry))
        opened.run(lambda done: opened.store.rewrite(log, log.first_offset, end, entries, done))
        first = log.first_offset
        model.entries = [(base, span, data + b"!") if first <= base < end else (base, span, data) for base, span, data in kept if base >= end or base >= first]

    def check(self, stores: list[Opened]) -> None:
        found: dict[bytes, Any] = {}
        values: dict[tuple[int, bytes], bytes] = {}
        for number, opened in enumerate(stores):
            assert opened.store.epoch > self.epoch
            assert opened.store.time.now_ms() >= self.time_ms
            for log in opened.store.logs():
                model = self.logs[log.id]
                assert log.shard % len(stores) == number
                assert (log.shard, log.next_offset, log.first_offset) == (model.shard, model.next, model.first())
                assert log.marked_offset >= model.marked
                assert {at for first, end in log.holes() for at in range(first, end)} == {at for at in model.gone if at >= model.first()}
                assert opened.read(log) == model.alive()
                found[log.id] = log
            for shard in range(SHARDS):
                values.update({(shard, key): value for key, value in opened.store.scan(shard, b"", b"\xff", 100)})
                assert shard % len(stores) == number or not opened.store.scan(shard, b"", b"\xff", 1)
        assert set(found) == set(self.logs)
        assert values == self.values


def parts(paths: list[Path]) -> list[Part]:
    return [Part(path, frozenset(range(number, SHARDS, len(paths)))) for number, path in enumerate(paths)]


def settled(path: Path) -> None:
    settle(path, lock_directory(str(path)), fold)


def divided(old: list[Path], new: list[Path]) -> Divided:
    for path in old:
        settled(path)
    return divide(parts(old), parts(new), lambda _: None)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_all_that_can_be_read_stays_what_it_was(tmp_path: Path, seed: int) -> None:
    model = Model(seed)
    paths = [tmp_path / "0.0"]
    for round_number, count in enumerate([1, *model.random.sample([[3, 2, 1, 4], [2, 3, 1, 2], [4, 1, 3, 1]], 1)[0]]):
        if round_number:
            new = [tmp_path / f"{round_number}.{number}" for number in range(count)]
            divided(paths, new)
            paths = new
            for path in paths:
                report = verify(path)
                assert report.is_whole, str(report)
        stores = [Opened(path, AheadClock() if round_number == 0 else None) for path in paths]
        model.check(stores)
        for number, opened in enumerate(stores):
            if model.random.random() < 0.8:
                model.write(opened, list(range(number, SHARDS, count)), model.random.choice([20, 150]))
            if model.random.random() < 0.5:
                opened.rest()
            opened.close() if model.random.random() < 0.5 else opened.abandon()


# -- one segment of two workers' logs, and what becomes of it ----------------------------------------------------------------------

SHARED = "segment-0000000000000002"
EVEN, ODD = b"\0" * 16, b"\1" * 16


def body(number: int) -> bytes:
    return b"%04d" % number * 1000


def append(opened: Opened, log_id: bytes, numbers: range) -> None:
    log = opened.store.log(log_id)
    assert log is not None
    for number in numbers:
        opened.store.append([log], make_entry(2, 1, 0, b"", body(number), 1))


def everything(opened: Opened, log_id: bytes) -> list[tuple[int, int, bytes]]:
    log = opened.store.log(log_id)
    assert log is not None
    return opened.read(log)


def tidy(opened: Opened) -> None:
    """A round that sorts what there is, and the merges that it brings about."""
    opened.commit()
    opened.store.maintenance._crowded = True
    opened.store.maintenance._again()
    opened.rest()


def segments_of(path: Path) -> list[SegmentRow]:
    checkpoint = SqliteCheckpoint(str(path), read_only=True)
    try:
        return checkpoint.load().segments
    finally:
        checkpoint.close()


def in_part(path: Path) -> list[SegmentRow]:
    """Segments of which only odd shards count."""
    return [row for row in segments_of(path) if row.shared is not None and row.shared.shards == b"\xaa\x0a"]


def grown(path: Path) -> None:
    """A log in shard 0, a smaller one in shard 1, whose beginning is in a segment of its own; the rest of both is in the next."""
    opened = Opened(path)
    for shard, log_id in enumerate((EVEN, ODD)):
        opened.store.create_log(shard, log_id)
    append(opened, ODD, range(10))
    tidy(opened)
    append(opened, EVEN, range(100))
    append(opened, ODD, range(10, 40))
    opened.store.fold(0, b"even", b"a")
    opened.store.fold(1, b"odd", b"b")
    opened.commit()
    opened.abandon()


def halves(tmp_path: Path) -> tuple[Path, Path]:
    grown(tmp_path / "one")
    paths = tmp_path / "even", tmp_path / "odd"
    done = divided([tmp_path / "one"], list(paths))
    assert (done.logs, done.values, done.segments, done.left, done.copied_size) == (2, 2, 3, 0, 0)
    return paths


def with_its_own_past(even: Path) -> list[tuple[int, int, bytes]]:
    """The one half goes on: it rewrites the end of its log, has no use for the shared segment any more, and lets go of it. What its log has now."""
    opened = Opened(even)
    log = opened.store.log(EVEN)
    assert log is not None
    entry = make_entry(2, 1, 0, b"", b"compacted", 1)
    entry.seal()
    opened.run(lambda done: opened.store.rewrite(log, 80, 100, [stored_entry(99, entry)], done))
    opened.store.discard(log, 0, 60)
    append(opened, EVEN, range(100, 102))
    tidy(opened)
    found = everything(opened, EVEN)
    assert found == [(number, 1, body(number)) for number in range(60, 80)] + [(99, 1, b"compacted"), (100, 1, body(100)), (101, 1, body(101))]
    opened.close()
    return found


def together(tmp_path: Path) -> tuple[Path, list[tuple[int, int, bytes]]]:
    """Both halves in one store again, after the one has let go of what the other still has."""
    even, odd = halves(tmp_path)
    shared = (odd / SHARED).stat().st_ino
    kept = with_its_own_past(even)
    assert shared not in {path.stat().st_ino for path in even.iterdir()}
    whole = tmp_path / "whole"
    divided([even, odd], [whole])
    assert shared in {path.stat().st_ino for path in whole.iterdir()}
    return whole, kept


def test_files_are_shared_and_never_written_to(tmp_path: Path) -> None:
    even, odd = halves(tmp_path)
    files = [path / SHARED for path in (tmp_path / "one", even, odd)]
    assert len({file.stat().st_ino for file in files}) == 1
    before = files[0].read_bytes()
    with_its_own_past(even)
    assert files[2].read_bytes() == files[0].read_bytes() == before
    opened = Opened(odd)
    assert everything(opened, ODD) == [(number, 1, body(number)) for number in range(40)]
    assert opened.store.log(EVEN) is None
    opened.close()


def test_put_together_at_once_each_file_is_there_once_and_counts_of_all(tmp_path: Path) -> None:
    even, odd = halves(tmp_path)
    divided([even, odd], [tmp_path / "whole"])
    old, new = (segments_of(tmp_path / name) for name in ("one", "whole"))
    assert [row.id for row in new] == [row.id for row in old] == [1, 2]
    assert [row.shared for row in new] == [None, None]


def test_what_one_has_let_go_of_does_not_come_back_with_the_other_s(tmp_path: Path) -> None:
    whole, kept = together(tmp_path)
    assert [row.shared for row in in_part(whole)] == [(2, b"\xaa\x0a")]
    opened = Opened(whole)
    assert everything(opened, EVEN) == kept
    assert everything(opened, ODD) == [(number, 1, body(number)) for number in range(40)]
    append(opened, ODD, range(40, 60))
    opened.commit()
    tidy(opened)  # mostly what does not count here: it is copied, without that
    assert everything(opened, EVEN) == kept
    assert everything(opened, ODD) == [(number, 1, body(number)) for number in range(60)]
    opened.close()
    assert in_part(whole) == []
    assert verify(whole).is_whole
    opened = Opened(whole)
    assert everything(opened, EVEN) == kept
    opened.close()


def test_damage_in_what_counts_in_part_is_set_aside_in_part(tmp_path: Path) -> None:
    whole, kept = together(tmp_path)
    (row,) = in_part(whole)
    file = whole / f"segment-{row.id:016d}"
    data = bytearray(file.read_bytes())
    data[data.rindex(body(17)) + 9] ^= 1  # of the log in the odd shard, behind the other
    file.write_bytes(data)
    assert not verify(whole).is_whole
    report = quarantine(whole)
    assert report.is_mended
    assert {missing.log for missing in report.missing} == {ODD}
    opened = Opened(whole)
    assert everything(opened, EVEN) == kept
    assert 0 < len(everything(opened, ODD)) < 40
    opened.close()


def test_where_there_are_no_links_files_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: Any) -> None:
        raise OSError(errno.EPERM, "no such thing here")

    monkeypatch.setattr(os, "link", no_links)
    grown(tmp_path / "one")
    done = divided([tmp_path / "one"], [tmp_path / "even", tmp_path / "odd"])
    assert done.linked_size == 0
    assert done.copied_size > 2 * (tmp_path / "one" / SHARED).stat().st_size
    kept = with_its_own_past(tmp_path / "even")
    divided([tmp_path / "even", tmp_path / "odd"], [tmp_path / "whole"])
    opened = Opened(tmp_path / "whole")
    assert everything(opened, EVEN) == kept
    assert len(everything(opened, ODD)) == 40
    opened.close()


def test_another_error_of_a_link_is_not_a_reason_to_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "link", full)
    grown(tmp_path / "one")
    with pytest.raises(OSError, match="full"):
        divided([tmp_path / "one"], [tmp_path / "even", tmp_path / "odd"])


def test_what_a_store_has_of_foreign_shards(tmp_path: Path) -> None:
    even, odd = halves(tmp_path)
    opened = Opened(odd)
    opened.store.fold(0, b"even", b"z")
    opened.commit()
    opened.close()
    assert divided([even, odd], [tmp_path / "whole"]).left == 1
    opened = Opened(tmp_path / "whole")
    assert opened.store.get(0, b"even") == b"a"
    opened.close()
    opened = Opened(odd)
    opened.store.create_log(0, b"\2" * 16)
    opened.commit()
    opened.close()
    with pytest.raises(CorruptData, match="02020202.* is of shard 0, which this store has not"):
        divided([even, odd], [tmp_path / "again"])


def test_a_store_with_nothing_in_it(tmp_path: Path) -> None:
    settled_paths = [tmp_path / "a", tmp_path / "b"]
    for path in settled_paths:
        path.mkdir()
    assert divided(settled_paths, [tmp_path / "c"]) == Divided()
    Opened(tmp_path / "c").close()


def test_where_a_store_was_none_is_found(tmp_path: Path) -> None:
    make_gravestone(tmp_path)
    with pytest.raises(CorruptData, match="needs a reader of level 65535.*use a newer entrepot"):
        SqliteCheckpoint(str(tmp_path))


def test_what_fails_while_a_store_is_settled_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grown(tmp_path)
    monkeypatch.setattr(PosixDisk, "free_bytes", lambda _: -1)  # segments find no room
    with pytest.raises(OSError, match="segments wait"):
        settled(tmp_path)
    monkeypatch.undo()
    opened = Opened(tmp_path)
    assert len(everything(opened, EVEN)) == 100
    opened.close()
