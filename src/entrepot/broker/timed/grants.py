"""Grants: what a Receive gets: which records, under which lease, and the answer once that is durable."""

from __future__ import annotations

import hashlib
from typing import Any

import cython

from entrepot.broker.calls.lease_calls import Receive, Received
from entrepot.broker.calls.port import DONE
from entrepot.broker.subscription.consumer import BROKER_ID
from entrepot.broker.timed.group_scan import GroupScan
from entrepot.broker.timed.kept_leases import TIMED
from entrepot.broker.timed.timed_state import TimedState
from entrepot.broker.timed.waiting_line import GIVEN_UP, GRANTED
from entrepot.model.entry import HAS_GROUPS
from entrepot.store.interface import Group

if not cython.compiled:
    from entrepot.model.octets import put_u16_be, put_u32_be, take_ba

ATTEMPT_MS = 300_000  # how long an attempt is the same
ATTEMPTS_MAX = 100_000  # remembered of one queue

_TIMED = TIMED
_BROKER = BROKER_ID
_BYTES_MAX = 1_048_576  # of one answer, about: with so many, no further record is added
_FEW = 256  # records known ahead: with fewer, what is being fetched is waited for
_END = 0xFFFFFFFFFFFFFFFF
_HAS_GROUPS = HAS_GROUPS
_DONE = DONE

_GRANTED = GRANTED
_GIVEN_UP = GIVEN_UP


class Granted:
    """Receives of one queue whose leases are in one commit: called when that is durable."""

    __slots__ = ("calls", "grants", "group")

    calls: list[Receive]
    group: Group

    def __init__(self, grants: Grants, group: Group) -> None:
        self.grants = grants
        self.group = group
        self.calls = []

    def __call__(self) -> None:
        """Answer them."""
        grants = self.grants
        if grants.granted is self:
            grants.granted = None
        failure: Exception | None = None
        for call in self.calls:
            door = call.attachment
            if door.closed or call.state == _GIVEN_UP:
                grants.give_back(call)
                if door.closed:
                    call.timed = None
                    continue
            call.state = None
            call.timed = None
            call.outcome = _DONE
            try:
                door.sink.completed(call)
            except Exception as error:
                failure = failure or error
        if failure is not None:
            raise failure


