"""A protocol's session within a WebSocket: what is handed on, what is said, who is let in, and what a peer cannot do. wsproto's client is the peer."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Pong, RejectConnection, RejectData, Request, TextMessage

from entrepot.model.listeners import NO_LISTENERS
from entrepot.net.origins import Origins
from entrepot.net.pages import Pages
from entrepot.net.session import Client, Peer
from entrepot.net.turns import TURN_STEPS, Turns
from entrepot.net.websocket import CLOSED, OPEN, PARTING, PIECE_SIZE, STRANGER_READ_BYTES, Terms, WebSocketListener, WebSocketSession

TERMS = Terms(frozenset(("/", "/chat")), ("v2.chat", "v1.chat"), 10.0, takes_text=True)
BINARY = Terms(frozenset(("/chat",)), ("chat",), 10.0, names_subprotocol=True)
PEER = Peer("127.0.0.1", 4000, False, "chat-ws", True, "127.0.0.1", 15674)


class Said:
    """An output."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    @property
    def size(self) -> int:
        return sum(map(len, self.parts))

    def take(self) -> list[bytes]:
        parts, self.parts = self.parts, []
        return parts


class Inside:
    """A session that keeps what it hears, in a room of `room_size` octets; `pause_at`: it reads no more from so many on."""

    def __init__(self, peer: Peer, wake: Callable[[], object], journal: Callable[..., None]) -> None:
        self.peer, self.wake, self.journal = peer, wake, journal
        self.output = Said()
        self.closing = self.paused = False
        self.established = True
        self.next_deadline = 7.0
        self.room_size = 1000
        self.pause_at = 1 << 60
        self.heard = bytearray()
        self.called: list[Any] = []

    def get_buffer(self, size_hint: int) -> bytearray:
        assert size_hint > 0
        assert not self.paused
        self.buffer = bytearray(self.room_size)
        return self.buffer

    def buffer_updated(self, count: int) -> None:
        assert not self.closing
        assert 0 < count <= self.room_size
        self.heard += self.buffer[:count]
        self.paused = len(self.heard) >= self.pause_at

    def say(self, *parts: bytes) -> None:
        self.output.parts += parts
        self.wake()

    def end(self) -> None:
        self.closing = True
        self.wake()

    def writable(self, is_writable: bool) -> None:
        self.called.append(("writable", is_writable))

    def flushed(self) -> None:
        self.called.append("flushed")

    def deadline_reached(self, now: float) -> None:
        self.called.append(("deadline", now))

    def shut_down(self, reason: str) -> None:
        self.called.append(("shut_down", reason))
        self.output.parts.append(b"goodbye")
        self.closing = True

    def lost(self, reason: str) -> None:
        self.called.append(("lost", reason))


class Bench:
    """A session, and its peer: a client of wsproto's."""

    def __init__(self, terms: Terms = TERMS, origins: tuple[str, ...] = (), peer: Peer = PEER) -> None:
        self.later: list[Callable[[], object]] = []
        self.turns = Turns(self.later.append)
        self.notes: list[str] = []
        network: Any = SimpleNamespace(turns=self.turns, known=NO_LISTENERS)
        listener = WebSocketListener(
            network, "127.0.0.1", 0, name="chat-ws", terms=terms, make=Inside, client=lambda _: Client(), origins=Origins("k", origins), pages=Pages()
        )
        listener.note = lambda text, first=b"": self.notes.append(text)  # type: ignore[method-assign]
        self.woken = 0
        self.session = WebSocketSession(listener, peer, self.wake, self.turns)
        self.client = WSConnection(ConnectionType.CLIENT)

    def wake(self) -> None:
        self.woken += 1

    @property
    def inside(self) -> Any:
        return self.session.inside

    def run(self) -> None:
        """All turns."""
        while self.later:
            due, self.later[:] = self.later[:], []
            for function in due:
                function()

    def receive(self, octets: bytes, step: int = 1 << 20, turns: bool = True) -> Bench:
        """Octets arrive, at most `step` at a time."""
        at = 0
        while at < len(octets) and not self.session.paused:
            room = self.session.get_buffer(-1)
            count = min(len(room), step, len(octets) - at)
            room[:count] = octets[at : at + count]
            at += count
            self.session.buffer_updated(count)
            if turns:
                self.run()
        return self

    def octets(self) -> bytes:
        """What goes out."""
        return b"".join(self.session.output.take()) if self.session.output.size else b""

    def hear(self) -> list[Any]:
        """What the client makes of it."""
        self.client.receive_data(self.octets())
        return list(self.client.events())

    def request(self, path: str = "/chat", subprotocols: tuple[str, ...] = ("v1.chat",), headers: tuple[tuple[bytes, bytes], ...] = ()) -> bytes:
        request = Request(host="localhost:15674", target=path, subprotocols=list(subprotocols), extra_headers=list(headers))
        return self.client.send(request)

    def open(self, subprotocols: tuple[str, ...] = ("v1.chat",), **how: Any) -> Bench:
        self.receive(self.request(subprotocols=subprotocols, **how))
        (accepted,) = self.hear()
        assert isinstance(accepted, AcceptConnection)
        assert accepted.extensions == []
        return self

    def send(self, *events: Any, **how: Any) -> Bench:
        return self.receive(b"".join(self.client.send(event) for event in events), **how)


