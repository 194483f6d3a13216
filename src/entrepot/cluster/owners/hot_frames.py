"""What is said often between a front and an owner: heads of fixed sizes, little-endian, and bodies as they lie (docs/formats/owners.md).

Packing gives what goes before a body; unpacking raises CorruptData for what is no such frame: a size that is not that of its head and its lists, an index
that is none, a delivery that says more records than it has octets. (What is staged may be compressed.)
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TypeAlias

import cython

from entrepot.broker.owners import Run
from entrepot.cluster.owners import kinds
from entrepot.model.errors import CorruptData
from entrepot.store.interface import LOG_ID_SIZE

if not cython.compiled:
    from entrepot.model.octets import get_u16_le, get_u32_le, get_u64_le, take

_STAGE = struct.Struct("<BBBBHHIIQQ")  # kind, owner, codec, its version; flags, heard; lane or number of runs, records; call; bytes of their bodies
_RUN = struct.Struct("<IIIIII")  # ids, hidden octets, octets of records, records, indices, the first index
_SETTLE = struct.Struct("<BBHIQQ")  # kind, owner, disposition, count; consumer, first
_NUMBER = struct.Struct("<BBHIQ")  # kind, owner, further, further; a call or a consumer
_LEND = struct.Struct("<BBHIQQ")  # kind, owner, 0, 0; consumer, count
_DELIVERED = struct.Struct("<BBBBIIIIQQQ")  # kind, owner, codec, its version; door, flags and position, count, deliveries; consumer, offset, append time
_REPLY = struct.Struct("<BBBBHHII")  # kind, owner, codec, its version; octets of the namespace, of the name; position, count
_U16 = struct.Struct("<H")
_LIST = struct.Struct("<BBHI")  # kind, owner, 0, how many
_END = struct.Struct("<QQII")  # consumer, first, count, disposition
_pack_stage, _pack_settle, _pack_number, _pack_delivered = _STAGE.pack, _SETTLE.pack, _NUMBER.pack, _DELIVERED.pack
_pack_run, _pack_lend, _pack_reply = _RUN.pack, _LEND.pack, _REPLY.pack
_STAGE_SIZE, _SETTLE_SIZE, _NUMBER_SIZE, _DELIVERED_SIZE = _STAGE.size, _SETTLE.size, _NUMBER.size, _DELIVERED.size

_KIND_STAGE, _KIND_SETTLE, _KIND_DELIVERED, _KIND_ANSWERED = kinds.STAGE, kinds.SETTLE, kinds.DELIVERED, kinds.ANSWERED
_LISTED = (1 << 32) - 1  # for a first index: the indices are listed
_REDELIVERED, _COUNTED, _SETTLED, _FROM_TOPIC = 1 << 28, 1 << 29, 1 << 30, 1 << 31
_POSITION = _POSITION_MAX = (1 << 28) - 1
_TIME = (1 << 63) - 1

Staged: TypeAlias = tuple[int, int, int, bool, int, int, int, int]
"""codec, its version, flags, whether somebody waits; lane or number of runs, records, call, bytes of their bodies."""


def stage(owner: int, staged: Staged) -> bytes:
    """What goes before the records of a call on a lane."""
    codec, version, flags, heard, lane, count, call, body_bytes = staged
    return _pack_stage(_KIND_STAGE, owner, codec, version, flags, heard, lane, count, call, body_bytes)


def read_stage(frame: bytes) -> tuple[Staged, bytes]:
    """The same back, and the records."""
    staged = _staged(frame)
    return staged, take(frame, _STAGE_SIZE, len(frame) - _STAGE_SIZE)


def _staged(frame: bytes) -> Staged:
    if len(frame) < _STAGE_SIZE:
        raise CorruptData(f"a stage of {len(frame)} bytes")
    heard = get_u16_le(frame, 6)
    count = get_u32_le(frame, 12)
    if heard > 1 or count == 0:
        raise CorruptData(f"a stage of {count} records in {len(frame) - _STAGE_SIZE} bytes")
    return frame[2], frame[3], get_u16_le(frame, 4), heard == 1, get_u32_le(frame, 8), count, get_u64_le(frame, 16), get_u64_le(frame, 24)


def stage_runs(owner: int, staged: Staged, address: bytes, runs: list[Run]) -> list[bytes]:
    """A whole frame, in parts: head, address, table of runs, and their records as they lie."""
    codec, version, flags, heard, _, count, call, body_bytes = staged
    parts = [_pack_stage(kinds.STAGE_RUNS, owner, codec, version, flags, heard, len(runs), count, call, body_bytes), _U16.pack(len(address)), address]
    for log_ids, hidden, data, records, indices in runs:
        first = _first_of(indices)
        parts.append(_pack_run(len(log_ids), len(hidden), len(data), records, len(indices), first))
        parts += log_ids
        parts.append(hidden)
        if first == _LISTED:
            parts.append(struct.pack(f"<{len(indices)}I", *indices))
    return [b"".join(parts), *(data for _, _, data, _, _ in runs)]


def _first_of(indices: Sequence[int]) -> int:
    """The first of neighbours; _LISTED: they are none."""
    if isinstance(indices, range) and indices.step == 1:
        return indices.start
    if indices and indices[len(indices) - 1] - indices[0] == len(indices) - 1 and all(index == indices[0] + place for place, index in enumerate(indices)):
        return indices[0]
    return _LISTED


def read_stage_runs(frame: bytes) -> tuple[Staged, bytes, list[Run]]:
    """The same back: the call, the address and the runs."""
    staged = _staged(frame)
    total = staged[5]
    reader = _Reader(frame, _STAGE.size)
    (size,) = reader.unpack(_U16)
    address = reader.take(size)
    heads = [_read_run(reader, total) for _ in range(reader.checked(staged[4], _RUN.size))]
    runs: list[Run] = []
    for log_ids, hidden, data_size, count, indices in heads:
        runs.append((log_ids, hidden, reader.take(data_size), count, indices))
    reader.end()
    return staged, address, runs


def _read_run(reader: _Reader, total: int) -> tuple[list[bytes], bytes, int, int, Sequence[int]]:
    id_count, hidden_size, data_size, count, index_count, first = reader.unpack(_RUN)
    ids = reader.take(id_count * LOG_ID_SIZE)
    log_ids = [ids[at : at + LOG_ID_SIZE] for at in range(0, len(ids), LOG_ID_SIZE)]
    hidden = reader.take(hidden_size)
    indices: Sequence[int]
    if first == _LISTED:
        indices = struct.unpack(f"<{index_count}I", reader.take(4 * index_count))
        greatest = max(indices, default=-1)
    else:
        indices = range(first, first + index_count)
        greatest = first + index_count - 1
    if count == 0 or index_count < count or greatest >= total:
        raise CorruptData(f"a run of {count} records in {data_size} bytes, with {index_count} indices of {total}")
    return log_ids, hidden, data_size, count, indices


def settle(owner: int, consumer: int, first: int, count: int, disposition: int) -> bytes:
    """A whole frame."""
    return _pack_settle(_KIND_SETTLE, owner, disposition, count, consumer, first)


def read_settle(frame: bytes) -> tuple[int, int, int, int]:
    """Consumer, first, count, disposition."""
    if len(frame) != _SETTLE_SIZE:
        raise CorruptData(f"a settlement of {len(frame)} bytes")
    disposition = get_u16_le(frame, 2)
    count = get_u32_le(frame, 4)
    if count == 0 or disposition > 3:
        raise CorruptData(f"a settlement of {count} records, disposition {disposition}")
    return get_u64_le(frame, 8), get_u64_le(frame, 16), count, disposition


def lend(owner: int, consumer: int, count: int) -> bytes:
    """A whole frame."""
    return _pack_lend(kinds.LEND, owner, 0, 0, consumer, count)


def read_lend(frame: bytes) -> tuple[int, int]:
    """Consumer and count."""
    if len(frame) != _LEND.size:
        raise CorruptData(f"a loan of {len(frame)} bytes")
    _, _, _, _, consumer, count = _LEND.unpack(frame)
    if count >= 1 << 32:
        raise CorruptData(f"a loan of {count} records")
    return consumer, count


def read(owner: int, door: int, count: int, paused: bool) -> bytes:
    """That a connection has taken so many octets of what was delivered to it, and whether it reads more now: a whole frame."""
    return _pack_number(kinds.READ, owner, paused, door, count)


def read_read(frame: bytes) -> tuple[int, int, bool]:
    """Door, octets, whether it does not read more."""
    door, count = read_number(frame)
    if frame[2] > 1 or frame[3]:
        raise CorruptData(f"a door pauses by {frame[2:4].hex()}")
    return door, count, bool(frame[2])


def reply(owner: int, codec: int, version: int, namespace: bytes, name: bytes, position: int, count: int) -> bytes:
    """What goes before the octets of an answer: an entry's prefix, and records from `position` on."""
    return _pack_reply(kinds.REPLY, owner, codec, version, len(namespace), len(name), position, count) + namespace + name


