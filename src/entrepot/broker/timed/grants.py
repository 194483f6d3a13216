"""Grants: what a Receive gets: which records, under which lease, and the answer once that is durable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cython

from entrepot.broker.lease_calls import Receive, Received
from entrepot.broker.port import DONE
from entrepot.broker.timed.group_scan import GroupScan
from entrepot.broker.timed.kept_leases import TIMED
from entrepot.broker.timed.waiting_line import GIVEN_UP, GRANTED
from entrepot.model.entry import HAS_GROUPS
from entrepot.store.interface import Group

if not cython.compiled:
    from entrepot.model.octets import put_u16_be, put_u32_be, take_ba

if TYPE_CHECKING:
    from entrepot.broker.timed.timed_queue import TimedQueue

_TIMED = TIMED
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
        for call in self.calls:
            link = call.attachment
            if link.closed or call.state == _GIVEN_UP:
                grants.give_back(call)
                if link.closed:
                    continue
            call.state = None
            call.timed = None
            call.outcome = _DONE
            link.sink.completed(call)


class Grants:
    """Of one queue. `nonce`: 4 random octets, for the ids of its leases."""

    __slots__ = ("counter", "granted", "hub", "id_bytes", "leases", "queue", "store", "sub", "timed")

    def __init__(self, timed: TimedQueue, nonce: bytes) -> None:
        self.timed = timed
        self.queue = timed.queue
        self.hub = timed.hub
        self.store = timed.store
        self.sub = timed.sub
        self.leases = timed.leases
        self.id_bytes = bytearray(b"\0" * 6 + nonce + b"\0" * 6)  # time, chance of this start, counter
        self.counter = 0
        self.granted: Granted | None = None  # of the open commit

    def grant(self, call: Receive) -> bool:
        """Lease what is ready for the call, if there is anything; it completes with the commit."""
        if self.timed.scan is not None:
            return self.grant_grouped(call)
        queue = self.queue
        sub = self.sub
        cursor = queue.cursor
        now = self.timed.now_ms()
        limit = call.count
        if limit > self.timed.in_flight_max - self.leases.held:
            limit = self.timed.in_flight_max - self.leases.held
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
            if cursor.entry.flags & _HAS_GROUPS and got == 0:
                self.timed.scan = GroupScan(queue, False)
                return self.grant_grouped(call)
            data = self.data_for(call)
            if data is None:
                continue
            taken = sub.take(_TIMED, limit - got, cursor.end)
            if taken == 0:
                break
            if not lease_id:
                lease_id = self.next_lease_id(now)
            self.give(call, data, sub.taken_first, taken, sub.taken_deliveries, lease_id, now)
            got += taken
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
        limit = call.count
        if limit > self.timed.in_flight_max - self.leases.held:
            limit = self.timed.in_flight_max - self.leases.held
        lease_id = b""
        got = 0
        while queue.expirable and queue.expire_head():
            pass
        scan.fill()
        window.begin()
        while got < limit:
            offset = window.next()
            if offset == _END:
                break
            if not queue.locate(offset):
                if cursor.loading or window.next() == offset:
                    break
                continue
            data = self.data_for(call)
            if data is None:
                continue
            window.take(offset)
            if sub.take_range(_TIMED, offset, 1) == 0:
                continue
            if not lease_id:
                lease_id = self.next_lease_id(now)
            self.give(call, data, offset, 1, sub.taken_deliveries, lease_id, now)
            got += 1
        if got == 0:
            return False
        self.granting(call, lease_id)
        return True

    def data_for(self, call: Receive) -> bytes | None:
        """The queue's cursor's entry as the call's codec packs it; None: it is opaque to who asks, and was dropped."""
        cursor = self.queue.cursor
        if call.codec == cursor.tag:
            return cursor.data()
        data = self.hub.translated(cursor.stored, call.codec)
        if data is None:
            self.sub.drop(cursor.base, cursor.end - cursor.base)
            self.queue.discard_settled()
        return data

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
        if self.timed.deleted:
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
