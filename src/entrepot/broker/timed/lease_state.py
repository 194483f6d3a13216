"""What is kept of timed leases over a restart, as folded state, a block of 4,096 offsets a key. Layout in docs/formats/lease-state.md.

    key     b"l:" log id (16 bytes) block number (u64, big-endian)
    value   u8 format (1), then runs, ascending
    delta   the same: its runs replace what they cover, the later ones the earlier; nothing at all: the block is gone
    run     u16 first, u16 last (inclusive, within the block), u64 deadline, u64 first received (ms since 1970), 16 bytes lease id, u32 deliveries

Little-endian. A record that is settled is not taken out: its log says that it is gone, and the block goes when the queue has passed it.
"""

from __future__ import annotations

import cython

from entrepot.model.errors import CorruptData

if not cython.compiled:
    from entrepot.model.octets import copy, copy_ba, get_u16_le_ba, put_u16_le, resize_ba, take_ba

LEASE_PREFIX = b"l:"
BLOCK_SIZE = 4096  # offsets
RUN_SIZE = 40  # bytes
FORMAT = 1

_BLOCK = BLOCK_SIZE
_RUN = RUN_SIZE


def fold_leases(key: bytes, value: bytes | None, delta: bytes) -> bytes | None:
    """The fold of every key that starts with LEASE_PREFIX."""
    return fold_all_leases(key, value, [delta])


def fold_all_leases(key: bytes, value: bytes | None, deltas: list[bytes]) -> bytes | None:
    """As fold_leases() of one delta after the other, at once. CorruptData for what no version wrote."""
    start = 0
    for index in range(len(deltas)):
        if not deltas[index]:
            start = index + 1
            value = None
    parts = deltas[start:]
    if value is not None:
        parts.insert(0, value)
    if not parts:
        return None
    size = 0
    for part in parts:
        if part[0] != FORMAT or (len(part) - 1) % RUN_SIZE:
            raise CorruptData(f"lease state {key!r} has format {part[0]} and {len(part)} bytes, expected format 1 and whole runs")
        size += len(part) - 1
    runs = bytearray(size)
    at = 0
    for part in parts:
        copy(runs, at, part, 1, len(part) - 1)
        at += len(part) - 1
    return joined(runs)


def joined(runs: bytearray) -> bytes | None:
    """Runs of one block, of which later ones replace earlier ones, as a value."""
    owners = bytearray(2 * _BLOCK)  # of each offset: the number of its run and one, which has to fit u16
    if len(runs) > 65_000 * _RUN:  # fold what came first
        half = len(runs) // (2 * _RUN) * _RUN
        earlier = joined(bytearray(take_ba(runs, 0, half))) or b"\x01"
        rest = bytearray(earlier)
        del rest[:1]
        rest += take_ba(runs, half, len(runs) - half)
        return joined(rest)
    count = len(runs) // _RUN
    number = 0
    while number < count:
        offset = get_u16_le_ba(runs, number * _RUN)
        last = get_u16_le_ba(runs, number * _RUN + 2)
        while offset <= last and offset < _BLOCK:
            put_u16_le(owners, 2 * offset, number + 1)
            offset += 1
        number += 1
    value = bytearray(1)
    value[0] = 1
    size = 1
    offset = 0
    while offset < _BLOCK:
        owner = get_u16_le_ba(owners, 2 * offset)
        if owner == 0:
            offset += 1
            continue
        first = offset
        while offset < _BLOCK and get_u16_le_ba(owners, 2 * offset) == owner:
            offset += 1
        resize_ba(value, size + _RUN)
        put_u16_le(value, size, first)
        put_u16_le(value, size + 2, offset - 1)
        copy_ba(value, size + 4, runs, (owner - 1) * _RUN + 4, _RUN - 4)
        size += _RUN
    return take_ba(value, 0, size) if size > 1 else None
