"""Subscription: who has been given what of one log, and what is settled. Pure bookkeeping over offsets (architecture §5).

    floor            everything below is settled
    [floor, cursor)  each offset is settled, leased to somebody, or returned (was leased, waits to be delivered again)
    [cursor, end)    unread: never leased; some may be settled already (expired, purged, restored)
    end              the visible end

Ready is what is returned or unread. Everything is kept as ranges: memory follows leases, holes and returned ranges, not the backlog.
"""

from __future__ import annotations

from entrepot.model.ranges import RangeSet

_END = 0xFFFFFFFFFFFFFFFF
_PENDING = 0x8000000000000000  # holder ids from here on: settlements that wait for the transaction whose id is the rest


def end_of(first: int, count: int) -> int:
    """first + count, at most END: both may be what a peer said."""
    return first + count if count <= _END - first else _END


class Subscription:
    """What a set of consumers has done with one log.

    Ranges that a call settles are appended to `settled_ranges` as (first, end), one for each whole range; the caller discards them in
    the log and clears the list. If `count_deltas` is a list, every counted delivery is appended to it as (first, end, deliveries).
    Below `redelivered_below` a record may have been delivered before this subscription was opened: it has one delivery more to it.
    """

    __slots__ = (
        "count_deltas",
        "counted",
        "counts",
        "cursor",
        "end",
        "floor",
        "holders",
        "leased_count",
        "ready_count",
        "redelivered_below",
        "returned",
        "settled",
        "settled_ranges",
        "spare",
        "taken_deliveries",
        "taken_first",
    )

    floor: int
    cursor: int
    end: int
    ready_count: int
    leased_count: int
    redelivered_below: int
    taken_first: int  # what the last take() that returned more than 0 began with
    taken_deliveries: int  # how often each of them was delivered before
    settled_ranges: list[tuple[int, int]]
    count_deltas: list[tuple[int, int, int]] | None

    def __init__(self, first: int, end: int) -> None:
        assert first <= end, (first, end)
        self.floor = first
        self.cursor = first
        self.end = end
        self.ready_count = end - first
        self.leased_count = 0
        self.redelivered_below = 0
        self.taken_first = 0
        self.taken_deliveries = 0
        self.settled_ranges = []
        self.count_deltas = None
        self.settled = RangeSet()  # at and above the floor
        self.returned = RangeSet()
        self.holders: dict[int, RangeSet] = {}  # consumer id -> what it leases; nobody with nothing
        self.spare: RangeSet | None = None  # an empty set, to be the next holder's
        self.counted = RangeSet()  # what was delivered and released at least once
        self.counts: dict[int, RangeSet] = {}  # the same by number of deliveries

    # ---- opening

    def advance_end(self, end: int) -> None:
        """Everything below `end` is visible now."""
        assert end >= self.end, (end, self.end)
        self.ready_count += end - self.end
        self.end = end

    def restore_settled(self, first: int, end: int) -> None:
        """At opening, before any take: [first, end) was settled earlier."""
        if first < self.floor:
            first = self.floor
        if end > self.end:
            end = self.end
        if first >= end:
            return
        self.ready_count -= self.settled.add(first, end)
        if first == self.floor:
            self.floor = self.settled.next_absent(first)
            self.settled.clear_below(self.floor)
            self.cursor = self.floor

    def restore_count(self, first: int, count: int, deliveries: int) -> None:
        """At opening: these were delivered so often."""
        self.set_count(first, first + count, deliveries)

    def skip_to(self, offset: int) -> None:
        """At opening a subscription of a topic: it begins at `offset`; nothing below it is of interest."""
        assert self.leased_count == 0, self.leased_count
        assert offset >= self.floor, (offset, self.floor)
        if offset > self.end:
            offset = self.end
        self.drop(self.floor, offset - self.floor)
        self.settled_ranges.clear()

    # ---- taking

    def peek(self) -> int:
        """The next offset that take() would begin with, or END."""
        if self.returned.count:
            return self.returned.next_present(0)
        if self.settled.count:
            self.cursor = self.settled.next_absent(self.cursor)
        return self.cursor if self.cursor < self.end else _END

    def next_ready(self, offset: int) -> int:
        """The first ready offset at or after `offset`, or END: for scans with a position of their own."""
        if offset < self.cursor:
            if self.returned.count:
                found = self.returned.next_present(offset)
                if found != _END:
                    return found
            offset = self.cursor
        if self.settled.count:
            offset = self.settled.next_absent(offset)
        return offset if offset < self.end else _END

    def ready_until(self, offset: int) -> int:
        """Where the run of ready offsets that `offset` lies in ends, at the latest at the cursor; `offset` if it is not ready."""
        if offset < self.cursor:
            return self.returned.next_absent(offset)
        if offset >= self.end:
            return offset
        if self.settled.count:
            if self.settled.contains(offset):
                return offset
            stop = self.settled.next_present(offset)
            return min(self.end, stop)
        return self.end

    def next_range(self, limit: int, below: int) -> int:
        """Find the next contiguous range of ready offsets with one delivery count; how many (0: none). Begins at taken_first."""
        first = self.peek()
        if first >= below or limit == 0:
            return 0
        if self.returned.count:
            stop = self.returned.next_absent(first)
        else:
            stop = self.end
            if self.settled.count:
                other = self.settled.next_present(first)
                if other < stop:
                    stop = other
        if stop > below:
            stop = below
        if stop - first > limit:
            stop = first + limit
        if self.counted.count or first < self.redelivered_below:
            stop = self.same_count_until(first, stop)
            self.taken_deliveries = self.deliveries_of(first)
        else:
            self.taken_deliveries = 0
        self.taken_first = first
        return stop - first

    def leave(self, first: int, count: int) -> None:
        """[first, +count), found by next_range(), is ready no more."""
        if self.returned.count:
            self.returned.remove(first, first + count)
        else:
            self.cursor = first + count
        self.ready_count -= count

    def take(self, consumer_id: int, limit: int, below: int) -> int:
        """Lease the next range to the consumer: contiguous, of one delivery count, at most `limit`, below `below`; how many (0: nothing).

        Returned offsets go before unread ones. taken_first and taken_deliveries describe it.
        """
        count = self.next_range(limit, below)
        if count == 0:
            return 0
        self.leave(self.taken_first, count)
        self.leased_count += count
        holder = self.holder_of(consumer_id)
        holder.add(self.taken_first, self.taken_first + count)
        return count

    def take_settled(self, limit: int, below: int) -> int:
        """As take(), but settled at once."""
        count = self.next_range(limit, below)
        if count == 0:
            return 0
        self.leave(self.taken_first, count)
        self.end_range(self.taken_first, self.taken_first + count)
        return count

    def take_range(self, consumer_id: int, first: int, count: int) -> int:
        """Lease [first, +count), chosen by a filter or group, up to where the delivery count changes; how many (0: not all of it is ready).

        Unread offsets before it stay ready.
        """
        position = first
        if first >= self.end or count == 0 or count > self.end - first:
            return 0
        want = self.same_count_until(first, first + count)
        count = want - first
        if first < self.cursor:
            if not self.returned.contains(first) or self.returned.next_absent(first) < (min(self.cursor, want)):
                return 0
            position = min(self.cursor, want)
        if position < want:
            stop = self.settled.next_present(position) if self.settled.count else _END
            if stop < want:
                return 0
            if position > self.cursor:
                self.returned.add(self.cursor, position)
                if self.settled.count:
                    self.take_out_settled(self.cursor, position)
            self.cursor = want
        if first < position or self.returned.count:
            self.returned.remove(first, want)
        self.ready_count -= count
        self.leased_count += count
        self.taken_first = first
        self.taken_deliveries = self.deliveries_of(first)
        holder = self.holder_of(consumer_id)
        holder.add(first, want)
        return count

    def take_out_settled(self, first: int, end: int) -> None:
        """[first, end) became returned without being read: not what in it is settled."""
        for settled_first, settled_end in self.settled.ranges(first, end, 0x7FFFFFFF):
            self.returned.remove(settled_first, settled_end)

    def holder_of(self, consumer_id: int) -> RangeSet:
        """The consumer's leases; made if there are none."""
        holder = self.holders.get(consumer_id)
        if holder is None:
            holder = self.spare
            if holder is None:
                holder = RangeSet()
            self.spare = None
            self.holders[consumer_id] = holder
        return holder

    def let_go(self, consumer_id: int, holder: RangeSet) -> None:
        """The consumer leases nothing any more: keep its empty set for the next."""
        del self.holders[consumer_id]
        self.spare = holder

    # ---- ending leases

    def settle(self, consumer_id: int, first: int, count: int) -> int:
        """End the consumer's leases within [first, +count) for good; how many there were. Others are left alone."""
        holder = self.holders.get(consumer_id)
        if holder is None or count == 0 or first >= self.end:
            return 0
        end = end_of(first, count)
        if holder.next_present(first) == first and holder.next_absent(first) >= end:
            holder.remove(first, end)
            self.end_range(first, end)
            settled = count
        else:
            held = holder.ranges(first, end, 0x7FFFFFFF)
            settled = holder.remove(first, end)
            for range_first, range_end in held:
                self.end_range(range_first, range_end)
        self.leased_count -= settled
        if holder.count == 0:
            self.let_go(consumer_id, holder)
        return settled

    def end_range(self, first: int, end: int) -> None:
        """[first, end), neither leased nor ready any more, is settled."""
        if first == self.floor and self.settled.count == 0:
            self.floor = end
        else:
            self.settled.add(first, end)
            if first == self.floor:
                self.floor = self.settled.next_absent(first)
                self.settled.clear_below(self.floor)
        if self.cursor < self.floor:
            self.cursor = self.floor
        if self.counted.count:
            self.forget_counts(first, end)
        self.settled_ranges.append((first, end))

    def release(self, consumer_id: int, first: int, count: int, count_delivery: bool = True) -> int:
        """Return the consumer's leases within [first, +count): ready again, at their place; how many there were."""
        holder = self.holders.get(consumer_id)
        if holder is None or count == 0 or first >= self.end:
            return 0
        end = end_of(first, count)
        held = holder.ranges(first, end, 0x7FFFFFFF)
        released = holder.remove(first, end)
        for range_first, range_end in held:
            self.returned.add(range_first, range_end)
            if count_delivery:
                self.count_delivery(range_first, range_end)
        self.leased_count -= released
        self.ready_count += released
        if holder.count == 0:
            self.let_go(consumer_id, holder)
        return released

    def release_all(self, consumer_id: int, count_delivery: bool = True) -> list[tuple[int, int]]:
        """Return everything the consumer leases; the ranges."""
        ranges = self.leased_by(consumer_id)
        for range_first, range_end in ranges:
            self.release(consumer_id, range_first, range_end - range_first, count_delivery)
        return ranges

    def move(self, consumer_id: int, to_id: int, first: int, count: int) -> int:
        """Hand the consumer's leases within [first, +count) to another (a schedule, a timer); how many there were."""
        source = self.holders.get(consumer_id)
        if source is None or count == 0 or consumer_id == to_id:
            return 0
        held = source.ranges(first, end_of(first, count), 0x7FFFFFFF)
        if not held:
            return 0
        moved = source.remove(first, end_of(first, count))
        target = self.holder_of(to_id)
        for range_first, range_end in held:
            target.add(range_first, range_end)
        if source.count == 0:
            self.let_go(consumer_id, source)
        return moved

    def held_count(self, consumer_id: int) -> int:
        """How many the consumer leases."""
        holder = self.holders.get(consumer_id)
        return 0 if holder is None else holder.count

    def is_ready(self, offset: int) -> bool:
        """Whether `offset` may be taken."""
        if offset < self.cursor:
            return self.returned.count > 0 and self.returned.contains(offset)
        return offset < self.end and not (self.settled.count > 0 and self.settled.contains(offset))

    def next_unsettled(self, offset: int) -> int:
        """The first offset at or after `offset` that is not settled, or END."""
        if offset < self.floor:
            offset = self.floor
        if self.settled.count:
            offset = self.settled.next_absent(offset)
        return offset if offset < self.end else _END

    def hold(self, consumer_id: int, first: int, count: int) -> int:
        """Lease what is ready of [first, +count) to the consumer; how many."""
        held = 0
        end = end_of(first, count)
        position = self.next_ready(first)
        while position < end:
            stop = self.ready_until(position)
            if stop > end:
                stop = end
            taken = self.take_range(consumer_id, position, stop - position)
            assert taken, (position, stop)
            held += taken
            position = self.next_ready(position + taken)
        return held

    def is_settled(self, offset: int) -> bool:
        """Whether `offset`, which lies below the end, is settled."""
        return offset < self.floor or (self.settled.count > 0 and self.settled.contains(offset))

    def leased_by(self, consumer_id: int) -> list[tuple[int, int]]:
        """The ranges that the consumer leases, ascending."""
        holder = self.holders.get(consumer_id)
        return [] if holder is None else holder.ranges(0, _END, 0x7FFFFFFF)

    def is_leased_by(self, consumer_id: int, offset: int) -> bool:
        """Whether the consumer leases `offset`."""
        holder = self.holders.get(consumer_id)
        return holder is not None and holder.contains(offset)

    # ---- settlements in a transaction: held under an id of its own, neither ready nor settled until it ends

    def settle_in(self, transaction_id: int, consumer_id: int, first: int, count: int) -> list[tuple[int, int]]:
        """The consumer's leases within [first, +count) end with the transaction; the ranges. They are the consumer's no more."""
        source = self.holders.get(consumer_id)
        if source is None:
            return []
        held = source.ranges(first, end_of(first, count), 0x7FFFFFFF)
        self.move(consumer_id, _PENDING | transaction_id, first, count)
        return held

    def restore_pending(self, transaction_id: int, first: int, end: int) -> None:
        """At opening: these were pending in the transaction. What is settled is left alone."""
        if end > first:
            self.hold(_PENDING | transaction_id, first, end - first)

    def end_pending(self, transaction_id: int, committed: bool) -> int:
        """The transaction has ended: what was pending is settled, or ready again and counted as delivered; how many."""
        if committed:
            return self.settle(_PENDING | transaction_id, 0, _END)
        return self.release(_PENDING | transaction_id, 0, _END)

    # ---- ending what nobody leases

    def drop(self, first: int, count: int) -> int:
        """Settle what is ready within [first, +count) (expired, over a limit, gone from the log); how many. Leases stay."""
        end = end_of(first, count)
        if end > self.end:
            end = self.end
        if first < self.floor:
            first = self.floor
        if first >= end:
            return 0
        dropped = 0
        if self.returned.count:
            for range_first, range_end in self.returned.ranges(first, end, 0x7FFFFFFF):
                self.returned.remove(range_first, range_end)
                self.end_range(range_first, range_end)
                dropped += range_end - range_first
        position = max(self.cursor, first)
        while position < end:
            stop = end
            if self.settled.count:
                position = self.settled.next_absent(position)
                if position >= end:
                    break
                stop = self.settled.next_present(position)
                if stop > end:
                    stop = end
            if position == self.cursor:
                self.cursor = stop
            self.end_range(position, stop)
            dropped += stop - position
            position = max(self.floor, stop)  # the floor may have jumped over what was settled behind it
        self.ready_count -= dropped
        return dropped

    def purge(self) -> int:
        """Settle everything that is ready; how many. Leases stay."""
        return self.drop(self.floor, self.end - self.floor)

    def settle_to(self, offset: int) -> int:
        """Settle everything below `offset`, whoever leases it (a cumulative acknowledgement); how many were not yet."""
        if offset > self.end:
            offset = self.end
        if offset <= self.floor:
            return 0
        settled = self.drop(self.floor, offset - self.floor)
        for consumer_id in list(self.holders):
            held = self.holders[consumer_id].ranges(0, offset, 1)
            if held:
                settled += self.settle(consumer_id, 0, offset)
        return settled

    # ---- delivery counts

    def deliveries_of(self, offset: int) -> int:
        """How often `offset` was delivered, and released, before."""
        deliveries = self.count_of(offset) if self.counted.count else 0
        if deliveries == 0 and offset < self.redelivered_below:
            return 1
        return deliveries

    def counted_deliveries(self, offset: int) -> int:
        """As deliveries_of(), but that it lies below `redelivered_below` alone is no delivery."""
        return self.count_of(offset) if self.counted.count else 0

    def count_of(self, offset: int) -> int:
        """Its noted deliveries."""
        if not self.counted.contains(offset):
            return 0
        for deliveries, bucket in self.counts.items():
            if bucket.contains(offset):
                return deliveries
        raise AssertionError(f"offset {offset} is counted, but nowhere")

    def counted_over(self, limit: int) -> list[tuple[int, int]]:
        """The ranges that were delivered more than `limit` times, as far as is noted; ascending for each number of deliveries."""
        found: list[tuple[int, int]] = []
        for deliveries, bucket in self.counts.items():
            if deliveries > limit:
                found += bucket.ranges(0, _END, 0x7FFFFFFF)
        return found

    def same_count_until(self, first: int, end: int) -> int:
        """Where, at most at `end`, offsets from `first` stop having the same delivery count."""
        stop = end
        if first < self.redelivered_below < stop:
            stop = self.redelivered_below
        if self.counted.count == 0:
            return stop
        if self.counted.contains(first):
            bucket = self.counts[self.count_of(first)]
            other = bucket.next_absent(first)
        else:
            other = self.counted.next_present(first)
        return min(stop, other)

    def count_delivery(self, first: int, end: int) -> None:
        """[first, end) were delivered once more."""
        while first < end:
            stop = self.same_count_until(first, end)
            deliveries = self.deliveries_of(first) + 1
            self.set_count(first, stop, deliveries)
            if self.count_deltas is not None:
                self.count_deltas.append((first, stop, deliveries))
            first = stop

    def set_count(self, first: int, end: int, deliveries: int) -> None:
        """[first, end) were delivered so often."""
        if self.counted.count:
            self.forget_counts(first, end)
        if deliveries == 0:
            return
        self.counted.add(first, end)
        bucket = self.counts.get(deliveries)
        if bucket is None:
            bucket = RangeSet()
            self.counts[deliveries] = bucket
        bucket.add(first, end)

    def forget_counts(self, first: int, end: int) -> None:
        """Nothing is known of [first, end)."""
        if self.counted.remove(first, end) == 0:
            return
        for deliveries in list(self.counts):
            bucket = self.counts[deliveries]
            bucket.remove(first, end)
            if bucket.count == 0:
                del self.counts[deliveries]
