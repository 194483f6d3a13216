"""What a worker hears before it is one of several: it is kept for the Member, which would wait for who is down."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from entrepot.cluster.workers.opening import opened
from entrepot.cluster.workers.place import WorkerPlace
from entrepot.entropy import SystemEntropy
from entrepot.settings import Config
from entrepot.worker import _Worker

DOWN = bytes(15) + b"\x07"


def test_a_death_that_is_told_early_is_kept(tmp_path: Path) -> None:
    opened(tmp_path, 3, SystemEntropy())
    place = WorkerPlace(number=0, count=3, start=bytes(16).hex(), data=str(tmp_path))
    parent: Any = SimpleNamespace(place=place, condemn=None)
    worker = _Worker(Config(data=str(tmp_path / "w0")), parent)
    membership = worker._membership()
    worker._dead("w1", DOWN)
    assert list(membership.dead) == [("w1", DOWN)]
