"""VolatileStore: logs without sync, behind the store's interface. What is staged in a tick is "durable" at its end; all is gone at the next start.

Entries stay in memory up to a budget; above it, blocks of about 256 KiB from the middle of long logs are spilled to scratch files
(the start of a log stays, for its consumers), and read back as cold reads are. Scratch files left by a crash are removed when the store is made.

An entry may also lie in durable logs: append it there first, then here, which seals it. Scratch files hold, per entry, its base (u64,
little-endian) and its encoded form; they are never read by another process, so they have no header.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import cython

from entrepot.model.entry import Entry, StoredEntry
from entrepot.model.errors import CorruptData, Reason, Refused, Unavailable
from entrepot.store.interface import LOG_ID_SIZE, Fold, Group, Log, Owner, Scheduler, Store
from entrepot.store.scratch import Block, Scratch
from entrepot.store.shard_time import ShardTime
from entrepot.store.state import NoBase, State
from entrepot.store.volatile_log import Item, VolatileLog, VolatileReader

if not cython.compiled:
    from entrepot.model.entry import stored_entry
    from entrepot.store.entry_codec import encode_header
    from entrepot.store.volatile_log import decode_block, make_item, volatile_log

MEMORY_SIZE_MAX = 64 * 1024 * 1024
_OVERHEAD = 400  # bytes of objects around an entry's data
_BLOCK_SIZE = 256 * 1024
_KEEP_SIZE = 64 * 1024  # at the start of a log, not spilled as long as others have more


class VolatileStore(Store):
    """Volatile logs and state in memory, and in scratch files of `disk` (None: memory only; appends are refused when it is used up)."""

    __slots__ = (
        "_count_max",
        "_entries",
        "_full",
        "_logs",
        "_memory_size_max",
        "_number",
        "_open",
        "_scheduled",
        "_scheduler",
        "_scratch",
        "_size_max",
        "_spill_scheduled",
        "_spilling",
        "_state",
        "_waiting",
        "epoch",
        "memory_bytes",
        "owner",
    )

    def __init__(
        self,
        scheduler: Scheduler,
        time: ShardTime,
        fold: Fold,
        disk: Any = None,
        *,
        memory_size_max: int = MEMORY_SIZE_MAX,
        entry_size_max: int = 64 * 1024,
        entry_count_max: int = 4096,
    ) -> None:
        self.staged_bytes = 0
        self.failed = None
        self.whole = False
        self.closed = set()
        self.epoch = 1
        self._scheduler = scheduler
        self.time = time
        self._size_max = entry_size_max
        self._count_max = entry_count_max
        self._state = State(NoBase(), fold)
        self.owner: Any = None
        self._logs: dict[bytes, VolatileLog] = {}
        # the open group
        self._number = 0
        self._entries: list[Entry] = []
        self._scheduled = False
        self._open = self._new_group()
        # memory
        self._memory_size_max = memory_size_max
        self.memory_bytes = 0
        self._scratch = Scratch(disk) if disk is not None else None
        self._waiting: deque[VolatileLog] = deque()  # logs with something in memory, to be looked at for spilling
        self._spill_scheduled = False
        self._spilling = 0  # bytes on their way to disk
        self._full = False  # the disk is: nothing is spilled until memory is under the budget again

    # -- logs ------------------------------------------------------------------------------------------------------------------

    def set_owner(self, owner: Owner) -> None:
        """See Store.set_owner."""
        self.owner = owner

    def make_log(self, shard: int, log_id: bytes) -> Log:
        """See Store.make_log."""
        if len(log_id) != LOG_ID_SIZE:
            raise ValueError(f"a log id is {LOG_ID_SIZE} bytes, not {len(log_id)}")
        return VolatileLog(shard, log_id, self)

    def add_log(self, log: Log) -> None:
        """See Store.add_log."""
        if log.id in self._logs:
            raise Refused(Reason.EXISTS_DIFFERENT, f"log {log.id.hex()} exists")
        self._check()
        self._logs[log.id] = volatile_log(log)
        self._touch()

    def drop_log(self, log: Log) -> None:
        """See Store.drop_log."""
        self._check()
        mine = volatile_log(log)
        del self._logs[mine.id]
        mine.dropped = True
        for index in range(mine.head, len(mine.items)):
            self._release(mine, mine.item_at(index))
        mine.items = []
        mine.head = 0
        self._touch()

    def open_shard(self, shard: int, epoch: int, done: Callable[[], None]) -> None:
        """See Store.open_shard: it has none that are closed."""
        raise AssertionError

    def close_shard(self, shard: int, done: Callable[[], None]) -> None:
        """See Store.close_shard: all are its process' own."""
        raise AssertionError

    def logs(self, shard: int | None = None) -> Iterator[Log]:
        """See Store.logs."""
        return iter([log for log in self._logs.values() if shard is None or log.shard == shard])

    def log(self, log_id: bytes) -> Log | None:
        """See Store.log."""
        return self._logs.get(log_id)

    # -- staging ---------------------------------------------------------------------------------------------------------------

    def is_full(self) -> bool:
        """See Store.is_full."""
        return self.memory_bytes > 2 * self._memory_size_max

    def append(self, logs: list[Log], entry: Entry) -> None:
        """See Store.append. An entry that lies in durable logs already is sealed, and cannot be extended any more."""
        if self.failed is not None:
            self._check()
        if self.memory_bytes > 2 * self._memory_size_max and not self.whole:
            raise Refused(Reason.LIMIT, f"volatile logs hold {self.memory_bytes} bytes in memory, over twice their budget: waiting for consumers or the disk")
        own = entry.targets_alive == 0 and not entry.sealed
        if own:
            entry.targets_alive = len(logs)
            self.memory_bytes += entry.size + _OVERHEAD
        elif not entry.sealed:
            entry.append_time_ms = self.time.now_ms()
            entry.seal()
        for target in logs:
            log = volatile_log(target)
            base = log.next_offset
            log.items.append(make_item(base, base + entry.span, entry.size, stored_entry(base, entry), None, own))
            log.next_offset = base + entry.span
            log.bytes_alive += entry.size
            log.memory_bytes += entry.size
            if not own:
                self.memory_bytes += entry.size + _OVERHEAD
            if log.append_group != self._number:
                log.append_group = self._number
                self._open.logs.append(log)
        self._entries.append(entry)
        self.staged_bytes += entry.size
        if not self._scheduled:
            self._touch()

    def extend(self, logs: list[Log], entry: Entry, part: bytes, count: int) -> bool:
        """See Store.extend."""
        if self.failed is not None or entry.sealed or entry.targets_alive != len(logs):
            return False
        for target in logs:
            log = volatile_log(target)
            n = len(log.items)
            if n == log.head:
                return False
            item = log.item_at(n - 1)
            if item.stored is None or item.stored.entry is not entry:
                return False
        size = len(part)
        if not entry.extend(part, count, self._size_max, self._count_max):
            return False
        for target in logs:
            log = volatile_log(target)
            item = log.item_at(len(log.items) - 1)
            item.end += count
            item.size += size
            log.next_offset += count
            log.bytes_alive += size
            log.memory_bytes += size
        self.memory_bytes += size
        self.staged_bytes += size
        return True

    def discard(self, log: Log, first: int, end: int) -> None:
        """See Store.discard."""
        if self.failed is not None:
            self._check()
        mine = volatile_log(log)
        if mine.dropped or first >= end:
            return
        if end > mine.next_offset:
            raise ValueError(f"discard up to {end} of a log that ends at {mine.next_offset}")
        if first <= mine.first_offset:
            if end > mine.first_offset:
                floor = end
                if mine.holes_set.count:
                    floor = mine.holes_set.next_absent(end)
                    mine.holes_set.clear_below(floor)
                mine.first_offset = floor
                while mine.head < len(mine.items):
                    item = mine.item_at(mine.head)
                    if item.end > floor:
                        break
                    self._release(mine, item)
                    mine.items[mine.head] = None
                    mine.head += 1
                mine.pack()
        else:
            mine.holes_set.add(first, end)
            index = mine.find_item(first)
            while index < len(mine.items):
                item = mine.item_at(index)
                if item.first >= end:
                    break
                if item.size and mine.dead(item.first, item.end):
                    self._release(mine, item)
                index += 1
        if not self._scheduled:
            self._touch()

    def mark(self, log: Log, offset: int) -> None:
        """See Store.mark."""
        mine = volatile_log(log)
        if offset > mine.marked_offset:
            mine.marked_offset = offset

    def fold(self, shard: int, key: bytes, delta: bytes) -> None:
        """See Store.fold."""
        if self.failed is not None:
            self._check()
        self._state.fold(shard, key, delta)
        if not self._scheduled:
            self._touch()

    def get(self, shard: int, key: bytes) -> bytes | None:
        """See Store.get."""
        return self._state.get(shard, key)

    def scan(self, shard: int, first: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """See Store.scan."""
        return self._state.scan(shard, first, end, limit)

    def rewrite(self, log: Log, first: int, end: int, entries: list[StoredEntry], done: Callable[[], None]) -> None:
        """Refused: volatile logs are not compacted."""
        raise Refused(Reason.NOT_SUPPORTED, "volatile logs are not compacted")

    # -- groups ----------------------------------------------------------------------------------------------------------------

    def group(self) -> Group:
        """See Store.group."""
        if not self._scheduled:
            self._touch()
        return self._open

    def urgent(self) -> None:
        """See Store.urgent: every group is."""
        if not self._scheduled:
            self._touch()

    def _new_group(self) -> Group:
        self._number += 1
        group = Group()
        group.sequence = self._number
        group.calls = []
        group.logs = []
        group.durable = False
        return group

    def _touch(self) -> None:
        if not self._scheduled and self.failed is None:
            self._scheduled = True
            self._scheduler.call_soon(self._tick)

    def _check(self) -> None:
        if self.failed is not None:
            raise Unavailable(f"the volatile store has ended: {self.failed}")

    def _tick(self) -> None:
        """The tick is over: what is staged counts."""
        self._scheduled = False
        if self.failed is not None:
            return
        group = self._open
        entries = self._entries
        self._entries = []
        self._open = self._new_group()
        if entries:  # a clock is not read for what is only settled
            now = self.time.now_ms()
            for entry in entries:
                if not entry.sealed:
                    entry.append_time_ms = now
                    entry.seal()
        for target in group.logs:
            log = volatile_log(target)
            log.durable_offset = log.next_offset
            if not log.queued:
                log.queued = True
                self._waiting.append(log)
        self.staged_bytes = 0
        group.durable = True
        self.owner.committed(group)
        group.calls = []  # some know their group
        if self.memory_bytes <= self._memory_size_max:
            self._full = False
        else:
            self._spill_soon()

    # -- memory and scratch files ----------------------------------------------------------------------------------------------

    def _release(self, log: VolatileLog, item: Item) -> None:
        """Nothing of an item is alive any more."""
        log.bytes_alive -= item.size
        item.size = 0
        if item.stored is not None:
            self._forget(log, item, item.stored.entry)  # a block beside it is only being written, with others
        elif item.block is not None:
            assert self._scratch is not None
            self._scratch.release(item.block)
        item.block = None

    def _forget(self, log: VolatileLog, item: Item, entry: Entry) -> None:
        """An item's entry leaves memory, as far as its log is concerned."""
        item.stored = None
        log.memory_bytes -= entry.size
        if item.own:
            entry.targets_alive -= 1
            if entry.targets_alive:
                return
        self.memory_bytes -= entry.size + _OVERHEAD

    def _spill_soon(self) -> None:
        if self._scratch is not None and not self._spill_scheduled and not self._full:
            self._spill_scheduled = True
            self._scheduler.call_soon(self._spill, 2 * len(self._waiting))

    def _spill(self, looks: int) -> None:
        """Write one block of the next log; `looks` at logs are left: those of the second round spare no log's start."""
        self._spill_scheduled = False
        if self.failed is not None or self.memory_bytes - self._spilling <= self._memory_size_max:
            return
        once = len(self._waiting)
        for _ in range(min(looks, 64)):
            if not self._waiting:
                return
            looks -= 1
            log = self._waiting.popleft()
            log.queued = False
            if log.dropped or log.memory_bytes == 0:
                continue
            log.queued = True
            self._waiting.append(log)
            if self._spill_log(log, _KEEP_SIZE if looks >= once else 0):
                looks = 2 * len(self._waiting)
                break
        if looks > 0:
            self._spill_scheduled = True
            self._scheduler.call_soon(self._spill, looks)

    def _spill_log(self, log: VolatileLog, keep: int) -> bool:
        """Start to write one block of a log's oldest entries behind its first `keep` bytes; whether there was any."""
        index = log.head
        kept = 0
        while index < len(log.items) and kept < keep:
            kept += log.item_at(index).size
            index += 1
        while index < len(log.items) and log.item_at(index).stored is None:
            index += 1
        parts: list[bytes] = []
        items: list[Item] = []
        size = 0
        latest_ms = 0
        while index < len(log.items) and size < _BLOCK_SIZE:
            item = log.item_at(index)
            stored = item.stored
            if item.end > log.durable_offset or item.block is not None or (stored is None and not parts):
                break
            items.append(item)
            if stored is not None:
                entry = stored.entry
                data = entry.data
                assert data is not None
                header = encode_header(entry)
                parts.append(stored.base.to_bytes(8, "little"))
                parts.append(header)
                parts.append(data)
                size += 8 + len(header) + len(data)
                latest_ms = max(latest_ms, entry.max_time_ms or entry.append_time_ms)
            index += 1
        if not parts:
            return False
        assert self._scratch is not None
        block = self._scratch.write(parts, size, latest_ms, partial(self._spilled, log, items))
        self._spilling += size
        for item in items:
            item.block = block if item.stored is not None else None
        return True

    def _spilled(self, log: VolatileLog, items: list[Item], block: Block, error: BaseException | None) -> None:
        """A block is written: its items become one, as far as they are still alive."""
        self._spilling -= block.size
        assert self._scratch is not None
        index = log.find_item(items[0].first)
        stop = index
        alive = 0
        end = items[len(items) - 1].end
        while stop < len(log.items) and log.item_at(stop).first < end:
            item = log.item_at(stop)
            item.block = None
            if error is None and item.stored is not None:
                self._forget(log, item, item.stored.entry)
            alive += item.size
            stop += 1
        if error is not None or alive == 0:
            self._scratch.release(block)
        else:
            log.items[index:stop] = [make_item(log.item_at(index).first, end, alive, None, block, False)]
            log.gone += stop - index - 1
        if error is not None:
            self._full = True
        elif self.memory_bytes > self._memory_size_max:
            self._spill_soon()

    def fetch(self, reader: VolatileReader, offset: int) -> None:
        """Bring the block that holds the first alive offset from `offset` on to a reader."""
        log = reader.log
        if not log.dropped:
            if offset < log.first_offset:
                offset = log.first_offset
            offset = log.holes_set.next_absent(offset)
            if offset < log.durable_offset and log.head < len(log.items):
                index = log.find_item(offset)
                while index < len(log.items):
                    item = log.item_at(index)
                    if item.stored is not None:
                        break
                    if item.block is not None and item.block is not reader.block:
                        assert self._scratch is not None
                        self._scratch.read(item.block, partial(self._loaded, reader))
                        return
                    index += 1
        self._scheduler.call_soon(reader.loaded, None, [])

    def _loaded(self, reader: VolatileReader, block: Block, data: bytes, error: BaseException | None) -> None:
        try:
            if error is None:
                reader.loaded(block, decode_block(data))
                return
        except CorruptData as damage:
            error = damage
        self._fail(error)

    def _searched(self, timestamp_ms: int, done: Callable[[int], None], _block: Block, data: bytes, error: BaseException | None) -> None:
        try:
            if error is None:
                for stored in decode_block(data):
                    if stored.entry.max_time_ms >= timestamp_ms or (stored.entry.max_time_ms == 0 and stored.entry.append_time_ms >= timestamp_ms):
                        done(stored.base)
                        return
                raise AssertionError("a block holds an entry of its greatest time")
        except CorruptData as damage:
            error = damage
        self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """A spilled block cannot be read: the store has ended."""
        if self.failed is None:
            self.failed = error
            self.owner.store_failed(error)

    def find(self, log: VolatileLog, timestamp_ms: int, done: Callable[[int], None]) -> None:
        """See Log.find."""
        for index in range(log.head, len(log.items)):
            item = log.item_at(index)
            if item.first >= log.durable_offset:
                break
            if item.stored is not None:
                entry = item.stored.entry
                if (entry.max_time_ms or entry.append_time_ms) >= timestamp_ms:
                    done(item.first)
                    return
            elif item.block is not None and item.block.latest_ms >= timestamp_ms:
                assert self._scratch is not None
                self._scratch.read(item.block, partial(self._searched, timestamp_ms, done))
                return
        done(log.durable_offset)

    def close(self, done: Callable[[], None]) -> None:
        """See Store.close."""
        if self._scheduled and self.failed is None:
            self._tick()
        self.failed = self.failed or Unavailable("closed")
        if self._scratch is not None:
            self._scratch.close()
        self._scheduler.call_soon(done)

    def statistics(self) -> dict[str, float]:
        """memory_bytes: entries in memory; scratch_bytes: scratch files; spilling_bytes: on their way there; logs: how many; state_keys: folded."""
        return {
            "memory_bytes": self.memory_bytes,
            "scratch_bytes": self._scratch.size() if self._scratch is not None else 0,
            "spilling_bytes": self._spilling,
            "staged_bytes": self.staged_bytes,
            "logs": len(self._logs),
            "state_keys": self._state.changed_count(),
        }
