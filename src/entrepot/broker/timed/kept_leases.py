"""KeptLeases: what a LeaseTable knows, staged into commits and loaded at opening (layout: lease_state.py)."""

from __future__ import annotations

from entrepot.broker.subscription.leases import Subscription
from entrepot.broker.timed.lease_state import BLOCK_SIZE, LEASE_PREFIX, RUN_SIZE
from entrepot.broker.timed.lease_table import LeaseTable
from entrepot.store.interface import Log, Store

TIMED = 0xFFFFFFFFFFFFFFFE  # the consumer id of all timed leases; connections' ids are small
SCAN_LIMIT = 256  # blocks read at once at opening

_BLOCK = BLOCK_SIZE
_RUN = RUN_SIZE
_END = 0xFFFFFFFFFFFFFFFF


class KeptLeases:
    """Of one queue; of a volatile one nothing is kept."""

    __slots__ = ("blocks", "leases", "log", "low_block", "prefix", "store")

    def __init__(self, store: Store, log: Log, leases: LeaseTable) -> None:
        self.store = store
        self.log = log
        self.leases = leases
        self.prefix = LEASE_PREFIX + log.id
        self.blocks: set[int] = set()  # those with state
        self.low_block = _END

    def stage(self) -> None:
        """What has changed, into the open commit."""
        deltas = self.leases.take_deltas()
        if self.log.volatile:
            return
        for number, delta in deltas:
            self.store.fold(self.log.shard, self.prefix + number.to_bytes(8, "big"), delta)
            if number not in self.blocks:
                self.blocks.add(number)
                if number < self.low_block:
                    self.low_block = number

    def passed(self, floor: int, cursor: int) -> None:
        """Everything below `floor` is settled, and nothing below `cursor` is unread."""
        if self.low_block < floor // _BLOCK:
            self.leases.take_emptied(floor // _BLOCK)
            self.forget(floor // _BLOCK)
        if self.low_block < cursor // _BLOCK:  # behind a record that stays, blocks go one by one
            for number in self.leases.take_emptied(cursor // _BLOCK):
                self.drop_block(number)

    def forget(self, below: int) -> None:
        """Nothing is kept of blocks below that number."""
        for number in [number for number in self.blocks if number < below]:
            self.blocks.discard(number)
            self.store.fold(self.log.shard, self.prefix + number.to_bytes(8, "big"), b"")
        self.low_block = min(self.blocks) if self.blocks else _END

    def drop_block(self, number: int) -> None:
        """Nothing is kept of it."""
        if number in self.blocks:
            self.blocks.discard(number)
            self.store.fold(self.log.shard, self.prefix + number.to_bytes(8, "big"), b"")
            if number == self.low_block:
                self.low_block = min(self.blocks) if self.blocks else _END

    def drop(self) -> None:
        """The queue is deleted: so is what was kept."""
        self.forget(_END)

    def load(self, sub: Subscription, now_ms: int) -> None:
        """At opening: what was kept."""
        if self.log.volatile:
            return
        first = self.prefix
        while True:
            found = self.store.scan(self.log.shard, first, self.prefix + b"\xff" * 9, SCAN_LIMIT)
            for key, value in found:
                number = int.from_bytes(key[len(key) - 8 :], "big")
                self.blocks.add(number)
                self.low_block = min(self.low_block, number)
                self.load_block(sub, number * _BLOCK, value, now_ms)
            if len(found) < SCAN_LIMIT:
                return
            first = found[len(found) - 1][0] + b"\0"

    def load_block(self, sub: Subscription, base: int, value: bytes, now_ms: int) -> None:
        """Take in one block; what is settled is passed over."""
        p = 1
        while p < len(value):
            low = base + int.from_bytes(value[p : p + 2], "little")
            end = base + int.from_bytes(value[p + 2 : p + 4], "little") + 1
            deadline = int.from_bytes(value[p + 4 : p + 12], "little")
            received = int.from_bytes(value[p + 12 : p + 20], "little")
            lease_id = value[p + 20 : p + 36]
            deliveries = int.from_bytes(value[p + 36 : p + 40], "little")
            p += _RUN
            offset = sub.next_ready(low)
            while offset < end:
                if deadline > now_ms:
                    sub.take_range(TIMED, offset, 1)
                self.leases.restore(offset, lease_id, deadline, received, deliveries, deadline > now_ms)
                offset = sub.next_ready(offset + 1)
