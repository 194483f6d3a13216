"""Rewriting: a range of a log is replaced by other entries at the same offsets, in a segment of its own that overrides the older ones.

Durable, and seen, with the checkpoint that names that segment: before it the old entries stand, after it the new ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from entrepot.model.entry import StoredEntry
from entrepot.store.entry_codec import encode_header
from entrepot.store.local.checkpoint import SegmentRow
from entrepot.store.local.disk import Disk
from entrepot.store.local.log import LocalLog
from entrepot.store.local.segment import SegmentWriter
from entrepot.store.local.segments import segment_name
from entrepot.store.local.sorter import tier_of


class Rewriting:
    """One request."""

    def __init__(self, log: LocalLog, first: int, end: int, entries: list[StoredEntry], done: Callable[[], None]) -> None:
        if not first < end <= log.durable_offset:
            raise ValueError(f"rewrite of [{first}, {end}) in a log that is durable up to {log.durable_offset}")
        at = first
        for stored in entries:
            if stored.base < at or stored.base + stored.entry.span > end:
                raise ValueError(f"an entry at [{stored.base}, {stored.base + stored.entry.span}) where [{at}, {end}) is left to rewrite")
            if stored.entry.data is None:
                raise ValueError(f"the entry at {stored.base} has no bytes: it must be sealed")
            at = stored.base + stored.entry.span
        self.log = log
        self.first = first
        self.end = end
        self.entries = entries
        self.done = done

    def is_sorted(self) -> bool:
        """Whether the range lies in segments only, so that a segment can override it."""
        rows = self.log.rows
        return not rows.count or rows.base(0) >= self.end

    def work(self, disk: Disk, segment_id: int) -> Callable[[], Any]:
        """Blocking work for the background lane: writes and syncs the segment; gives its row."""
        writer = SegmentWriter(segment_id)
        output = []
        writer.begin(self.log.shard, self.log.id, self.first)
        for stored in self.entries:
            entry = stored.entry
            assert entry.data is not None
            encoded = encode_header(entry) + entry.data
            writer.add(stored.base, entry.span, entry.max_time_ms or entry.append_time_ms, encoded, 0, len(encoded), -1)
            output.append(writer.take())
        writer.end(self.end)
        output.append(writer.finish())
        size = sum(map(len, output))

        def write() -> SegmentRow:
            file = disk.open(segment_name(segment_id), create=True)
            file.pwrite(0, output)
            file.sync()
            file.close()
            disk.sync_directory()
            return SegmentRow(segment_id, size, tier_of(size))

        return write
