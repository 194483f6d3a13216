"""What can be written down of calls between front and owner, for owners that are reached by octets (framed_owner.py, far_side.py).

What cannot (a live queue, a connection, a lane of the owner's own) cannot come by: `marshal` takes plain values and no others. Errors are words.
"""

from __future__ import annotations

import marshal
from typing import Any, TypeAlias

from entrepot.broker.calls.lease_calls import PolicyChanged
from entrepot.model.errors import NotDone, OutcomeUnknown, Reason, Refused, Unavailable

Said: TypeAlias = tuple[Any, ...]
"""An error: its kind, and what it says."""

PUBLISH = ("stream", "address", "codec", "codec_version", "flags", "data", "count", "body_bytes")
DELIVERY = ("codec", "codec_version", "data", "position", "count", "offset", "deliveries", "counted", "redelivered", "settled", "from_topic")
SEND = ("stream", "queue", "codec", "codec_version", "flags", "data", "count", "sizes", "message_ids")
OF_RECORDS = ("delays_ms", "groups", "deduplication_ids", "content_ids")
RECEIVE = ("stream", "queue", "codec", "count", "visibility_ms", "wait_ms")
RECEIVED = ("data", "base", "position", "offset", "deliveries", "first_received_ms", "append_time_ms")
END_LEASES = ("stream", "queue", "queue_id", "offsets", "lease_ids", "visibility_ms")


def carried(*values: Any) -> Any:
    """What arrives of values that are sent. Raises ValueError for what is not plain."""
    return marshal.loads(marshal.dumps(values))


def words(of: Any, names: tuple[str, ...]) -> tuple[Any, ...]:
    """The fields of something."""
    return tuple(getattr(of, name) for name in names)


def fill(what: Any, names: tuple[str, ...], values: tuple[Any, ...]) -> None:
    """Set them elsewhere."""
    for name, value in zip(names, values, strict=True):
        setattr(what, name, value)


def said(error: NotDone | None) -> Said | None:
    """An error in words."""
    if error is None:
        return None
    if isinstance(error, PolicyChanged):
        return "PolicyChanged", str(error), error.version, error.policy, error.owner
    if isinstance(error, Refused):
        return "Refused", error.reason.name, str(error)
    return type(error).__name__, str(error)


def heard(words: Said | None) -> NotDone | None:
    """The error that words stand for."""
    if words is None:
        return None
    kind, *rest = words
    if kind == "PolicyChanged":
        return PolicyChanged(*rest)
    if kind == "Refused":
        return Refused(Reason[rest[0]], rest[1])
    return Unavailable(*rest) if kind == "Unavailable" else OutcomeUnknown(*rest)