@pytest.fixture
def bench() -> Bench:
    return Bench().open()


def raw(opcode: int, payload: bytes = b"", fin: bool = True, mask: bytes | None = b"\1\2\3\4", bits: int = 0) -> bytes:
    """A frame as no library would write it."""
    size = len(payload)
    length = bytes([size]) if size < 126 else b"\x7e" + struct.pack("!H", size) if size < 65536 else b"\x7f" + struct.pack("!Q", size)
    head = bytes([(0x80 if fin else 0) | bits | opcode, length[0] | (0x80 if mask else 0)]) + length[1:]
    return head + (mask or b"") + bytes(octet ^ mask[at % 4] for at, octet in enumerate(payload)) if mask else head + payload


def closed_with(bench: Bench) -> int:
    """The code of the Close that the peer gets."""
    (close,) = (event for event in bench.hear() if isinstance(event, CloseConnection))
    return int(close.code)


# ---- the request


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [(("v1.chat",), "v1.chat"), (("v1.chat", "v2.chat"), "v2.chat"), (("other", "v1.chat"), "v1.chat"), ((), None)],
)
def test_the_subprotocol(offered: tuple[str, ...], chosen: str | None) -> None:
    bench = Bench()
    bench.receive(bench.request(subprotocols=offered))
    (accepted,) = bench.hear()
    assert accepted.subprotocol == chosen
    assert bench.session.state == OPEN


@pytest.mark.parametrize("path", ["/", "/chat", "/chat/", "/chat?token=x"])
def test_paths(path: str) -> None:
    bench = Bench()
    bench.receive(bench.request(path))
    assert isinstance(bench.hear()[0], AcceptConnection)


def refused(bench: Bench) -> tuple[int, bytes]:
    events = bench.hear()
    assert isinstance(events[0], RejectConnection)
    assert bench.session.closing
    assert bench.session.inside is None
    assert len(bench.notes) == 1
    return events[0].status_code, b"".join(event.data for event in events[1:] if isinstance(event, RejectData))


def test_requests_that_are_refused() -> None:
    def status(terms: Terms = TERMS, **how: Any) -> int:
        bench = Bench(terms)
        bench.receive(bench.request(**how))
        return refused(bench)[0]

    assert status(path="/other") == 404
    assert status(subprotocols=("other",)) == 400
    assert status(BINARY, subprotocols=()) == 400
    assert status(headers=((b"Origin", b"https://evil.example.com"),)) == 403
    assert status(headers=((b"Origin", b"http://localhost:15674"), (b"Origin", b"https://evil.example.com"))) == 400
    assert status(headers=((b"X", b"y" * 20_000),)) == 431
    assert status(headers=((b"Content-Length", b"5"),)) == 400


HEAD = b"GET /chat HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
HEAD += b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 426),
        (b"POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx", 400),
        (HEAD.replace(b"GET", b"PUT") + b"\r\n", 405),
        (HEAD.replace(b": 13", b": 8") + b"\r\n", 426),
        (HEAD.replace(b"Connection: Upgrade\r\n", b"") + b"\r\n", 400),
        (HEAD.replace(b"Sec-WebSocket-Key", b"X") + b"\r\n", 400),
        (HEAD.replace(b"localhost", b"\xff\xfe") + b"\r\n", 400),
        (HEAD.replace(b"localhost", b"a." * 150 + b"b") + b"\r\n", 400),
        (HEAD.replace(b"Host: localhost\r\n", b"") + b"\r\n", 400),
        (HEAD + b"Sec-WebSocket-Protocol: \xff\r\n\r\n", 400),
        (b"nonsense\r\n\r\n", 400),
    ],
)
def test_what_is_no_request(request_: bytes, status: int) -> None:
    for step in (1, 1 << 20):
        bench = Bench().receive(request_, step=step)
        assert bench.octets().startswith(b"HTTP/1.1 %d " % status)
        assert bench.session.closing
        assert bench.session.inside is None


