"""HTTP/1.1 requests out of bytes, by httptools (llhttp): sans-IO, any split of the input gives the same requests.

Limits: HEAD_MAX bytes of a request line with headers, HEADERS_MAX headers, `body_max` bytes of body; what is held of requests, of those that wait for their
turn too, counts in the share of net/unfinished.py: of a user's beyond FREE_MAX, of a stranger's beyond next to nothing. What is over a limit, or no HTTP,
leaves `failure`: the status to answer before the connection is closed.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import httptools

from entrepot.net.receive_buffer import BUFFER_MIN_BYTES

HEAD_MAX = 65_536
HEADERS_MAX = 256
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
FREE_MAX = 65_536
STRANGER_FREE_MAX = BUFFER_MIN_BYTES
PIECE_BYTES = 64  # about what a piece of a head or a body takes in memory besides its bytes

_HEAD_MAX, _HEADERS_MAX, _FREE_MAX = HEAD_MAX, HEADERS_MAX, FREE_MAX
_STRANGER_FREE, _PIECE = STRANGER_FREE_MAX, PIECE_BYTES
_X = 120  # x
_OVERHEAD_MAX = 2 * HEAD_MAX  # one read more than the limit: where in it a request began is not known


class Request:
    """One whole request. `headers` are names, as they came, and values in turn; `target` is what the request line says."""

    __slots__ = (
        "authorization",
        "body",
        "content_type",
        "from_browser",
        "from_page",
        "headers",
        "held_bytes",
        "host",
        "keep_alive",
        "method",
        "operation",
        "origin",
        "target",
        "trace",
        "wants_json",
    )

    def __init__(self) -> None:
        self.method = b""
        self.target = b""
        self.headers: list[bytes] = []
        self.body = b""
        self.keep_alive = True
        self.from_page = False  # a browser sends it for a page
        self.from_browser = False  # a browser sends it, perhaps for somebody who typed it
        self.held_bytes = 0  # about what it takes in memory
        # of the headers, b"" where they are not there
        self.host = b""
        self.operation = b""  # x-amz-target
        self.content_type = b""
        self.authorization = b""
        self.origin = b""
        self.trace = b""  # x-amzn-trace-id
        self.wants_json = False  # accept

    def header(self, name: bytes) -> bytes | None:
        """The first header of that name, which is lower case."""
        headers = self.headers
        for index in range(0, len(headers), 2):
            if headers[index].lower() == name:
                return headers[index + 1]
        return None


class Framing:
    """One connection's parser. feed() adds to `requests`; `failure` (status, reason) is the end."""

    def __init__(self, body_max: int) -> None:
        self.requests: deque[Request] = deque()
        self.failure: tuple[int, str] | None = None
        self.failed_origin = b""  # Origin of the request that failed, as far as its headers had come
        self.first = b""  # of a connection that began with no HTTP
        self.ended = False  # the last request was one without keep-alive: what comes behind it is not read
        self.continues = False  # a request waits for "100 Continue"
        self.is_partial = False  # a request has begun and is not whole
        self.begun_count = 0  # requests that have begun to arrive
        self.waiting_bytes = 0  # of whole requests
        self._holds = False  # the share knows of something
        self._body_max = body_max
        self.share: Any = None  # net.unfinished.Share, if there is a limit over all connections
        self._free = _FREE_MAX
        self._parser: Any = httptools.HttpRequestParser(self)
        self._request: Request | None = None
        self._in_head = False
        self._overhead = 0  # bytes of the request that now arrives that are none of its body
        self._seen_bytes = 0  # of all bodies
        self._parts: list[bytes] = []
        self._body_bytes = 0

    def count_in(self, share: Any, free: int) -> int:
        """What is held beyond `free` bytes counts in another share (or None) from now on."""
        if self.share is not None:
            self.share.hold(0)
        self.share = share
        self._free = free
        self._holds = False
        self._hold()
        return 0

    def feed(self, data: bytes) -> int:
        """The next bytes."""
        if self.failure is not None or self.ended:
            return 0
        seen = self._seen_bytes
        begun = self.begun_count
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            if len(self.requests) > 0:
                self.requests.pop()  # it came without its body
            self.failure = (400, "an upgrade of the protocol is not supported")
        except httptools.HttpParserError as error:
            if self.failure is None and not self.ended:
                self.failure = (400, f"not HTTP/1.1: {error}")
                if begun <= 1 and self._overhead == 0 and seen == 0:
                    self.first = data[:8]
        self._overhead += len(data) - (self._seen_bytes - seen)
        if begun != self.begun_count:
            self._overhead = min(self._overhead, len(data))  # what came before it is another request's
        if self.is_partial and self._overhead > _OVERHEAD_MAX:
            self.failure = self.failure or (431, f"request line, headers, trailers and the sizes of chunks may have {_HEAD_MAX} bytes")
        if self.failure is not None:
            self._note_origin()
            self._release()
        if self._holds or self._held_bytes() > self._free:
            self._hold()
        return 0

    def close(self) -> int:
        """The connection is gone."""
        self._release()
        if self.share is not None:
            self.share.close()
            self.share = None
        self.requests.clear()
        self.ended = True
        self._parser = None
        return 0

    def _note_origin(self) -> int:
        """Who may read why it failed; b"": no page has asked, or none that is known."""
        if self._request is not None:
            self.failed_origin = self._request.origin
        return 0

    def _release(self) -> int:
        self._body_bytes = 0
        self._parts = []
        self.is_partial = False
        self.continues = False
        self._in_head = False
        return 0

    # ---- httptools calls these

    def on_message_begin(self) -> object:
        """A request line begins."""
        self._request = Request()
        self.begun_count += 1
        self._in_head = True
        self.is_partial = True
        return None

    def on_url(self, url: bytes) -> object:
        """A piece of the target."""
        request = self._request
        if len(request.target) + len(url) > _HEAD_MAX:  # type: ignore[union-attr]
            return self._fail(414, f"a request's target may have {_HEAD_MAX} bytes")
        request.target = request.target + url if len(request.target) > 0 else url  # type: ignore[union-attr]
        return None

    def on_header(self, name: bytes, value: bytes) -> object:
        """One header, or trailer."""
        request = self._request
        if not self._in_head:
            return None  # a trailer says nothing that is asked for
        headers = request.headers  # type: ignore[union-attr]
        if len(headers) >= 2 * _HEADERS_MAX:
            return self._fail(431, f"a request may have {_HEADERS_MAX} headers")
        headers.append(name)
        headers.append(value)
        size = len(name)
        request.held_bytes += size + len(value) + 2 * _PIECE  # type: ignore[union-attr]
        if not (size == 12 or size == 13 or size == 4 or size == 6 or size == 7 or size == 14 or (size == 15 and name[0] | 32 == _X)):
            return None
        name = name.lower()
        if size == 12:
            if name == b"x-amz-target":
                request.operation = value  # type: ignore[union-attr]
            elif name == b"content-type":
                request.content_type = value  # type: ignore[union-attr]
        elif size == 13:
            if name == b"authorization":
                request.authorization = value  # type: ignore[union-attr]
        elif size == 4:
            if name == b"host":
                if len(request.host) > 0:  # type: ignore[union-attr]
                    return self._fail(400, "a request has one Host")
                request.host = value  # type: ignore[union-attr]
        elif size == 6:
            if name == b"expect":
                self.continues = value.lower() == b"100-continue"
            elif name == b"origin":
                if len(request.origin) > 0:  # type: ignore[union-attr]
                    return self._fail(400, "a request has one Origin")
                request.origin = value  # type: ignore[union-attr]
                request.from_page = True  # type: ignore[union-attr]
            elif name == b"accept":
                request.wants_json = b"application/json" in value.lower()  # type: ignore[union-attr]
        elif size == 7:
            if name == b"referer":
                request.from_page = True  # type: ignore[union-attr]
        elif size == 15:
            if name == b"x-amzn-trace-id":
                request.trace = value  # type: ignore[union-attr]
        elif name == b"sec-fetch-site":
            request.from_browser = True  # type: ignore[union-attr]
            if value != b"none":
                request.from_page = True  # type: ignore[union-attr]
        return None

    def on_headers_complete(self) -> object:
        """The body begins, if there is one."""
        self._in_head = False
        self._request.method = self._parser.get_method()  # type: ignore[union-attr]
        return None

    def on_body(self, data: bytes) -> object:
        """A piece of the body."""
        self.continues = False
        size = len(data)
        self._seen_bytes += size
        if self.failure is not None:
            return None
        if size > self._body_max - self._body_bytes:
            return self._fail(413, f"a request's body may have {self._body_max} bytes (limits.sqs_request_bytes)")
        self._body_bytes += size
        self._parts.append(data)
        return None

    def overrun(self) -> bool:
        """See net.unfinished.Unfinished.share: what has arrived is given up."""
        if self.failure is None:
            self.failure = (
                503,
                "unfinished requests of all connections hold more than limits.unfinished_bytes (where nobody has signed limits.strangers_bytes); try again",
            )
        self._note_origin()
        self._release()
        self._overhead = 0
        self._request = None
        self._holds = False
        self.requests.clear()
        self.waiting_bytes = 0
        return True

    def on_message_complete(self) -> object:
        """The request is whole."""
        request = self._request
        parts = self._parts
        if len(parts) == 1:
            request.body = parts[0]  # type: ignore[union-attr]
        elif len(parts) > 1:
            request.body = b"".join(parts)  # type: ignore[union-attr]
        request.keep_alive = self._parser.should_keep_alive()  # type: ignore[union-attr]
        if not request.keep_alive:  # type: ignore[union-attr]
            self.ended = True
        self.requests.append(request)  # type: ignore[arg-type]
        self._request = None
        request.held_bytes += len(request.body) + len(request.target)  # type: ignore[union-attr, operator]
        self.waiting_bytes += request.held_bytes  # type: ignore[union-attr]
        self._release()
        if self._holds:
            self.share.finished()
        return None

    def next_bytes(self) -> int:
        """How long the body of the first of the requests is, which there is."""
        request = self.requests[0]
        return len(request.body)

    def next(self) -> Request:
        """The first of the requests, which there is."""
        request: Request = self.requests.popleft()
        self.waiting_bytes -= request.held_bytes
        if self._holds:
            self._hold()
        return request

    def _held_bytes(self) -> int:
        """About what is held of requests that wait, and of the one that arrives."""
        held = self.waiting_bytes
        if self.is_partial:
            head = self._overhead  # with what is no whole header yet
            if self._request is not None and self._request.held_bytes > head:
                head = self._request.held_bytes
            held += head + self._body_bytes + _PIECE * len(self._parts)
        return held

    def _hold(self) -> int:
        if self.share is not None:
            held = self._held_bytes()
            self._holds = held > self._free
            self.share.hold(held - self._free if self._holds else 0)
        return 0

    def _fail(self, status: int, reason: str) -> object:
        if self.failure is None:
            self.failure = (status, reason)
        raise ValueError(reason)  # httptools stops, and says HttpParserCallbackError
