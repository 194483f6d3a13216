"""Calls on queues whose leases are timed: Send, Receive and EndLeases, for protocols that settle by a handle (SQS).

A queue is named in the attachment's namespace. What is leased here is leased until a deadline, durably: the answer of a Receive is given when its leases,
counts and deadlines are on disk, and they hold over a restart. A handle is (queue_id, offset, lease id): only the latest lease of a record
counts, also after its deadline, until the record is leased again. A lease id begins with the time of the lease: u48, big-endian, ms since 1970.

Every call says which of the queue's own policies it was checked against (`policy_version`, 0: none). Where the queue has another one it is REFUSED with
PolicyChanged, which brings the policy along; the caller evaluates it and submits again. `granted`: that policy allows the principal what its own
permissions may not.
"""

from __future__ import annotations

from typing import Any

import cython

from entrepot.broker.calls.port import Call
from entrepot.model.errors import Reason, Refused

LEASE_ID_SIZE = 16  # bytes
QUEUE_ID_SIZE = 16  # bytes; the id of the queue's log: never reused, so that a handle of a deleted queue is known as one
RECEIVE_MAX = 10  # records of one Receive

# What became of one part of an EndLeases.
ENDED = 0  # as asked
NOT_LEASED = 1  # the handle is the latest, but its deadline has passed (only where that is refused)
SUPERSEDED = 2  # the record was leased again since, or is settled
FOREIGN = 3  # no record of this queue ever had this handle: another queue's, or one that was made up
TOO_LONG = 4  # the new deadline would be more than LEASE_MAX_MS after the lease began: it keeps the one it has

LEASE_MAX_MS = 43_200_000

if not cython.compiled:
    from entrepot.broker.calls.port import pend


class PolicyChanged(Refused):
    """The queue's own policy is not the one that the call was checked against. `policy` is its text ("": it has none any more)."""

    def __init__(self, text: str, version: int, policy: str, owner: str) -> None:
        super().__init__(Reason.NOT_PERMITTED, text)
        self.version = version
        self.policy = policy
        self.owner = owner  # the namespace of the queue


class Send(Call):
    """Append records to one queue, each with what its delivery depends on. DONE when they are durable.

    `data` is `count` records as the codec packs them, without the entry's prefix. Lists have `count` items, or are None where no record says anything:
    `delays_ms` (-1: the queue's own), `groups` (b"": none) and `deduplication_ids` (b"": none). `content_ids` are used instead of empty
    deduplication ids where the queue deduplicates by content. `message_ids` are 16 bytes each.

    Answers: `offsets` and `stored_ids` (message ids; of a duplicate: those of the first, which was stored), or `errors` for what was refused alone.
    Refused as a whole: NOT_FOUND, NOT_PERMITTED, FULL (the disk); TOO_LARGE and INVALID (a FIFO queue without group or deduplication id; a delay
    there) by record, in `errors`.
    """

    __slots__ = (
        "codec",
        "codec_version",
        "content_ids",
        "count",
        "data",
        "deduplication_ids",
        "delays_ms",
        "errors",
        "flags",
        "granted",
        "groups",
        "message_ids",
        "offsets",
        "policy_version",
        "queue",
        "sizes",
        "stored_ids",
        "tag",
    )

    queue: str
    codec: int
    codec_version: int
    flags: int
    data: bytes
    count: int
    sizes: list[int]  # of each record, as the queue's limit counts them
    message_ids: list[bytes]
    delays_ms: list[int] | None
    groups: list[bytes] | None
    deduplication_ids: list[bytes] | None
    content_ids: list[bytes] | None
    policy_version: int
    granted: bool
    tag: Any  # the caller's own
    offsets: list[int]
    stored_ids: list[bytes]
    errors: list[Refused | None] | None


def make_send(stream: int, queue: str, codec: int, codec_version: int, flags: int, data: bytes, count: int, sizes: list[int], message_ids: list[bytes]) -> Send:
    """A Send of records that say nothing of delays, groups and duplicates."""
    call = Send.__new__(Send)
    pend(call, stream)
    call.queue = queue
    call.codec = codec
    call.codec_version = codec_version
    call.flags = flags
    call.data = data
    call.count = count
    call.sizes = sizes
    call.message_ids = message_ids
    call.delays_ms = None
    call.groups = None
    call.deduplication_ids = None
    call.content_ids = None
    call.policy_version = 0
    call.granted = False
    call.tag = None
    call.offsets = []
    call.stored_ids = []
    call.errors = None
    return call


