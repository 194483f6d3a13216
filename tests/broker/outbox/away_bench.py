"""A bench some of whose queues are in shards that are not open: and what crosses between owners crosses as bytes."""

import msgspec
from broker_bench import CODEC
from timed_bench import TimedBench

from entrepot.broker.outbox.handover import Answer, Handover
from entrepot.broker.queue.queue import Queue
from entrepot.protocols.amqp091 import rewriting

NAMESPACE = "public/default"


class FrameOwners:
    """Between an outbox and an inbox: nothing but bytes goes through."""

    def __init__(self, broker):
        self.inbox = broker.inbox
        self.sent = []
        self.answers = []
        self._answered = broker.outbox.answered
        self.inbox.answer = self.answer
        broker.outbox.owners = self

    def is_open(self, shard):
        return self.inbox.is_open(shard)

    def hand_over(self, handover):
        frame = msgspec.msgpack.encode(handover)
        self.sent.append(msgspec.msgpack.decode(frame, type=Handover))
        self.inbox.hand_over(self.sent[-1])

    def answer(self, answer):
        frame = msgspec.msgpack.encode(answer)
        self.answers.append(msgspec.msgpack.decode(frame, type=Answer))
        self._answered(self.answers[-1])


class AwayBench(TimedBench):
    def __init__(self, *arguments, **how):
        super().__init__(*arguments, **how)
        self.frames = FrameOwners(self.broker)

    def shard(self, name):
        kind = "topic" if name in self.catalogue.namespace(NAMESPACE).topics else "queue"
        return self.broker.shards.shard(kind, NAMESPACE, name)

    def close_shard_of(self, *names):
        for name in names:
            closed = []
            self.broker.shard_moves.close(self.shard(name), lambda closed=closed: closed.append(True))
            self.loop.run_until(lambda closed=closed: bool(closed), 60)

    def open_shard_of(self, *names):
        for name in names:
            opened = []
            self.broker.shard_moves.open(self.shard(name), self.store.epoch, lambda opened=opened: opened.append(True))
            self.loop.run_until(lambda opened=opened: bool(opened), 60)

    def figure(self, name):
        return self.broker.statistics()[name]

    def bodies(self, name):
        """What is ready, held or on its way in a queue, by its place; nothing of it is touched."""
        queue = self.queue(name)
        assert isinstance(queue, Queue)
        return [self.body_at(queue.log, offset) for offset in range(queue.log.next_offset) if not queue.subscription.is_settled(offset)]

    def body_at(self, log, offset):
        reader = log.reader()
        stored = reader.at(offset)
        if stored is None:
            done = []
            reader.fetch(offset, lambda: done.append(True))
            self.loop.run_until(lambda: bool(done), 60)
            stored = reader.at(offset)
        data = stored.entry.data
        record = CODEC.split(data, CODEC.skip(data, CODEC.start(data), offset - stored.base), 1)[0]
        reader.close()
        return bytes(rewriting.take_apart(record).body)
