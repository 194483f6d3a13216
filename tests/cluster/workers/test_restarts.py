"""When a worker is started again, and that each start is greater than all before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from entrepot.cluster.greeting import START_SIZE
from entrepot.cluster.workers.place import WorkerPlace
from entrepot.cluster.workers.restarts import Restarts, StartIds
from entrepot.entropy import SystemEntropy
from entrepot.model.errors import CorruptData


class Wall:
    """A clock that is set."""

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms

    def wall_ms(self) -> int:
        return self.now_ms


def ids(path: Path, wall: Wall) -> StartIds:
    return StartIds(path, wall, SystemEntropy())  # type: ignore[arg-type]


def test_at_once_then_by_and_by() -> None:
    restarts = Restarts()
    assert [restarts.delay_s(1.0) for _ in range(9)] == [0, 0.25, 0.5, 1, 2, 4, 8, 10, 10]
    assert restarts.count == 9


@pytest.mark.parametrize(("ready_s", "delays"), [(9.9, [0.5, 1]), (10.0, [0, 0.25]), (None, [0.5, 1])])
def test_who_was_ready_for_long_begins_anew(ready_s: float | None, delays: list[float]) -> None:
    restarts = Restarts()
    assert [restarts.delay_s(None), restarts.delay_s(None)] == [0, 0.25]
    assert [restarts.delay_s(ready_s), restarts.delay_s(None)] == delays


def test_what_may_be_there_still_is_not_tried_at_once() -> None:
    restarts = Restarts()
    assert [restarts.delay_s(100.0, has_failed=True), restarts.delay_s(None, has_failed=True), restarts.delay_s(100.0)] == [0.25, 0.5, 0]


def test_starts_grow_whatever_the_clock_does(tmp_path: Path) -> None:
    wall = Wall(1_800_000_000_000)
    starts = ids(tmp_path, wall)
    found = [starts.next(), starts.next()]
    wall.now_ms -= 86_400_000
    found += [starts.next(), ids(tmp_path, wall).next()]  # another parent, too
    wall.now_ms += 2 * 86_400_000
    found.append(ids(tmp_path, wall).next())
    octets = [WorkerPlace(number=0, count=2, start=start, data="d").start_id for start in found]
    assert octets == sorted(octets)
    assert len({start[8:] for start in octets}) == len(octets)
    assert {len(start) for start in octets} == {START_SIZE}
    assert int.from_bytes(octets[-1][:8], "big") == wall.now_ms * 1_000_000


@pytest.mark.parametrize("text", [b"", b"12", b"zz" * 16, b"\xff", b"ab" * 17])
def test_a_damaged_file_stops_the_start(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "last.start").write_bytes(text)
    with pytest.raises(CorruptData, match=r"last\.start holds no start"):
        ids(tmp_path, Wall(0))
