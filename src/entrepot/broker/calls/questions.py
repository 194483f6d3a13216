"""Questions: what a front asks an owner beside the port's own calls: of queues by the ids of their logs, in plain values, and answered by such.

Owner.ask(question, done) carries one out: done(why not, or None, answer), at once or later. Each of these could be a frame: `QUESTIONS` knows them by name.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

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
    """BrowsedPage: what of a queue can be taken now, from a place on (-1: from its head), at most `limit` records, as `codec` packs them. Nothing is taken."""

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
    )
}
