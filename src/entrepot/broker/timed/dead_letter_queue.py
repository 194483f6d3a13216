"""DeadLetterQueue: what was received too often goes to the queue that the policy names: in one commit with its end here if that is open here too.

Else it goes by intents (outbox/). Until then it stays leased to the broker, so that a crash in between loses nothing. Where that queue is gone the record
goes back to its place.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from entrepot.broker.logs.cursor import GAP, HERE, LATER, Cursor
from entrepot.broker.logs.log_owner import LogOwner
from entrepot.broker.outbox.handover import REDRIVE
from entrepot.broker.subscription.consumer import BROKER_ID
from entrepot.broker.timed.redrive import ANEW, Elsewhere
from entrepot.broker.timed.timed_state import TimedState
from entrepot.broker.timed.transfer import adopt, transfer
from entrepot.model.errors import Unavailable
from entrepot.store.interface import Log

RECORDS_PER_TICK = 256
RETRY_S = 1.0  # while appends are refused, or a target is not open here


class DeadLetterQueue(LogOwner):
    """Of one source. The hub dispatches it as it does queues. `find(name)` gives the live TimedQueue of the source's namespace, or None;
    `find.elsewhere(name)` where it is, when that is not here.
    """

    def __init__(self, timed: TimedState, find: Any) -> None:
        self.dirty = False
        self.name: str | None = None
        self._timed = timed
        self._find = find
        self._due: deque[int] = deque()  # offsets, leased to the broker
        self._cursor = Cursor(timed.hub, timed.log, self._loaded)
        self._moving = 0  # commits with records that go there
        self._retry: Any = None
        self._closed = False

    def is_there(self) -> bool:
        """Whether there is a queue to go to, here or elsewhere."""
        try:
            return self.name is not None and self._find(self.name) is not None
        except Unavailable:
            return True

    def is_busy(self) -> bool:
        """Whether some record is on its way there, and not durably there yet."""
        return (bool(self._due) and self._retry is None) or self._moving > 0 or self._timed.hub.outbox.is_moving(self._timed.log)

    def __call__(self) -> None:
        """A commit with records that went there is durable."""
        self._moving -= 1
        self._timed.hub.mark_dirty(self._timed.queue)

    def add(self, offset: int) -> None:
        """A record that was received as often as it may, and is leased to the broker now."""
        self._due.append(offset)
        self._timed.hub.mark_dirty(self)

    def on_durable(self, log: Log) -> None:
        """Nothing: the queue is the log's owner."""

    def dispatch(self) -> None:
        """One slice of work."""
        timed = self._timed
        if self._closed or not self._due:
            return
        if timed.hub.refusing:
            self._try_later()
            return
        target, apart = self._target()
        left = RECORDS_PER_TICK
        moved = False
        found = HERE
        while self._due and left:
            offset = self._due[0]
            found = self._cursor.locate(offset)
            if found == LATER:
                break
            if apart is not None and found != GAP:
                count = self._hand_over(apart, offset, left)
                if count == 0:
                    self._try_later()
                    break
                left -= count
                continue
            if target is not None and target.store.is_full():  # it is in memory alone: it may have none, and the disk room
                self._try_later()
                break
            self._due.popleft()
            left -= 1
            timed.queue.burying -= 1
            if target is None and apart is None:
                timed.sub.release(BROKER_ID, offset, 1, False)
                timed.returned(offset, 1)
                timed.hub.mark_dirty(timed.queue)
                continue
            if found != GAP:
                base = transfer(timed, target, self._cursor, offset, timed.queue.name)
                row = timed.leases.find(offset)
                if row >= 0:
                    adopt(target, base, timed.leases.first_received_of(row), timed.leases.deliveries_of(row))
                timed.hub.dead_lettered_count += 1
            timed.sub.settle(BROKER_ID, offset, 1)
            timed.queue.discard_settled()
            moved = True
        if moved:
            if target is not None:
                target.kept.stage()
            self._moving += 1
            timed.store.group().calls.append(self)
            timed.store.urgent()
        timed.hub.mark_dirty(timed.queue)
        if self._due and found != LATER and self._retry is None:
            timed.hub.mark_dirty(self)

    def _target(self) -> tuple[Any, Elsewhere | None]:
        """The live queue that it goes to directly, or else where that is; neither: there is none."""
        if self.name is None:
            return None, None
        try:
            target = self._find(self.name)
        except Unavailable:
            return None, self._find.elsewhere(self.name)
        outbox = self._timed.hub.outbox
        if target is not None and outbox.has_any(self._timed.log):
            apart = self._find.elsewhere(self.name)
            if outbox.is_outstanding(self._timed.log, (apart.target[0],)):
                return None, apart
        return target, None

    def _hand_over(self, apart: Elsewhere, first: int, limit: int) -> int:
        """Stage an intent for the record that the cursor is at, and what is due behind it in its entry; of how many (0: there may be none now)."""
        timed = self._timed
        outbox = timed.hub.outbox
        if not outbox.has_room(timed.log):
            return 0
        carried: list[tuple[int, int]] = []
        limit = min(limit, self._cursor.end - first)
        while self._due and len(carried) < limit and self._due[0] == first + len(carried):
            row = timed.leases.find(self._due.popleft())
            carried.append((timed.leases.first_received_of(row), timed.leases.deliveries_of(row)) if row >= 0 else (0, 0))
        timed.queue.burying -= len(carried)
        outbox.stage(timed.queue, REDRIVE, first, len(carried), (apart.target,), reason=ANEW if apart.ordered else "", carried=carried)
        return len(carried)

    def _try_later(self) -> None:
        if self._retry is None:
            self._retry = self._timed.hub.scheduler.call_later(RETRY_S, self._try_again)

    def close(self) -> None:
        """No more work; what is left is received again after a restart."""
        self._closed = True
        if self._retry is not None:
            self._retry.cancel()
        self._cursor.close()

    def _loaded(self) -> None:
        self._timed.hub.mark_dirty(self)

    def _try_again(self) -> None:
        self._retry = None
        if not self._closed:
            self._timed.hub.mark_dirty(self)
