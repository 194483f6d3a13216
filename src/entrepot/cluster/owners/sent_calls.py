"""SentCalls: calls on queues with timed leases that a front has sent to an owner elsewhere, and that change something there: Send and EndLeases.

As of publishes (sent_stages.py), the frame of each is kept until it is answered, to go again to the owner's next start, which knows what it has taken.
"""

from __future__ import annotations

from typing import Any, TypeAlias, TypeVar

from entrepot.broker.calls.lease_calls import EndLeases, Send
from entrepot.broker.owners import Lane
from entrepot.cluster.link_frames import FRAME_MAX_BYTES
from entrepot.model.errors import CorruptData, Reason, Refused, Unavailable

CALLS_MAX = 10_000  # of them, and of Receives, that wait for one owner
CALLS_MAX_BYTES = 64 << 20  # of their frames
CALL_BYTES = 512  # about what one takes in memory besides its octets

Kind = TypeVar("Kind", Send, EndLeases)

_Sent: TypeAlias = tuple[Any, Lane, bytes]
"""The call, its lane, its frame (if it may have to go again)."""


class SentCalls:
    """Of one owner, in the order in which they were made."""

    def __init__(self) -> None:
        self._size = 0
        self._calls: dict[int, _Sent] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def check_room(self) -> None:
        """Raises Unavailable: as many wait as may."""
        if len(self._calls) >= CALLS_MAX or self._size > CALLS_MAX_BYTES:
            raise Unavailable("much that was asked before is not answered yet")

    @staticmethod
    def check_frame(frame: bytes) -> None:
        """Raises Refused: it cannot be sent, now or later."""
        if len(frame) > FRAME_MAX_BYTES:
            raise Refused(Reason.TOO_LARGE, f"a frame is at most of {FRAME_MAX_BYTES} bytes")

    def put(self, number: int, call: Send | EndLeases, lane: Lane, frame: bytes) -> None:
        """It waits."""
        self._calls[number] = call, lane, frame
        self._size += len(frame) + CALL_BYTES

    def maybe_get(self, number: int, kind: type[Kind]) -> Kind | None:
        """That one; None: nobody waits for it. Raises CorruptData: it is of another kind."""
        found = self._calls.get(number)
        if found is None:
            return None
        if not isinstance(found[0], kind):
            raise CorruptData(f"an answer to {number}, which asked for no such thing")
        return found[0]

    def take(self, number: int) -> None:
        """It is answered."""
        _, _, frame = self._calls.pop(number)
        self._size -= len(frame) + CALL_BYTES

    def first(self, otherwise: int) -> int:
        """The first that waits, or that number."""
        return next(iter(self._calls), otherwise)

    def again(self) -> list[tuple[int, Lane, tuple[bytes, ...]]]:
        """Those that wait: number, lane and frame."""
        return [(number, lane, (frame,)) for number, (_, lane, frame) in self._calls.items()]

    def end(self) -> list[tuple[int, Any]]:
        """Nobody will answer: which they were."""
        ended = [(number, call) for number, (call, _, _) in self._calls.items()]
        self._calls.clear()
        self._size = 0
        return ended
