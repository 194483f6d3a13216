"""Frames between the outbox of a source's process and the inbox of a target's, over a link (docs/formats/handovers.md).

Of an array elements may be added at its end: a later version does, this one passes them over. Anything else is CorruptData, and ends the link's start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta, Struct

from entrepot.broker.catalogue.changes import Revision
from entrepot.broker.logs.entry_codec import EntryCodec
from entrepot.broker.outbox.handover import GONE, LETTER, MOVE, NOT_NOW, OUT_OF_TURN, REDRIVE, SUBJECT, TAKEN, UNDER_WAY_MAX, Answer, Handover
from entrepot.model.addresses import is_address
from entrepot.model.entry import HAS_DELIVER_AT, HAS_EXPIRY, HAS_GROUPS, HAS_PRIORITY, HAS_SENT_TIME, TRANSIENT
from entrepot.model.errors import CorruptData
from entrepot.store.interface import LOG_ID_SIZE

FIRST_KIND, LAST_KIND = 80, 95  # of a link's frames, those of handovers
OPEN, HANDOVER, ANSWER = 80, 81, 82

_FLAGS = HAS_DELIVER_AT | HAS_EXPIRY | HAS_GROUPS | HAS_PRIORITY | HAS_SENT_TIME | TRANSIENT  # that go with a record elsewhere
_KINDS = (LETTER, REDRIVE, MOVE, SUBJECT)
_STATUSES = (TAKEN, GONE, NOT_NOW, OUT_OF_TURN)
_SIZE = 4  # octets that say how long a head is

_Shard = Annotated[int, Meta(ge=0, le=0xFFFF)]
_Number = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
_LogId = Annotated[bytes, Meta(min_length=LOG_ID_SIZE, max_length=LOG_ID_SIZE)]
_Octet = Annotated[int, Meta(ge=0, le=0xFF)]

Frame: TypeAlias = tuple[bytes, ...]
"""The parts of one."""


class Open(Struct, array_like=True, frozen=True):
    """These shards of the sender's process are open, and what is not kept has its home there: it takes what is handed over."""

    shards: list[_Shard]


class _Head(Struct, array_like=True, frozen=True):
    """What stands before the records of a Handover. `epoch`, `number`: the sender's revision of the catalogue."""

    epoch: _Number
    number: _Number
    source: _Shard
    target: _Shard
    sequence: _Number
    first_waited: _Number
    kind: _Octet
    logs: Annotated[list[_LogId], Meta(min_length=1)]
    address: bytes
    hidden: bytes
    tag: _Octet
    version: _Octet
    flags: Annotated[int, Meta(ge=0, le=0xFFFF)]
    count: Annotated[int, Meta(ge=0, le=0x7FFFFFFF)]
    carried: list[tuple[_Number, _Number]]


class _Answered(Struct, array_like=True, frozen=True):
    source: _Shard
    target: _Shard
    sequence: _Number
    status: _Octet


_ENCODER = msgspec.msgpack.Encoder()
_OPEN = msgspec.msgpack.Decoder(Open)
_HEAD = msgspec.msgpack.Decoder(_Head)
_ANSWERED = msgspec.msgpack.Decoder(_Answered)
_WRONG = (msgspec.MsgspecError, ValueError, ArithmeticError, RecursionError)


def encode_open(shards: list[int]) -> Frame:
    """An Open."""
    return bytes((OPEN,)), _ENCODER.encode(Open(shards))


def encode_handover(handover: Handover, revision: Revision) -> Frame:
    """A Handover, as of that revision of the catalogue."""
    one = handover
    way = (one.source, one.target, one.sequence, one.first_waited, one.kind, one.logs)
    head = _ENCODER.encode((*revision, *way, one.address, one.hidden, one.tag, one.version, one.flags, one.count, one.carried))
    return bytes((HANDOVER,)) + len(head).to_bytes(_SIZE, "big"), head, handover.data


def encode_answer(answer: Answer) -> Frame:
    """An Answer."""
    return bytes((ANSWER,)), _ENCODER.encode(_Answered(answer.source, answer.target, answer.sequence, answer.status))


def decode_open(data: bytes) -> Open:
    """Raises CorruptData."""
    try:
        return _OPEN.decode(memoryview(data)[1:])
    except _WRONG as error:
        raise CorruptData(f"shards that are said to be open do not decode: {error}") from None


def decode_handover(data: bytes, codec_of: Callable[[int], EntryCodec | None]) -> tuple[Handover, Revision]:
    """With the revision of who has sent it; its records are as many as is said. Raises CorruptData."""
    end = 1 + _SIZE + int.from_bytes(data[1 : 1 + _SIZE], "big")
    try:
        if end > len(data):
            raise ValueError(f"{len(data)} bytes, with a head up to {end}")
        head = _HEAD.decode(memoryview(data)[1 + _SIZE : end])
    except _WRONG as error:
        raise CorruptData(f"a handover does not decode: {error}") from None
    way = (head.source, head.target, head.sequence, head.first_waited, head.kind, tuple(head.logs), head.address, head.hidden)
    handover = Handover(*way, head.tag, head.version, head.flags, data[end:], head.count, tuple(head.carried))
    _check(handover)
    _check_records(handover, codec_of(handover.tag))
    return handover, Revision(head.epoch, head.number)


def decode_answer(data: bytes) -> Answer:
    """Raises CorruptData."""
    try:
        found = _ANSWERED.decode(memoryview(data)[1:])
    except _WRONG as error:
        raise CorruptData(f"an answer to a handover does not decode: {error}") from None
    if found.status not in _STATUSES or not found.sequence:
        raise CorruptData(f"handover {found.sequence} is answered by {found.status}")
    return Answer(found.source, found.target, found.sequence, found.status)


def _check(handover: Handover) -> None:
    if not 0 < handover.first_waited <= handover.sequence < handover.first_waited + UNDER_WAY_MAX:
        raise CorruptData(f"handover {handover.sequence}, and {handover.first_waited} is the first that is waited for")
    if handover.kind not in _KINDS or handover.flags & ~_FLAGS:
        raise CorruptData(f"a handover of kind {handover.kind}, with flags {handover.flags:#x}")
    carried = handover.count if handover.kind == REDRIVE else 0
    if len(handover.carried) > carried:
        raise CorruptData(f"of {handover.count} records of a handover of kind {handover.kind} {len(handover.carried)} were received before")
    if handover.kind in (LETTER, SUBJECT) and handover.count and not is_address(handover.address):
        raise CorruptData(f"the address of a handover of kind {handover.kind} is none")


def _check_records(handover: Handover, codec: EntryCodec | None) -> None:
    """They can be taken apart, and are as many as is said: else nobody could read what lies in the log."""
    if codec is None or not codec.by_record:
        raise CorruptData(f"records of codec {handover.tag} are handed over")
    try:
        end = codec.skip(handover.data, 0, handover.count)
    except (IndexError, ValueError, OverflowError):
        end = -1
    if end != len(handover.data):
        raise CorruptData(f"{handover.count} records are said to be in {len(handover.data)} bytes, and are not")
