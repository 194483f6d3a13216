"""Both keepers of checkpoints behave the same, against a model; damage is told; a save that fails changes nothing."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_disk import MemoryDisk

from both_modes import examples
from entrepot.model.errors import CorruptData
from entrepot.store.local.checkpoint import (
    CHECKPOINT_NAME,
    IMAGE_NAME,
    IMAGE_TEMPORARY_NAME,
    AdoptedRow,
    Changes,
    Checkpoint,
    HoleRow,
    ImageCheckpoint,
    JournalRow,
    LogRow,
    SegmentRow,
    SharedRow,
    SqliteCheckpoint,
)

GOLDEN = Path(__file__).parent / "golden"


class Sqlite:
    def __init__(self) -> None:
        self.directory = tempfile.TemporaryDirectory()

    def open(self) -> Checkpoint:
        return SqliteCheckpoint(self.directory.name)

    def close(self) -> None:
        self.directory.cleanup()


class Image:
    def __init__(self) -> None:
        self.disk = MemoryDisk()

    def open(self) -> Checkpoint:
        return ImageCheckpoint(self.disk)

    def close(self) -> None:
        pass


KEEPERS = [Sqlite, Image]


@pytest.fixture(params=KEEPERS)
def keeper(request: pytest.FixtureRequest) -> Iterator[Any]:
    made = request.param()
    yield made
    made.close()


def log_id(number: int) -> bytes:
    return bytes([number]) * 16


def test_a_new_store_is_empty(keeper: Any) -> None:
    checkpoint = keeper.open()
    found = checkpoint.load()
    assert found.meta == {"format_level": 1, "minimum_reader": 1}
    assert found[1:] == ([], [], [], [])
    assert checkpoint.get(0, b"") is None
    assert checkpoint.scan(0, b"", b"\xff", 10) == []
    assert list(checkpoint.problems()) == []
    checkpoint.close()


def test_segments_that_adopt_journal_files_come_back_and_raise_the_level(keeper: Any) -> None:
    checkpoint = keeper.open()
    changes = Changes()
    adopting = SegmentRow(9, 4096, 2, AdoptedRow(7, 3, (1 << 64) - 5, 1 << 26))
    changes.segments([SegmentRow(4, 100, 0), adopting])
    checkpoint.save(changes)()
    for _ in range(2):
        found = checkpoint.load()
        assert found.segments == [SegmentRow(4, 100, 0), adopting]
        assert found.meta == {"format_level": 2, "minimum_reader": 2}
        assert list(checkpoint.problems()) == []
        checkpoint.close()
        checkpoint = keeper.open()
    changes = Changes()
    changes.segments([SegmentRow(4, 100, 0)])
    checkpoint.save(changes)()
    assert checkpoint.load().segments == [SegmentRow(4, 100, 0)]
    checkpoint.close()


def test_segments_that_were_another_store_s_come_back_and_raise_the_level(keeper: Any) -> None:
    checkpoint = keeper.open()
    changes = Changes()
    rows = [
        SegmentRow(4, 100, 0, None, SharedRow(9, b"\x05\x80")),
        SegmentRow(9, 4096, 2, AdoptedRow(7, 3, 1, 1 << 26), SharedRow(9, b"\x01")),
        SegmentRow(10, 1, 0),
    ]
    changes.segments(rows)
    checkpoint.save(changes)()
    for _ in range(2):
        found = checkpoint.load()
        assert found.segments == rows
        assert found.meta == {"format_level": 3, "minimum_reader": 3}
        assert list(checkpoint.problems()) == []
        checkpoint.close()
        checkpoint = keeper.open()
    changes = Changes()
    changes.segments(rows[2:])
    checkpoint.save(changes)()
    assert checkpoint.load().segments == rows[2:]
    checkpoint.close()


def test_everything_comes_back(keeper: Any) -> None:
    checkpoint = keeper.open()
    changes = Changes()
    changes.meta("folded_sequence", (1 << 64) - 1)
    changes.journals([JournalRow(7, (1 << 64) - 5, 64), JournalRow(3, 1, 1 << 40)])
    changes.segments([SegmentRow(9, 1 << 33, 2), SegmentRow(4, 100, 0)])
    changes.log(LogRow(log_id(1), 255, 5, 1 << 40, 6, 77))
    changes.log(LogRow(log_id(0), 0, 0, 0, 0, 0))
    changes.hole(log_id(1), 3, b"\0\1")
    changes.hole(log_id(1), 4, b"")
    changes.value(1, b"k", b"")
    changes.value(1, b"\0k\xff", b"\0v\xff")
    changes.value(2, b"k", b"other")
    assert changes.count() == 12
    checkpoint.save(changes)()
    for _ in range(2):
        found = checkpoint.load()
        assert found.meta["folded_sequence"] == (1 << 64) - 1
        assert found.journals == [JournalRow(7, (1 << 64) - 5, 64), JournalRow(3, 1, 1 << 40)]
        assert found.segments == [SegmentRow(9, 1 << 33, 2), SegmentRow(4, 100, 0)]
        assert sorted(found.logs) == [LogRow(log_id(0), 0, 0, 0, 0, 0), LogRow(log_id(1), 255, 5, 1 << 40, 6, 77)]
        assert sorted(found.holes) == [HoleRow(log_id(1), 3, b"\0\1"), HoleRow(log_id(1), 4, b"")]
        assert checkpoint.get(1, b"k") == b""
        assert checkpoint.scan(1, b"", b"\xff\xff", 10) == [(b"\0k\xff", b"\0v\xff"), (b"k", b"")]
        assert list(checkpoint.problems()) == []
        checkpoint.close()
        checkpoint = keeper.open()
    changes = Changes()
    changes.drop_log(log_id(1))
    changes.value(2, b"k", None)
    changes.segments([])
    checkpoint.save(changes)()
    found = checkpoint.load()
    assert (found.segments, found.holes, len(found.logs), len(found.journals)) == ([], [], 1, 2)
    assert checkpoint.get(2, b"k") is None
    checkpoint.close()


keys = st.tuples(st.integers(0, 2), st.sampled_from([b"", b"a", b"ab", b"b", b"\xff"]))
saves = st.lists(
    st.tuples(
        st.dictionaries(keys, st.one_of(st.none(), st.binary(max_size=5)), max_size=6),
        st.dictionaries(st.tuples(st.integers(0, 3), st.integers(0, 2)), st.one_of(st.none(), st.binary(max_size=4)), max_size=4),
        st.dictionaries(st.integers(0, 3), st.integers(0, 1 << 62), max_size=3),
        st.sets(st.integers(0, 3), max_size=1),
        st.booleans(),
    ),
    max_size=5,
)


@pytest.mark.parametrize("kind", KEEPERS)
@settings(max_examples=examples(25), deadline=None)
@given(saves)
def test_against_a_model(kind: Callable[[], Any], steps: list[Any]) -> None:
    keeper = kind()
    checkpoint = keeper.open()
    values: dict[tuple[int, bytes], bytes] = {}
    holes: dict[tuple[bytes, int], bytes] = {}
    logs: dict[bytes, int] = {}
    for new_values, new_holes, new_logs, drops, again in steps:
        changes = Changes()
        for number in drops:
            changes.drop_log(log_id(number))
            logs.pop(log_id(number), None)
            holes = {key: data for key, data in holes.items() if key[0] != log_id(number)}
        for (shard, key), value in new_values.items():
            changes.value(shard, key, value)
            if value is None:
                values.pop((shard, key), None)
            else:
                values[shard, key] = value
        for (number, block), data in new_holes.items():
            if number in drops:
                continue
            changes.hole(log_id(number), block, data)
            if data is None:
                holes.pop((log_id(number), block), None)
            else:
                holes[log_id(number), block] = data
        for number, offset in new_logs.items():
            if number not in drops:
                changes.log(LogRow(log_id(number), number, 0, offset, 0, 0))
                logs[log_id(number)] = offset
        checkpoint.save(changes)()
        if again:
            checkpoint.close()
            checkpoint = keeper.open()
        found = checkpoint.load()
        assert {(row.log, row.block): row.data for row in found.holes} == holes
        assert {row.id: row.next for row in found.logs} == logs
        for shard in range(3):
            model = sorted((key, value) for (where, key), value in values.items() if where == shard)
            assert checkpoint.scan(shard, b"", b"\xff\xff", 100) == model
            assert checkpoint.scan(shard, b"a", b"b", 1) == [row for row in model if b"a" <= row[0] < b"b"][:1]
            for key in (b"", b"ab"):
                assert checkpoint.get(shard, key) == values.get((shard, key))
    checkpoint.close()
    keeper.close()


def with_value(checkpoint: Checkpoint) -> None:
    changes = Changes()
    changes.value(1, b"key", b"0123456789abcdef" * 4)
    changes.log(LogRow(log_id(1), 1, 2, 3, 2, 5))
    changes.hole(log_id(1), 0, b"hole")
    changes.journals([JournalRow(1, 2, 64)])
    changes.segments([SegmentRow(1, 1000, 0, AdoptedRow(1, 1, 2, 5000), SharedRow(2, b"\x01"))])
    checkpoint.save(changes)()


def test_rows_of_a_changed_file_are_told(tmp_path: Path) -> None:
    for statement, what in {
        "UPDATE state SET value = x'00'": "key 6b6579",
        "UPDATE adopted SET slot = 4": "segment 1's journal file",
        "UPDATE shared SET shards = x'02'": "what is said of segment 1",
        "UPDATE logs SET next = 4": "log 0101",
        "UPDATE holes SET data = x'01'": "holes, block 0",
        "UPDATE journals SET start = 72": "journal file 1",
        "UPDATE segments SET size = 1": "segment 1",
        "UPDATE meta SET value = 0 WHERE name = 'format_level'": "format_level",
    }.items():
        checkpoint = SqliteCheckpoint(str(tmp_path))
        with_value(checkpoint)
        checkpoint.close()
        connection = sqlite3.connect(tmp_path / CHECKPOINT_NAME, isolation_level=None)
        connection.execute(statement)
        connection.close()
        checkpoint = SqliteCheckpoint(str(tmp_path), read_only=True)
        assert [line for line in checkpoint.problems() if what in line]
        if "state" in statement:
            with pytest.raises(CorruptData, match="shard 1"):
                checkpoint.get(1, b"key")
            with pytest.raises(CorruptData, match="shard 1"):
                checkpoint.scan(1, b"", b"z", 1)
        else:
            with pytest.raises(CorruptData, match=what):
                checkpoint.load()
        checkpoint.close()
        (tmp_path / CHECKPOINT_NAME).unlink()


def test_a_newer_or_a_foreign_file_is_refused(tmp_path: Path) -> None:
    checkpoint = SqliteCheckpoint(str(tmp_path))
    changes = Changes()
    changes.meta("minimum_reader", 4)
    checkpoint.save(changes)()
    checkpoint.close()
    with pytest.raises(CorruptData, match="level 4"):
        SqliteCheckpoint(str(tmp_path))
    connection = sqlite3.connect(tmp_path / CHECKPOINT_NAME, isolation_level=None)
    connection.execute("PRAGMA application_id = 5")
    connection.close()
    with pytest.raises(CorruptData, match="not a checkpoint"):
        SqliteCheckpoint(str(tmp_path))
    (tmp_path / CHECKPOINT_NAME).write_bytes(b"not a database at all" * 100)
    with pytest.raises(CorruptData):
        SqliteCheckpoint(str(tmp_path))


def test_a_failed_save_changes_nothing(tmp_path: Path) -> None:
    checkpoint = SqliteCheckpoint(str(tmp_path))
    with_value(checkpoint)
    changes = Changes()
    changes.value(1, b"key", b"new")
    changes.values_gone_rows.append((1, object()))  # type: ignore[arg-type]
    with pytest.raises(Exception, match=r"type|support"):
        checkpoint.save(changes)()
    assert checkpoint.get(1, b"key") == b"0123456789abcdef" * 4
    changes = Changes()
    changes.value(1, b"key", b"new")
    checkpoint.save(changes)()
    assert checkpoint.get(1, b"key") == b"new"
    checkpoint.close()


def test_reading_goes_on_while_a_save_is_under_way(tmp_path: Path) -> None:
    checkpoint = SqliteCheckpoint(str(tmp_path))
    with_value(checkpoint)
    assert checkpoint._writer is not None
    checkpoint._writer.execute("BEGIN IMMEDIATE")
    checkpoint._writer.execute("DELETE FROM state")
    assert checkpoint.get(1, b"key") is not None
    checkpoint._writer.execute("ROLLBACK")
    checkpoint.close()


def test_the_image_is_swapped_whole_and_every_flipped_bit_is_told() -> None:
    disk = MemoryDisk()
    checkpoint = ImageCheckpoint(disk)
    with_value(checkpoint)
    assert disk.names() == [IMAGE_NAME]
    assert disk.syncs == 1
    disk.files[IMAGE_TEMPORARY_NAME] = bytearray(b"left by a crash")
    assert ImageCheckpoint(disk).get(1, b"key") is not None
    assert disk.names() == [IMAGE_NAME]
    image = disk.files[IMAGE_NAME]
    for position in [*range(24), *range(28, 200), len(image) - 1]:
        image[position] ^= 4
        with pytest.raises(CorruptData):
            ImageCheckpoint(disk)
        image[position] ^= 4
    del image[-1:]
    with pytest.raises(CorruptData):
        ImageCheckpoint(disk)


def test_the_golden_file_of_version_1_is_read(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT_NAME).write_bytes((GOLDEN / "checkpoint-v1.sqlite").read_bytes())
    disk = MemoryDisk()
    disk.files[IMAGE_NAME] = bytearray((GOLDEN / "checkpoint-v1.image").read_bytes())
    for checkpoint in (SqliteCheckpoint(str(tmp_path)), ImageCheckpoint(disk)):
        assert checkpoint.load().logs == [LogRow(log_id(1), 1, 2, 3, 2, 5)]
        assert checkpoint.load().holes == [HoleRow(log_id(1), 0, b"hole")]
        assert checkpoint.get(1, b"key") == b"0123456789abcdef" * 4
        checkpoint.close()
    (tmp_path / CHECKPOINT_NAME).write_bytes((GOLDEN / "checkpoint-v1-page-zeroed.sqlite").read_bytes())
    checkpoint = SqliteCheckpoint(str(tmp_path))
    assert list(checkpoint.problems())
    checkpoint.close()
