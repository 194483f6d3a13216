"""What one connection has to send: answers, in parts."""

from __future__ import annotations

JOINED_MAX_BYTES = 4096

_JOINED_MAX = JOINED_MAX_BYTES


class Output:
    """Parts waiting to be written, in order. `size` is how many bytes wait. Small neighbours are joined: a part of its own costs more than a copy."""

    def __init__(self) -> None:
        self.size = 0
        self._parts: list[bytes | bytearray] = []
        self._small: bytearray | None = None  # the last part, while others may be added to it

    def add(self, parts: list[bytes | bytearray]) -> int:
        """Append the parts of one answer, which are the output's from now on."""
        for part in parts:
            size = len(part)
            self.size += size
            if size > _JOINED_MAX:
                self._parts.append(part)
                self._small = None
            elif self._small is not None:
                self._small += part
            else:
                self._parts.append(part)
                self._small = part if isinstance(part, bytearray) else None
        return 0

    def take(self) -> list[bytes | bytearray]:
        """All that waits, for a gathering write. Nothing waits afterwards."""
        parts = self._parts
        self._parts = []
        self._small = None
        self.size = 0
        return parts
