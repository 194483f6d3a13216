"""What one connection has to send."""

from __future__ import annotations


class Output:
    """Answers waiting to be written, in order. `size` is how many bytes wait."""

    def __init__(self) -> None:
        self.size = 0
        self._parts: list[bytes] = []

    def add(self, part: bytes) -> int:
        """Send it after all others."""
        self._parts.append(part)
        self.size += len(part)
        return 0

    def take(self) -> list[bytes]:
        """All that waits, for a gathering write."""
        parts = self._parts
        self._parts = []
        self.size = 0
        return parts
