"""Session: one HTTP connection to SQS as a state machine. Bytes and the port's answers in, calls and answers out; sans-IO.

Requests of a connection are answered one after the other: a pipelined one begins when all before it are answered; when PIPELINE_MAX of them, or
WAITING_MAX_BYTES, wait for that, reading stops. Each says by itself who sends it (callers.py), so a connection may speak for many. Who that is can only
be known once the request is whole: where they must be signed, what a connection holds counts as a stranger's until the last one was a user's.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import cython
import msgspec

from entrepot.broker.calls.port import Attachment, Call, Delivery, Sink
from entrepot.model.entry import CODEC_SQS
from entrepot.model.errors import Refused
from entrepot.model.names import DEFAULT_NAMESPACE
from entrepot.net.turns import Turns
from entrepot.protocols.sqs import query_protocol
from entrepot.protocols.sqs.about import about
from entrepot.protocols.sqs.accounts import is_account, is_queue_path
from entrepot.protocols.sqs.callers import CALLERS_MAX, NOBODY, TARGETS_MAX, Caller, Callers
from entrepot.protocols.sqs.errors import SqsError, from_refused, missing, no_queue
from entrepot.protocols.sqs.exchange import Exchange, failure_answer
from entrepot.protocols.sqs.framing import CONTINUE, FREE_MAX, STRANGER_FREE_MAX, Framing, Request
from entrepot.protocols.sqs.handlers import ROUTES
from entrepot.protocols.sqs.making import Making, Waits
from entrepot.protocols.sqs.notes import note_closed, note_refused
from entrepot.protocols.sqs.output import Output
from entrepot.protocols.sqs.settings import Settings
from entrepot.protocols.sqs.sigv4 import split_target
from entrepot.protocols.sqs.statistics import Statistics
from entrepot.protocols.sqs.writing import HEX, Writer
from entrepot.protocols.sqs.wrong_input import why_wrong

if not cython.compiled:
    from entrepot.model.octets import copy, same, take_ba
    from entrepot.protocols.sqs.json_values import check_values

PIPELINE_MAX = 32  # whole requests that wait for those before them: above this nothing is read
WAITING_MAX_BYTES = 256 << 10  # of them
TURN = 32  # requests of one connection begun in a turn of the loop: others have theirs
READ_BYTES = 65_536
SWEEP_S = 5.0
IDS_DRAWN = 256  # message ids' worth of random bytes drawn at a time
REQUEST_STEPS = 15  # what a request costs, in steps of net/turns.py, at least,
STEP_BYTES = 2048  # and so many bytes of its body one more
LONG_BYTES = 64 << 10  # of a body: a longer one has another turn than that in which it arrives; in JSON it is looked at for how many values it has
URL_MAX = 1024  # characters of a queue's URL: host, account and at most 80 of its name
FORM = b"application/x-www-form-urlencoded"

_PIPELINE_MAX, _WAITING_MAX, _TURN = PIPELINE_MAX, WAITING_MAX_BYTES, TURN
_CREDENTIAL = b"Credential="
_IDS_DRAWN, _HEX, _URL_MAX, _REQUEST_STEPS, _STEP_BYTES, _LONG = IDS_DRAWN, HEX, URL_MAX, REQUEST_STEPS, STEP_BYTES, LONG_BYTES


class Shared:
    """What all SQS connections of the process have in common.

    Their reads are taken in at once, so they share one buffer; so are answers written, and they share the writer. later(function) calls it in the
    loop's next turn. unfinished, strangers: net.unfinished.Unfinished of all connections, and of those that are strangers', if they share limits.
    turns: net.turns.Turns of the process.
    """

    __slots__ = ("_drawn", "_id", "_left", "buffer", "callers", "clock", "entropy", "later", "statistics", "strangers", "turns", "unfinished", "writer")

    def __init__(
        self,
        callers: Callers,
        clock: Any,
        entropy: Any,
        later: Callable[[Callable[[], object]], object],
        unfinished: Any = None,
        strangers: Any = None,
        turns: Turns | None = None,
    ) -> None:
        self.callers = callers
        self.clock = clock
        self.entropy = entropy
        self.later = later
        self.unfinished = unfinished
        self.strangers = strangers
        self.turns = Turns(later) if turns is None else turns
        self.statistics = Statistics()
        self.buffer = bytearray(READ_BYTES)
        self.writer = Writer()
        self._drawn = b""
        self._id = bytearray(16)
        self._left = 0

    def fresh_writer(self) -> Writer:
        """The writer, empty: a bug may have left something in it."""
        self.writer.filled = 0
        return self.writer

    def message_id(self) -> bytes:
        """16 bytes, as random as a version 4 UUID's."""
        if self._left == 0:
            self._drawn = self.entropy.octets(16 * _IDS_DRAWN)
            self._left = _IDS_DRAWN
        self._left -= 1
        octets = self._id
        copy(octets, 0, self._drawn, 16 * self._left, 16)
        octets[6] = octets[6] & 0x0F | 0x40
        octets[8] = octets[8] & 0x3F | 0x80
        return take_ba(octets, 0, 16)


