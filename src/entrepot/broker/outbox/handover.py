"""Handover: what the owner of a source and the owner of a target say to each other. Each of these could be a frame: names, ids, numbers and bytes.

    source's owner                      target's owner
      intent durable
      Handover(sequence)          ->      appended and noted as taken, in one commit
                                  <-    Answer(sequence, status), when that is durable
      settled, intent dropped

Sequences are per (source shard, target shard), from 1, each one more than the last. At most UNDER_WAY_MAX of them are sent and not yet let go of by
the source, which is so long as the target remembers its answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

UNDER_WAY_MAX = 8  # handovers of one source shard to one target shard

LETTER = 1  # kinds: a dead letter of AMQP's, for all that its route led to
REDRIVE = 2  # to the dead-letter queue of a queue with timed leases
MOVE = 3  # by a task
SUBJECT = 4  # of a topic's partition, which stay there: to what its subject leads to
CARRIED = 5  # of no log: the intent itself has them, and they go as LETTER does

TAKEN = 1  # statuses: it is there
GONE = 2  # none of its targets is there any more, and will not be
NOT_NOW = 3  # nothing was done: send it again, later
OUT_OF_TURN = 4  # nothing was done: another comes before it

Target: TypeAlias = tuple[int, bytes]  # the shard, and the id of the log there


@dataclass(frozen=True, slots=True)
class Handover:
    """Some records for some logs of one target shard. `first_waited` is the sequence of the first that the source has not let go of.

    `carried`: of each record that is redriven, when it was first received, and how often. `hidden`: see EntryCodec.hiding_prefix.
    """

    source: int  # shards
    target: int
    sequence: int
    first_waited: int
    kind: int
    logs: tuple[bytes, ...]
    address: bytes
    hidden: bytes
    tag: int
    version: int
    flags: int
    data: bytes
    count: int
    carried: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """To a Handover: TAKEN and GONE are durable, and the same however often it is asked."""

    source: int
    target: int
    sequence: int
    status: int


class Owners(Protocol):
    """Who owns the targets, as a source's owner sees them."""

    def is_open(self, shard: int) -> bool:
        """Whether something may be handed over there now. Outbox.opened() is told when it may again."""

    def hand_over(self, handover: Handover) -> None:
        """Send it; Outbox.answered() is told the answer, later."""
