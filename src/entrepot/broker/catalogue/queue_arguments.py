"""What the arguments of a queue or stream may be, and the policy they amount to.

The table below is the one place that knows them: name, what is accepted, for which queue types. Unknown names are kept and ignored, as
RabbitMQ does. Errors are Refused (INVALID) in RabbitMQ's words.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from entrepot.broker.catalogue.arguments import Arguments, describe, same_value, text_of, type_name
from entrepot.model.errors import Reason, Refused

CLASSIC = "classic"
QUORUM = "quorum"
STREAM = "stream"
QUEUE_TYPES = (CLASSIC, QUORUM, STREAM)

DROP_HEAD = "drop-head"
REJECT_PUBLISH = "reject-publish"
REJECT_PUBLISH_DLX = "reject-publish-dlx"
OVERFLOWS = (DROP_HEAD, REJECT_PUBLISH, REJECT_PUBLISH_DLX)

EXPIRES_MAX_MS = 315_360_000_000  # ten years, as RabbitMQ
PRIORITY_MAX = 255
SEGMENT_SIZE_MAX_BYTES = 3_000_000_000
LAST_VALUE = "x-last-value"  # of each address the last record is kept, and nobody consumes; of the broker's own queues alone
KEPT = "x-kept-bytes"  # kept for somebody who may be away: the oldest go when more wait than x-max-length, or so many octets of the log; kept_drops.py
SHARED = "x-shared-subscription"  # the queue goes with an exchange of the same name that has the argument, too
_MAX_AGE = re.compile(r"(\d{1,10})([YMDhms])")
_AGE_UNIT_MS = {"Y": 31_536_000_000, "M": 2_592_000_000, "D": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000}


class QueuePolicy(NamedTuple):
    """What a queue or stream is told to do; None where there is no such limit."""

    queue_type: str = CLASSIC
    message_ttl_ms: int | None = None
    expires_ms: int | None = None
    max_length: int | None = None
    max_length_bytes: int | None = None
    overflow: str = DROP_HEAD
    dead_letter_exchange: str | None = None
    dead_letter_routing_key: str | None = None
    single_active_consumer: bool = False
    delivery_limit: int | None = None
    max_age_ms: int | None = None
    segment_size_max_bytes: int | None = None
    max_priority: int = 0
    last_value: bool = False
    shared: bool = False
    kept_bytes: int | None = None


def parse_age_ms(text: str) -> int | None:
    """Milliseconds of a RabbitMQ interval such as `7D` or `1h` (units Y M D h m s); None if it is not one."""
    found = _MAX_AGE.fullmatch(text)
    return int(found[1]) * _AGE_UNIT_MS[found[2]] if found else None


# A check takes the value and returns what is wrong with it, or None.
_Check = Callable[[Any], "str | None"]


def _non_negative(value: Any) -> str | None:
    if value.__class__ is not int:
        return f'"expected integer, got {type_name(value)}"'
    return None if value >= 0 else f"{{value_negative,{value}}}"


def _ttl(value: Any) -> str | None:
    return _non_negative(value) or (None if value <= EXPIRES_MAX_MS else f"{{value_too_large,{value}}}")


def _expires(value: Any) -> str | None:
    return "{value_zero,0}" if value.__class__ is int and value == 0 else _ttl(value)


def _string(value: Any) -> str | None:
    return None if value.__class__ is str else f"{{unacceptable_type,{type_name(value)}}}"


def _boolean(value: Any) -> str | None:
    return None if value.__class__ is bool else f"{{unacceptable_type,{type_name(value)}}}"


def _overflow(value: Any) -> str | None:
    return _string(value) or (None if value in OVERFLOWS else "invalid_overflow")


def _queue_mode(value: Any) -> str | None:
    return _string(value) or (None if value in ("default", "lazy") else f"\"unsupported queue mode '{value}'\"")


def _queue_version(value: Any) -> str | None:
    return _non_negative(value) or (None if value in (1, 2) else f"\"unsupported queue version '{value}'\"")


def _positive(value: Any) -> str | None:
    return "{value_zero,0}" if value.__class__ is int and value == 0 else _non_negative(value)


def _delivery_limit(value: Any) -> str | None:
    return None if value.__class__ is int else _non_negative(value)  # negative: no limit


def _leader_locator(value: Any) -> str | None:
    return _string(value) or (None if value in ("client-local", "balanced", "random", "least-leaders") else "invalid_queue_locator_arg")


def _dead_letter_strategy(value: Any) -> str | None:
    return _string(value) or (None if value in ("at-most-once", "at-least-once") else "invalid_dlx_strategy")


def _queue_type(value: Any) -> str | None:
    return _string(value) or (None if value in QUEUE_TYPES else f"\"unsupported queue type '{value}'\"")


def _age(value: Any) -> str | None:
    return _string(value) or (None if parse_age_ms(value) is not None else "invalid_max_age")


def _segment_size(value: Any) -> str | None:
    return _non_negative(value) or (None if value <= SEGMENT_SIZE_MAX_BYTES else f"{{value_too_large,{value}}}")


def _max_priority(value: Any) -> str | None:
    return _non_negative(value) or (None if value <= PRIORITY_MAX else f"{{max_value_exceeded,{value}}}")


_ALL = (CLASSIC, QUORUM, STREAM)
_QUEUES = (CLASSIC, QUORUM)

# name -> (check, queue types that take it, field of QueuePolicy or None where it is accepted and has no effect)
ARGUMENTS: dict[str, tuple[_Check, tuple[str, ...], str | None]] = {
    "x-expires": (_expires, _QUEUES, "expires_ms"),
    "x-message-ttl": (_ttl, _QUEUES, "message_ttl_ms"),
    "x-dead-letter-exchange": (_string, _QUEUES, "dead_letter_exchange"),
    "x-dead-letter-routing-key": (_string, _QUEUES, "dead_letter_routing_key"),
    "x-dead-letter-strategy": (_dead_letter_strategy, (QUORUM,), None),
    "x-max-length": (_non_negative, _QUEUES, "max_length"),
    "x-max-length-bytes": (_non_negative, _ALL, "max_length_bytes"),
    "x-overflow": (_overflow, _QUEUES, "overflow"),
    "x-single-active-consumer": (_boolean, _QUEUES, "single_active_consumer"),
    "x-queue-type": (_queue_type, _ALL, "queue_type"),
    "x-delivery-limit": (_delivery_limit, (QUORUM,), "delivery_limit"),
    "x-max-age": (_age, (STREAM,), "max_age_ms"),
    "x-stream-max-segment-size-bytes": (_segment_size, (STREAM,), "segment_size_max_bytes"),
    "x-stream-filter-size-bytes": (_non_negative, (STREAM,), None),
    "x-initial-cluster-size": (_positive, (STREAM,), None),
    "x-quorum-initial-group-size": (_positive, (QUORUM,), None),
    "x-queue-leader-locator": (_leader_locator, (QUORUM, STREAM), None),
    "x-max-in-memory-length": (_non_negative, (QUORUM,), None),
    "x-max-in-memory-bytes": (_non_negative, (QUORUM,), None),
    "x-queue-mode": (_queue_mode, (CLASSIC,), None),
    "x-queue-version": (_queue_version, (CLASSIC,), None),
    "x-queue-master-locator": (_string, (CLASSIC,), None),
    KEPT: (_non_negative, (CLASSIC,), "kept_bytes"),
    SHARED: (_boolean, (CLASSIC,), "shared"),
    LAST_VALUE: (_boolean, (CLASSIC,), "last_value"),
    "x-max-priority": (_max_priority, (CLASSIC,), "max_priority"),
}


def parse_queue_arguments(where: str, arguments: Arguments) -> QueuePolicy:
    """The policy `arguments` amount to; `where` is how texts call the queue ("queue 'q' in vhost '/'").

    Raises Refused (INVALID) for a known argument of the wrong type or value, or one that the queue's type does not take.
    """
    if not arguments:
        return _DEFAULT
    queue_type = arguments.get("x-queue-type", CLASSIC)
    fields: dict[str, Any] = {}
    for name, value in arguments.items():
        known = ARGUMENTS.get(name)
        if known is None:
            continue
        check, queue_types, field = known
        if queue_type.__class__ is str and queue_type in QUEUE_TYPES and queue_type not in queue_types:
            raise Refused(Reason.INVALID, f"invalid arg '{name}' for {where} of queue type rabbit_{queue_type}_queue")
        if name == "x-dead-letter-exchange" and value.__class__ is not str:
            raise Refused(Reason.INVALID, f"invalid type '{type_name(value)}' for arg '{name}' in {where}")
        wrong = check(value)
        if wrong is not None:
            raise Refused(Reason.INVALID, f"invalid arg '{name}' for {where}: {wrong}")
        if field == "max_age_ms":
            fields[field] = parse_age_ms(value)
        elif field == "delivery_limit":
            fields[field] = value if value >= 0 else None
        elif field is not None:
            fields[field] = value
    if "dead_letter_routing_key" in fields and "dead_letter_exchange" not in fields:
        raise Refused(Reason.INVALID, f"invalid arg 'x-dead-letter-routing-key' for {where}: routing_key_but_no_dlx_defined")
    if "kept_bytes" in fields:
        _check_kept(where, fields)
    return QueuePolicy(**fields)


def _check_kept(where: str, fields: dict[str, Any]) -> None:
    """What is kept so drops the oldest, by number too, and to nowhere."""
    others = fields.keys() & {"max_length_bytes", "max_priority", "dead_letter_exchange", "last_value"}
    if others or "max_length" not in fields or fields.get("overflow", DROP_HEAD) != DROP_HEAD:
        wrong = "it needs x-max-length, and goes with no other x-overflow, x-max-length-bytes, x-max-priority or x-dead-letter-exchange"
        raise Refused(Reason.INVALID, f"invalid arg '{KEPT}' for {where}: {wrong}")


def check_properties(where: str, queue_type: str, durable: bool, exclusive: bool, auto_delete: bool) -> None:
    """Quorum queues and streams are durable, shared and stay; Refused (INVALID) where one is declared otherwise."""
    if queue_type == CLASSIC:
        return
    if not durable:
        raise Refused(Reason.INVALID, f"invalid property 'non-durable' for {where}")
    if exclusive:
        raise Refused(Reason.INVALID, f"invalid property 'exclusive-owner' for {where}")
    if auto_delete:
        raise Refused(Reason.INVALID, f"invalid property 'auto-delete' for {where}")


def check_same_arguments(where: str, current: Arguments, received: Arguments, names: tuple[str, ...]) -> None:
    """Refused (EXISTS_DIFFERENT) for the first of `names` on which a re-declaration differs. Numbers of any width are equal."""
    for name in names:
        now, then = received.get(name), current.get(name)
        if same_value(now, then) or (name == "x-queue-type" and same_value(now or CLASSIC, then or CLASSIC)):
            continue
        if now is None or then is None:
            difference = f"received {describe(now)} but current is {describe(then)}"
        else:
            difference = f"received '{text_of(now)}' but current is '{text_of(then)}'"
        raise Refused(Reason.EXISTS_DIFFERENT, f"inequivalent arg '{name}' for {where}: {difference}")


QUEUE_ARGUMENT_NAMES = tuple(ARGUMENTS)
_DEFAULT = QueuePolicy()
