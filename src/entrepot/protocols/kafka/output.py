"""What one connection has to send: answers, in parts."""

from __future__ import annotations

JOINED_MAX_BYTES = 16 * 1024

_JOINED_MAX = JOINED_MAX_BYTES


class Output:
    """Parts waiting to be written, in order. `size` is how many bytes wait."""

    def __init__(self) -> None:
        self.size = 0
        self._parts: list[bytes | bytearray] = []

    def add(self, parts: list[bytes | bytearray]) -> int:
        """Append the parts of one answer."""
        for part in parts:
            self._parts.append(part)
            self.size += len(part)
        return 0

    def take(self) -> list[bytes | bytearray]:
        """All that waits, for a gathering write; few bytes in many parts are joined. Nothing waits afterwards."""
        parts = self._parts
        if len(parts) > 1 and self.size <= _JOINED_MAX:
            parts = [b"".join(parts)]
        self._parts = []
        self.size = 0
        return parts
