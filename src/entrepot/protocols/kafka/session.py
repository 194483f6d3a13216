"""Session: one Kafka connection as a state machine. Bytes and the port's answers in, calls and answers out; sans-IO.

Requests are answered in the order in which they came. A Produce is taken in as soon as it is here, whatever waits before it; every other
request begins when all before it are answered, and stays in the receive buffer until then, while nothing more is read. So does
everything while the peer does not read its answers, many bytes of answers wait, or the broker asks publishers to wait. What one connection may have done
in a turn of the loop is bounded, whatever lies in its buffer, and so is what all may have done (net/turns.py): others have theirs.

Before anybody is logged in, only ApiVersions and the two SASL requests are understood, unless the listener's authenticator knows a
principal for connections without credentials.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from entrepot.broker.calls.port import Call, Delivery, Sink
from entrepot.model.errors import Refused
from entrepot.model.names import without_vhosts
from entrepot.model.nodes import ALONE, Address, Nodes
from entrepot.net.receive_buffer import BUFFER_MAX_BYTES
from entrepot.net.session import peer_text
from entrepot.net.turns import Turns
from entrepot.protocols.kafka import sasl
from entrepot.protocols.kafka.apis import API_VERSIONS, APIS, SASL_AUTHENTICATE, WITHOUT_LOGIN
from entrepot.protocols.kafka.checking import Checks
from entrepot.protocols.kafka.exchange import Exchange
from entrepot.protocols.kafka.fetch_session import FetchSessions, FetchSlots
from entrepot.protocols.kafka.framing import PRODUCE, Framing
from entrepot.protocols.kafka.output import Output
from entrepot.protocols.kafka.partition_rows import PartitionRows
from entrepot.protocols.kafka.primitives import Malformed
from entrepot.protocols.kafka.room import FREE_BYTES, Room

PIPELINE_MAX = 1024  # requests taken in and not answered: above this nothing is read; their bytes are bounded by limits.staged_bytes
QUEUED_MAX_BYTES = 1 << 20  # answers that wait for those before them, and output that waits for the end of the tick: above this no request begins
TURN = 128  # what one connection may cost in a turn of the loop: a Produce costs 1,
TURN_OTHER = 4  # and any other request this
SIZE_BEFORE_LOGIN_MAX = 16 * 1024  # bytes of a request
SWEEP_S = 30.0

_PIPELINE_MAX = PIPELINE_MAX
_QUEUED_MAX = QUEUED_MAX_BYTES
_TURN = TURN
_TURN_OTHER = TURN_OTHER
_OTHER_STEPS = 20  # what a request costs that is not a Produce, whatever else it does
_PRODUCE = PRODUCE
_API_VERSIONS = API_VERSIONS
_FREE = FREE_BYTES


@dataclass(frozen=True, slots=True)
class Settings:
    """What all Kafka connections of a listener share: limits in bytes, seconds, counts, and what the clients are told of the broker."""

    node_id: int = 1  # of node 0; the others follow
    nodes: Nodes = ALONE
    addresses: Sequence[Address] = ()  # of several nodes: where this listener's clients find each; see cluster.told_addresses()
    cluster_id: str = "entrepot"
    namespace: str = "public/default"
    advertised: Address | None = None  # of a broker that is alone; None: the address that the client connected to
    produce_size_max: int = 100 * 1024 * 1024
    request_size_max: int = 16 * 1024 * 1024
    fetch_size_max: int = 55 * 1024 * 1024
    handshake_timeout_s: float = 10.0
    idle_s: float = 600.0


class Statistics:
    """Counted over all Kafka connections, since start: requests by API key, and what was answered with an error."""

    __slots__ = ("errors", "requests")

    def __init__(self) -> None:
        self.requests: dict[int, int] = dict.fromkeys(APIS, 0)
        self.errors: dict[int, int] = dict.fromkeys(APIS, 0)


class Shared:
    """What all Kafka connections of the process have in common.

    later(function) calls it in the loop's next turn. unfinished, strangers: net.unfinished.Unfinished of all connections, and of those before their login.
    turns: net.turns.Turns of the process. checks: see checking.py. room: see room.py.
    """

    __slots__ = ("checks", "entropy", "fetch_slots", "later", "partition_rows", "room", "statistics", "strangers", "turns", "unfinished", "validator")

    def __init__(
        self,
        entropy: Any,
        validator: Any,
        later: Callable[[Callable[[], object]], object],
        unfinished: Any = None,
        strangers: Any = None,
        *,
        turns: Turns | None = None,
        checks: Any = None,
    ) -> None:
        self.entropy = entropy
        self.validator = validator
        self.later = later
        self.unfinished = unfinished
        self.strangers = strangers
        self.turns = Turns(later) if turns is None else turns
        self.checks = Checks(validator.size_max, None) if checks is None else checks
        self.statistics = Statistics()
        self.fetch_slots = FetchSlots(entropy)
        self.partition_rows = PartitionRows()
        self.room = Room()


class Session(Sink):
    """See net.session.Session for what the network calls, and broker.port.Sink for what the port calls.

    port: has attach(sink, principal, namespace), and with several nodes `shards`. authenticator: see sasl.py. shared: see Shared.
    journal(text, first bytes): for the operator.
    """

    __slots__ = (
        "asked",
        "attachment",
        "authenticator",
        "blocked",
        "client_id",
        "closing",
        "fetches",
        "framing",
        "heard",
        "is_writable",
        "journal",
        "next_deadline",
        "output",
        "paused",
        "peer",
        "pending",
        "port",
        "principal",
        "product",
        "pumping",
        "queued_bytes",
        "quiet_since",
        "resting",
        "sasl",
        "settings",
        "shared",
        "taking",
        "throttled",
        "turns",
        "wake",
    )

    def __init__(
        self, port: Any, authenticator: Any, settings: Settings, shared: Any, peer: Any, wake: Callable[[], object], journal: Callable[..., None]
    ) -> None:
        # what net sees
        self.output = Output()
        self.closing = False
        self.paused = False
        self.next_deadline = 1.0  # in the past: the first sweep sets the login's deadline
        # handed in
        self.port = port
        self.authenticator = authenticator
        self.settings = settings
        self.shared = shared
        self.turns = shared.turns
        self.peer = peer
        self.wake = wake
        self.journal = journal
        # the connection
        if authenticator.anonymous(peer) is None:
            self.framing = Framing(SIZE_BEFORE_LOGIN_MAX, SIZE_BEFORE_LOGIN_MAX)
            self.framing.of_stranger(SIZE_BEFORE_LOGIN_MAX)
            unfinished = shared.strangers
        else:
            self.framing = Framing(settings.produce_size_max, settings.request_size_max)
            unfinished = shared.unfinished
        if unfinished is not None:
            self.framing.share = unfinished.share(self.overrun)
        self.principal: Any = None
        self.attachment: Any = None  # the port's Attachment, once somebody is logged in
        self.sasl: Any = None  # a login under way: sasl.Login
        self.client_id = ""
        self.product = ""  # name and version of the client's software
        self.heard = False
        self.quiet_since = 0.0
        self.throttled = False
        self.is_writable = True
        # requests
        self.pending: deque[Exchange] = deque()
        self.asked: dict[Call, Exchange] = {}
        self.blocked = False  # a whole request waits for those before it
        self.queued_bytes = 0  # of answers in `pending`
        self.pumping = False
        self.resting = False  # the rest of what is here has its turn later
        self.taking = False  # a Produce is taken in piece by piece
        self.fetches = FetchSessions(shared.fetch_slots)
        self.fetches.table.passes_over_epochs = settings.nodes.count > 1

    @property
    def established(self) -> bool:
        """See net.session.Session."""
        return self.attachment is not None

    # ---- bytes in

    def get_buffer(self, size_hint: int) -> Any:
        """See net.session.Session."""
        return self.framing.writable()

    def buffer_updated(self, count: int) -> object:
        """See net.session.Session."""
        self.heard = True
        if self.closing:
            return None
        self.framing.received(count)
        return self.pump()

    def pump(self) -> object:
        """Begin every request that may begin, as many as one turn allows."""
        if self.pumping or self.resting:
            return None
        self.pumping = True
        left = _TURN
        try:
            while self.is_writable and not self.throttled and not self.closing and not self.taking:
                if not self.framing.next():
                    self.blocked = False
                    break
                key = self.framing.api_key
                self.blocked = len(self.pending) > 0 and (key != _PRODUCE or len(self.pending) >= _PIPELINE_MAX or self.queued_bytes >= _QUEUED_MAX)
                if self.blocked:
                    break
                if left <= 0 or self.output.size >= _QUEUED_MAX or self.turns.left <= 0:
                    self.resting = True
                    self.turns.wait(self.next_turn)
                    break
                if self.framing.request_bytes > _FREE and self.shared.room.is_full:
                    self.resting = True
                    self.shared.room.wait(self.next_turn)
                    break
                left -= 1 if key == _PRODUCE else _TURN_OTHER
                self.begin()
        except Malformed as error:
            self.fail(str(error))
        finally:
            self.pumping = False
        self.paused = self.blocked or self.resting or self.taking or self.throttled or not self.is_writable
        return None

    def next_turn(self) -> None:
        """Go on with what is here."""
        self.resting = False
        try:
            self.go_on()
        except Exception as error:  # our bug: it must cost this connection, which would hang, and no other
            self.fail(f"a request failed by a bug: {error!r}")
            raise

    def taken(self) -> None:
        """A Produce that took turns is taken in: whatever is behind it may begin."""
        self.taking = False
        self.go_on()

    def overrun(self) -> bool:
        """See net.unfinished.Unfinished.share: give back what has been received."""
        if not self.framing.waiting_bytes:
            self.framing.shrink()
            return False
        self.fail(
            "unfinished requests of all connections hold more than limits.unfinished_bytes (before a login limits.strangers_bytes); this has waited longest"
        )
        self.framing.drop()
        return True

    def begin(self) -> object:
        """The request at the front of the buffer. Raises Malformed."""
        if self.framing.raw:
            exchange = Exchange(self, APIS[SASL_AUTHENTICATE], 0, False, 0)
            self.pending.append(exchange)
            token = self.framing.token()
            self.framing.consume()
            sasl.message(exchange, self.sasl, token)
            return None
        reader = self.framing.reader()
        key = reader.i16()
        version = reader.i16()
        correlation_id = reader.i32()
        api = APIS.get(key)
        if api is None:
            raise Malformed(f"API key {key} is not served")
        served = api.least <= version <= api.most
        if not served:
            if key != _API_VERSIONS:
                raise Malformed(f"{api.name} version {version} is not served; versions {api.least} to {api.most} are")
            # KIP-511: answered in version 0, which every client reads, with the versions that it may use instead.
            exchange = Exchange(self, api, 0, False, correlation_id)
        else:
            exchange = Exchange(self, api, version, version >= api.flexible_from, correlation_id)
            client_id = reader.maybe_string(False)
            if client_id is not None and client_id != self.client_id:
                self.client_id = client_id
            if exchange.flexible:
                reader.skip_tags()
        if self.attachment is None and key not in WITHOUT_LOGIN:
            self.attach_anonymous(api.name)
        self.shared.statistics.requests[key] += 1
        self.pending.append(exchange)
        if api.takes_reader:
            api.handler(exchange, reader)
        elif not served:
            api.handler(exchange, None)
        else:
            exchange.begin(reader)
            self.turns.spend(_OTHER_STEPS)
            if not exchange.is_read:
                exchange.keep(reader)
        self.framing.consume()
        return None

    # ---- answers

    def answered(self) -> object:
        """An exchange has its answer: send what is at the front."""
        pending = self.pending
        sent = False
        while len(pending) > 0:
            exchange: Exchange = pending[0]
            if exchange.parts is None:
                break
            pending.popleft()
            self.queued_bytes -= exchange.size
            self.output.add(exchange.parts)
            sent = True
        if sent:
            self.wake()
            if self.blocked:
                self.pump()
        return None

    def completed(self, call: Call) -> None:
        """See port.Sink."""
        exchange = self.asked.pop(call, None)
        if exchange is None or self.closing:
            return
        try:
            exchange.completed(call)
        except Malformed as error:
            self.fail(str(error))
        except Exception as error:  # our bug: it would never be answered
            self.fail(f"a {exchange.api.name} failed by a bug: {error!r}")
            raise

    def count_error(self, exchange: Exchange) -> None:
        """An answer says that something went wrong."""
        self.shared.statistics.errors[exchange.api.key] += 1

    # ---- who it is

    def attach_anonymous(self, api_name: str) -> None:
        """Let in who shows no credentials, where that is allowed. Raises Malformed."""
        principal = self.authenticator.anonymous(self.peer)
        if principal is None or self.sasl is not None:
            raise Malformed(f"{api_name} before authentication; SASL mechanisms are PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512")
        try:
            self.attach(principal)
        except Refused as refused:
            raise Malformed(str(refused)) from None

    def attach(self, principal: Any) -> None:
        """The connection is `principal`'s from now on. Refused: it may not use the namespace."""
        namespace = self.authenticator.namespace_of(principal, self.settings.namespace)
        self.attachment = self.port.attach(self, principal, namespace)
        self.principal = principal
        if self.sasl is not None:  # until now it was a stranger's
            unfinished = self.shared.unfinished
            self.framing.of_user(BUFFER_MAX_BYTES, None if unfinished is None else unfinished.share(self.overrun))
        self.framing.produce_size_max = self.settings.produce_size_max
        self.framing.size_max = self.settings.request_size_max

    # ---- what the port says

    def deliver(self, delivery: Delivery) -> int:
        """See port.Sink: a Kafka connection consumes nothing."""
        return -1

    def cancelled(self, token: Any) -> None:
        """See port.Sink."""

    def revoked(self, reason: str) -> None:
        """See port.Sink: Kafka has no goodbye."""
        self.fail(reason)

    def throttle(self, blocked: bool, reason: str) -> None:
        """See port.Sink. While appends are refused, every batch is told so; only what passes in a moment stops reading."""
        if reason:
            return
        self.throttled = blocked
        self.go_on()

    # ---- what the network says

    def go_on(self) -> object:
        """What held requests back may be over."""
        self.paused = self.blocked or self.resting or self.taking or self.throttled or not self.is_writable
        if not self.paused or self.blocked:
            self.pump()
        return self.wake()

    def flushed(self) -> None:
        """See net.session.Session."""

    def writable(self, is_writable: bool) -> None:
        """See net.session.Session."""
        self.is_writable = is_writable
        self.go_on()

    def deadline_reached(self, now: float) -> None:
        """See net.session.Session: a login that takes too long, and a connection that is silent for too long, end."""
        if self.next_deadline == 1.0:
            self.next_deadline = now + self.settings.handshake_timeout_s
            self.quiet_since = now
            return
        self.next_deadline = now + SWEEP_S
        if self.attachment is None and (self.sasl is not None or self.authenticator.anonymous(self.peer) is None):
            self.fail(f"not logged in after {self.settings.handshake_timeout_s:g} s")
            return
        self.framing.shrink()
        if self.heard or self.pending:
            self.heard = False
            self.quiet_since = now
        elif now - self.quiet_since >= self.settings.idle_s:
            self.end()

    def shut_down(self, reason: str) -> None:
        """See net.session.Session: Kafka has no goodbye."""
        self.end()

    def fail(self, text: str) -> None:
        """The peer broke the protocol, or cannot be answered: Kafka closes the connection."""
        if not self.closing:
            first = self.framing.first() if self.attachment is None and self.sasl is None else b""
            text = f"{self.who()}: connection closed: {without_vhosts(text)}"
            self.journal(text, first)
            self.end()

    def who(self) -> str:
        """The connection, as the log names it: address, and user, namespace and client id, as far as they are known."""
        attachment = self.attachment
        if attachment is None:
            return peer_text(self.peer, client=self.client_id)
        return peer_text(self.peer, user=self.principal.name, namespace=attachment.namespace, client=self.client_id)

    def end(self) -> None:
        """Close, after what is already answered was sent."""
        self.closing = True
        self.paused = False
        self.wake()

    def lost(self, reason: str) -> None:
        """See net.session.Session."""
        self.closing = True
        if self.framing.share is not None:
            self.framing.share.close()
        for exchange in self.pending:
            exchange.leave()
        self.pending.clear()
        self.asked.clear()
        self.fetches.clear()
        if self.attachment is not None:
            self.attachment.end()
