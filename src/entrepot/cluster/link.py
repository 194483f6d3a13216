"""Link: what two starts of processes have sent each other, over however many connections that takes: each frame arrives once, in order.

A broken connection is no death: what the other has not acknowledged is kept, and sent again over the next connection. A link ends when a start does.
Nothing is ever dropped: who would send when the other has been silent for long asks `is_full` first.

LinkOutput and LinkCore are what a connection (link_session.py) does for each read and write once it is open.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias

import cython

from entrepot.model.errors import CorruptData

if not cython.compiled:
    from entrepot.cluster.link_frames import LinkDecoder, ack_frame, data_head

from entrepot.cluster.link_frames import FRAME_MAX_BYTES

HELD_MAX_BYTES = 64 << 20  # not acknowledged; beyond it the link is full
WINDOW_BYTES = 256 << 10  # at most so much is given to a connection in one go, so that it goes on reading whatever waits
FRAME_BYTES = 256  # about what a frame takes in memory besides its octets
TOLD_BYTES = 64 << 10  # that have come are acknowledged at once; fewer with what goes there anyway, or when acknowledge() is called
TOLD_S = 0.02  # after so long what has come is acknowledged, if nothing has gone there meanwhile, which would have told it
JOINED_BYTES = 16 << 10  # up to so much is given in one piece: to copy it costs less than to write many

_FRAME_MAX, _WINDOW, _FRAME, _TOLD, _JOINED = FRAME_MAX_BYTES, WINDOW_BYTES, FRAME_BYTES, TOLD_BYTES, JOINED_BYTES

_Frame: TypeAlias = tuple[int, bytes, tuple[bytes, ...]]  # how long it is with its head; that, and its octets


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
        self._given = 0  # how many of ours this connection has carried whole, or did not need to
        self._given_most = 0  # the same of any connection, ever
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
        self.put(parts)

    def put(self, parts: tuple[bytes, ...]) -> None:
        """See send()."""
        size = 0
        for part in parts:
            size += len(part)
        if size > _FRAME_MAX:
            raise ValueError(f"a frame of {size} bytes; the limit is {_FRAME_MAX}")
        head = data_head(size)
        size += len(head)
        self._ahead.append((size, head, parts))
        self.held_bytes += size + _FRAME
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
        self._given = received
        self._told = self.received  # the greeting did
        self._untold_bytes = 0

    def came(self, count: int, size: int) -> None:
        """So many frames have come in about so many bytes: the next to be heeded."""
        self.received += count
        self._untold_bytes += size + count * _FRAME

    @property
    def owes(self) -> bool:
        """Whether the other has not been told of all that has come."""
        return self._told < self.received

    def acknowledge(self) -> None:
        """What has come is acknowledged now: the other keeps it for as long as it is not."""
        self._untold_bytes = _TOLD

    @property
    def waits(self) -> bool:
        """Whether take() has something that is to go now."""
        return self.has_more()

    def has_more(self) -> bool:
        """See `waits`."""
        return (self._told < self.received and self._untold_bytes >= _TOLD) or len(self._ahead) > 0 or len(self._rest) > 0

    def take(self) -> list[bytes | memoryview]:
        """What goes over the connection now, in order: an acknowledgement, if one is owed and no frame is half given, and at most WINDOW_BYTES of frames."""
        out: list[bytes | memoryview] = []
        ahead, begun = self._ahead, self._begun
        left = _WINDOW
        if self._rest:
            left = self._take_rest(out, left)
        if left > 0 and self._told < self.received:
            self._told = self.received
            self._untold_bytes = 0
            out.append(ack_frame(self.received))
        while left > 0 and ahead:
            frame = ahead.popleft()
            begun.append(frame)
            size, head, parts = frame
            if size <= left:
                out.append(head)
                out.extend(parts)
                left -= size
                self._given += 1
            else:
                self._rest.append(head)
                self._rest.extend(parts)
                left = self._take_rest(out, left)
        self._given_most = max(self._given_most, self._given)
        if len(out) > 1 and left > _WINDOW - _JOINED:
            return [b"".join(out)]
        return out

    def _take_rest(self, out: list[bytes | memoryview], left: int) -> int:
        """Of the frame that is begun; how much may go behind that."""
        rest = self._rest
        while left > 0 and rest:
            part = rest.popleft()
            if len(part) > left:
                view = memoryview(part)
                rest.appendleft(view[left:])
                part = view[:left]
            out.append(part)
            left -= len(part)
        if not rest:
            self._given += 1
        return left

    def heard(self, received: int) -> None:
        """The other has `received` frames of ours. Raises CorruptData where it cannot have."""
        if not self.acknowledged <= received <= self._given:
            raise CorruptData(f"{self.name} acknowledges {received} frames; it was sent {self._given}, and had {self.acknowledged}")
        self._acknowledge(self._begun, received)

    def _acknowledge(self, kept: deque[_Frame], received: int) -> None:
        left = received - self.acknowledged
        while left > 0:
            size, _, _ = kept.popleft()
            self.held_bytes -= size + _FRAME
            left -= 1
        self.acknowledged = received


class LinkOutput:
    """What a connection has to send: greeting and proof, then what its Link has. `link`: None while it is not open."""

    def __init__(self) -> None:
        self.first: list[bytes] = []
        self.link: Link | None = None

    @property
    def size(self) -> int:
        """Bytes that wait: of a link's, however many, a window, so that a connection never stops reading for them."""
        size = 0
        for part in self.first:
            size += len(part)
        link = self.link
        return size + _WINDOW if link is not None and link.has_more() else size

    def take(self) -> list[bytes | memoryview]:
        """What may go now; flushed() has the rest follow."""
        link = self.link
        if not self.first:
            return [] if link is None else link.take()
        parts: list[bytes | memoryview] = [*self.first]
        self.first = []
        if link is not None:
            parts.extend(link.take())
        return parts


