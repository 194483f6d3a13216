"""What the broker may ask of a store. Implementations: local (one directory), volatile (no sync), object (a cluster's).

A store is driven from one thread, the loop's. Everything staged between two returns to the loop becomes durable together or
not at all: those calls are one commit. Commits that gather while the disk is busy form one group; its Group is the ticket.

    append(logs, entry) | discard(log, first, end) | mark(log, offset) | fold(shard, key, delta) | create_log | drop_log
        -> staged in the open group, offsets assigned at once
    seal at the end of the tick, or when the disk is free -> written and synced off the loop
    -> durable ends advance -> owner.committed(group)

Any error of write or sync ends the store: the open and pending groups' outcome is unknown, owner.store_failed(error) is called
once, and nothing is ever acknowledged again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeAlias

from entrepot.model.entry import Entry, StoredEntry
from entrepot.store.shard_time import ShardTime

ABSOLUTE_PREFIX_SIZE = 2
LOG_ID_SIZE = 16  # bytes; never reused


class Scheduler(Protocol):
    """What a store or broker needs of an event loop; asyncio's loops and the simulator's satisfy it."""

    def call_soon(self, callback: Callable[..., object], *args: Any) -> Any:
        """Run at the next tick."""

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any) -> Any:
        """Run after `delay` seconds; the handle has cancel()."""

    def time(self) -> float:
        """Monotonic seconds."""


class Group:
    """The ticket of one group commit."""

    __slots__ = ("calls", "durable", "logs", "sequence")

    sequence: int  # of the physical commit, from 1, per store and start
    calls: list[Any]  # what the owner hung on it, in submission order; the store never looks inside
    logs: list[Log]  # logs that it appended to, each once: their readers have something new once it is durable
    durable: bool


class Log:
    """An ordered sequence of entries with dense offsets.

    Every offset below first_offset is discarded (others may be: holes()); next_offset is the next to be assigned;
    durable_offset is the end of what may be read, delivered or acknowledged; below marked_offset a record may have been delivered
    (durably noted: staged marks count once their commit is durable). `bytes_alive` is approximate: bytes of whole entries not
    wholly discarded. `epoch` is that of its shard's owner now, which what is appended gets.
    """

    __slots__ = ("bytes_alive", "durable_offset", "epoch", "first_offset", "id", "marked_offset", "next_offset", "owner", "shard", "volatile")

    id: bytes
    shard: int
    epoch: int
    volatile: bool
    first_offset: int
    next_offset: int
    durable_offset: int
    marked_offset: int
    bytes_alive: int
    owner: Any  # the broker's queue or topic over this log; the store never looks inside

    def reader(self) -> LogReader:
        """A new reader with a position of its own."""
        raise NotImplementedError

    def find(self, timestamp_ms: int, done: Callable[[int], None]) -> None:
        """done(base of the first entry whose max_time_ms, or else append_time_ms, is at or after `timestamp_ms`; the durable end if none)."""
        raise NotImplementedError

    def holes(self) -> Iterator[tuple[int, int]]:
        """Discarded ranges [first, end) above first_offset, ascending: what a queue's subscription has already settled."""
        raise NotImplementedError

    def unmark(self, offset: int) -> None:
        """Nothing at or above `offset` was delivered: the mark falls back to there by the checkpoint that ends the store. For Owner.store_closing()."""
        raise NotImplementedError


class LogReader:
    """Reads entries of one log in any order, fastest forwards. Never past the durable end.

    `stretch_size` is about how many bytes a fetch brings, once as many may be read ahead; who reads may change it at any time. `held_bytes` are those
    of the entries that it keeps in memory, with their objects, besides what the log itself has there; of what is being read ahead, about as many.
    """

    __slots__ = ("held_bytes", "stretch_size")

    stretch_size: int
    held_bytes: int

    def at(self, offset: int) -> StoredEntry | None:
        """The entry holding `offset`, else the first alive one after it; None if that is not in memory (fetch it) or nothing durable lies there."""
        raise NotImplementedError

    def fetch(self, offset: int, done: Callable[[], None]) -> None:
        """Bring what lies at and after `offset` (about `stretch_size`) into memory off the loop; then done(). One fetch at a time."""
        raise NotImplementedError

    def close(self) -> None:
        """Unpin what it holds."""
        raise NotImplementedError


class Owner(Protocol):
    """Who is told: the broker. It may also have `store_pressure(on)`, and `store_closing()`: everything staged is durable, the last checkpoint comes next."""

    def committed(self, group: Group) -> None:
        """Called once per group, in order, after its logs' durable ends have advanced."""

    def store_failed(self, error: BaseException) -> None:
        """The store has ended; nothing later completes. The process must say so and exit."""