def read_reply(frame: bytes) -> tuple[int, int, bytes, bytes, int, int, bytes]:
    """Codec, its version, namespace, name, position, count, and the octets."""
    if len(frame) < _REPLY.size:
        raise CorruptData(f"a reply of {len(frame)} bytes")
    _, _, codec, version, namespace_size, name_size, position, count = _REPLY.unpack_from(frame)
    reader = _Reader(frame, _REPLY.size)
    namespace, name = reader.take(namespace_size), reader.take(name_size)
    data = frame[_REPLY.size + namespace_size + name_size :]
    if not 0 < count <= len(data) - position:
        raise CorruptData(f"a reply of {count} records from {position} on in {len(data)} bytes")
    return codec, version, namespace, name, position, count, data


def wants(owner: int, consumer: int) -> bytes:
    """A whole frame."""
    return _pack_number(kinds.WANTS, owner, 0, 0, consumer)


def waits_from(owner: int, call: int) -> bytes:
    """That nobody waits for the answer to a stage before this call: a whole frame."""
    return _pack_number(kinds.WAITS_FROM, owner, 0, 0, call)


def passed(owner: int, call: int) -> bytes:
    """That all stages up to this call, of which nobody waits for one, are taken for good unless they were answered: a whole frame."""
    return _pack_number(kinds.PASSED, owner, 0, 0, call)


