"""A broker with topics over a simulated loop and disk, and a codec as simple as can be: u64 base, u32 epoch, u32 records, i64 append time, then text."""

from __future__ import annotations

import struct

from broker_bench import AllowAll, Connection
from broker_bench import Bench as BrokerBench

from entrepot.broker.calls.partition_calls import make_append, make_append_part, make_close_parts, make_read, make_read_part
from entrepot.broker.calls.port import DONE, PENDING
from entrepot.broker.calls.topic_requests import CreateTopic
from entrepot.broker.logs.entry_codec import EntryCodec
from entrepot.broker.topic.topic_config import TopicDefaults
from entrepot.model.entry import CODEC_KAFKA
from entrepot.model.errors import Reason, Refused
from entrepot.store.local.settings import StoreSettings

NAMESPACE = "public/default"
HEAD = struct.Struct("<QIIq")


class PlainCodec(EntryCodec):
    """Batches of records without any bytes of their own."""

    tag = CODEC_KAFKA
    version = 1
    by_record = False

    def stamp(self, data, base_offset, epoch, append_time_ms):
        _, _, count, _ = HEAD.unpack_from(data)
        return HEAD.pack(base_offset, epoch, count, append_time_ms) + data[HEAD.size :]

    def placeholder(self, base_offset, span):
        return HEAD.pack(base_offset, 0, span, -1) + b"(nothing)"

    def first_at(self, data, base_offset, time_ms):
        return base_offset + 1, time_ms


class Batch:
    """What a reader got: one entry."""

    def __init__(self, data):
        self.base, self.epoch, self.count, self.append_time_ms = HEAD.unpack_from(data)
        self.text = data[HEAD.size :]

    @property
    def end(self):
        return self.base + self.count


ROOMY = StoreSettings(journal_file_size=16 << 20, journal_unsorted_max=1 << 30, cache_size=256 << 20)


class Bench(BrokerBench):
    """As broker_bench's, with topics."""

    codecs = (PlainCodec,)
    topic_defaults = TopicDefaults(auto_create=True, partitions=2, retention_ms=-1)

    def connect(self):
        return Client(self)

    def topic(self, name="t"):
        return self.catalogue.namespace(NAMESPACE).topics[name].runtime


class Client(Connection):
    """A connection that appends and reads."""

    def topic(self, name="t", partitions=1, **config):
        return self.ask(CreateTopic(name, partitions, {key.replace("_", "."): value for key, value in config.items()}))

    def part(self, text=b"x", count=1, topic="t", partition=0, producer=None, time_ms=-1):
        """`producer`: (id, epoch, first sequence)."""
        part = make_append_part(topic, partition, HEAD.pack(0, 0, count, 0) + text, 0, count, time_ms)
        if producer is not None:
            part.producer_id, part.producer_epoch, part.first_sequence = producer
        return part

    def send(self, *parts, confirm=True):
        """The call; it is not waited for."""
        call = make_append(1, CODEC_KAFKA, 1, list(parts), confirm)
        self.door.submit(call)
        return call

    def append(self, text=b"x", count=1, **how):
        """The base offset, once it is durable; Refused is raised."""
        part = self.part(text, count, **how)
        call = self.send(part)
        self.wait(call)
        if part.error is not None:
            raise part.error
        return part.base_offset

    def wait(self, call):
        self.bench.loop.run_until(lambda: call.outcome != PENDING, 60)
        assert call.outcome == DONE
        return call

    def reading(self, *places, max_bytes=1 << 20):
        """Parts to read: offsets of partition 0 of topic t, or (topic, partition, offset)."""
        places = [place if isinstance(place, tuple) else ("t", 0, place) for place in places]
        return [make_read_part(topic, partition, offset, max_bytes) for topic, partition, offset in places]

    def ask_read(self, parts, min_bytes=1, max_bytes=1 << 20, wait_ms=500, committed=False):
        call = make_read(1, CODEC_KAFKA, parts, min_bytes, max_bytes, wait_ms, committed)
        self.door.submit(call)
        return call

    def read(self, parts, **how):
        """Texts of each part, after going on behind them."""
        self.wait(self.ask_read(parts, **how))
        found = []
        for part in parts:
            batches = [Batch(data) for data in part.data]
            assert part.size == sum(map(len, part.data))
            if batches:
                part.offset = batches[-1].end
            found.append([batch.text for batch in batches])
        return found

    def drain(self, offset=0, topic="t", partition=0):
        """(base, count, text) of all there is from `offset` on."""
        part = make_read_part(topic, partition, offset, 1 << 20)
        found = []
        while True:
            self.wait(self.ask_read([part]))
            if part.error is not None:
                raise part.error
            if not part.data:
                break
            found += [Batch(data) for data in part.data]
            part.offset = found[-1].end
        self.door.submit(make_close_parts(1, [part]))
        return [(batch.base, batch.count, batch.text) for batch in found]


class Guard(AllowAll):
    """Refuses what is in `refused`: (action's value, name)."""

    def __init__(self):
        self.version = 0
        self.refused = set()

    def refuse(self, *what):
        self.refused = set(what)
        self.version += 1

    def authorize(self, principal, action, namespace, kind, name):
        if (action.value, name) in self.refused:
            raise Refused(Reason.NOT_PERMITTED, f"no {action.value} of {name}")
