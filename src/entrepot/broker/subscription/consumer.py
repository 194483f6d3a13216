"""Consumer: one subscriber of one queue or topic, with its credit. Pool: what the consumers of a stream that one owner serves hold together.

Both are numbers that a front and one owner go by. An owner gives as their limits say. Where a limit spans owners none of them can know what is left of it:
then the consumer is `lent` its credit by its front (front/lending.py), and has that and nothing more; what it holds, settled or not, gives it none.
"""

from __future__ import annotations

from typing import Any

from entrepot.broker.calls.port import Attachment

LEASED_MAX = 16_777_216  # records that one consumer without a limit of its own may hold; leases are runs, so this costs little
BROKER_ID = 0  # the id under which the broker itself holds records that it expires, dead-letters or moves

_LEASED_MAX = LEASED_MAX


class Pool:
    """What the consumers of one stream at one owner may hold together; limit 0: no such limit, or none that this owner can know.

    `credit`: what they are lent and have not spent. The front's alone: `owner`, whose it is; `consumers` of the stream, at whatever owner, that are active;
    `lent`: something is lent out to some of them, so it looks again when something is settled.
    """

    __slots__ = ("consumers", "credit", "leased", "lent", "limit", "owner", "stream")

    stream: int
    limit: int
    leased: int
    credit: int
    lent: bool
    owner: Any
    consumers: Any  # a list

    def __init__(self, stream: int, owner: Any = None, consumers: list[Consumer] | None = None) -> None:
        self.stream = stream
        self.limit = 0
        self.leased = 0
        self.credit = 0
        self.lent = False
        self.owner = owner
        self.consumers = consumers


class Consumer:
    """One subscriber. `limit` is the most records it may hold unsettled (0: LEASED_MAX).

    Its front has it from its owner, by `id`, and knows besides what `source`, a definition, it reads (None: replies). `reads` is the owner's alone: the
    live queue or topic.
    `active` is False once cancelled (its leases live on until settled). `burying` counts dead-letterings of its records under way.
    `lent`: it may be given its `credit`, whatever its limits; `asked`: it had none when there was something for it, and its front knows.
    `counts`: it is one of those who read; not where it is part of a consumer that counts elsewhere.
    """

    __slots__ = (
        "active",
        "asked",
        "attachment",
        "auto_settle",
        "burying",
        "codec",
        "counts",
        "credit",
        "exclusive",
        "id",
        "leased",
        "lent",
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
    lent: bool
    asked: bool
    credit: int
    counts: bool

    def room(self, slice_max: int) -> int:
        """How many records may be given to it now, at most `slice_max`. For who has something for it: where it has no credit, it asks for some."""
        if not self.attachment.writable or not self.active:
            return 0
        if self.auto_settle:
            return slice_max
        if self.lent:
            if self.credit == 0 and not self.asked:
                self.asked = True
                door: Any = self.attachment
                door.wants(self)
            return min(slice_max, self.credit)
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
        if self.lent:
            self.returned(count)

    def freed(self, count: int) -> None:
        """It holds `count` fewer."""
        assert self.leased >= count, (self.leased, count)
        self.leased -= count
        self.pool.leased -= count

    def borrowed(self, count: int) -> None:
        """It is lent `count` more."""
        self.asked = False
        self.credit += count
        self.pool.credit += count

    def returned(self, count: int) -> None:
        """So much of its credit is spent, or taken back."""
        assert self.credit >= count, (self.credit, count)
        self.credit -= count
        self.pool.credit -= count


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
    consumer.lent = False
    consumer.asked = False
    consumer.credit = 0
    consumer.counts = True
    return consumer
