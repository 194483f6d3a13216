"""Two ends of a link over real connections: what waits at both of them goes, however much, and an end that writes for long still hears the other."""

from __future__ import annotations

import asyncio
import random
import socket
from typing import Any

import pytest
from link_pair import KEY, Process

from entrepot.cluster.greeting import NONCE_SIZE
from entrepot.cluster.link import WINDOW_BYTES, Link
from entrepot.cluster.link_session import Identity, LinkSession
from entrepot.net.connection import Connection, Tick
from stopped_clock import StoppedClock

LIMIT_S = 60  # after which it has failed


class Keeper:
    """A listener's part, for one connection of `process`."""

    tls = None

    def __init__(self, process: Process, dials: str | None) -> None:
        self.process = process
        self.dials = dials
        self.transport: Any = None
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def opened(self, connection: Connection) -> None:
        process = self.process
        self.transport = connection.transport
        self.transport.set_write_buffer_limits(high=65_536)
        identity = Identity("c", process.name, process.start, KEY)
        nonce = process.rng.randbytes(NONCE_SIZE)
        connection.session = LinkSession(identity, process, self.dials, process.clock, nonce, connection.wake, lambda _, call: call(), process.log.append)  # type: ignore[assignment]
        connection.output = connection.session.output
        connection.wake()

    def closed(self, connection: Connection, error: Exception | None) -> None:
        session: Any = connection.session
        connection.session = None
        connection.is_closing = True
        session.lost(str(error))
        self.gone.set_result(None)

    def broken(self, connection: Connection, error: Exception) -> None:
        self.process.log.append(repr(error))
        connection.transport.abort()

    def linger(self, connection: Connection) -> None:
        connection.transport.abort()

    finish = linger


@pytest.mark.parametrize(("count", "size"), [(300, 65_536), (3, 8 << 20), (20_000, 20)])
def test_what_waits_at_both_ends_goes(count: int, size: int) -> None:
    async def test() -> None:
        loop = asyncio.get_running_loop()
        rng, clock = random.Random(1), StoppedClock()
        arrived: asyncio.Future[None] = loop.create_future()

        class Counting(Process):
            def frames(self, link: Link, found: list[bytes]) -> None:
                super().frames(link, found)
                if not arrived.done() and all(len(frames) == count for frames in (a.got.get(b.start, []), b.got.get(a.start, []))):
                    arrived.set_result(None)

        a, b = Counting("a", rng, clock), Counting("b", rng, clock)
        for one, other in ((a, b), (b, a)):
            one.links[other.name] = Link(other.name, other.start)
            for number in range(count):
                one.send(other.name, number.to_bytes(8, "big") + bytes(size - 8))
        keepers = Keeper(a, "b"), Keeper(b, None)
        for end, keeper in zip(socket.socketpair(), keepers, strict=True):
            end.setblocking(False)
            tick = Tick(loop.call_soon)
            await loop.connect_accepted_socket(lambda keeper=keeper, tick=tick: Connection(keeper, tick, WINDOW_BYTES), end)  # type: ignore[misc]
        await asyncio.wait_for(arrived, LIMIT_S)
        for one, other in ((a, b), (b, a)):
            assert other.got[one.start] == one.sent[other.start]
            assert one.log == []
        for keeper in keepers:
            keeper.transport.abort()
            await keeper.gone

    asyncio.run(test())
