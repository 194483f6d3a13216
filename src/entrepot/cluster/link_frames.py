"""What a link carries once both ends have proved who they are (docs/formats/link.md).

u32be  size of what follows the kind, at most FRAME_MAX_BYTES
u8     kind: 1 data, 2 acknowledgement (u64be: data frames received since both starts began), 3 alive (nothing follows)
"""

from __future__ import annotations

import cython

from entrepot.model.errors import CorruptData

if not cython.compiled:
    from entrepot.model.octets import get_u32_be_ba, get_u64_be_ba, over_u32_be, over_u64_be, take, take_ba
    from entrepot.net.receive_buffer import ReceiveBuffer

DATA, ACK, ALIVE = 1, 2, 3
HEAD_SIZE = 5
FRAME_MAX_BYTES = 1 << 30  # of the longest message that limits.message_bytes allows, twice as much

_DATA, _ACK, _ALIVE, _HEAD, _FRAME_MAX = DATA, ACK, ALIVE, HEAD_SIZE, FRAME_MAX_BYTES

_COUNT_MAX = (1 << 63) - 1  # of frames since two starts began
_DATA_HEAD = bytes((0, 0, 0, 0, DATA))
_ACK_FRAME = bytes((0, 0, 0, 8, ACK)) + bytes(8)
ALIVE_FRAME = bytes((0, 0, 0, 0, ALIVE))


class LinkDecoder(ReceiveBuffer):
    """Frames out of bytes. Before the proof, take(count) reads what is no frame.

    `acknowledged` is the count that the other end has told last, never less than before; -1: none since it was reset.
    """

    def __init__(self) -> None:
        super().__init__()
        self.acknowledged = -1

    def peek(self, count: int) -> bytes | None:
        """The next `count` bytes, once they are here."""
        if self._end - self._start < count:
            return None
        return take_ba(self._buffer, self._start, count)

    def take(self, count: int) -> bytes | None:
        """The same, taken."""
        found = self.peek(count)
        if found is not None:
            self._start += count
        return found

    def frames(self) -> list[bytes]:
        """The data frames that are whole. Raises CorruptData: a peer that has proved who it is sends what is none."""
        buffer = self._buffer
        pos = self._start
        end = self._end
        found: list[bytes] = []
        self._total = 0
        while end - pos >= _HEAD:
            size = get_u32_be_ba(buffer, pos)
            kind = buffer[pos + 4]
            if size > _FRAME_MAX:
                raise CorruptData(f"a frame of {size} bytes; the limit is {_FRAME_MAX}")
            if kind != _DATA and size != (8 if kind == _ACK else 0):
                raise CorruptData(f"a frame of kind {kind} and {size} bytes")
            if size > end - pos - _HEAD:
                self._total = _HEAD + size
                break
            if kind == _DATA:
                found.append(take_ba(buffer, pos + _HEAD, size))
            elif kind == _ACK:
                acknowledged = get_u64_be_ba(buffer, pos + _HEAD)
                if acknowledged > _COUNT_MAX:
                    raise CorruptData(f"an acknowledgement of {acknowledged} frames")
                if self.acknowledged >= 0 and acknowledged < self.acknowledged:
                    raise CorruptData(f"an acknowledgement of {acknowledged} frames behind one of {self.acknowledged}")
                self.acknowledged = acknowledged
            elif kind != _ALIVE:
                raise CorruptData(f"a frame of kind {kind} and {size} bytes")
            pos += _HEAD + size
        self._start = pos
        return found


def data_head(size: int) -> bytes:
    """What stands before the octets of a data frame."""
    return over_u32_be(take(_DATA_HEAD, 0, 5), 0, size)


def ack_frame(received: int) -> bytes:
    """An acknowledgement."""
    return over_u64_be(take(_ACK_FRAME, 0, 13), 5, received)
