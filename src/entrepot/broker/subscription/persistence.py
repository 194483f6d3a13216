"""What a subscription keeps over a restart, as folded state, a block of 65,536 offsets a key. Layouts in docs/formats/subscription-state.md.

A queue's settled offsets are its log's discards and are not here, nor are timed leases (broker/timed/lease_state.py). A topic's subscription
keeps its floor and its settled blocks too. Deltas say only what changed; fold_subscription() makes the value when the store needs it.

    key     b"s:" subscription (16 bytes) kind (1 byte) block number (u64, big-endian; nothing for the floor)
    delta   format (u8, 1), then by kind
    value   format (u8, 1), then by kind; no value: nothing is noted in that block
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from entrepot.broker.subscription.leases import Subscription
from entrepot.model.errors import CorruptData
from entrepot.model.ranges import RangeSet
from entrepot.store.interface import Store

SUBSCRIPTION_PREFIX = b"s:"
SUBSCRIPTION_ID_SIZE = 16  # bytes

FLOOR = b"f"
SETTLED = b"s"
COUNTS = b"c"

FORMAT = b"\x01"
_BLOCK = 65536
_KIND_AT = len(SUBSCRIPTION_PREFIX) + SUBSCRIPTION_ID_SIZE
_FLOOR = struct.Struct("<Q")
_RUN = struct.Struct("<HH")  # first, last (inclusive)
_COUNT = struct.Struct("<HHI")  # first, last, deliveries; 0: forget
SCAN_LIMIT = 256  # blocks read at once at opening


def fold_subscription(key: bytes, value: bytes | None, delta: bytes) -> bytes | None:
    """The fold of every key that starts with SUBSCRIPTION_PREFIX. CorruptData for what no version wrote."""
    if delta == b"":
        return None  # the block lies below the floor now
    kind = key[_KIND_AT : _KIND_AT + 1]
    if delta[:1] != FORMAT or (value is not None and value[:1] != FORMAT):
        raise CorruptData(f"subscription state {key!r} has format {delta[:1]!r} or {(value or b'')[:1]!r}, expected 1")
    body = delta[1:]
    if kind == FLOOR:
        return delta if value is None or _FLOOR.unpack(body) > _FLOOR.unpack(value[1:]) else value
    if kind == SETTLED:
        return _fold_settled(value, body)
    if kind == COUNTS:
        return _fold_counts(value, [delta])
    raise CorruptData(f"subscription state {key!r} is of unknown kind {kind!r}")


def fold_all_subscriptions(key: bytes, value: bytes | None, deltas: list[bytes]) -> bytes | None:
    """As fold_subscription() with one delta after the other. Of delivery counts, of which one block may hold tens of thousands of runs, in one pass."""
    if b"" in deltas:
        value = None
        deltas = deltas[len(deltas) - deltas[::-1].index(b"") :]
    if key[_KIND_AT : _KIND_AT + 1] == COUNTS and all(delta[:1] == FORMAT for delta in deltas) and (value is None or value[:1] == FORMAT):
        return _fold_counts(value, deltas) if deltas else value
    for delta in deltas:
        value = fold_subscription(key, value, delta)
    return value


def _fold_counts(value: bytes | None, deltas: list[bytes]) -> bytes | None:
    """Runs of the deltas replace what they cover of those before them, and of the value; a run of no deliveries only takes away."""
    seen = RangeSet()
    kept: list[tuple[int, int, int]] = []
    for part in (*reversed(deltas), *(() if value is None else (value,))):
        for first, last, deliveries in reversed(list(_COUNT.iter_unpack(part[1:]))):
            position = first
            while position <= last:
                stop = min(seen.next_present(position) - 1, last)  # the newest that was said holds
                if deliveries and position <= stop:
                    kept.append((position, stop, deliveries))
                position = seen.next_absent(stop + 1)
            seen.add(first, last + 1)
    return _joined(sorted(kept))


def _fold_settled(value: bytes | None, body: bytes) -> bytes:
    block = RangeSet()
    if value is not None:
        block.restore_block(0, value[1:])
    for first, last in _RUN.iter_unpack(body):
        block.add(first, last + 1)
    return FORMAT + block.encode_block(0)


def _joined(runs: list[tuple[int, int, int]]) -> bytes | None:
    """The value of ascending runs: neighbours that say the same are one."""
    joined: list[tuple[int, int, int]] = []
    for run in runs:
        if joined and joined[-1][2] == run[2] and joined[-1][1] == run[0] - 1:
            joined[-1] = (joined[-1][0], run[1], run[2])
        else:
            joined.append(run)
    return FORMAT + b"".join(_COUNT.pack(*run) for run in joined) if joined else None


def _by_block(first: int, end: int) -> Iterator[tuple[int, int, int]]:
    """[first, end) cut at block edges: (block number, first, last) with the last two relative to the block."""
    while first < end:
        number = first // _BLOCK
        stop = min(end, (number + 1) * _BLOCK)
        yield number, first - number * _BLOCK, stop - 1 - number * _BLOCK
        first = stop


class SubscriptionState:
    """Stages the changes of one subscription into the open commit, and loads them at opening."""

    def __init__(self, store: Store, shard: int, subscription_id: bytes) -> None:
        assert len(subscription_id) == SUBSCRIPTION_ID_SIZE, subscription_id
        self._store = store
        self._shard = shard
        self._prefix = SUBSCRIPTION_PREFIX + subscription_id
        self._floor = 0  # as last staged or loaded
        self._settled_blocks: set[int] = set()  # blocks with a value, for when the floor passes them

    # ---- staging

    def stage_floor(self, floor: int) -> None:
        """Everything below `floor` is settled; blocks below it are forgotten."""
        if floor <= self._floor:
            return
        self._floor = floor
        self._store.fold(self._shard, self._prefix + FLOOR, FORMAT + _FLOOR.pack(floor))
        for number in [number for number in self._settled_blocks if (number + 1) * _BLOCK <= floor]:
            self._settled_blocks.discard(number)
            self._fold(SETTLED, number, b"")

    def stage_settled(self, ranges: Iterable[tuple[int, int]]) -> None:
        """A topic's subscription has settled these; what lies below the floor need not be said: stage_floor() first."""
        deltas: dict[int, bytearray] = {}
        for first, end in ranges:
            for number, low, last in _by_block(max(first, self._floor), end):
                deltas.setdefault(number, bytearray(FORMAT)).extend(_RUN.pack(low, last))
        for number, delta in deltas.items():
            self._settled_blocks.add(number)
            self._fold(SETTLED, number, bytes(delta))

    def stage_counts(self, counted: Iterable[tuple[int, int, int]]) -> None:
        """(first, end, deliveries) each, as Subscription.count_deltas has them; deliveries 0: settled."""
        deltas: dict[int, bytearray] = {}
        for first, end, deliveries in counted:
            for number, low, last in _by_block(first, end):
                deltas.setdefault(number, bytearray(FORMAT)).extend(_COUNT.pack(low, last, deliveries))
        for number, delta in deltas.items():
            self._fold(COUNTS, number, bytes(delta))

    def drop(self) -> None:
        """The subscription is gone: so is its state."""
        while True:
            found = self._store.scan(self._shard, self._prefix, self._prefix + b"\xff", SCAN_LIMIT)
            for key, _ in found:
                self._store.fold(self._shard, key, b"")
            if len(found) < SCAN_LIMIT:
                return

    def _fold(self, kind: bytes, number: int, delta: bytes) -> None:
        self._store.fold(self._shard, self._prefix + kind + number.to_bytes(8, "big"), delta)

    # ---- opening

    def load_floor(self) -> int:
        """The floor, or 0 if none was ever staged."""
        value = self._store.get(self._shard, self._prefix + FLOOR)
        if value is not None:
            self._floor = _FLOOR.unpack(value[1:])[0]
        return self._floor

    def load_settled(self, subscription: Subscription) -> None:
        """Tell a fresh subscription what was settled above its floor."""
        for number, value in self._blocks(SETTLED):
            self._settled_blocks.add(number)
            block = RangeSet()
            block.restore_block(number, value)
            for first, end in block:
                subscription.restore_settled(first, end)

    def load_counts(self, subscription: Subscription) -> None:
        """Tell a fresh subscription how often what was delivered."""
        for number, value in self._blocks(COUNTS):
            for first, last, deliveries in _COUNT.iter_unpack(value):
                low = max(number * _BLOCK + first, subscription.floor)
                if low <= number * _BLOCK + last:
                    subscription.restore_count(low, number * _BLOCK + last + 1 - low, deliveries)

    def _blocks(self, kind: bytes) -> Iterator[tuple[int, bytes]]:
        first = self._prefix + kind
        end = self._prefix + bytes((kind[0] + 1,))
        while True:
            found = self._store.scan(self._shard, first, end, SCAN_LIMIT)
            for key, value in found:
                if value[:1] != FORMAT:
                    raise CorruptData(f"subscription state {key!r} has format {value[:1]!r}, expected 1")
                yield int.from_bytes(key[_KIND_AT + 1 :], "big"), value[1:]
            if len(found) < SCAN_LIMIT:
                return
            first = found[-1][0] + b"\x00"
