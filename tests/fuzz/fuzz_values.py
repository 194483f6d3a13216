"""What all generators draw from: numbers at their edges, names that exist and names that cannot, and ways to damage bytes."""

from __future__ import annotations

import random
from collections.abc import Sequence

Chance = random.Random

_EDGES = (
    0,
    1,
    2,
    3,
    7,
    8,
    15,
    16,
    127,
    128,
    255,
    256,
    4095,
    4096,
    32_767,
    32_768,
    65_535,
    65_536,
    (1 << 31) - 1,
    1 << 31,
    (1 << 32) - 1,
    1 << 32,
    (1 << 63) - 1,
)
_ODD_TEXTS = (
    b"",
    b"\0",
    b" ",
    b".",
    b"..",
    b"/",
    b"*",
    b"#",
    b"a" * 127,
    b"a" * 128,
    b"a" * 255,
    b"\xff\xfe",
    b"\xc3",
    b"\xed\xa0\x80",
    "é́̂̃".encode(),
    "\u202e\u2028\x1b[31m\r\n".encode(),
    "\U0001f4a9".encode(),
    b"%s%n{}",
    b"(a+)+$",
    b"[",
    b"nul\0within",
)


def number(chance: Chance, bits: int, signed: bool = False) -> int:
    """A number that the width holds: small, at an edge, or any."""
    way = chance.random()
    if way < 0.6:
        value = chance.randrange(8)
    elif way < 0.9:
        value = chance.choice(_EDGES)
        if chance.random() < 0.3:
            value = -value
    else:
        value = chance.getrandbits(bits)
    value &= (1 << bits) - 1
    return value - (1 << bits) if signed and value >> (bits - 1) else value


def text(chance: Chance, known: Sequence[bytes], odd: float = 0.05) -> bytes:
    """A known name, or now and then what no name should be."""
    if chance.random() >= odd:
        return chance.choice(known)
    if chance.random() < 0.7:
        return chance.choice(_ODD_TEXTS)
    return chance.randbytes(chance.choice((1, 3, 20, 200)))


def payload(chance: Chance) -> bytes:
    """A message's content: mostly short, now and then long enough to cross buffers and frames."""
    way = chance.random()
    if way < 0.9:
        return b"x" * chance.choice((0, 1, 10, 100))
    if way < 0.99:
        return chance.randbytes(chance.choice((1000, 5000)))
    return bytes(chance.choice((65_536, 70_000, 140_000)))


def damaged(chance: Chance, data: bytes) -> bytes:
    """The bytes with something wrong in them."""
    if not data:
        return chance.randbytes(chance.randint(1, 20))
    out = bytearray(data)
    at = chance.randrange(len(out))
    way = chance.randrange(9)
    if way == 0:
        out[at] ^= 1 << chance.randrange(8)
    elif way == 1:
        for _ in range(chance.randint(2, 8)):
            out[chance.randrange(len(out))] = chance.getrandbits(8)
    elif way == 2:
        del out[at:]
    elif way == 3:
        del out[at : at + chance.randint(1, 8)]
    elif way == 4:
        out[at:at] = chance.randbytes(chance.randint(1, 8))
    elif way in (5, 6):  # most likely a size or a count that lies
        width = chance.choice((1, 2, 4, 8))
        out[at : at + width] = number(chance, 8 * width).to_bytes(width, "big")
    elif way == 7:
        end = at + chance.randint(1, 30)
        out[at:at] = out[at:end]
    else:
        other = chance.randrange(len(out))
        out[at], out[other] = out[other], out[at]
    return bytes(out)


def pieces(chance: Chance, data: bytes) -> list[bytes]:
    """The bytes, cut somewhere or nowhere."""
    size = len(data)
    way = chance.random()
    if way < 0.7 or size < 2:
        return [data]
    if way < 0.72 and size <= 200:
        return [data[at : at + 1] for at in range(size)]
    cuts = sorted(chance.randrange(1, size) for _ in range(chance.randint(1, 3)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, size], strict=True) if end > start]
