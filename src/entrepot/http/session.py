"""HTTP/1.1 as a session: h11 does the protocol, a handler gives the answers. Requests are small; answers are there at once, or later, or come in parts.

Limits: `request_bytes` for the head, and again for the body; one request at a time per connection (pipelined ones wait in the
buffer, which is read no further); a connection that says nothing for KEEP_ALIVE_S, or takes nothing of an answer for so long, is closed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import h11

from entrepot.clock import Clock
from entrepot.model.listeners import HTTP
from entrepot.net.session import Wake

KEEP_ALIVE_S = 30.0
READ_BYTES = 16_384

_QUOTED = re.compile(r": (?:bytearray\()?b['\"].*", re.DOTALL)  # what h11 quotes of a request, as Python writes bytes


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `path` is without its query; names of headers are lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


class Pause:
    """Instead of a part: the next one is not there yet. Whoever waits for it calls end(), once, on the loop, and not before this is taken."""

    __slots__ = ("_go_on",)

    def end(self) -> None:
        """It is there."""
        self._go_on()

    def take(self, go_on: Callable[[], object]) -> None:
        """go_on() is called when it ends."""
        self._go_on = go_on


@dataclass(frozen=True, slots=True)
class Response:
    """One answer. A body in parts, none of them empty, is asked for one in a turn of the loop, and only while the peer reads; after a Pause when that ends."""

    status: int
    body: bytes | Iterator[bytes | Pause]
    content_type: str = "text/plain; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)


class Later:
    """An answer that is not there yet: whoever has it calls give(), once, on the loop."""

    __slots__ = ("_response", "_taker")

    def __init__(self) -> None:
        self._response: Response | None = None
        self._taker: Callable[[Response], object] | None = None

    def give(self, response: Response) -> None:
        """Here it is."""
        assert self._response is None
        self._response = response
        if self._taker is not None:
            self._taker(response)

    def take(self, taker: Callable[[Response], object]) -> None:
        """taker(answer): now or when it is given."""
        self._taker = taker
        if self._response is not None:
            taker(self._response)


Handler = Callable[[Request], Response | Later]


class HttpOutput:
    """Bytes to send."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.size = 0

    def add(self, part: bytes) -> None:
        """Send `part` after all others."""
        self._parts.append(part)
        self.size += len(part)

    def take(self) -> list[bytes]:
        """See net.session.Output."""
        parts, self._parts, self.size = self._parts, [], 0
        return parts