def test_a_page_that_is_let_in_is_not_of_this_machine() -> None:
    elsewhere = Bench(origins=("*",)).open(headers=((b"Origin", b"https://evil.example.com"),))
    assert not elsewhere.inside.peer.is_loopback
    assert Bench(origins=("https://app.example.com",)).open(headers=((b"Origin", b"https://app.example.com"),)).inside.peer.is_loopback
    assert Bench().open().inside.peer.is_loopback


def test_a_request_that_never_ends() -> None:
    bench = Bench()
    bench.session.deadline_reached(100.0)
    assert bench.session.next_deadline == 110.0
    bench.receive(HEAD)
    assert not bench.session.closing
    bench.session.deadline_reached(110.0)
    assert bench.session.closing
    assert bench.notes


def test_a_request_cannot_be_long() -> None:
    bench = Bench().receive(HEAD + b"X: " + b"y" * 100_000, step=100)
    assert bench.octets().startswith(b"HTTP/1.1 431 ")


# ---- what is handed on


def test_messages_are_octets(bench: Bench) -> None:
    bench.send(BytesMessage(data=b"ab\0"), TextMessage(data="c\u00e9"), BytesMessage(data=b""), BytesMessage(data=b"x" * 100_000))
    assert bench.inside.heard == b"ab\0" + "c\u00e9".encode() + b"x" * 100_000


def test_any_division(bench: Bench) -> None:
    """Of messages into frames, and of frames into reads."""
    text = "h\u00e9llo \U0001f600 w\u00f6rld".encode()
    frames = b"".join(raw(1 if at == 0 else 0, text[at : at + 1], fin=at == len(text) - 1) + raw(9, b"p") for at in range(len(text)))
    stream = frames + raw(2, b"\xff" * 130) + raw(2, b"\0" * 70_000) + raw(10, b"unasked")
    for step in (1, 2, 3, 7, 4096, 1 << 20):
        found = Bench().open()
        found.receive(stream if step > 3 else stream[: len(frames) + 200], step=step)
        expected = text + b"\xff" * 130 + b"\0" * 70_000
        assert found.inside.heard == (expected if step > 3 else expected[: len(found.inside.heard)])
        assert len(found.inside.heard) > len(text) + 100
        assert found.hear() == [Pong(payload=b"p")]  # the last one alone: nothing was taken meanwhile


@settings(max_examples=40)
@given(st.lists(st.binary(max_size=300), max_size=10), st.integers(1, 600), st.integers(1, 50), st.randoms(use_true_random=False))
def test_every_division(messages: list[bytes], step: int, room: int, dice: random.Random) -> None:
    bench = Bench().open()
    bench.inside.room_size = room
    stream = b""
    for message in messages:
        cuts = sorted(dice.randrange(len(message) + 1) for _ in range(dice.randrange(4)))
        parts = [message[low:high] for low, high in zip([0, *cuts], [*cuts, len(message)], strict=True)]
        for number, part in enumerate(parts):
            stream += raw(2 if number == 0 else 0, part, fin=number == len(parts) - 1, mask=dice.randbytes(4))
    bench.receive(stream, step=step)
    assert bench.inside.heard == b"".join(messages)


def test_a_session_that_does_not_read_waits() -> None:
    bench = Bench().open()
    bench.inside.pause_at, bench.inside.room_size = 1000, 300
    bench.send(BytesMessage(data=b"x" * 2500), BytesMessage(data=b"y" * 10))
    assert len(bench.inside.heard) == 1200
    assert bench.session.paused
    bench.run()
    assert len(bench.inside.heard) == 1200
    bench.inside.pause_at = 2000
    bench.inside.paused = False
    bench.inside.wake()
    assert len(bench.inside.heard) == 1200  # not from within a wake()
    bench.run()
    assert len(bench.inside.heard) == 2100
    bench.inside.pause_at = 1 << 60
    bench.inside.paused = False
    bench.inside.wake()
    bench.run()
    assert bench.inside.heard == b"x" * 2500 + b"y" * 10
    assert not bench.session.paused


