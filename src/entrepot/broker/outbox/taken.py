"""Taken: what a target shard remembers of one sender, a source shard: the last sequence that it took, and its last answers (docs/formats/intents.md).

Key: `r:`, u16 the source's shard (big-endian). Value: u8 version 1, u8 minimum reader version 1, u64 last sequence (little-endian), then up to
UNDER_WAY_MAX octets: the answers to the last sequences, that to the last one last.
"""

from __future__ import annotations

from entrepot.broker.outbox.handover import UNDER_WAY_MAX
from entrepot.model.errors import CorruptData

TAKEN_PREFIX = b"r:"

_VERSION = 1
_READER_MIN = 1
_HEAD_SIZE = 10
_LAST = slice(2, 10)


def taken_key(source: int) -> bytes:
    """Where it is kept, in the target shard."""
    return TAKEN_PREFIX + source.to_bytes(2, "big")


class Taken:
    """Of one sender. `last`: the last sequence taken, 0 for none."""

    __slots__ = ("answers", "last")

    def __init__(self, value: bytes | None = None) -> None:
        self.last = 0
        self.answers = b""
        if value is not None:
            if len(value) < _HEAD_SIZE or value[1] > _VERSION:
                raise CorruptData(f"what was taken of a sender is kept as {value!r}, which this version cannot read")
            self.last = int.from_bytes(value[_LAST], "little")
            self.answers = value[_HEAD_SIZE:]

    def answer_to(self, sequence: int) -> int:
        """What was answered to it; 0: that is not known any more, and nobody asks."""
        index = len(self.answers) - 1 - (self.last - sequence)
        return self.answers[index] if 0 <= index < len(self.answers) else 0

    def may_take(self, sequence: int, first_waited: int) -> bool:
        """Whether it is the next: one that its sender still waits for, and none before it."""
        return sequence > self.last and sequence in (self.last + 1, first_waited)

    def take(self, sequence: int, status: int) -> bytes:
        """It is taken; the value from now on."""
        before = self.answers if sequence == self.last + 1 else b""  # those of a gap were let go of
        self.last = sequence
        self.answers = (before + bytes((status,)))[-UNDER_WAY_MAX:]
        return bytes((_VERSION, _READER_MIN)) + self.last.to_bytes(8, "little") + self.answers
