"""The port: the only way between protocols and broker.

A session attaches once per connection and submits calls; each call is its own ticket. Calls of one stream (an AMQP channel, a
producer) take effect in the order of submission; they may complete in any order. When a call completes, its outcome is set and
`sink.completed(call)` is called, possibly before submit() has returned. Deliveries come as `sink.deliver(...)`, against credit.

A session never holds a queue or a topic: it knows names and the numbers that the port gave it, so it cannot tell whether the
owner is in this process.
"""

from __future__ import annotations

from typing import Any

from entrepot.model.errors import NotDone, Refused, Unavailable

# Outcomes of a call.
PENDING = 0
DONE = 1
REFUSED = 2  # certainly not applied; error is a Refused
UNAVAILABLE = 3  # certainly not applied: try again
UNKNOWN = 4  # perhaps applied

# Dispositions of a settlement.
ACCEPT = 0
RELEASE = 1  # back to its place, to be delivered again; counts as a delivery
REJECT = 2  # dead-letter it, or drop it where there is no dead-letter target
UNSENT = 3  # back to its place, as if it had never been delivered: it did not come to who was to get it

_DONE = DONE


class Call:
    """A request, and the ticket for it. `result` is described by each kind; `error` is a NotDone when the outcome is not DONE."""

    __slots__ = ("attachment", "error", "outcome", "result", "stream")

    stream: int
    outcome: int
    error: NotDone | None
    result: Any
    attachment: Attachment


def pend(call: Call, stream: int) -> int:
    """What every make function begins with: the call is new, and nobody has answered it."""
    call.stream = stream
    call.outcome = PENDING
    call.error = None
    call.result = None
    return 0


def fail(call: Call, error: NotDone) -> int:
    """Complete a call that was not carried out, or that may not have been, with the outcome that its error stands for; unheard where the connection is gone."""
    call.outcome = REFUSED if isinstance(error, Refused) else UNAVAILABLE if isinstance(error, Unavailable) else UNKNOWN
    call.error = error
    error.__traceback__ = None  # it may be one that is raised again and again, and would keep all that was at work each time
    if not call.attachment.closed:
        call.attachment.sink.completed(call)
    return 0


class Publish(Call):
    """Append records to wherever an address leads: a run of neighbouring publishes with the same address, mode and flags.

    `address` is the exchange and the routing key (model/addresses.py). `data` is `count` records as
    the codec packs them, without the codec's entry prefix. `flags` are model.entry's. With `confirm` the sink hears when it is
    durable at every target; otherwise only of a refusal. `scattered` says that targets differ by record (headers that name further
    routing keys). Answers: `unroutable` (with mandatory: the sender must get all of it back), or, where records differ, `returned`
    and `nacked`, indices into the run. `without`: names of queues that get none of it, where it is scattered; None: all do.
    """

    __slots__ = (
        "address",
        "body_bytes",
        "codec",
        "codec_version",
        "confirm",
        "count",
        "data",
        "flags",
        "mandatory",
        "nacked",
        "returned",
        "scattered",
        "unroutable",
        "without",
    )

    address: bytes
    codec: int
    codec_version: int
    flags: int
    data: bytes
    count: int
    body_bytes: int
    mandatory: bool
    confirm: bool
    scattered: bool
    without: tuple[str, ...] | None
    unroutable: bool
    returned: list[int] | None
    nacked: list[int] | None


def make_publish(stream: int, address: bytes, codec: int, codec_version: int, flags: int, data: bytes, count: int, body_bytes: int) -> Publish:
    """A Publish, neither mandatory nor confirmed."""
    call = Publish.__new__(Publish)
    pend(call, stream)
    call.attachment = None  # type: ignore[assignment]  # of what the broker publishes by itself
    call.address = address
    call.codec = codec
    call.codec_version = codec_version
    call.flags = flags
    call.data = data
    call.count = count
    call.body_bytes = body_bytes
    call.mandatory = False
    call.confirm = False
    call.scattered = False
    call.without = None
    call.unroutable = False
    call.returned = None
    call.nacked = None
    return call


class Settle(Call):
    """End leases: offsets first .. first + count - 1 that `consumer_id` holds. What is not leased is ignored.

    Has no answer unless it is refused: NOT_SUPPORTED where records of a stream are not to be accepted.
    """

    __slots__ = ("consumer_id", "count", "disposition", "first")

    consumer_id: int
    first: int
    count: int
    disposition: int


def make_settle(stream: int, consumer_id: int, first: int, count: int, disposition: int) -> Settle:
    """A Settle."""
    call = Settle.__new__(Settle)
    pend(call, stream)
    call.consumer_id = consumer_id
    call.first = first
    call.count = count
    call.disposition = disposition
    return call


class Ask(Call):
    """A call that is not hot: `request` is one of broker/calls/requests.py, which says what `result` is."""

    __slots__ = ("request",)

    request: Any


def make_ask(stream: int, request: Any) -> Ask:
    """An Ask."""
    call = Ask.__new__(Ask)
    pend(call, stream)
    call.request = request
    return call


