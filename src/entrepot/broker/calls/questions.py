"""Questions: what a front asks an owner beside the port's own calls: of queues by the ids of their logs, in plain values, and answered by such.

Owner.ask(question, done) carries one out: done(why not, or None, answer), at once or later. Each of these could be a frame: `QUESTIONS` knows them by name.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

from msgspec import Struct

QueueFigures: TypeAlias = tuple[int, int, int, int, int, int]
"""Of a queue: records that can be taken now, leased, delayed; ready with what is not durable yet; consumers; bytes. All approximate."""

PartitionFigures: TypeAlias = tuple[int, int, int, int]
"""Of a partition: first offset, durable end, bytes, and the consumers of its topic."""

BrowsedSlice: TypeAlias = tuple[int, int, int, bytes]
"""Records, packed, without an entry's prefix: the version of their codec, how often each was delivered before, how many, and they."""

BrowsedPage: TypeAlias = tuple[list[BrowsedSlice], int, int]
"""Slices in order, the place where it goes on (-1: nowhere), and how many records are ready in all."""

Load: TypeAlias = tuple[bytes, int, int]
"""What a transaction brings to a queue that refuses what is over its limits: the id of its log, records, bytes of their bodies."""


class AskQueues(NamedTuple):
    """list[QueueFigures | None], a log each: None where no queue over it is open there."""

    log_ids: list[bytes]


class AskPartitions(NamedTuple):
    """list[PartitionFigures | None], a log each: None where no partition over it is open there."""

    log_ids: list[bytes]


class PurgeTimed(NamedTuple):
    """None, when all that a queue holds, leased or not, is gone durably. Refused IN_USE: that was done less than a minute ago."""

    log_id: bytes


class StartMove(NamedTuple):
    """The fields of the MoveTask, when it is durable. Refused IN_USE: one runs there."""

    log_id: bytes
    destination: str
    per_second_max: int


class FindMove(NamedTuple):
    """The id of the log of the queue that a task of this id moves from; None: no such task runs there."""

    task_id: bytes


class BrowseQueue(NamedTuple):
    """BrowsedPage: what of a queue can be taken now, from a place on (-1: from its head), at most `limit` records (0: the place alone), as `codec` packs them.

    Nothing is taken.
    """

    log_id: bytes
    place: int
    limit: int
    codec: int


class FindReplies(NamedTuple):
    """bool: whether somebody in that process waits for what is sent to a name of replies."""

    namespace: str
    name: bytes


class CancelMove(NamedTuple):
    """The fields of the MoveTask, when its end is durable. Refused NOT_FOUND: it runs no more."""

    log_id: bytes
    task_id: bytes


class ListMoves(NamedTuple):
    """The fields of each MoveTask of a queue, newest first, `limit` at most."""

    log_id: bytes
    limit: int


class Seal(NamedTuple):
    """(ready records, consumers) of a queue, or of the partitions of a stream that an owner has; nothing comes to it, and nobody reads it, from then on.

    Refused IN_USE, NOT_EMPTY, as asked for: nothing is sealed. Whoever sealed it says Unseal, unless the catalogue has removed it. What somebody else has
    sealed is waited for.
    """

    log_ids: list[bytes]
    if_unused: bool
    if_empty: bool


class Unseal(NamedTuple):
    """None: what was sealed goes on."""

    log_ids: list[bytes]


class CheckTogether(NamedTuple):
    """None: Owner.together() would not refuse this now. `loads` as it has them; `publishes`: whether anything is published at all."""

    loads: list[Load]
    publishes: bool


# ---- sessions that outlive connections (calls/session_requests.py)

WillFields: TypeAlias = tuple[bytes, int, int, int, bytes, int, int, bool]
"""Those of a session_requests.Will, in order."""

SessionAttached: TypeAlias = tuple[int, int, list[tuple[int, int]], list[tuple[int, int]]]
"""Of a session: its generation, one of the three below, and, as runs of numbers, what is incoming and what is released."""

