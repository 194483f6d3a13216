"""A topic of two partitions, a queue and a coordinator over a simulated disk that can lose power, put together as a broker does."""

from __future__ import annotations

from types import SimpleNamespace

from stream_bench import CODEC, LineCodec

from entrepot.broker.calls.port import Attachment, Sink
from entrepot.broker.catalogue.queue_arguments import parse_queue_arguments
from entrepot.broker.logs.hub import Hub
from entrepot.broker.producers.deduplication import Deduplication
from entrepot.broker.queue.head_drops import HeadDrops
from entrepot.broker.queue.queue import Queue
from entrepot.broker.state_kinds import default_folds
from entrepot.broker.subscription.consumer import Pool, make_consumer
from entrepot.broker.topic.live_topic import LiveTopic
from entrepot.broker.transactions.coordinator import Coordinator, Participant, ParticipantKind, coordinator_log_id
from entrepot.broker.transactions.log_transactions import Transactions
from entrepot.model.entry import make_entry
from entrepot.simulation.disk import SimulatedDisk
from entrepot.simulation.loop import SimulatedClock, SimulatedEntropy, SimulatedLoop
from entrepot.store.local.opening import open_store
from entrepot.store.local.settings import StoreSettings

SMALL = StoreSettings(journal_file_size=32 << 10, journal_sort_files=2, journal_unsorted_max=1 << 20, cache_size=1 << 12, entry_count_max=64, linger_ms=1)
LOGS = [b"%016d" % number for number in range(3)]
QUEUE = 2  # its place in LOGS; the others are the topic's


class Reader(Sink):
    """Writes down what comes: (offset, record), and tells `on_record` of each."""

    def __init__(self, on_record=None):
        self.got = []
        self.on_record = on_record

    def deliver(self, delivery):
        records, position = CODEC.records(delivery.data, delivery.position, delivery.count)
        for index, record in enumerate(records):
            self.got.append((delivery.offset + index, record))
            if self.on_record is not None:
                self.on_record(record)
        return position


class Bench:
    """open() it; down() brings it down, and open() up again."""

    def __init__(self, seed=1, on_record=None):
        self.loop = SimulatedLoop(seed)
        self.clock = SimulatedClock(self.loop)
        self.entropy = SimulatedEntropy(self.loop)
        self.disk = SimulatedDisk(self.loop)
        self.on_record = on_record
        self.consumer_id = 0
        self.open()

    def open(self):
        self.store = open_store(self.disk, scheduler=self.loop, clock=self.clock, entropy=self.entropy, fold=default_folds().fold, settings=SMALL)
        self.store.set_owner(self)
        self.hub = Hub(self.loop, self.clock)
        self.hub.register(LineCodec())
        self.transactions = Transactions(self.store, self.hub.transactions)
        self.transactions.load()
        self.producers = Deduplication(self.store)
        self.producers.load()
        self.logs = [self.store.log(log_id) or self.store.create_log(0, log_id) for log_id in LOGS]
        policy = parse_queue_arguments("q", {})
        self.topic = LiveTopic(SimpleNamespace(name="t", policy=policy), self.hub, lambda _log: self.store, self.logs[:QUEUE]).topics[self.store]
        self.queue = Queue(SimpleNamespace(name="q", policy=policy), self.hub, self.store, self.logs[QUEUE], "n", HeadDrops)
        coordinator_id = coordinator_log_id(0)
        self.coordinator = Coordinator(self.store, self.store.log(coordinator_id) or self.store.create_log(0, coordinator_id))
        loaded = []
        self.coordinator.load(lambda: loaded.append(True))
        self.loop.run_until(lambda: loaded)
        self.consumer = self._consumer(self.queue)
        self.queue.add_consumer(self.consumer)

    def down(self, power):
        self.loop.forget_all()
        if power:
            self.disk.crash()
        else:
            self.disk.kill()

    # ---- the store's owner

    def committed(self, group):
        for call in group.calls:
            call()
        for log in group.logs:
            if log.owner is not None:
                log.owner.on_durable(log)

    def store_failed(self, error):
        raise error

    # ---- work

    def _consumer(self, owner, token="token"):
        attachment = Attachment()
        attachment.sink = Reader(self.on_record)
        attachment.codec = LineCodec.tag
        attachment.writable = True
        attachment.closed = False
        self.consumer_id += 1
        return make_consumer(self.consumer_id, attachment, token, owner, Pool(1), 0, False, False, 0)

    def entry(self, *records):
        return make_entry(CODEC.tag, 1, 0, b"::", b"".join(bytes((len(record),)) + record for record in records), len(records))

    def publish(self, logs, *records, transaction=None):
        logs = [self.logs[number] for number in logs]
        if transaction is None:
            self.store.append(logs, self.entry(*records))
        else:
            self.coordinator.join(transaction, [Participant(ParticipantKind.LOG, 0, log.id) for log in logs])
            self.transactions.append(logs, self.entry(*records), transaction.id)
        self.store.urgent()

    def settle_in(self, transaction, first, count):
        self.coordinator.join(transaction, [Participant(ParticipantKind.SUBSCRIPTION, 0, self.queue.log.id)])
        return self.queue.settle_in(self.transactions, transaction.id, self.consumer, first, count)

    def tell(self, transaction):
        """Every participant that has not ended it yet ends it."""
        for participant in list(transaction.waiting):
            self.transactions.end([participant.id], transaction.id, transaction.is_committed)
            self.coordinator.participant_ended(transaction, participant)

    def end(self, transaction, committed):
        self.coordinator.decide(transaction, committed)
        self.tell(transaction)

    def settle_down(self, seconds=0.5):
        self.loop.run_for(seconds)

    def read(self, number, start="first"):
        """What a reader of the topic's partition gets, from `start` on, as far as it may."""
        consumer = self._consumer(self.topic)
        self.topic.add_consumer(consumer, [self.topic.partitions[number]], start)
        self.settle_down()
        self.topic.remove_consumer(consumer)
        return consumer.attachment.sink.got

    @property
    def delivered(self):
        return self.consumer.attachment.sink.got
