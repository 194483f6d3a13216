"""Link: what two starts of processes have sent each other, over however many connections that takes: each frame arrives once, in order.

A broken connection is no death: what the other has not acknowledged is kept, and sent again over the next connection. A link ends when a start does.
Nothing is ever dropped: who would send when the other has been silent for long asks `is_full` first.
"""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

from entrepot.cluster.link_frames import ack_frame, data_head
from entrepot.model.errors import CorruptData

HELD_MAX_BYTES = 64 << 20  # not acknowledged; beyond it the link is full

Frame: TypeAlias = tuple[int, tuple[bytes, ...]]
"""How long it is, and its octets, the head first."""


class Link:
    """Between this start and the start `peer` of the process `name`. Counts are of data frames since both began."""

    def __init__(self, name: str, peer: bytes, held_max: int = HELD_MAX_BYTES) -> None:
        self.name = name
        self.peer = peer
        self.received = 0  # frames that have come, and been heeded
        self.acknowledged = 0  # of ours, that have come there
        self.held_bytes = 0  # of ours, not acknowledged
        self.waiting_bytes = 0  # of those what take() would give
        self._held_max = held_max
        self._written: deque[Frame] = deque()  # over this connection, not acknowledged
        self._ahead: deque[Frame] = deque()  # to be written over it
        self._written_most = 0  # how many of ours were ever written
        self._told = 0  # of `received`, what this connection has told

    @property
    def is_full(self) -> bool:
        """Whether so much waits for an acknowledgement that nothing new should be begun."""
        return self.held_bytes > self._held_max

    def send(self, *parts: bytes) -> None:
        """One frame of these octets, as soon as there is a connection."""
        size = sum(map(len, parts))
        self._ahead.append((size, (data_head(size), *parts)))
        self.held_bytes += size
        self.waiting_bytes += size

    # ---- over one connection

    def may_resume(self, received: int) -> bool:
        """Whether the other may have `received` frames of ours: what it no longer needs, and nothing that it was never sent."""
        return self.acknowledged <= received <= self._written_most

    def resume(self, received: int) -> None:
        """A new connection, whose other end has `received` frames of ours, as may_resume() says."""
        self._ahead.extendleft(reversed(self._written))
        self._written.clear()
        self._acknowledge(self._ahead, received)
        self.waiting_bytes = self.held_bytes
        self._told = self.received  # the greeting did

    @property
    def waits(self) -> bool:
        """Whether take() has something."""
        return bool(self._ahead) or self._told < self.received

    def take(self) -> list[bytes]:
        """What goes over the connection now, in order: at most one acknowledgement, and all that it has not carried yet."""
        out: list[bytes] = []
        if self._told < self.received:
            self._told = self.received
            out.append(ack_frame(self.received))
        if self._ahead:
            for _, parts in self._ahead:
                out.extend(parts)
            self._written.extend(self._ahead)
            self._ahead.clear()
            self.waiting_bytes = 0
            self._written_most = max(self._written_most, self.acknowledged + len(self._written))
        return out

    def heard(self, received: int) -> None:
        """The other has `received` frames of ours. Raises CorruptData where it cannot have."""
        if not self.acknowledged <= received <= self.acknowledged + len(self._written):
            raise CorruptData(f"{self.name} acknowledges {received} frames; it was sent {self.acknowledged + len(self._written)}, and had {self.acknowledged}")
        self._acknowledge(self._written, received)

    def _acknowledge(self, kept: deque[Frame], received: int) -> None:
        for _ in range(received - self.acknowledged):
            size, _ = kept.popleft()
            self.held_bytes -= size
        self.acknowledged = received