class Grants:
    """Of one queue. `nonce`: 4 random octets, for the ids of its leases."""

    __slots__ = ("attempts", "counter", "dead_letters", "granted", "hub", "id_bytes", "leases", "queue", "receive_max", "store", "sub", "timed")

    def __init__(self, timed: TimedState, nonce: bytes) -> None:
        self.timed = timed
        self.queue = timed.queue
        self.hub = timed.hub
        self.store = timed.store
        self.sub = timed.sub
        self.leases = timed.leases
        self.id_bytes = bytearray(b"\0" * 6 + nonce + b"\0" * 6)  # time, chance of this start, counter
        self.counter = 0
        self.granted: Granted | None = None  # of the open commit
        self.attempts: dict[bytes, tuple[bytes, list[int]]] = {}  # end of the lease id -> lease id, offsets; the oldest first
        self.receive_max = 0  # 0: no limit
        self.dead_letters: Any = None

    def grant(self, call: Receive) -> bool:
        """Lease what is ready for the call, if there is anything; it completes with the commit."""
        if self.timed.scan is not None:
            return self.grant_grouped(call)
        queue = self.queue
        sub = self.sub
        cursor = queue.cursor
        now = self.timed.now_ms()
        limit = self.room(call)
        lease_id = b""
        got = 0
        size = 0
        while got < limit and size < _BYTES_MAX and sub.ready_count > 0:
            if queue.expirable and queue.expire_head():
                continue
            offset = sub.peek()
            if offset == _END:
                break
            if not queue.locate(offset):
                if cursor.loading or sub.peek() == offset:
                    break
                continue
            if cursor.entry.flags & _HAS_GROUPS and got == 0:
                self.timed.scan = GroupScan(queue, False)
                return self.grant_grouped(call)
            data = self.data_for(call)
            if data is None:
                if cursor.loading:
                    break
                continue
            want = limit - got
            if self.receive_max and offset < self.leases.end:
                if self.is_dead(offset, sub.counted_deliveries(offset)):
                    self.bury(offset)
                    continue
                want = self.leases.same_deliveries(offset, want)
            average = len(data) // cursor.entry.count
            if want * average > _BYTES_MAX - size:
                want = (_BYTES_MAX - size) // average + 1
            taken = sub.take(_TIMED, want, cursor.end)
            if taken == 0:
                break
            if not lease_id:
                lease_id = self.next_lease_id(now)
            self.give(call, data, sub.taken_first, taken, sub.counted_deliveries(sub.taken_first), lease_id, now)
            got += taken
            size += taken * average
        if got == 0:
            return False
        self.granting(call, lease_id)
        return True

    def grant_grouped(self, call: Receive) -> bool:
        """As grant(), in the order of a GroupWindow."""
        queue = self.queue
        sub = self.sub
        cursor = queue.cursor
        scan = self.timed.scan
        assert scan is not None
        window = scan.window
        now = self.timed.now_ms()
        limit = self.room(call)
        lease_id = b""
        got = 0
        while queue.expirable and queue.expire_head():
            pass
        scan.fill()
        buried = False
        if scan.cursor.loading and window.linked < _FEW:
            return False  # it is served when more is known
        window.begin()
        size = 0
        while got < limit and size < _BYTES_MAX:
            offset = scan.next()
            if offset == _END:
                break
            if not queue.locate(offset):
                if cursor.loading or window.next() == offset:
                    break
                continue
            data = self.data_for(call)
            if data is None:
                if cursor.loading:
                    break
                continue
            if self.receive_max and self.is_dead(offset, sub.counted_deliveries(offset)):
                window.take(offset)
                self.bury(offset)
                buried = True
                continue
            if buried:
                buried = False
                window.begin()  # what is behind it in its group waits until it has left
                continue
            if sub.take_range(_TIMED, offset, 1) == 0:
                self.timed.taken(offset)
                continue
            window.take(offset)
            if not lease_id:
                lease_id = _attempt_lease(call.attempt_id, now) if call.attempt_id else self.next_lease_id(now)
            self.give(call, data, offset, 1, sub.counted_deliveries(offset), lease_id, now)
            got += 1
            size += len(data) // cursor.entry.count
        if got == 0:
            return False
        if call.attempt_id:
            self.note_attempt(lease_id, [item.offset for item in call.received], now)
        self.granting(call, lease_id)
        return True

    def room(self, call: Receive) -> int:
        """How many the call may get."""
        left = self.timed.in_flight_max - self.leases.held
        return min(call.count, left)

    def data_for(self, call: Receive) -> bytes | None:
        """The queue's cursor's entry as the call's codec packs it; None: the cursor is loading, or it is opaque to who asks, and was dropped."""
        cursor = self.queue.cursor
        if call.codec == cursor.tag:
            return cursor.data()
        if not cursor.is_ready(call.codec):
            return None
        data = self.hub.translated(cursor.stored, call.codec)
        if data is None:
            self.sub.drop(cursor.base, cursor.end - cursor.base)
            self.queue.discard_settled()
        return data

    def is_dead(self, offset: int, others: int) -> bool:
        """Whether the record was received as often as it may, and can be moved away."""
        return self.leases.deliveries_at(offset) + others >= self.receive_max and self.dead_letters is not None and self.dead_letters.is_there()

    def bury(self, offset: int) -> None:
        """The broker has it from now on, to move it away."""
        if self.sub.take_range(_BROKER, offset, 1):
            self.queue.burying += 1
            self.dead_letters.add(offset)

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
        call.timed = self.timed
        call.lease_id = lease_id
        call.queue_id = self.timed.id
        self.timed.kept.stage()
        group = self.store.group()
        granted = self.granted
        if granted is None or granted.group is not group:
            granted = Granted(self, group)
            self.granted = granted
            group.calls.append(granted)
        granted.calls.append(call)
        self.store.urgent()
        self.timed.arm()

    def give_back(self, call: Receive) -> None:
        """What was leased for a call that nobody waits for any more is ready again."""
        leases = self.leases
        if self.timed.ended:
            return
        now = self.timed.now_ms()
        for item in call.received:
            row = leases.find(item.offset)
            if row >= 0 and leases.is_held(row) and leases.has_id(row, call.lease_id):
                leases.change(row, now)
                self.timed.release(item.offset, row)
        self.timed.kept.stage()
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

    # ---- attempts: a Receive that is said to be the same as an earlier one

    def note_attempt(self, lease_id: bytes, offsets: list[int], now: int) -> None:
        """These were given for an attempt, whose id is in that of the lease."""
        attempts = self.attempts
        attempts.pop(lease_id[6:], None)
        attempts[lease_id[6:]] = (lease_id, offsets)
        while attempts:
            oldest, (other, _) = next(iter(attempts.items()))
            if len(attempts) <= ATTEMPTS_MAX and int.from_bytes(other[:6], "big") + ATTEMPT_MS > now:
                break
            del attempts[oldest]

    def is_again(self, call: Receive, now: int) -> bool:
        """Whether the attempt was answered less than five minutes ago, and all of it is still leased so."""
        lease_id, offsets = self.attempts.get(_attempt_lease(call.attempt_id, 0)[6:], (b"", []))
        if not offsets or int.from_bytes(lease_id[:6], "big") + ATTEMPT_MS <= now:
            return False
        rows = [self.leases.find(offset) for offset in offsets]
        return all(row >= 0 and self.leases.is_held(row) and self.leases.has_id(row, lease_id) for row in rows)

    def grant_again(self, call: Receive, now: int) -> bool:
        """Give what the attempt got, for a new while; False: it has to be fetched first."""
        queue = self.queue
        lease_id, offsets = self.attempts[_attempt_lease(call.attempt_id, 0)[6:]]
        received: list[Received] = []
        for offset in offsets:
            if not queue.locate(offset):
                return False
            cursor = queue.cursor
            data = self.data_for(call)
            if data is None:
                return False
            codec = self.hub.codec(call.codec)
            row = self.leases.find(offset)
            item = Received.__new__(Received)
            item.data = data
            item.base = cursor.base
            item.position = codec.skip(data, codec.start(data), offset - cursor.base)
            item.offset = offset
            item.deliveries = self.leases.deliveries_of(row) + self.sub.counted_deliveries(offset)
            item.first_received_ms = self.leases.first_received_of(row)
            item.append_time_ms = cursor.entry.append_time_ms
            received.append(item)
        for offset in offsets:
            self.leases.change(self.leases.find(offset), now + call.visibility_ms)
        call.received = received
        self.granting(call, lease_id)
        return True

    def load_attempts(self, now: int) -> None:
        """At opening, of an ordered queue: every lease that holds may be an attempt's."""
        for offset in self.leases.offsets():
            row = self.leases.find(offset)
            lease_id = self.leases.lease_id_of(row)
            if self.leases.is_held(row) and int.from_bytes(lease_id[:6], "big") + ATTEMPT_MS > now:
                self.attempts.setdefault(lease_id[6:], (lease_id, []))[1].append(offset)


def _attempt_lease(attempt_id: bytes, now: int) -> bytes:
    """The id of a lease for an attempt that begins now."""
    return now.to_bytes(6, "big") + hashlib.blake2b(attempt_id, digest_size=10).digest()
