"""A STOMP session on a bench: its client's bytes in, a double of the port behind it that answers when and as a test says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stomp_wire import CONNECT, Heard, frame, read, send

from entrepot.broker.calls import requests
from entrepot.broker.calls.port import DONE, PENDING, REFUSED, Ask, Attachment, Call, Delivery, Publish, Settle, Sink
from entrepot.model.errors import NotDone, Reason, Refused
from entrepot.model.principal import Principal
from entrepot.net.turns import Turns
from entrepot.net.unfinished import Unfinished
from entrepot.protocols.stomp.handshake import Settings
from entrepot.protocols.stomp.session import Session

NOW_MS = 1_700_000_000_000


class Door(Attachment):
    """Keeps what it is asked. `answers`: requests are answered at once, as a broker would where all is well."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.asked: list[Call] = []
        self.answers = True
        self.existing: set[str] = set()
        self.made = 0
        self.consumers = 0
        self.closed = False
        self.writable = True
        self.spent = 0
        self.waits = False

    def submit(self, call: Call) -> None:
        call.attachment = self
        self.asked.append(call)
        if isinstance(call, Settle):
            call.outcome = DONE
        elif isinstance(call, Ask) and self.answers:
            answer(self, call)

    def by_headers(self, address: bytes) -> bool:
        return address.startswith(b"\x07headers")

    def wait_for_catalogue(self) -> None:
        self.waits = True

    def resume(self) -> None:
        self.writable = True

    def close(self) -> None:
        self.closed = True

    @property
    def pending(self) -> list[Call]:
        return [call for call in self.asked if call.outcome == PENDING]

    @property
    def publishes(self) -> list[Publish]:
        return [call for call in self.asked if isinstance(call, Publish)]

    @property
    def requests(self) -> list[Any]:
        return [call.request for call in self.asked if isinstance(call, Ask)]

    @property
    def settles(self) -> list[tuple[int, int, int, int]]:
        return [(call.consumer_id, call.first, call.count, call.disposition) for call in self.asked if isinstance(call, Settle)]

    def tokens(self) -> list[Any]:
        return [request.token for request in self.requests if isinstance(request, requests.Consume)]


def answer(door: Door, call: Ask) -> None:
    """As a broker would where all is well."""
    request = call.request
    if isinstance(request, requests.DeclareQueue):
        if request.passive and request.name not in door.existing:
            refuse(call)
            return
        door.made += not request.name
        name = request.name or f"amq.gen-{door.made}"
        door.existing.add(name)
        complete(call, (name, 0, 0))
    elif isinstance(request, requests.Consume):
        door.consumers += 1
        complete(call, door.consumers)
    elif not isinstance(request, requests.CommitTogether | requests.Browse):
        complete(call)


def complete(call: Call, result: Any = None, outcome: int = DONE, error: NotDone | None = None) -> None:
    call.result, call.outcome, call.error = result, outcome, error
    call.attachment.sink.completed(call)


def refuse(call: Call, reason: Reason = Reason.NOT_FOUND, text: str = "no") -> None:
    complete(call, outcome=REFUSED, error=Refused(reason, text))


class Port:
    def __init__(self) -> None:
        self.doors: list[Door] = []
        self.asked: list[str] = []
        self.namespaces = {"public/default", "public/other"}

    def attach(self, sink: Sink, principal: Any, namespace: str, codec: int) -> Door:
        self.asked.append(namespace)
        if namespace not in self.namespaces:
            raise Refused(Reason.NOT_FOUND, "no such namespace")
        if namespace == "public/other" and principal.name != "bob":
            raise Refused(Reason.NOT_PERMITTED, "not yours")
        door = Door(sink)
        door.namespace, door.codec = namespace, codec
        self.doors.append(door)
        return door


class Authenticator:
    """guest and bob, their names as passwords; nobody is guest. `held` keeps the answers back."""

    def __init__(self) -> None:
        self.held: list[Callable[[], object]] | None = None
        self.open = True

    def plain(self, user: str, password: str, peer: Any, done: Callable[[Any], object]) -> None:
        principal = Principal(user) if user == password and user in ("guest", "bob") else None
        if self.held is None:
            done(principal)
        else:
            self.held.append(lambda: done(principal))

    def anonymous(self, peer: Any) -> Any:
        return Principal("guest") if self.open else None


class Client:
    """The peer of one session."""

    def __init__(self, version: int = 12, settings: Settings | None = None, unfinished: Unfinished | None = None, strangers: Unfinished | None = None) -> None:
        self.version = version
        self.port = Port()
        self.authenticator = Authenticator()
        self.notes: list[str] = []
        self.later: list[Callable[[], object]] = []
        shares = Turns(self.later.append), unfinished, strangers
        self.session = Session(
            self.port, self.authenticator, settings or Settings(), "s", lambda: NOW_MS, "peer", lambda: None, lambda text, *_: self.notes.append(text), *shares
        )

    def connect(self) -> Client:
        self.send(CONNECT[self.version])
        (connected,) = self.hear()
        assert connected.command == "CONNECTED"
        return self

    @property
    def door(self) -> Door:
        return self.port.doors[-1]

    def send(self, *parts: bytes) -> Client:
        data = b"".join(parts)
        position = 0
        while position < len(data):
            room = memoryview(self.session.get_buffer(-1))
            step = min(len(room), len(data) - position)
            room[:step] = data[position : position + step]
            position += step
            self.session.buffer_updated(step)
        while self.later:
            due, self.later[:] = self.later[:], []
            for function in due:
                function()
        return self

    def octets(self) -> bytes:
        octets = b"".join(self.session.output.take())
        if octets:
            self.session.flushed()
        return octets

    def hear(self) -> list[Heard]:
        return read(self.octets(), self.version)

    def said(self) -> list[tuple[str, str]]:
        """Commands that were heard, with what each is about."""
        about = {"RECEIPT": "receipt-id", "ERROR": "message", "MESSAGE": "message-id", "CONNECTED": "version"}
        return [(heard.command, heard[about[heard.command]]) for heard in self.hear()]

    def subscribe(self, destination: str = "/queue/q", ack: str = "auto", key: str = "0", *headers: str) -> Any:
        """A subscription, and its token."""
        self.send(frame("SUBSCRIBE", f"id:{key}", f"destination:{destination}", f"ack:{ack}", *headers))
        return self.door.tokens()[-1]

    def deliver(self, token: Any, data: bytes, count: int = 1, offset: int = 0, **how: Any) -> int:
        """A slice of records (without an entry's prefix)."""
        delivery = Delivery()
        delivery.token, delivery.data, delivery.position, delivery.count, delivery.offset = token, data, 0, count, offset
        delivery.consumer_id = how.get("consumer_id", 1)
        delivery.redelivered = how.get("redelivered", False)
        delivery.counted = "deliveries" in how
        delivery.deliveries = how.get("deliveries", 0)
        delivery.settled = token.mode == "auto"
        delivery.from_topic = how.get("from_topic", False)
        return self.session.deliver(delivery)


def known_queue() -> Client:
    """A connection that has sent to queue q, so that it is known to be there."""
    client = Client().connect()
    client.door.existing.add("q")
    client.send(send("/queue/q"))
    complete(client.door.publishes.pop())
    client.door.asked.clear()
    client.hear()
    return client
