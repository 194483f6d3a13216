"""What a SessionTable knows of one session: what is kept of it (Kept), and who has it (Attached)."""

from __future__ import annotations

from collections.abc import Iterable

from entrepot.broker.calls.questions import AttachSession, WillFields
from entrepot.broker.calls.session_requests import FOREVER_S
from entrepot.broker.owners import Done
from entrepot.broker.queue.queue import Queue
from entrepot.broker.sessions.session_state import SessionRow
from entrepot.model.errors import NotDone, Reason, Refused

NEVER_MS = 1 << 63


class Kept:
    """One that is kept, its row but for the will. `delay_s` -1: it has none. `over`: it has ended, its queue is to go."""

    __slots__ = ("attached", "delay_s", "due_ms", "ended_ms", "expiry_s", "generation", "log_id", "over", "queue")

    def __init__(self, log_id: bytes, queue: Queue, row: SessionRow) -> None:
        self.log_id = log_id
        self.queue = queue
        self.attached: Attached | None = None
        self.over = False
        self.due_ms = NEVER_MS
        self.be(row)

    def be(self, row: SessionRow) -> None:
        """As its row says."""
        self.generation = row.generation
        self.expiry_s = row.expiry_s
        self.ended_ms = row.ended_ms
        self.delay_s = -1 if row.will is None else row.will[6]

    def end_ms(self) -> int:
        """When it ends."""
        if self.over:
            return 0
        return NEVER_MS if self.ended_ms < 0 or self.expiry_s == FOREVER_S else self.ended_ms + 1000 * self.expiry_s

    def will_ms(self) -> int:
        """When its will is due."""
        return NEVER_MS if self.ended_ms < 0 or self.delay_s < 0 else min(self.ended_ms + 1000 * self.delay_s, self.end_ms())


class Attached:
    """Who has a session. `will`: of one that is not kept. `opening`: the catalogue is being changed for it; `waiting`: who wants it meanwhile.

    `hold` is called when it is lost.
    """

    __slots__ = ("front", "generation", "hold", "kept", "opening", "shard", "user", "waiting", "will")

    def __init__(self, front: bytes, user: str, generation: int, shard: int) -> None:
        self.user = user
        self.front = front
        self.generation = generation
        self.shard = shard
        self.kept: Kept | None = None
        self.will: WillFields | None = None
        self.opening = False
        self.waiting: list[tuple[AttachSession, Done]] = []
        self.hold: Done | None = None

    def lost(self, error: NotDone | None) -> None:
        """Tell whoever holds it."""
        hold, self.hold = self.hold, None
        if hold is not None:
            hold(None if error is None else error.again(), None)


def taken_over(name: str) -> Refused:
    """What is told to who has a session no more."""
    return Refused(Reason.TAKEN_OVER, f"session '{name}' was opened by somebody else since, or has ended")


def parted(runs: list[tuple[int, int]], indices: Iterable[int]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Numbers of records, in order, without those of these indices, ascending; and those."""
    kept: list[tuple[int, int]] = []
    dropped: list[tuple[int, int]] = []
    at = iter(sorted(indices))
    index = next(at, -1)
    base = 0
    for first, count in runs:
        begin = 0
        while 0 <= index < base + count:
            if index - base > begin:
                kept.append((first + begin, index - base - begin))
            dropped.append((first + index - base, 1))
            begin = index - base + 1
            index = next(at, -1)
        if begin < count:
            kept.append((first + begin, count - begin))
        base += count
    return kept, dropped
