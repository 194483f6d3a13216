"""Sending: the Sends to one queue, staged: neighbours from whatever connection join one entry, as published runs do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from entrepot.broker.hub import Hub
from entrepot.broker.lease_calls import Send
from entrepot.broker.port import DONE
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

    __slots__ = ("address", "codec", "entry", "hub", "log", "logs", "prefix", "queue", "record_max", "store", "timed")

    def __init__(self, timed: TimedQueue) -> None:
        queue = timed.queue
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
        self.record_max = 0
        self.configure(timed.definition.policy)

    def configure(self, policy: Any) -> None:
        """The queue's policy has changed."""
        self.record_max = policy.record_max_bytes

    def send(self, call: Send) -> bool:
        """Stage it; True: it is complete already, else it completes with the open commit. The caller has checked permissions. Raises Refused."""
        size_max = 0
        for size in call.sizes:
            size_max = max(size_max, size)
        if size_max > self.record_max:
            return self.send_by_record(call)
        if self.queue.rejects_when_full or self.queue.bytes_max >= 0:
            self.check_room(call)
        base = self.stage(call.codec, call.codec_version, call.flags if call.groups is None else call.flags | _HAS_GROUPS, call.data, call.count)
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
            self.entry = entry
        else:
            entry.flags |= flags
        return base

    def send_by_record(self, call: Send) -> bool:
        """Some may be refused: one after the other."""
        codec = self.hub.codec(call.codec)
        records = codec.split(call.data, 0, call.count)
        errors: list[Refused | None] = []
        call.offsets = []
        call.stored_ids = []
        staged = False
        for index, record in enumerate(records):
            error = None
            base = 0
            if call.sizes[index] > self.record_max:
                error = Refused(Reason.TOO_LARGE, f"the message has {call.sizes[index]} bytes; queue '{self.queue.name}' takes {self.record_max}")
            else:
                base = self.stage(call.codec, call.codec_version, call.flags if call.groups is None else call.flags | _HAS_GROUPS, record, 1)
                staged = True
            errors.append(error)
            call.offsets.append(base)
            call.stored_ids.append(call.message_ids[index])
        call.errors = errors
        if not staged:
            call.outcome = _DONE
            return True
        self.store.group().calls.append(call)
        self.store.urgent()
        return False

    def check_room(self, call: Send) -> None:
        """The limits of a queue that AMQP declared."""
        size = sum(call.sizes)
        if self.queue.rejects_when_full and self.queue.is_full(call.count, size):
            raise Refused(Reason.LIMIT, f"queue '{self.queue.name}' is full")
        self.queue.note_appended(size)
