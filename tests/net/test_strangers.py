"""Connections on which nobody has logged in: counted from their accept, fewer than others, and silent ones keep nobody out."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from echo import EchoListener, EchoSession, connect, network, until

from entrepot.net.arrivals import Arrivals, source_of
from entrepot.net.complaints import Complaints
from entrepot.net.session import Peer, Wake

Run = Callable[[Coroutine[Any, Any, None]], None]


class KnockSession(EchoSession):
    """Somebody is who said anything."""

    def __init__(self, peer: Peer, wake: Wake) -> None:
        super().__init__(peer, wake)
        self.established = False

    def buffer_updated(self, count: int) -> None:
        self.established = True
        super().buffer_updated(count)


class KnockListener(EchoListener):
    def make_session(self, peer: Peer, wake: Wake) -> EchoSession:
        self.sessions.append(KnockSession(peer, wake))
        return self.sessions[-1]


async def echoes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    writer.write(b"hello")
    return await reader.readexactly(5) == b"hello"


@pytest.mark.parametrize("limit", ["strangers_per_listener", "strangers_per_address", "connections", "connections_per_listener"])
def test_the_stranger_that_waits_for_longest_pays(run: Run, limit: str) -> None:
    async def test() -> None:
        net = await network(**{limit: 3})
        listener = KnockListener(net)
        await net.listen(listener)
        known = await connect(listener)
        assert await echoes(*known)
        silent = [await connect(listener) for _ in range(12)]
        late = await connect(listener)
        assert await echoes(*late)
        assert await echoes(*known)
        assert await silent[0][0].read() == b""
        assert net.arrivals.outwaited >= 9
        assert listener.turned_away == 0
        for _, writer in (known, late, *silent):
            writer.close()
        await until(lambda: net.connection_count == 0)
        assert (listener.open_count, net.arrivals._strangers, net.arrivals._by_source) == (0, {}, {})
        await net.stop("bye", 1)

    run(test())


def test_without_descriptors_it_waits_and_goes_on(run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        net = await network()
        listener = KnockListener(net)
        await net.listen(listener)
        silent = await connect(listener)
        await until(lambda: net.connection_count == 1)
        real = socket.socket.accept
        failures = [OSError(errno.EMFILE, "Too many open files")]

        def accept(sock: socket.socket) -> Any:
            if failures:
                raise failures.pop()
            return real(sock)

        monkeypatch.setattr(socket.socket, "accept", accept)
        with caplog.at_level(logging.WARNING):
            late = await connect(listener)
            assert await echoes(*late)
        assert "could not be accepted: Too many open files" in caplog.text
        assert await silent[0].read() == b""  # it gave its descriptor
        late[1].close()
        silent[1].close()
        await net.stop("bye", 1)

    run(test())


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::9", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("", ""),
    ],
)
def test_who_counts_as_one(host: str, source: str) -> None:
    assert source_of(host) == source


def test_who_leaves_for_one_limit_takes_nobody_s_place_in_the_other() -> None:
    class Listening:
        name, open_count = "x", 0

    listener: Any = Listening()
    ended: list[None] = []
    arrivals = Arrivals(1, 5, Complaints(lambda: 0.0).say, lambda: ended.append(None))
    for _ in range(3):
        with socket.socket() as sock:
            last = arrivals.add(listener, sock, "10.0.0.1")
        assert list(arrivals._by_source["10.0.0.1"]) == list(arrivals._by_listener[listener]) == [last]
    last.release()
    assert (arrivals.strangers, arrivals._by_source, arrivals._by_listener, len(ended)) == (0, {}, {}, 3)
