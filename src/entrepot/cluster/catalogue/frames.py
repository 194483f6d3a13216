"""Frames of the catalogue over a link: u8 kind, then a MessagePack array of the fields below (docs/formats/catalogue-link.md).

Of an array elements may be added at its end: a later version does, this one passes them over. Anything else is CorruptData, and ends the link's start.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from entrepot.broker.calls.lease_calls import PolicyChanged
from entrepot.model.errors import CorruptData, NotDone, OutcomeUnknown, Reason, Refused, Unavailable

START_ID_SIZE = 8
NUMBER_MAX = (1 << 63) - 1  # of what counts up: a row's revision is two of these
FIRST_KIND, LAST_KIND = 64, 79  # of a link's frames, those of the catalogue

Words: TypeAlias = list[Any]
"""An error: its kind, what it says, and what else a kind has."""


class Frame(Struct, array_like=True, frozen=True):
    """One of those below."""


class Decides(Frame, frozen=True):
    """From the decider: it is that, in this epoch of shard 0. Who follows joins, and who has joined does so anew."""

    epoch: int


class Snapshot(Frame, frozen=True):
    """From the decider: a change (changes.py), one of those that say together all there is (snapshots.py). Number 0 begins anew."""

    change: bytes
    number: int = 0
    is_last: bool = True


class Change(Frame, frozen=True):
    """From the decider: what was decided next. Amid a snapshot it is of what came of that, too."""

    change: bytes


class Heard(Frame, frozen=True):
    """From the decider: the answer to a heartbeat."""

    number: int
    epoch: int


class Answer(Frame, frozen=True):
    """From the decider: of a Request, an EndHome, a RemoveUnused or a MakeTimed. `result`: packed, as asking.py says; b"": there is an error."""

    number: int
    error: Words | None
    result: bytes


class Join(Frame, frozen=True):
    """From who follows. `start_id`: of its homes; `change`: what it is home of, and what it knows that is bound to something that is not kept."""

    epoch: int
    start_id: bytes
    change: bytes


class Applied(Frame, frozen=True):
    """From who follows: it has applied everything up to that revision."""

    epoch: int
    number: int


class Heartbeat(Frame, frozen=True):
    """From who follows: the same, and may it go on answering? `epoch`: of the decider that it means."""

    beat: int
    decider: int
    epoch: int
    number: int


class Request(Frame, frozen=True):
    """From who follows: a request of the port's, by the name of its class; `fields`: each of them packed."""

    number: int
    name: str
    user: str
    tags: list[str]
    mechanism: str
    namespace: str
    start_id: bytes
    connection: int
    by_policy: bool
    fields: list[bytes]


class EndHome(Frame, frozen=True):
    """From who follows: a connection there has ended, and what is exclusive to it goes."""

    number: int
    start_id: bytes
    connection: int


class RemoveUnused(Frame, frozen=True):
    """From who follows: nobody reads a queue of its any more, which goes then."""

    number: int
    namespace: str
    name: str
    log_id: bytes


class MakeTimed(Frame, frozen=True):
    """From who follows: a queue that another protocol declared is to have timed leases."""

    number: int
    namespace: str
    name: str
    log_id: bytes


_KINDS: dict[int, type[Frame]] = dict(
    enumerate((Decides, Snapshot, Change, Heard, Answer, Join, Applied, Heartbeat, Request, EndHome, RemoveUnused, MakeTimed), FIRST_KIND)
)
_KIND_OF = {frame: bytes((kind,)) for kind, frame in _KINDS.items()}
_DECODERS = {kind: msgspec.msgpack.Decoder(frame) for kind, frame in _KINDS.items()}
_ENCODER = msgspec.msgpack.Encoder()


def encode(frame: Frame) -> tuple[bytes, bytes]:
    """The parts of a link's frame."""
    return _KIND_OF[type(frame)], _ENCODER.encode(frame)


def decode(data: bytes) -> Frame:
    """What encode() was given. Raises CorruptData."""
    decoder = _DECODERS.get(data[0]) if data else None
    if decoder is None:
        raise CorruptData(f"a frame of the catalogue that begins with {data[:1]!r}")
    try:
        frame: Frame = decoder.decode(memoryview(data)[1:])
    except (msgspec.DecodeError, ValueError, ArithmeticError, RecursionError) as error:
        raise CorruptData(f"a {_KINDS[data[0]].__name__} that does not decode: {error}") from None
    for name in ("epoch", "number", "beat", "decider", "connection"):
        if not 0 <= getattr(frame, name, 0) <= NUMBER_MAX:
            raise CorruptData(f"a {type(frame).__name__} whose {name} is {getattr(frame, name)}")
    if len(getattr(frame, "start_id", bytes(START_ID_SIZE))) != START_ID_SIZE:
        raise CorruptData(f"a {type(frame).__name__} of a start that is no {START_ID_SIZE} bytes")
    return frame


def said(error: NotDone | None) -> Words | None:
    """An error in words."""
    if error is None:
        return None
    text = str(error).encode(errors="backslashreplace").decode()
    if isinstance(error, PolicyChanged):
        return ["PolicyChanged", text, error.version, error.policy, error.owner]
    if isinstance(error, Refused):
        return ["Refused", text, error.reason.name]
    return ["Unavailable" if isinstance(error, Unavailable) else "OutcomeUnknown", text]


def heard(words: Words | None) -> NotDone | None:
    """The error that words stand for. One that this version does not know is its nearest kin. Raises CorruptData."""
    if words is None:
        return None
    kind, text, *rest = [*words, None, None][: max(len(words), 2)]
    if not isinstance(kind, str) or not isinstance(text, str):
        raise CorruptData(f"{words!r} is no error")
    if kind == "PolicyChanged" and len(rest) >= 3 and isinstance(rest[0], int) and isinstance(rest[1], str) and isinstance(rest[2], str):
        return PolicyChanged(text, rest[0], rest[1], rest[2])
    if kind == "Refused":
        return Refused(Reason.__members__.get(str(rest[0]) if rest else "", Reason.INVALID), text)
    return Unavailable(text) if kind == "Unavailable" else OutcomeUnknown(text)
