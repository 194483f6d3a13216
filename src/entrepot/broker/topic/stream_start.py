"""Which partitions of a topic a consumer reads, and where it begins: what clients say (RabbitMQ's `x-stream-offset`), and what it means."""

from __future__ import annotations

from typing import Any, TypeAlias

from entrepot.broker.catalogue.arguments import text_of, type_name
from entrepot.broker.catalogue.queue_arguments import parse_age_ms
from entrepot.model.errors import Reason, Refused

CONSUMER_PARTITIONS_MAX = 1000  # that one consumer reads: it has a place in each

FIRST = "first"  # the oldest record there is
LAST = "last"  # the beginning of the last entry
NEXT = "next"  # whatever comes from now on
TIME = "time"  # ("time", ms): the first entry with a record of that time or later

Start: TypeAlias = str | int | tuple[str, int]
"""FIRST, LAST, NEXT, an offset, or (TIME, milliseconds since 1970)."""


def parse_start(value: Any, now_ms: int) -> Start:
    """The start that an argument's value means: also an interval such as "1h" (so long ago), and None for NEXT.

    Raises Refused (INVALID) for anything else.
    """
    if value is None:
        return NEXT
    if value.__class__ is int:
        return max(int(value), 0)
    if isinstance(value, str):
        if value in (FIRST, LAST, NEXT):
            return value
        age_ms = parse_age_ms(value)
        if age_ms is not None:
            return TIME, max(now_ms - age_ms, 0)
    elif isinstance(value, tuple) and len(value) == 2 and value[0] == TIME:
        return TIME, int(value[1])
    shown = f"'{value}'" if isinstance(value, str) else f"of type {type_name(value)}"
    raise Refused(
        Reason.INVALID, f"invalid arg 'x-stream-offset' {shown}: first, last, next, an offset, a timestamp, or an interval such as 1h (units Y M D h m s)"
    )


def parse_partition(value: Any) -> int | None:
    """The partition that `x-stream-partition` means, None for all; Refused (INVALID) for what is no partition's number."""
    if value is None:
        return None
    if value.__class__ is not int or value < 0:
        raise Refused(Reason.INVALID, f"invalid arg 'x-stream-partition': a partition's number, counted from 0, is expected, not '{text_of(value)}'")
    return int(value)


def parse_places(name: str, partition_count: int, start_value: Any, partition_value: Any, now_ms: int) -> tuple[range, Start]:
    """Which partitions of a topic of so many a consumer reads, and from where on.

    Raises Refused (INVALID) for what means no start or no partition, for too many, and for an offset that would stand for several of them.
    """
    start = parse_start(start_value, now_ms)
    partition = parse_partition(partition_value)
    if partition is not None:
        if partition >= partition_count:
            raise Refused(Reason.INVALID, f"x-stream-partition {partition}: topic '{name}' has {partition_count} partitions, counted from 0")
        return range(partition, partition + 1), start
    if partition_count > CONSUMER_PARTITIONS_MAX:
        raise Refused(
            Reason.INVALID,
            f"topic '{name}' has {partition_count} partitions; a consumer of all reads at most {CONSUMER_PARTITIONS_MAX}: say which with x-stream-partition",
        )
    if partition_count > 1 and isinstance(start, int):
        raise Refused(Reason.INVALID, f"x-stream-offset {start} of topic '{name}', which has {partition_count} partitions: say which with x-stream-partition")
    return range(partition_count), start
