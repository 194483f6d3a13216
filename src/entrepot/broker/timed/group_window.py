"""GroupWindow: which record comes next where records are in groups: the first so many that are not settled, by group, in dense rows.

    ordered     of each group, a record comes when no earlier one of it is leased or waits (FIFO)
    fair        what comes next is of a group that has few in flight (fair queues)

Among groups, or those that have about as few in flight, the one is first whose turn came first: a record has its turn when it is added, and a group goes
behind all others once it was served (ordered) or something of it came back (fair). So what is given back at once keeps nobody else from a turn.

A record of no group is a group of its own. Rows, little-endian:

    item (32)   0 u64 offset    8 u32 group    12 u32 next + 1    16 u32 previous + 1    20 u32 0: it may not be taken, 1: it may, 2: again    24 u64 turn
    group (32)  0 u32 first item + 1    4 u32 last item + 1    8 u32 items    12 u32 in flight    16 u64 its key in the heap, END: none
                24 u64 the turn that it has at the earliest
    heap (16)   0 u64 key    8 u32 group; a place whose key is not the group's is passed over

An ordered group's items are linked while they are not settled, a fair one's while they may be taken.
"""

from __future__ import annotations

import cython

from entrepot.broker.timed.offset_table import OffsetTable

if not cython.compiled:
    from entrepot.model.octets import get_u32_le_ba, get_u64_le_ba, put_u32_le, put_u64_le, resize_ba

LOOKAHEAD = 120_000  # records, as SQS
NONE = 0xFFFFFFFFFFFFFFFF

_END = NONE
_ITEM = 32
_GROUP = 32
_NEAR = 1024  # offsets
_STEPS = 64  # that are looked at for a place
_FEW = 10  # in flight: groups with fewer are equals
_CLASS = 1 << 56


