"""LeaseEnds: what an EndLeases does: settle what its handles hold, or give it other deadlines. One lookup and one comparison a handle."""

from __future__ import annotations

from entrepot.broker.calls.lease_calls import ENDED, FOREIGN, LEASE_MAX_MS, NOT_LEASED, SUPERSEDED, TOO_LONG, EndLeases
from entrepot.broker.timed.kept_leases import TIMED
from entrepot.broker.timed.timed_state import TimedState

_TIMED = TIMED
_LEASE_MAX = LEASE_MAX_MS
_ENDED = ENDED
_NOT_LEASED = NOT_LEASED
_SUPERSEDED = SUPERSEDED
_FOREIGN = FOREIGN
_TOO_LONG = TOO_LONG


class LeaseEnds:
    """Of one queue."""

    __slots__ = ("leases", "sub", "timed")

    def __init__(self, timed: TimedState) -> None:
        self.timed = timed
        self.sub = timed.sub
        self.leases = timed.leases

    def settle(self, call: EndLeases) -> None:
        """Settle what the handles still hold."""
        sub = self.sub
        leases = self.leases
        statuses = call.statuses
        first = 0
        count = 0  # of neighbours that are held, and settled together
        settled = 0
        for index in range(len(call.offsets)):
            offset = call.offsets[index]
            row = leases.find(offset)
            status = _ENDED
            if row < 0:
                status = self.status_of(offset)
            elif not leases.has_id(row, call.lease_ids[index]):
                status = _SUPERSEDED
            elif leases.is_held(row):
                if count == 0 or offset != first + count:
                    if count:
                        sub.settle(_TIMED, first, count)
                    first = offset
                    count = 0
                leases.lapse(row)  # named twice, it is settled once
                count += 1
                settled += 1
            elif self.timed.ordered:
                status = _NOT_LEASED
            elif sub.drop(offset, 1) == 0 and not (first <= offset < first + count):
                status = _SUPERSEDED  # a connection's consumer has it
            statuses.append(status)
        if count:
            sub.settle(_TIMED, first, count)
        self.timed.hub.settled_count += settled
        self.timed.queue.discard_settled()
        if self.timed.line.first is not None or self.timed.queue.consumers:
            self.timed.hub.mark_dirty(self.timed.queue)

    def status_of(self, offset: int) -> int:
        """Of a handle whose record has no lease."""
        if offset >= self.timed.log.next_offset:
            return _FOREIGN
        return _SUPERSEDED if self.sub.is_settled(offset) else _FOREIGN

    def change(self, call: EndLeases, times: list[int]) -> None:
        """Give new deadlines."""
        leases = self.leases
        now = self.timed.now_ms()
        statuses = call.statuses
        for index in range(len(call.offsets)):
            offset = call.offsets[index]
            visibility = times[index]
            row = leases.find(offset)
            status = _ENDED
            if row < 0:
                status = self.status_of(offset)
            elif not leases.has_id(row, call.lease_ids[index]):
                status = _SUPERSEDED
            elif now + visibility > _begin_of(call.lease_ids[index]) + _LEASE_MAX:
                status = _TOO_LONG
            elif leases.is_held(row):
                leases.change(row, now + visibility)
                if visibility == 0:
                    self.timed.release(offset, row)
            elif self.timed.ordered:
                status = _NOT_LEASED
            elif self.sub.take_range(_TIMED, offset, 1) == 0:
                status = _SUPERSEDED  # a connection's consumer has it
            else:
                if self.timed.scan is not None:
                    self.timed.scan.window.taken(offset)
                leases.hold_again(row, now + visibility)
                if visibility == 0:
                    self.timed.release(offset, row)
            statuses.append(status)
        self.timed.kept.stage()
        self.timed.arm()


def _begin_of(lease_id: bytes) -> int:
    return int.from_bytes(lease_id[:6], "big")
