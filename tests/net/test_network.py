"""Listener, connection and network over real sockets, on both event loops."""

from __future__ import annotations

import asyncio
import logging
import ssl
import subprocess
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from echo import EchoListener, EchoSession, connect, listening, network, until

from entrepot.model.errors import Refused
from entrepot.net.connection import TURN_BYTES_MAX, Connection, Tick
from entrepot.net.tls import server_context

Run = Callable[[Coroutine[Any, Any, None]], None]


def test_bytes_come_back_and_the_end_is_told_once(run: Run) -> None:
    async def test() -> None:
        net = await network()
        listener = await listening(net)
        reader, writer = await connect(listener)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        assert net.connection_count == 1
        assert (net.tick.bytes_received, net.tick.bytes_sent) == (5, 5)
        writer.close()
        await writer.wait_closed()
        await until(lambda: net.connection_count == 0)
        session = listener.sessions[0]
        assert [entry[0] for entry in session.log] == ["lost"]
        assert session.peer.is_loopback
        await net.stop("bye", 1)

    run(test())


def test_many_wakes_in_a_tick_are_one_take(run: Run) -> None:
    async def test() -> None:
        net = await network()
        listener = await listening(net)
        reader, writer = await connect(listener)
        await until(lambda: listener.sessions and not net.tick.dirty)
        session = listener.sessions[0]
        takes = session.output.takes
        for number in range(100):
            session.output.parts.append(b"%03d" % number)
            session.wake()
        assert session.output.takes == takes
        assert await reader.readexactly(300) == b"".join(b"%03d" % number for number in range(100))
        assert session.output.takes == takes + 1
        assert session.flushes == 1
        writer.close()
        await net.stop("bye", 1)

    run(test())


def test_closing_sends_what_is_there_first(run: Run) -> None:
    async def test() -> None:
        net = await network()
        listener = await listening(net)
        reader, writer = await connect(listener)
        await until(lambda: listener.sessions)
        session = listener.sessions[0]
        session.output.parts.append(b"x" * 1_000_000)
        session.closing = True
        session.wake()
        assert len(await reader.read(-1)) == 1_000_000
        writer.close()
        await until(lambda: net.connection_count == 0)
        await net.stop("bye", 1)

    run(test())