class Session(Sink):
    """See net.session.Session for what the network calls, and broker.port.Sink for what the port calls.

    port: has attach(sink, principal, namespace, codec). shared: see Shared. journal(text, first bytes) notes what the operator should know.
    """

    __slots__ = (
        "active",
        "asked",
        "by_key_id",
        "callers",
        "callers_version",
        "closing",
        "counted",
        "framing",
        "guest",
        "heard",
        "is_strangers",
        "is_writable",
        "journal",
        "last_caller",
        "last_host",
        "last_start",
        "next_deadline",
        "output",
        "partial_count",
        "partial_since",
        "paused",
        "peer",
        "port",
        "pumping",
        "quiet_since",
        "request_count",
        "request_text",
        "rested",
        "resting",
        "settings",
        "shared",
        "spent",
        "throttled",
        "turns",
        "wake",
    )

    def __init__(self, port: Any, settings: Settings, shared: Shared, peer: Any, wake: Callable[[], object], journal: Callable[..., None]) -> None:
        # what net sees
        self.output = Output()
        self.closing = self.paused = False
        self.next_deadline = 1.0  # in the past: the first sweep sets it
        # handed in
        self.port = port
        self.settings = settings
        self.shared = shared
        self.turns = shared.turns
        self.peer = peer
        self.wake = wake
        self.journal = journal
        # the connection
        self.framing = Framing(settings.request_size_max)
        is_strangers = shared.callers.guest(peer) is None
        self.is_strangers = not is_strangers
        self.count_as(is_strangers)
        self.active: Exchange | None = None  # the request that is being answered
        self.pumping = self.resting = False  # resting: the rest of what is here has its turn later
        self.rested = False  # the next request has waited for this turn, as a long one does: others of this turn read what has arrived
        self.spent = False  # a request has cost what the others of this turn had
        self.throttled = False
        self.is_writable = True
        self.heard = False
        self.quiet_since = self.partial_since = 0.0  # a sweep first saw the request that is on its way, the partial_count-th
        self.partial_count = 0
        # who speaks
        self.callers = shared.callers
        self.callers_version = -1
        self.guest: Any = None
        self.by_key_id: dict[bytes, Caller] = {}  # with the region, where that counts
        self.last_host = b"\0"  # a Host that a request without a signature may have; none has this one
        self.last_start = b""  # of a guest's Authorization, up to the end of the key id
        self.last_caller: Caller | None = None
        # requests
        self.asked: dict[Call, Exchange] = {}
        self.counted = shared.statistics.requests
        self.request_text = bytearray()  # the last request's id
        self.request_count = 0

    @property
    def established(self) -> bool:
        """See net.session.Session: requests of nobody do not count."""
        return any(caller.principal is not NOBODY for caller in self.by_key_id.values())

    # ---- bytes in

    def get_buffer(self, size_hint: int) -> Any:
        """See net.session.Session."""
        return self.shared.buffer

    def buffer_updated(self, count: int) -> object:
        """See net.session.Session."""
        self.heard = True
        if self.closing:
            return None
        self.framing.feed(take_ba(self.shared.buffer, 0, count))
        return self.pump()

    def pump(self) -> object:
        """Begin the next request, if it may begin."""
        if self.pumping or self.resting:
            return None
        self.pumping = True
        left = _TURN
        try:
            while self.active is None and self.is_writable and not self.throttled and not self.closing:
                if len(self.framing.requests) == 0:
                    self._starved()
                    break
                if left == 0 or self.spent or self.turns.left <= 0 or (not self.rested and self.framing.next_bytes() > _LONG):
                    self.spent = False
                    self.rested = True
                    self.resting = True
                    self.turns.wait(self.next_turn)
                    break
                left -= 1
                self.rested = False
                self.begin(self.framing.next())
        finally:
            self.pumping = False
        framing = self.framing
        crowded = len(framing.requests) >= _PIPELINE_MAX or framing.waiting_bytes > _WAITING_MAX
        self.paused = crowded or self.resting or self.throttled or not self.is_writable
        return None

    def next_turn(self) -> object:
        """Go on with what is here."""
        self.resting = False
        try:
            self.pump()
        except Exception:  # our bug, which the loop logs: it must cost this connection, which would hang, and no other
            self.end()
            raise
        return self.wake()

    def overrun(self) -> bool:
        """See net.unfinished.Unfinished.share."""
        self.shared.later(self.next_turn)  # it may never hear of its peer again
        return self.framing.overrun()

    def count_as(self, is_strangers: bool) -> object:
        """What this connection holds is a stranger's, or a user's, from now on."""
        if is_strangers != self.is_strangers:
            self.is_strangers = is_strangers
            limit = self.shared.strangers if is_strangers else self.shared.unfinished
            self.framing.count_in(None if limit is None else limit.share(self.overrun), STRANGER_FREE_MAX if is_strangers else FREE_MAX)
        return None

    def _starved(self) -> object:
        """Every whole request is answered."""
        framing = self.framing
        if framing.failure is not None:
            self.output.add(failure_answer(*framing.failure, self.callers.cors.headers(framing.failed_origin)))
            note_closed(self, framing.failure[1], framing.first)
            self.end()
        elif framing.ended:
            self.end()
        elif framing.continues:
            framing.continues = False
            self.output.add(CONTINUE)
            self.wake()
        return None

    def begin(self, request: Request) -> object:
        """The next request's turn."""
        exchange = Exchange(self, request, self.request_id())
        self.active = exchange
        self.turns.spend(_REQUEST_STEPS + len(request.body) // _STEP_BYTES)
        try:
            operation = request.operation
            if len(operation) > 0:
                route = ROUTES.get(operation)
                if route is None:
                    raise SqsError("UnknownOperationException", f"The operation {operation[:80].decode('latin-1')} is not known.")
                exchange.action = route.action
                self.identify(exchange)
                if len(request.body) > _LONG:
                    check_values(request.body)
                try:
                    decode = route.decode
                    exchange.input = decode(request.body)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                    raise SqsError("SerializationException", f"The request is not what {route.action.name} takes: {why_wrong(error, request.body)}.") from None
            else:
                exchange.is_json = False
                route = self.begin_query(exchange)
                if route is None:
                    return None
            request.body = b""  # what waits, for messages it may be, holds nothing that is read already
            self.counted[route.name] += 1
            for name in route.required:
                if getattr(exchange.input, name) is None:
                    raise missing(name)
            handler = route.handler
            handler(exchange)
        except SqsError as error:
            exchange.fail(error)
        except Waits:
            pass
        return None

    def begin_query(self, exchange: Exchange) -> Any:
        """A request without an operation in its headers: the Query protocol's, or none. The route; None: it is answered."""
        request = exchange.request
        path, query = split_target(request.target)
        if request.method == b"POST" and (request.content_type == b"" or request.content_type.lower().startswith(FORM)):
            form = query_protocol.parse_form(query + b"&" + request.body if query else request.body)
        elif request.method in (b"GET", b"HEAD"):
            form = query_protocol.parse_form(query)
            if "Action" not in form and path == b"/":
                exchange.plain(200, "Entrepot: Amazon SQS\n")
                return None
        elif request.method == b"POST":
            exchange.is_json = request.content_type.lower().startswith(b"application/x-amz-json")
            raise SqsError("UnknownOperationException", "The request names no operation: the header X-Amz-Target, or a form with the parameter Action.")
        else:
            lines = self.callers.cors.preflight(request)
            exchange.plain(405, "GET and POST\n") if lines is None else exchange.answer_preflight(lines)
            return None
        if "Action" not in form and (request.method != b"POST" or is_queue_path(path)):
            exchange.plain(404, about(path), "text/xml")
            return None
        action, exchange.input = query_protocol.parse_request(form)
        if action.name in query_protocol.AT_ENDPOINT_ONLY and is_queue_path(path):
            raise query_protocol.not_here(action.name)
        route = ROUTES[b"AmazonSQS." + action.name.encode()]
        if "Entries" in action.required and exchange.input.Entries is None:
            exchange.input.Entries = []  # a form cannot say an empty list otherwise
        exchange.action = action
        self.identify(exchange)
        if "QueueUrl" in action.request.__struct_fields__ and not exchange.input.QueueUrl and path.strip(b"/"):
            exchange.input.QueueUrl = path.decode("latin-1")
        return route

    # ---- who it is

    def identify(self, exchange: Exchange) -> object:
        """Set the exchange's caller. Raises SqsError."""
        if self.callers_version != self.callers.version:
            self.callers_version = self.callers.version
            self.guest = self.callers.guest(self.peer)
            self.forget_callers()
        request = exchange.request
        if self.guest is None:
            exchange.caller = self.signed_caller(exchange)
            return None
        if request.from_browser or request.from_page or request.host != self.last_host:
            self.check_page(exchange)
        text = request.authorization
        size = len(self.last_start)
        if size > 0 and len(text) >= size and same(text, 0, self.last_start, 0, size):
            exchange.caller = self.last_caller
            return None
        key_id = region = start = b""
        at = text.find(_CREDENTIAL)
        if at < 0 and len(text) == 0 and b"Credential=" in request.target:
            text = request.target.replace(b"%2F", b"/").replace(b"%2f", b"/")
            at = text.find(_CREDENTIAL)
        if at >= 0:
            end = text.find(b"/", at)
            if end > 0:
                key_id = text[at + 11 : end]
                if self.callers.accounts.apart:
                    at = text.find(b"/", end + 1)  # behind the date
                    end = text.find(b"/", at + 1) if at > 0 else -1
                    region = text[at + 1 : end] if end > 0 else b""
                start = text[: end + 1] if len(request.authorization) > 0 and end > 0 else b""
        name = key_id + b"/" + region
        caller = self.by_key_id.get(name)
        if caller is None:
            caller = self.callers.guest_caller(self.guest, key_id.decode("latin-1"), region.decode("latin-1"), Making(self, exchange))
            self.keep(name, caller)
        self.last_start = start
        self.last_caller = caller
        exchange.caller = caller
        self.count_as(False)
        return None

    def check_page(self, exchange: Exchange) -> object:
        """Refuse what a web page may have had sent. Raises SqsError."""
        request = exchange.request
        self.callers.check_page(request, exchange.action.name, self.peer)  # type: ignore[union-attr]
        self.last_host = request.host
        return None

    def signed_caller(self, exchange: Exchange) -> Caller:
        """The caller that a request is signed by. Raises SqsError."""
        try:
            key_id, region, principal = self.callers.signed(exchange.request)
            if not key_id:
                self.check_page(exchange)
        except SqsError as error:
            self.count_as(True)
            note_refused(self, exchange, error)
            raise
        self.count_as(not key_id)
        name = f"{key_id}/{region}".encode(errors="replace") if self.callers.accounts.apart else key_id.encode()
        known = self.by_key_id.get(name)
        if known is None or known.principal != principal:
            known = self.callers.signed_caller(principal, DEFAULT_NAMESPACE, region)
            self.keep(name, known)
        return known

    def keep(self, key_id: bytes, caller: Caller) -> object:
        """Have a caller ready for the next request."""
        if len(self.by_key_id) >= CALLERS_MAX:
            self.forget_callers()
        self.by_key_id[key_id] = caller
        return None

    def forget_callers(self) -> object:
        """Begin anew; nothing is under way but the request that now begins."""
        for caller in self.by_key_id.values():
            for attachment in caller.attachments.values():
                attachment.end()
        self.by_key_id.clear()
        self.last_start = b""
        self.last_caller = None
        return None

    def attachment_to(self, caller: Caller, namespace: str) -> Attachment:
        """The caller's attachment to a namespace. Raises SqsError."""
        attachment = caller.attachments.get(namespace)
        if attachment is None:
            if len(caller.attachments) >= CALLERS_MAX:
                for other in caller.attachments.values():
                    other.end()
                caller.attachments.clear()
                caller.targets.clear()
            if self.callers.accounts.apart and not self.callers.accounts.has(namespace):
                raise SqsError("AccessDeniedException", f"Region {caller.region} is not there for the account: there is no namespace {namespace}.")
            try:
                attachment = caller.attachments[namespace] = self.port.attach(self, caller.principal, namespace, CODEC_SQS, by_policy=True)
            except Refused as refused:
                raise from_refused(refused) from None
            attachment.wait_for_catalogue()
        return attachment

    def own_attachment(self, caller: Caller) -> Attachment:
        """To the caller's own namespace. Raises SqsError."""
        if caller.principal is NOBODY:
            raise SqsError("MissingAuthenticationTokenException", "Request is missing Authentication Token.")
        return self.attachment_to(caller, caller.namespace)

    def find_target(self, exchange: Exchange, url: str | None) -> tuple[Attachment, str]:
        """Attachment and name of the queue that a URL, or a path, means; remembered. Raises SqsError."""
        if not url:
            raise missing("QueueUrl")
        if len(url) > _URL_MAX:  # such a queue cannot be, and its URL is not to be remembered
            raise no_queue()
        rest, _, name = url.partition("?")[0].rstrip("/").rpartition("/")
        account = rest.rpartition("/")[2]
        caller: Caller = exchange.caller  # type: ignore[assignment]
        accounts = self.callers.accounts
        namespace: str | None = caller.namespace  # of a name alone, or behind some other path, too
        if is_account(account):
            namespace = accounts.maybe_namespace(account, caller.region)
        if namespace is None or not name:
            raise no_queue()
        target = (self.attachment_to(caller, namespace), name)
        if len(caller.targets) >= TARGETS_MAX:
            caller.targets.clear()
        caller.targets[url] = target
        return target

    def url_of(self, exchange: Exchange, namespace: str, queue: str) -> str:
        """A queue's URL, at the host that the client called."""
        host = exchange.request.host.decode("latin-1") or f"{self.peer.local_host}:{self.peer.local_port}"
        return f"{'https' if self.peer.tls else 'http'}://{host}/{self.callers.accounts.account_of(namespace)}/{queue}"

    # ---- answers

    def request_id(self) -> bytes:
        """Of the request that now begins: 36 characters as of a UUID. The connection's are counted in the last 12."""
        text = self.request_text
        if len(text) == 0:
            text = bytearray(str(uuid.UUID(bytes=self.shared.entropy.octets(16))).encode())
            self.request_text = text
        self.request_count += 1
        count = self.request_count & 0xFFFFFFFFFFFF
        at = 36
        while at > 24:
            at -= 1
            text[at] = _HEX[count & 15]
            count = count >> 4
        return take_ba(text, 0, 36)

    def send(self, exchange: Exchange, answer: bytes) -> object:
        """An exchange has its answer."""
        if self.closing:
            return None
        self.output.add(answer)
        if exchange is self.active:
            self.active = None
        if not exchange.request.keep_alive:
            return self.end()
        self.wake()
        if not self.pumping and (len(self.framing.requests) > 0 or self.framing.failure is not None or self.framing.continues):
            self.pump()
        return None

    def completed(self, call: Call) -> None:
        """See port.Sink."""
        exchange = self.asked.pop(call, None)
        if exchange is not None and not self.closing:
            exchange.completed(call)

    def count_error(self, shape: str) -> object:
        """An answer says that something went wrong."""
        errors = self.shared.statistics.errors
        errors[shape] = errors.get(shape, 0) + 1
        return None

    # ---- what the port says

    def deliver(self, delivery: Delivery) -> int:
        """See port.Sink: nothing comes unasked."""
        return -1

    def cancelled(self, token: Any) -> None:
        """See port.Sink."""

    def revoked(self, reason: str) -> None:
        """See port.Sink: whoever else speaks here connects again."""
        if not self.closing:
            note_closed(self, reason)
            self.end()

    def throttle(self, blocked: bool, reason: str) -> None:
        """See port.Sink. While appends are refused, every send is told so; only what passes in a moment stops reading."""
        if reason:
            return
        self.throttled = blocked
        self.pump()
        self.wake()

    # ---- what the network says

    def flushed(self) -> None:
        """See net.session.Session."""

    def writable(self, is_writable: bool) -> None:
        """See net.session.Session."""
        self.is_writable = is_writable
        if self.active is not None and self.active.writing is not None:
            self.active.writing.go_on()
        self.pump()
        self.wake()

    def deadline_reached(self, now: float) -> None:
        """See net.session.Session: a request that takes too long to arrive, and a connection that asks for nothing, end."""
        if self.next_deadline == 1.0:
            self.quiet_since = now
        self.next_deadline = now + SWEEP_S
        if self.heard or (self.active is not None and (self.active.writing is None or not self.active.writing.is_stalled)):
            self.heard = False
            self.quiet_since = now
        elif not self.framing.is_partial and now - self.quiet_since >= self.settings.idle_s:
            self.end()
        if not self.framing.is_partial or self.framing.begun_count != self.partial_count or self.active is not None:
            self.partial_count = self.framing.begun_count
            self.partial_since = now
        elif now - self.partial_since >= self.settings.request_timeout_s and self.framing.failure is None:
            self.framing.failure = (408, f"a request took over {self.settings.request_timeout_s:g} s to arrive")
            self.pump()

    def shut_down(self, reason: str) -> None:
        """See net.session.Session: what is being answered is given up."""
        self.end()

    def end(self) -> object:
        """Close, after what is already answered was sent."""
        self.closing = True
        self.paused = False
        return self.wake()

    def lost(self, reason: str) -> None:
        """See net.session.Session."""
        self.closing = True
        self.active = None
        self.asked.clear()
        self.framing.close()
        self.forget_callers()
