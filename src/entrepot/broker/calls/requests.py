"""What a session may ask of the broker besides the hot calls: the request of a port.Ask, each with what its result is.

Refusals come as the call's error (model.errors.Refused) with the outcome REFUSED.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from entrepot.broker.calls.port import Publish, Settle


class Consume(Struct):
    """Start deliveries from a queue, or a topic as a stream. result: consumer_id. Deliveries carry `token`.

    `limit` is the most unsettled records this consumer may hold (0: as many as the broker's own limit); all consumers of the stream
    together hold at most the stream's limit (StreamLimit). `auto_settle`: settled as they are sent. `start`: where a stream
    begins ("first", "last", "next", an offset, a timestamp as ("time", ms)); None for a queue.
    """

    queue: str
    token: Any
    limit: int = 0
    auto_settle: bool = False
    exclusive: bool = False
    priority: int = 0
    start: Any = None
    arguments: dict[str, Any] = field(default_factory=dict)


class ConsumeReplies(Struct):
    """Take answers to this connection, settled as they are sent. result: (consumer_id, the name to publish them to by the default exchange).

    The name is routing.REPLY_PREFIX and an unguessable rest (front/replies.py), and ends with its consumer. No permission is needed for it; declaring
    it, by whichever connection, tells whether it is still there.
    """

    token: Any


class Cancel(Struct):
    """Stop a consumer; what it holds stays leased to it until settled or the stream ends. result: None."""

    consumer_id: int


class StreamLimit(Struct):
    """The most unsettled records that all consumers of this stream may hold together; 0: no such limit."""

    limit: int


class CloseStream(Struct):
    """The stream ends: cancel its consumers and release every lease taken through it."""


class Release(Struct):
    """Release these leases of the stream, to be delivered again: (consumer_id, first offset, count) each. Of a topic they are done with.

    Nobody waits for its answer: as with a Settle, who holds the leases has done with them when it is submitted.
    """

    ranges: list[tuple[int, int, int]]


class CheckPublish(Struct):
    """Whether a Publish to this address (as port.Publish has it) may be: refused NOT_FOUND or NOT_PERMITTED as that would be."""

    address: bytes


class CommitTogether(Struct):
    """Publishes and settlements of the stream, all in one commit or none of them; complete when that is durable. result: None.

    The Publishes are not confirmed one by one; mandatory ones complete by themselves as far as they have no target, before this does. Refused as a whole,
    nothing done: as a Publish or Settle among them would be; FULL where a queue that refuses what is over its limit would. What is to be dead-lettered
    stays leased until that is done, in commits that follow. all_routed: NOT_FOUND, too, where a mandatory one has no target.
    """

    publishes: list[Publish]
    settlements: list[Settle]
    all_routed: bool = False


class Get(Struct):
    """Take one record from a queue. result: None if it is empty, else (Delivery, how many more are ready)."""

    queue: str
    auto_settle: bool = False


class Browse(Struct):
    """Look at what is ready in a queue, from a place on (-1: from its head), at most `limit` records (0: the place alone); nothing is taken.

    result: a questions.BrowsedPage.

    A place is good for the next page only. What comes, goes or is taken meanwhile may be in a page or not.
    """

    queue: str
    place: int = -1
    limit: int = 100


class DeclareQueue(Struct):
    """Make a queue (or a stream, by x-queue-type), or check that it is as asked. An empty name: the broker makes one up, or has done so
    already (`made_up`), so that it may be asked a second time.

    result: (name, ready records, consumers). `is_own`: the broker asks for itself, and gives a name that is reserved.
    """

    name: str
    passive: bool = False
    durable: bool = False
    exclusive: bool = False
    auto_delete: bool = False
    arguments: dict[str, Any] = field(default_factory=dict)
    made_up: str = ""
    is_own: bool = False


class DeleteQueue(Struct):
    """Remove a queue or stream and its records. result: how many were ready."""

    name: str
    if_unused: bool = False
    if_empty: bool = False


class PurgeQueue(Struct):
    """Drop every ready record. result: how many."""

    name: str


class DeclareExchange(Struct):
    """Make an exchange, or check that it is as asked. result: None."""

    name: str
    type: str = "direct"
    passive: bool = False
    durable: bool = False
    auto_delete: bool = False
    internal: bool = False
    arguments: dict[str, Any] = field(default_factory=dict)


class DeleteExchange(Struct):
    """Remove an exchange and its bindings. result: None."""

    name: str
    if_unused: bool = False


class ListBindings(Struct):
    """What a queue is bound to. result: (exchange, routing key, arguments) each, but for the default exchange. READ of the queue is needed."""

    queue: str


class Bind(Struct):
    """Add (or with `remove` take away) a binding from exchange `source` to a queue or exchange. result: None."""

    source: str
    destination: str
    destination_kind: str = "queue"  # or "exchange"
    routing_key: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    remove: bool = False
