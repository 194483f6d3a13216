"""A node's directory is divided for another number of workers: killed at every step it is the old one or on its way to the new one, never less."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opened_store import Opened

from entrepot.broker.catalogue.cluster_id import CLUSTER_ID_KEY
from entrepot.broker.catalogue.shards import SHARD_COUNT_KEY
from entrepot.broker.state import set_value
from entrepot.broker.state_kinds import default_folds
from entrepot.cluster.workers.directory import WorkersFile, check_single, check_whole, read, stores_of, write
from entrepot.cluster.workers.splitting import LINK_KEY_FILE, split
from entrepot.entropy import SystemEntropy
from entrepot.model.entry import make_entry
from entrepot.model.errors import CorruptData, Refused
from entrepot.store.local.checkpoint import SqliteCheckpoint
from entrepot.store.local.posix_disk import lock_directory
from entrepot.store.local.verify import verify

FOLD = default_folds().fold
ALL_STEPS = bool(os.environ.get("ENTREPOT_SPLIT_ALL"))
LOGS = 9
OWN = {SHARD_COUNT_KEY, CLUSTER_ID_KEY}  # made where they are not


class Killed(BaseException):
    """The process is no more."""


def killer(number: int) -> Callable[[str], None]:
    """An on_step that kills at that step."""
    left = number

    def on_step(_: str) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed

    return on_step


def divide(directory: Path, workers: int, on_step: Callable[[str], None] = lambda _: None) -> Any:
    return split(directory, workers, SystemEntropy(), on_step=on_step)


def grow(opened: Opened, shards: list[int], name: bytes) -> None:
    """Some in segments, some in the journal, some discarded."""
    for shard in shards:
        log = opened.store.create_log(shard, name * 4 + bytes(3) + bytes([shard]))
        for number in range(12):
            opened.store.append([log], make_entry(2, 1, 0, b"", b"%s %d %d " % (name, shard, number) * 40, 1))
            opened.commit()
        opened.store.discard(log, 0, 3)
        opened.store.discard(log, 5, 6)
        opened.store.mark(log, 4)
        opened.store.fold(shard, b"g:" + name, set_value(b"value"))
    opened.commit()


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of one broker that was killed."""
    directory = tmp_path_factory.mktemp("grown") / "data"
    opened = Opened(directory, fold=FOLD)
    grow(opened, list(range(LOGS)), b"one")
    opened.abandon()
    (directory / "secrets.key").write_bytes(b"the key")
    (directory / "quarantine-segment").write_bytes(b"evidence")
    (directory / "volatile").mkdir()
    (directory / "volatile" / "scratch-00000001").write_bytes(b"left over")
    (directory / "admin.sock").touch()
    return directory


def contents(directory: Path) -> dict[Any, Any]:
    """All that can be read, wherever it is."""
    found: dict[Any, Any] = {}
    stores = stores_of(directory)
    for number, path in enumerate(stores):
        opened = Opened(path, fold=FOLD)
        for log in opened.store.logs():
            assert log.shard % len(stores) == number
            found[log.id] = log.shard, log.first_offset, log.next_offset, log.marked_offset, list(log.holes()), opened.read(log)
        for shard in range(LOGS):
            for key, value in opened.store.scan(shard, b"", b"\xff", 100):
                if key not in OWN:
                    found[shard, key] = value
        opened.close()
    return found


def copied(directory: Path, tmp_path: Path, name: str = "copy") -> Path:
    shutil.rmtree(tmp_path / name, ignore_errors=True)
    return Path(shutil.copytree(directory, tmp_path / name))


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


KEPT = {"lock", "secrets.key", "quarantine-segment"}
DIVIDED = {*KEPT, "workers.json", LINK_KEY_FILE, "checkpoint.sqlite"}


def check_finished(directory: Path, workers: int) -> None:
    left = {name for name in names(directory) if not name.startswith(("segment-", "journal-"))}
    if workers == 1:
        assert left - {"checkpoint.sqlite"} == KEPT
        assert read(directory) is None
    else:
        assert names(directory) == DIVIDED | {f"w{number}" for number in range(workers)}
        found = read(directory)
        assert found is not None
        assert (found.workers, found.shards, len(found.cluster_id)) == (workers, 256, 22)
        with pytest.raises(CorruptData, match="needs a reader of level 65535"):
            SqliteCheckpoint(str(directory), read_only=True)
    for path in stores_of(directory):
        report = verify(path)
        assert report.is_whole, str(report)