def test_frames_of_nothing_take_turns(bench: Bench) -> None:
    """One read of the smallest frames is more than a turn; others have theirs in between, and nothing is lost."""
    bench.turns.left = TURN_STEPS
    bench.receive(raw(2, b"", fin=False) + raw(0, b"", fin=False) * 5000 + raw(0, b"end"), turns=False)
    assert bench.session.paused
    assert not bench.inside.heard
    turns = 0
    while bench.later:
        due, bench.later[:] = bench.later[:], []
        for function in due:
            function()
        turns += 1
    assert turns >= 5000 * 10 // TURN_STEPS - 1
    assert bench.inside.heard == b"end"
    assert not bench.session.paused


def test_a_stranger_has_little_room(bench: Bench) -> None:
    bench.inside.established = False
    assert not bench.session.established
    assert len(bench.session.get_buffer(-1)) == STRANGER_READ_BYTES
    bench.inside.established = True
    assert len(bench.session.get_buffer(-1)) > STRANGER_READ_BYTES


def test_what_comes_before_the_answer_is_not_lost() -> None:
    bench = Bench()
    bench.receive(bench.request() + raw(2, b"early"))
    assert bench.inside.heard == b"early"


# ---- what is said


def test_text_to_who_speaks_text(bench: Bench) -> None:
    bench.inside.say(b"first")
    assert bench.hear() == [TextMessage(data="first")]
    bench.send(BytesMessage(data=b"x"))
    bench.inside.say(b"a", b"b\0")
    assert bench.hear() == [BytesMessage(data=b"ab\0")]
    bench.send(TextMessage(data="x"))
    bench.inside.say("\u00e9".encode())
    assert bench.hear() == [TextMessage(data="\u00e9")]
    bench.inside.say(b"\xff")
    assert bench.hear() == [BytesMessage(data=b"\xff")]


def test_binary_where_there_is_no_text() -> None:
    bench = Bench(BINARY).open(subprotocols=("chat",))
    bench.inside.say(b"abc")
    assert bench.hear() == [BytesMessage(data=b"abc")]
    bench.send(TextMessage(data="x"))
    assert closed_with(bench) == 1003
    assert not bench.inside.heard


@pytest.mark.parametrize("octets", [b"x" * 20_000, "\u4e2d".encode() * 20_000, os.urandom(30_000)])
def test_long_answers_come_in_pieces(bench: Bench, octets: bytes) -> None:
    bench.inside.say(octets)
    events = bench.hear()
    assert all(len(event.data) <= PIECE_SIZE and event.message_finished for event in events)
    assert b"".join(event.data.encode() if isinstance(event, TextMessage) else event.data for event in events) == octets


def test_what_the_network_says_is_passed_on(bench: Bench) -> None:
    bench.session.writable(False)
    bench.session.writable(True)
    bench.session.flushed()
    bench.session.deadline_reached(7.5)
    assert bench.inside.called == [("writable", False), ("writable", True), "flushed", ("deadline", 7.5)]
    assert bench.session.next_deadline == 7.0
    bench.inside.paused = True
    assert bench.session.paused


def test_pings(bench: Bench) -> None:
    bench.send(Ping(payload=b"abc"), Pong(payload=b"unasked"))
    assert bench.hear() == [Pong(payload=b"abc")]


def test_pings_of_a_peer_that_does_not_read_cost_nothing(bench: Bench) -> None:
    pings = b"".join(raw(9, b"%d" % number) for number in range(1000))
    bench.receive(pings)
    assert bench.session.output.size == 5
    bench.inside.say(b"said")
    bench.receive(raw(9, b"again"))
    assert bench.session.output.size == 5 + 4 + 7 - 5
    pong, text = bench.hear()
    assert (pong, text.data) == (Pong(payload=b"again"), "said")
    assert bench.session.output.size == 0
    bench.receive(raw(9, b"last"))
    bench.inside.end()
    pong, close = bench.hear()
    assert (pong, close.code) == (Pong(payload=b"last"), 1000)


# ---- the end


