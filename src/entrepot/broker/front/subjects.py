"""Subjects: what is published straight into a topic goes on to what its subject matches in `amq.topic`, one hop (architecture.md section 7).

The way on is resolved once per topic and change of the routes, and kept in the topic's rules: a topic that leads nowhere costs a comparison.
A batch that goes on whole, to targets that are all here and refuse nothing, is one entry in its partition's log and in theirs, with the address in front:
Appender stages that itself. A short one, where targets may refuse or differ by record, is published record by record in the commit that appends it.
Everything else (a long one, one whose targets are not all here, and what is appended behind it) waits in the partition's log: the partition is behind, and
a Hop (subject_hop.py) sends on what is there, in order, in pieces, all of them together so much in a turn of the loop; to what is not open in this process
by intents (outbox/).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any

from entrepot.broker.catalogue.routing import Router
from entrepot.broker.catalogue.shards import HOME
from entrepot.broker.front.owners_here import OwnersHere
from entrepot.broker.front.publisher import Path, Publisher
from entrepot.broker.front.subject_hop import BehindTopic, Hop, leads_nowhere, publish_records, way_on
from entrepot.broker.front.subject_state import read_kept
from entrepot.broker.logs.entry_codec import EntryCodec
from entrepot.broker.logs.hub import Hub
from entrepot.broker.state import DELETE, SUBJECT_PREFIX, prefix_end
from entrepot.broker.topic.partition import Partition, TopicRules
from entrepot.model.entry import CONTROL, OPAQUE, TRANSACTIONAL, Entry, make_entry
from entrepot.model.errors import Unavailable

AT_ONCE_RECORDS = 64  # a batch of more, where each is looked at, waits in the log,
AT_ONCE_BYTES = 64 << 10  # as does one of more bytes
SLICE_RECORDS = 2048  # that a hop sends on in one go
TURN_STEPS = 2000  # of net/turns.py, of all hops in a turn of the loop
STAGED_MAX_BYTES = 16 << 20  # staged and not yet durable: with more, hops wait
PAUSE_S = 0.005  # so long
REST_S = 1.0  # after which a hop that met a target that is not here tries again, if no shard has opened meanwhile
SCAN_LIMIT = 1024
TOPICS_MAX = 1024  # that were behind, whose targets are remembered, besides those that are

_BY_RECORD = 8  # steps of net/turns.py, of a record that is sent on at once


class Subjects:
    """Of one broker.

    `sent_on_count`: records that went on to something; `kept_back_count`: batches that could not, being opaque, or that memory had no room for;
    `lost_count`: offsets that were let go of before they could. What is measured out by numbers above may be set otherwise (simulations do).
    """

    def __init__(self, hub: Hub, publisher: Publisher, catalogue: Any) -> None:
        self.hub = hub
        self.publisher = publisher
        self.store = publisher.store
        self.place = publisher.owners.place
        self._here = OwnersHere(publisher.owners)
        self._catalogue = catalogue
        self.sent_on_count = 0
        self.kept_back_count = 0
        self.lost_count = 0
        self.at_once_records = AT_ONCE_RECORDS
        self.slice_records = SLICE_RECORDS
        self.turn_steps = TURN_STEPS
        self.staged_max_bytes = STAGED_MAX_BYTES
        self._found: list[TopicRules] = []  # whose way on is resolved
        self._found_max = TOPICS_MAX
        self._topics: dict[TopicRules, BehindTopic] = {}  # that are behind, or were not long ago
        self._topics_max = TOPICS_MAX
        self._behind_count = 0
        self._ready: deque[Hop] = deque()
        self._resting: list[Hop] = []
        self._timer: Any = None
        self._arranged = False
        self._stopped = False
        self._left = self.turn_steps  # of this turn

    def is_here(self, shard: int) -> bool:
        """Whether a shard, or the home of what has none, is in this process, and open."""
        return shard == HOME or self._here.is_open(shard)

    # ---- the way on of a topic

    def resolve(self, rules: TopicRules, definition: Any) -> None:
        """Set it, as the routes are now. None where there is none, and no partition is behind."""
        router: Router | None = rules.router
        assert router is not None
        rules.onward_version = router.version
        path = way_on(definition, router, None, self._here)
        topic = self._topics.get(rules)
        if leads_nowhere(path) and (topic is None or not topic.count):
            rules.onward = None
            return
        if rules.onward is None:
            self._note_found(rules)
        rules.onward = path

    def forget_found(self) -> None:
        """Queues may be others now."""
        for rules in self._found:
            rules.onward = None
            rules.onward_version = 0
        self._found = []
        self._forget_topics()
        for topic in self._topics.values():
            topic.forget_found()

    def _note_found(self, rules: TopicRules) -> None:
        if len(self._found) >= self._found_max:
            self._found = list(dict.fromkeys(found for found in self._found if found.onward is not None and not found.closed))
            self._found_max = TOPICS_MAX + 2 * len(self._found)
        self._found.append(rules)

    # ---- a batch that was appended just now

    def send_volatile(self, path: Path, codec: EntryCodec, entry: Entry, data: bytes) -> None:
        """One that went on whole: to the targets that are in memory alone."""
        volatile = self.publisher.volatile
        volatile.append(path.volatile_logs, make_entry(codec.tag, codec.version, entry.flags, path.prefix, data, entry.count))
        volatile.urgent()

    def send_on(self, path: Path, partition: Partition, codec: EntryCodec, entry: Entry, base: int, data: bytes) -> None:
        """One, at `base`, that did not go on whole: now, or as soon as it can."""
        hop: Hop | None = partition.hop
        if hop is None:
            if self._is_sent_at_once(path, codec, entry, base, data):
                return
            hop = self._fall_behind(partition, base)
        hop.appended(entry, base, data, self.hub.now_ms())

    def _is_sent_at_once(self, path: Path, codec: EntryCodec, entry: Entry, base: int, data: bytes) -> bool:
        """Send it on in this commit, if that may be done; whether it was, or it never is."""
        if entry.flags & CONTROL:
            return True
        if entry.flags & OPAQUE:
            self.kept_back_count += 1
            return True
        hub = self.hub
        if entry.count > self.at_once_records or len(data) > AT_ONCE_BYTES or entry.flags & TRANSACTIONAL:
            return False
        if self._left <= 0 or hub.is_spent() or self.publisher.volatile.is_full() or codec.is_long(data):
            return False
        batch = codec.to_record_batch(data, base, hub.now_ms())
        if batch is None:
            self.kept_back_count += 1
            return True
        form = hub.codec(hub.record_tag)
        records = form.from_record_batch(batch, 0, hub.now_ms(), path.address)
        try:
            publish_records(self.publisher, path, form, records[form.start(records) :], entry.count)
        except Unavailable:
            return False
        self.sent_on_count += entry.count
        self._left -= _BY_RECORD * entry.count + len(records) // 2048 + path.router.taken_steps()
        self._arrange()
        return True

    def _fall_behind(self, partition: Partition, base: int) -> Hop:
        topic = self._topic(partition)
        hop = Hop(self, topic, partition, base, [(base, topic.targets())])
        hop.begin()
        self._begun(hop)
        return hop

    # ---- partitions that are behind

    def load(self, shards: Iterable[int]) -> None:
        """As shards open, with their partitions alive: go on where it was left. CorruptData for what no version wrote."""
        store = self.store
        end = prefix_end(SUBJECT_PREFIX)
        for shard in shards:
            rows: list[tuple[bytes, bytes]] = []
            first = SUBJECT_PREFIX
            while found := store.scan(shard, first, end, SCAN_LIMIT):
                rows += found
                first = found[-1][0] + b"\x00"
            for log_id, kept in read_kept(rows).items():
                log = store.log(log_id)
                partition = None if log is None else log.owner
                if not isinstance(partition, Partition):  # its topic is gone
                    for key in kept.keys:
                        store.fold(shard, key, DELETE)
                    continue
                self._begun(Hop(self, self._topic(partition), partition, kept.position, kept.eras))
                self.go_on(partition.hop)

    def go_on(self, hop: Hop) -> None:
        """There may be something to do: at its turn."""
        if not (hop.queued or hop.resting or hop.ended):
            hop.queued = True
            self._ready.append(hop)
            self._arrange()

    def rest(self, hop: Hop) -> None:
        """A target is not here: try again when a shard has opened, or after a while."""
        hop.resting = True
        hop.let_go()
        self._resting.append(hop)
        if self._timer is None:
            self._timer = self.hub.scheduler.call_later(REST_S, self.wake)

    def wake(self) -> None:
        """Targets that were not here may be."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        resting = self._resting
        self._resting = []
        for hop in resting:
            hop.resting = False
            self.go_on(hop)

    def stop(self) -> None:
        """No hop has a turn any more."""
        self._stopped = True

    def ended(self, hop: Hop) -> None:
        """It is not behind any more, or not here."""
        self._behind_count -= 1
        topic = hop.topic
        topic.count -= 1
        if not topic.count:
            topic.forget_paths()
            if topic.rules.onward is not None and leads_nowhere(topic.rules.onward):
                topic.rules.onward_version = 0

    def statistics(self) -> dict[str, float]:
        """Figures for metrics; Appender counts what went on whole."""
        return {
            "sent_on_opaque_total": self.kept_back_count,
            "sent_on_lost_total": self.lost_count,
            "partitions_behind": self._behind_count,
        }

    # ---- below

    def _topic(self, partition: Partition) -> BehindTopic:
        rules = partition.rules
        topic = self._topics.get(rules)
        if topic is None:
            live: Any = partition.topic
            definition = live.definition
            rules.router = self._catalogue.namespace(definition.namespace).router
            if len(self._topics) >= self._topics_max:
                self._forget_topics()
                self._topics_max = TOPICS_MAX + 2 * len(self._topics)
            topic = self._topics[rules] = BehindTopic(definition, rules, rules.router, self._here)
        return topic

    def _forget_topics(self) -> None:
        """Those that are not behind."""
        self._topics = {rules: topic for rules, topic in self._topics.items() if topic.count}

    def _begun(self, hop: Hop) -> None:
        hop.topic.count += 1
        if hop.topic.rules.onward is None:
            hop.topic.rules.onward_version = 0  # it must not be that now
        self._behind_count += 1

    def _arrange(self) -> None:
        if not self._arranged:
            self._arranged = True
            self.hub.scheduler.call_soon(self._turn)

    def _turn(self) -> None:
        """A new turn of the loop: hops in turn, a piece each."""
        self._arranged = False
        self._left = self.turn_steps
        ready = self._ready
        if not ready or self._stopped:
            return
        if self.hub.refusing or self.store.staged_bytes + self.publisher.volatile.staged_bytes > self.staged_max_bytes:
            self._arranged = True
            self.hub.scheduler.call_later(REST_S if self.hub.refusing else PAUSE_S, self._turn)
            return
        try:
            while ready and self._left > 0:
                hop = ready.popleft()
                hop.queued = False
                steps = hop.advance()
                self._left -= steps
                if steps:
                    self.go_on(hop)
        finally:  # one that fails, by a bug of ours, must not cost the others their turn
            if ready:
                self._arrange()