Fold: TypeAlias = Callable[[bytes, bytes | None, bytes], bytes | None]
"""(key, value or None, delta) -> new value, or None to delete. Pure, total, and stable over versions.

It may have an attribute `absolute`: prefixes, of ABSOLUTE_PREFIX_SIZE bytes, of keys whose deltas make the new value whatever the old one was; the
store then need not look at that, nor remember any delta but the last. And `many(key, value, deltas)`, which is one delta after the other, at once.
"""


class Store:
    """One store; see the module's text for how commits form.

    What is staged in one go, without going back to the loop, is in one commit. While `whole` is set nothing of it is refused for want of space, which
    may show after the first append; who sets it has looked before.

    A shard is open or closed. What is asked of a closed one, and of any log in it, is Unavailable, and nothing of that call is staged: whoever owns it
    now may have changed everything. Volatile logs are in no shard that moves.
    """

    __slots__ = ("closed", "failed", "staged_bytes", "time", "whole")

    time: ShardTime
    closed: set[int]  # the shards that are not open here
    staged_bytes: int  # appended and not yet durable
    failed: BaseException | None
    whole: bool

    def set_owner(self, owner: Owner) -> None:
        """Who is told of commits and failure; set once, before the first staging call."""
        raise NotImplementedError

    def create_log(self, shard: int, log_id: bytes) -> Log:
        """Stage the creation of an empty log; usable at once. `log_id` is LOG_ID_SIZE bytes from the entropy source."""
        log = self.make_log(shard, log_id)
        self.add_log(log)
        return log

    def make_log(self, shard: int, log_id: bytes) -> Log:
        """A log as create_log()'s, that nobody knows yet and nothing is staged for: add_log() does. One that is not added is nothing."""
        raise NotImplementedError

    def add_log(self, log: Log) -> None:
        """Stage the creation of a log that make_log() has made."""
        raise NotImplementedError

    def drop_log(self, log: Log) -> None:
        """Stage the removal of a log and all that is in it; its readers end."""
        raise NotImplementedError

    def shard_time(self, shard: int) -> ShardTime:
        """The ShardTime of an open shard; here one of all of them."""
        return self.time

    def open_shard(self, shard: int, epoch: int, done: Callable[[], None]) -> None:
        """Take a closed shard: done() once what is in it can be asked for. A local store's shards keep the epoch of its start, for nobody else has them."""
        raise NotImplementedError

    def close_shard(self, shard: int, done: Callable[[], None]) -> None:
        """From now on it is closed; done() once all that was staged in it is durable, and somebody else may open it."""
        raise NotImplementedError

    def logs(self, shard: int | None = None) -> Iterator[Log]:
        """Every log that exists, or those of one shard."""
        raise NotImplementedError

    def log(self, log_id: bytes) -> Log | None:
        """The log of that id."""
        raise NotImplementedError

    def is_full(self) -> bool:
        """Whether appends are refused for want of space, where the owner is not told so (store_pressure)."""
        return False

    def append(self, logs: list[Log], entry: Entry) -> None:
        """Stage an open `entry` at the end of every log: one copy of the bytes, offsets assigned at once (log.next_offset grows by its span)."""
        raise NotImplementedError

    def extend(self, logs: list[Log], entry: Entry, part: bytes, count: int) -> bool:
        """Add records to an entry staged on exactly these logs, if it is still open, small enough, and the last one of each; whether it did."""
        raise NotImplementedError

    def discard(self, log: Log, first: int, end: int) -> None:
        """Stage that offsets [first, end) of `log` are gone for good. Not urgent by itself: see urgent()."""
        raise NotImplementedError

    def mark(self, log: Log, offset: int) -> None:
        """Stage "may have been delivered below `offset`"."""
        raise NotImplementedError

    def fold(self, shard: int, key: bytes, delta: bytes) -> None:
        """Stage a change of state: the store's fold function makes the new value when it is next read or checkpointed."""
        raise NotImplementedError

    def get(self, shard: int, key: bytes) -> bytes | None:
        """The value now, staged changes included."""
        raise NotImplementedError

    def scan(self, shard: int, first: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """Up to `limit` (key, value) with first <= key < end, ascending, staged changes included."""
        raise NotImplementedError

    def rewrite(self, log: Log, first: int, end: int, entries: list[StoredEntry], done: Callable[[], None]) -> None:
        """Replace [first, end) by `entries` (offsets kept, gaps allowed) atomically; readers keep what they pinned. done() once durable."""
        raise NotImplementedError

    def group(self) -> Group:
        """The open group: what is staged now is durable when it is. Hang calls on it."""
        raise NotImplementedError

    def urgent(self) -> None:
        """Somebody waits for the open group: seal it at the end of this tick. Without it, it is sealed within `linger_ms`."""
        raise NotImplementedError

    def close(self, done: Callable[[], None]) -> None:
        """Commit what is staged, checkpoint, release the directory; then done()."""
        raise NotImplementedError

    def statistics(self) -> dict[str, float]:
        """Figures for metrics, each explained in the implementation."""
        raise NotImplementedError
