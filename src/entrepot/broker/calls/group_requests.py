"""What a session may ask about consumer groups: requests of a port.Ask, each with what its result is.

Groups are of the attachment's namespace. A member is known by the id it was given and may speak through any attachment. Refusals come
as the call's error, with these reasons besides the general ones:

    UNKNOWN_MEMBER                 not (any more) a member: join as a new one
    STALE_MEMBER                   its generation is over
    FENCED_MEMBER                  its epoch is over: give up all partitions and join with epoch 0 (of ConsumerHeartbeat)
    STALE_EPOCH                    not the epoch it has now: it will learn that by its next ConsumerHeartbeat (of offsets)
    MEMBER_ID_REQUIRED             come back with the id that is the call's result
    REBALANCING                    join again
    FENCED_INSTANCE                another member took over this instance id; UNRELEASED_INSTANCE: another member still has it
    INCONSISTENT_GROUP             another kind of group, or no protocol in common
    UNSUPPORTED_ASSIGNOR           no assignor of that name
    INVALID_SESSION_TIMEOUT        out of the bounds that are set
    INVALID_PATTERN                not a regular expression that is supported
    INVALID_GROUP                  not a name for a group: too long; or empty, where that has members (offsets of the group "" can be kept)
    LIMIT                          the group has as many members as it may, or there are as many groups as there may be
"""

from __future__ import annotations

from msgspec import Struct, field

# ---- groups whose members agree among themselves (JoinGroup and SyncGroup): generations


class JoinGroup(Struct):
    """Come in, or stay for the next generation. Answered when the generation is complete.

    `protocols` are (name, metadata) in order of preference. result: JoinResult.
    """

    group: str
    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    session_timeout_ms: int
    rebalance_timeout_ms: int
    protocol_type: str
    protocols: list[tuple[str, bytes]]
    require_known_member_id: bool = False
    can_skip_assignment: bool = False  # a static leader that comes back may be told not to assign (JoinGroup from version 9)
    reason: str | None = None


class JoinResult(Struct):
    """A generation. `members` (member id, instance id, metadata) are for the leader alone, who assigns unless `skip_assignment`."""

    generation: int
    protocol_type: str
    protocol: str
    leader: str
    member_id: str
    members: list[tuple[str, str | None, bytes]]
    skip_assignment: bool = False


class SyncGroup(Struct):
    """The leader hands in assignments (member id -> bytes), everyone gets his. result: (protocol type, protocol, assignment)."""

    group: str
    generation: int
    member_id: str
    instance_id: str | None
    protocol_type: str | None
    protocol: str | None
    assignments: dict[str, bytes]


class Heartbeat(Struct):
    """Still there. result: None; REBALANCING: join again."""

    group: str
    generation: int
    member_id: str
    instance_id: str | None


class LeaveGroup(Struct):
    """Members go: (member id, instance id, reason). result: list of None | Refused, one each."""

    group: str
    members: list[tuple[str, str | None, str | None]]


# ---- groups whose coordinator assigns (KIP-848): member epochs


class ConsumerHeartbeat(Struct):
    """Come in (epoch 0), go on, or go (epoch -1, or -2 for a static member that will be back). None: as before.

    `owned` are the partitions it has, by topic id; result: ConsumerHeartbeatResult.
    """

    group: str
    member_id: str
    member_epoch: int
    instance_id: str | None
    rack_id: str | None
    rebalance_timeout_ms: int
    client_id: str
    client_host: str
    subscribed_names: list[str] | None
    subscribed_regex: str | None
    assignor: str | None
    owned: dict[bytes, list[int]] | None


class ConsumerHeartbeatResult(Struct):
    """`assignment` by topic id, None when it has not changed."""

    member_id: str
    member_epoch: int
    heartbeat_interval_ms: int
    assignment: dict[bytes, list[int]] | None


# ---- offsets


class CommittedOffset(Struct):
    """What a group has committed for a partition; offset -1: nothing."""

    offset: int
    leader_epoch: int = -1
    metadata: str = ""
    time_ms: int = 0  # when, since 1970; set by the broker


class CommitOffsets(Struct):
    """Remember offsets, durably. `generation` (or member epoch) -1: from outside, whatever the member id; allowed while the group has no members, and makes
    it if it is not there. Refused NOT_FOUND: no group, for a generation.

    `offsets`: (topic, partition) -> CommittedOffset, which the caller gives up. result: dict (topic, partition) -> Refused, of those that were refused:
    NOT_FOUND, NOT_PERMITTED (the topic), TOO_LARGE (metadata).
    """

    group: str
    generation: int
    member_id: str
    instance_id: str | None
    offsets: dict[tuple[str, int], CommittedOffset] = field(default_factory=dict)


class FetchOffsets(Struct):
    """What was committed: of `partitions`, or of all that may be read. result: dict (topic, partition) -> CommittedOffset (not to be changed) |
    Refused (NOT_PERMITTED, of those that were asked for).

    `member_id` and `member_epoch`, where given, are checked.
    """

    group: str
    partitions: list[tuple[str, int]] | None
    member_id: str | None = None
    member_epoch: int = -1


class DeleteOffsets(Struct):
    """Forget what was committed. result: dict (topic, partition) -> None | Refused (IN_USE: the group reads that topic)."""

    group: str
    partitions: list[tuple[str, int]]


# ---- looking at groups


class ListGroups(Struct):
    """result: list of (group, protocol type, state, kind "classic" or "consumer"), those with a state and kind of the given ones, if any."""

    states: list[str] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)


class MemberDescription(Struct):
    """A member. Classic groups: metadata and assignment are the members' own bytes; consumer groups: the rest."""

    member_id: str
    instance_id: str | None
    client_id: str
    client_host: str
    metadata: bytes = b""
    assignment: bytes = b""
    member_epoch: int = -1
    rack_id: str | None = None
    subscribed_names: list[str] = field(default_factory=list)
    subscribed_regex: str | None = None
    assigned: dict[bytes, list[int]] = field(default_factory=dict)
    target: dict[bytes, list[int]] = field(default_factory=dict)
    is_classic: bool = False


class GroupDescription(Struct):
    """A group. `state` in Kafka's words."""

    group: str
    kind: str
    state: str
    protocol_type: str
    protocol: str
    members: list[MemberDescription]
    epoch: int = -1
    assignment_epoch: int = -1
    assignor: str = ""


class DescribeGroup(Struct):
    """result: GroupDescription. Refused: NOT_FOUND."""

    group: str


class DeleteGroup(Struct):
    """Forget a group and its offsets. result: None. Refused: NOT_FOUND, NOT_EMPTY."""

    group: str
