"""The socket between parent and worker, at the worker's end."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from entrepot.cluster.workers.lines import LINE_MAX_BYTES, Lines, line
from entrepot.cluster.workers.parent_line import Heard, ParentLine
from entrepot.model.errors import CorruptData

PLACE = {"number": 1, "count": 3, "start": "00" * 16, "data": "/d", "addresses": {"amqp": "127.0.0.1:5672"}, "own": {}}
FIRST = {"place": PLACE, "config": {"values": {"data": "/d/w1"}, "users": {}}}
LIMIT_S = 30.0


class Pair:
    """Both ends; what the worker hears, in order."""

    def __init__(self) -> None:
        self.parent, worker = socket.socketpair()
        self.descriptor = worker.detach()
        self.gone = threading.Event()
        self.gone_in: threading.Thread | None = None
        self.heard: list[Any] = []
        self.line: ParentLine

    def connect(self, first: dict[str, Any] = FIRST, *others: dict[str, Any]) -> ParentLine:
        self.parent.sendall(b"".join(line(said) for said in (first, *others)))
        self.line = ParentLine.connected(self.descriptor, self.on_gone)
        return self.line

    def on_gone(self) -> None:
        self.gone_in = threading.current_thread()
        self.gone.set()

    def listen(self, until: int) -> list[Any]:
        """What is heard on a loop, until it is so much."""

        async def listened() -> None:
            enough = asyncio.Event()

            def told(*what: Any) -> None:
                assert threading.current_thread() is threading.main_thread()
                self.heard.append(what)
                if len(self.heard) == until:
                    enough.set()

            self.line.listen(
                asyncio.get_running_loop(),
                Heard(
                    on_dead=lambda name, start: told("dead", name, start),
                    on_leave=lambda reason: told("leave", reason),
                    on_end=lambda reason: told("end", reason),
                    on_look=lambda: told("look"),
                    on_ask=lambda command: told("ask", command),
                ),
            )
            await asyncio.wait_for(enough.wait(), LIMIT_S)

        asyncio.run(listened())
        return self.heard


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.parent.close()
    assert made.gone.wait(LIMIT_S)
    if hasattr(made, "line"):
        made.line._sock.close()


def test_a_worker_is_told_what_it_is(pair: Pair) -> None:
    told = pair.connect()
    assert (told.place.name, told.place.others(), told.place.addresses) == ("w1", ["w0", "w2"], {"amqp": "127.0.0.1:5672"})
    assert told.config == FIRST["config"]


def test_what_comes_is_told_on_the_loop_in_order_though_it_came_before_anybody_listened(pair: Pair) -> None:
    pair.connect(FIRST, {"dead": ["w2", "07" * 16]}, {"a newer parent's": 1})
    pair.parent.sendall(line({"ask": {"open": "a/b"}}) + line({"look": True}) + line({"leave": "bye"}) + line({"end": "bye"}))
    assert pair.listen(5) == [("dead", "w2", b"\x07" * 16), ("ask", {"open": "a/b"}), ("look",), ("leave", "bye"), ("end", "bye")]


def test_what_it_says(pair: Pair) -> None:
    told = pair.connect()
    told.locked()
    told.ready({"pid": 7})
    told.users(True)
    told.condemn("w0", b"\x01" * 16, "why")
    told.answered({"ports": {}})
    told.here()
    told.left()
    told.failed("no")
    pair.parent.settimeout(LIMIT_S)
    lines = pair.parent.makefile("rb")
    expected: list[dict[str, Any]] = [
        {"locked": True},
        {"ready": {"pid": 7}},
        {"users": True},
        {"condemned": ["w0", "01" * 16, "why"]},
        {"answer": {"ports": {}}},
        {"here": True},
        {"left": True},
        {"failed": "no"},
    ]
    assert [json.loads(lines.readline()) for _ in expected] == expected
    lines.close()


def test_the_parents_end_is_noticed_while_the_loop_is_held_up(pair: Pair) -> None:
    pair.connect()
    pair.parent.close()
    assert pair.gone.wait(LIMIT_S)  # no loop turns here
    assert pair.gone_in is not threading.main_thread()
    pair.line.ready({})  # nobody hears it, and nothing comes of it


def test_a_parent_that_ends_before_it_has_said_anything(pair: Pair) -> None:
    pair.parent.close()
    with pytest.raises(CorruptData, match="the parent has said nothing"):
        ParentLine.connected(pair.descriptor, pair.on_gone)


@pytest.mark.parametrize("first", [{}, {"place": PLACE}, {"place": {**PLACE, "number": 3}, "config": {}}, {"place": {**PLACE, "start": "00"}, "config": {}}])
def test_a_first_line_that_says_something_else(first: dict[str, Any]) -> None:
    pair = Pair()
    with pytest.raises(CorruptData, match="does not say what this worker is"):
        pair.connect(first)
    pair.parent.close()


@pytest.mark.parametrize("seed", range(20))
def test_lines_come_whole_however_they_are_cut(seed: int) -> None:
    chance = random.Random(seed)
    said = [{"dead": [f"w{number}", "\n" * number]} for number in range(chance.randint(1, 20))]
    octets = b"".join(map(line, said))
    lines, found = Lines(), []
    while octets:
        size = chance.randint(1, 40)
        found += lines.fed(octets[:size])
        octets = octets[size:]
    assert found == said


def test_a_path_whose_octets_are_no_text_goes_through(pair: Pair) -> None:
    data = b"/d/\xff\xfe \xc3\xa9".decode("utf-8", "surrogateescape")
    told = pair.connect({"place": {**PLACE, "data": data}, "config": {"values": {"data": data}}})
    assert (told.place.data, told.config["values"]["data"]) == (data, data)


@pytest.mark.parametrize("octets", [b"{\n", b"[]\n", b"\xff\n", b"\n", b"1\n"])
def test_what_is_no_object_is_refused(octets: bytes) -> None:
    with pytest.raises(CorruptData, match="cannot be read"):
        Lines().fed(octets)


def test_a_line_without_an_end_is_refused() -> None:
    lines = Lines()
    assert lines.fed(b"x" * LINE_MAX_BYTES) == []
    with pytest.raises(CorruptData, match="more than"):
        lines.fed(b"x")
