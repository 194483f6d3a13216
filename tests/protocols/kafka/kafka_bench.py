"""A Kafka session on a bench: a client that writes and reads by kio, and a port whose calls complete when the test says so."""

from __future__ import annotations

from typing import Any

from crc32c import crc32c
from kio_bridge import decode_kio, encode_kio

from entrepot.broker.calls.port import DONE, REFUSED, UNAVAILABLE, UNKNOWN, Call
from entrepot.broker.users.credentials import ScramVerifier, derive
from entrepot.model.errors import OutcomeUnknown, Reason, Refused, Unavailable
from entrepot.model.principal import Principal
from entrepot.net.session import Peer
from entrepot.protocols.kafka.apis import APIS
from entrepot.protocols.kafka.checking import Checks
from entrepot.protocols.kafka.compression import UNPACKED_MAX_BYTES
from entrepot.protocols.kafka.record_batch import BatchValidator
from entrepot.protocols.kafka.session import Session, Settings, Shared

PEER = Peer("10.0.0.9", 40_000, False, "kafka", True, "10.0.0.1", 9092)


class Chance:
    """The same every time."""

    def __init__(self) -> None:
        self.drawn = 0

    def octets(self, count: int) -> bytes:
        self.drawn += 1
        return self.drawn.to_bytes(count, "big")


class Authenticator:
    """guest comes in without credentials, unless `needs_login`; ada's password is lovelace."""

    def __init__(self) -> None:
        self.needs_login = False
        self.checks: list[tuple[str, str, Any]] = []
        self.iterations = 4096

    def anonymous(self, peer: Peer) -> Principal | None:
        return None if self.needs_login else Principal("guest")

    def plain(self, name: str, password: str, peer: Peer, done: Any) -> None:
        self.checks.append((name, password, done))

    def scram(self, name: str, mechanism: str, peer: Peer) -> Any:
        verifier = derive(mechanism, "lovelace", b"salt" * 4, self.iterations)
        return verifier if name == "ada" else derive(mechanism, "nobody's", b"salt" * 4, self.iterations)

    def wrong(self, name: str, peer: Peer, answer: Any) -> None:
        answer()

    def scram_done(self, name: str, mechanism: str, verifier: ScramVerifier) -> Principal | None:
        return Principal(name, mechanism=mechanism)

    def namespace_of(self, principal: Principal, usual: str) -> str:
        return usual


class Port:
    """Takes calls and keeps them."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.namespace = ""
        self.compression = -1  # that topics want of batches
        self.principal: Any = None
        self.refusal: Refused | None = None

    def attach(self, sink: Any, principal: Any, namespace: str) -> Any:
        from entrepot.broker.calls.port import Attachment

        if self.refusal is not None:
            raise self.refusal
        self.namespace, self.principal = namespace, principal
        port = self

        class Door(Attachment):
            def submit(self, call: Call) -> None:
                call.attachment = self
                port.calls.append(call)

            def compression_of(self, topic: str, size: int) -> int:
                return port.compression

            def close(self) -> None:
                self.closed = True

            def resume(self) -> None:
                self.writable = True

        door = Door()
        door.sink, door.principal, door.namespace, door.writable, door.closed = sink, principal, namespace, True, False
        door.spent = 0
        self.door = door
        return door

    def take(self) -> Any:
        """The only call since the last look."""
        (call,) = self.calls
        self.calls.clear()
        return call

    def requests(self) -> list[Any]:
        """The requests of all Asks since the last look, and the calls in `taken`."""
        self.taken, self.calls = self.calls, []
        return [call.request for call in self.taken]


def done(call: Any, result: Any = None) -> None:
    """It has happened."""
    call.outcome, call.result = DONE, result
    call.attachment.sink.completed(call)


def refuse(call: Any, reason: Reason, text: str = "because", result: Any = None) -> None:
    """It has not happened, and why."""
    call.outcome, call.error, call.result = REFUSED, Refused(reason, text), result
    call.attachment.sink.completed(call)


def unavailable(call: Any) -> None:
    """It has certainly not happened."""
    call.outcome, call.error = UNAVAILABLE, Unavailable("not now")
    call.attachment.sink.completed(call)


def unknown(call: Any) -> None:
    """Nobody knows."""
    call.outcome, call.error = UNKNOWN, OutcomeUnknown("who knows")
    call.attachment.sink.completed(call)


class Client:
    """A client at the other end of a session's wires."""

    def __init__(self, *, needs_login: bool = False, unfinished: Any = None, beside: Client | None = None, elsewhere: Any = None, **settings: Any) -> None:
        """`beside`: another of the same process. `elsewhere`: where large batches are checked."""
        self.port = Port()
        self.authenticator = Authenticator()
        self.authenticator.needs_login = needs_login
        self.notes: list[str] = []
        self.looks: list[str] = []
        self.later: list[Any] = [] if beside is None else beside.later  # what sessions want to be called in the loop's next turn
        checks = None if elsewhere is None else Checks(UNPACKED_MAX_BYTES, elsewhere)
        validator = BatchValidator(1 << 20 if elsewhere is None else UNPACKED_MAX_BYTES)
        self.shared = Shared(Chance(), validator, self.later.append, unfinished, checks=checks) if beside is None else beside.shared
        self.awake = 0
        self.session = Session(self.port, self.authenticator, Settings(**settings), self.shared, PEER, self._wake, self._note)
        self._sent: dict[int, tuple[int, int]] = {}
        self._next = 1
        self._received = b""

    def _note(self, text: str, look: str = "") -> None:
        self.notes.append(text)
        self.looks.append(look)

    def _wake(self) -> None:
        self.awake += 1

    def turn(self) -> bool:
        """The loop's next turn; whether there was anything to do in it."""
        functions, self.later[:] = list(self.later), []
        for function in functions:
            function()
        return bool(functions)

    def feed(self, data: bytes) -> None:
        """Bytes arrive, as many at a time as the session has room for."""
        while data:
            room = memoryview(self.session.get_buffer(-1))
            assert len(room) > 0
            step = min(len(room), len(data))
            room[:step] = data[:step]
            data = data[step:]
            self.session.buffer_updated(step)

    def frame(self, key: int, version: int, values: dict[str, Any], client_id: str = "tester") -> bytes:
        """A request with its header."""
        correlation_id, self._next = self._next, self._next + 1
        self._sent[correlation_id] = (key, version)
        head = key.to_bytes(2, "big") + version.to_bytes(2, "big") + correlation_id.to_bytes(4, "big")
        head += len(client_id).to_bytes(2, "big") + client_id.encode()
        if version >= APIS[key].flexible_from:
            head += b"\0"
        body = head + encode_kio(key, version, "request", values)
        return len(body).to_bytes(4, "big") + body

    def send(self, key: int, version: int, values: dict[str, Any]) -> None:
        """Send a request."""
        self.feed(self.frame(key, version, values))

    def octets(self) -> bytes:
        """What the session has sent since the last look."""
        return b"".join(bytes(part) for part in self.session.output.take())

    def answers(self) -> list[dict[str, Any]]:
        """The responses since the last look, in order, as dicts."""
        self._received += self.octets()
        found = []
        while len(self._received) >= 4:
            size = int.from_bytes(self._received[:4], "big")
            if len(self._received) < 4 + size:
                break
            body, self._received = self._received[4 : 4 + size], self._received[4 + size :]
            key, version = self._sent.pop(int.from_bytes(body[:4], "big"))
            flexible = version >= APIS[key].flexible_from and key != 18
            assert not flexible or body[4] == 0
            found.append(decode_kio(key, version, "response", body[5 if flexible else 4 :]))
        return found

    def answer(self) -> dict[str, Any]:
        """The only response since the last look."""
        (found,) = self.answers()
        return found

    def ask(self, key: int, version: int, values: dict[str, Any]) -> dict[str, Any]:
        """Send a request that is answered at once."""
        self.send(key, version, values)
        return self.answer()