NEW = 0
PRESENT = 1
CHANGE_CATALOGUE = 2  # its queue is to be removed, if there is one, and made, if it is to be kept; then it is asked again, with this generation


class AttachSession(NamedTuple):
    """SessionAttached: who asks has it, and whoever had it has not, from then on. `front`: the start of the process of its connection.

    `user`: whose connection it is; `takes_any`: it may take it from another user, else Refused NOT_PERMITTED.
    `log_id`: of its queue; b"": there is none. `generation`: of the answer CHANGE_CATALOGUE, else 0; who asks for the session meanwhile waits.
    Refused TAKEN_OVER: that generation is over. Unavailable: its queue is another by now.
    """

    front: bytes
    namespace: str
    name: str
    log_id: bytes
    clean: bool
    expiry_s: int
    will: WillFields | None
    generation: int
    user: str
    takes_any: bool


class HoldSession(NamedTuple):
    """None, when its front has lost it. Asked of an owner that has it from another, or from a start before, it claims it. `will`: of one without a queue."""

    front: bytes
    namespace: str
    name: str
    log_id: bytes
    generation: int
    will: WillFields | None
    user: str


class DetachSession(NamedTuple):
    """None, when it is durable that its connection has ended. `expiry_s` -1: as it was. Refused TAKEN_OVER."""

    namespace: str
    name: str
    generation: int
    expiry_s: int
    drop_will: bool


Place: TypeAlias = tuple[bytes, str, int]
"""Of a log: its id, and the name of the queue or topic (-1) that has it, or which partition of the topic it is."""


class Onward(Struct):
    """Records of a publish that go to logs of other owners: with the fields of a port.Publish, and `hidden` as of an owners.Run."""

    places: list[Place]
    address: bytes
    hidden: bytes
    codec: int
    codec_version: int
    flags: int
    data: bytes
    count: int


class Note(NamedTuple):
    """What a session of this generation, with this queue, remembers in the same commit: numbers that are `released`, or else incoming.

    `by_stage`: of each stage the numbers of its records, of which those are left out that are nacked. `onward`: what goes to other owners, once, when it is
    durable here. Refused TAKEN_OVER. Unavailable: there is no room for what is to go on.
    """

    log_id: bytes
    generation: int
    released: bool
    by_stage: list[list[tuple[int, int]]]
    adds: list[tuple[int, int]]
    removes: list[tuple[int, int]]
    onward: list[Onward]


# ---- last values (calls/retained_requests.py)

LastValuesPage: TypeAlias = tuple[list[tuple[bytes, int, bytes]], bytes | None]
"""Routing key, flags of an entry, and packed record of each; the `after` of the next page, None: that was all."""


class ReadLastValues(NamedTuple):
    """LastValuesPage: of a queue that keeps last values those of an exchange whose routing keys a pattern matches, behind `after`, marked as copies.

    See CopyRetained of calls/retained_requests.py. Exchange, pattern and keys are octets.
    """

    log_id: bytes
    exchange: bytes
    pattern: bytes
    after: bytes
    limit: int
    codec: int
    identifier: int


class NoteCopy(NamedTuple):
    """None, when it is durable: behind `after` something is still to be copied into a queue of what a pattern matches; `after` None: nothing is."""

    log_id: bytes
    exchange: bytes
    pattern: bytes
    identifier: int
    after: bytes | None


class AskCopies(NamedTuple):
    """list[tuple[bytes, bytes, int, bytes]]: exchange, pattern, identifier and `after` of each that is noted of a queue, COPIES_LISTED_MAX at most."""

    log_id: bytes


COPIES_LISTED_MAX = 10_000

QUESTIONS: dict[str, type[Any]] = {
    one.__name__: one
    for one in (
        AskQueues,
        AskPartitions,
        BrowseQueue,
        PurgeTimed,
        StartMove,
        FindMove,
        FindReplies,
        CancelMove,
        ListMoves,
        Seal,
        Unseal,
        CheckTogether,
        AttachSession,
        HoldSession,
        DetachSession,
        ReadLastValues,
        NoteCopy,
        AskCopies,
    )
}
