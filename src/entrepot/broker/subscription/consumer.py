"""Consumer: one subscriber of one queue or topic, with its credit. Pool: the credit that the consumers of a stream share."""

from __future__ import annotations

from typing import Any

from entrepot.broker.calls.port import Attachment

LEASED_MAX = 16_777_216  # records that one consumer without a limit of its own may hold; leases are runs, so this costs little
BROKER_ID = 0  # the id under which the broker itself holds records that it expires, dead-letters or moves

_LEASED_MAX = LEASED_MAX


class Pool:
    """What the consumers of one stream may hold together; limit 0: no such limit."""

    __slots__ = ("consumers", "leased", "limit", "stream")

    stream: int
    limit: int
    leased: int
    consumers: list[Consumer]

    def __init__(self, stream: int) -> None:
        self.stream = stream
        self.limit = 0
        self.leased = 0
        self.consumers = []


class Consumer:
    """One subscriber. `limit` is the most records it may hold unsettled (0: LEASED_MAX).

    Its front has it from its owner, by `id`, and knows besides what `source`, a definition, it reads (None: replies). `reads` is the owner's alone: the
    live queue or topic.
    `active` is False once cancelled (its leases live on until settled). `burying` counts dead-letterings of its records under way.
    """

    __slots__ = (
        "active",
        "attachment",
        "auto_settle",
        "burying",
        "codec",
        "exclusive",
        "id",
        "leased",
        "limit",
        "owner",
        "pool",
        "priority",
        "reads",
        "source",
        "stream",
        "token",
    )

    id: int
    attachment: Attachment
    codec: int
    token: Any
    stream: int
    owner: Any  # an Owner (broker/owners.py)
    source: Any
    reads: Any
    pool: Pool
    limit: int
    auto_settle: bool
    exclusive: bool
    priority: int
    leased: int
    active: bool
    burying: int

    def room(self, slice_max: int) -> int:
        """How many records may be given to it now, at most `slice_max`."""
        if not self.attachment.writable or not self.active:
            return 0
        if self.auto_settle:
            return slice_max
        limit = self.limit or _LEASED_MAX
        if self.leased >= limit:
            return 0
        room = limit - self.leased
        pool = self.pool
        if pool.limit:
            if pool.leased >= pool.limit:
                return 0
            if pool.limit - pool.leased < room:
                room = pool.limit - pool.leased
        return min(slice_max, room)

    def gave(self, count: int) -> None:
        """It holds `count` more."""
        self.leased += count
        self.pool.leased += count

    def freed(self, count: int) -> None:
        """It holds `count` fewer."""
        assert self.leased >= count, (self.leased, count)
        self.leased -= count
        self.pool.leased -= count


def make_consumer(
    id_: int, attachment: Attachment, token: Any, reads: Any, pool: Pool, limit: int, auto_settle: bool, exclusive: bool, priority: int
) -> Consumer:
    """A consumer that is active and holds nothing."""
    consumer = Consumer.__new__(Consumer)
    consumer.id = id_
    consumer.attachment = attachment
    consumer.codec = attachment.codec
    consumer.token = token
    consumer.stream = pool.stream
    consumer.owner = None
    consumer.source = None
    consumer.reads = reads
    consumer.pool = pool
    consumer.limit = limit
    consumer.auto_settle = auto_settle
    consumer.exclusive = exclusive
    consumer.priority = priority
    consumer.leased = 0
    consumer.active = True
    consumer.burying = 0
    return consumer
