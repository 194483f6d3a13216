"""What can be set of a topic: the one table of Kafka's names, and what they amount to.

A definition keeps only what somebody has set, as text. A name that is not here is refused (UNKNOWN_KEY), and so is a value that would not have
the effect it has in Kafka (INVALID_VALUE); what a setting does not do here its documentation says.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from entrepot.broker.calls.topic_requests import CHANGES_MAX
from entrepot.broker.catalogue.definitions import TopicDefinition
from entrepot.model.errors import Reason, Refused

LONG_MAX = 0x7FFFFFFFFFFFFFFF
INT_MAX = 0x7FFFFFFF
COMPRESSIONS = ("uncompressed", "gzip", "snappy", "lz4", "zstd")  # by number, which is Kafka's
AS_PRODUCED = "producer"


class TopicDefaults(NamedTuple):
    """What the broker is told of topics that Kafka's clients make."""

    auto_create: bool = True
    partitions: int = 1
    retention_ms: int = 604_800_000  # a week, as Kafka; -1: for ever


class TopicPolicy(NamedTuple):
    """What a topic's configuration amounts to; None where there is no such limit."""

    max_age_ms: int | None = None
    max_bytes: int | None = None  # of each partition
    compression: int = -1  # of batches, in COMPRESSIONS; -1: as they come
    append_time: bool = False  # records carry the time of their append, not their producer's
    max_message_bytes: int = INT_MAX
    before_max_ms: int = LONG_MAX
    after_max_ms: int = LONG_MAX


_NUMBER = re.compile(r"-?[0-9]{1,20}")
_Check = Callable[[str], "str | None"]
"""Takes a value and says what is wrong with it, or None."""


def _number(low: int, high: int) -> _Check:
    def check(value: str) -> str | None:
        if _NUMBER.fullmatch(value) is None:
            return "is not a whole number"
        return None if low <= int(value) <= high else f"is not within {low} and {high}"

    return check


def _gzip_level(value: str) -> str | None:
    return None if value == "-1" else _number(1, 9)(value)


def _one_of(*allowed: str) -> _Check:
    def check(value: str) -> str | None:
        return None if value in allowed else f"is none of what is supported: {', '.join(allowed)}"

    return check


class Setting(NamedTuple):
    """One setting."""

    type: str  # as topic_requests.ConfigEntry has it
    default: str
    check: _Check
    documentation: str


SETTINGS: dict[str, Setting] = {
    "cleanup.policy": Setting(
        "list",
        "delete",
        _one_of("delete"),
        "What happens to old records: delete lets go of them by retention.ms and retention.bytes. Compaction is not supported.",
    ),
    "compression.gzip.level": Setting("int", "-1", _gzip_level, "Without effect: what is compressed anew has gzip's level 1."),
    "compression.lz4.level": Setting("int", "9", _number(1, 17), "Without effect: what is compressed anew has LZ4's level 1."),
    "compression.type": Setting(
        "string",
        AS_PRODUCED,
        _one_of(AS_PRODUCED, *COMPRESSIONS),
        "How batches are compressed: producer keeps them as they come; otherwise those that come in another way are compressed anew.",
    ),
    "compression.zstd.level": Setting("int", "3", _number(-131072, 22), "Without effect: what is compressed anew has zstd's level 3."),
    "delete.retention.ms": Setting("long", "86400000", _number(0, LONG_MAX), "Without effect: belongs to compaction."),
    "file.delete.delay.ms": Setting("long", "60000", _number(0, LONG_MAX), "Without effect: what is deleted is gone for readers at once."),
    "flush.messages": Setting("long", str(LONG_MAX), _number(1, LONG_MAX), "Without effect: durability.mode says when appends are synced, and why they are."),
    "flush.ms": Setting("long", str(LONG_MAX), _number(0, LONG_MAX), "Without effect: durability.mode says when appends are synced, and why they are."),
    "index.interval.bytes": Setting("int", "4096", _number(0, INT_MAX), "Without effect: the store indexes every entry."),
    "max.message.bytes": Setting("int", "1048588", _number(0, INT_MAX), "The largest batch that is taken, in bytes as it is kept (compressed, if it is)."),
    "message.timestamp.after.max.ms": Setting(
        "long",
        "3600000",
        _number(0, LONG_MAX),
        "How far a batch's greatest timestamp may be ahead of the broker's clock, where message.timestamp.type is CreateTime.",
    ),
    "message.timestamp.before.max.ms": Setting(
        "long",
        str(LONG_MAX),
        _number(0, LONG_MAX),
        "How far a batch's greatest timestamp may be behind the broker's clock, where message.timestamp.type is CreateTime.",
    ),
    "message.timestamp.type": Setting(
        "string", "CreateTime", _one_of("CreateTime", "LogAppendTime"), "Whether records keep their producer's timestamp or get that of their append."
    ),
    "min.insync.replicas": Setting("int", "1", _number(1, 1), "Only 1: this broker has no replicas, every acknowledged batch is synced to disk."),
    "preallocate": Setting("boolean", "false", _one_of("false", "true"), "Without effect: the store prepares its files by itself."),
    "retention.bytes": Setting("long", "-1", _number(-1, LONG_MAX), "Of each partition: what is over this many bytes goes, the oldest first; -1: no limit."),
    "retention.ms": Setting("long", "604800000", _number(-1, LONG_MAX), "Records older than this go, by the greatest timestamp of their batch; -1: no limit."),
    "segment.bytes": Setting("int", "1073741824", _number(1, INT_MAX), "Without effect: retention works on batches, not on files."),
    "segment.index.bytes": Setting("int", "10485760", _number(4, INT_MAX), "Without effect: retention works on batches, not on files."),
    "segment.jitter.ms": Setting("long", "0", _number(0, LONG_MAX), "Without effect: retention works on batches, not on files."),
    "segment.ms": Setting("long", "604800000", _number(1, LONG_MAX), "Without effect: retention works on batches, not on files."),
    "unclean.leader.election.enable": Setting("boolean", "false", _one_of("false"), "Only false: nothing that was acknowledged is ever given up."),
}


