"""LocalLog: what one log holds in memory, and LocalReader, which reads it from memory, journal and segments.

    offsets   0 .......... first_offset ......................... durable_offset .... next_offset
              all discarded            | holes |                                 staged
    entries   [ in segments ............][ rows: in the journal ........................]
                                                       [ tail: in memory ................]

Rows reach further back than the tail or not; both end at next_offset once a commit is sealed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import cython

from entrepot.model.entry import ENTRY_OVERHEAD, Entry, StoredEntry
from entrepot.model.ranges import RangeSet
from entrepot.store.interface import Log, LogReader
from entrepot.store.local.index import Rows

if not cython.compiled:
    from entrepot.model.entry import bytes_of, stored_entry
    from entrepot.model.octets import get_u64_le_ba, put_u64_le, resize_ba, take_ba

FETCH_SIZE = 256 * 1024
_OVERHEAD = ENTRY_OVERHEAD
_FETCH = FETCH_SIZE
_PACK_AT = 256
_PACK_TAIL_AT = 16  # of ten thousand logs each has a tail


class LocalLog(Log):
    """One log of the local store. Only its store stages on it."""

    __slots__ = (
        "append_group",
        "changed",
        "discard_buffer",
        "discard_end",
        "discard_first",
        "discard_group",
        "dropped",
        "head_size",
        "holes_set",
        "mark_group",
        "mark_high",
        "mark_staged",
        "place",
        "rows",
        "sealed_end",
        "store",
        "table_group",
        "table_index",
        "tail",
        "tail_bases",
        "tail_gone",
        "tail_head",
    )

    def __init__(self, shard: int, log_id: bytes, store: Any) -> None:
        self.id = log_id
        self.shard = shard
        self.epoch = store.epoch
        self.volatile = False
        self.first_offset = 0
        self.next_offset = 0
        self.durable_offset = 0
        self.marked_offset = 0
        self.bytes_alive = 0
        self.owner = None
        # shared with the store
        self.store = store
        self.place = 0  # in its table
        self.dropped = False
        self.changed = True  # since the last checkpoint
        self.holes_set = RangeSet(True)
        self.rows = Rows()
        self.head_size = 0  # of the long entry that was read back last, header without data: most are alike; 0: none was
        self.sealed_end = 0  # offsets below are in the journal, or on the way to it
        # entries in memory: tail[tail_head:], whose bases are in tail_bases; None where wholly discarded; tail_gone left at the front
        self.tail: list[Entry | None] = []
        self.tail_bases = bytearray()
        self.tail_head = 0
        self.tail_gone = 0
        # what is staged in the open group, and the number of the group these are about
        self.append_group = 0
        self.table_group = 0
        self.table_index = 0
        self.discard_group = 0
        self.discard_first = 0
        self.discard_end = 0
        self.discard_buffer = bytearray()
        self.mark_group = 0
        self.mark_staged = 0
        self.mark_high = 0  # of all groups so far: what a checkpoint notes

    def reader(self) -> LogReader:
        """A new reader with a position of its own."""
        return LocalReader(self)

    def find(self, timestamp_ms: int, done: Callable[[int], None]) -> None:
        """See Log.find."""
        self.store.find(self, timestamp_ms, done)

    def holes(self) -> Iterator[tuple[int, int]]:
        """See Log.holes."""
        return iter(self.holes_set.ranges(self.first_offset, self.next_offset, 1 << 62))

    def dead(self, first: int, end: int) -> bool:
        """Whether all of [first, end) is discarded, staged discards included."""
        if end <= self.first_offset:
            return True
        if first < self.first_offset:
            first = self.first_offset
        if not self.holes_set.count:
            return False
        return self.holes_set.next_absent(first) >= end

    def whole(self, first: int, end: int) -> bool:
        """Whether nothing of [first, end) is discarded, staged discards included."""
        return first >= self.first_offset and (self.holes_set.count == 0 or self.holes_set.count_in(first, end) == 0)

    # -- the tail --------------------------------------------------------------------------------------------------------------

    def tail_first(self) -> int:
        """First offset from which on everything is in memory."""
        if self.tail_head < len(self.tail):
            return get_u64_le_ba(self.tail_bases, self.tail_head * 8)
        return self.next_offset

    def tail_end_of(self, index: int) -> int:
        """End of the entry at tail[index]."""
        if index + 1 < len(self.tail):
            return get_u64_le_ba(self.tail_bases, (index + 1) * 8)
        return self.next_offset

    def push(self, entry: Entry) -> int:
        """Put an open entry at the end; its base."""
        base = self.next_offset
        p = len(self.tail_bases)
        resize_ba(self.tail_bases, p + 8)
        put_u64_le(self.tail_bases, p, base)
        self.tail.append(entry)
        self.next_offset = base + entry.span
        self.bytes_alive += entry.size
        entry.targets_alive += 1
        return base

    def ends_with(self, entry: Entry) -> bool:
        """Whether `entry` is the last one."""
        n = len(self.tail)
        return n > self.tail_head and self.tail[n - 1] is entry

    def grow(self, count: int, size: int) -> int:
        """The last entry has got `count` records of `size` bytes more."""
        self.next_offset += count
        self.bytes_alive += size
        return 0

    def tail_find(self, offset: int) -> int:
        """Index in tail of the entry that holds `offset`, which is not below tail_first() nor at or above next_offset."""
        low = self.tail_head
        high = len(self.tail)
        while low < high:
            middle = (low + high) >> 1
            if get_u64_le_ba(self.tail_bases, middle * 8) <= offset:
                low = middle + 1
            else:
                high = middle
        return low - 1

    def pop_front(self, end: int) -> int:
        """Let go of the entries that lie wholly below `end`; how many bytes of memory that may free."""
        freed = 0
        head = self.tail_head
        n = len(self.tail)
        while head < n and self.tail_end_of(head) <= end:
            entry = self.tail[head]
            if entry is not None:
                freed += self.let_go(entry)
                self.tail[head] = None
            head += 1
        self.tail_head = head
        if head == n:
            if n:
                self.tail_gone += n
                self.tail = []
                resize_ba(self.tail_bases, 0)
                self.tail_head = 0
        elif head >= _PACK_TAIL_AT and head * 2 > n:
            self.tail_gone += head
            del self.tail[:head]
            del self.tail_bases[: head * 8]
            self.tail_head = 0
        return freed

    def let_go(self, entry: Entry) -> int:
        """One log fewer has it; what the last one frees."""
        entry.targets_alive -= 1
        if entry.targets_alive == 0:
            return entry.size + _OVERHEAD
        return 0

    def clear(self) -> int:
        """Let go of everything in memory; what that frees."""
        self.dropped = True
        freed = self.pop_front(self.next_offset)
        self.rows = Rows()
        self.bytes_alive = 0
        return freed

    # -- discards --------------------------------------------------------------------------------------------------------------

    def discard_now(self, first: int, end: int) -> int:
        """[first, end) is gone: note it, and free what is wholly discarded; how many bytes of memory that may free."""
        self.changed = True
        self.shrink_cold(first, end)
        if first <= self.first_offset:
            if end <= self.first_offset:
                return 0
            floor = end
            if self.holes_set.count:
                floor = self.holes_set.next_absent(end)
                self.holes_set.clear_below(floor)
            self.first_offset = floor
            self.drop_rows(floor)
            if floor == self.next_offset:
                self.bytes_alive = 0
            return self.release_front(floor)
        self.holes_set.add(first, end)
        return self.release_middle(first, end)

    def shrink_cold(self, first: int, end: int) -> int:
        """bytes_alive less what of [first, end) is not in memory, at the log's average: exact sizes are not known there."""
        if first < self.first_offset:
            first = self.first_offset
        tail = self.tail_first()
        if end > tail:
            end = tail
        if first >= end:
            return 0
        gone = end - first - self.holes_set.count_in(first, end)
        alive = self.next_offset - self.first_offset - self.holes_set.count
        if alive > 0:
            self.shrink(self.bytes_alive * gone // alive)
        return 0

    def drop_rows(self, floor: int) -> int:
        """Forget the rows that lie wholly below `floor`."""
        rows = self.rows
        n = rows.find(floor)
        # In steps: what is deleted at the front of an array costs a move now and then.
        if n >= _PACK_AT or n == rows.count:
            rows.drop_front(n)
        return 0

    def release_front(self, floor: int) -> int:
        """The tail's part of a discard up to `floor`."""
        head = self.tail_head
        n = len(self.tail)
        while head < n and self.tail_end_of(head) <= floor:
            entry = self.tail[head]
            if entry is not None:
                self.shrink(entry.size)
            head += 1
        return self.pop_front(floor)

    def release_middle(self, first: int, end: int) -> int:
        """The tail's part of a discard above first_offset."""
        freed = 0
        start = self.tail_first()
        if end <= start:
            return 0
        index = self.tail_find(max(start, first))
        n = len(self.tail)
        while index < n:
            base = get_u64_le_ba(self.tail_bases, index * 8)
            if base >= end:
                break
            entry = self.tail[index]
            if entry is not None and self.dead(base, self.tail_end_of(index)):
                self.shrink(entry.size)
                freed += self.let_go(entry)
                self.tail[index] = None
            index += 1
        return freed

    def shrink(self, size: int) -> int:
        """bytes_alive less `size`, never below 0."""
        self.bytes_alive = self.bytes_alive - size if size < self.bytes_alive else 0
        return 0

    def stage_discard(self, first: int, end: int) -> int:
        """Note a range of the open group's; neighbours become one."""
        if first == self.discard_end:
            self.discard_end = end
            return 0
        if end == self.discard_first:
            self.discard_first = first
            return 0
        self.flush_discard()
        self.discard_first = first
        self.discard_end = end
        return 0

    def stage_mark(self, offset: int) -> int:
        """Note a mark of the open group's."""
        self.changed = True
        if offset > self.mark_staged:
            self.mark_staged = offset
        if offset > self.mark_high:
            self.mark_high = offset
        return 0

    def flush_discard(self) -> int:
        """Move the range that is still growing to the packed ones."""
        if self.discard_end > self.discard_first:
            p = len(self.discard_buffer)
            resize_ba(self.discard_buffer, p + 16)
            put_u64_le(self.discard_buffer, p, self.discard_first)
            put_u64_le(self.discard_buffer, p + 8, self.discard_end)
        return 0

    def take_discards(self) -> bytes:
        """The open group's ranges, packed (first u64, end u64); empties them."""
        self.flush_discard()
        packed = take_ba(self.discard_buffer, 0, len(self.discard_buffer))
        resize_ba(self.discard_buffer, 0)
        self.discard_first = 0
        self.discard_end = 0
        return packed

    # -- for sorting -----------------------------------------------------------------------------------------------------------

    def rows_through(self, life: int) -> bytes:
        """Packed rows, wholly dead ones at the front left out, that point into journal files up to `life`."""
        first = self.rows.find(self.first_offset)
        end = self.rows.through(life)
        return self.rows.packed(first, end) if first < end else b""

    def forget_through(self, life: int) -> int:
        """Their entries are in segments now, or dead."""
        return self.rows.drop_front(self.rows.through(life))

    # -- for store and recovery ------------------------------------------------------------------------------------------------

    def sealed(self, base: int, life: int, position: int, size: int, span: int) -> int:
        """An entry has its place in the journal."""
        self.rows.append(base, life, position, size, span)
        self.sealed_end = base + span
        self.changed = True
        return 0

    def committed(self, end: int) -> int:
        """Everything below `end` is durable."""
        if end > self.durable_offset:
            self.durable_offset = end
        return 0

    def marked(self, offset: int) -> int:
        """A mark is durable."""
        if offset > self.marked_offset:
            self.marked_offset = offset
            self.changed = True
        if offset > self.mark_high:
            self.mark_high = offset
        return 0

    def unmark(self, offset: int) -> None:
        """See Log.unmark."""
        if offset < self.marked_offset:
            self.marked_offset = self.mark_high = offset
            self.changed = True

    def restore(self, first: int, next_offset: int, marked: int, bytes_alive: int) -> int:
        """As a checkpoint has it."""
        self.first_offset = first
        self.next_offset = next_offset
        self.durable_offset = next_offset
        self.sealed_end = next_offset
        self.marked_offset = marked
        self.mark_high = marked
        self.bytes_alive = bytes_alive
        self.changed = False
        return 0

    def replay_append(self, base: int, life: int, position: int, size: int, span: int) -> int:
        """Recovery: an entry of the journal. Its row, unless it is dead; offsets grow if it is new."""
        end = base + span
        if end > self.next_offset:
            self.next_offset = end
            self.durable_offset = end
            self.sealed_end = end
            self.bytes_alive += size
            self.changed = True
        if end > self.first_offset:
            self.rows.append(base, life, position, size, span)
        return 0


class LocalReader(LogReader):
    """Reads one log: the tail from memory, the rest by fetch() in stretches that it keeps until the next one.

    Once half of a stretch has been read, the next one is fetched ahead.
    """

    __slots__ = (
        "ahead",
        "ahead_end",
        "ahead_first",
        "ahead_loading",
        "closed",
        "done",
        "fetched",
        "fetched_end",
        "fetched_first",
        "hint",
        "hint_fetched",
        "log",
        "wanted",
    )

    def __init__(self, log: LocalLog) -> None:
        self.log = log
        self.stretch_size = _FETCH
        self.held_bytes = 0  # of both stretches
        self.hint = 0  # number of the tail's entry that was last read, counted from the log's first ever in this process
        self.fetched: list[StoredEntry] = []  # what lies in [fetched_first, fetched_end), ascending
        self.fetched_first = 0
        self.fetched_end = 0
        self.hint_fetched = 0
        self.wanted = 0
        self.done: Callable[[], None] | None = None
        self.ahead: list[StoredEntry] = []  # what lies in [ahead_first, ahead_end)
        self.ahead_first = 0
        self.ahead_end = 0
        self.ahead_loading = False
        self.closed = False

    def at(self, offset: int) -> StoredEntry | None:
        """See LogReader.at."""
        log = self.log
        if log.dropped:
            return None
        while True:
            if offset < log.first_offset:
                offset = log.first_offset
            if log.holes_set.count:
                offset = log.holes_set.next_absent(offset)
            if offset >= log.durable_offset:
                return None
            if offset >= log.tail_first():
                return self.in_tail(offset)
            if offset < self.fetched_first or offset >= self.fetched_end:
                if offset < self.ahead_first or offset >= self.ahead_end:
                    return None
                self.take_ahead()
            stored = self.in_fetched(offset)
            if not self.ahead_loading and (self.hint_fetched + 1) * 2 > len(self.fetched) and self.ahead_end <= self.fetched_end:
                self.read_ahead()
            if stored is None:
                offset = self.fetched_end
            elif stored.base <= offset or not log.dead(stored.base, stored.base + stored.entry.span):
                return stored
            else:
                offset = stored.base + stored.entry.span

    def in_tail(self, offset: int) -> StoredEntry | None:
        """The tail's entry at an offset that is alive."""
        log = self.log
        index = self.hint - log.tail_gone
        if not (log.tail_head <= index < len(log.tail) and get_u64_le_ba(log.tail_bases, index * 8) <= offset and offset < log.tail_end_of(index)):
            index += 1
            if not (log.tail_head <= index < len(log.tail) and get_u64_le_ba(log.tail_bases, index * 8) <= offset and offset < log.tail_end_of(index)):
                index = log.tail_find(offset)
        self.hint = index + log.tail_gone
        entry = log.tail[index]
        assert entry is not None, "an entry with a record alive has left the tail"
        return stored_entry(get_u64_le_ba(log.tail_bases, index * 8), entry)

    def in_fetched(self, offset: int) -> StoredEntry | None:
        """The fetched entry that holds `offset`, else the next one after it."""
        n = len(self.fetched)
        low = self.hint_fetched
        if low < n:
            stored = self.fetched[low]
            if stored.base <= offset and offset - stored.base < stored.entry.span:
                return stored
        low = 0
        high = n
        while low < high:
            middle = (low + high) >> 1
            stored = self.fetched[middle]
            if stored.base + stored.entry.span <= offset:
                low = middle + 1
            else:
                high = middle
        self.hint_fetched = low
        return self.fetched[low] if low < n else None

    def take_ahead(self) -> int:
        """What was fetched ahead is what is read now."""
        self.fetched = self.ahead
        self.fetched_first = self.ahead_first
        self.fetched_end = self.ahead_end
        self.hint_fetched = 0
        self.ahead = []
        self.ahead_first = 0
        self.ahead_end = 0
        self.held_bytes = bytes_of(self.fetched)
        return 0

    def read_ahead(self) -> int:
        """Fetch what lies behind the stretch that is being read, unless that is in memory."""
        log = self.log
        if self.done is None and not self.closed and self.fetched_end < log.durable_offset and self.fetched_end < log.tail_first():
            self.ahead_loading = True
            self.ahead = []  # what was ahead of an earlier stretch, which lies before this one
            self.ahead_first = self.ahead_end = self.fetched_end
            self.held_bytes = bytes_of(self.fetched) + self.stretch_size  # about
            log.store.fetch(self, self.fetched_end)
        return 0

    def fetch(self, offset: int, done: Callable[[], None]) -> None:
        """See LogReader.fetch."""
        assert self.done is None, "one fetch at a time"
        self.done = done
        self.wanted = offset
        if not self.ahead_loading:  # else its end is waited for
            self.go_on(offset)

    def go_on(self, offset: int) -> None:
        """Fetch from the first offset alive at or after `offset`."""
        log = self.log
        if offset < log.first_offset:
            offset = log.first_offset
        if log.holes_set.count:
            offset = log.holes_set.next_absent(offset)
        log.store.fetch(self, offset)

    def loaded(self, first: int, end: int, entries: list[StoredEntry]) -> None:
        """The store brought everything that lies in [first, end)."""
        if self.ahead_loading:
            self.ahead_loading = False
            if self.closed:
                self.held_bytes = 0
                if self.done is not None:  # closed, and asked for something since: that waits for this end
                    self.go_on(self.wanted)
                return
            self.ahead = entries
            self.ahead_first = min(self.ahead_first, first)
            self.ahead_end = end
            self.held_bytes = bytes_of(self.fetched) + bytes_of(entries)
            if self.done is None:
                return
            if self.at(self.wanted) is None:
                self.go_on(self.wanted)
                return
            waiting = self.done
            self.done = None
            waiting()
            return
        self.fetched = entries
        # Between what was wanted and what was brought nothing is alive.
        self.fetched_first = min(self.wanted, first)
        self.fetched_end = end
        self.hint_fetched = 0
        self.held_bytes = bytes_of(entries) + bytes_of(self.ahead)
        done = self.done
        if done is None:
            return  # closed meanwhile
        if end < self.log.durable_offset and end < self.log.tail_first() and not self.log.dropped and self.at(self.wanted) is None:
            self.go_on(end)  # nothing alive was there
            return
        self.done = None
        done()

    def loaded_nothing(self, first: int, end: int) -> None:
        """As loaded(), for callbacks: not in the .pxd, since a typed method that is passed on loses its object."""
        self.loaded(first, end, [])

    def close(self) -> None:
        """See LogReader.close."""
        self.fetched = []
        self.fetched_end = 0
        self.fetched_first = 0
        self.ahead = []
        self.ahead_end = 0
        self.ahead_first = 0
        self.held_bytes = 0
        self.closed = True
        self.done = None
