"""A link between two processes: each frame arrives once, in order, whatever connections come and go, and only between those who know the key."""

from __future__ import annotations

import random
from typing import Any

import link_pair
import pytest
from link_pair import KEY, Pipe, Process, exchanged, give, run

from entrepot.cluster import greeting
from entrepot.cluster.link import FRAME_BYTES, WINDOW_BYTES, Link
from entrepot.cluster.link_frames import ALIVE_FRAME, FRAME_MAX_BYTES, HEAD_SIZE, LinkDecoder, ack_frame, data_head
from entrepot.cluster.link_session import ALIVE_S, GREETING_S, SILENCE_S, Identity, LinkSession, State
from entrepot.model.errors import CorruptData
from stopped_clock import StoppedClock


def pair(**of_b: Any) -> tuple[Process, Process]:
    rng, clock = random.Random(7), StoppedClock()
    return Process("a", rng, clock), Process("b", rng, clock, **of_b)


def linked() -> tuple[Process, Process, LinkSession, LinkSession]:
    a, b = pair()
    dialler, acceptor = a.connect("b"), b.connect(None)
    exchanged(dialler, acceptor)
    assert dialler.state is acceptor.state is State.OPEN
    return a, b, dialler, acceptor


# ---- over many connections


def runs(count: int) -> None:
    for seed in range(count):
        run(seed)


def test_each_frame_comes_once_and_in_order_over_all_connections() -> None:
    happened: dict[str, int] = {}
    for seed in range(60):
        for what, count in run(seed).items():
            happened[what] = happened.get(what, 0) + count
    assert happened["frames"] > 4_000
    assert happened["resumed"] > 400
    assert happened["restarts"] > 40


@pytest.mark.long
def test_each_frame_comes_once_and_in_order_over_many_more_connections() -> None:
    for seed in range(1_000, 6_000):
        run(seed)


class _NothingAgain(Link):
    """A mutation: what was written once is not written again."""

    def resume(self, received: int) -> None:
        self._rest.clear()
        self._acknowledge(self._begun if len(self._begun) >= received - self.acknowledged else self._ahead, received)
        self._given = self.acknowledged + len(self._begun)
        self._told = self.received


class _EverythingAgain(Link):
    """A mutation: what the other end has is written again."""

    def resume(self, received: int) -> None:
        super().resume(self.acknowledged)


@pytest.mark.parametrize("mutation", [_NothingAgain, _EverythingAgain])
def test_a_link_that_resumes_wrongly_is_caught(mutation: type[Link], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_pair, "Link", mutation)
    with pytest.raises((AssertionError, IndexError)):
        runs(50)


def test_a_link_that_tells_more_than_it_has_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def greet_as_if(session: LinkSession, name: str) -> None:
        as_it_is(session, name)
        link = session._ends.known(name)
        if link is not None:
            link.received += 1

    as_it_is = LinkSession._greet
    monkeypatch.setattr(LinkSession, "_greet", greet_as_if)
    with pytest.raises(AssertionError):
        runs(50)


def test_memory_is_what_is_not_acknowledged_and_full_says_so() -> None:
    a, b, dialler, acceptor = linked()
    link = a.links["b"]
    link.held_max = 1_000 + HEAD_SIZE + FRAME_BYTES
    a.send("b", bytes(1_000))
    assert not link.is_full
    a.send("b", bytes(1))
    assert link.is_full
    assert link.held_bytes == 1_001 + 2 * (HEAD_SIZE + FRAME_BYTES)
    exchanged(dialler, acceptor)
    assert (link.held_bytes, link.is_full) == (0, False)
    assert b.got[a.start] == a.sent[b.start]


