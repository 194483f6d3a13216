"""RemoteTimed: queues with timed leases at an owner in another process.

While a durable owner's process starts again its calls wait, as publishes do. What was sent and not answered goes again: a Send and an EndLeases under the
number that they had, so that each is done once; a Receive with what is left of its time, as who asked would do by himself: what it may have leased before,
and did not tell, comes back when its lease is over. A Receive whose time is over meanwhile is done, with nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from entrepot.broker.calls import lease_calls
from entrepot.broker.calls.port import DONE, Attachment, fail
from entrepot.broker.front.held_calls import SHORT_MS
from entrepot.broker.owners import Lane, Owner
from entrepot.cluster.owners import hot_frames, kinds, words
from entrepot.cluster.owners.doors import Readers
from entrepot.cluster.owners.lanes import Lanes, RemoteLane
from entrepot.cluster.owners.outlet import Outlet
from entrepot.cluster.owners.sent_calls import CALLS_MAX, SentCalls
from entrepot.cluster.owners.sent_stages import SentStages
from entrepot.cluster.owners.waiting import Receiving, Waiting
from entrepot.model.errors import CorruptData, NotDone, Unavailable
from entrepot.store.interface import Scheduler

WAITS_STEP = 8  # calls, from one word to the next on which answers need not be kept: here each answer is
LOOK_S = 0.1  # until it is looked again whose time is over
LATE_S = 1.0  # that an owner which has returned may be late


class RemoteTimed(Owner):
    """Of a RemoteOwner, whose parts these are."""

    _outlet: Outlet
    _lanes: Lanes
    _readers: Readers
    _waiting: Waiting
    _stages: SentStages

    def __init__(self, scheduler: Scheduler, survives: bool) -> None:
        self._scheduler = scheduler
        self._survives = survives
        self._returning = False
        self._sent_calls = SentCalls()
        self._told_waits = 0  # from where on answers are waited for, as was said last
        self._asked_again = 0  # calls below that one have waited for the owner to return
        self._timer: Any = None

    def timed(self, log_id: bytes) -> Lane:
        """See Owner."""
        return self._lanes.timed(log_id)

    def holds(self, lane: Lane) -> bool:
        """See Owner: as far as it is known here."""
        assert isinstance(lane, RemoteLane)
        return lane.stands and (self._returning or not self._outlet.is_over)

    def _say(self, what: Any) -> None:
        raise NotImplementedError

    def _send(self, *parts: bytes) -> None:
        raise NotImplementedError

    # ---- what changes something

    def send(self, lane: Lane, call: lease_calls.Send) -> bool:
        """See Owner."""
        self._check_calls()
        lane_number = self._lanes.number(lane)
        number = self._waiting.next()
        what = (call.codec, call.codec_version, call.flags, call.data, call.count, call.sizes, call.message_ids)
        more = (call.delays_ms, call.groups, call.deduplication_ids, call.content_ids, call.policy_version)
        self._change(number, call, lane, words.Send(number, lane_number, *what, *more))
        return False

    def end_leases(self, lane: Lane, call: lease_calls.EndLeases) -> None:
        """See Owner."""
        self._check_calls()
        number = self._waiting.next()
        self._change(number, call, lane, self._words_of(number, self._lanes.number(lane), call))

    @staticmethod
    def _words_of(number: int, lane: int, call: lease_calls.EndLeases) -> words.EndLeases:
        return words.EndLeases(number, lane, call.queue_id, call.offsets, call.lease_ids, call.visibility_ms, call.policy_version)

    def _change(self, number: int, call: Any, lane: Lane, what: Any) -> None:
        frame = words.encode(self._outlet.owner, what)
        self._sent_calls.check_frame(frame)
        if not self._returning and number >= self._told_waits + WAITS_STEP:
            self._say_waits(number, WAITS_STEP)
        self._send(frame)
        self._sent_calls.put(number, call, lane, frame if self._survives else b"")

    def _say_waits(self, number: int, step: int) -> None:
        """Answers that are kept there, and that nobody waits for any more, need not be."""
        first = min(self._stages.first(number), self._sent_calls.first(number))
        if first >= self._told_waits + step:
            self._told_waits = first
            if self._survives:
                self._send(hot_frames.waits_from(self._outlet.owner, first))

    def _check_calls(self) -> None:
        """Raises Unavailable: nothing more may be asked. For an owner that returns it waits."""
        if not self._returning:
            self._outlet.check()
        self._sent_calls.check_room()

    # ---- Receives

    def receive(self, lane: Lane, call: lease_calls.Receive) -> None:
        """See Owner."""
        if not self._returning:
            self._outlet.check()
        elif len(self._waiting) >= CALLS_MAX:
            raise Unavailable("much that was asked before is not answered yet")
        assert isinstance(lane, RemoteLane)
        door = self._readers.door(call.attachment)
        until_s = self._scheduler.time() + (call.wait_ms if call.wait_ms > 0 else SHORT_MS) / 1000
        waits = Receiving(call, lane, door, self._withdraw, until_s)
        number = self._waiting.next()
        self._waiting.put(number, waits)
        door.calls += 1
        call.timed = waits
        if self._returning:
            self._watch()
        else:
            self._say_receive(number, waits, call.wait_ms)

    def _say_receive(self, number: int, waits: Receiving, wait_ms: int) -> None:
        call = waits.call
        terms = (call.codec, call.count, call.visibility_ms, wait_ms, call.attempt_id, call.policy_version)
        self._say(words.Receive(number, self._lanes.number(waits.lane), waits.door.number, *terms))

    def _receive_again(self, number: int, waits: Receiving) -> None:
        """Of an owner that is there again."""
        left_ms = int((waits.until_s - self._scheduler.time()) * 1000)
        wait_ms = waits.call.wait_ms
        self._say_receive(number, waits, wait_ms if wait_ms <= 0 else max(left_ms, 0))

    def withdraw_all(self, lane: Lane, attachment: Attachment) -> None:
        """See Owner."""
        door = self._readers.known(attachment)
        if door is None:
            return
        if self._returning:
            for number, waits in self._receives():
                if waits.door is door and waits.lane is lane:
                    self._finish(number, waits)
            return
        self._say(words.WithdrawAll(self._lanes.number(lane), door.number))
        self._readers.rest(door)

    def _withdraw(self, waits: Receiving) -> None:
        number = self._waiting.number_of(waits)
        if number and self._returning:
            self._finish(number, waits)
        elif number:
            self._say(words.Withdraw(number))

    # ---- their time, while the owner returns

    def _receives(self) -> list[tuple[int, Receiving]]:
        return [(number, who) for number, who in self._waiting.again() if isinstance(who, Receiving)]

    def _end_late(self) -> None:
        """The start that may still have answered those that are over is no more."""
        for number, waits in self._receives():
            if waits.is_over or waits.call.attachment.closed:
                self._leave(number, waits)
        self._watch()

    def _watch(self) -> None:
        """Look at them again and again."""
        if self._timer is None:
            self._timer = self._scheduler.call_later(LOOK_S, self._look)

    def _look(self) -> None:
        """Those whose time is over are done, with nothing: after the owner's return, those that had waited for it, as it holds everybody for a moment, too."""
        self._timer = None
        now_s = self._scheduler.time()
        late_s = now_s if self._returning else now_s - LATE_S
        some = False
        for number, waits in self._receives():
            if waits.is_over or not (self._returning or number < self._asked_again):
                continue
            if waits.until_s <= late_s:
                self._finish(number, waits)
            else:
                some = True
        if some:
            self._watch()

    def _finish(self, number: int, waits: Receiving) -> None:
        """It is done, with nothing. What an answer brings that is still to come goes back."""
        if self._returning:
            self._leave(number, waits)
        else:
            waits.is_over = True
            self._say(words.Withdraw(number))
        call = waits.call
        call.timed = None
        call.received, call.lease_id, call.queue_id = [], b"", waits.lane.words.log_ids[0]
        _complete(call, None)

    def _leave(self, number: int, waits: Receiving) -> None:
        self._waiting.take(number)
        waits.door.calls -= 1
        self._readers.rest(waits.door)

    # ---- what comes

    def _sent(self, said: words.Sent) -> None:
        call = self._sent_calls.maybe_get(said.call, lease_calls.Send)
        if call is None:
            raise CorruptData(f"an answer to {said.call}, which sent nothing")
        error = words.error_of(said.error)
        errors: Any = None if said.errors is None else [words.error_of(one) for one in said.errors]
        if error is None:
            lists: list[Any] = [said.offsets, said.stored_ids, *([] if errors is None else [errors])]
            if any(len(items) != call.count for items in lists):
                raise CorruptData(f"of {call.count} messages {len(said.offsets)} offsets are told")
            call.offsets, call.stored_ids, call.errors = said.offsets, said.stored_ids, errors
        self._sent_calls.take(said.call)
        self._stages.last_except = max(said.call, self._stages.last_except)
        _complete(call, error)

    def _received(self, said: words.Received) -> None:
        waits = self._waiting.get(said.call, Receiving)
        call = waits.call
        error = words.error_of(said.error)
        received = [_received(said, item) for item in said.received]
        if len(received) > call.count:
            raise CorruptData(f"{len(received)} messages for who asked for {call.count}")
        self._leave(said.call, waits)
        nobody = waits.is_over or waits.withdrawn or call.attachment.closed
        if received and nobody and error is None:
            self._give_back(waits, said, [item.offset for item in received])
            received = []
        if waits.is_over:
            return
        call.timed = None
        if error is None:
            call.lease_id, call.queue_id = said.lease_id, said.queue_id
            call.received = received
        _complete(call, error)

    def _give_back(self, waits: Receiving, said: words.Received, offsets: list[int]) -> None:
        """Nobody waits for it any more."""
        call = waits.call
        end = lease_calls.make_end_leases(call.stream, call.queue, said.queue_id, offsets, [said.lease_id] * len(offsets), [0] * len(offsets))
        end.policy_version = call.policy_version
        self._say(self._words_of(self._waiting.next(), self._lanes.number(waits.lane), end))

    def _leases_ended(self, said: words.LeasesEnded) -> None:
        self._waiting.check(said.call)
        call = self._sent_calls.maybe_get(said.call, lease_calls.EndLeases)
        error = words.error_of(said.error)
        if call is not None:
            if error is None and (len(said.statuses) != len(call.offsets) or max(said.statuses, default=0) > lease_calls.TOO_LONG):
                raise CorruptData(f"of {len(call.offsets)} leases {len(said.statuses)} are said to have ended, or in no known way")
            self._sent_calls.take(said.call)
            call.statuses = said.statuses
            _complete(call, error)

    heeds: ClassVar[dict[int, Callable[[Any, Any], None]]] = {
        kinds.SENT: _sent,
        kinds.RECEIVED: _received,
        kinds.LEASES_ENDED: _leases_ended,
    }


def _received(said: words.Received, item: words.WordsOfReceived) -> lease_calls.Received:
    if item.entry >= len(said.entries) or item.position >= len(said.entries[item.entry]):
        raise CorruptData(f"a record at {item.position} of entry {item.entry} of {len(said.entries)}")
    received = lease_calls.Received.__new__(lease_calls.Received)
    received.data = said.entries[item.entry]
    received.base, received.position, received.offset, received.deliveries = item.base, item.position, item.offset, item.deliveries
    received.first_received_ms, received.append_time_ms = item.first_received_ms, item.append_time_ms
    return received


def _complete(call: Any, error: NotDone | None) -> None:
    if error is not None:
        fail(call, error)
        return
    call.outcome = DONE
    if not call.attachment.closed:
        call.attachment.sink.completed(call)