class GroupWindow:
    """`count` records are known, `linked` of them wait in their groups."""

    __slots__ = (
        "count",
        "current",
        "free_group",
        "free_item",
        "group_capacity",
        "group_count",
        "group_names",
        "groups",
        "heap",
        "heap_count",
        "hint",
        "index",
        "item_capacity",
        "items",
        "linked",
        "names",
        "ordered",
        "turn",
    )

    count: int
    linked: int

    def __init__(self, ordered: bool) -> None:
        self.ordered = ordered
        self.count = 0
        self.linked = 0
        self.turn = 0  # the last one that was given
        self.index = OffsetTable()
        self.items = bytearray()
        self.item_capacity = 0
        self.free_item = -1
        self.groups = bytearray()
        self.group_capacity = 0
        self.group_count = 0
        self.free_group = -1
        self.names: dict[bytes, int] = {}
        self.group_names: list[bytes | None] = []
        self.heap = bytearray()
        self.heap_count = 0
        self.current = -1  # the item that was taken last: next() goes on with its group
        self.hint = -1  # the item that was linked last

    # ---- what there is

    def knows(self, offset: int) -> bool:
        """Whether it was added, and is not settled."""
        return self.index.get(offset) >= 0

    def add(self, offset: int, name: bytes, ready: bool) -> int:
        """A further record; of its group the last, in an ordered one. `ready`: it may be taken."""
        group = -1
        if name:
            found = self.names.get(name)
            if found is not None:
                group = found
        if group < 0:
            group = self.add_group(name)
        item = self.free_item
        if item >= 0:
            self.free_item = get_u32_le_ba(self.items, item * _ITEM + 12)
            self.free_item -= 1  # apart: the other is unsigned in C
        else:
            item = self.item_capacity
            self.item_capacity = item + 1
            if (item + 1) * _ITEM > len(self.items):
                resize_ba(self.items, (2 * item + 64) * _ITEM)
        p = item * _ITEM
        put_u64_le(self.items, p, offset)
        put_u32_le(self.items, p + 8, group)
        put_u32_le(self.items, p + 12, 0)
        put_u32_le(self.items, p + 16, 0)
        put_u32_le(self.items, p + 20, 1 if ready else 0)
        self.turn += 1
        put_u64_le(self.items, p + 24, self.turn)
        self.index.put(offset, item)
        self.count += 1
        g = group * _GROUP
        put_u32_le(self.groups, g + 8, get_u32_le_ba(self.groups, g + 8) + 1)
        if not ready:
            put_u32_le(self.groups, g + 12, get_u32_le_ba(self.groups, g + 12) + 1)
        if ready or self.ordered:
            self.link(item, group)
        self.offer(group)
        return 0

    def taken(self, offset: int) -> int:
        """It was leased, by whomever: it may not be taken."""
        item = self.index.get(offset)
        if item < 0:
            return 0
        p = item * _ITEM
        if get_u32_le_ba(self.items, p + 20) == 0:
            return 0
        put_u32_le(self.items, p + 20, 0)
        group = get_u32_le_ba(self.items, p + 8)
        g = group * _GROUP
        put_u32_le(self.groups, g + 12, get_u32_le_ba(self.groups, g + 12) + 1)
        if self.ordered:
            self.turn += 1
            put_u64_le(self.groups, g + 24, self.turn)
        else:
            self.unlink(item, group)
        self.offer(group)
        return 0

    def returned(self, offset: int) -> int:
        """It may be taken again; whether it is known."""
        item = self.index.get(offset)
        if item < 0:
            return 0
        p = item * _ITEM
        if get_u32_le_ba(self.items, p + 20):
            return 1
        put_u32_le(self.items, p + 20, 2)
        group = get_u32_le_ba(self.items, p + 8)
        g = group * _GROUP
        put_u32_le(self.groups, g + 12, get_u32_le_ba(self.groups, g + 12) - 1)
        if not self.ordered:
            self.turn += 1
            put_u64_le(self.groups, g + 24, self.turn)
            self.link(item, group)
        self.offer(group)
        return 1

    def remove(self, offset: int) -> int:
        """It is settled."""
        item = self.index.remove(offset)
        if item < 0:
            return 0
        if self.current == item:
            self.current = -1
        p = item * _ITEM
        group = get_u32_le_ba(self.items, p + 8)
        g = group * _GROUP
        ready = get_u32_le_ba(self.items, p + 20)
        if not ready:
            put_u32_le(self.groups, g + 12, get_u32_le_ba(self.groups, g + 12) - 1)
        if ready or self.ordered:
            self.unlink(item, group)
        put_u32_le(self.items, p + 12, self.free_item + 1)
        put_u64_le(self.items, p, _END)
        self.free_item = item
        self.count -= 1
        left = get_u32_le_ba(self.groups, g + 8) - 1
        put_u32_le(self.groups, g + 8, left)
        if left == 0:
            self.drop_group(group)
        else:
            self.offer(group)
        return 1

    def remove_range(self, first: int, end: int) -> int:
        """All of [first, end) is settled."""
        if self.count == 0:
            return 0
        if end - first <= self.item_capacity:
            while first < end and self.count:
                self.remove(first)
                first += 1
            return 0
        item = 0
        while item < self.item_capacity and self.count:
            offset = get_u64_le_ba(self.items, item * _ITEM)
            if first <= offset < end:
                self.remove(offset)
            item += 1
        return 0

    def waiting(self) -> list[int]:
        """What may not be taken, ascending: rare paths only."""
        rows = range(self.item_capacity)
        found = [get_u64_le_ba(self.items, row * _ITEM) for row in rows if get_u32_le_ba(self.items, row * _ITEM + 20) == 0]
        return sorted([offset for offset in found if offset != _END])

    # ---- what comes next

    def begin(self) -> int:
        """Somebody new takes: next() may be of any group."""
        self.current = -1
        return 0

    def next(self) -> int:
        """The offset that comes next, NONE: nothing may be taken. Whoever took one of an ordered group goes on with it, if that is near: what lies
        far apart would be read from all over the log.
        """
        if self.current >= 0:
            after = get_u32_le_ba(self.items, self.current * _ITEM + 12)
            if after and get_u32_le_ba(self.items, (after - 1) * _ITEM + 20):
                offset = get_u64_le_ba(self.items, (after - 1) * _ITEM)
                if offset - get_u64_le_ba(self.items, self.current * _ITEM) <= _NEAR:
                    return offset
            self.current = -1
        while self.heap_count:
            group = get_u32_le_ba(self.heap, 8)
            key = get_u64_le_ba(self.heap, 0)
            if key == get_u64_le_ba(self.groups, group * _GROUP + 16):
                item = get_u32_le_ba(self.groups, group * _GROUP)
                item -= 1
                return get_u64_le_ba(self.items, item * _ITEM)
            self.pop()
        return _END

    def is_again(self, offset: int) -> bool:
        """Whether what next() gave came back once, and begins what is taken of its group."""
        if self.current >= 0:
            return False
        item = self.index.get(offset)
        return item >= 0 and get_u32_le_ba(self.items, item * _ITEM + 20) == 2

    def take(self, offset: int) -> int:
        """What next() gave is taken."""
        item = self.index.get(offset)
        if item >= 0:
            if self.ordered:
                self.current = item
            self.taken(offset)
        return 0

    # ---- below: groups

    def add_group(self, name: bytes) -> int:
        """A group without items."""
        group = self.free_group
        if group >= 0:
            self.free_group = get_u32_le_ba(self.groups, group * _GROUP)
            self.free_group -= 1
        else:
            group = self.group_capacity
            self.group_capacity = group + 1
            if (group + 1) * _GROUP > len(self.groups):
                resize_ba(self.groups, (2 * group + 64) * _GROUP)
            self.group_names.append(None)
        g = group * _GROUP
        put_u64_le(self.groups, g, 0)
        put_u64_le(self.groups, g + 8, 0)
        put_u64_le(self.groups, g + 16, _END)
        put_u64_le(self.groups, g + 24, 0)
        self.group_count += 1
        if name:
            self.names[name] = group
            self.group_names[group] = name
        return group

    def drop_group(self, group: int) -> int:
        """It has no items any more."""
        name = self.group_names[group]
        if name is not None:
            del self.names[name]
            self.group_names[group] = None
        g = group * _GROUP
        put_u64_le(self.groups, g + 16, _END)
        put_u32_le(self.groups, g, self.free_group + 1)
        self.free_group = group
        self.group_count -= 1
        return 0

    def link(self, item: int, group: int) -> int:
        """Into its group's chain, in order of offsets: mostly it is the last, or near the first."""
        g = group * _GROUP
        p = item * _ITEM
        offset = get_u64_le_ba(self.items, p)
        last = get_u32_le_ba(self.groups, g + 4)
        before = last
        if last and get_u64_le_ba(self.items, (last - 1) * _ITEM) > offset:
            before = 0
            after = get_u32_le_ba(self.groups, g)
            hint = self.hint
            if hint >= 0 and get_u32_le_ba(self.items, hint * _ITEM + 8) == group and get_u64_le_ba(self.items, hint * _ITEM) < offset:
                before = hint + 1
                after = get_u32_le_ba(self.items, hint * _ITEM + 12)
            self.hint = item
            steps = _STEPS
            while steps and after and get_u64_le_ba(self.items, (after - 1) * _ITEM) < offset:
                before = after
                after = get_u32_le_ba(self.items, (after - 1) * _ITEM + 12)
                steps -= 1  # in a fair group the order is nearly that of sending: a place for each would cost too much
        else:
            after = 0
        put_u32_le(self.items, p + 16, before)
        put_u32_le(self.items, p + 12, after)
        if before:
            put_u32_le(self.items, (before - 1) * _ITEM + 12, item + 1)
        else:
            put_u32_le(self.groups, g, item + 1)
        if after:
            put_u32_le(self.items, (after - 1) * _ITEM + 16, item + 1)
        else:
            put_u32_le(self.groups, g + 4, item + 1)
        self.linked += 1
        return 0

    def unlink(self, item: int, group: int) -> int:
        """Out of its group's chain."""
        if self.hint == item:
            self.hint = -1
        g = group * _GROUP
        p = item * _ITEM
        after = get_u32_le_ba(self.items, p + 12)
        before = get_u32_le_ba(self.items, p + 16)
        if before:
            put_u32_le(self.items, (before - 1) * _ITEM + 12, after)
        else:
            put_u32_le(self.groups, g, after)
        if after:
            put_u32_le(self.items, (after - 1) * _ITEM + 16, before)
        else:
            put_u32_le(self.groups, g + 4, before)
        self.linked -= 1
        return 0

    def offer(self, group: int) -> int:
        """Have the group in the heap under the key that it has now."""
        g = group * _GROUP
        key = _END
        first = get_u32_le_ba(self.groups, g)
        if first and get_u32_le_ba(self.items, (first - 1) * _ITEM + 20):
            key = get_u64_le_ba(self.items, (first - 1) * _ITEM + 24)
            earliest = get_u64_le_ba(self.groups, g + 24)
            if earliest > key:
                key = earliest
            if not self.ordered:
                few = get_u32_le_ba(self.groups, g + 12) // _FEW
                while few:
                    key += _CLASS
                    few >>= 1
        if key == get_u64_le_ba(self.groups, g + 16):
            return 0
        put_u64_le(self.groups, g + 16, key)
        if key != _END:
            self.push(key, group)
        return 0

    # ---- below: the heap

    def push(self, key: int, group: int) -> int:
        """Into the heap."""
        if self.heap_count > 4 * self.group_count + 1024:
            self.rebuild()
            return 0  # with it in it
        place = self.heap_count
        if 16 * (place + 1) > len(self.heap):
            resize_ba(self.heap, 32 * place + 1024)
        self.heap_count = place + 1
        while place:
            parent = (place - 1) >> 1
            other = get_u64_le_ba(self.heap, 16 * parent)
            if other <= key:
                break
            put_u64_le(self.heap, 16 * place, other)
            put_u32_le(self.heap, 16 * place + 8, get_u32_le_ba(self.heap, 16 * parent + 8))
            place = parent
        put_u64_le(self.heap, 16 * place, key)
        put_u32_le(self.heap, 16 * place + 8, group)
        return 0

    def pop(self) -> int:
        """The least out of the heap."""
        last = self.heap_count - 1
        self.heap_count = last
        key = get_u64_le_ba(self.heap, 16 * last)
        group = get_u32_le_ba(self.heap, 16 * last + 8)
        place = 0
        while True:
            child = 2 * place + 1
            if child >= last:
                break
            other = get_u64_le_ba(self.heap, 16 * child)
            if child + 1 < last and get_u64_le_ba(self.heap, 16 * child + 16) < other:
                child += 1
                other = get_u64_le_ba(self.heap, 16 * child)
            if other >= key:
                break
            put_u64_le(self.heap, 16 * place, other)
            put_u32_le(self.heap, 16 * place + 8, get_u32_le_ba(self.heap, 16 * child + 8))
            place = child
        put_u64_le(self.heap, 16 * place, key)
        put_u32_le(self.heap, 16 * place + 8, group)
        return 0

    def rebuild(self) -> int:
        """Leave out what is passed over anyway."""
        self.heap_count = 0
        group = 0
        while group < self.group_capacity:
            key = get_u64_le_ba(self.groups, group * _GROUP + 16)
            if key != _END:
                self.push(key, group)
            group += 1
        return 0
