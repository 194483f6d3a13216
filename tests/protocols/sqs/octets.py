"""What is looked at eight octets at a time, with anything at any place of it."""

from __future__ import annotations

from collections.abc import Iterator


def each_at_each_place() -> Iterator[bytes]:
    """Two words and an octet, of ASCII, with each octet of it at each place."""
    for at in range(17):
        for octet in range(0x80):
            text = bytearray(b"a" * 17)
            text[at] = octet
            yield bytes(text)
