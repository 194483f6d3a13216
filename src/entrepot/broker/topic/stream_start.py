"""Where a reader of a topic begins: what clients say (RabbitMQ's `x-stream-offset`), and what it means."""

from __future__ import annotations

from typing import Any, TypeAlias

from entrepot.broker.catalogue.arguments import text_of, type_name
from entrepot.broker.catalogue.queue_arguments import parse_age_ms
from entrepot.model.errors import Reason, Refused

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
