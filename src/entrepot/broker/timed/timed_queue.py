"""TimedQueue: the side of a queue whose leases are timed: Receives and what they hold, their ends, and who waits.

It stands beside the Queue, whose subscription holds its leases under the consumer id TIMED; the connections' leases are others of the
same subscription. A Receive is answered when the commit that holds its leases is durable; what was leased is kept by lease_state.py.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from entrepot.broker.calls.lease_calls import (
    FOREIGN,
    EndLeases,
    PolicyChanged,
    Receive,
)
from entrepot.broker.calls.port import DONE, Attachment, fail
from entrepot.broker.queue.queue import Queue
from entrepot.broker.timed.dead_letter_queue import DeadLetterQueue
from entrepot.broker.timed.delays import DELAYED, Delays
from entrepot.broker.timed.grants import Grants
from entrepot.broker.timed.kept_leases import TIMED
from entrepot.broker.timed.lease_ends import LeaseEnds
from entrepot.broker.timed.timed_state import TimedState
from entrepot.broker.timed.waiting_line import GIVEN_UP, GRANTED, SHORT, WAITING
from entrepot.broker.timed.waits import Waits
from entrepot.model.errors import NotDone, Reason, Refused

LAPSE_MAX = 2048  # leases that end at once; the rest in the next turn
SERVE_MAX = 256  # waiting calls answered before other queues have their turn
LOAD_WAIT_MS = 5000  # how long a call that would not wait waits for the disk

_TIMED = TIMED
_END = 0xFFFFFFFFFFFFFFFF
_LAPSE_MAX = LAPSE_MAX
_SERVE_MAX = SERVE_MAX
_LOAD_WAIT = LOAD_WAIT_MS
_DONE = DONE
_FOREIGN = FOREIGN

_WAITING = WAITING
_SHORT = SHORT
_GRANTED = GRANTED
_GIVEN_UP = GIVEN_UP


class TimedQueue(TimedState):
    """One queue's. find() gives others of its namespace by name, find.elsewhere() where they are (owner/timed_sides.py).

    `policy_version` says which of the queue's own policies holds (0: none).
    """

    __slots__ = (
        "ends",
        "find",
        "grants",
        "move",
        "moves",
        "policy_version",
        "purged_ms",
        "short_until",
        "visibility_ms",
        "wait_ms",
    )

    def __init__(self, queue: Queue, definition: Any, waits: Waits, nonce: bytes, find: Any) -> None:
        super().__init__(queue, definition, waits)
        self.find = find
        # policies, from the definition
        self.policy_version = 0
        self.visibility_ms = 0
        self.wait_ms = 0
        # what it does with its leases
        self.ends = LeaseEnds(self)
        self.grants = Grants(self, nonce)
        self.delays = Delays.of(self)
        self.purged_ms = 0
        self.short_until = 0  # calls that would not wait wait until this is durable
        self.moves: Any = None  # the broker's MoveTasks
        self.move: Any = None  # the task that moves what lies here, while it runs
        self.configure()
        self.kept.load(self.sub, self.now_ms())
        if self.ordered:
            self.grants.load_attempts(self.now_ms())
        self.arm()

    def configure(self) -> None:
        """The definition has changed."""
        policy = self.definition.policy
        self.policy_version = self.definition.policy_version if self.definition.access_policy else 0
        self.visibility_ms = policy.visibility_ms
        self.wait_ms = policy.wait_ms
        self.grants.receive_max = policy.receive_max if policy.dead_letter_queue is not None else 0
        if policy.dead_letter_queue is not None and self.grants.dead_letters is None:
            self.grants.dead_letters = DeadLetterQueue(self, self.find)
        if self.grants.dead_letters is not None:
            self.grants.dead_letters.name = policy.dead_letter_queue

    # ---- Receive

    def receive(self, call: Receive) -> None:
        """See lease_calls.Receive. The caller has checked permissions. Raises Refused."""
        if call.visibility_ms < 0:
            call.visibility_ms = self.visibility_ms
        if call.wait_ms < 0:
            call.wait_ms = self.wait_ms
        if self.ended:
            raise self.queue.gone.again()
        self.end_due()  # its timer may come later
        if self.leases.held >= self.in_flight_max:
            raise Refused(Reason.LIMIT, f"{self.in_flight_max} messages of queue '{self.queue.name}' are in flight, as many as there may be")
        if call.attempt_id and self.ordered and self.grants.is_again(call, self.now_ms()):
            if not self.grants.grant_again(call, self.now_ms()):
                self.queue.wait(partial(self.receive_later, call))
            return
        if self.line.first is None and self.grants.grant(call):
            return
        if call.wait_ms > 0:
            call.state = _WAITING
            wait_ms = call.wait_ms
        elif (
            self.is_loading()
            or self.is_burying()
            or (self.line.first is not None and self.sub.ready_count > 0)
            or self.log.next_offset > self.log.durable_offset
        ):
            call.state = _SHORT
            self.short_until = self.log.next_offset  # what others were told of, or will be with the same commit, is seen
            wait_ms = _LOAD_WAIT
        else:
            self.finish(call)
            return
        call.timed = self
        self.line.join(call, wait_ms)
        self.queue.hub.mark_dirty(self.queue)

    def receive_later(self, call: Receive) -> None:
        """What it waited for is in memory."""
        try:
            self.receive(call)
        except NotDone as error:
            fail(call, error)

    def is_loading(self) -> bool:
        """Whether something is being fetched that may be given."""
        return self.queue.cursor.loading or (self.scan is not None and self.scan.cursor.loading)

    def is_burying(self) -> bool:
        """Whether something is on its way to the dead-letter queue."""
        return self.grants.dead_letters is not None and self.grants.dead_letters.is_busy()

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
            self.ends.settle(call)
        else:
            self.ends.change(call, call.visibility_ms)
        self.store.group().calls.append(call)
        self.store.urgent()

    def withdraw_all(self, door: Attachment | None) -> None:
        """The calls of a door that is closed or may not receive any more, or (None) of all doors, wait no more: who may goes on with another."""
        call = self.line.first
        while call is not None:
            after = call.after
            if door is None or call.attachment is door:
                self.line.leave(call)
                self.finish(call)
            call = after

    # ---- what the queue tells

    def advanced(self) -> None:
        """More is visible."""
        if self.delays is not None:
            self.delays.advanced(self.now_ms())

    def settled(self, ranges: list[tuple[int, int]]) -> None:
        """These are settled, by whomever."""
        for first, end in ranges:
            self.leases.remove_range(first, end)
            if self.scan is not None:
                self.scan.settled(first, end)
        self.kept.passed(self.sub.floor, self.sub.cursor)

    def look_again(self) -> None:
        """Some may be taken again; it is not known which."""
        if self.scan is not None:
            self.scan.look_again()

    def next_of_groups(self) -> int:
        """What a connection's consumer may take now; END: nothing."""
        scan = self.scan
        assert scan is not None
        scan.fill()
        scan.window.begin()
        return scan.next()

    def same_deliveries(self, offset: int, limit: int) -> int:
        """See LeaseTable."""
        return self.leases.same_deliveries(offset, limit)

    def deliveries_at(self, offset: int) -> int:
        """See LeaseTable."""
        return self.leases.deliveries_at(offset)

    def dispatch(self) -> None:
        """End what is due, then give what is ready to who waits."""
        self.end_due()
        if self.line.first is not None and self.sub.ready_count > 0 and not self.queue.cursor.loading:
            self.serve()
        if self.line.short_count and self.log.durable_offset >= self.short_until and not self.is_loading() and not self.is_burying():
            self.finish_short()

    def end_due(self) -> None:
        """Leases and delays whose time has come end."""
        now = self.now_ms()
        if self.leases.next_deadline() <= now:
            self.expire(now)
        if self.delays is not None:
            self.delays.dispatch(now)

    def expire(self, now: int) -> None:
        """End the leases whose deadline has come."""
        left = _LAPSE_MAX
        while left:
            offset = self.leases.lapse_next(now)
            if offset == _END:
                break
            self.sub.release(_TIMED, offset, 1, False)
            if self.scan is not None:
                self.scan.returned(offset, 1)
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
                call.timed = None
                continue
            state = call.state
            if not self.grants.grant(call):
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

    def delay(self, due_ms: int, first: int, count: int) -> None:
        """These were just staged, and are to be seen from then on."""
        if self.delays is None:
            self.delays = Delays(self)
        self.delays.add(due_ms, first, count)

    # ---- figures

    def delayed_count(self) -> int:
        """How many wait for their time."""
        return self.sub.held_count(DELAYED)

    # ---- life

    def purge(self) -> None:
        """Settle everything that is durable, leased or not."""
        self.sub.settle(_TIMED, 0, _END)
        self.sub.settle(DELAYED, 0, _END)
        self.queue.purge()
        if self.scan is not None:
            self.scan.shelf.clear()
        if self.delays is not None:
            self.delays.drop()
            self.delays = None
        if self.sending.repeats is not None:
            self.sending.repeats.clear()

    def drop(self) -> None:
        """The queue is deleted: so is what was kept."""
        self.kept.drop()
        if self.sending.repeats is not None:
            self.sending.repeats.clear()
        if self.delays is not None:
            self.delays.drop_later()
        self.moves.forget(self)

    def close(self, gone: NotDone) -> None:
        """The queue is deleted, or open elsewhere: who waits is told."""
        self.ended = True
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.scan is not None:
            self.scan.close()
        if self.grants.dead_letters is not None:
            self.grants.dead_letters.close()
        if self.move is not None:
            self.move.close()
        if self.moves is not None:
            self.moves.leave(self)
        while self.line.first is not None:
            call = self.line.first
            self.line.leave(call)
            call.state = None
            call.timed = None
            fail(call, gone)

    def policy_changed(self) -> PolicyChanged:
        """The refusal of a call that was checked against another policy."""
        definition = self.definition
        return PolicyChanged(
            f"the policy of queue '{self.queue.name}' has changed", self.policy_version, definition.access_policy, self.queue.definition.namespace
        )
