from __future__ import annotations

import itertools
from collections.abc import Iterator

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.http.session import KEEP_ALIVE_S, Handler, HttpSession, Later, Pause, Request, Response
from entrepot.protocol_table import listeners
from stopped_clock import StoppedClock

LIMIT = 1024


def echo(request: Request) -> Response:
    return Response(200, f"{request.method} {request.path} {request.query} {len(request.body)}".encode())


class Conversation:
    def __init__(self, handler: Handler = echo) -> None:
        self.clock = StoppedClock()
        self.wakes = 0
        self.hosts: list[str | None] = []
        self.notes: list[tuple[str, bytes]] = []
        self.session = HttpSession(
            handler, self.clock, LIMIT, self.wake, self.why_not, lambda text, first: self.notes.append((text, first)), listeners().look_of
        )

    def why_not(self, host: str | None) -> str | None:
        self.hosts.append(host)
        return "not here" if host == "evil.test" else None

    def wake(self) -> None:
        self.wakes += 1

    def feed(self, data: bytes) -> None:
        while data and not self.session.closing:
            buffer = self.session.get_buffer(-1)
            count = min(len(buffer), len(data))
            buffer[:count] = data[:count]
            data = data[count:]
            self.session.buffer_updated(count)

    def sent(self) -> bytes:
        return b"".join(self.session.output.take())


GET = b"GET /a?b=c HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST /p HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\nxyz"


def test_requests_one_after_another() -> None:
    talk = Conversation()
    for data, body in [(GET, b"GET /a b=c 0"), (POST, b"POST /p  3")]:
        talk.feed(data)
        answer = talk.sent()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b"\r\n\r\n" + body)
    assert not talk.session.closing


def test_what_is_refused_is_not_answered() -> None:
    talk = Conversation()
    talk.feed(GET.replace(b"host: x", b"Host: evil.test") + GET + b"GET / HTTP/1.0\r\n\r\n")
    answers = talk.sent()
    assert answers.startswith(b"HTTP/1.1 403 ")
    assert b"not here\nHTTP/1.1 200 " in answers
    assert answers.count(b"HTTP/1.1 200 ") == 2
    assert talk.hosts == ["evil.test", "x", None]


@pytest.mark.parametrize("hosts", [b"", b"host: localhost\r\nhost: evil.test\r\n"])
def test_a_request_has_one_host(hosts: bytes) -> None:
    talk = Conversation()
    talk.feed(b"GET / HTTP/1.1\r\n" + hosts + b"\r\n")
    assert talk.sent().startswith(b"HTTP/1.1 400 ")
    assert talk.hosts == []


def test_head_has_no_body() -> None:
    talk = Conversation()
    talk.feed(GET.replace(b"GET", b"HEAD"))
    answer = talk.sent()
    assert answer.endswith(b"\r\n\r\n")
    assert b"content-length: 13" in answer.lower()


@given(st.lists(st.integers(0, len(GET + POST + GET)), max_size=8))
def test_any_split_gives_the_same_answers(cuts: list[int]) -> None:
    whole, split = Conversation(), Conversation()
    data = GET + POST + GET
    whole.feed(data)
    places = [0, *sorted(cuts), len(data)]
    for first, end in itertools.pairwise(places):
        split.feed(data[first:end])
    assert split.sent() == whole.sent()


@given(st.binary(max_size=4000))
def test_whatever_comes_is_answered_or_waited_for(data: bytes) -> None:
    talk = Conversation()
    talk.feed(data)
    answer = talk.sent()
    assert not answer or answer.startswith(b"HTTP/1.1 ")
    assert talk.session.closing or len(data) <= 4000


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"NONSENSE\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 2 * LIMIT, b"431"),
        (b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 99999\r\n\r\n" + b"a" * 2 * LIMIT, b"413"),
    ],
)
def test_what_is_too_much_is_refused_and_closed(data: bytes, status: bytes) -> None:
    talk = Conversation()
    talk.feed(data)
    assert talk.sent().startswith(b"HTTP/1.1 " + status)
    assert talk.session.closing


def test_connection_close_is_kept() -> None:
    talk = Conversation()
    talk.feed(GET[:-2] + b"connection: close\r\n\r\n")
    assert talk.sent()
    assert talk.session.closing


def test_silence_ends_it_and_talk_puts_that_off() -> None:
    talk = Conversation()
    talk.clock.now_s += 10
    talk.feed(GET)
    assert talk.session.next_deadline == talk.clock.now_s + KEEP_ALIVE_S
    talk.session.deadline_reached(talk.session.next_deadline)
    assert talk.session.closing


def test_a_peer_that_does_not_read_is_not_answered_until_it_does() -> None:
    talk = Conversation()
    talk.session.writable(False)
    assert talk.session.paused
    talk.feed(GET * 3)
    assert talk.session.output.size == 0
    talk.session.writable(True)
    assert not talk.session.paused
    assert talk.sent().count(b"HTTP/1.1 200") == 3