@pytest.mark.parametrize(("word", "error"), [(b"boom", "ZeroDivisionError"), (b"bang", "TypeError")])
def test_a_bug_in_a_session_costs_only_its_connection(run: Run, word: bytes, error: str, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        net = await network()
        listener = await listening(net)
        bad_reader, bad = await connect(listener)
        reader, good = await connect(listener)
        with caplog.at_level(logging.ERROR):
            bad.write(word)
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await bad_reader.readexactly(1)
        good.write(b"still here")
        assert await reader.readexactly(10) == b"still here"
        assert net.session_failures == 1
        assert error in caplog.text
        good.close()
        bad.close()
        await net.stop("bye", 1)

    run(test())


@pytest.mark.parametrize("limit", ["connections", "connections_per_listener"])
def test_over_the_limit_is_turned_away_and_later_let_in(run: Run, limit: str, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        net = await network(**{limit: 2})
        listener = await listening(net)
        first, second = await connect(listener), await connect(listener)
        await until(lambda: net.connection_count == 2)
        reader, writer = await connect(listener)
        try:
            assert await reader.read(1) == b""
        except ConnectionError:
            pass
        writer.close()
        assert listener.turned_away == 1
        assert f"2 connections are open (limits.{limit})" in caplog.text
        first[1].close()
        await until(lambda: net.connection_count == 1)
        reader, writer = await connect(listener)
        writer.write(b"in")
        assert await reader.readexactly(2) == b"in"
        writer.close()
        second[1].close()
        await net.stop("bye", 1)

    run(test())


def test_a_peer_that_does_not_read_bounds_what_is_kept_for_it(run: Run) -> None:
    async def test() -> None:
        net = await network()
        listener = await listening(net)
        reader, writer = await connect(listener, limit=1024)
        chunk = b"y" * 16_384
        sent = 0
        session = None

        async def push() -> None:
            nonlocal sent
            while sent < 40_000_000:
                writer.write(chunk)
                sent += len(chunk)
                await writer.drain()

        pushing = asyncio.ensure_future(push())
        await until(lambda: listener.sessions)
        session = listener.sessions[0]
        connection = next(iter(listener.connections))
        await until(lambda: connection.writing_paused and connection.reading_paused)
        assert ("writable", False) in session.log
        assert session.output.size <= 65_536 + TURN_BYTES_MAX + len(session.buffer)  # what one tick may read comes on top of what may wait
        flushes = session.flushes
        received = 0
        while not pushing.done() or received < sent:
            received += len(await reader.read(1 << 20))
        await pushing
        assert received == sent == session.received
        assert session.log[-1] == ("writable", True)
        await until(lambda: session.flushes > flushes)
        writer.close()
        await net.stop("bye", 5)

    run(test())


def test_a_paused_session_is_not_read_until_it_wakes(run: Run) -> None:
    async def test() -> None:
        net = await network()
        listener = await listening(net)
        reader, writer = await connect(listener)
        writer.write(b"pause")
        await until(lambda: listener.sessions and listener.sessions[0].paused)
        connection = next(iter(listener.connections))
        await until(lambda: connection.reading_paused)
        writer.write(b"more")
        await writer.drain()
        session = listener.sessions[0]
        for _ in range(20):
            await asyncio.sleep(0)
        assert session.received == 5
        session.paused = False
        session.wake()
        assert await reader.readexactly(4) == b"more"
        writer.close()
        await net.stop("bye", 1)

    run(test())


def test_a_deadline_is_reached(run: Run) -> None:
    async def test() -> None:
        net = await network()
        listener = await listening(net)
        reader, writer = await connect(listener)
        await until(lambda: listener.sessions)
        listener.sessions[0].next_deadline = net.clock.monotonic_s()
        assert await reader.read() == b""
        assert ("deadline", True) in listener.sessions[0].log
        writer.close()
        await net.stop("bye", 1)

    run(test())


def test_who_never_takes_its_last_bytes_is_cut_off(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        net = await network(close_timeout_ms=1)
        listener = await listening(net)
        _, writer = await connect(listener, limit=1024)
        await until(lambda: listener.sessions)
        session = listener.sessions[0]
        session.output.parts.append(bytes(50_000_000))
        session.closing = True
        session.wake()
        await until(lambda: net.connection_count == 0)
        assert "did not take its last bytes" in caplog.text
        writer.close()
        await net.stop("bye", 1)

    run(test())


def test_stop_says_goodbye_and_cuts_off_who_does_not_answer(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        net = await network()
        listener = await listening(net)
        polite, rude = await connect(listener), await connect(listener)
        await until(lambda: len(listener.sessions) == 2)
        listener.sessions[1].answer_shut_down = False
        await net.stop("the broker stops", 0.05)
        assert await polite[0].read() == b"the broker stops"
        assert net.connection_count == 0
        assert "1 connections did not close" in caplog.text
        with pytest.raises(ConnectionError):
            await connect(listener)
        for _, writer in (polite, rude):
            writer.close()

    run(test())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            "/CN=localhost",
            "-days",
            "2",
            "-keyout",
            str(key),
            "-out",
            str(certificate),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


def test_over_tls(run: Run, certificate: tuple[Path, Path]) -> None:
    async def test() -> None:
        net = await network()
        listener = await listening(net, tls=server_context(*certificate))
        trust = ssl.create_default_context(cafile=str(certificate[0]))
        reader, writer = await connect(listener, ssl=trust, server_hostname="localhost")
        blob = bytes(range(256)) * 4000
        writer.write(blob)
        same = await reader.readexactly(len(blob)) == blob
        assert same  # not compared in the assertion: showing how two megabytes differ takes minutes
        assert listener.sessions[0].peer.tls
        writer.close()
        await until(lambda: net.connection_count == 0)
        await net.stop("bye", 1)

    run(test())


def test_tls_files_that_are_none_are_named(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="missing.pem is not a file"):
        server_context(tmp_path / "missing.pem", tmp_path / "missing.pem")
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("nothing")
    with pytest.raises(Refused, match="wrong.pem"):
        server_context(wrong, wrong)


class NotedTransport:
    """Notes what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def write(self, data: bytes) -> None:
        self.asked.append("write")

    def writelines(self, parts: list[bytes]) -> None:
        self.asked.append("write")

    def pause_reading(self) -> None:
        self.asked.append("pause")

    def resume_reading(self) -> None:
        self.asked.append("resume")


def test_who_reads_much_in_one_turn_waits_for_the_next(run: Run) -> None:
    async def talk() -> None:
        echo = EchoListener(await network(connection_output_bytes=1 << 30))
        soon: list[Any] = []
        tick = Tick(lambda callback, *args: soon.append(lambda: callback(*args)))
        connections = []
        for _ in range(2):
            connection = Connection(echo, tick, 1 << 30)
            connection.transport = NotedTransport()
            connection.session = EchoSession(None, connection.wake)  # type: ignore[arg-type]
            connection.output = connection.session.output
            connections.append(connection)
        first, second = connections
        count = TURN_BYTES_MAX // 65_536
        for _ in range(count):
            first.buffer_updated(65_536)
        assert first.transport.asked == []
        first.buffer_updated(65_536)
        second.buffer_updated(10)
        assert first.transport.asked == ["pause"]
        assert second.transport.asked == ["pause"]
        assert len(soon) == 1
        soon.pop()()
        assert first.transport.asked == ["pause", "write", "resume"]
        second.buffer_updated(10)
        assert second.transport.asked == ["pause", "write", "resume"]

    run(talk())


def test_a_session_that_pauses_is_read_no_further_at_once(run: Run) -> None:
    """Else the loop, which reads a socket until nothing is there, brings all of a flood in one turn."""

    async def talk() -> None:
        echo = EchoListener(await network())
        connection = Connection(echo, Tick(lambda *_: None), 1 << 30)
        connection.transport = transport = NotedTransport()
        connection.session = session = EchoSession(None, connection.wake)  # type: ignore[arg-type]
        connection.output = session.output
        session.get_buffer(-1)[:5] = b"pause"
        connection.buffer_updated(5)
        assert transport.asked == ["pause"]

    run(talk())


class Taker:
    """A transport that takes all it is given, and says so; with `mark` it pauses its writer above so many bytes."""

    def __init__(self, name: str, order: list[str], mark: int = 1 << 60) -> None:
        self.name = name
        self.order = order
        self.mark = mark
        self.taken = b""
        self.pending = 0
        self.connection: Any = None
        self.closed = False

    def write(self, data: bytes) -> None:
        self.writelines([data])

    def writelines(self, parts: list[bytes]) -> None:
        data = b"".join(parts)
        self.order.append(self.name)
        self.taken += data
        self.pending += len(data)
        if self.pending > self.mark:
            self.connection.pause_writing()

    def drained(self) -> None:
        self.pending = 0
        self.connection.resume_writing()

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


class Writing:
    """Connections over one tick, whose turns are ours."""

    def __init__(self, echo: EchoListener) -> None:
        self.echo = echo
        self.soon: list[Any] = []
        self.tick = Tick(lambda callback, *args: self.soon.append(lambda: callback(*args)))
        self.order: list[str] = []

    def connection(self, name: str, mark: int = 1 << 60) -> Connection:
        connection = Connection(self.echo, self.tick, 1 << 30)
        transport = Taker(name, self.order, mark)
        transport.connection = connection
        connection.transport = transport  # type: ignore[assignment]
        connection.session = EchoSession(None, connection.wake)  # type: ignore[arg-type]
        connection.output = connection.session.output
        return connection

    def say(self, connection: Connection, *parts: bytes) -> None:
        connection.output.parts += parts
        connection.wake()

    def turn(self) -> list[str]:
        """Who wrote in this turn."""
        self.order.clear()
        due, self.soon[:] = self.soon[:], []
        for function in due:
            function()
        return list(self.order)


def numbered(size: int) -> bytes:
    return b"".join(number.to_bytes(4, "big") for number in range(size // 4))


def writing_test(test: Callable[[Writing], None], run: Run) -> None:
    async def talk() -> None:
        test(Writing(EchoListener(await network(connection_output_bytes=1 << 30))))

    run(talk())


def test_what_is_written_takes_turns_and_comes_in_order(run: Run) -> None:
    def test(bench: Writing) -> None:
        first, second, small = bench.connection("first"), bench.connection("second"), bench.connection("small")
        data = numbered(5 * TURN_BYTES_MAX // 2)
        bench.say(first, b"head", data, b"tail")
        bench.say(second, data)
        bench.say(small, b"x" * TURN_BYTES_MAX)
        assert bench.turn() == ["first", "small"]
        assert len(first.transport.taken) == TURN_BYTES_MAX  # type: ignore[attr-defined]
        assert first.session.log == [("writable", False)]  # type: ignore[union-attr]
        turns = [bench.turn() for _ in range(5)]
        assert turns == [["second"], ["first"], ["second"], ["first", "second"], ["second"]]  # who had nothing goes first
        assert bench.turn() == []
        assert first.transport.taken == b"head" + data + b"tail"  # type: ignore[attr-defined]
        assert second.transport.taken == data  # type: ignore[attr-defined]
        assert [entry[1] for entry in first.session.log if entry[0] == "writable"] == [False, True]  # type: ignore[union-attr]
        assert first.session.flushes == second.session.flushes == 1  # type: ignore[union-attr]

    writing_test(test, run)


def test_who_has_more_to_write_and_is_closing_writes_it_first(run: Run) -> None:
    def test(bench: Writing) -> None:
        connection = bench.connection("c")
        data = numbered(2 * TURN_BYTES_MAX + 4)
        bench.say(connection, data)
        connection.session.closing = True  # type: ignore[union-attr]
        bench.turn()
        bench.turn()
        assert not connection.transport.closed  # type: ignore[attr-defined]
        assert connection.abort_at == 0.0
        bench.turn()
        assert connection.transport.closed  # type: ignore[attr-defined]
        assert connection.transport.taken == data  # type: ignore[attr-defined]

    writing_test(test, run)


def test_what_is_said_while_more_waits_is_written_before_the_end(run: Run) -> None:
    def test(bench: Writing) -> None:
        connection = bench.connection("c")
        data = numbered(2 * TURN_BYTES_MAX)
        bench.say(connection, data)
        bench.turn()
        bench.say(connection, b"last words")
        connection.session.closing = True  # type: ignore[union-attr]
        while bench.soon:
            bench.turn()
        assert connection.transport.taken == data + b"last words"  # type: ignore[attr-defined]
        assert connection.session.flushes == 1  # type: ignore[union-attr]
        assert connection.transport.closed  # type: ignore[attr-defined]

    writing_test(test, run)


def test_a_peer_that_takes_nothing_is_given_no_more_of_it(run: Run) -> None:
    def test(bench: Writing) -> None:
        connection = bench.connection("c", mark=1000)
        data = numbered(TURN_BYTES_MAX + 4000)
        bench.say(connection, data)
        assert bench.turn() == ["c"]
        assert bench.turn() == []
        assert connection.session.log == [("writable", False)]  # type: ignore[union-attr]
        connection.transport.drained()  # type: ignore[attr-defined]
        assert bench.turn() == ["c"]
        assert connection.transport.taken == data  # type: ignore[attr-defined]
        assert {entry[1] for entry in connection.session.log} == {False}  # type: ignore[union-attr]  # 4000 are above its mark, too
        connection.transport.drained()  # type: ignore[attr-defined]
        bench.turn()
        assert connection.session.log[-1] == ("writable", True)  # type: ignore[union-attr]
        assert connection.session.flushes == 1  # type: ignore[union-attr]

    writing_test(test, run)


def test_nothing_is_called_flushed_while_something_waits_behind_others(run: Run) -> None:
    def test(bench: Writing) -> None:
        first, second = bench.connection("first"), bench.connection("second", mark=100)
        bench.say(second, b"x" * 101)
        bench.turn()
        bench.say(first, numbered(2 * TURN_BYTES_MAX))
        second.output.parts.append(numbered(TURN_BYTES_MAX + 4))
        second.transport.drained()  # type: ignore[attr-defined]
        bench.turn()
        bench.turn()
        assert second.session.flushes == 0  # type: ignore[union-attr]
        while bench.soon:
            bench.turn()
            if second.writing_paused:
                second.transport.drained()  # type: ignore[attr-defined]
        assert second.session.flushes == 1  # type: ignore[union-attr]
        assert second.transport.taken == b"x" * 101 + numbered(TURN_BYTES_MAX + 4)  # type: ignore[attr-defined]

    writing_test(test, run)


def test_a_peer_that_says_no_more_gets_what_was_said_to_it(run: Run) -> None:
    async def test() -> None:
        net = await network(connection_output_bytes=1 << 30)
        listener = await listening(net)
        reader, writer = await connect(listener)
        size = 5 * TURN_BYTES_MAX
        writer.write(b"fill %d" % size)
        await until(lambda: bool(listener.sessions) and listener.sessions[0].received > 0)
        writer.write_eof()
        assert len(await reader.read(-1)) == size
        await until(lambda: net.connection_count == 0)
        writer.close()
        await net.stop("bye", 1)

    run(test())