class LinkCore:
    """Of a connection (link_session.py) what is done for each read, once its link goes over it: till then, and when it is about to end, early() is called.

    later(seconds, call): a timer.
    """

    def __init__(self, ends: Any, clock: Any, wake: Callable[[], object], later: Callable[[float, Callable[[], None]], object]) -> None:
        self.output = LinkOutput()
        self._decoder = LinkDecoder()
        self._ends = ends
        self._clock = clock
        self._wake = wake
        self._later = later
        self._heard_s: float = clock.monotonic_s()
        self._is_to_tell = False  # a timer runs

    def get_buffer(self, size_hint: int) -> memoryview:
        """See net.session.Session, for this and the others."""
        room: memoryview = self._decoder.writable()
        return room

    def buffer_updated(self, count: int) -> None:
        """Greeting, proof, then frames."""
        decoder = self._decoder
        decoder.received(count)
        link = self.output.link
        if link is None:
            self.early(count)
        else:
            self._heard_s = self._clock.monotonic_s()
            self._read_frames(link, count)

    def more(self, count: int) -> None:
        """So many bytes have come, perhaps behind what was no frame."""
        link = self.output.link
        if link is not None:
            self._read_frames(link, count)

    def early(self, count: int) -> None:
        """So many bytes have come while the link is not open."""
        raise NotImplementedError

    def end(self, why: str) -> None:
        """The connection is to end, for that."""
        raise NotImplementedError

    def _read_frames(self, link: Link, size: int) -> None:
        decoder = self._decoder
        try:
            found = decoder.frames()
            if decoder.acknowledged >= 0:
                link.heard(decoder.acknowledged)
                decoder.acknowledged = -1
        except CorruptData as error:
            self.end(str(error))
            return
        if found:
            link.came(len(found), size)
            self._ends.frames(link, found)
        if link.has_more():
            self._wake()
        elif link.owes and not self._is_to_tell:
            self._is_to_tell = True
            self._later(TOLD_S, self._tell)

    def _tell(self) -> None:
        self._is_to_tell = False
        link = self.output.link
        if link is not None and link.owes:
            link.acknowledge()
            self._wake()

    def writable(self, is_writable: bool) -> None:
        """Nothing is held back: who is to wait, waits for acknowledgements."""

    def flushed(self) -> None:
        """The socket takes more."""
        link = self.output.link
        if link is not None and link.has_more():
            self._wake()
