"""WebSocket (RFC 6455): what carries a protocol's octets for who has nothing else, as a page in a browser. h11 reads the request, wsproto the frames.

    SHAKING -> OPEN -> PARTING -> CLOSED

`WebSocketSession` stands between the network and the session of a protocol, which knows nothing of it: messages of the peer are its octets, wherever they are
divided, and what it says goes out in messages of PIECE_SIZE at most, text where the peer speaks text and it is UTF-8. Nothing is compressed: of what a stranger
sends no octet becomes many. What arrives is handed on while the session inside reads, and as far as the turn allows; what is left waits, and nothing more is
read meanwhile. So a connection holds no more than one read of the socket, of which a stranger's are short.
"""

from __future__ import annotations

import dataclasses
import ssl
from collections.abc import Callable, Iterable
from typing import Any

import h11
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Event, Message, Ping, RejectConnection, TextMessage
from wsproto.frame_protocol import CloseReason
from wsproto.handshake import H11Handshake
from wsproto.utilities import ProtocolError, RemoteProtocolError

from entrepot.model.listeners import HTTP
from entrepot.model.printable import printable
from entrepot.net.listener import Listener
from entrepot.net.network import Network
from entrepot.net.origins import Origins
from entrepot.net.pages import Pages
from entrepot.net.session import Client, Peer, Session, Wake
from entrepot.net.session_listener import SessionListener
from entrepot.net.turns import Turns

SHAKING, OPEN, PARTING, CLOSED = range(4)  # the request is awaited; ...; our Close is out; all is said
HEAD_MAX_BYTES = 8192  # of a request
HOST_MAX_BYTES = 300  # of the header Host: wsproto decodes international names, which costs the square of their length
READ_BYTES = 65_536  # of one read
STRANGER_READ_BYTES = 4096
PIECE_SIZE = 8192  # octets or characters of a message that is sent: clients have limits, of which that is the least
PARTING_S = 2.0  # that a peer has to answer our Close, from the next sweep on
SHAKE_STEPS = 50  # of net/turns.py, for a piece of the request; besides, one for each SHAKE_BYTES
SHAKE_BYTES = 16
EVENT_STEPS = 10  # of net/turns.py; besides, one for each STEP_BYTES
STEP_BYTES = 1024

Journal = Callable[..., None]
MakeSession = Callable[[Peer, Wake, Journal], Session]


@dataclasses.dataclass(frozen=True, slots=True)
class Terms:
    """How a protocol is carried. paths: where, without a slash at the end; subprotocols: what it is called, the one to be preferred first."""

    paths: frozenset[str]
    subprotocols: tuple[str, ...]
    handshake_timeout_s: float
    names_subprotocol: bool = False  # who names none is refused
    takes_text: bool = False


