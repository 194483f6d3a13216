"""A port with queues in memory, and a session over it that real AWS clients may be put on, without a socket.

PortDouble carries out what it is asked at once, unless `held`: then calls wait in `calls` until a test completes them, in whatever order and
with whatever outcome it likes.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from typing import Any

from memory_state import MemoryState

from entrepot.broker.calls import queue_requests as asked
from entrepot.broker.calls.lease_calls import ENDED, FOREIGN, NOT_LEASED, SUPERSEDED, EndLeases, PolicyChanged, Receive, Received, Send
from entrepot.broker.calls.port import DONE, REFUSED, Attachment
from entrepot.broker.calls.queue_requests import QueueDescription, TimedPolicy
from entrepot.broker.catalogue.stream import CatalogueStream
from entrepot.broker.users.users import Users
from entrepot.model.errors import Reason, Refused
from entrepot.net.pages import Pages
from entrepot.net.session import Peer
from entrepot.protocols.sqs.accounts import Accounts
from entrepot.protocols.sqs.callers import Callers
from entrepot.protocols.sqs.cors import Cors
from entrepot.protocols.sqs.records import SqsEntryCodec
from entrepot.protocols.sqs.session import Session, Shared
from entrepot.protocols.sqs.settings import Settings

NOW_MS = 1_800_000_000_000
CODEC = SqsEntryCodec()


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def monotonic_s(self) -> float:
        return self.now_ms / 1000

    def wall_ms(self) -> int:
        return self.now_ms


class Drawn:
    """The same chance every time."""

    def __init__(self) -> None:
        self.random = random.Random(1)

    def octets(self, count: int) -> bytes:
        return self.random.randbytes(count)


class QueueDouble:
    """One queue."""

    def __init__(self, name: str, policy: TimedPolicy) -> None:
        self.id = hashlib.md5(name.encode()).digest()
        self.description = QueueDescription(name, self.id, policy, {}, {}, NOW_MS // 1000, NOW_MS // 1000)
        self.records: list[bytes | None] = []
        self.leases: dict[int, bytes] = {}
        self.counts: dict[int, int] = {}
        self.moves: list[asked.MoveTask] = []


class AttachmentDouble(Attachment):
    """Does what a port does, in memory."""

    __slots__ = ("port", "waits")

    def __init__(self, port: PortDouble, sink: Any, principal: Any, namespace: str, codec: int) -> None:
        self.port = port
        self.sink = sink
        self.principal = principal
        self.namespace = namespace
        self.codec = codec
        self.closed = False
        self.waits = False

    def wait_for_catalogue(self) -> None:
        self.waits = True

    def submit(self, call: Any) -> None:
        call.attachment = self
        if self.port.held:
            self.port.calls.append(call)
        else:
            self.port.carry_out(call)

    def resume(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


class PortDouble:
    """See the module."""

    def __init__(self) -> None:
        self.queues: dict[tuple[str, str], QueueDouble] = {}
        self.namespaces: dict[str, Any] = {"public/default": None}
        self.calls: list[Any] = []
        self.held = False
        self.attachments: list[AttachmentDouble] = []

    def attach(self, sink: Any, principal: Any, namespace: str, codec: int, by_policy: bool = False) -> Attachment:
        if namespace not in self.namespaces:
            raise Refused(Reason.NOT_FOUND, f"there is no namespace {namespace}")
        self.attachments.append(AttachmentDouble(self, sink, principal, namespace, codec))
        return self.attachments[-1]

    def complete(self, call: Any, outcome: int, error: BaseException | None = None) -> None:
        """The outcome of a held call."""
        call.outcome = outcome
        call.error = error
        call.attachment.sink.completed(call)

    def carry_out(self, call: Any) -> None:
        """Do what a call asks, and complete it."""
        told = call if isinstance(call, (Send, Receive, EndLeases)) else call.request
        name = getattr(told, "queue", None) or getattr(told, "name", None)
        queue = self.queues.get((call.attachment.namespace, name or ""))
        try:
            if queue is not None and told.policy_version != queue.description.policy_version:
                found = queue.description
                raise PolicyChanged("another policy", found.policy_version, found.access_policy, call.attachment.namespace)
            if isinstance(call, (Send, Receive, EndLeases)):
                if queue is None:
                    raise Refused(Reason.NOT_FOUND, f"there is no queue {name}")
                {Send: self._send, Receive: self._receive, EndLeases: self._end}[type(call)](call, queue)
            else:
                call.result = getattr(self, type(told).__name__)(call.attachment.namespace, told, queue)
        except Refused as refused:
            self.complete(call, REFUSED, refused)
            return
        self.complete(call, DONE)

    def _send(self, call: Send, queue: QueueDouble) -> None:
        for record in CODEC.split(call.data, 0, call.count):
            call.offsets.append(len(queue.records))
            queue.records.append(record)
        call.stored_ids = list(call.message_ids)

    def _receive(self, call: Receive, queue: QueueDouble) -> None:
        call.queue_id = queue.id
        call.lease_id = hashlib.md5(b"%d" % sum(queue.counts.values())).digest()
        for offset, record in enumerate(queue.records):
            if record is not None and offset not in queue.leases and len(call.received) < call.count:
                queue.counts[offset] = queue.counts.get(offset, 0) + 1
                if call.visibility_ms != 0:
                    queue.leases[offset] = call.lease_id
                got = Received.__new__(Received)
                prefix = CODEC.prefix(b"\x00\x00")
                got.data, got.position, got.base, got.offset = prefix + record, len(prefix), offset, offset
                got.deliveries, got.first_received_ms, got.append_time_ms = queue.counts[offset], NOW_MS + 5, NOW_MS
                call.received.append(got)

    def _end(self, call: EndLeases, queue: QueueDouble) -> None:
        for place, offset in enumerate(call.offsets):
            if call.queue_id != queue.id or offset >= len(queue.records):
                call.statuses.append(FOREIGN)
            elif queue.records[offset] is None:
                call.statuses.append(SUPERSEDED)
            elif queue.leases.get(offset) != call.lease_ids[place]:
                call.statuses.append(NOT_LEASED)
            else:
                if call.visibility_ms is None:
                    queue.records[offset] = None
                if call.visibility_ms is None or call.visibility_ms[place] == 0:
                    del queue.leases[offset]
                call.statuses.append(ENDED)

    # ---- requests

    def _there(self, queue: QueueDouble | None) -> QueueDouble:
        if queue is None:
            raise Refused(Reason.NOT_FOUND, "there is no such queue")
        return queue

    def _described(self, queue: QueueDouble) -> QueueDescription:
        alive = sum(record is not None for record in queue.records)
        return replace(queue.description, visible=alive - len(queue.leases), leased=len(queue.leases))

    def CreateTimedQueue(self, namespace: str, request: Any, queue: QueueDouble | None) -> tuple[QueueDescription, bool]:  # noqa: N802 - as the request
        if queue is not None:
            for name in request.given:
                if getattr(request.policy, name) != getattr(queue.description.policy, name):
                    raise Refused(Reason.EXISTS_DIFFERENT, name)
            return self._described(queue), False
        made = self.queues[namespace, request.name] = QueueDouble(request.name, request.policy)
        version = 1 if request.access_policy else 0
        made.description = replace(
            made.description, attributes=request.attributes, tags=request.tags, access_policy=request.access_policy, policy_version=version
        )
        return self._described(made), True

    def DescribeQueue(self, namespace: str, request: Any, queue: QueueDouble | None) -> QueueDescription:  # noqa: N802
        return self._described(self._there(queue))

    def SetQueuePolicy(self, namespace: str, request: Any, queue: QueueDouble | None) -> QueueDescription:  # noqa: N802
        there = self._there(queue)
        if request.expected is not None and request.expected != there.description.policy:
            raise Refused(Reason.EXISTS_DIFFERENT, "changed")
        changes = {name: getattr(request, name) for name in ("policy", "attributes", "tags", "access_policy") if getattr(request, name) is not None}
        if "access_policy" in changes:
            changes["policy_version"] = there.description.policy_version + 1
        there.description = replace(there.description, **changes)
        return self._described(there)

    def ListQueues(self, namespace: str, request: Any, queue: None) -> tuple[list[str], bool]:  # noqa: N802
        names = sorted(name for where, name in self.queues if where == namespace and name.startswith(request.prefix) and name > request.after)
        return names[: request.limit], len(names) > request.limit

    def ListSources(self, namespace: str, request: Any, queue: QueueDouble | None) -> tuple[list[str], bool]:  # noqa: N802
        self._there(queue)
        found = [one.description for (where, _), one in self.queues.items() if where == namespace]
        names = sorted(one.name for one in found if one.policy.dead_letter_queue == request.name and one.name > request.after)
        return names[: request.limit], len(names) > request.limit

    def DeleteTimedQueue(self, namespace: str, request: Any, queue: QueueDouble | None) -> None:  # noqa: N802
        self._there(queue)
        del self.queues[namespace, request.name]

    def PurgeTimedQueue(self, namespace: str, request: Any, queue: QueueDouble | None) -> None:  # noqa: N802
        there = self._there(queue)
        if there.records == [None]:
            raise Refused(Reason.IN_USE, "a purge is under way")
        there.records = [None]
        there.leases.clear()

    def StartMove(self, namespace: str, request: Any, queue: None) -> asked.MoveTask:  # noqa: N802
        source = self._there(self.queues.get((namespace, request.source)))
        if not self.ListSources(namespace, asked.ListSources(name=request.source), source)[0]:
            raise Refused(Reason.INVALID, "nobody's dead-letter queue")
        if source.moves and source.moves[0].status == "RUNNING":
            raise Refused(Reason.IN_USE, "one runs")
        task_id = bytes([len(source.moves)]) * 16
        source.moves.insert(0, asked.MoveTask(task_id, request.source, request.destination, "RUNNING", request.per_second_max, 3, 7, NOW_MS))
        return source.moves[0]

    def CancelMove(self, namespace: str, request: Any, queue: None) -> asked.MoveTask:  # noqa: N802
        for one in self.queues.values():
            for place, task in enumerate(one.moves):
                if task.task_id == request.task_id and task.status == "RUNNING":
                    one.moves[place] = replace(task, status="CANCELLED")
                    return one.moves[place]
        raise Refused(Reason.NOT_FOUND, "it does not run")

    def ListMoves(self, namespace: str, request: Any, queue: None) -> list[asked.MoveTask]:  # noqa: N802
        return self._there(self.queues.get((namespace, request.source))).moves[: request.limit]


class Authenticator:
    """What server's Authenticator does for SQS."""

    def __init__(self, users: Users) -> None:
        self.users = users

    def anonymous(self, peer: Peer) -> Any:
        return self.users.anonymous(peer.is_loopback)

    def namespace_of(self, principal: Any, usual: str) -> str:
        user = self.users.maybe_user(principal.name)
        return usual if user is None or not user.namespaces or usual in user.namespaces else user.namespaces[0]