def test_a_long_frame_goes_by_windows_and_nothing_comes_between_its_octets() -> None:
    a, b, dialler, acceptor = linked()
    frame = random.Random(1).randbytes(5 * WINDOW_BYTES // 2)
    a.send("b", frame)
    b.send("a", b"back")
    taken = [dialler.output.take()]
    give(dialler, b"".join(acceptor.output.take()))
    while dialler.output.size:
        assert dialler.output.size == WINDOW_BYTES
        taken.append(dialler.output.take())
    sizes = [sum(map(len, parts)) for parts in taken]
    assert sizes == [WINDOW_BYTES, WINDOW_BYTES, WINDOW_BYTES // 2 + HEAD_SIZE + len(ack_frame(1))]
    give(acceptor, b"".join(part for parts in taken for part in parts))
    assert b.got[a.start] == [frame]
    assert b.links["a"].acknowledged == 1


def test_a_frame_that_nobody_would_take_is_not_sent() -> None:
    link = Link("b", bytes(16))
    parts = [bytes(1 << 20)] * (FRAME_MAX_BYTES >> 20)
    with pytest.raises(ValueError, match="a frame of 1073741825 bytes"):
        link.send(*parts, b"x")
    assert not link.waits


def test_an_acknowledgement_goes_once_a_tick_and_is_answered_by_none() -> None:
    a, _, dialler, acceptor = linked()
    for _ in range(5):
        a.send("b", b"frame")
    give(acceptor, b"".join(dialler.output.take()))
    assert acceptor.output.take() == [ack_frame(5)]
    assert acceptor.output.size == 0
    give(dialler, ack_frame(5))
    assert dialler.output.size == 0


def test_a_newer_connection_takes_the_links_place() -> None:
    a, b, dialler, acceptor = linked()
    second, other = a.connect("b"), b.connect(None)
    exchanged(second, other)
    assert second.state is other.state is State.OPEN
    assert dialler.closing
    assert acceptor.closing
    a.send("b", b"frame")
    assert dialler.output.take() == []
    exchanged(second, other)
    assert b.got[a.start] == [b"frame"]


def test_a_connection_whose_greeting_is_out_of_date_is_given_up() -> None:
    """Between greeting and proof something came over another connection: what the greeting told would have it sent again."""
    a, b, dialler, acceptor = linked()
    second, other = a.connect("b"), b.connect(None)
    give(other, b"".join(second.output.take()))
    a.send("b", b"frame")
    exchanged(dialler, acceptor)
    exchanged(second, other)
    assert other.closing
    assert b.log == ["link refused: what 'a' was told of the link is so no longer"]
    assert b.got[a.start] == [b"frame"]


# ---- who it is


def test_another_key_is_refused_by_both() -> None:
    a, b = pair(key=b"x" * 32)
    one, other = a.connect("b"), b.connect(None)
    exchanged(one, other)
    assert a.log == ["link refused: 'b' does not know the cluster's key"]
    assert b.log == ["link refused: 'a' does not know the cluster's key"]
    assert a.links == b.links == {}


def test_another_cluster_another_name_and_oneself_are_refused() -> None:
    a, b = pair(cluster="d")
    exchanged(a.connect("b"), b.connect(None))
    assert b.log == ["link refused: 'a' is of another cluster, 'c'"]
    a, b = pair()
    exchanged(a.connect("c"), b.connect(None))
    assert a.log == ["link refused: 'b' answers where 'c' should be"]
    a, _ = pair()
    exchanged(a.connect("a"), a.connect(None))
    assert a.log == ["link refused: the other end is called 'a', as this one"]


def test_what_was_said_on_one_connection_is_no_proof_on_another() -> None:
    a, b = pair()
    dialler, acceptor = a.connect("b"), b.connect(None)
    hello = b"".join(dialler.output.take())
    give(acceptor, hello)
    give(dialler, b"".join(acceptor.output.take()))
    proof = b"".join(dialler.output.take())
    give(acceptor, proof)
    assert acceptor.state is State.OPEN
    replayed = b.connect(None)
    give(replayed, hello + proof)
    assert replayed.closing
    assert b.log == ["link refused: 'a' does not know the cluster's key"]


def test_an_ends_own_proof_is_none_of_the_others() -> None:
    """Somebody without the key sends back what he is sent, under another name."""
    a, _ = pair()
    dialler = a.connect("z")
    first = b"".join(dialler.output.take())
    said = greeting.decode(first).said
    forged = greeting.encode(greeting.Greeting("c", "z", bytes(16), b"", 0, said.nonce))
    give(dialler, forged)
    give(dialler, b"".join(dialler.output.take()))
    assert dialler.closing
    assert a.log == ["link refused: 'z' does not know the cluster's key"]


def test_a_start_that_was_declared_dead_is_not_heard() -> None:
    a, b = pair()
    b.dead.add(a.start)
    exchanged(a.connect("b"), b.connect(None))
    assert b.log == ["link refused: that start of 'a' was declared dead"]


def test_an_earlier_start_whose_proof_is_late_does_not_take_the_living_ones_place() -> None:
    a, b = pair()
    dialler, acceptor = a.connect("b"), b.connect(None)
    give(acceptor, b"".join(dialler.output.take()))
    give(dialler, b"".join(acceptor.output.take()))
    late = b"".join(dialler.output.take())
    a.begin()
    exchanged(a.connect("b"), b.connect(None))
    living = b.session
    give(acceptor, late)
    assert acceptor.closing
    assert b.log == ["link refused: an earlier start of 'a' than the one that there is a link with"]
    assert b.session is living
    assert b.links["a"].peer == a.start


@pytest.mark.parametrize(("field", "value"), [("key", b"k" * 31), ("start", bytes(15)), ("name", ""), ("name", "é" * 128), ("cluster", "c" * 256)])
def test_who_nobody_could_link_with_is_told_at_once(field: str, value: object) -> None:
    with pytest.raises(ValueError, match="byte"):
        Identity(**{"cluster": "c", "name": "a", "start": bytes(16), "key": KEY, field: value})  # type: ignore[arg-type]


def test_one_that_has_lost_its_end_of_a_link_is_refused() -> None:
    a, b, dialler, acceptor = linked()
    a.send("b", b"frame")
    exchanged(dialler, acceptor)
    del b.links["a"]
    exchanged(a.connect("b"), b.connect(None))
    assert a.log[-1].startswith("link refused: 'b' has lost what it had of the link")


# ---- what comes


GOOD = greeting.encode(greeting.Greeting("c", "b", bytes(16), b"", 0, bytes(32)))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "begins no link"),
        (GOOD[:8] + b"\x00\x02\x00\x09" + GOOD[12:], "it speaks versions 2 to 9 of the link; this end 1 to 1"),
        (GOOD[:8] + b"\x00\x00\x00\x00" + GOOD[12:], "it speaks versions 0 to 0 of the link; this end 1 to 1"),
        (GOOD[:12] + b"\x7f\xff\xff\xff", "a greeting of 2147483647 bytes; the limit is 1024"),
        (GOOD[:12] + b"\x00\x00\x00\x01\xc1", "a greeting that does not decode"),
        (GOOD[:12] + b"\x00\x00\x04\x00" + b"\x97\xa0\xa0\xc4\x00\xc4\x00\x00\xc4\x00" + b"\x91" * 1013 + b"\xc0", "a greeting that does not decode"),
        (greeting.encode(greeting.Greeting("c", "b", bytes(15), b"", 0, bytes(32))), "a greeting whose fields have other sizes"),
        (greeting.encode(greeting.Greeting("c", "b", bytes(16), b"", -1, bytes(32))), "a greeting whose fields have other sizes"),
        (greeting.encode(greeting.Greeting("c", "", bytes(16), b"", 0, bytes(32))), "a greeting whose fields have other sizes"),
    ],
)
def test_what_is_no_greeting_is_refused(data: bytes, why: str) -> None:
    _, b = pair()
    b.name = "x"
    session = b.connect(None)
    give(session, data)
    assert session.closing
    assert why in b.log[0]
    give(session, b"more")
    assert session.output.take() == []