def settled(owner: int, count: int) -> bytes:
    """That what the first `count` settlements over this link have ended is durable: a whole frame."""
    return _pack_number(kinds.SETTLED, owner, 0, 0, count)


def read_number(frame: bytes) -> tuple[int, int]:
    """Of these: the door, or 0, and the number."""
    if len(frame) != _NUMBER_SIZE:
        raise CorruptData(f"a frame of kind {frame[0]} and {len(frame)} bytes")
    return get_u32_le(frame, 4), get_u64_le(frame, 8)


def routed(owner: int, epoch: int, number: int) -> bytes:
    """What comes behind it is by that revision of the catalogue."""
    return _pack_lend(kinds.ROUTED, owner, 0, 0, epoch, number)


def read_routed(frame: bytes) -> tuple[int, int]:
    """The revision: the epoch of shard 0, and a number."""
    if len(frame) != _LEND.size:
        raise CorruptData(f"a revision of {len(frame)} bytes")
    *_, epoch, number = _LEND.unpack(frame)
    return epoch, number


def answered(owner: int, call: int, nacked: Sequence[int] | None, error: bytes = b"") -> bytes:
    """Of a stage: what is in no queue, or why not (a Why in MessagePack): a whole frame."""
    return answered_again(owner, call, bool(error), error or indices(nacked))