PEER = Peer("127.0.0.1", 50_000, False, "sqs", True, "127.0.0.1", 9324)


class Bench:
    """A port, and sessions over it."""

    def __init__(
        self,
        secrets: Any = None,
        anonymous: str = "",
        hosts: tuple[str, ...] = ("sqs.test", "x"),
        unfinished: Any = None,
        strangers: Any = None,
        origins: tuple[str, ...] = (),
        apart: bool = False,
    ) -> None:
        self.clock = Clock()
        self.entropy = Drawn()
        self.port = PortDouble()
        self.users = Users(CatalogueStream(MemoryState()), self.clock, self.entropy, secrets, iterations=4096)
        self.accounts = Accounts(self.port.namespaces, lambda name, made: self.port.namespaces.__setitem__(name, None), apart=apart)
        self.callers = Callers(self.users, Authenticator(self.users), self.accounts, anonymous, self.clock, Pages(hosts), Cors(origins))
        self.later: list[Any] = []
        self.shared = Shared(self.callers, self.clock, self.entropy, self.later.append, unfinished, strangers)

    def turn(self) -> None:
        """The loop's next turn."""
        while self.later:
            self.later.pop(0)()

    def session(self, peer: Peer = PEER, settings: Settings | None = None) -> Connection:
        """A new connection."""
        return Connection(self, peer, settings or Settings())


