"""Commands of who started the broker, where there are workers: each to whom it concerns, answered once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any

import pytest

from entrepot.parent.forwarding import Forwarding


class Workers:
    """They open listeners at ports of their own, and remember what they are told."""

    def __init__(self, count: int = 3) -> None:
        self.forwarding = Forwarding(count, self.ask)
        self.asked: list[tuple[int, dict[str, Any]]] = []
        self.away: set[int] = set()
        self.silent: set[int] = set()
        self.last_port = 40_000

    def ask(self, number: int, command: dict[str, Any]) -> bool:
        if number in self.away:
            return False
        self.asked.append((number, command))
        if number not in self.silent:
            asyncio.get_running_loop().call_soon(self.forwarding.answered, number, self.answer(command))
        return True

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        if "open" not in command:
            return {}
        self.last_port += 1
        return {"ports": {"kafka": command["ports"].get("kafka", self.last_port)}}

    def of(self, number: int) -> list[dict[str, Any]]:
        return [command for one, command in self.asked if one == number]


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


async def ask(workers: Workers, **command: Any) -> dict[str, Any]:
    return await workers.forwarding.answer(json.dumps(command).encode())


NODES = {"nodes": "a/b", "addresses": {"kafka": ["127.0.0.1:40001", "127.0.0.1:40002", "127.0.0.1:40003"]}}


def test_a_namespace_is_opened_everywhere_and_all_are_told_where() -> None:
    async def test() -> None:
        workers = Workers()
        assert await ask(workers, open="a/b", ports={}) == {"ports": {"kafka": 40_001}}
        assert [workers.of(number) for number in range(3)] == [[{"open": "a/b", "ports": {}}, NODES]] * 3

    run(test())


def test_the_ports_that_are_wanted_are_the_first_workers() -> None:
    async def test() -> None:
        workers = Workers()
        assert await ask(workers, open="a/b", ports={"kafka": 7}) == {"ports": {"kafka": 7}}
        assert workers.of(1)[0] == {"open": "a/b", "ports": {}}

    run(test())


def test_a_new_start_opens_them_where_they_were() -> None:
    async def test() -> None:
        workers = Workers()
        await ask(workers, open="a/b")
        await ask(workers, open="c/d")
        await ask(workers, close="c/d")
        workers.asked.clear()
        workers.forwarding.ready_again(1)
        await asyncio.gather(*workers.forwarding._opening)
        assert workers.asked == [(1, {"open": "a/b", "ports": {"kafka": 40_002}}), (1, NODES)]

    run(test())


def test_users_are_the_first_workers_affair() -> None:
    async def test() -> None:
        workers = Workers()
        assert await ask(workers, users=["delete_user", "ann"]) == {}
        assert workers.asked == [(0, {"users": ["delete_user", "ann"]})]

    run(test())


def test_one_that_ends_answers_nobody_and_leaves_nobody_waiting() -> None:
    async def test() -> None:
        workers = Workers()
        workers.silent.add(1)
        asking = asyncio.ensure_future(ask(workers, open="a/b"))
        while len(workers.asked) < 3:
            await asyncio.sleep(0)
        workers.forwarding.lost(1)
        assert "worker 1 has ended" in (await asking)["error"]
        workers.forwarding.answered(1, {"of": "nothing"})  # nobody waits
        assert not workers.forwarding._open

    run(test())


def test_who_is_not_ready_cannot_be_asked() -> None:
    async def test() -> None:
        workers = Workers()
        workers.away.add(2)
        assert await ask(workers, open="a/b") == {"error": "worker 2 is not ready"}

    run(test())


@pytest.mark.parametrize("line", [b"{", b"\xff"])
def test_what_is_no_command_is_refused(line: bytes) -> None:
    async def test() -> None:
        assert "error" in await Workers().forwarding.answer(line)

    run(test())