class HttpSession:
    """See the module. why_not(Host, None without one) says why a request is refused (403), or None. journal(text, first bytes): for the operator.

    look_of: see model.listeners.Listeners.
    """

    established = False  # nobody logs in here

    def __init__(
        self,
        handler: Handler,
        clock: Clock,
        request_bytes: int,
        wake: Wake,
        why_not: Callable[[str | None], str | None],
        journal: Callable[..., None],
        look_of: Callable[[bytes], str],
    ) -> None:
        self.output = HttpOutput()
        self.closing = False
        self.paused = False
        self.next_deadline = clock.monotonic_s() + KEEP_ALIVE_S
        self._handler = handler
        self._clock = clock
        self._request_bytes = request_bytes
        self._wake = wake
        self._why_not = why_not
        self._journal = journal
        self._look_of = look_of
        self._first = b""  # of what came
        self._buffer = bytearray(READ_BYTES)
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=request_bytes)
        self._request: h11.Request | None = None
        self._body = bytearray()
        self._is_writable = True
        self._is_waiting = False  # for an answer that comes later
        self._parts: Iterator[bytes | Pause] | None = None  # what is left of an answer
        self._is_pausing = False  # for its next part

    def get_buffer(self, size_hint: int) -> bytearray:
        """See net.session.Session, for this and the others."""
        return self._buffer

    def buffer_updated(self, count: int) -> None:
        """h11 keeps what is not a whole event yet, up to `request_bytes`."""
        self.next_deadline = self._clock.monotonic_s() + KEEP_ALIVE_S
        if not self._first:
            self._first = bytes(self._buffer[: min(count, 8)])
            if self._look_of(self._first) not in ("", HTTP):  # without a line's end h11 would wait for one
                self._journal("connection closed: it does not begin as HTTP does", self._first)
                self._refuse(400, "this is HTTP/1.1")
                return
        self._http.receive_data(bytes(self._buffer[:count]))
        self._go_on()
        self._rest()

    def writable(self, is_writable: bool) -> None:
        """A peer that does not read its answers is not answered."""
        self._is_writable = is_writable
        if is_writable:
            self._go_on()
        self._rest()
        self._wake()

    def flushed(self) -> None:
        """The next part of an answer has its turn."""
        if self._parts is not None and not self._is_pausing:
            self._next_part()

    def _next_part(self) -> None:
        self._is_pausing = False
        if self._parts is None or self.closing:
            return
        self.next_deadline = self._clock.monotonic_s() + KEEP_ALIVE_S
        self._go_on()
        self._rest()
        self._wake()

    def deadline_reached(self, now: float) -> None:
        """Silent for too long."""
        self.closing = True

    def shut_down(self, reason: str) -> None:
        """Answers given are still sent."""
        self.closing = True

    def lost(self, reason: str) -> None:
        """What is left of an answer is not asked for."""
        self.closing = True
        self._parts = None

    def _rest(self) -> None:
        """Nothing is read while an answer is not there, or not taken: h11 would keep what comes."""
        self.paused = not self._is_writable or self._is_waiting or self._parts is not None

    def _go_on(self) -> None:
        if self._parts is None:
            self._answer_all()
        elif self._is_writable and not self.closing and not self._is_pausing:
            self._send_part(self._parts)

    def _answer_all(self) -> None:
        while not self.closing and self._is_writable and not self._is_waiting and self._parts is None:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                why = _QUOTED.sub("", str(error))
                self._journal(f"connection closed: {why}", self._first)
                self._refuse(error.error_status_hint, why)
                return
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return
            if isinstance(event, h11.Request):
                self._request = event
                self._body.clear()
            elif isinstance(event, h11.Data):
                if len(event.data) > self._request_bytes - len(self._body):
                    self._refuse(413, f"a request's body may have {self._request_bytes} bytes (limits.http_request_bytes)")
                    return
                self._body += event.data
            elif isinstance(event, h11.EndOfMessage):
                self._answer()
            else:  # the connection is over
                self.closing = True

    def _answer(self) -> None:
        request = self._request
        assert request is not None
        path, _, query = request.target.decode("latin-1").partition("?")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
        method = request.method.decode("latin-1")
        why = self._why_not(headers.get("host"))
        if why is not None:
            self._send(Response(403, why.encode() + b"\n"), method)
            self._done()
            return
        answer = self._handler(Request(method, path, query, headers, bytes(self._body)))
        if isinstance(answer, Response):
            self._send(answer, method)
            self._done()
            return
        self._is_waiting = True
        answer.take(lambda response: self._given(response, method))

    def _given(self, response: Response, method: str) -> None:
        """The answer that was to come."""
        self._is_waiting = False
        if self.closing:
            return
        self.next_deadline = self._clock.monotonic_s() + KEEP_ALIVE_S
        self._send(response, method)
        self._done()
        self._go_on()
        self._rest()
        self._wake()

    def _done(self) -> None:
        """The next request may come, if the last one is answered whole and the connection goes on."""
        if self._parts is not None:
            return
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            self._http.start_next_cycle()
        else:
            self.closing = True

    def _refuse(self, status: int, text: str) -> None:
        state = self._http.our_state
        if state in (h11.IDLE, h11.SEND_RESPONSE):
            asked = self._request if state is h11.SEND_RESPONSE else None  # in IDLE it is that of the cycle before
            self._send(Response(status, text.encode() + b"\n", headers={"connection": "close"}), asked.method.decode("latin-1") if asked else "")
        self.closing = True

    def _send(self, response: Response, method: str) -> None:
        headers = [("content-type", response.content_type), *response.headers.items()]
        body = response.body
        if not isinstance(body, bytes):
            self._emit(h11.Response(status_code=response.status, headers=headers))
            self._parts = body if method != "HEAD" else iter(())
            return
        headers.append(("content-length", str(len(body))))
        self._emit(h11.Response(status_code=response.status, headers=headers))
        self._emit(h11.Data(data=body if method != "HEAD" else b""))
        self._emit(h11.EndOfMessage())

    def _send_part(self, parts: Iterator[bytes | Pause]) -> None:
        part = next(parts, None)
        if isinstance(part, Pause):
            self._is_pausing = True
            part.take(self._next_part)
            return
        if part is not None:
            assert part
            self._emit(h11.Data(data=part))
            return
        self._parts = None
        self._emit(h11.EndOfMessage())
        self._done()
        self._answer_all()

    def _emit(self, event: h11.Event) -> None:
        part = self._http.send(event)
        if part:
            self.output.add(part)
