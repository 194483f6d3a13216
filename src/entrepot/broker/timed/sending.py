"""Sending: the Sends to one queue, staged: neighbours from whatever connection join one entry, as published runs do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from entrepot.broker.calls.lease_calls import Send
from entrepot.broker.calls.port import DONE
from entrepot.broker.logs.growing import Growing
from entrepot.broker.logs.hub import Hub
from entrepot.broker.timed.repeats import INTERVAL_MS, Repeats, digest_of
from entrepot.model.entry import HAS_EXPIRY, HAS_GROUPS, Entry, make_entry
from entrepot.model.errors import Reason, Refused
from entrepot.store.interface import Log, Store

if TYPE_CHECKING:
    from entrepot.broker.timed.timed_queue import TimedQueue

_HAS_EXPIRY = HAS_EXPIRY
_HAS_GROUPS = HAS_GROUPS
_DONE = DONE


class Sending:
    """Of one queue."""

    __slots__ = (
        "address",
        "by_content",
        "by_group",
        "codec",
        "delay_ms",
        "entry",
        "growing",
        "hub",
        "log",
        "logs",
        "other_scope_until",
        "prefix",
        "queue",
        "record_max",
        "repeats",
        "store",
        "timed",
    )

    def __init__(self, timed: TimedQueue, growing: Growing) -> None:
        queue = timed.queue
        policy_now = timed.definition.policy
        self.timed = timed
        self.queue = queue
        self.hub: Hub = timed.hub
        self.store: Store = timed.store
        self.log: Log = timed.log
        self.logs = [timed.log]
        name = queue.name.encode("utf-8", "surrogateescape")
        self.address = b"\0" + bytes((len(name),)) + name
        self.codec = 0
        self.prefix = b""
        self.entry: Entry | None = None
        self.growing = growing
        self.record_max = 0
        self.delay_ms = 0
        self.by_content = False
        self.by_group = policy_now.deduplication_by_group
        self.other_scope_until = 0
        self.repeats: Any = None  # of an ordered queue
        if timed.ordered:
            self.repeats = Repeats(self.store, self.log)
            self.repeats.load(timed.now_ms())
            if len(self.repeats):  # before the start it may have been the other one
                self.other_scope_until = timed.now_ms() + INTERVAL_MS
        self.configure(policy_now)

    def configure(self, policy: Any) -> None:
        """The queue's policy has changed."""
        self.record_max = policy.record_max_bytes
        self.delay_ms = policy.delay_ms
        self.by_content = policy.deduplicate_content
        if self.by_group != policy.deduplication_by_group:
            self.by_group = policy.deduplication_by_group
            self.other_scope_until = self.timed.now_ms() + INTERVAL_MS

    def send(self, call: Send) -> bool:
        """Stage it; True: it is complete already, else it completes with the open commit. The caller has checked permissions. Raises Refused."""
        size_max = 0
        for size in call.sizes:
            size_max = max(size_max, size)
        if size_max > self.record_max or self.timed.ordered:
            return self.send_by_record(call)
        if self.queue.rejects_when_full or self.queue.bytes_max >= 0:
            self.check_room(call)
        if call.groups is not None and self.timed.scan is None:
            self.timed.look_at_groups()
        base = self.stage(call.codec, call.codec_version, call.flags if call.groups is None else call.flags | _HAS_GROUPS, call.data, call.count)
        if self.delay_ms or call.delays_ms is not None:
            self.delay(call.delays_ms, base, call.count)
        call.offsets = [base] if call.count == 1 else list(range(base, base + call.count))
        call.stored_ids = call.message_ids
        self.store.group().calls.append(call)
        self.store.urgent()
        return False

    def stage(self, codec: int, version: int, flags: int, data: bytes, count: int) -> int:
        """Append records: the first one's offset."""
        base = self.log.next_offset
        if self.codec != codec:
            self.codec = codec
            self.prefix = self.hub.codec(codec).prefix(self.address)
            self.entry = None
        if flags & _HAS_EXPIRY:
            self.queue.note_expiry()
        entry = self.entry
        if entry is None or not self.store.extend(self.logs, entry, data, count):
            entry = make_entry(codec, version, flags, self.prefix, data, count)
            self.store.append(self.logs, entry)
            self.growing.note(self)
            self.entry = entry
        else:
            entry.flags |= flags
        return base

    def let_go(self) -> None:
        """See Growing."""
        self.entry = None

    def delay(self, delays_ms: list[int] | None, base: int, count: int) -> None:
        """What was staged at `base` is not to be seen yet."""
        now = self.timed.now_ms()
        if delays_ms is None:
            self.timed.delay(now + self.delay_ms, base, count)
            return
        first = 0
        while first < count:
            delay = delays_ms[first]
            stop = first + 1
            while stop < count and delays_ms[stop] == delay:
                stop += 1
            if delay < 0:
                delay = self.delay_ms
            if delay > 0:
                self.timed.delay(now + delay, base + first, stop - first)
            first = stop

    def send_by_record(self, call: Send) -> bool:
        """Some may be refused, or be repeats: one after the other."""
        codec = self.hub.codec(call.codec)
        flags = call.flags if call.groups is None else call.flags | _HAS_GROUPS
        records = [call.data] if call.count == 1 else codec.split(call.data, 0, call.count)
        errors: list[Refused | None] = []
        refused = False
        waits = False
        for index in range(len(records)):
            offset = 0
            stored_id = call.message_ids[index]
            error = self.error_of(call, index)
            if error is None:
                waits = True
                digest = self.digest_of(call, index) if self.repeats is not None else b""
                if digest and (self.repeats.find(digest, self.timed.now_ms()) or (self.other_scope_until > 0 and self.is_repeat_of_before(call, index))):
                    offset = self.repeats.offset
                    stored_id = self.repeats.message_id
                elif digest and self.repeats.is_full():
                    error = Refused(Reason.LIMIT, f"too many messages were sent to queue '{self.queue.name}' in the last five minutes")
                else:
                    offset = self.stage(call.codec, call.codec_version, flags, records[index], 1)
                    if digest:
                        self.repeats.add(digest, offset, stored_id, self.timed.now_ms())
                    if self.delay_ms or call.delays_ms is not None:
                        self.delay(None if call.delays_ms is None else [call.delays_ms[index]], offset, 1)
            refused = refused or error is not None
            errors.append(error)
            call.offsets.append(offset)
            call.stored_ids.append(stored_id)
        if refused:
            call.errors = errors
        if not waits:
            call.outcome = _DONE
            return True
        # A repeat waits too: its first may be in the commit before this one.
        self.store.group().calls.append(call)
        self.store.urgent()
        return False

    def error_of(self, call: Send, index: int) -> Refused | None:
        """What one record is refused for."""
        name = self.queue.name
        if call.sizes[index] > self.record_max:
            return Refused(Reason.TOO_LARGE, f"the message has {call.sizes[index]} bytes; queue '{name}' takes {self.record_max}")
        if not self.timed.ordered:
            return None
        if call.groups is None or not call.groups[index]:
            return Refused(Reason.INVALID, f"queue '{name}' orders groups: a message needs a group id")
        if call.delays_ms is not None and call.delays_ms[index] > 0:
            return Refused(Reason.INVALID, f"queue '{name}' orders groups: a message of it has no delay of its own")
        if not self.deduplication_id(call, index):
            return Refused(Reason.INVALID, f"queue '{name}' does not deduplicate by content: a message needs a deduplication id")
        return None

    def deduplication_id(self, call: Send, index: int) -> bytes:
        """The record's own, else its content's where the queue says so; empty: none."""
        if call.deduplication_ids is not None and call.deduplication_ids[index]:
            return b"i" + call.deduplication_ids[index]
        if self.by_content and call.content_ids is not None and call.content_ids[index]:
            return b"i" + call.content_ids[index]
        return b""

    def digest_of(self, call: Send, index: int) -> bytes:
        """Under which a record is remembered."""
        scope = call.groups[index] if self.by_group and call.groups is not None else b""
        return digest_of(scope, self.deduplication_id(call, index))

    def is_repeat_of_before(self, call: Send, index: int) -> bool:
        """Whether a record repeats one that was sent while the other scope held: what is remembered keeps the scope that it was sent under."""
        now = self.timed.now_ms()
        if now >= self.other_scope_until:
            self.other_scope_until = 0
            return False
        scope = call.groups[index] if not self.by_group and call.groups is not None else b""
        found: bool = self.repeats.find(digest_of(scope, self.deduplication_id(call, index)), now)
        return found

    def check_room(self, call: Send) -> None:
        """The limits of a queue that AMQP declared."""
        size = sum(call.sizes)
        if self.queue.rejects_when_full and self.queue.is_full(call.count, size):
            raise Refused(Reason.LIMIT, f"queue '{self.queue.name}' is full")
        self.queue.note_appended(size)
