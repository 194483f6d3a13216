"""A real broker hub, store and topics over a simulated loop and disk, with sinks that write down what they get."""

from __future__ import annotations

from entrepot.broker.calls.port import Attachment, Sink
from entrepot.broker.catalogue.decisions import Decisions
from entrepot.broker.catalogue.stream import CatalogueStream
from entrepot.broker.logs.entry_codec import EntryCodec
from entrepot.broker.logs.hub import Hub
from entrepot.broker.state_kinds import default_folds
from entrepot.broker.subscription.consumer import Pool, make_consumer
from entrepot.broker.topic.live_topic import LiveTopic
from entrepot.broker.topic.stream_start import parse_places
from entrepot.model.entry import make_entry
from entrepot.simulation.disk import SimulatedDisk
from entrepot.simulation.loop import SimulatedClock, SimulatedEntropy, SimulatedLoop
from entrepot.store.local.opening import open_store
from entrepot.store.local.settings import StoreSettings

NS = "public/default"
SMALL = StoreSettings(journal_file_size=1 << 20, journal_unsorted_max=64 << 20, cache_size=1 << 16, entry_count_max=64)


class LineCodec(EntryCodec):
    """Records are u8 size and bytes, behind a prefix of two."""

    tag = 9
    version = 1

    def __init__(self):
        self.by_record = True

    def start(self, data):
        return 2

    def skip(self, data, position, count):
        for _ in range(count):
            position += 1 + data[position]
        return position

    def records(self, data, position, count):
        found = []
        for _ in range(count):
            found.append(data[position + 1 : position + 1 + data[position]])
            position += 1 + data[position]
        return found, position


CODEC = LineCodec()


class Reader(Sink):
    """What one connection received: (offset, bytes) each, and how many slices that were. `tells` whether it knows where a slice ended."""

    def __init__(self, tells=True):
        self.got = []
        self.slices = 0
        self.tells = tells
        self.consumer = None

    def deliver(self, delivery):
        assert delivery.from_topic
        assert (delivery.deliveries, delivery.redelivered) == (0, False)
        records, position = CODEC.records(delivery.data, delivery.position, delivery.count)
        self.got += [(delivery.offset + index, record) for index, record in enumerate(records)]
        self.slices += 1
        return position if self.tells else -1

    @property
    def offsets(self):
        return [offset for offset, _ in self.got]


class Owner:
    """Hears of commits as a broker does."""

    def committed(self, group):
        for log in group.logs:
            if log.owner is not None:
                log.owner.on_durable(log)

    def store_failed(self, error):
        raise error


class Bench:
    def __init__(self, seed=1, disk=None, settings=SMALL):
        self.loop = SimulatedLoop(seed)
        self.clock = SimulatedClock(self.loop)
        self.entropy = SimulatedEntropy(self.loop)
        self.disk = disk or SimulatedDisk(self.loop)
        self.store = open_store(self.disk, scheduler=self.loop, clock=self.clock, entropy=self.entropy, fold=default_folds().fold, settings=settings)
        self.store.set_owner(Owner())
        self.hub = Hub(self.loop, self.clock)
        self.hub.register(LineCodec())
        self.decisions = Decisions.over(CatalogueStream(self.store), lambda: self.entropy.octets(16))
        self.catalogue = self.decisions.catalogue
        self.consumer_count = 0

    def stream(self, name="s", **arguments):
        arguments = {"x-queue-type": "stream", **{key.replace("_", "-"): value for key, value in arguments.items()}}
        definition, _ = self.decisions.declare_queue(NS, name, durable=True, exclusive=False, auto_delete=False, arguments=arguments, connection=(b"here", 1))
        return self.open(definition)

    def topic(self, name="t", partitions=1, **policy):
        return self.open(self.decisions.declare_topic(NS, name, partitions=partitions, **policy)[0])

    def open(self, definition):
        logs = [self.store.log(log_id) or self.store.create_log(0, log_id) for log_id in definition.partitions]
        definition.runtime = LiveTopic(definition, self.hub, lambda _log: self.store, logs)
        return definition.runtime.topics[self.store]

    def publish(self, topic, *records, log=None, flags=0, max_time_ms=0):
        """One entry of these records."""
        data = b"".join(bytes((len(record),)) + record for record in records)
        entry = make_entry(CODEC.tag, 1, flags, b"::", data, len(records))
        entry.max_time_ms = max_time_ms
        self.store.append([log or topic.partitions[0].log], entry)
        self.store.urgent()

    def settle_down(self, seconds=0.5):
        """Let commits, fetches and deliveries under way come to their end."""
        self.loop.run_for(seconds)

    def subscribe(self, topic, start, limit=1000, partition=None, auto_settle=False, tells=True, pool=None):
        reader = Reader(tells)
        attachment = Attachment()
        attachment.sink = reader
        attachment.codec = LineCodec.tag
        attachment.writable = True
        attachment.closed = False
        self.consumer_count += 1
        reader.consumer = make_consumer(self.consumer_count, attachment, "token", topic, pool or Pool(1), limit, auto_settle, False, 0)
        numbers, start = parse_places(topic.name, len(topic.partitions), start, partition, self.hub.now_ms())
        topic.add_consumer(reader.consumer, [topic.partitions[number] for number in numbers], start)
        return reader