class Delivery:
    """A slice of one entry for one consumer: `count` records from `position` in `data`, offsets `offset` onwards.

    `deliveries` is how often each was delivered before (0: never, as far as is known); `redelivered` says whether it may have been, `counted` that
    the reader is to be told how often. `append_time_ms`: of its entry; 0 where it has none, as of replies.
    `settled`: taken with auto_settle. `from_topic`: read from a stream; settling gives credit only.
    """

    __slots__ = (
        "append_time_ms",
        "codec",
        "codec_version",
        "consumer_id",
        "count",
        "counted",
        "data",
        "deliveries",
        "from_topic",
        "offset",
        "position",
        "redelivered",
        "settled",
        "token",
    )

    consumer_id: int
    token: Any
    codec: int
    codec_version: int
    data: bytes
    position: int
    count: int
    offset: int
    deliveries: int
    redelivered: bool
    counted: bool
    settled: bool
    from_topic: bool
    append_time_ms: int


class Sink:
    """What a session offers the port. Called on the loop; must not raise for what a peer did."""

    __slots__ = ()

    def completed(self, call: Call) -> None:
        """The call's outcome, error and result are set."""
        raise NotImplementedError

    def deliver(self, delivery: Delivery) -> int:
        """Send these records on. Returns the position behind the last one where it knows it, else -1."""
        raise NotImplementedError

    def cancelled(self, token: Any) -> None:
        """The consumer with this token has ended because its queue is gone, or may not be read any more."""
        raise NotImplementedError

    def revoked(self, reason: str) -> None:
        """The attachment was closed, because its principal is not to be connected any more: end the connection."""
        raise NotImplementedError

    def throttle(self, blocked: bool, reason: str) -> None:
        """Publishers are to stop (blocked), or may go on.

        Without a reason the broker catches up in a moment: stop reading. With one it refuses publishes until further notice; the end of
        that gives the same reason again. Both may hold at once.
        """
        raise NotImplementedError

    def taken_over(self, number: int) -> None:
        """The session of this number (session_requests.Opened) was opened by somebody else: it is this connection's no more."""

    def elsewhere(self, process: str) -> None:
        """All that was published to an address lies in that other process: the connection might be better off there. May be said often."""


class Nobody(Sink):
    """Of attachments whose connection is gone."""

    __slots__ = ()

    def completed(self, call: Call) -> None:
        """Nobody hears it."""

    def deliver(self, delivery: Delivery) -> int:
        """Nobody gets it."""
        return -1

    def cancelled(self, token: Any) -> None:
        """Nobody hears it."""

    def revoked(self, reason: str) -> None:
        """Nobody hears it."""

    def throttle(self, blocked: bool, reason: str) -> None:
        """Nobody hears it."""


NOBODY = Nobody()


class Attachment:
    """One connection's side of the port.

    Set `writable` to False while the peer does not read: no deliveries come until resume(). `spent`: what calls have cost beyond the usual, in steps of
    net/turns.py; who takes turns counts it, and sets it to 0.
    """

    __slots__ = ("closed", "codec", "namespace", "principal", "sink", "spent", "writable")

    sink: Sink
    codec: int  # tag of the codec that its deliveries are packed by
    principal: Any
    namespace: str
    writable: bool
    closed: bool
    spent: int

    def submit(self, call: Call) -> None:
        """Hand a call over; never waits and never raises for what the call asks."""
        raise NotImplementedError

    def by_headers(self, address: bytes) -> bool:
        """Whether what is published to that address goes where the headers of each record say; then a Publish is best of few records, for it may cost much."""
        raise NotImplementedError

    def compression_of(self, topic: str, size: int) -> int:
        """What a batch of that many bytes is to be compressed with, by topic_config.COMPRESSIONS; -1: as it comes, or it would be refused anyway."""
        raise NotImplementedError

    def wait_for_catalogue(self) -> None:
        """What cannot be answered while the process that decides the catalogue is away waits, for 30 s at most, instead of being told *unavailable* at once."""

    def resume(self) -> None:
        """Set writable, and let deliveries flow again."""
        raise NotImplementedError

    def hold(self) -> None:
        """What it has published waits for long: it is to publish no more until it is let go, as often as it is held. Nothing, where nobody could be held."""

    def let_go(self) -> None:
        """See hold()."""

    def close(self) -> None:
        """The connection has ended: cancel its consumers, release its leases, delete its exclusive queues. Idempotent."""
        raise NotImplementedError

    def end(self) -> None:
        """close(), and the session is nobody's any more: it goes now, not when it is found that it and this have only each other."""
        self.close()
        self.sink = NOBODY


def complete(calls: list[Any]) -> Exception | None:
    """All of them are done: a Call's sink hears it, anything else is called. The first failure; it costs the others nothing."""
    failure: Exception | None = None
    for one in calls:
        try:
            if isinstance(one, Call):
                call = one
                call.outcome = _DONE
                call.attachment.sink.completed(call)
            else:
                one()
        except Exception as error:
            failure = failure or error
    return failure
