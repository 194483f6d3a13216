"""What is kept of a session beside its queue, as folded state. Layout in docs/formats/session-state.md.

key     b"k:" log id of its queue (16 bytes) kind (1 byte, but for late wills)

kind    b"s": the session
value   MessagePack: [version, least version of a reader, [generation, expiry in s, when its connection ended (ms since 1970; -1: it has not), will or nil]]
delta   u8 1, the new value; or u8 0: gone

kind    b"w" and a generation (u64, big-endian): a will that is due, of what may be over, and could not be published yet
value   MessagePack: [version, least version of a reader, [namespace, will]]; delta as before

kind    b"i", b"o": numbers below 65,536: of what its client published and has not released, and of what it was sent, settled, and has not completed
value   u8 format (1), then a block of docs/formats/range-blocks.md
delta   u8 format (1), u8 1: these too, 0: these no more, then (first u16, last u16)*, little-endian; nothing at all: gone
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import TypeVar

import msgspec

from entrepot.broker.calls.questions import WillFields
from entrepot.broker.state import DELETE, fold_value, set_value
from entrepot.model.errors import CorruptData
from entrepot.model.ranges import RangeSet
from entrepot.store.interface import LOG_ID_SIZE

SESSION_PREFIX = b"k:"
SESSION = b"s"
INCOMING = b"i"
RELEASED = b"o"
LATE_WILL = b"w"
KINDS = (SESSION, INCOMING, RELEASED)  # of what goes with the queue

_VERSION = 1
_READER_MIN = 1
_FORMAT = 1
_ADD, _REMOVE = 1, 0
_RUN = struct.Struct("<HH")  # first, last (inclusive)
_KIND_AT = len(SESSION_PREFIX) + LOG_ID_SIZE
_NUMBERS = 65_536

Runs = list[tuple[int, int]]
Of = TypeVar("Of")


class SessionRow(msgspec.Struct, array_like=True):
    """The session itself. `ended_ms` -1: a connection has it, or had it when the process ended."""

    generation: int
    expiry_s: int
    ended_ms: int
    will: WillFields | None


_LATE = msgspec.msgpack.Decoder(tuple[str, WillFields])
_ROW = msgspec.msgpack.Decoder(SessionRow)
_VALUE = msgspec.msgpack.Decoder(tuple[int, int, msgspec.Raw])


def key_of(log_id: bytes, kind: bytes) -> bytes:
    """Where it is kept."""
    return SESSION_PREFIX + log_id + kind


def parts_of(key: bytes) -> tuple[bytes, bytes]:
    """The id of the queue's log, and the kind."""
    return key[len(SESSION_PREFIX) : _KIND_AT], key[_KIND_AT:]


def row_delta(row: SessionRow) -> bytes:
    """The session is this from now on."""
    return set_value(msgspec.msgpack.encode([_VERSION, _READER_MIN, row]))


def row_of(key: bytes, value: bytes) -> SessionRow:
    """What was kept. Raises CorruptData."""
    return _decoded(key, value, _ROW)


def late_will_delta(namespace: str, will: WillFields) -> bytes:
    """It is still to be published."""
    return set_value(msgspec.msgpack.encode([_VERSION, _READER_MIN, [namespace, will]]))


def late_will_of(key: bytes, value: bytes) -> tuple[str, WillFields]:
    """What was kept. Raises CorruptData."""
    return _decoded(key, value, _LATE)


def _decoded(key: bytes, value: bytes, decoder: msgspec.msgpack.Decoder[Of]) -> Of:
    try:
        _, reader_min, fields = _VALUE.decode(value)
        if reader_min > _VERSION:
            raise CorruptData(f"session {key!r} needs a reader of version {reader_min}; this one is {_VERSION}")
        return decoder.decode(fields)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptData(f"session {key!r} does not decode: {error}") from None


def numbers_delta(runs: Runs, adds: bool) -> bytes:
    """These numbers too, or no more."""
    return bytes((_FORMAT, _ADD if adds else _REMOVE)) + b"".join(_RUN.pack(first, first + count - 1) for first, count in runs)


def numbers_of(value: bytes | None) -> Runs:
    """What was kept, ascending."""
    if value is None:
        return []
    block = RangeSet()
    block.restore_block(0, value[1:])
    return [(first, end - first) for first, end in block]


def gone(kind: bytes) -> bytes:
    """The delta after which nothing is kept."""
    return b"" if kind in (INCOMING, RELEASED) else DELETE


def fold_session(key: bytes, value: bytes | None, delta: bytes) -> bytes | None:
    """The fold of every key that starts with SESSION_PREFIX. CorruptData for what no version wrote."""
    return fold_all_sessions(key, value, [delta])


def fold_all_sessions(key: bytes, value: bytes | None, deltas: list[bytes]) -> bytes | None:
    """As fold_session() with one delta after the other."""
    kind = key[_KIND_AT:]
    if kind == SESSION or kind[:1] == LATE_WILL:
        return fold_value(key, value, deltas[-1]) if deltas else value
    if kind not in (INCOMING, RELEASED):
        raise CorruptData(f"session state {key!r} is of unknown kind {kind!r}")
    if b"" in deltas:
        value = None
        deltas = deltas[len(deltas) - deltas[::-1].index(b"") :]
    return _fold_numbers(key, value, deltas) if deltas else value


def _fold_numbers(key: bytes, value: bytes | None, deltas: Iterable[bytes]) -> bytes | None:
    block = RangeSet()
    if value is not None:
        if value[0] != _FORMAT:
            raise CorruptData(f"session state {key!r} has format {value[0]}, expected {_FORMAT}")
        block.restore_block(0, value[1:])
    for delta in deltas:
        if delta[0] != _FORMAT or len(delta) < 2 or delta[1] not in (_ADD, _REMOVE) or (len(delta) - 2) % _RUN.size:
            raise CorruptData(f"session state {key!r} has a change {delta[:8]!r}, which is none of format {_FORMAT}")
        change = block.add if delta[1] == _ADD else block.remove
        for first, last in _RUN.iter_unpack(delta[2:]):
            change(first, last + 1)
    return bytes((_FORMAT,)) + block.encode_block(0) if block.next_present(0) < _NUMBERS else None
