"""Connections that move between workers: two workers' networks in one process, with real sockets, and sessions of the test."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from entrepot.clock import SystemClock
from entrepot.cluster.workers import moves
from entrepot.cluster.workers.link_sockets import LIMITS
from entrepot.cluster.workers.moves import OFFER_MAX_BYTES, Moves, Offer, path_of
from entrepot.model.errors import Reason, Refused
from entrepot.net.listener import Listener
from entrepot.net.network import Network
from entrepot.net.session import Peer, Stays, Wake

TURNS = 20_000


class Output:
    def __init__(self) -> None:
        self.parts: list[bytes] = []

    @property
    def size(self) -> int:
        return sum(map(len, self.parts))

    def take(self) -> list[bytes]:
        parts, self.parts = self.parts, []
        return parts


class Session:
    """Answers each octet by the name of its worker; packs what it has heard."""

    def __init__(self, worker: Worker, wake: Wake) -> None:
        self.worker = worker
        self.wake = wake
        self.output = Output()
        self.closing = False
        self.paused = False
        self.next_deadline = 0.0
        self.established = True
        self.mover: Any = None
        self.heard = b""
        self.buffer = bytearray(4096)
        self.ended = ""
        self.stays = 0
        self.looks = 0

    def get_buffer(self, _: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, count: int) -> None:
        self.heard += self.buffer[:count]
        self.say()

    def say(self) -> None:
        self.output.parts.append(self.worker.name.encode())
        self.wake()

    def writable(self, is_writable: bool) -> None:
        pass

    def flushed(self) -> None:
        pass

    def shut_down(self, reason: str) -> None:
        self.closing = True

    def lost(self, reason: str) -> None:
        self.ended = reason


class Mobile:
    """See net.session.Mobile."""

    def let(self, session: Session, mover: Any) -> None:
        session.mover = mover

    def begin_leaving(self, session: Session, process: str) -> bool:
        session.paused = session.worker.may_leave
        return session.worker.may_leave

    def packed(self, session: Session) -> bytes | None:
        session.looks += 1
        if session.worker.failure is not None:
            raise session.worker.failure
        return session.heard + bytes(session.worker.padding) if session.worker.rests else None

    def stay(self, session: Session) -> None:
        session.stays += 1
        session.paused = False

    def unpack(self, session: Session, octets: bytes) -> None:
        if session.worker.refuses:
            raise Refused(Reason.NOT_FOUND, "what it used is gone")
        session.heard = octets


class Port(Listener):
    name = "test"
    mobile = Mobile()

    def __init__(self, worker: Worker) -> None:
        super().__init__(worker.network, "127.0.0.1", 0)
        self.worker = worker

    def make_session(self, peer: Peer, wake: Wake) -> Any:
        session = Session(self.worker, wake)
        self.worker.sessions.append(session)
        return session


class Worker:
    def __init__(self, directory: Path, name: str, **limits: int) -> None:
        self.name = name
        self.network = Network(asyncio.get_running_loop(), SystemClock(), replace(LIMITS, **limits))
        self.others = {"w0", "w1"}
        self.moves = Moves(self.network, directory, name, 2, lambda other: other in self.others, lambda: self.knows)
        self.port = Port(self)
        self.sessions: list[Session] = []
        self.may_leave = self.rests = True
        self.padding = 0
        self.refuses = False
        self.failure: Exception | None = None
        self.knows = True

    async def start(self) -> None:
        self.moves.start()
        self.network.moves = self.moves
        await self.network.listen(self.port)

    async def stop(self) -> None:
        self.moves.stop()
        await self.network.stop("over", 5.0)


async def until(holds: Callable[[], object]) -> None:
    for _ in range(TURNS):
        if holds():
            return
        await asyncio.sleep(0.0005)
    raise AssertionError("it never came to be")


class Pair:
    """Two workers, and a client of the first."""

    def __init__(self, directory: Path, **limits: int) -> None:
        self.first, self.second = Worker(directory, "w0"), Worker(directory, "w1", **limits)

    async def begin(self) -> None:
        await self.first.start()
        await self.second.start()
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.first.port.port)
        assert await self.ask() == b"w0"

    async def ask(self) -> bytes:
        self.writer.write(b"?")
        return await asyncio.wait_for(self.reader.readexactly(2), 10)

    def wish(self, worker: Worker, other: str) -> Session:
        session = worker.sessions[-1]
        session.mover(other, 0.0)
        return session

    async def end(self) -> None:
        self.writer.close()
        await self.first.stop()
        await self.second.stop()


def run(directory: Path, test: Callable[[Pair], Coroutine[Any, Any, None]], **limits: int) -> None:
    async def all_of_it() -> None:
        pair = Pair(directory, **limits)
        await pair.begin()
        try:
            await test(pair)
        finally:
            await pair.end()

    asyncio.run(all_of_it())


def test_it_goes_on_at_the_other(tmp_path: Path) -> None:
    async def test(pair: Pair) -> None:
        left = pair.wish(pair.first, "w1")
        await until(lambda: left.ended)
        assert pair.first.network.connection_count == 0
        assert await pair.ask() == b"w1"
        assert pair.second.sessions[-1].heard == b"??"
        assert pair.second.port.connections
        assert (pair.first.moves.gone, pair.first.moves.stayed, pair.second.port.accepted) == (1, 0, 0)

    run(tmp_path, test)


def test_it_moves_so_often_and_no_more(tmp_path: Path) -> None:
    async def test(pair: Pair) -> None:
        workers = [pair.first, pair.second]
        for turn in range(2):
            left = pair.wish(workers[turn], workers[1 - turn].name)
            await until(lambda left=left: left.ended)  # type: ignore[misc]
        stays = pair.wish(pair.first, "w1")
        await until(lambda: stays.stays)
        assert await pair.ask() == b"w0"

    run(tmp_path, test)


def test_it_stays_where_the_other_has_no_room(tmp_path: Path) -> None:
    async def test(pair: Pair) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", pair.second.port.port)
        await until(lambda: pair.second.sessions)
        session = pair.wish(pair.first, "w1")
        await until(lambda: session.stays)
        assert await pair.ask() == b"w0"
        assert (pair.first.moves.gone, pair.first.moves.stayed) == (0, 1)
        writer.close()

    run(tmp_path, test, connections=1)


@pytest.mark.parametrize("what", ["may_leave", "rests", "others", "padding"])
def test_it_stays_where_it_cannot_be_packed_or_nobody_is_there(tmp_path: Path, what: str) -> None:
    async def test(pair: Pair) -> None:
        pair.first.padding = OFFER_MAX_BYTES if what == "padding" else 0
        pair.first.may_leave = what != "may_leave"
        pair.first.rests = what != "rests"
        pair.first.others = set() if what == "others" else pair.first.others
        session = pair.wish(pair.first, "w1")
        await until(lambda: session.stays)
        assert await pair.ask() == b"w0"
        assert session.stays == 1

    run(tmp_path, test)


@pytest.mark.parametrize("what", ["bound", "padding"])
def test_what_can_never_be_packed_is_not_looked_at_again(tmp_path: Path, what: str) -> None:
    async def test(pair: Pair) -> None:
        pair.first.padding = OFFER_MAX_BYTES if what == "padding" else 0
        pair.first.failure = Stays() if what == "bound" else None
        session = pair.wish(pair.first, "w1")
        await until(lambda: session.stays)
        assert session.looks == 1
        assert await pair.ask() == b"w0"

    run(tmp_path, test)


def test_one_that_fails_ends_alone(tmp_path: Path) -> None:
    async def test(pair: Pair) -> None:
        pair.first.failure = ValueError("a bug")
        pair.wish(pair.first, "w1")
        assert await pair.reader.read() == b""
        assert pair.first.network.connection_count == 0
        assert pair.first.network.session_failures == 1

    run(tmp_path, test)


def test_who_does_not_know_what_there_is_refuses(tmp_path: Path) -> None:
    async def test(pair: Pair) -> None:
        woken = []
        pair.second.network.tick.on_read = lambda: woken.append(1)
        pair.second.knows = False
        session = pair.wish(pair.first, "w1")
        await until(lambda: session.stays)
        assert woken
        assert await pair.ask() == b"w0"

    run(tmp_path, test)


def test_who_comes_from_another_worker_is_no_stranger(tmp_path: Path) -> None:
    async def test(pair: Pair) -> None:
        clients = [await asyncio.open_connection("127.0.0.1", pair.first.port.port) for _ in range(8)]
        await until(lambda: len(pair.first.sessions) == 9)
        for session in pair.first.sessions:
            session.mover("w1", 0.0)
        for reader, writer in clients:
            writer.write(b"?")
            assert await asyncio.wait_for(reader.readexactly(2), 10) in (b"w0", b"w1")
        await until(lambda: pair.first.moves.gone == 9)
        for reader, writer in clients:
            writer.write(b"?")
            assert await asyncio.wait_for(reader.readexactly(2), 10) == b"w1"
            writer.close()
        assert pair.second.network.arrivals.outwaited == 0

    run(tmp_path, test, strangers_per_address=1, strangers_per_listener=1)


def test_what_another_cannot_go_on_with_ends(tmp_path: Path) -> None:
    async def test(pair: Pair) -> None:
        pair.second.refuses = True
        pair.wish(pair.first, "w1")
        assert await pair.reader.read() == b""
        await until(lambda: pair.second.network.connection_count == 0)

    run(tmp_path, test)


def silent(directory: Path) -> socket.socket:
    """In place of w1."""
    path_of(directory, "w1").unlink()
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(str(path_of(directory, "w1")))
    listening.listen()
    listening.setblocking(False)
    return listening


async def accepted(listening: socket.socket) -> socket.socket:
    found, _ = await asyncio.get_running_loop().sock_accept(listening)
    return found


def test_who_does_not_answer_before_his_end_has_not_taken_it(tmp_path: Path) -> None:
    async def test(pair: Pair) -> None:
        with silent(tmp_path) as listening:
            session = pair.wish(pair.first, "w1")
            other = await accepted(listening)
            await until(lambda: next(iter(pair.first.port.connections)).is_closing)
            pair.writer.write(b"?")
            assert session.heard == b"?", "what is nobody's is not read"
            other.close()
            await until(lambda: session.stays)
            assert await asyncio.wait_for(pair.reader.readexactly(2), 10) == b"w0"

    run(tmp_path, test)


def test_who_took_it_and_died_has_it(tmp_path: Path) -> None:
    async def test(pair: Pair) -> None:
        with silent(tmp_path) as listening:
            session = pair.wish(pair.first, "w1")
            other = await accepted(listening)
            await until(lambda: next(iter(pair.first.port.connections)).is_closing)
            octets, descriptors, _, _ = socket.recv_fds(other, 4096, 1)
            offer = msgspec.msgpack.decode(octets, type=Offer)
            other.send(b"T" + offer.number.to_bytes(8, "big"))
            other.close()
            await until(lambda: session.ended)
            assert session.stays == 0
            with socket.socket(fileno=descriptors[0]) as held:
                held.send(b"by another")
            assert await pair.reader.read() == b"by another"

    run(tmp_path, test)


def test_who_took_one_and_died_before_it_read_another_has_the_one(tmp_path: Path) -> None:
    async def test(pair: Pair) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", pair.first.port.port)
        await until(lambda: len(pair.first.sessions) == 2)
        taken, offered = pair.first.sessions
        with silent(tmp_path) as listening:
            taken.mover("w1", 0.0)
            other = await accepted(listening)
            await until(lambda: any(connection.is_closing for connection in pair.first.port.connections))
            octets, descriptors, _, _ = socket.recv_fds(other, 4096, 1)
            offered.mover("w1", 0.0)
            await until(lambda: all(connection.is_closing for connection in pair.first.port.connections))
            other.send(b"T" + msgspec.msgpack.decode(octets, type=Offer).number.to_bytes(8, "big"))
            other.close()  # the system tells of an end with something unread before what was said
            await until(lambda: taken.ended and offered.stays)
            assert (taken.stays, offered.ended) == (0, "")
            socket.socket(fileno=descriptors[0]).close()
        writer.write(b"?")
        assert await asyncio.wait_for(reader.readexactly(2), 10) == b"w0"
        writer.close()

    run(tmp_path, test)


@pytest.mark.parametrize("how", ["refused", "ended", "hanging"])
def test_who_comes_when_the_other_is_offered_enough_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr(moves, "OFFERED_MAX", 1)
    monkeypatch.setattr(moves, "ROOM_S", 0.05 if how == "hanging" else 60.0)

    async def test(pair: Pair) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", pair.first.port.port)
        await until(lambda: len(pair.first.sessions) == 2)
        first, second = pair.first.sessions
        with silent(tmp_path) as listening:
            first.mover("w1", 0.0)
            other = await accepted(listening)
            await until(lambda: first.looks)
            second.mover("w1", 0.0)
            await until(lambda: second.paused)
            assert (second.looks, second.stays) == (0, 0)
            if how == "refused":
                other.send(b"R" + (1).to_bytes(8, "big"))
                await until(lambda: first.stays and second.looks)
            elif how == "hanging":
                await until(lambda: second.stays)
                assert first.stays == 0
            other.close()
            await until(lambda: first.stays and second.stays)
        writer.close()

    run(tmp_path, test)


def test_an_answer_to_what_was_not_offered_is_believed_nothing_after(tmp_path: Path) -> None:
    async def test(pair: Pair) -> None:
        with silent(tmp_path) as listening:
            session = pair.wish(pair.first, "w1")
            other = await accepted(listening)
            await until(lambda: next(iter(pair.first.port.connections)).is_closing)
            other.send(b"T" + (77).to_bytes(8, "big"))
            await until(lambda: session.ended)
            other.close()

    run(tmp_path, test)


@pytest.mark.parametrize("octets", [b"", b"x", msgspec.msgpack.encode([1, "test", 0, 0]), msgspec.msgpack.encode([-1, "test", 0, 0, b""])])
@pytest.mark.parametrize("count", [0, 1])
def test_an_offer_that_cannot_be_understood_takes_nothing(tmp_path: Path, octets: bytes, count: int) -> None:
    async def test(pair: Pair) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client, socket.socket() as unconnected:
            client.connect(str(path_of(tmp_path, "w1")))
            socket.send_fds(client, [octets], [unconnected.fileno()] * count)
            client.setblocking(False)
            assert await asyncio.get_running_loop().sock_recv(client, 64) == b""
        assert pair.second.sessions == []
        assert await pair.ask() == b"w0"

    run(tmp_path, test)


def test_an_offer_for_which_no_descriptor_is_left_is_refused(tmp_path: Path) -> None:
    async def test(pair: Pair) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
            client.connect(str(path_of(tmp_path, "w1")))
            client.setblocking(False)
            for number in 5, 6:
                client.send(msgspec.msgpack.encode(Offer(number, "test", 0, 0, b"")))
                assert await asyncio.get_running_loop().sock_recv(client, 64) == b"R" + number.to_bytes(8, "big")

    run(tmp_path, test)


def test_a_socket_that_is_connected_to_nobody_is_refused(tmp_path: Path) -> None:
    async def test(pair: Pair) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client, socket.socket() as unconnected:
            client.connect(str(path_of(tmp_path, "w1")))
            socket.send_fds(client, [msgspec.msgpack.encode(Offer(5, "test", 0, 0, b""))], [unconnected.fileno()])
            client.setblocking(False)
            assert await asyncio.get_running_loop().sock_recv(client, 64) == b"R" + (5).to_bytes(8, "big")

    run(tmp_path, test)


def test_the_stop_ends_what_is_on_its_way(tmp_path: Path) -> None:
    async def test(pair: Pair) -> None:
        with silent(tmp_path) as listening:
            session = pair.wish(pair.first, "w1")
            other = await accepted(listening)
            await until(lambda: next(iter(pair.first.port.connections)).is_closing)
            pair.first.moves.stop()
            await until(lambda: session.ended)
            assert session.stays == 0
            other.close()

    run(tmp_path, test)
