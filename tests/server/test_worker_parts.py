"""What a worker hears before it is one of several is kept for the Member, which would wait for who is down; and what it waits for before it has left."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from entrepot.cluster.workers.opening import opened
from entrepot.cluster.workers.place import WorkerPlace
from entrepot.entropy import SystemEntropy
from entrepot.settings import Config
from entrepot.worker import SAID_LOOK_S, SAID_WAIT_S, _until_said, _Worker

DOWN = bytes(15) + b"\x07"


def test_a_death_that_is_told_early_is_kept(tmp_path: Path) -> None:
    opened(tmp_path, 3, SystemEntropy())
    place = WorkerPlace(number=0, count=3, start=bytes(16).hex(), data=str(tmp_path))
    parent: Any = SimpleNamespace(place=place, condemn=None)
    worker = _Worker(Config(data=str(tmp_path / "w0")), parent)
    membership = worker._membership()
    worker._dead("w1", DOWN)
    assert list(membership.dead) == [("w1", DOWN)]


class Loop:
    """Whose timers are over at once."""

    def __init__(self, member: Any) -> None:
        self.member = member
        self.looks = 0

    def call_later(self, delay_s: float, callback: Any, left: int) -> None:
        self.looks += 1
        self.member.has_more_to_say = self.looks < self.member.looks
        callback(left)


def test_it_has_left_when_the_others_have_heard_what_was_settled_last_or_a_while_later() -> None:
    most = round(SAID_WAIT_S / SAID_LOOK_S)
    for looks, expected in ((0, 0), (3, 3), (10_000, most)):
        member: Any = SimpleNamespace(has_more_to_say=looks > 0, looks=looks)
        loop: Any = Loop(member)
        asyncio.run(_until_said(loop, member))
        assert loop.looks == expected