class Received:
    """One record that a Receive leased: it lies at `position` in `data`, an entry as the call's codec packs it (`base` the entry's first offset).

    `deliveries`: how often it was delivered, this time included. Times are in milliseconds since 1970.
    """

    __slots__ = ("append_time_ms", "base", "data", "deliveries", "first_received_ms", "offset", "position")

    data: bytes
    base: int
    position: int
    offset: int
    deliveries: int
    first_received_ms: int
    append_time_ms: int


class Receive(Call):
    """Lease up to `count` (at most RECEIVE_MAX) records until the shard's time plus `visibility_ms` (-1: the queue's own).

    DONE as soon as there is one, its leases durable, or with none after `wait_ms` (-1: the queue's own). Waiting costs one object. Who
    waits longest is served first. `attempt_id` (FIFO queues, b"": none): the same within five minutes brings the same records and lease
    again, as long as none of them was settled or has become visible. A Withdraw gives a waiting call up; an attachment's end withdraws
    its own. What was leased for a call that was given up between its commit and its answer is released.

    Answers: `received`, in the order given, about a MiB at most where that is several; `lease_id` of all of them; `queue_id`. Refused:
    NOT_FOUND (also when the queue is deleted meanwhile), NOT_PERMITTED, LIMIT (as many in flight as there may be).
    """

    __slots__ = (
        "after",
        "attempt_id",
        "before",
        "codec",
        "count",
        "granted",
        "lease_id",
        "policy_version",
        "queue",
        "queue_id",
        "received",
        "slot",
        "slot_after",
        "slot_before",
        "state",
        "tag",
        "timed",
        "visibility_ms",
        "wait_ms",
    )

    queue: str
    codec: int
    count: int
    visibility_ms: int
    wait_ms: int
    attempt_id: bytes
    policy_version: int
    granted: bool
    tag: Any  # the caller's own
    # the broker's own: where it waits, and who before and after it, for the queue and for the same moment
    timed: Any
    state: Any
    before: Receive | None
    after: Receive | None
    slot: int
    slot_before: Receive | None
    slot_after: Receive | None
    received: list[Received]
    lease_id: bytes
    queue_id: bytes


def make_receive(stream: int, queue: str, codec: int, count: int, visibility_ms: int, wait_ms: int) -> Receive:
    """A Receive without an attempt id."""
    call = Receive.__new__(Receive)
    pend(call, stream)
    call.queue = queue
    call.codec = codec
    call.count = count
    call.visibility_ms = visibility_ms
    call.wait_ms = wait_ms
    call.attempt_id = b""
    call.policy_version = 0
    call.granted = False
    call.tag = None
    call.timed = None
    call.state = None
    call.before = None
    call.after = None
    call.slot = -1
    call.slot_before = None
    call.slot_after = None
    call.received = []
    call.lease_id = b""
    call.queue_id = b""
    return call


class Withdraw(Call):
    """Give up a Receive that waits (its connection is gone): it completes with nothing. No answer of its own."""

    __slots__ = ("receive",)

    receive: Receive


def make_withdraw(stream: int, receive: Receive) -> Withdraw:
    """A Withdraw."""
    call = Withdraw.__new__(Withdraw)
    pend(call, stream)
    call.receive = receive
    return call


class EndLeases(Call):
    """Settle leased records (`visibility_ms` None), or give each lease a new deadline: the shard's time plus its `visibility_ms`; 0: visible at once.

    `offsets` and `lease_ids` are as long as each other; `queue_id` is the handles' own: FOREIGN for all if it is not the queue's. Settling takes a handle whose
    deadline has passed as long as nobody else got the record (a FIFO queue refuses it: NOT_LEASED); a new deadline needs a lease that holds (else NOT_LEASED).
    A record that is settled already is ENDED again for its last handle where that is known, else SUPERSEDED.

    DONE when what was ended is durable; `statuses` says what became of each (ENDED and its likes). Refused as a whole: NOT_FOUND, NOT_PERMITTED.
    """

    __slots__ = ("granted", "lease_ids", "offsets", "policy_version", "queue", "queue_id", "statuses", "tag", "visibility_ms")

    queue: str
    queue_id: bytes
    offsets: list[int]
    lease_ids: list[bytes]
    visibility_ms: list[int] | None
    policy_version: int
    granted: bool
    tag: Any  # the caller's own
    statuses: list[int]


def make_end_leases(stream: int, queue: str, queue_id: bytes, offsets: list[int], lease_ids: list[bytes], visibility_ms: list[int] | None) -> EndLeases:
    """An EndLeases."""
    call = EndLeases.__new__(EndLeases)
    pend(call, stream)
    call.queue = queue
    call.queue_id = queue_id
    call.offsets = offsets
    call.lease_ids = lease_ids
    call.visibility_ms = visibility_ms
    call.policy_version = 0
    call.granted = False
    call.tag = None
    call.statuses = []
    return call
