"""A message whose frames did not come in one piece: what is known of it, and its body so far."""

from __future__ import annotations

import cython

from entrepot.protocols.amqp091.events import PublishRun

if not cython.compiled:
    from entrepot.model.octets import put_u32_be

_PART_MIN = 4096  # smaller body frames are gathered: an object each would cost more than its bytes


class Assembly:
    """One channel's unfinished message. `left` counts the body bytes to come; `skipped` ones keep nothing."""

    def __init__(self, channel: int, key: bytes, bits: int) -> None:
        self.channel = channel
        self.key = key
        self.bits = bits
        self.has_header = False
        self.skipped = False
        self.flags = 0
        self.properties = b""
        self.body_size = 0
        self.left = 0
        self._parts: list[bytes] = []
        self._tail = bytearray()

    def gather(self, part: bytes) -> int:
        """Add one body frame's payload."""
        size = len(part)
        if size < _PART_MIN:
            self._tail += part
        if size >= _PART_MIN or len(self._tail) >= _PART_MIN:
            if self._tail:
                self._parts.append(bytes(self._tail))
                self._tail = bytearray()
            if size >= _PART_MIN:
                self._parts.append(part)
        return 0

    def run(self) -> PublishRun:
        """The whole message as a run of one."""
        sizes = bytearray(8)
        put_u32_be(sizes, 0, len(self.properties))
        put_u32_be(sizes, 4, self.body_size)
        run = PublishRun.__new__(PublishRun)
        run.channel = self.channel
        run.key = self.key
        run.mandatory = self.bits & 1 != 0
        run.immediate = self.bits & 2 != 0
        run.data = b"".join([bytes(sizes), self.properties, *self._parts, bytes(self._tail)])
        run.count = 1
        run.body_bytes = self.body_size
        run.property_flags_or = self.flags
        run.alike = True
        return run
