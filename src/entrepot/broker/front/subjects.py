"""Subjects: what is published straight into a topic goes on to what its subject matches in `amq.topic`, one hop (architecture.md section 7).

The way on is resolved once per topic and change of the routes, and kept in the topic's rules: a topic that leads nowhere costs a comparison.
A batch that goes on is one entry in its partition's log and in those of its further targets, with the address in front. Where a target may
refuse, or they differ by record, the records are published one by one in the form that can be taken apart.
"""

from __future__ import annotations

from typing import Any

from entrepot.broker.calls.port import make_publish
from entrepot.broker.catalogue.routing import make_route
from entrepot.broker.front.owner_table import OwnerTable
from entrepot.broker.front.parting import make_address
from entrepot.broker.front.publisher import Path, Publisher
from entrepot.broker.logs.entry_codec import EntryCodec
from entrepot.broker.logs.hub import Hub
from entrepot.broker.owner.local_owner import local_lane
from entrepot.broker.topic.partition import TopicRules
from entrepot.model.entry import OPAQUE, Entry, make_entry
from entrepot.store.interface import Log

SUBJECT_EXCHANGE = "amq.topic"
_SUBJECT_SIZE_MAX = 255  # of a routing key


class Subjects:
    """Of one broker. `sent_on_count`: records that went on to something; `kept_back_count`: batches that could not, being opaque."""

    def __init__(self, hub: Hub, publisher: Publisher, owners: OwnerTable) -> None:
        self._hub = hub
        self._owners = owners
        self._publisher = publisher
        self.sent_on_count = 0
        self.kept_back_count = 0

    def resolve(self, rules: TopicRules, definition: Any) -> None:
        """Set the way on of a topic, as the routes are now."""
        router = rules.router
        assert router is not None
        rules.onward_version = router.version
        rules.onward = None
        if len(definition.subject.encode("utf-8", "surrogateescape")) > _SUBJECT_SIZE_MAX:
            return
        route = router.route_subject(definition)
        targets = tuple(target for target in route.targets if target is not definition)
        if targets or route.needs_headers:
            path = Path(make_address(SUBJECT_EXCHANGE, definition.subject), SUBJECT_EXCHANGE, make_route(targets, route.needs_headers), router, self._owners)
            path.sender = definition
            rules.onward = path

    def entry(self, path: Path, log: Log, codec: EntryCodec, version: int, flags: int, data: bytes, count: int) -> Entry:
        """The entry of a batch of a topic with a way on: with the address, if it lies in the logs of others too."""
        if _goes_whole(path, flags) and self._beside(path, log):
            return make_entry(codec.tag, codec.version, flags, codec.prefix(path.address), data, count)
        return make_entry(codec.tag, version, flags, b"", data, count)

    def logs(self, path: Path, logs: list[Log], flags: int) -> list[Log]:
        """Where that entry is appended: `logs` is the partition's alone."""
        return [*logs, *self._beside(path, logs[0])] if _goes_whole(path, flags) else logs

    def _beside(self, path: Path, log: Log) -> list[Log]:
        """What the same owner has of the way on: these share one entry, in one commit."""
        holder = self._owners.holder(log)
        return [beside for lane in path.lanes if lane.owner is holder for beside in local_lane(lane).logs]

    def send_on(self, path: Path, log: Log, codec: EntryCodec, entry: Entry, base: int, data: bytes) -> None:
        """Have the batch `data`, whose entry was appended to its partition's log at `base`, staged wherever else it goes."""
        if not _goes_whole(path, entry.flags):
            self._publish_records(path, codec, entry, base, data)
            return
        holder = self._owners.holder(log)
        others = [lane for lane in path.lanes if lane.owner is not holder]
        if others:
            call = make_publish(0, path.address, codec.tag, codec.version, entry.flags, data, entry.count, 0)
            if len(others) == 1:
                others[0].owner.stage(others[0], call)
            else:
                self._publisher.stage_all(others, call)
        self.sent_on_count += entry.count

    def _publish_records(self, path: Path, codec: EntryCodec, entry: Entry, base: int, data: bytes) -> None:
        """Publish the batch's records along the path as what can be taken apart. What a full queue refuses is not in it; the topic has it."""
        hub = self._hub
        batch = None
        if not entry.flags & OPAQUE:
            batch = codec.to_record_batch(data, base, hub.now_ms())
        if batch is None:
            self.kept_back_count += 1
            return
        form = hub.codec(hub.record_tag)
        records = form.from_record_batch(batch, 0, hub.now_ms(), path.address)
        start = form.start(records)
        call = make_publish(0, path.address, form.tag, form.version, 0, records[start:], entry.count, form.body_bytes(records, start, entry.count))
        self._publisher.parting.publish(self._publisher, path, call)
        self.sent_on_count += entry.count

    def statistics(self) -> dict[str, float]:
        """Figures for metrics."""
        return {"sent_on_total": self.sent_on_count, "sent_on_opaque_total": self.kept_back_count}


def _goes_whole(path: Path, flags: int) -> bool:
    """Every further target takes the batch as it is."""
    return path.plain and not path.choosy and not flags & OPAQUE