def test_there_and_back(one: Path, tmp_path: Path) -> None:
    data = copied(one, tmp_path)
    expected = contents(one)
    ids = set()
    key = b""
    for turn, workers in enumerate((3, 2, 1, 5)):
        outcome = divide(data, workers)
        assert (outcome.new, outcome.resumed, outcome.divided.logs, outcome.divided.left) == (workers, False, len(expected) // 2, 0)
        check_finished(data, workers)
        if (found := read(data)) is not None:
            ids.add(found.cluster_id)
            assert stat.S_IMODE((data / LINK_KEY_FILE).stat().st_mode) == 0o600
            assert len((data / LINK_KEY_FILE).read_bytes()) == 32
            assert outcome.old == 1 or (data / LINK_KEY_FILE).read_bytes() == key
            key = (data / LINK_KEY_FILE).read_bytes()
        assert contents(data) == expected
        for number, path in enumerate(stores_of(data)):
            opened = Opened(path, fold=FOLD)
            grow(opened, [number], b"t%02d" % turn)
            opened.abandon()
        expected = contents(data)
    assert len(ids) == 1
    assert (data / "secrets.key").read_bytes() == b"the key"


def test_what_is_divided_so_already_is_left_alone(one: Path, tmp_path: Path) -> None:
    data = copied(one, tmp_path)
    before = names(data)
    outcome = divide(data, 1)
    assert (outcome.old, outcome.new, outcome.divided) == (1, 1, None)
    assert names(data) == before


def steps_of(data: Path, workers: int) -> list[str]:
    steps: list[str] = []
    divide(data, workers, steps.append)
    return steps


def points(steps: list[str], turn: int) -> list[int]:
    """Where to kill: everywhere, or at the first or the last of every second kind of step; of two turns each has the other half."""
    if ALL_STEPS:
        return list(range(len(steps)))
    kinds = list(dict.fromkeys(steps))
    return [len(steps) - 1 - steps[::-1].index(kind) if place % 2 else steps.index(kind) for place, kind in enumerate(kinds)][turn % 2 :: 2]


@pytest.mark.parametrize(("old", "new"), [(1, 2), (3, 2), (2, 1)])
def test_killed_at_any_step_it_is_the_old_one_or_on_its_way(one: Path, tmp_path: Path, old: int, new: int) -> None:
    origin = copied(one, tmp_path, "origin")
    divide(origin, old)
    expected = contents(origin)
    steps = steps_of(copied(origin, tmp_path), new)
    decided = steps.index("decide") + 1
    assert decided < len(steps) - 3
    for place in points(steps, old // 2):
        data = copied(origin, tmp_path)
        with pytest.raises(Killed):
            divide(data, new, killer(place))
        if place < decided:
            check_whole(data)
            found = read(data)
            assert (found.workers if found is not None else 1) == old
            if place % 3 == 0:
                assert contents(data) == expected
        else:
            for check in (check_whole, check_single, stores_of):
                with pytest.raises(Refused, match=rf"was interrupted: run 'entrepot store split .* --workers {new}'"):
                    check(data)
            if len(steps) - place > 2:
                with pytest.raises(Killed):
                    divide(data, new, killer(1))  # the second try, too
        outcome = divide(data, new)
        assert outcome.resumed == (place >= decided)
        check_finished(data, new)
        assert contents(data) == expected, steps[place]


def test_what_was_interrupted_is_finished_before_something_else_is_done(one: Path, tmp_path: Path) -> None:
    expected = contents(one)
    data = copied(one, tmp_path)
    steps = steps_of(copied(one, tmp_path, "other"), 3)
    with pytest.raises(Killed):
        divide(data, 3, killer(steps.index("put a store in its place") + 1))
    outcome = divide(data, 2)
    assert outcome.resumed
    check_finished(data, 2)
    assert contents(data) == expected


def test_what_fails_leaves_nothing(one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = copied(one, tmp_path)
    expected = contents(data)

    def full(*_: Any) -> None:
        raise OSError(28, "full")

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(OSError, match="full"):
        divide(data, 3)
    monkeypatch.undo()
    assert "split.new" not in names(data)
    assert contents(data) == expected


@pytest.mark.parametrize("which", ["", "w1"])
def test_a_directory_in_use_is_left_alone(one: Path, tmp_path: Path, which: str) -> None:
    data = copied(one, tmp_path)
    if which:
        divide(data, 2)
    lock = lock_directory(str(data / which))
    try:
        with pytest.raises(Refused, match="in use by another process"):
            divide(data, 3)
    finally:
        os.close(lock)
    assert divide(data, 3).new == 3


def test_what_is_no_store_s_is_kept(one: Path, tmp_path: Path) -> None:
    data = copied(one, tmp_path)
    divide(data, 2)
    (data / "secrets.key").rename(data / "w0" / "secrets.key")
    (data / "w1" / "quarantine-segment").write_bytes(b"of w1")
    divide(data, 1)
    assert (data / "secrets.key").read_bytes() == b"the key"
    assert (data / "w1-quarantine-segment").read_bytes() == b"of w1"
    assert not (data / "w1").exists()


def test_what_cannot_be(one: Path, tmp_path: Path) -> None:
    data = copied(one, tmp_path)
    for workers, why in ((0, "1 to 64"), (65, "1 to 64")):
        with pytest.raises(Refused, match=why):
            divide(data, workers)
    with pytest.raises(Refused, match="no data directory"):
        divide(tmp_path, 2)
    (data / "w1").mkdir()
    with pytest.raises(Refused, match="w1 is in the way"):
        divide(data, 2)
    (data / "w1").rmdir()
    divide(data, 2)
    with pytest.raises(Refused, match="divided among 2 workers.*--workers 1'"):
        check_single(data)


def test_the_file_of_workers(tmp_path: Path) -> None:
    assert read(tmp_path) is None
    write(tmp_path, WorkersFile(workers=3, cluster_id="x", shards=256))
    assert read(tmp_path) == WorkersFile(workers=3, cluster_id="x", shards=256)
    assert stat.S_IMODE((tmp_path / "workers.json").stat().st_mode) == 0o600
    for text, why in {
        '{"version":2,"workers":3,"shards":256}': "version 2",
        '{"version":1,"workers":3,"shards":2}': "3 workers for 2 shards",
        '{"version":1,"workers":0,"shards":2}': "0 workers",
        '{"version":1,"workers":"3","shards":2}': "workers.json",
        "[]": "workers.json",
        "": "workers.json",
    }.items():
        (tmp_path / "workers.json").write_text(text)
        with pytest.raises(CorruptData, match=why):
            read(tmp_path)
