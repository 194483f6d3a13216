"""Which partition a key belongs to: murmur2, as Kafka's own producers use it, so that a key written by any protocol is in one partition."""

from __future__ import annotations

import cython

if not cython.compiled:
    from entrepot.model.octets import get_u32_le

_SEED, _FACTOR, _MASK = 0x9747B28C, 0x5BD1E995, 0xFFFFFFFF


def key_hash(key: bytes) -> int:
    """31 bits; the partition is the rest of a division by their number."""
    size = len(key)
    hashed = _SEED ^ size
    at = 0
    while at + 4 <= size:
        word = get_u32_le(key, at) * _FACTOR & _MASK
        word = (word ^ word >> 24) * _FACTOR & _MASK
        hashed = (hashed * _FACTOR & _MASK) ^ word
        at += 4
    if at < size:
        rest = 0
        shift = 0
        while at < size:
            rest |= key[at] << shift
            shift += 8
            at += 1
        hashed = (hashed ^ rest) * _FACTOR & _MASK
    hashed = (hashed ^ hashed >> 13) * _FACTOR & _MASK
    return (hashed ^ hashed >> 15) & 0x7FFFFFFF
