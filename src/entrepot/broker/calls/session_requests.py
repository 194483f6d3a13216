"""What a session may ask about sessions that outlive its connection: requests of a port.Ask, each with what its result is.

A session is of the attachment's namespace, has a name, and is attached to at most one connection at a time: who opens it takes it over. One that is kept
has a durable queue of that name, which is there as long as the session; its records, what it is bound to and what it has leased are the queue's affair. Of
one that is not, only who is attached is known, and its will. Beside its queue a session remembers numbers below 65,536, in two sets:

    incoming   of what its client has published, and not released yet: so that what is sent again is not published again
    released   of what was delivered to its client, settled, and is not completed yet: so that its number is not given away meanwhile

Each changes in the commit of what it goes with. Numbers are given as runs, (first, count) each.

Refused, besides the general reasons: TAKEN_OVER, somebody else has opened the session since, or it was never opened or is closed: what was asked was not done.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from msgspec import Struct, field

from entrepot.broker.calls.port import Publish, Settle

FOREVER_S = 0xFFFFFFFF
"""An expiry: the session never ends by itself."""

NUMBER_MAX = 0xFFFF

Runs: TypeAlias = list[tuple[int, int]]
"""Numbers: (first, count) each."""


class Will(Struct):
    """What is published when a session's connection ends otherwise than by CloseSession: `delay_s` later, or when the session ends, if that is sooner; not at
    all, if the session is opened again before. One record, with the fields of a port.Publish.

    Published as the principal that opened the session was allowed to when it did. That of a session that is not kept goes with the process that has it.
    """

    address: bytes
    codec: int
    codec_version: int
    flags: int
    data: bytes
    body_bytes: int
    delay_s: int = 0
    retained: bool = False


class Opened(Struct):
    """`number`: the session's, for the other requests; as the numbers of consumers it is never used again. `present`: it was there before, with its queue,
    its bindings and what it remembers. `queue`: the name of its queue; "": it is not kept, and has none.
    """

    number: int
    present: bool
    queue: str
    generation: int
    incoming: Runs
    released: Runs


class OpenSession(Struct):
    """Attach to a session, made if it is not there. result: Opened.

    Whoever was attached to it has lost it: its sink is told (Sink.taken_over); its consumers of the queue have ended, of which nothing is said besides, and
    what they held is ready again, in its place; its will is published, unless that is delayed and the session goes on. `clean`: what there was of the session
    is dropped, its queue with all bindings too. It is kept if `expiry_s` is not 0, or it is there already and not `clean`.

    The session lasts as long as its connection, and `expiry_s` longer. The connection's end is as good as a CloseSession that keeps the will.
    `arguments`: of its queue, if it is made now (KEPT among them). One whose queue is bound to an exchange that may not be read any more is not gone on with:
    it is opened as if `clean`. Another user's connection loses it to who may configure its queue alone, kept or not.
    Refused: TAKEN_OVER (amid opening), NOT_PERMITTED (to configure the queue, where it is kept, or one of its name is there, or it is another user's; to
    publish the will), LIMIT,
    INVALID (a name that cannot be a queue's), EXISTS_DIFFERENT (a queue of that name is not durable).
    """

    name: str
    clean: bool = False
    expiry_s: int = 0
    will: Will | None = None
    arguments: dict[str, Any] = field(default_factory=dict)


class CloseSession(Struct):
    """The connection leaves the session. result: None, when it is durable (nobody need wait for it; TAKEN_OVER is no harm).

    `expiry_s`: as that from now on; -1: as it was. `drop_will`: it is not published. Consumers of the queue end with it, as by CloseStream.
    """

    number: int
    expiry_s: int = -1
    drop_will: bool = True


class PublishOnce(Struct):
    """Publishes, and the numbers of their records, remembered as incoming in the same commit. result: numbers of records that were nacked (Runs), and so are
    not remembered: their publisher may send them again.

    `numbers` has one for each record of `publishes`, in order. The Publishes do not complete one by one: with this their `unroutable`, `returned` and `nacked`
    say what they always say; whether they are mandatory makes no difference. Queues of owners elsewhere nack nothing that is heard of. Refused or Unavailable:
    nothing was done, as a Publish among them would be refused. Of a session that is not kept nothing is remembered.
    """

    number: int
    publishes: list[Publish]
    numbers: Runs


class ReleaseIncoming(Struct):
    """Numbers that its client has released: they are incoming no more. result: None, when that is durable."""

    number: int
    numbers: Runs


class ReleaseOutgoing(Struct):
    """End leases (as the Settles say), and remember numbers as released, in one commit. result: None, when that is durable.

    Offsets that are not leased are passed over; all consumers are the session's, of queues that are durable or not.
    """

    number: int
    settlements: list[Settle]
    numbers: Runs


class CompleteOutgoing(Struct):
    """Numbers that its client has completed: they are released no more. result: None, when that is durable; nobody need wait."""

    number: int
    numbers: Runs


Request: TypeAlias = OpenSession | CloseSession | PublishOnce | ReleaseIncoming | ReleaseOutgoing | CompleteOutgoing
