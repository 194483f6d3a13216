"""LocalStore: staging, sealing and completing group commits, and reading them back. The interface's text says what it promises.

    open group  --encode-->  encoded groups, in order  --write-->  sealed group (one, with the committer)  --written-->  durable, owner told

Staging calls are compiled and do little; encoding a group is done in one go. While the committer is busy a group grows, until it is large:
then it is encoded and waits, and the next one is opened, so that no turn of the loop encodes more than about `group_size_max`, nor group.ROWS_MAX rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import cython

from entrepot.model.entry import Entry, StoredEntry
from entrepot.model.errors import EntrepotError, Reason, Refused, Unavailable
from entrepot.store.interface import LOG_ID_SIZE, Group, Log, Owner, Store
from entrepot.store.local.group import LocalGroup
from entrepot.store.local.journal import COMMIT_HEADER_SIZE
from entrepot.store.local.journal_read import fetch
from entrepot.store.local.log import LocalLog, LocalReader
from entrepot.store.local.log_table import LogTable
from entrepot.store.local.rewriting import Rewriting
from entrepot.store.local.settings import Durability
from entrepot.store.shard_time import ShardTime

if not cython.compiled:
    from entrepot.model.octets import get_u64_le_ba, put_u64_le, resize_ba
    from entrepot.store.local.group import encode_group, is_large, local_log, place_group

_OVERHEAD = 320
_ROW = 24
_STEP = 64 * 1024  # bytes of one log that leave the cache together


class LocalStore(Store):
    """Opened by open_store(); parts are its ring of journal files, its state and its maintenance."""

    __slots__ = (
        "_disk",
        "_encoded",
        "_entry_count_max",
        "_entry_size_max",
        "_fifo_bytes",
        "_fifo_ends",
        "_fifo_head",
        "_fifo_logs",
        "_group_size_max",
        "_open",
        "_scheduled",
        "_sealed",
        "_staged_max",
        "_sync_timer",
        "_timer",
        "_unsynced",
        "cached_bytes",
        "chain",
        "closing",
        "commit_bytes",
        "commit_count",
        "commit_seconds",
        "cut_wanted",
        "dropped_ids",
        "durable_number",
        "epoch",
        "full",
        "maintenance",
        "numbers",
        "owner",
        "placed",
        "pressure",
        "ring",
        "scheduler",
        "sequence",
        "settings",
        "state",
        "synced",
        "table",
    )

    def __init__(self, disk: Any, scheduler: Any, time: ShardTime, settings: Any, ring: Any, state: Any) -> None:
        self.staged_bytes = 0
        self.failed, self.whole, self.closed = None, False, set()
        # parts
        self._disk = disk
        self.scheduler = scheduler
        self.time = time
        self.settings = settings
        self._entry_size_max = settings.entry_size_max
        self._group_size_max = settings.group_size_max
        self._entry_count_max = settings.entry_count_max
        self._staged_max = settings.staged_max
        self.ring = ring
        self.state = state
        self.maintenance: Any = None
        self.owner: Any = None
        # logs
        self.table = LogTable()
        # commits
        self.epoch = 1  # grows with every start
        self.numbers = 1
        self.sequence = 0  # of the last sealed commit
        self.synced = 0  # of the last commit known to be synced
        self.chain = 0  # header checksum of the last sealed commit
        self._open = LocalGroup(1)
        self._encoded: list[LocalGroup] = []
        self._sealed: LocalGroup | None = None
        self._scheduled = False
        self._timer: Any = None
        self._sync_timer: Any = None
        self._unsynced = False
        self.closing: Callable[[], None] | None = None
        # checkpoints: the next sealed group is where one cuts; logs dropped since the last; number of the last durable group
        self.cut_wanted = False
        self.dropped_ids: list[bytes] = []
        self.durable_number = 0
        # cache: what may leave memory, oldest first: (log, end) in step
        self.cached_bytes = 0
        self._fifo_logs: list[LocalLog | None] = []
        self._fifo_ends = bytearray()
        self._fifo_head = 0
        self._fifo_bytes = 0
        # limits and figures
        self.full = False
        self.pressure = False
        self.placed = 0  # rows ever added to the logs' indexes
        self.commit_count = 0
        self.commit_bytes = 0
        self.commit_seconds = 0.0

    # -- logs ------------------------------------------------------------------------------------------------------------------

    def set_owner(self, owner: Owner) -> None:
        """See Store.set_owner."""
        self.owner = owner

    def make_log(self, shard: int, log_id: bytes) -> Log:
        """See Store.make_log."""
        if len(log_id) != LOG_ID_SIZE:
            raise ValueError(f"a log id is {LOG_ID_SIZE} bytes, not {len(log_id)}")
        return LocalLog(shard, log_id, self)

    def add_log(self, log: Log) -> None:
        """See Store.add_log."""
        if log.id in self.table.by_id:
            raise Refused(Reason.EXISTS_DIFFERENT, f"log {log.id.hex()} exists")
        self._check(log.shard)
        local = local_log(log)
        self.table.add(local)
        group = self._open
        self._number(local)
        group.created.append(local)
        self._touch(group)

    def drop_log(self, log: Log) -> None:
        """See Store.drop_log."""
        self._check(log.shard)
        local = local_log(log)
        group = self._open
        self._number(local)
        group.dropped.append(local)
        self.cached_bytes -= local.clear()
        self.table.remove(local)
        self.dropped_ids.append(local.id)
        self._touch(group)

    def logs(self, shard: int | None = None) -> Iterator[Log]:
        """See Store.logs."""
        return iter([log for log in self.table.by_id.values() if shard is None or log.shard == shard])

    def log(self, log_id: bytes) -> Log | None:
        """See Store.log."""
        return self.table.by_id.get(log_id)

    def restored_log(self, shard: int, log_id: bytes) -> LocalLog:
        """Recovery: a log that is in checkpoint or journal."""
        log = LocalLog(shard, log_id, self)
        self.table.add(log)
        return log

    def forget_log(self, log_id: bytes) -> None:
        """Recovery: a log that the journal drops."""
        if (log := self.table.by_id.get(log_id)) is not None:
            self.table.remove(log)
        self.dropped_ids.append(log_id)

    # -- shards ----------------------------------------------------------------------------------------------------------------

    def open_shard(self, shard: int, epoch: int, done: Callable[[], None]) -> None:
        """See Store.open_shard."""
        self.closed.remove(shard)
        self.scheduler.call_soon(done)

    def close_shard(self, shard: int, done: Callable[[], None]) -> None:
        """See Store.close_shard."""
        self._check(shard)
        self.closed.add(shard)
        self._open.calls.append(done)
        self.urgent()

    # -- staging ---------------------------------------------------------------------------------------------------------------

    def append(self, logs: list[Log], entry: Entry) -> None:
        """See Store.append. The list is kept until the commit is durable: do not change it."""
        if self.failed is not None or len(self.closed) > 0:
            for item in logs:
                self._check(item.shard)
        if self.full and not self.whole:
            raise Refused(Reason.LIMIT, "the disk is nearly full: appends are refused until space is freed")
        assert not entry.sealed, "an entry is appended while it is open"
        assert entry.targets_alive == 0, "an entry is appended once"
        entry.epoch = self.epoch
        group = self._open
        p = len(group.bases)
        resize_ba(group.bases, p + 8 * len(logs))
        for item in logs:
            log = local_log(item)
            put_u64_le(group.bases, p, log.push(entry))
            p += 8
            if log.append_group != group.number:
                log.append_group = group.number
                group.logs.append(log)
                self._number(log)
        group.entries.append(entry)
        group.targets.append(logs)
        group.size += entry.size
        self.staged_bytes += entry.size
        self.cached_bytes += entry.size + _OVERHEAD
        if not group.used:
            self._touch(group)
        if self.staged_bytes > self._staged_max and not self.pressure:
            self.maintenance.assess()

    def extend(self, logs: list[Log], entry: Entry, part: bytes, count: int) -> bool:
        """See Store.extend."""
        if self.failed is not None or self.full or entry.sealed or entry.targets_alive != len(logs):
            return False
        for item in logs:
            if not local_log(item).ends_with(entry) or (len(self.closed) > 0 and item.shard in self.closed):
                return False
        size = len(part)
        if not entry.extend(part, count, self._entry_size_max, self._entry_count_max):
            return False
        for item in logs:
            local_log(item).grow(count, size)
        self._open.size += size
        self.staged_bytes += size
        self.cached_bytes += size
        return True

    def discard(self, log: Log, first: int, end: int) -> None:
        """See Store.discard."""
        if self.failed is not None or len(self.closed) > 0:
            self._check(log.shard)
        local = local_log(log)
        if local.dropped or first >= end:
            return
        if end > local.next_offset:
            raise ValueError(f"discard up to {end} of a log that ends at {local.next_offset}")
        group = self._open
        if local.discard_group != group.number:
            local.discard_group = group.number
            group.discarded.append(local)
            self._number(local)
        local.stage_discard(first, end)
        self.cached_bytes -= local.discard_now(first, end)
        if not group.used:
            self._touch(group)

    def mark(self, log: Log, offset: int) -> None:
        """See Store.mark."""
        if self.failed is not None or len(self.closed) > 0:
            self._check(log.shard)
        local = local_log(log)
        if local.dropped:
            return
        group = self._open
        if local.mark_group != group.number:
            local.mark_group = group.number
            local.mark_staged = 0
            group.marked.append(local)
            self._number(local)
        local.stage_mark(offset)
        if not group.used:
            self._touch(group)

    def fold(self, shard: int, key: bytes, delta: bytes) -> None:
        """See Store.fold."""
        if self.failed is not None or len(self.closed) > 0:
            self._check(shard)
        group = self._open
        group.folds.append((shard, key, delta))
        self.state.fold(shard, key, delta)
        if not group.used:
            self._touch(group)

    def get(self, shard: int, key: bytes) -> bytes | None:
        """See Store.get."""
        value: bytes | None = self.state.get(shard, key)
        return value

    def scan(self, shard: int, first: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """See Store.scan."""
        found: list[tuple[bytes, bytes]] = self.state.scan(shard, first, end, limit)
        return found

    def group(self) -> Group:
        """See Store.group."""
        return self._open

    def urgent(self) -> None:
        """See Store.urgent."""
        group = self._open
        group.urgent = True
        if not self._scheduled and (self._sealed is None or is_large(group, self._group_size_max)):
            self._scheduled = True
            self.scheduler.call_soon(self._seal_now)

    def _number(self, log: LocalLog) -> None:
        """Give a log its row in the open group's table."""
        group = self._open
        if log.table_group != group.number:
            log.table_group = group.number
            log.table_index = len(group.table)
            group.table.append(log)

    def _touch(self, group: LocalGroup) -> None:
        """Something is staged: it is sealed after lingering, if nobody is in a hurry."""
        group.used = True
        if self._timer is None:
            self._timer = self.scheduler.call_later(self.settings.linger_ms / 1000, self._lingered)

    def _check(self, shard: int = -1) -> None:
        if self.failed is not None:
            raise Unavailable(f"the store has ended: {self.failed}")
        if shard in self.closed:
            raise Unavailable(f"shard {shard} is not open here")

    def _lingered(self) -> None:
        self._timer = None
        self._open.urgent = True
        if self._sealed is None and not self._scheduled:
            self._seal_now()

    # -- commits ---------------------------------------------------------------------------------------------------------------

    def _seal_now(self) -> None:
        """Give the committer, if it is free, what is encoded, or else the open group; if it is not, encode that once it is large."""
        self._scheduled = False
        group = self._open
        is_free = self._sealed is None
        if self.failed is not None or not (is_free or is_large(group, self._group_size_max)):
            return
        try:
            if not (is_free and self._encoded):
                if not group.used:
                    if group.calls:
                        self._open = self._new_group()
                        self._complete(group)
                    return
                self._open = self._new_group()
                self._encode(group)
            if is_free:
                self._write()
        except (EntrepotError, OSError) as error:
            self.fail(error)

    def _new_group(self) -> LocalGroup:
        self.numbers += 1
        return LocalGroup(self.numbers)

    def _encode(self, group: LocalGroup) -> None:
        """Nothing more is staged in a group; it is written after those before it."""
        encode_group(group, self.time.now_ms())
        self._encoded.append(group)
        group.sequence = self.sequence + len(self._encoded)
        if self.cut_wanted:
            self.cut_wanted = False
            self.maintenance.cut(group.sequence)

    def _write(self) -> None:
        """Give the first encoded group its place, and hand it to the disk."""
        group = self._encoded.pop(0)
        builder = group.builder
        assert builder is not None
        sequence = group.sequence
        size = COMMIT_HEADER_SIZE + ((builder.size + 7) & ~7)
        prefix = b""
        sync = self.settings.durability is Durability.FSYNC
        if not self.ring.fits(size):
            if not sync:
                self.sync_now()
            prefix = self.ring.rotate(sequence, self.chain)
        journal_file = self.ring.current
        position = journal_file.end
        chain = builder.finish(sequence, self.synced, journal_file.salt, self.chain)
        parts = builder.parts
        if prefix:
            parts.insert(0, prefix)
        journal_file.end = position + size
        self.placed += len(group.bases) >> 3
        place_group(group, journal_file.life, position + COMMIT_HEADER_SIZE)
        group.builder = None
        self.sequence = sequence
        self.chain = chain
        self._sealed = group
        self._unsynced = not sync
        self.commit_bytes += size
        self._disk.commit(journal_file.file, 0 if prefix else position, parts, sync=sync, done=self._written)
        if prefix:
            self.maintenance.rotated()

    def _written(self, seconds: Any, error: BaseException | None) -> None:
        """The committer has done: complete the group and seal the next."""
        if self.failed is not None:
            return
        if error is not None:
            self.fail(error)
            return
        group = self._sealed
        assert group is not None
        self._sealed = None
        self.commit_count += 1
        self.commit_seconds += seconds
        if not self._unsynced:
            self.synced = group.sequence
        elif self._sync_timer is None and self.settings.durability is Durability.INTERVAL:
            self._sync_timer = self.scheduler.call_later(self.settings.sync_interval_ms / 1000, self.sync_now)
        try:
            self._complete(group)
        finally:
            self._next()

    def _complete(self, group: LocalGroup) -> None:
        """A group is durable: ends advance, marks count, the owner is told."""
        index = 0
        for item in group.logs:
            log = local_log(item)
            log.committed(group.ends[index])
            index += 1  # noqa: SIM113 - typed, no tuple per log
            if not log.dropped:
                self._fifo_push(log, log.durable_offset)
        index = 0
        for log in group.marked:
            log.marked(group.marks[index])
            index += 1  # noqa: SIM113
        self.staged_bytes -= group.size
        self._fifo_bytes += group.size
        group.durable = True
        self.durable_number = group.number
        group.entries = []
        group.targets = []
        group.bases = bytearray()
        group.table = []
        group.places = bytearray()
        self.owner.committed(group)
        group.calls = []  # some know their group
        if self.cached_bytes > self.settings.cache_size or self._fifo_head * 2 < len(self._fifo_logs):
            self._evict()

    def _next(self) -> None:
        """The committer is free."""
        group = self._open
        if self._encoded or group.urgent or self.closing is not None or is_large(group, self._group_size_max):
            self._seal_now()
        if self._sealed is None and self.closing is not None:
            self.maintenance.quiet()
        self.maintenance.committed()

    def want_cut(self) -> None:
        """The next group sealed, which is soon, is where a checkpoint cuts."""
        self.cut_wanted = True
        self._open.used = True
        self.urgent()

    def flush(self) -> int:
        """Commit soon, even if nothing is staged; the number of the group that will be durable then."""
        self._open.used = True
        self.urgent()
        number: int = self._open.number
        return number

    def replaced(self, log: LocalLog, end: int) -> None:
        """What lies below `end` of a log has been rewritten: what is in memory of it is old."""
        self.cached_bytes -= log.pop_front(end)

    def staged(self) -> bool:
        """Whether anything is staged and not yet durable."""
        return self._open.used or self._sealed is not None  # what is encoded waits for the sealed one

    def sync_now(self) -> None:
        """Sync what was written without it (durability `interval` and `none`), before anything relies on it."""
        self._sync_timer = None
        if self.synced < self.sequence and self.ring.current is not None and self.failed is None:
            self._disk.commit(self.ring.current.file, 0, [], sync=True, done=partial(self._synced_to, self.sequence))

    def _synced_to(self, sequence: int, _seconds: Any, error: BaseException | None) -> None:
        if self.failed is not None:
            return
        if error is not None:
            self.fail(error)
            return
        if sequence > self.synced:
            self.synced = sequence
        self.maintenance.synced()

    def fail(self, error: BaseException) -> None:
        """The store has ended: nothing completes any more."""
        if self.failed is not None:
            return
        self.failed = error
        if self.owner is not None:
            self.owner.store_failed(error)

    def ended(self, error: BaseException) -> None:
        """Closed: nothing more is staged."""
        self.failed = error

    # -- the cache -------------------------------------------------------------------------------------------------------------

    def _fifo_push(self, log: LocalLog, end: int) -> None:
        """What `log` has below `end` may leave memory after all that came before."""
        n = len(self._fifo_logs)
        if n > self._fifo_head and self._fifo_logs[n - 1] is log and self._fifo_bytes < _STEP:
            put_u64_le(self._fifo_ends, (n - 1) * 8, end)
            return
        self._fifo_bytes = 0
        self._fifo_logs.append(log)
        resize_ba(self._fifo_ends, (n + 1) * 8)
        put_u64_le(self._fifo_ends, n * 8, end)
        self.cached_bytes += 16

    def _evict(self) -> None:
        """Forget what nothing is left of; while over the budget, the oldest too."""
        head = self._fifo_head
        n = len(self._fifo_logs)
        budget = self.settings.cache_size
        while head < n:
            log = self._fifo_logs[head]
            assert log is not None
            end = get_u64_le_ba(self._fifo_ends, head * 8)
            if not log.dropped and log.tail_first() < end:
                if self.cached_bytes <= budget:
                    break
                self.cached_bytes -= log.pop_front(end)
            self._fifo_logs[head] = None
            self.cached_bytes -= 16
            head += 1
        self._fifo_head = head
        if head >= 256 and head * 2 > n:
            del self._fifo_logs[:head]
            del self._fifo_ends[: head * 8]
            self._fifo_head = 0

    # -- cold reads ------------------------------------------------------------------------------------------------------------

    def fetch(self, reader: LocalReader, offset: int) -> None:
        """Read what lies at and after `offset` of a log, from the journal or from segments, and give it to its reader."""
        fetch(self, self._disk, reader, offset)

    def find(self, log: LocalLog, timestamp_ms: int, done: Callable[[int], None]) -> None:
        """See Log.find."""
        self.maintenance.find(log, timestamp_ms, done)

    # -- the end ---------------------------------------------------------------------------------------------------------------

    def rewrite(self, log: Log, first: int, end: int, entries: list[StoredEntry], done: Callable[[], None]) -> None:
        """See Store.rewrite."""
        self._check()
        self.maintenance.rewrite(Rewriting(local_log(log), first, end, entries, done))

    def close(self, done: Callable[[], None]) -> None:
        """See Store.close."""
        self.closing = done
        for timer in (self._timer, self._sync_timer):
            if timer is not None:
                timer.cancel()
        self._timer = self._sync_timer = None
        if self._sealed is None:
            self._next()

    def statistics(self) -> dict[str, float]:
        """Figures for metrics: bytes unless named otherwise."""
        return {
            "commits": self.commit_count,
            "commit_bytes": self.commit_bytes,
            "commit_seconds": self.commit_seconds,  # the committer's time in write and sync
            "staged_bytes": self.staged_bytes,
            "cached_bytes": self.cached_bytes,  # entries in memory, with their objects
            "logs": len(self.table.by_id),
            "pressure": self.pressure,
            "full": self.full,
            **self.maintenance.statistics(),
        }