def answered_again(owner: int, call: int, failed: bool, rest: bytes) -> bytes:
    """The same, of what was answered before: why not, or indices()."""
    return _pack_number(_KIND_ANSWERED, owner, failed, 0 if failed else len(rest) // 4, call) + rest


def indices(nacked: Sequence[int] | None) -> bytes:
    """What is in no queue, as it goes."""
    return struct.pack(f"<{len(nacked)}I", *nacked) if nacked else b""


def read_answered(frame: bytes) -> tuple[int, list[int] | None, bytes]:
    """Call, `nacked`, and the error, or b""."""
    size = len(frame) - _NUMBER_SIZE
    if size < 0:
        raise CorruptData(f"an answer of {len(frame)} bytes")
    failed = get_u16_le(frame, 2)
    count = get_u32_le(frame, 4)
    if failed > 1 or (count and failed) or (not failed and size != 4 * count) or (failed and not size):
        raise CorruptData(f"an answer of {len(frame)} bytes, with {count} indices")
    call = get_u64_le(frame, 8)
    if failed:
        return call, None, frame[_NUMBER_SIZE:]
    return call, list(struct.unpack(f"<{count}I", frame[_NUMBER_SIZE:])) if count else None, b""


Delivered: TypeAlias = tuple[int, int, int, int, int, int, int, int, int, bool, bool, bool, bool]
"""codec, its version, door, position, count, deliveries, consumer, offset, append time in ms; redelivered, counted, settled, from a topic."""


def delivered(owner: int, what: Delivered) -> bytes:
    """What goes before the octets of a delivery: an entry's prefix, and records from `position` on, which is at most _POSITION_MAX."""
    codec, version, door, position, count, deliveries, consumer, offset, time_ms, redelivered, counted, settled, from_topic = what
    flags = position | redelivered * _REDELIVERED | counted * _COUNTED | settled * _SETTLED | from_topic * _FROM_TOPIC
    return _pack_delivered(_KIND_DELIVERED, owner, codec, version, door, flags, count, deliveries, consumer, offset, time_ms)


def read_delivered(frame: bytes) -> tuple[Delivered, bytes]:
    """The same back, and the octets."""
    size = len(frame) - _DELIVERED_SIZE
    if size < 0:
        raise CorruptData(f"a delivery of {len(frame)} bytes")
    flags = get_u32_le(frame, 8)
    count = get_u32_le(frame, 12)
    position = flags & _POSITION
    if count == 0 or count > size - position:
        raise CorruptData(f"a delivery of {count} records from {position} on in {size} bytes")
    return (
        frame[2],
        frame[3],
        get_u32_le(frame, 4),
        position,
        count,
        get_u32_le(frame, 16),
        get_u64_le(frame, 20),
        get_u64_le(frame, 28),
        get_u64_le(frame, 36) & _TIME,
        (flags & _REDELIVERED) != 0,
        (flags & _COUNTED) != 0,
        (flags & _SETTLED) != 0,
        (flags & _FROM_TOPIC) != 0,
    ), take(frame, _DELIVERED_SIZE, size)


class _Reader:
    """What lies in a frame, from a position on."""

    def __init__(self, frame: bytes, position: int) -> None:
        self._frame = frame
        self._position = position

    def take(self, size: int) -> bytes:
        """So many octets."""
        end = self._position + size
        if end > len(self._frame):
            raise CorruptData(f"{size} bytes are said to be at {self._position} of a frame of {len(self._frame)}")
        found = self._frame[self._position : end]
        self._position = end
        return found

    def unpack(self, form: struct.Struct) -> tuple[int, ...]:
        """One of them."""
        return form.unpack(self.take(form.size))

    def checked(self, count: int, size: int) -> int:
        """A count of things of so many octets at least, which may be there."""
        if count * size > len(self._frame) - self._position:
            raise CorruptData(f"{count} things are said to be in a frame of {len(self._frame)} bytes")
        return count

    def end(self) -> None:
        """Nothing is left over."""
        if self._position != len(self._frame):
            raise CorruptData(f"{len(self._frame) - self._position} bytes are left of a frame of {len(self._frame)}")


# ---- several in one


End: TypeAlias = tuple[int, int, int, int]
"""consumer, first, count, disposition"""


def settlements(owner: int, ends: list[End]) -> bytes:
    """Several, in their order: a whole frame."""
    pack = _END.pack
    return _LIST.pack(kinds.SETTLEMENTS, owner, 0, len(ends)) + b"".join([pack(*end) for end in ends])


def read_settlements(frame: bytes) -> list[End]:
    """The same back."""
    if _listed(frame) * _END.size != len(frame) - _LIST.size:
        raise CorruptData(f"settlements in {len(frame)} bytes")
    found: list[End] = list(_END.iter_unpack(frame[_LIST.size :]))
    for _, _, count, disposition in found:
        if count == 0 or disposition > 3:
            raise CorruptData(f"a settlement of {count} records, disposition {disposition}, among {len(found)}")
    return found


def taken(owner: int, calls: list[int]) -> bytes:
    """Of stages that somebody waits for: all of each is in a queue. A whole frame."""
    return struct.pack(f"<BBHI{len(calls)}Q", kinds.TAKEN, owner, 0, len(calls), *calls)


def read_taken(frame: bytes) -> tuple[int, ...]:
    """Their calls."""
    count = _listed(frame)
    if count * 8 != len(frame) - _LIST.size:
        raise CorruptData(f"{count} stages are said to be taken, in {len(frame)} bytes")
    return struct.unpack_from(f"<{count}Q", frame, _LIST.size)


def _listed(frame: bytes) -> int:
    """How many are said to be there: one at least."""
    count: int = _LIST.unpack_from(frame)[3] if len(frame) >= _LIST.size else 0
    if count == 0:
        raise CorruptData(f"a list of none, of kind {frame[0]} in {len(frame)} bytes")
    return count