class Connection:
    """What the network does for one session."""

    def __init__(self, bench: Bench, peer: Peer, settings: Settings) -> None:
        self.bench = bench
        self.notes: list[str] = []
        self.looks: list[str] = []
        self.session = Session(bench.port, settings, bench.shared, peer, lambda: None, self._note)

    def _note(self, text: str, look: str = "") -> None:
        self.notes.append(text)
        self.looks.append(look)

    def send(self, data: bytes) -> None:
        """Bytes from the peer."""
        while data:
            buffer = self.session.get_buffer(-1)
            count = min(len(buffer), len(data))
            buffer[:count] = data[:count]
            self.session.buffer_updated(count)
            data = data[count:]
            self.bench.turn()

    def received(self) -> bytes:
        """What the session has sent since."""
        return b"".join(self.session.output.take())


def parse_answers(data: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """Whole HTTP answers: status, headers, body."""
    found = []
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        size = int(headers.get("content-length", 0))
        found.append((int(lines[0].split()[1]), headers, rest[:size]))
        data = rest[size:]
    return found


def http(body: bytes, headers: dict[str, str], method: str = "POST", target: str = "/") -> bytes:
    """A request as it is sent."""
    lines = [f"{method} {target} HTTP/1.1", "Host: sqs.test:9324", f"Content-Length: {len(body)}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def json_request(action: str, body: bytes, key_id: str = "test") -> bytes:
    """A request of the JSON protocol."""
    return http(
        body,
        {
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": f"AmazonSQS.{action}",
            "Authorization": f"AWS4-HMAC-SHA256 Credential={key_id}/20260101/us-east-1/sqs/aws4_request, SignedHeaders=host, Signature={'0' * 64}",
        },
    )