def check_value(key: str, value: str | None) -> str:
    """The value as it is kept. Refused UNKNOWN_KEY, INVALID_VALUE."""
    setting = setting_of(key)
    if value is None:
        raise Refused(Reason.INVALID_VALUE, f"{key} has no value: say one, or delete the setting")
    value = value.strip()
    wrong = setting.check(value)
    if wrong is not None:
        raise Refused(Reason.INVALID_VALUE, f"{key}: '{value}' {wrong}")
    return value


def setting_of(key: str) -> Setting:
    """The setting of that name. Refused UNKNOWN_KEY."""
    setting = SETTINGS.get(key)
    if setting is None:
        raise Refused(Reason.UNKNOWN_KEY, f"a topic has no setting '{key}'; there are {', '.join(SETTINGS)}")
    return setting


def changed(topic: TopicDefinition, defaults: TopicDefaults, changes: list[tuple[str, str, str | None]]) -> dict[str, str]:
    """The configuration after `changes` (operation, key, value; see topic_requests.AlterTopicConfig). Refused: nothing was changed."""
    if len(changes) > CHANGES_MAX:
        raise Refused(Reason.LIMIT, f"{len(changes)} changes at once; {CHANGES_MAX} are allowed")
    new = dict(topic.config)
    for operation, key, value in changes:
        if operation == "delete":
            new.pop(key, None)  # as Kafka: a name that is none is not set, and stays so
        elif value is None:
            raise Refused(Reason.INVALID, f"{key}: no value to {operation}")
        elif operation == "set":
            new[key] = check_value(key, value)
        elif operation in ("append", "subtract"):
            if setting_of(key).type != "list":
                raise Refused(Reason.INVALID_VALUE, f"{key} is no list: it can be set or deleted, not appended to or subtracted from")
            words = [word.strip() for word in value.split(",")]
            current = [word for word in new.get(key, default_of(key, topic, defaults)).split(",") if word and word not in words]
            new[key] = check_value(key, ",".join(current + words if operation == "append" else current))
        else:
            raise Refused(Reason.INVALID, f"'{operation}' is no change of a setting: set, delete, append and subtract are")
    return new


def default_of(key: str, topic: TopicDefinition, defaults: TopicDefaults) -> str:
    """What is in force where nobody has set it. A stream's own arguments count as that."""
    policy = topic.policy
    if key == "retention.ms":
        if policy.max_age_ms is not None:
            return str(policy.max_age_ms)
        return str(-1 if topic.is_stream else defaults.retention_ms)
    if key == "retention.bytes" and policy.max_length_bytes is not None:
        return str(policy.max_length_bytes)
    return SETTINGS[key].default


def policy_of(topic: TopicDefinition, defaults: TopicDefaults) -> TopicPolicy:
    """What a topic's configuration amounts to."""

    def number(key: str) -> int:
        return int(topic.config.get(key) or default_of(key, topic, defaults))

    age, size = number("retention.ms"), number("retention.bytes")
    return TopicPolicy(
        max_age_ms=age if age >= 0 else None,
        max_bytes=size if size >= 0 else None,
        compression=compression_of(topic),
        append_time=topic.config.get("message.timestamp.type") == "LogAppendTime",
        max_message_bytes=number("max.message.bytes"),
        before_max_ms=number("message.timestamp.before.max.ms"),
        after_max_ms=number("message.timestamp.after.max.ms"),
    )


def compression_of(topic: TopicDefinition) -> int:
    """The number of what its batches are compressed with; -1: as they come."""
    name = topic.config.get("compression.type", AS_PRODUCED)
    return -1 if name == AS_PRODUCED else COMPRESSIONS.index(name)
