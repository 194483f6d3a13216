"""A broker whose topics are written and read as Kafka's clients do, and whose queues as AMQP's; shards close and open, and machines fail, when told to."""

from __future__ import annotations

from aiokafka.record.default_records import DefaultRecordBatch
from kafka_batches import batch, record
from partition_bench import NAMESPACE
from partition_bench import Bench as PartitionBench
from partition_bench import Client as PartitionClient

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.partition_calls import make_append_part, make_read_part
from entrepot.broker.state import SUBJECT_PREFIX, prefix_end
from entrepot.protocols.kafka.record_batch import BatchValidator
from entrepot.protocols.kafka.records import KafkaEntryCodec


class Bench(PartitionBench):
    codecs = (KafkaEntryCodec,)

    def connect(self):
        return Client(self)

    def figure(self, name):
        return self.broker.statistics()[name]

    def shard(self, queue=None, topic="t", partition=0):
        """Of a queue, or a partition."""
        return self.broker.shards.shard("queue", NAMESPACE, queue) if queue is not None else self.broker.shards.shard("topic", NAMESPACE, topic, partition)

    def close_shard(self, shard):
        closed = []
        self.broker.shard_moves.close(shard, lambda: closed.append(True))
        self.loop.run_until(lambda: bool(closed))

    def open_shard(self, shard):
        opened = []
        self.broker.shard_moves.open(shard, self.store.epoch, lambda: opened.append(True))
        self.loop.run_until(lambda: bool(opened))

    def fail(self):
        """The machine fails, and starts again: the broker that is there then."""
        self.loop.forget_all()
        self.disk.crash()
        return type(self)(bench=self, settings=self.settings)

    def rows(self, topic="t", partition=0):
        """What is kept of a partition that is behind: keys."""
        return [key for key, _ in self.store.scan(self.shard(None, topic, partition), SUBJECT_PREFIX, prefix_end(SUBJECT_PREFIX), 1000)]


class Client(PartitionClient):
    """Speaks to the broker as a session of either protocol does."""

    def write(self, *values, producer=None, **how):
        """Append a batch as Kafka's Produce does; its base offset."""
        part = self.batch_of(*values, **how)
        if producer is not None:
            part.producer_id, part.producer_epoch, part.first_sequence = producer
        self.wait(self.send(part))
        if part.error is not None:
            raise part.error
        return part.base_offset

    def batch_of(self, *values, topic="t", partition=0, compression=0, flags=0, keys=None, headers=(), headers_of=None):
        """`headers_of`(index) instead of `headers`: those of each record."""
        keys = keys or [None] * len(values)
        records = [
            record(key, value, headers if headers_of is None else headers_of(index), delta=index)
            for index, (key, value) in enumerate(zip(keys, values, strict=True))
        ]
        head = BatchValidator().validate(batch(records, compression, base_time=5_000))
        return make_append_part(topic, partition, head.data, head.flags | flags, head.count, head.max_time_ms)

    def taken(self, queue="q"):
        """The bodies of all that is in a queue, in order; they are gone then."""
        found = []
        while (got := self.get(queue, auto_settle=True)) is not None:
            found.append(got[0])
        return found

    def fetched(self, topic="t", partition=0, offset=0):
        """(offset, timestamp, key, value, headers) of all records, as a client of Kafka reads them."""
        part = make_read_part(topic, partition, offset, 1 << 20)
        found = []
        while True:
            self.wait(self.ask_read([part], wait_ms=50))
            assert part.error is None
            if not part.data:
                return found
            for data in part.data:
                read = DefaultRecordBatch(data)
                assert read.validate_crc()
                found += [(item.offset, item.timestamp, item.key, item.value, list(item.headers)) for item in read]
                part.offset = read.next_offset

    def values(self, **where):
        return [value for _, _, _, value, _ in self.fetched(**where)]

    def bind(self, queue="q", key="t", exchange="amq.topic", headers=None):
        self.ask(r.Bind(exchange, queue, routing_key=key, arguments=headers or {}))


def prepared(bench):
    """Topic t, whose subject leads to queue q."""
    client = bench.connect()
    client.topic()
    client.declare()
    client.bind()
    return client


def by_headers(client, queue="q", **headers):
    """The subject leads to the queue by headers."""
    client.ask(r.DeclareExchange("match", "headers", durable=True))
    client.ask(r.Bind("amq.topic", "match", "exchange", "t"))
    client.bind(queue, exchange="match", key="", headers={"x-match": "any", **headers})


def numbered(count, first=0):
    return [b"%06d" % number for number in range(first, first + count)]


def differently(index):
    return [(b"colour", b"red" if index % 2 == 0 else b"blue"), (b"number", b"%d" % index)]


def is_behind(bench):
    return bench.topic().partitions[0].hop is not None


def catch_up(bench):
    bench.loop.run_until(lambda: bench.figure("partitions_behind") == 0, 60)
