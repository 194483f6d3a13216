"""What one MQTT connection has. session.py says what becomes of it; the modules that its docstring names work on it, too."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from entrepot.broker.calls.port import Ask, Call, Settle, Sink, make_ask
from entrepot.net.turns import Turns
from entrepot.protocols.mqtt.aliases import OutgoingAliases
from entrepot.protocols.mqtt.codec import Decoder
from entrepot.protocols.mqtt.flights import Flights
from entrepot.protocols.mqtt.incoming import Incoming
from entrepot.protocols.mqtt.output import Output
from entrepot.protocols.mqtt.retained import Copies
from entrepot.protocols.mqtt.subscriptions import Subscriptions

if TYPE_CHECKING:
    from entrepot.protocols.mqtt.authenticating import Login
    from entrepot.protocols.mqtt.delivering import Held, Match, Source
    from entrepot.protocols.mqtt.events import Connect
    from entrepot.protocols.mqtt.negotiation import Terms
    from entrepot.protocols.mqtt.publishing import Answer
    from entrepot.protocols.mqtt.steps import Steps

# CONNECT is awaited; credentials are checked; the broker is asked for the session; ...; what waits is sent, and then the end; nothing is done any more
WAITING, SECURING, OPENING, OPEN, LEAVING, CLOSED = range(6)
STREAM = 1  # all that a connection asks is one stream of the port
STRANGER_BYTES = 65_536

_STREAM = STREAM


class State(Sink):
    """See session.Session, of which it is a part: how it is made, what it has, and how it asks."""

    def __init__(
        self,
        port: Any,
        authenticator: Any,
        settings: Any,
        name: str,
        wall_ms: Callable[[], int],
        peer: Any,
        wake: Callable[[], object],
        journal: Callable[..., None],
        turns: Turns,
        unfinished: Any = None,
        strangers: Any = None,
    ) -> None:
        # what net sees
        self.output: Any = Output()
        self.closing = False
        self.paused = False
        self.next_deadline = 1.0  # in the past: the first sweep sets the handshake's deadline
        # handed in
        self.port = port
        self.authenticator = authenticator
        self.settings = settings
        self.name = name
        self.wall_ms = wall_ms
        self.peer = peer
        self.wake = wake
        self.journal = journal
        self.turns = turns
        self.unfinished = unfinished
        # the connection
        self.decoder: Any = Decoder(settings.offer.packet_max, stranger_max=STRANGER_BYTES)
        if strangers is not None:
            self.decoder.share = strangers.share(partial(overrun, self))
        self.state = WAITING
        self.version = 0
        self.connect: Connect | None = None
        self.terms: Terms | None = None
        self.login: Login | None = None
        self.principal: Any = None
        self.user = ""
        self.virtual_host = ""
        self.client_id = ""
        self.number = 0  # of the session, at the port
        self.is_kept = False  # it outlives its connection
        self.attachment: Any = None
        self.authenticating = False
        self.throttled = False
        self.overfull = False
        self.heard = False  # since the last sweep
        self.heard_at = 0.0
        self.watches_system = False  # it is subscribed to figures of the process (system_topics.py); what it was told, and when last
        self.system_told: dict[bytes, bytes] = {}
        self.system_at = 0.0
        # what waits
        self.backlog: list[Any] = []
        self.unread = False  # the decoder has octets that it was not to look at before
        self.arranged = False  # next_turn() will come
        self.taking = False  # take_in() is at it, and looks at the backlog
        self.steps: Steps | None = None  # of the packet that waits for an answer
        self.step_calls: list[Ask] = []  # what it has asked
        self.steps_waiting = 0  # how many of them are not answered
        self.is_list = False  # it has asked several together
        self.advancing = False
        # what the client publishes: by topic, the address
        self.addresses: dict[bytes, bytes] = {}
        self.withouts: dict[bytes, tuple[str, ...]] = {}  # by address: queues of the session that get nothing of it
        self.incoming = Incoming(settings.offer.receive_maximum)
        self.answers: deque[Answer] = deque()  # acknowledgements that are due, in order
        self.asked: set[Call] = set()  # what acknowledgements wait for besides Publishes
        self.releasing: dict[Call, tuple[int, bytes]] = {}  # PUBRELs and PUBCOMPs that go out when it is remembered that they did
        # what is sent to it
        self.subscriptions = Subscriptions()
        self.sources: dict[int, Source] = {}  # by place
        self.last_place = 1  # delivering.LOOSE
        self.shared: dict[bytes, Source] = {}  # by filter
        self.flights = Flights()
        self.aliases = OutgoingAliases(0)
        self.copies = Copies()
        self.matches: dict[bytes, Match] = {}  # by address
        self.held: deque[Held] = deque()  # deliveries that wait for identifiers, or for the client's acknowledgements
        self.settling = False  # settle_unwritten() will come
        self.unsettled: list[Settle] = []  # what is settled when it is handed to the socket

    def put(self, data: bytes) -> None:
        """Send these bytes."""
        self.output.raw(data)
        self.wake()

    def subscribed_anew(self) -> None:
        """What was remembered of topics holds no more."""
        self.matches.clear()
        self.withouts.clear()

    def submit(self, request: Any) -> None:
        """Ask something whose answer nobody waits for."""
        self.attachment.submit(make_ask(_STREAM, request))

    def when_done(self, request: Any, kind: int, packet_ids: bytes) -> None:
        """Ask something; when it is durable, acknowledgements of that kind go out."""
        call = make_ask(_STREAM, request)
        self.releasing[call] = kind, packet_ids
        self.attachment.submit(call)

    def settle(self) -> object:
        """What waited for that is handed to the socket."""
        if self.unsettled:
            settlements, self.unsettled = self.unsettled, []
            for settlement in settlements:
                self.attachment.submit(settlement)
        return None

    def settle_soon(self) -> object:
        """Something is done with, and nothing is written: nobody may say flushed(). But not amid a delivery."""
        if not self.settling:
            self.settling = True
            self.turns.wait(self.settle_unwritten)
        return None

    def settle_unwritten(self) -> None:
        """The turn that was waited for. What has been written meanwhile, or waits for a client that does not read, is settled behind that."""
        self.settling = False
        if not self.output.size and self.attachment is not None and self.attachment.writable:
            self.settle()

    def fail(self, error: Any) -> None:
        """The reason, where it can be said, and the end."""
        raise NotImplementedError


def overrun(state: State) -> bool:
    """See net.unfinished.Unfinished.share: the connection gives back what it has received."""
    error = state.decoder.overrun()
    if error is not None:
        state.fail(error)
    return state.decoder.error is not None