def test_a_later_version_that_adds_fields_and_speaks_this_one_is_understood() -> None:
    a, b = pair()
    session = b.connect(None)
    raw = a.connect("b").output.take()[0]
    body = raw[16:]
    assert body[0] == 0x96
    longer = b"\x97" + body[1:] + b"\xc0"
    give(session, raw[:8] + b"\x00\x01\x00\x02" + len(longer).to_bytes(4, "big") + longer)
    assert session.state is State.PROOF


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (FRAME_MAX_BYTES + 1, "a frame of 1073741825 bytes; the limit is 1073741824"),
        (b"\x00\x00\x00\x00\x07", "a frame of kind 7 and 0 bytes"),
        (b"\x00\x00\x00\x01\x03x", "a frame of kind 3 and 1 bytes"),
        (b"\x00\x00\x00\x01\x02x", "a frame of kind 2 and 1 bytes"),
        (b"\x0f\xff\xff\xff\x02", "a frame of kind 2 and 268435455 bytes"),
        (ack_frame(0)[:5] + b"\xff" * 8, "an acknowledgement of 18446744073709551615 frames"),
        (ack_frame(1) + ack_frame(0), "an acknowledgement of 0 frames behind one of 1"),
        (ack_frame(1), "b acknowledges 1 frames; it was sent 0, and had 0"),
    ],
)
def test_what_is_no_frame_ends_the_connection(data: Any, why: str) -> None:
    a, _, dialler, _ = linked()
    give(dialler, data_head(data) if isinstance(data, int) else data)
    assert dialler.closing
    assert a.session is dialler  # until the socket is gone
    dialler.lost("")
    assert a.session is None
    assert dialler._why == why


