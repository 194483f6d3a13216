"""What a worker hears before it is one of several is kept for the Member, which would wait for who is down; and what it waits for before it has left."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from entrepot.clock import SystemClock
from entrepot.cluster.workers.opening import opened
from entrepot.cluster.workers.place import WorkerPlace
from entrepot.entropy import SystemEntropy
from entrepot.node import Node
from entrepot.server import store_failed
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


def test_who_follows_the_catalogue_keeps_nothing_of_it(tmp_path: Path) -> None:
    """Or a later split would find values with workers whose shards they are not of."""
    opened(tmp_path, 2, SystemEntropy())
    kept = []

    async def run() -> None:
        for number in range(2):
            place = WorkerPlace(number=number, count=2, start=bytes(16).hex(), data=str(tmp_path))
            config = Config(data=str(tmp_path / place.name))
            parent: Any = SimpleNamespace(place=place, condemn=None)
            membership = _Worker(config, parent)._membership()
            node = Node(config, asyncio.get_running_loop(), SystemClock(), SystemEntropy(), store_failed, membership=membership)
            kept.append(len(list(node.store.scan(0, b"", b"\xff", 99))))
            await node.close()

    asyncio.run(run())
    assert kept[0] > 0
    assert kept[1] == 0
