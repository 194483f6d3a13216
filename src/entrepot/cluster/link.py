"""Link: what two starts of processes have sent each other, over however many connections that takes: each frame arrives once, in order.

A broken connection is no death: what the other has not acknowledged is kept, and sent again over the next connection. A link ends when a start does.
Nothing is ever dropped: who would send when the other has been silent for long asks `is_full` first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from entrepot.cluster.link_frames import FRAME_MAX_BYTES, ack_frame, data_head
from entrepot.model.errors import CorruptData

HELD_MAX_BYTES = 64 << 20  # not acknowledged; beyond it the link is full
WINDOW_BYTES = 256 << 10  # at most so much is given to a connection in one go, so that it goes on reading whatever waits
FRAME_BYTES = 256  # about what a frame takes in memory besides its octets
TOLD_BYTES = 64 << 10  # that have come are acknowledged at once; fewer with what goes there anyway, or when acknowledge() is called

_Frame: TypeAlias = tuple[int, tuple[bytes, ...]]  # how long it is with its head; its octets, the head first


def _nobody() -> None:
    """There is no connection."""


class Link:
    """Between this start and the start `peer` of the process `name`. Counts are of data frames since both began. `wake`: tells who has a connection for it."""

    def __init__(self, name: str, peer: bytes, held_max: int = HELD_MAX_BYTES) -> None:
        self.name = name
        self.peer = peer
        self.received = 0  # frames that have come, and been heeded
        self.acknowledged = 0  # of ours, that have come there
        self.held_bytes = 0  # of memory, about, for what is not acknowledged
        self.wake: Callable[[], object] = _nobody
        self.held_max = held_max
        self._begun: deque[_Frame] = deque()  # given to this connection, the last one perhaps in part; not acknowledged
        self._ahead: deque[_Frame] = deque()  # to be given to it
        self._rest: deque[bytes | memoryview] = deque()  # of the last that was begun, what is still to be given
        self._given_most = 0  # how many of ours a connection has carried whole, ever
        self._told = 0  # of `received`, what this connection has told
        self._untold_bytes = 0  # of frames, about, that have come since

    @property
    def is_full(self) -> bool:
        """Whether so much waits for an acknowledgement that nothing new should be begun."""
        return self.held_bytes > self.held_max

    @property
    def sent(self) -> int:
        """How many frames of ours there have been."""
        return self.acknowledged + len(self._begun) + len(self._ahead)

    def send(self, *parts: bytes) -> None:
        """One frame of these octets, as soon as there is a connection. Raises ValueError: it is longer than a frame may be."""
        size = sum(map(len, parts))
        if size > FRAME_MAX_BYTES:
            raise ValueError(f"a frame of {size} bytes; the limit is {FRAME_MAX_BYTES}")
        head = data_head(size)
        self._ahead.append((len(head) + size, (head, *parts)))
        self.held_bytes += len(head) + size + FRAME_BYTES
        self.wake()

    # ---- over one connection

    def may_resume(self, received: int) -> bool:
        """Whether the other may have `received` frames of ours: what it no longer needs, and nothing that it was never sent."""
        return self.acknowledged <= received <= self._given_most

    def resume(self, received: int) -> None:
        """A new connection, whose other end has `received` frames of ours, as may_resume() says."""
        self._rest.clear()
        self._ahead.extendleft(reversed(self._begun))
        self._begun.clear()
        self._acknowledge(self._ahead, received)
        self._told = self.received  # the greeting did
        self._untold_bytes = 0

    def came(self, count: int, size: int) -> None:
        """So many frames have come in about so many bytes: the next to be heeded."""
        self.received += count
        self._untold_bytes += size + count * FRAME_BYTES

    @property
    def owes(self) -> bool:
        """Whether the other has not been told of all that has come."""
        return self._told < self.received

    def acknowledge(self) -> None:
        """What has come is acknowledged now: the other keeps it for as long as it is not."""
        self._untold_bytes = TOLD_BYTES

    @property
    def waits(self) -> bool:
        """Whether take() has something that is to go now."""
        return bool(self._rest) or bool(self._ahead) or (self._untold_bytes >= TOLD_BYTES and self._told < self.received)

    def take(self) -> list[bytes | memoryview]:
        """What goes over the connection now, in order: an acknowledgement, if one is owed and no frame is half given, and at most WINDOW_BYTES of frames."""
        out: list[bytes | memoryview] = []
        left = WINDOW_BYTES
        while left > 0:
            if not self._rest:
                if self._told < self.received:
                    self._told = self.received
                    self._untold_bytes = 0
                    out.append(ack_frame(self.received))
                if not self._ahead:
                    break
                frame = self._ahead.popleft()
                self._begun.append(frame)
                self._rest.extend(frame[1])
            part = self._rest.popleft()
            if len(part) > left:
                view = memoryview(part)
                self._rest.appendleft(view[left:])
                part = view[:left]
            out.append(part)
            left -= len(part) or 1  # octets that are none still take time
        self._given_most = max(self._given_most, self._given)
        return out

    @property
    def _given(self) -> int:
        """How many of ours this connection has carried whole, or did not need to."""
        return self.acknowledged + len(self._begun) - bool(self._rest)

    def heard(self, received: int) -> None:
        """The other has `received` frames of ours. Raises CorruptData where it cannot have."""
        if not self.acknowledged <= received <= self._given:
            raise CorruptData(f"{self.name} acknowledges {received} frames; it was sent {self._given}, and had {self.acknowledged}")
        self._acknowledge(self._begun, received)

    def _acknowledge(self, kept: deque[_Frame], received: int) -> None:
        for _ in range(received - self.acknowledged):
            size, _ = kept.popleft()
            self.held_bytes -= size + FRAME_BYTES
        self.acknowledged = received
