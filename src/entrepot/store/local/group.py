"""LocalGroup: what is staged for one commit, and how it is encoded and placed."""

from __future__ import annotations

from typing import Any

import cython

from entrepot.model.entry import Entry
from entrepot.store.interface import Group, Log
from entrepot.store.local.journal import CommitBuilder
from entrepot.store.local.log import LocalLog

if not cython.compiled:
    from entrepot.model.octets import get_u64_le_ba, put_u32_le, put_u64_le, resize_ba, take_ba

ROWS_MAX = 4096  # entries, logs and changes of state of a group that is not made larger if it can be helped

_ROWS_MAX = ROWS_MAX


class LocalGroup(Group):
    """A group and what is staged in it."""

    __slots__ = (
        "bases",
        "builder",
        "created",
        "discarded",
        "dropped",
        "ends",
        "entries",
        "folds",
        "marked",
        "marks",
        "number",
        "places",
        "size",
        "table",
        "targets",
        "urgent",
        "used",
    )

    def __init__(self, number: int) -> None:
        self.sequence = 0
        self.calls: list[Any] = []
        self.logs: list[Log] = []
        self.durable = False
        self.number = number  # of the group, used or not
        self.used = False
        self.urgent = False
        self.size = 0  # bytes appended
        # appends: targets[i] are the logs of entries[i], bases (u64 each) those of all targets in order
        self.entries: list[Entry] = []
        self.targets: list[list[Log]] = []
        self.bases = bytearray()
        self.ends: list[int] = []  # of each of `logs`, at sealing
        # the rest
        self.table: list[LocalLog] = []
        self.created: list[LocalLog] = []
        self.dropped: list[LocalLog] = []
        self.discarded: list[LocalLog] = []
        self.marked: list[LocalLog] = []
        self.marks: list[int] = []
        self.folds: list[tuple[int, bytes, bytes]] = []
        # once encoded: the commit, and where its entries lie in the payload
        self.builder: CommitBuilder | None = None
        self.places = bytearray()


def local_log(log: Log) -> LocalLog:
    """A log of this store's, checked."""
    if cython.compiled:
        return cython.cast(LocalLog, log, typecheck=True)  # type: ignore[no-any-return]
    assert isinstance(log, LocalLog)
    return log


def is_large(group: LocalGroup, size_max: int) -> bool:
    """Whether it is to be encoded before more is staged: it has many bytes, or many rows."""
    return group.size >= size_max or len(group.entries) + len(group.table) + len(group.folds) >= _ROWS_MAX


def encode_group(group: LocalGroup, now_ms: int) -> int:
    """Everything staged, in the format's order; nothing more may be. `places` are packed (position in the payload u64, size u64) of every entry."""
    builder = CommitBuilder()
    builder.begin(len(group.table))
    for log in group.table:
        builder.log_id(log.id)
    for log in group.created:
        builder.create(log.table_index, log.shard)
    places = bytearray(16 * len(group.entries))
    packed = bytearray()
    p = 0
    at = 0
    index = 0
    while index < len(group.entries):
        entry = group.entries[index]
        logs = group.targets[index]
        n = len(logs)
        resize_ba(packed, 12 * n)
        t = 0
        for item in logs:
            log = local_log(item)
            put_u32_le(packed, t, log.table_index)
            put_u64_le(packed, t + 4, get_u64_le_ba(group.bases, p))
            p += 8
            t += 12
        entry.append_time_ms = now_ms
        put_u64_le(places, at, builder.append(take_ba(packed, 0, 12 * n), entry))
        put_u64_le(places, at + 8, builder.entry_size)
        at += 16
        index += 1
    for log in group.discarded:
        builder.discard(log.table_index, log.take_discards())
    for log in group.marked:
        builder.mark(log.table_index, log.mark_staged)
        group.marks.append(log.mark_staged)
    for shard, key, delta in group.folds:
        builder.fold(shard, key, delta)
    for log in group.dropped:
        builder.drop(log.table_index)
    for item in group.logs:
        group.ends.append(item.next_offset)
    builder.seal()
    group.builder = builder
    group.places = places
    return 0


def place_group(group: LocalGroup, life: int, start: int) -> None:
    """Note in every log where its new entries lie."""
    places = group.places
    p = 0
    at = 0
    index = 0
    while index < len(group.entries):
        entry = group.entries[index]
        position = start + get_u64_le_ba(places, at)
        size = get_u64_le_ba(places, at + 8)
        at += 16
        for item in group.targets[index]:
            log = local_log(item)
            base = get_u64_le_ba(group.bases, p)
            p += 8
            if not log.dropped and base + entry.span > log.first_offset:
                log.sealed(base, life, position, size, entry.span)
        index += 1
