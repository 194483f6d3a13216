"""GroupScan: reads the groups of a queue's records ahead of their delivery, into a GroupWindow; with a place of its own in the log.

In an ordered queue every record that is not settled is in the window, up to `position`. In a fair one those are that may be taken, and what of
them is leased.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from entrepot.broker.logs.cursor import GAP, HERE, LATER, Cursor
from entrepot.broker.logs.entry_shelf import EntryShelf
from entrepot.broker.timed.group_window import LOOKAHEAD, GroupWindow
from entrepot.model.entry import CONTROL, HAS_GROUPS, TRANSACTIONAL

if TYPE_CHECKING:
    from entrepot.broker.queue.queue import Queue

FILL_MAX = 8192  # records read at once; the rest in the next turn

_END = 0xFFFFFFFFFFFFFFFF
_HERE = HERE
_LATER = LATER
_GAP = GAP
_SPECIAL = CONTROL | TRANSACTIONAL
_HAS_GROUPS = HAS_GROUPS
_LOOKAHEAD = LOOKAHEAD
_FILL_MAX = FILL_MAX


class GroupScan:
    """Of one queue."""

    __slots__ = ("cursor", "limited", "lookahead", "ordered", "position", "queue", "shelf", "sub", "window")

    position: int
    lookahead: int

    def __init__(self, queue: Queue, ordered: bool) -> None:
        self.queue = queue
        self.sub = queue.subscription
        self.ordered = ordered
        self.window = GroupWindow(ordered)
        self.cursor = Cursor(queue.hub, queue.log, self.loaded)
        self.position = queue.subscription.floor
        self.lookahead = _LOOKAHEAD
        self.limited = False  # there is more to look at than the shelf has room for
        self.shelf = EntryShelf(queue.hub)
        self.queue.cursor.shelf = self.shelf

    def loaded(self) -> None:
        """What was fetched may be looked at."""
        self.queue.hub.mark_dirty(self.queue)

    def next(self) -> int:
        """The offset of what may be taken next; END: nothing, or it is being read."""
        offset = self.window.next()
        if self.limited and (offset == _END or self.window.is_again(offset)):  # what is known may not be given, or keeps coming back: others come first
            self.fill(True)
            self.window.begin()
            offset = self.window.next()
        return offset

    def fill(self, further: bool = False) -> None:
        """Look as far ahead as may be, and as lies in memory; in an ordered queue no further than there is room on the shelf, unless it must be."""
        sub = self.sub
        window = self.window
        cursor = self.cursor
        left = _FILL_MAX
        self.limited = False
        if window.count == 0:
            self.shelf.clear()
        else:
            self.shelf.used()
            if self.shelf.is_half_full():
                self.shelf.sweep(sub)
        while True:
            room = self.lookahead - (window.count if self.ordered else window.linked)
            if room <= 0:
                return
            offset = sub.next_unsettled(self.position) if self.ordered else sub.next_ready(self.position)
            if offset == _END:
                return
            if left <= 0:
                self.queue.hub.mark_dirty(self.queue)
                return
            found = cursor.locate(offset)
            if found == _LATER:
                return
            if found == _HERE and not self.shelf.put(cursor.stored) and self.ordered and not further:
                self.limited = True  # a fair queue must know who else waits
                return
            if found == _GAP:
                self.pass_over(offset, cursor.gap_end)
                continue
            if cursor.entry.flags & _SPECIAL and self.queue.is_passed_over(cursor.entry):
                self.pass_over(cursor.base, cursor.end)
                continue
            left -= self.read(offset, min(room, left))

    def pass_over(self, first: int, end: int) -> None:
        """No record stands there."""
        self.sub.drop(first, end - first)
        self.queue.discard_settled()
        self.position = end

    def read(self, offset: int, limit: int) -> int:
        """Take in up to `limit` records of the cursor's entry; how many were looked at."""
        sub = self.sub
        window = self.window
        cursor = self.cursor
        end = min(cursor.end, sub.end)
        codec = self.queue.hub.codec(cursor.tag)
        data = cursor.data()
        ask = self.ordered or cursor.entry.flags & _HAS_GROUPS != 0
        position = cursor.position_of(offset)
        ready_end = 0
        first = offset
        name = b""
        while offset < end and offset - first < limit:
            if ready_end <= offset:
                ready_end = sub.ready_until(offset) if sub.is_ready(offset) else 0
            if (ready_end > offset or (self.ordered and not sub.is_settled(offset))) and not window.knows(offset):
                if ask:
                    name = codec.group(data, position)
                window.add(offset, name, ready_end > offset)
            offset += 1
            if offset < end:
                position = codec.skip(data, position, 1)
        cursor.passed(offset, position if offset < end else -1)
        self.position = offset
        return offset - first

    def returned(self, first: int, count: int) -> None:
        """These may be taken again."""
        offset = first
        while offset < first + count:
            if self.sub.is_ready(offset) and not self.window.returned(offset) and offset < self.position:
                self.adopt(offset)
            offset += 1

    def adopt(self, offset: int) -> None:
        """One that was passed over, for it waited, may be taken now."""
        cursor = self.cursor
        if self.window.linked >= self.lookahead or cursor.locate(offset) != _HERE:
            self.position = min(self.position, offset)
            return
        name = b""
        if cursor.entry.flags & _HAS_GROUPS or self.ordered:
            name = self.queue.hub.codec(cursor.tag).group(cursor.data(), cursor.position_of(offset))
        self.window.add(offset, name, True)

    def look_again(self) -> None:
        """It is not known which may be taken again."""
        for offset in self.window.waiting():
            if self.sub.is_ready(offset):
                self.window.returned(offset)

    def settled(self, first: int, end: int) -> None:
        """These are settled."""
        self.window.remove_range(first, end)
        if self.window.count == 0:
            self.shelf.clear()

    def close(self) -> None:
        """No more work."""
        self.shelf.clear()
        self.cursor.close()