def test_answers_are_http() -> None:
    talk = Conversation()
    talk.feed(POST)
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="POST", target="/p", headers=[("host", "x"), ("content-length", "0")]))
    client.send(h11.EndOfMessage())
    client.receive_data(talk.sent())
    answer = client.next_event()
    assert isinstance(answer, h11.Response)
    assert answer.status_code == 200


@pytest.mark.parametrize("rest", [b"content-length: 5000\r\n\r\n" + bytes(5000), b"transfer-encoding: chunked\r\n\r\nno size\r\n"])
def test_a_head_that_is_refused_is_answered_without_a_body(rest: bytes) -> None:
    talk = Conversation()
    talk.feed(b"HEAD / HTTP/1.1\r\nhost: x\r\n" + rest)
    head, _, body = talk.sent().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 4")
    assert body == b""
    assert talk.session.closing


def test_an_answer_that_comes_later_holds_up_what_is_behind_it() -> None:
    waiting: list[Later] = []

    def handler(request: Request) -> Response | Later:
        if request.method == "GET":
            return echo(request)
        waiting.append(Later())
        return waiting[-1]

    talk = Conversation(handler)
    talk.feed(POST + GET)
    assert talk.session.paused
    assert talk.sent() == b""
    waiting[0].give(Response(200, b"done"))
    assert not talk.session.paused
    answers = talk.sent()
    assert answers.index(b"done") < answers.index(b"GET /a b=c 0")
    assert talk.wakes > 0


def test_an_answer_that_was_given_before_anybody_waits_is_sent_at_once() -> None:
    def handler(request: Request) -> Later:
        later = Later()
        later.give(echo(request))
        return later

    talk = Conversation(handler)
    talk.feed(POST + GET)
    assert talk.sent().count(b"HTTP/1.1 200 ") == 2


def test_an_answer_that_comes_after_the_end_is_nobodys() -> None:
    later = Later()
    talk = Conversation(lambda _request: later)
    talk.feed(POST)
    talk.session.lost("gone")
    later.give(Response(200, b"done"))
    assert talk.sent() == b""


def test_parts_are_asked_for_one_by_one_and_only_while_the_peer_reads() -> None:
    asked: list[int] = []

    def parts() -> Iterator[bytes]:
        for number in range(3):
            asked.append(number)
            yield b"part %d;" % number

    talk = Conversation(lambda request: Response(200, parts()) if request.method == "POST" else echo(request))
    talk.feed(POST + GET)
    assert talk.session.paused
    assert asked == []
    sent = talk.sent()
    for expected in ([0], [0, 1]):
        talk.session.flushed()
        assert asked == expected
        sent += talk.sent()
    talk.session.writable(False)
    talk.session.flushed()
    assert asked == [0, 1]
    for _ in range(3):
        talk.session.writable(True)
        talk.session.flushed()
        sent += talk.sent()
    assert asked == [0, 1, 2]
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="POST", target="/p", headers=[("host", "x"), ("content-length", "0")]))
    client.send(h11.EndOfMessage())
    client.receive_data(sent)
    body = b""
    while not isinstance(event := client.next_event(), h11.EndOfMessage):
        body += event.data if isinstance(event, h11.Data) else b""
    assert body == b"part 0;part 1;part 2;"
    assert sent.endswith(b"GET /a b=c 0")
    assert not talk.session.paused


def test_a_part_that_is_not_there_yet_is_waited_for() -> None:
    pause = Pause()

    def parts() -> Iterator[bytes | Pause]:
        yield b"before"
        yield pause
        yield b"after"

    talk = Conversation(lambda _request: Response(200, parts()))
    talk.feed(POST)
    for _ in range(5):
        talk.session.flushed()
        talk.session.writable(True)
    sent = talk.sent()
    assert sent.endswith(b"6\r\nbefore\r\n")
    talk.clock.now_s += KEEP_ALIVE_S - 1
    wakes = talk.wakes
    pause.end()
    assert talk.wakes == wakes + 1
    assert talk.session.next_deadline == talk.clock.now_s + KEEP_ALIVE_S
    assert talk.sent() == b"5\r\nafter\r\n"
    talk.session.flushed()
    assert talk.sent() == b"0\r\n\r\n"


@pytest.mark.parametrize("gone", [True, False])
def test_a_part_that_comes_when_nobody_reads_any_more(gone: bool) -> None:
    pause = Pause()
    talk = Conversation(lambda _request: Response(200, iter([pause, b"after"])))
    talk.feed(POST)
    talk.session.flushed()
    talk.sent()
    talk.session.lost("gone") if gone else talk.session.writable(False)
    pause.end()
    assert talk.sent() == b""
    talk.session.writable(True)
    assert talk.sent() == (b"" if gone else b"5\r\nafter\r\n")


def test_who_takes_no_part_for_too_long_is_closed_and_who_does_is_not() -> None:
    talk = Conversation(lambda _request: Response(200, itertools.repeat(b"part")))
    talk.feed(POST)
    talk.clock.now_s += KEEP_ALIVE_S - 1
    talk.session.flushed()
    assert talk.session.next_deadline == talk.clock.now_s + KEEP_ALIVE_S
    talk.session.lost("gone")
    talk.sent()
    talk.session.flushed()
    assert talk.sent() == b""
