"""What a session may ask about topics, partitions and producers: requests of a port.Ask, each with what its result is.

Names are of the attachment's namespace. Refusals come as the call's error. Configuration is by Kafka's names, values as text.
"""

from __future__ import annotations

from msgspec import Struct, field

INTERNAL_TOPICS = frozenset({"__consumer_offsets", "__transaction_state", "__share_group_state", "__cluster_metadata"})
"""Where Kafka keeps what is elsewhere here. Clients that look for them must not find empty ones: they are never made, by asking for them or otherwise."""

CHANGES_MAX = 200
"""Settings of a topic that are changed, or set when it is made, in one request."""


class TopicDescription(Struct):
    """What a client may know of a topic. `id` is 16 bytes, never reused; `epoch` grows with every change of its partitions' owner.

    `sizes`: bytes of each partition's records as they are stored, where they are asked for; None for a partition that is not open here.
    """

    name: str
    id: bytes
    partition_count: int
    epoch: int
    internal: bool = False
    sizes: list[int | None] | None = None


class DescribeTopics(Struct):
    """Topics by name, by id, or (both None) all that the principal may see.

    result: list of TopicDescription | Refused, one for each that was asked for, in order, names first; of all, an iterator of TopicDescription, which looks
    at each topic when its turn comes: there may be very many. `create_missing`: a name that is not there is made with the broker's defaults, if that is set
    to be done and the principal may.
    """

    names: list[str] | None = None
    ids: list[bytes] | None = None
    create_missing: bool = False
    sizes: bool = False


class AllowedActions(Struct):
    """What the principal may do, by name of a topic or a group; with None for a name, whether there is any name with which it may.

    result: a set of "configure", "write" and "read" for each, in order.
    """

    names: list[str | None]


class CreateTopic(Struct):
    """Make a topic. `partitions` -1: the broker's default. result: TopicDescription. `check_only`: refuse what would be refused, make nothing.

    Refused: EXISTS_DIFFERENT (it exists, whatever it is like), INVALID (name, number of partitions), UNKNOWN_KEY, INVALID_VALUE (of a
    setting), NOT_PERMITTED, LIMIT.
    """

    name: str
    partitions: int = -1
    config: dict[str, str | None] = field(default_factory=dict)
    check_only: bool = False


class DeleteTopic(Struct):
    """Remove a topic and its records; by name, or by id where name is empty. result: TopicDescription of what was."""

    name: str
    id: bytes = b""


class CreatePartitions(Struct):
    """Have `count` partitions in all, more than now. result: TopicDescription."""

    name: str
    count: int
    check_only: bool = False


class ConfigEntry(Struct):
    """One setting of a topic, as it is in force. `is_default`: nobody has set it."""

    name: str
    value: str
    is_default: bool
    type: str  # boolean, string, int, long, double, list
    documentation: str
    default: str


class DescribeTopicConfig(Struct):
    """result: list of ConfigEntry, all keys or those of `keys`."""

    name: str
    keys: list[str] | None = None


class AlterTopicConfig(Struct):
    """Change settings: `changes` is (operation, key, value) with operation "set", "delete", "append" or "subtract". result: None."""

    name: str
    changes: list[tuple[str, str, str | None]]
    check_only: bool = False


class TrimPartition(Struct):
    """Delete records below `offset` (-1: all that are durable). result: the first offset there is now. Refused: OUT_OF_RANGE."""

    name: str
    partition: int
    offset: int


class FindOffset(Struct):
    """An offset by time, or by name: `time_ms` of the earliest record at or after it, or "first", "end" (durable, or with `committed` stable),
    "max_time" (the record with the greatest timestamp).

    result: (offset, time in ms or -1, epoch or -1); offset -1: none.
    """

    name: str
    partition: int
    where: int | str
    committed: bool = False
    leader_epoch: int = -1  # the owner's that the client knows; -1: not said. Refused ENDED_EPOCH, UNKNOWN_EPOCH


class EpochEnd(Struct):
    """The end of what was written in owner's epoch `epoch` or before. result: (epoch, end offset), (-1, -1) if not known."""

    name: str
    partition: int
    epoch: int
    leader_epoch: int = -1  # as FindOffset has it


class NewProducer(Struct):
    """A producer id never given before. result: (producer id, epoch 0). With `producer_id` and `epoch` of an idempotent producer that
    wants to go on with clean numbers: the same id with the next epoch."""

    producer_id: int = -1
    epoch: int = -1
