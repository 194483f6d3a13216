"""What a session may ask about queues whose leases are timed (SQS): requests of a port.Ask, each with what its result is.

Names are of the attachment's namespace. A queue that another protocol declared is one of these too, with the defaults. Refusals come as the call's error;
each request has `policy_version` and `granted`, see lease_calls.
"""

from __future__ import annotations

from dataclasses import dataclass

from msgspec import Struct


@dataclass(frozen=True, slots=True)
class TimedPolicy:
    """What a queue does with timed leases. Kept with its definition.

    `dead_letter_queue`: a record delivered `receive_max` times goes there instead of being delivered again; it keeps its message id and its age.
    `sources_allowed`: None: any queue of the namespace may name this one as its dead-letter queue; else those named (none: nobody may).
    `groups` orders records within their groups and leases nothing of a group while one of it is leased (FIFO); `deduplicate_content` uses content ids;
    `deduplication_by_group` and `limit_by_group` are SQS's scopes.
    """

    visibility_ms: int = 30_000
    delay_ms: int = 0
    wait_ms: int = 0
    retention_ms: int = 345_600_000
    record_max_bytes: int = 1_048_576
    dead_letter_queue: str | None = None
    receive_max: int = 0  # 0: no limit
    sources_allowed: tuple[str, ...] | None = None
    groups: bool = False
    deduplicate_content: bool = False
    deduplication_by_group: bool = False
    limit_by_group: bool = False


@dataclass(frozen=True, slots=True)
class QueueDescription:
    """What there is to know of a queue. `attributes` and `tags` are as the protocol set them, opaque to the broker. Times in seconds since 1970.

    `visible` can be received now, `leased` are in flight, `delayed` wait for their time; all approximate as far as commits under way go.
    """

    name: str
    queue_id: bytes
    policy: TimedPolicy
    attributes: dict[str, str]
    tags: dict[str, str]
    created_s: int
    modified_s: int
    visible: int = 0
    leased: int = 0
    delayed: int = 0
    policy_version: int = 0  # grows with every change of it; 0: there never was one
    access_policy: str = ""  # the queue's own policy for principals; "": none


class Checked(Struct, kw_only=True):
    """What every request here says; see lease_calls."""

    policy_version: int = 0
    granted: bool = False


class CreateTimedQueue(Checked):
    """Make a queue, or find the one there is if it has the same policy and access policy (attributes that are not given are not compared).

    result: (QueueDescription, created). Refused: EXISTS_DIFFERENT, NOT_PERMITTED, LIMIT, NOT_FOUND (its dead-letter queue), INVALID (that
    one's kind does not fit, or does not allow it).
    """

    name: str
    policy: TimedPolicy
    given: frozenset[str]  # fields of `policy` that were asked for: only they are compared
    attributes: dict[str, str]
    tags: dict[str, str]
    access_policy: str = ""


class DescribeQueue(Checked):
    """result: QueueDescription. NOT_FOUND."""

    name: str
    counts: bool = True


class SetQueuePolicy(Checked):
    """Change a queue: durable when it completes. None: leave as it is. `attributes` and `tags` replace what there is. result: QueueDescription."""

    name: str
    policy: TimedPolicy | None = None
    attributes: dict[str, str] | None = None
    tags: dict[str, str] | None = None
    access_policy: str | None = None
    expected: TimedPolicy | None = None  # refused (EXISTS_DIFFERENT) if the policy is another by now: describe and try again


class ListQueues(Checked):
    """Names of the queues that the principal may see, ascending, behind `after`, at most `limit`. result: (names, whether there are more)."""

    prefix: str = ""
    after: str = ""
    limit: int = 1000


class ListSources(Checked):
    """Names of the queues whose dead-letter queue this one is, ascending, behind `after`. result: (names, whether there are more). NOT_FOUND."""

    name: str
    after: str = ""
    limit: int = 1000


class DeleteTimedQueue(Checked):
    """Remove a queue and its records, whatever they do. result: None. NOT_FOUND."""

    name: str


class PurgeTimedQueue(Checked):
    """Drop every record, leased and delayed ones too. result: None. NOT_FOUND; IN_USE within a minute of the last purge."""

    name: str


@dataclass(frozen=True, slots=True)
class MoveTask:
    """A task that moves what lies in a dead-letter queue. `task_id` is 16 bytes; `destination` "": each record goes back to where it was dead-lettered from."""

    task_id: bytes
    source: str
    destination: str
    status: str  # RUNNING, COMPLETED, CANCELLING, CANCELLED, FAILED
    per_second_max: int  # 0: as many as can be
    moved: int
    to_move: int  # approximate, as counted at the start
    started_ms: int
    failure: str = ""


class StartMove(Checked):
    """Start moving. result: MoveTask. NOT_FOUND (source or destination); INVALID (source is nobody's dead-letter queue); IN_USE (one runs already)."""

    source: str
    destination: str = ""
    per_second_max: int = 0


class CancelMove(Checked):
    """Stop a task; what was moved stays moved. result: MoveTask. NOT_FOUND (it does not run)."""

    task_id: bytes


class ListMoves(Checked):
    """The latest tasks of a source, newest first. result: list of MoveTask. NOT_FOUND."""

    source: str
    limit: int = 1
