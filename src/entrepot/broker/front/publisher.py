"""Publisher: stages runs of records at every target of their path, in the open commit.

A Path is a cached route with the logs behind it. Neighbouring runs of one path join one entry as long as it is the last of each of
its logs, so order within a log is that of the calls. Paths whose targets differ by record, or may refuse, go through Admission.
"""

from __future__ import annotations

from typing import Any

from entrepot.broker.calls.port import DONE, Publish
from entrepot.broker.front.replies import Replies
from entrepot.broker.logs.growing import Growing
from entrepot.broker.logs.hub import Hub
from entrepot.broker.queue.queue import Queue
from entrepot.model.entry import HAS_EXPIRY, TRANSIENT, Entry, make_entry
from entrepot.store.interface import Log, Store

_TRANSIENT = TRANSIENT


class Path:
    """A resolved address: valid while `version` is the router's.

    `plain`: every record goes to every log, no target may refuse. `by_record`: ask the router for each record's headers. `to_reply`: to the
    consumer of replies that each call's address names, whatever this one's does.
    """

    __slots__ = (
        "address",
        "by_record",
        "codec",
        "durable_entry",
        "durable_logs",
        "exchange",
        "plain",
        "prefix",
        "queues",
        "route",
        "router",
        "sender",
        "to_reply",
        "topics",
        "version",
        "volatile_entry",
        "volatile_logs",
    )

    def __init__(self, address: bytes, exchange: str, route: Any, router: Any) -> None:
        self.address = address
        self.exchange = exchange
        self.route = route
        self.router = router
        self.version = router.version
        self.by_record = route.needs_headers
        self.sender: Any = None  # of the way on of a topic's subject: (headers) -> targets of a record that has them (subject_hop.py)
        self.durable_logs: list[Log] = []
        self.volatile_logs: list[Log] = []
        self.queues: list[Queue] = []
        self.topics: list[Any] = []
        self.to_reply = route.to_reply
        self.plain = not route.needs_headers and not route.to_reply
        self.codec = 0
        self.prefix = b""
        self.durable_entry: Entry | None = None
        self.volatile_entry: Entry | None = None
        for definition in route.targets:
            self._add(definition.here())

    def _add(self, target: Any) -> None:
        if isinstance(target, Queue):
            self.queues.append(target)
            logs = self.volatile_logs if target.log.volatile else self.durable_logs
            logs.append(target.log)
            if target.rejects_when_full or target.bytes_max >= 0:
                self.plain = False
            return
        self.topics.append(target)
        if len(target.logs) == 1:
            self.durable_logs.append(target.logs[0])
        else:
            self.plain = False

    def let_go(self) -> None:
        """See Growing."""
        self.durable_entry = None
        self.volatile_entry = None


class Publisher:
    """Stages publishes. `slow` is the Admission for paths that are not plain."""

    __slots__ = ("durable_growing", "hub", "published_bytes", "published_count", "replies", "slow", "store", "volatile", "volatile_growing")

    def __init__(self, hub: Hub, store: Store, volatile: Store, slow: Any, replies: Replies) -> None:
        self.hub = hub
        self.replies = replies
        self.store = store
        self.volatile = volatile
        self.slow = slow
        self.durable_growing = Growing(store)
        self.volatile_growing = Growing(volatile)
        self.published_count = 0
        self.published_bytes = 0

    def publish(self, path: Path, call: Publish) -> bool:
        """Stage the call. True: it is complete already (nothing to wait for); False: it completes with its commit."""
        self.published_count += call.count
        self.published_bytes += call.body_bytes
        if not path.plain or call.scattered:
            if path.to_reply and not call.scattered:
                call.outcome = DONE
                return self.replies.answer(path.router, call)
            return bool(self.slow.publish(self, path, call))
        if not path.durable_logs and not path.volatile_logs:
            call.unroutable = True
            call.outcome = DONE
            return True
        self.stage(path, call, call.data, call.count)
        if not call.confirm:
            call.outcome = DONE
            return True
        if path.durable_logs:
            self.store.group().calls.append(call)
        else:
            self.volatile.group().calls.append(call)
        return False

    def let_go(self) -> None:
        """Keep no entry that may still grow."""
        self.durable_growing.let_go()
        self.volatile_growing.let_go()

    def stage(self, path: Path, call: Publish, data: bytes, count: int) -> None:
        """Append `count` records at every log of the path. Refused: nothing was staged (volatile logs, which alone may refuse, come first)."""
        if path.codec != call.codec:
            path.codec = call.codec
            path.prefix = self.hub.codec(call.codec).prefix(path.address)
            path.durable_entry = None
            path.volatile_entry = None
        if call.flags & HAS_EXPIRY:
            for queue in path.queues:
                queue.note_expiry()
        if path.volatile_logs:
            entry = path.volatile_entry
            if entry is None or (entry.flags ^ call.flags) & _TRANSIENT or not self.volatile.extend(path.volatile_logs, entry, data, count):
                entry = make_entry(call.codec, call.codec_version, call.flags, path.prefix, data, count)
                self.volatile.append(path.volatile_logs, entry)
                self.volatile_growing.note(path)
                path.volatile_entry = entry
            else:
                entry.flags |= call.flags
            self.volatile.urgent()
        if path.durable_logs:
            entry = path.durable_entry
            if entry is None or (entry.flags ^ call.flags) & _TRANSIENT or not self.store.extend(path.durable_logs, entry, data, count):
                entry = make_entry(call.codec, call.codec_version, call.flags, path.prefix, data, count)
                self.store.append(path.durable_logs, entry)
                self.durable_growing.note(path)
                path.durable_entry = entry
            else:
                entry.flags |= call.flags
            self.store.urgent()
