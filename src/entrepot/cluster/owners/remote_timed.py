"""RemoteTimed: queues with timed leases at an owner in another process. What of it is under way when the owner's start is dead ends as *unknown*, or
*unavailable*: who asks tries again, and what was leased comes back when its time is over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from entrepot.broker.calls import lease_calls
from entrepot.broker.calls.port import DONE, Attachment, fail
from entrepot.broker.owners import Lane, Owner
from entrepot.cluster.owners import kinds, words
from entrepot.cluster.owners.doors import Readers
from entrepot.cluster.owners.lanes import Lanes, RemoteLane
from entrepot.cluster.owners.outlet import Outlet
from entrepot.cluster.owners.waiting import Receiving, Waiting
from entrepot.model.errors import CorruptData, NotDone


class RemoteTimed(Owner):
    """Of a RemoteOwner, whose parts these are."""

    _outlet: Outlet
    _lanes: Lanes
    _readers: Readers
    _waiting: Waiting

    def timed(self, log_id: bytes) -> Lane:
        """See Owner."""
        return self._lanes.timed(log_id)

    def holds(self, lane: Lane) -> bool:
        """See Owner: as far as it is known here."""
        assert isinstance(lane, RemoteLane)
        return lane.stands and not self._outlet.is_over

    def send(self, lane: Lane, call: lease_calls.Send) -> bool:
        """See Owner."""
        self._outlet.check()
        lane_number = self._lanes.number(lane)
        number = self._waiting.next()
        what = (call.codec, call.codec_version, call.flags, call.data, call.count, call.sizes, call.message_ids)
        more = (call.delays_ms, call.groups, call.deduplication_ids, call.content_ids, call.policy_version)
        self._outlet.say(words.Send(number, lane_number, *what, *more))
        self._waiting.put(number, call)
        return False

    def receive(self, lane: Lane, call: lease_calls.Receive) -> None:
        """See Owner."""
        self._outlet.check()
        assert isinstance(lane, RemoteLane)
        door = self._readers.door(call.attachment)
        waits = Receiving(call, lane, door, self._withdraw)
        number = self._waiting.next()
        self._waiting.put(number, waits)
        door.calls += 1
        call.timed = waits
        terms = (call.codec, call.count, call.visibility_ms, call.wait_ms, call.attempt_id, call.policy_version)
        self._outlet.say(words.Receive(number, self._lanes.number(lane), door.number, *terms))

    def end_leases(self, lane: Lane, call: lease_calls.EndLeases) -> None:
        """See Owner."""
        self._outlet.check()
        number = self._waiting.next()
        self._waiting.put(number, call)
        self._end_leases(number, self._lanes.number(lane), call)

    def _end_leases(self, number: int, lane: int, call: lease_calls.EndLeases) -> None:
        self._outlet.say(words.EndLeases(number, lane, call.queue_id, call.offsets, call.lease_ids, call.visibility_ms, call.policy_version))

    def withdraw_all(self, lane: Lane, attachment: Attachment) -> None:
        """See Owner."""
        door = self._readers.known(attachment)
        if door is not None:
            self._outlet.say(words.WithdrawAll(self._lanes.number(lane), door.number))
            self._readers.rest(door)

    def _withdraw(self, waits: Receiving) -> None:
        number = self._waiting.number_of(waits)
        if number:
            self._outlet.say(words.Withdraw(number))

    def _sent(self, said: words.Sent) -> None:
        call = self._waiting.get(said.call, lease_calls.Send)
        error = words.error_of(said.error)
        errors: Any = None if said.errors is None else [words.error_of(one) for one in said.errors]
        if error is None:
            lists: list[Any] = [said.offsets, said.stored_ids, *([] if errors is None else [errors])]
            if any(len(items) != call.count for items in lists):
                raise CorruptData(f"of {call.count} messages {len(said.offsets)} offsets are told")
            call.offsets, call.stored_ids, call.errors = said.offsets, said.stored_ids, errors
        self._waiting.take(said.call)
        _complete(call, error)

    def _received(self, said: words.Received) -> None:
        waits = self._waiting.get(said.call, Receiving)
        call = waits.call
        error = words.error_of(said.error)
        received = [_received(said, item) for item in said.received]
        if len(received) > call.count:
            raise CorruptData(f"{len(received)} messages for who asked for {call.count}")
        self._waiting.take(said.call)
        call.timed = None
        waits.door.calls -= 1
        self._readers.rest(waits.door)
        if error is None:
            call.lease_id, call.queue_id = said.lease_id, said.queue_id
            call.received = received
            if call.received and (waits.withdrawn or call.attachment.closed):
                self._give_back(waits)
        _complete(call, error)

    def _give_back(self, waits: Receiving) -> None:
        """Nobody waits for it any more."""
        call = waits.call
        offsets = [item.offset for item in call.received]
        end = lease_calls.make_end_leases(call.stream, call.queue, call.queue_id, offsets, [call.lease_id] * len(offsets), [0] * len(offsets))
        end.policy_version = call.policy_version
        self._end_leases(self._waiting.next(), self._lanes.number(waits.lane), end)
        call.received = []

    def _leases_ended(self, said: words.LeasesEnded) -> None:
        call = self._waiting.maybe_get(said.call, lease_calls.EndLeases)
        error = words.error_of(said.error)
        if call is not None:
            if error is None and (len(said.statuses) != len(call.offsets) or max(said.statuses, default=0) > lease_calls.TOO_LONG):
                raise CorruptData(f"of {len(call.offsets)} leases {len(said.statuses)} are said to have ended, or in no known way")
            self._waiting.take(said.call)
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