def test_frames_are_found_whatever_the_reads_are() -> None:
    rng = random.Random(3)
    frames = [rng.randbytes(rng.choice((0, 1, 100, 5_000, 300_000))) for _ in range(40)]
    data = b"".join(data_head(len(frame)) + frame + ALIVE_FRAME for frame in frames) + ack_frame(9)
    for size in (1_000, 65_536, 1 << 20):
        decoder = LinkDecoder()
        found: list[bytes] = []
        for at in range(0, len(data), size):
            piece = data[at : at + size]
            while piece:
                room = decoder.writable()
                step = min(len(room), len(piece))
                room[:step] = piece[:step]
                decoder.received(step)
                piece = piece[step:]
                found += decoder.frames()
        assert found == frames
        assert decoder.acknowledged == 9


# ---- time


def test_a_stranger_has_little_time_and_a_silent_peer_not_much_more() -> None:
    a, _ = pair()
    clock = a.clock
    session = a.connect(None)
    assert session.next_deadline == clock.now_s + GREETING_S
    session.deadline_reached(session.next_deadline)
    assert session.closing
    a, b, dialler, acceptor = linked()
    clock = a.clock
    for _ in range(20):
        clock.now_s += ALIVE_S
        dialler.deadline_reached(clock.now_s)
        acceptor.deadline_reached(clock.now_s)
        exchanged(dialler, acceptor)
    assert not dialler.closing
    assert not acceptor.closing
    clock.now_s += SILENCE_S
    dialler.deadline_reached(clock.now_s)
    assert dialler.closing
    assert not b.log


def test_nobody_is_known_before_the_proof() -> None:
    a, b = pair()
    dialler, acceptor = a.connect("b"), b.connect(None)
    give(acceptor, b"".join(dialler.output.take()))
    assert not acceptor.established
    assert b.links == {}
    pipe = Pipe(random.Random(1), dialler, acceptor)
    while pipe.step():
        pass
    assert acceptor.established
    assert b.links["a"].peer == a.start


def test_damaged_frames_raise_what_is_meant_to_be_raised() -> None:
    rng = random.Random(11)
    for _ in range(2_000):
        decoder = LinkDecoder()
        data = rng.randbytes(rng.randrange(40))
        room = decoder.writable()
        room[: len(data)] = data
        decoder.received(len(data))
        try:
            decoder.frames()
        except CorruptData:
            continue