def batch(count: int = 1, *, producer: tuple[int, int, int] = (-1, -1, -1), attributes: int = 0, value: bytes = b"v") -> bytes:
    """A version 2 record batch of `count` records without key and headers."""
    records = b""
    for index in range(count):
        record = b"\0\0" + _varint(index) + b"\x01" + _varint(len(value)) + value + b"\0"
        records += _varint(len(record)) + record
    producer_id, epoch, sequence = producer
    tail = attributes.to_bytes(2, "big") + (count - 1).to_bytes(4, "big") + (1000).to_bytes(8, "big") * 2
    tail += producer_id.to_bytes(8, "big", signed=True) + epoch.to_bytes(2, "big", signed=True) + sequence.to_bytes(4, "big", signed=True)
    tail += count.to_bytes(4, "big") + records
    return bytes(8) + (len(tail) + 9).to_bytes(4, "big") + b"\xff\xff\xff\xff\x02" + crc32c(tail).to_bytes(4, "big") + tail


def _varint(value: int) -> bytes:
    value <<= 1
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def produce(topics: dict[str, dict[int, bytes | None]], acks: int = -1, transactional_id: str | None = None) -> dict[str, Any]:
    """A Produce request."""
    data = [{"name": name, "partition_data": [{"index": index, "records": records} for index, records in parts.items()]} for name, parts in topics.items()]
    return {"transactional_id": transactional_id, "acks": acks, "timeout_ms": 1000, "topic_data": data}


def fetch(
    topics: dict[Any, dict[int, int]],
    *,
    session: tuple[int, int] = (0, -1),
    forgotten: dict[Any, list[int]] | None = None,
    by_id: bool = False,
    committed: int = 0,
    leader_epoch: int = -1,
) -> dict[str, Any]:
    """A Fetch request of partitions and their offsets."""
    name = "topic_id" if by_id else "topic"
    other = {"topic": ""} if by_id else {"topic_id": bytes(16)}
    part = {
        "current_leader_epoch": leader_epoch,
        "last_fetched_epoch": -1,
        "log_start_offset": -1,
        "partition_max_bytes": 1000,
        "replica_directory_id": bytes(16),
    }
    return {
        "cluster_id": None,
        "replica_state": {"replica_id": -1, "replica_epoch": -1},
        "replica_id": -1,
        "max_wait_ms": 500,
        "min_bytes": 1,
        "max_bytes": 10_000,
        "isolation_level": committed,
        "session_id": session[0],
        "session_epoch": session[1],
        "topics": [
            {name: key, **other, "partitions": [{"partition": p, "fetch_offset": o, **part} for p, o in parts.items()]} for key, parts in topics.items()
        ],
        "forgotten_topics_data": [{name: key, **other, "partitions": parts} for key, parts in (forgotten or {}).items()],
        "rack_id": "",
    }
