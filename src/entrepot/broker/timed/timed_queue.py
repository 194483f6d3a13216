"""TimedQueue: the side of a queue whose leases are timed: Receives and what they hold, their ends, and who waits.

It stands beside the Queue, whose subscription holds its leases under the consumer id TIMED; the connections' leases are others of the
same subscription. A Receive is answered when the commit that holds its leases is durable; what was leased is kept by lease_state.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cython

from entrepot.broker.cursor import HERE
from entrepot.broker.lease_calls import (
    ENDED,
    FOREIGN,
    LEASE_MAX_MS,
    NOT_LEASED,
    SUPERSEDED,
    TOO_LONG,
    EndLeases,
    PolicyChanged,
    Receive,
    Received,
)
from entrepot.broker.port import DONE, REFUSED
from entrepot.broker.timed.kept_leases import TIMED, KeptLeases
from entrepot.broker.timed.lease_table import LeaseTable
from entrepot.broker.timed.waiting_line import SHORT, WAITING, WaitingLine
from entrepot.broker.timed.waits import Waits
from entrepot.model.errors import Reason, Refused
from entrepot.store.interface import Group

if not cython.compiled:
    from entrepot.model.octets import put_u16_be, put_u32_be, take_ba

if TYPE_CHECKING:
    from entrepot.broker.queue import Queue

IN_FLIGHT_MAX = 120_000  # as SQS
LAPSE_MAX = 2048  # leases that end at once; the rest in the next turn
SERVE_MAX = 256  # waiting calls answered before other queues have their turn
LOAD_WAIT_MS = 5000  # how long a call that would not wait waits for the disk

_TIMED = TIMED
_END = 0xFFFFFFFFFFFFFFFF
_NEVER = 0xFFFFFFFFFFFFFFFF
_LAPSE_MAX = LAPSE_MAX
_SERVE_MAX = SERVE_MAX
_LOAD_WAIT = LOAD_WAIT_MS
_LEASE_MAX = LEASE_MAX_MS
_HERE = HERE
_DONE = DONE
_REFUSED = REFUSED
_ENDED = ENDED
_NOT_LEASED = NOT_LEASED
_SUPERSEDED = SUPERSEDED
_FOREIGN = FOREIGN
_TOO_LONG = TOO_LONG

_WAITING = WAITING
_SHORT = SHORT
# further Receive.state
_GRANTED = 3
_GIVEN_UP = 4  # after it was granted


class Granted:
    """Receives of one queue whose leases are in one commit: called when that is durable."""

    __slots__ = ("calls", "group", "queue")

    calls: list[Receive]
    group: Group

    def __init__(self, queue: TimedQueue, group: Group) -> None:
        self.queue = queue
        self.group = group
        self.calls = []

    def __call__(self) -> None:
        """Answer them."""
        timed = self.queue
        if timed.granted is self:
            timed.granted = None
        for call in self.calls:
            link = call.attachment
            if link.closed or call.state == _GIVEN_UP:
                timed.give_back(call)
                if link.closed:
                    continue
            call.state = None
            call.timed = None
            call.outcome = _DONE
            link.sink.completed(call)


class TimedQueue:
    """One queue's. `definition` is its TimedDefinition; `policy_version` says which of the queue's own policies holds (0: none)."""

    __slots__ = (
        "counter",
        "definition",
        "deleted",
        "granted",
        "hub",
        "id",
        "id_bytes",
        "in_flight_max",
        "kept",
        "last_ms",
        "leases",
        "line",
        "log",
        "policy_version",
        "purged_ms",
        "queue",
        "sending",
        "store",
        "sub",
        "timer",
        "timer_due",
        "visibility_ms",
        "wait_ms",
    )

    def __init__(self, queue: Queue, definition: Any, waits: Waits, nonce: bytes) -> None:
        self.queue = queue
        self.definition = definition
        self.hub = queue.hub
        self.store = queue.store
        self.log = queue.log
        self.sub = queue.subscription
        self.id = queue.log.id
        self.deleted = False
        # policies, from the definition
        self.policy_version = 0
        self.visibility_ms = 0
        self.wait_ms = 0
        self.in_flight_max = IN_FLIGHT_MAX
        # leases
        self.leases = LeaseTable()
        self.id_bytes = bytearray(b"\0" * 6 + nonce + b"\0" * 6)  # time, chance of this start, counter
        self.counter = 0
        self.last_ms = 0
        self.timer: Any = None
        self.timer_due = 0
        self.kept = KeptLeases(self.store, self.log, self.leases)
        # who waits
        self.line = WaitingLine(waits)
        self.granted: Granted | None = None  # of the open commit
        self.sending: Any = None
        self.purged_ms = 0
        self.configure()
        self.kept.load(self.sub, self.now_ms())
        self.arm()

    def configure(self) -> None:
        """The definition has changed."""
        policy = self.definition.policy
        self.policy_version = self.definition.policy_version if self.definition.access_policy else 0
        self.visibility_ms = policy.visibility_ms
        self.wait_ms = policy.wait_ms

    def now_ms(self) -> int:
        """The queue's time: never behind what it was."""
        now = self.hub.now_ms()
        if now > self.last_ms:
            self.last_ms = now
        return self.last_ms

    # ---- Receive

    def receive(self, call: Receive) -> None:
        """See lease_calls.Receive. The caller has checked permissions. Raises Refused."""
        if call.visibility_ms < 0:
            call.visibility_ms = self.visibility_ms
        if call.wait_ms < 0:
            call.wait_ms = self.wait_ms
        if self.leases.held >= self.in_flight_max:
            raise Refused(Reason.LIMIT, f"{self.in_flight_max} messages of queue '{self.queue.name}' are in flight, as many as there may be")
        if self.line.first is None and self.grant(call):
            return
        if call.wait_ms > 0:
            call.state = _WAITING
            wait_ms = call.wait_ms
        elif self.queue.cursor.loading or (self.line.first is not None and self.sub.ready_count > 0):
            call.state = _SHORT
            wait_ms = _LOAD_WAIT
        else:
            self.finish(call)
            return
        call.timed = self
        self.line.join(call, wait_ms)
        self.queue.hub.mark_dirty(self.queue)

    def finish(self, call: Receive) -> None:
        """Done, with nothing."""
        call.state = None
        call.timed = None
        call.lease_id = b""
        call.queue_id = self.id
        call.outcome = _DONE
        if not call.attachment.closed:
            call.attachment.sink.completed(call)

    def wait_over(self, call: Receive) -> None:
        """Its time is up."""
        self.line.leave(call)
        self.finish(call)

    def withdraw(self, call: Receive) -> None:
        """See lease_calls.Withdraw."""
        if call.state == _WAITING or call.state == _SHORT:
            self.line.leave(call)
            self.finish(call)
        elif call.state == _GRANTED:
            call.state = _GIVEN_UP

    def grant(self, call: Receive) -> bool:
        """Lease what is ready for the call, if there is anything; it completes with the commit."""
        queue = self.queue
        sub = self.sub
        cursor = queue.cursor
        now = self.now_ms()
        limit = call.count
        if limit > self.in_flight_max - self.leases.held:
            limit = self.in_flight_max - self.leases.held
        lease_id = b""
        got = 0
        while got < limit and sub.ready_count > 0:
            if queue.expirable and queue.expire_head():
                continue
            offset = sub.peek()
            if offset == _END:
                break
            if not queue.locate(offset):
                if cursor.loading or sub.peek() == offset:
                    break
                continue
            data: bytes | None = cursor.data()
            if call.codec != cursor.tag:
                data = self.hub.translated(cursor.stored, call.codec)
                if data is None:  # opaque to who asks: it cannot be told what this is
                    sub.drop(cursor.base, cursor.end - cursor.base)
                    queue.discard_settled()
                    continue
            taken = sub.take(_TIMED, limit - got, cursor.end)
            if taken == 0:
                break
            assert data is not None
            if not lease_id:
                lease_id = self.next_lease_id(now)
            self.give(call, data, sub.taken_first, taken, sub.taken_deliveries, lease_id, now)
            got += taken
        if got == 0:
            return False
        self.granting(call, lease_id)
        return True

    def give(self, call: Receive, data: bytes, first: int, count: int, before: int, lease_id: bytes, now: int) -> None:
        """Lease [first, +count) of the cursor's entry to the call; each was delivered `before` times by others."""
        cursor = self.queue.cursor
        codec = self.hub.codec(call.codec)
        own = call.codec == cursor.tag
        position = cursor.position_of(first) if own else codec.skip(data, codec.start(data), first - cursor.base)
        deadline = now + call.visibility_ms
        leases = self.leases
        received = call.received
        offset = first
        while offset < first + count:
            deliveries = leases.deliveries_at(offset) + 1
            row = leases.lease(offset, lease_id, deadline, now, deliveries)
            item = Received.__new__(Received)
            item.data = data
            item.base = cursor.base
            item.position = position
            item.offset = offset
            item.deliveries = deliveries + before
            item.first_received_ms = leases.first_received_of(row)
            item.append_time_ms = cursor.entry.append_time_ms
            received.append(item)
            offset += 1
            if own or offset < first + count:
                position = codec.skip(data, position, 1)
        if own:
            cursor.passed(offset, position)
        self.hub.delivered_count += count

    def granting(self, call: Receive, lease_id: bytes) -> None:
        """The call's leases are staged: it completes with the open commit."""
        call.state = _GRANTED
        call.timed = self
        call.lease_id = lease_id
        call.queue_id = self.id
        self.kept.stage()
        group = self.store.group()
        granted = self.granted
        if granted is None or granted.group is not group:
            granted = Granted(self, group)
            self.granted = granted
            group.calls.append(granted)
        granted.calls.append(call)
        self.store.urgent()
        self.arm()

    def give_back(self, call: Receive) -> None:
        """What was leased for a call that nobody waits for any more is ready again."""
        leases = self.leases
        if self.deleted:
            return
        now = self.now_ms()
        for item in call.received:
            row = leases.find(item.offset)
            if row >= 0 and leases.is_held(row) and leases.has_id(row, call.lease_id):
                leases.change(row, now)
                leases.lapse(row)
                self.sub.release(_TIMED, item.offset, 1, False)
        self.kept.stage()
        call.received = []
        self.hub.mark_dirty(self.queue)

    def next_lease_id(self, now: int) -> bytes:
        """Of this moment, and never used before."""
        self.counter += 1
        octets = self.id_bytes
        put_u16_be(octets, 0, now >> 32)
        put_u32_be(octets, 2, now & 0xFFFFFFFF)
        put_u16_be(octets, 10, (self.counter >> 32) & 0xFFFF)
        put_u32_be(octets, 12, self.counter & 0xFFFFFFFF)
        return take_ba(octets, 0, 16)

    # ---- EndLeases

    def end_leases(self, call: EndLeases) -> None:
        """See lease_calls.EndLeases. The caller has checked permissions."""
        count = len(call.offsets)
        if call.queue_id != self.id:
            call.statuses = [_FOREIGN] * count
            call.outcome = _DONE
            call.attachment.sink.completed(call)
            return
        if call.visibility_ms is None:
            self.settle(call)
        else:
            self.change(call, call.visibility_ms)
        self.store.group().calls.append(call)
        self.store.urgent()

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
            elif sub.drop(offset, 1) == 0 and not (first <= offset < first + count):
                status = _SUPERSEDED  # a connection's consumer has it
            statuses.append(status)
        if count:
            sub.settle(_TIMED, first, count)
        self.hub.settled_count += settled
        self.queue.discard_settled()
        if self.line.first is not None:
            self.hub.mark_dirty(self.queue)

    def status_of(self, offset: int) -> int:
        """Of a handle whose record has no lease."""
        if offset >= self.log.next_offset:
            return _FOREIGN
        return _SUPERSEDED if self.sub.is_settled(offset) else _FOREIGN

    def change(self, call: EndLeases, times: list[int]) -> None:
        """Give new deadlines."""
        leases = self.leases
        now = self.now_ms()
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
            elif not leases.is_held(row):
                status = _NOT_LEASED
            elif now + visibility > _begin_of(call.lease_ids[index]) + _LEASE_MAX:
                status = _TOO_LONG
            else:
                leases.change(row, now + visibility)
                if visibility == 0:
                    leases.lapse(row)
                    self.sub.release(_TIMED, offset, 1, False)
                    self.hub.mark_dirty(self.queue)
            statuses.append(status)
        self.kept.stage()
        self.arm()

    # ---- what the queue tells

    def advanced(self) -> None:
        """More is visible."""

    def settled(self, ranges: list[tuple[int, int]]) -> None:
        """These are settled, by whomever."""
        for first, end in ranges:
            self.leases.remove_range(first, end)
        self.kept.passed(self.sub.floor)

    def same_deliveries(self, offset: int, limit: int) -> int:
        """See LeaseTable."""
        return self.leases.same_deliveries(offset, limit)

    def deliveries_at(self, offset: int) -> int:
        """See LeaseTable."""
        return self.leases.deliveries_at(offset)

    def dispatch(self) -> None:
        """End what is due, then give what is ready to who waits."""
        now = self.now_ms()
        if self.leases.next_deadline() <= now:
            self.expire(now)
        if self.line.first is not None and self.sub.ready_count > 0 and not self.queue.cursor.loading:
            self.serve()
        if self.line.short_count and not self.queue.cursor.loading:
            self.finish_short()

    def expire(self, now: int) -> None:
        """End the leases whose deadline has come."""
        left = _LAPSE_MAX
        while left:
            offset = self.leases.lapse_next(now)
            if offset == _END:
                break
            self.sub.release(_TIMED, offset, 1, False)
            left -= 1
        if left == 0:
            self.hub.mark_dirty(self.queue)
        self.arm()

    def serve(self) -> None:
        """Who waits longest is first."""
        left = _SERVE_MAX
        while self.line.first is not None and self.sub.ready_count > 0 and self.leases.held < self.in_flight_max:
            call = self.line.first
            if left == 0:
                self.hub.mark_dirty(self.queue)
                return
            left -= 1
            if call.attachment.closed:
                self.line.leave(call)
                continue
            state = call.state
            if not self.grant(call):
                return
            call.state = state
            self.line.leave(call)
            call.state = _GRANTED

    def finish_short(self) -> None:
        """Nothing came for those who would not wait."""
        call = self.line.first
        while call is not None and self.line.short_count:
            after = call.after
            if call.state == _SHORT:
                self.line.leave(call)
                self.finish(call)
            call = after

    def arm(self) -> None:
        """Wake up when the next lease ends."""
        due = self.leases.next_deadline()
        if due == _NEVER or (self.timer is not None and self.timer_due <= due):
            return
        if self.timer is not None:
            self.timer.cancel()
        self.timer_due = due
        delay_ms = due - self.last_ms if due > self.last_ms else 0
        self.timer = self.hub.scheduler.call_later(max(delay_ms, 1) / 1000, self.due)

    def due(self) -> None:
        """Some lease may have ended."""
        self.timer = None
        if not self.deleted:
            self.hub.mark_dirty(self.queue)
            self.arm_later()

    def arm_later(self) -> None:
        """After the dispatch to come."""
        if self.leases.next_deadline() > self.now_ms():
            self.arm()

    # ---- figures

    def delayed_count(self) -> int:
        """How many wait for their time."""
        return 0

    # ---- life

    def purge(self) -> None:
        """Settle everything that is durable, leased or not."""
        self.sub.settle(_TIMED, 0, _END)
        self.queue.purge()

    def close(self) -> None:
        """The queue is gone, or the broker stops: who waits is told."""
        self.deleted = True
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        while self.line.first is not None:
            call = self.line.first
            self.line.leave(call)
            call.state = None
            call.error = Refused(Reason.NOT_FOUND, f"queue '{self.queue.name}' is deleted")
            call.outcome = _REFUSED
            if not call.attachment.closed:
                call.attachment.sink.completed(call)

    def policy_changed(self) -> PolicyChanged:
        """The refusal of a call that was checked against another policy."""
        definition = self.definition
        return PolicyChanged(
            f"the policy of queue '{self.queue.name}' has changed", self.policy_version, definition.access_policy, self.queue.definition.namespace
        )


def _begin_of(lease_id: bytes) -> int:
    return int.from_bytes(lease_id[:6], "big")
