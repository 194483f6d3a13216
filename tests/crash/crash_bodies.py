"""Messages that say who they are: every octet of a body follows from its publisher, the life of that publisher, and its number."""

from __future__ import annotations

import struct

HEAD = struct.Struct("<HHI")  # publisher, life, number
_PATTERN = bytes((n * 131 + n // 251) & 0xFF for n in range(200_000))


class Violation(AssertionError):
    """The broker broke a promise."""


def body_of(publisher: int, life: int, number: int) -> bytes:
    """Mostly small; some over 4 KiB, a few of several frames."""
    if number % 1499 == 700:
        size = 150_000
    elif number % 97 == 50:
        size = 6_000
    else:
        size = number * 7919 % 400
    at = number % 251
    return HEAD.pack(publisher, life, number) + _PATTERN[at : at + size]


def who(body: bytes) -> tuple[int, int, int]:
    """(publisher, life, number). Raises Violation if a body is not what that publisher sent."""
    if len(body) < HEAD.size:
        raise Violation(f"a body of {len(body)} octets was never sent: {body!r}")
    found = HEAD.unpack_from(body)
    if body != body_of(*found):
        raise Violation(f"the body of message {found} is not what was sent")
    return found