def test_the_peer_closes(bench: Bench) -> None:
    bench.send(BytesMessage(data=b"x"), CloseConnection(code=1000, reason="bye"))
    assert bench.session.closing
    assert closed_with(bench) == 1000
    assert bench.inside.heard == b"x"
    bench.session.flushed()
    bench.session.lost("gone")
    assert bench.inside.called == [("lost", "gone")]


def test_the_session_ends(bench: Bench) -> None:
    bench.inside.say(b"last")
    bench.inside.end()
    text, close = bench.hear()
    assert (text.data, close.code) == ("last", 1000)
    assert bench.session.state == PARTING
    assert not bench.session.closing
    bench.receive(raw(2, b"not heard"))
    bench.receive(bench.client.send(close.response()))
    assert bench.session.closing
    assert not bench.inside.heard


def test_the_session_ends_in_the_midst_of_what_came(bench: Bench) -> None:
    heard = bench.inside.buffer_updated

    def once(count: int) -> None:
        heard(count)
        bench.inside.closing = True

    bench.inside.buffer_updated = once
    bench.send(BytesMessage(data=b"x" * 5000), BytesMessage(data=b"y"))
    assert len(bench.inside.heard) == 1000
    assert closed_with(bench) == 1000


def test_a_peer_that_does_not_answer_a_close(bench: Bench) -> None:
    bench.inside.end()
    bench.hear()
    bench.session.deadline_reached(50.0)
    assert bench.session.next_deadline == 52.0
    assert not bench.session.closing
    bench.session.deadline_reached(52.0)
    assert bench.session.closing


def test_the_broker_stops(bench: Bench) -> None:
    bench.session.shut_down("the broker stops")
    text, close = bench.hear()
    assert (text.data, close.code) == ("goodbye", 1001)
    early = Bench()
    early.session.shut_down("the broker stops")
    assert early.session.closing


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (raw(2, b"x", mask=None), 1002),
        (raw(3, b"x"), 1002),
        (raw(2, b"x", bits=0x40), 1002),
        (raw(0, b"x"), 1002),
        (raw(2, b"x", fin=False) + raw(2, b"y"), 1002),
        (raw(9, b"x", fin=False), 1002),
        (raw(9, b"x" * 126), 1002),
        (b"\x82\xff" + struct.pack("!Q", 1 << 63) + b"\0\0\0\0", 1002),
        (b"\x82\xfe\0\x05\0\0\0\0", 1002),
        (raw(8, b"x"), 1002),
        (raw(8, struct.pack("!H", 999)), 1002),
        (raw(8, struct.pack("!H", 1005)), 1002),
        (raw(8, struct.pack("!H", 1000) + b"\xff"), 1007),
        (raw(1, b"\xff"), 1007),
        (raw(1, b"\xc3", fin=False) + raw(0, b"("), 1007),
        (raw(1, b"\xc3"), 1007),
    ],
)
def test_frames_that_cannot_be_read(frames: bytes, code: int) -> None:
    for step in (1, 1 << 20):
        bench = Bench().open()
        bench.receive(frames + raw(2, b"behind"), step=step)
        assert closed_with(bench) == code
        assert bench.session.state == PARTING
        assert not bench.inside.heard.endswith(b"behind")
        assert bench.notes
        bench.receive(b"\0" * 100_000)  # nobody keeps it
        bench.session.deadline_reached(1.0)
        bench.session.deadline_reached(9.0)
        assert bench.session.state == CLOSED


def hostile(seed: int) -> Iterator[bytes]:
    dice = random.Random(seed)
    for _ in range(25):
        stream = bytearray(
            b"".join(raw(dice.choice((0, 1, 2, 8, 9, 10)), dice.randbytes(dice.choice((0, 1, 2, 125, 126, 300))), dice.random() < 0.7) for _ in range(6))
        )
        for _ in range(dice.choice((0, 1, 3))):
            stream[dice.randrange(len(stream))] = dice.randrange(256)
        yield bytes(stream)


@pytest.mark.parametrize("seed", range(4))
def test_nothing_that_comes_raises(seed: int) -> None:
    """However it is divided the end is the same, and so is what was handed on, as far as one knew before what is wrong had come."""
    for stream in hostile(seed):
        heard, states = [], set()
        for step in (1, 1 << 20):
            bench = Bench().open()
            bench.receive(stream, step=step)
            heard.append(bytes(bench.inside.heard))
            states.add(bench.session.state)
        assert len(states) == 1
        assert heard[0].startswith(heard[1])