class WebSocketListener(Listener):
    """A port of one protocol. make(peer, wake, journal): its session for a connection that has been let in; client(session): who speaks there."""

    def __init__(
        self,
        network: Network,
        host: str,
        port: int,
        *,
        name: str,
        terms: Terms,
        make: MakeSession,
        client: Callable[[Any], Client],
        origins: Origins,
        pages: Pages,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(network, host, port, tls)
        self.name = name
        self.terms = terms
        self.make = make
        self.client = client
        self.origins = origins
        self.pages = pages
        self.room = memoryview(bytearray(READ_BYTES))  # of every connection: what is read is taken out at once

    def make_session(self, peer: Peer, wake: Wake) -> Any:
        """See net.listener.Listener."""
        return WebSocketSession(self, peer, wake, self.network.turns)

    def client_of(self, session: Any) -> Client:
        """See net.listener.Listener."""
        return Client() if session.inside is None else self.client(session.inside)


def around(network: Network, inside: SessionListener, name: str, terms: Terms, origins: Iterable[str], pages: Pages) -> WebSocketListener:
    """A listener for the sessions of one that does not listen itself. origins: as websocket_origins has them."""
    return WebSocketListener(
        network,
        inside.host,
        inside.port,
        name=name,
        terms=terms,
        make=inside.session_of,
        client=inside.client_of,
        origins=Origins("websocket_origins", origins),
        pages=pages,
        tls=inside.tls,
    )


class _Refusal(Exception):
    """A request that is answered, and goes no further. `is_ours`: whoever sent it meant a WebSocket."""

    def __init__(self, status: int, why: str, *headers: tuple[str, str], is_ours: bool = True) -> None:
        super().__init__(why)
        self.status = status
        self.headers = headers
        self.is_ours = is_ours


class WebSocketOutput:
    """Frames to send, and what the session inside has said and is not in frames yet."""

    def __init__(self, session: WebSocketSession) -> None:
        self._session = session
        self._frames: list[bytes] = []
        self._size = 0
        self._pong = b""

    @property
    def size(self) -> int:
        """Bytes that wait, those of frames' heads not always among them."""
        self._session.notice()
        inside = self._session.inside_if_open
        return self._size if inside is None else self._size + int(inside.output.size)

    def add(self, frame: bytes) -> None:
        """Send this after what was added."""
        self._settle_pong()
        self._frames.append(frame)
        self._size += len(frame)

    def answer(self, pong: bytes) -> None:
        """Send this, unless another one takes its place before: a peer that pings and does not read is owed one Pong (RFC 6455, 5.5.3)."""
        self._size += len(pong) - len(self._pong)
        self._pong = pong

    def take(self) -> list[bytes]:
        """See net.session.Output."""
        self._session.frame()
        self._settle_pong()
        frames, self._frames, self._size = self._frames, [], 0
        return frames

    def _settle_pong(self) -> None:
        if self._pong:
            self._frames.append(self._pong)
            self._pong = b""


class WebSocketSession:
    """See the module, and net.session.Session for what the network calls. `inside`: the protocol's session; None: the request has not come."""

    def __init__(self, listener: WebSocketListener, peer: Peer, wake: Wake, turns: Turns) -> None:
        self.output = WebSocketOutput(self)
        self.inside: Session | None = None
        self.state = SHAKING
        self._listener = listener
        self._terms = listener.terms
        self._peer = peer
        self._wake = wake
        self._turns = turns
        self._deadline = 1.0  # in the past: the first sweep sets it
        self._first = b""  # of the request
        self._http: h11.Connection | None = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_MAX_BYTES)
        self._frames: Any = None  # wsproto's connection
        self._is_deaf = False  # what comes cannot be read any more
        self._has_more = False  # wsproto has what was not taken,
        self._rest = memoryview(b"")  # and this of a message is to be handed on first
        self._is_taking = False
        self._is_arranged = False  # next_turn() will come
        self._speaks_text = self._terms.takes_text  # until it is known better
        self._end_code = CloseReason.NORMAL_CLOSURE

    # ---- what the network looks at

    @property
    def established(self) -> bool:
        """See net.session.Session."""
        return self.inside is not None and self.inside.established

    @property
    def inside_if_open(self) -> Session | None:
        """The session inside, while it is heard."""
        return self.inside if self.state == OPEN else None

    @property
    def closing(self) -> bool:
        """See net.session.Session."""
        self.notice()
        return self.state == CLOSED

    @property
    def paused(self) -> bool:
        """See net.session.Session."""
        inside = self.inside_if_open
        return self.state != CLOSED and (self._waits or (inside is not None and inside.paused))

    @property
    def next_deadline(self) -> float:
        """See net.session.Session."""
        inside = self.inside_if_open
        return self._deadline if inside is None else inside.next_deadline

    @property
    def _waits(self) -> bool:
        """Whether something has come that is not taken."""
        return self._has_more or len(self._rest) > 0

    # ---- octets in

    def get_buffer(self, size_hint: int) -> memoryview:
        """See net.session.Session."""
        return self._listener.room if self.established else self._listener.room[:STRANGER_READ_BYTES]

    def buffer_updated(self, count: int) -> None:
        """See net.session.Session."""
        if self.state == CLOSED or self._is_deaf:
            return
        octets = bytes(self._listener.room[:count])
        if self._http is not None:
            self._shake(self._http, octets)
        else:
            self._frames.receive_data(octets)
        if self._frames is not None:
            self._go_on()

    def _shake(self, http: h11.Connection, octets: bytes) -> None:
        """Something of the request, which is answered when it is whole."""
        self._turns.spend(SHAKE_STEPS + len(octets) // SHAKE_BYTES)
        if not self._first:
            self._first = octets[:8]
            if self._listener.network.known.look_of(self._first) not in ("", HTTP):  # without a line's end h11 would wait for one
                self._note("connection closed: it does not begin as HTTP does", self._first)
                self._close()
                return
        try:
            request = _request(http, octets)
            if request is not None:
                self._open(http, request)
        except _Refusal as refusal:
            self._note(f"connection closed: {refusal}", b"" if refusal.is_ours else self._first)
            self._answer(http, refusal)
            self._close()

    def _open(self, http: h11.Connection, request: h11.Request) -> None:
        """Let a request in, or raise _Refusal."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in request.headers}
        if "websocket" not in headers.get("upgrade", "").lower():
            raise _Refusal(426, "a WebSocket is expected here", ("upgrade", "websocket"), is_ours=False)
        if len(headers.get("host", "")) > HOST_MAX_BYTES:
            raise _Refusal(400, "the header Host is too long")
        if request.method != b"GET":
            raise _Refusal(405, "a WebSocket is asked for by GET", ("allow", "GET"))
        path = request.target.decode("latin-1").partition("?")[0]
        if (path.rstrip("/") or "/") not in self._terms.paths:
            raise _Refusal(404, f"there is nothing at {printable(path, 100)}; WebSockets are at {', '.join(sorted(self._terms.paths))}")
        peer = self._let_in([value for name, value in request.headers if name == b"origin"], headers.get("host", ""))
        handshake = H11Handshake(ConnectionType.SERVER)
        try:
            handshake.initiate_upgrade_connection(list(request.headers), request.target)
            offered = [name for event in handshake.events() for name in getattr(event, "subprotocols", [])]
            answer = handshake.send(AcceptConnection(subprotocol=self._subprotocol(offered)))
        except RemoteProtocolError as error:
            hint = error.event_hint if isinstance(error.event_hint, RejectConnection) else RejectConnection()
            raise _Refusal(hint.status_code, str(error), *((name.decode(), value.decode()) for name, value in hint.headers)) from None
        except (ProtocolError, h11.ProtocolError, UnicodeError):
            raise _Refusal(400, "the request cannot be read") from None
        self.output.add(answer)
        self._frames = handshake.connection
        self._http = None
        self.state = OPEN
        self.inside = self._listener.make(peer, self._woken, self._note_of_inside)
        early = http.trailing_data[0]
        if early:
            self._frames.receive_data(early)

    def _let_in(self, origins: list[bytes], host: str) -> Peer:
        """Who speaks, as the session inside is to see it. Raises _Refusal where no page of that origin may."""
        if len(origins) > 1:
            raise _Refusal(400, "a request has one Origin")
        origin = origins[0] if origins else b""
        allowed = self._listener.origins
        is_allowed, is_elsewhere = allowed.may_speak(origin, host, self._peer.local_host, self._listener.pages)
        if not is_allowed:
            raise _Refusal(403, f"pages of {printable(origin.decode('latin-1'), 100)} may not open WebSockets here ({allowed.key})")
        return dataclasses.replace(self._peer, is_loopback=False) if is_elsewhere else self._peer

    def _subprotocol(self, offered: list[str]) -> str | None:
        """Which it is to be; None: none was named. Raises _Refusal."""
        for name in self._terms.subprotocols:
            if name in offered:
                return name
        if offered or self._terms.names_subprotocol:
            raise _Refusal(400, f"the subprotocol (Sec-WebSocket-Protocol) must be one of {', '.join(self._terms.subprotocols)}")
        return None

    def _answer(self, http: h11.Connection, refusal: _Refusal) -> None:
        if http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        body = f"{refusal}\n".encode()
        headers = [("content-type", "text/plain; charset=utf-8"), ("content-length", str(len(body))), ("connection", "close"), *refusal.headers]
        for event in (h11.Response(status_code=refusal.status, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.output.add(http.send(event) or b"")

    # ---- what has come

    def _go_on(self) -> None:
        """Take what has come, as far as the turn allows and the session inside reads."""
        if self._is_taking:
            return
        turns = self._turns
        self._is_taking = True
        self._has_more = True
        try:
            while self._has_more or self._rest:
                self.notice()
                inside = self.inside_if_open
                if self.state == CLOSED or (inside is not None and inside.paused):
                    break
                if turns.left <= 0:
                    self._arrange()
                    break
                turns.spend(self._take_next())
        finally:
            self._is_taking = False
        self.notice()

    def _take_next(self) -> int:
        """What is next: the steps that it cost."""
        if self._rest:
            rest, self._rest = self._rest, memoryview(b"")
            self._hand_on(rest)
            return 1 + len(rest) // STEP_BYTES
        event: Event | None = None if self._is_deaf else next(self._frames.events(), None)
        if event is None:
            self._has_more = False
            return 1
        if isinstance(event, Message):
            octets = event.data.encode() if isinstance(event, TextMessage) else bytes(event.data)
            self._on_message(octets, isinstance(event, TextMessage))
            return EVENT_STEPS + len(octets) // STEP_BYTES
        if isinstance(event, Ping):
            if self._frames.state is ConnectionState.OPEN:
                self.output.answer(self._frames.send(event.response()))
        elif isinstance(event, CloseConnection):
            self._on_close(event)
        return EVENT_STEPS

    def _on_message(self, octets: bytes, is_text: bool) -> None:
        """A message, or a part of one."""
        if self.state != OPEN:
            return
        if is_text and not self._terms.takes_text:
            self._part(CloseReason.UNSUPPORTED_DATA, "messages must be binary")
            return
        self._speaks_text = is_text
        self._hand_on(memoryview(octets))

    def _hand_on(self, octets: memoryview) -> None:
        """To the session inside, while it reads."""
        inside = self.inside
        assert inside is not None
        while len(octets) and self.state == OPEN and not inside.closing:
            if inside.paused:
                self._rest = octets
                return
            room = inside.get_buffer(len(octets))
            count = min(len(room), len(octets))
            room[:count] = octets[:count]
            octets = octets[count:]
            inside.buffer_updated(count)

    def _on_close(self, event: CloseConnection) -> None:
        """The peer's Close, or what wsproto makes of what it cannot read."""
        state = self._frames.state
        if state is ConnectionState.REMOTE_CLOSING:
            self.output.add(self._frames.send(event.response()))
            self._close()
        elif state is ConnectionState.CLOSED:  # the answer to ours
            self._close()
        else:
            self._note(f"connection closed: {printable(event.reason or 'frames that cannot be read', 100)}")
            self._is_deaf = True
            self._part(CloseReason(event.code), "this cannot be read")

    # ---- turns

    def _woken(self) -> None:
        """The session inside may read again, or has something to say."""
        inside = self.inside
        if self._waits and not self._is_taking and inside is not None and not inside.paused:
            self._arrange()
        self._wake()

    def _arrange(self) -> None:
        if not self._is_arranged:
            self._is_arranged = True
            self._turns.wait(self._next_turn)

    def _next_turn(self) -> None:
        self._is_arranged = False
        if self.state == CLOSED:
            return
        try:
            self._go_on()
        except Exception as error:  # our bug: it must cost this connection, and no other
            self._note(f"connection closed: what came failed by a bug: {error!r}")
            self._close()
            self._wake()
            raise
        self._wake()

    # ---- octets out

    def frame(self) -> None:
        """What the session inside has said goes into frames."""
        inside = self.inside_if_open
        if inside is None or inside.output.size == 0:
            return
        octets = b"".join(inside.output.take())
        said: bytes | str = octets
        if self._speaks_text:
            try:
                said = octets.decode()
            except UnicodeDecodeError:
                pass
        for at in range(0, len(said), PIECE_SIZE):
            piece = said[at : at + PIECE_SIZE]
            self.output.add(self._frames.send(TextMessage(data=piece) if isinstance(piece, str) else BytesMessage(data=piece)))

    # ---- the end

    def notice(self) -> None:
        """If the session inside has ended, say so."""
        inside = self.inside
        if self.state == OPEN and inside is not None and inside.closing:
            self._part(self._end_code, "")

    def _part(self, code: CloseReason, why: str) -> None:
        """Send what there is, and our Close; the peer has a moment to answer."""
        if self._frames.state is ConnectionState.OPEN:
            self.frame()
            self.output.add(self._frames.send(CloseConnection(code=code, reason=why or None)))
        self.state = PARTING
        self._rest = memoryview(b"")
        self._deadline = 1.0
        self._wake()

    def _close(self) -> None:
        """No more is read; what waits is sent."""
        self.state = CLOSED
        self._has_more = False
        self._rest = memoryview(b"")

    # ---- what the network says

    def writable(self, is_writable: bool) -> None:
        """See net.session.Session."""
        inside = self.inside_if_open
        if inside is not None:
            inside.writable(is_writable)

    def flushed(self) -> None:
        """See net.session.Session."""
        inside = self.inside_if_open
        if inside is not None:
            inside.flushed()

    def deadline_reached(self, now: float) -> None:
        """See net.session.Session."""
        inside = self.inside_if_open
        if inside is not None:
            inside.deadline_reached(now)
        elif self._deadline == 1.0:
            self._deadline = now + (self._terms.handshake_timeout_s if self.state == SHAKING else PARTING_S)
        else:
            if self.state == SHAKING:
                self._note(f"no WebSocket asked for in {self._terms.handshake_timeout_s:g} s; connection closed")
            self._close()

    def shut_down(self, reason: str) -> None:
        """See net.session.Session."""
        inside = self.inside_if_open
        if inside is None:
            self._close()
            return
        self._end_code = CloseReason.GOING_AWAY
        inside.shut_down(reason)
        self.notice()

    def lost(self, reason: str) -> None:
        """See net.session.Session."""
        self._close()
        if self.inside is not None:
            self.inside.lost(reason)

    # ---- for the operator

    def _note(self, text: str, first: bytes = b"") -> None:
        self._listener.note(f"{self._peer}: {text}", first)

    def _note_of_inside(self, text: str, _: bytes = b"") -> None:
        """What came first was right: it is no hint at another port."""
        self._listener.note(text)


def _request(http: h11.Connection, octets: bytes) -> h11.Request | None:
    """The request, when it is whole. Raises _Refusal."""
    http.receive_data(octets)
    try:
        request = http.next_event()
        if request is h11.NEED_DATA:
            return None
        behind = http.next_event() if isinstance(request, h11.Request) else None
    except h11.RemoteProtocolError as error:
        raise _Refusal(error.error_status_hint, "the request cannot be read", is_ours=False) from None
    if not isinstance(request, h11.Request) or not isinstance(behind, h11.EndOfMessage):
        raise _Refusal(400, "a request for a WebSocket has no body", is_ours=False)
    return request
