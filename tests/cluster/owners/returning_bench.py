"""Fronts that live on while the process of their owners dies, at any moment, and starts again from its disk: one simulated loop, links between them.

A front here is a RemoteOwner with doors of its own, and no broker; the process of the owners is a whole broker, one start after another.
"""

import itertools
from collections import deque

from broker_bench import CODEC, NS, SMALL, AllowAll, Connection, address_of, record_of

from entrepot.broker.broker import Broker
from entrepot.broker.calls.port import PENDING, Attachment, Sink, make_ask, make_publish
from entrepot.broker.catalogue.decisions import Decisions
from entrepot.broker.catalogue.shards import SHARD_COUNT_KEY
from entrepot.broker.catalogue.stream import CatalogueStream
from entrepot.broker.logs.hub import Hub
from entrepot.broker.state import set_value
from entrepot.broker.state_kinds import default_folds
from entrepot.broker.subscription.consumer import Pool, make_consumer
from entrepot.cluster.link import Link
from entrepot.cluster.link_frames import LinkDecoder
from entrepot.cluster.owners.crossing import Crossing
from entrepot.cluster.owners.returning import Returning
from entrepot.protocols.amqp091 import rewriting
from entrepot.simulation.disk import SimulatedDisk
from entrepot.simulation.loop import SimulatedClock, SimulatedEntropy, SimulatedLoop
from entrepot.store.local.opening import open_store
from entrepot.store.shard_time import ShardTime
from entrepot.store.volatile import VolatileStore

ROW_SHARD = 0
SHARDS = 4  # few, as each is looked through at a start
DURABLE = 1


class Scheduler:
    """The loop, for one start of a process: when that is dead nothing of it is called any more."""

    def __init__(self, loop):
        self.loop = loop
        self.dead = False

    def time(self):
        return self.loop.time()

    def _alive(self, callback, args):
        if not self.dead:
            callback(*args)

    def call_soon(self, callback, *args, context=None):
        return self.loop.call_soon(self._alive, callback, args)

    call_soon_threadsafe = call_soon

    def call_at(self, when, callback, *args, context=None):
        return self.loop.call_at(when, self._alive, callback, args)

    def call_later(self, delay, callback, *args, context=None):
        return self.loop.call_later(delay, self._alive, callback, args)


class Here:
    """What served owners need of their process."""

    def __init__(self, hub):
        self.hub = hub
        self.scheduler = hub.scheduler
        self.numbers = itertools.count(1 << 40)

    def codec(self, tag):
        return self.hub.maybe_codec(tag)

    def next_consumer_id(self):
        return next(self.numbers)

    def row_shard(self, owner):
        return ROW_SHARD


class Owners:
    """The process that has the owners. `holds`: a start gives nobody anything before its fronts have claimed."""

    holds = True

    def __init__(self, bench):
        self.bench = bench
        self.loop = bench.loop
        self.disk = SimulatedDisk(self.loop)
        self.starts = 0
        self.broker = None
        self.failed = []

    def start(self):
        self.starts += 1
        self.start_id = self.starts.to_bytes(16, "big")
        self.scheduler = Scheduler(self.loop)
        self.clock = SimulatedClock(self.loop)
        entropy = SimulatedEntropy(self.loop)
        fold = default_folds().fold
        self.store = open_store(self.disk, scheduler=self.scheduler, clock=self.clock, entropy=entropy, fold=fold, settings=SMALL)
        if self.starts == 1:
            self.store.fold(0, SHARD_COUNT_KEY, set_value(b"\2" + SHARDS.to_bytes(2, "little")))
        self.decisions = Decisions.over(CatalogueStream(self.store), lambda: entropy.octets(16))
        self.catalogue = self.decisions.catalogue
        self.broker = Broker(
            scheduler=self.scheduler,
            clock=self.clock,
            entropy=entropy,
            store=self.store,
            volatile=VolatileStore(self.scheduler, ShardTime(self.clock), fold),
            decisions=self.decisions,
            authorizer=AllowAll(),
            on_failed=self.failed.append,
        )
        self.broker.register(CODEC)
        self.broker.open()
        self.here = Here(self.broker.hub)
        self.crossings = {}
        names = [front.name for front in self.bench.fronts if front.alive]
        self.returning = Returning(self.broker.hub, self.scheduler, names, self.is_open, lambda: None, self._corrupt)
        if not self.holds:
            self.broker.hub.go_on()

    def is_open(self):
        return not self.broker.outbox.loading

    @staticmethod
    def _corrupt(crossing, error):
        raise error

    def linked(self, front, link, wake):
        before = self.crossings.get(front.name)
        if before is not None:
            before.dead()
        crossing = self.crossings[front.name] = Crossing(link, self.broker.owners.local(), 0, self.here, wake)
        self.returning.linked(crossing)
        return crossing

    def die(self, power):
        self.scheduler.dead = True
        self.broker = None
        if power:
            self.disk.crash()
        else:
            self.disk.kill()

    def queue(self, name):
        return self.catalogue.namespace(NS).queues[name].runtime

    def topic(self, name):
        return self.catalogue.namespace(NS).topics[name].runtime

    def connect(self):
        return Connection(self)


class FrontDoor(Attachment):
    """A connection of a front: it writes down what it gets."""

    def __init__(self, front):
        self.front = front
        self.sink = DoorSink(self)
        self.codec = CODEC.tag
        self.namespace = NS
        self.closed = False
        self.writable = True
        self.spent = 0
        self.lost = []
        self.holds = []  # True: held, False: let go

    def gone(self, consumer):
        consumer.active = False
        consumer.freed(consumer.leased)
        self.lost.append(consumer)

    def wants(self, consumer):
        self.front.wanting.append(consumer)

    def credit_returned(self, consumer):
        pass

    def hold(self):
        self.holds.append(True)

    def let_go(self):
        self.holds.append(False)


class DoorSink(Sink):
    def __init__(self, door):
        self.door = door

    def completed(self, call):
        assert call.outcome != PENDING
        self.door.front.done.append(call)

    def deliver(self, delivery):
        self.door.front.given(delivery.token, delivery, bodies_of(delivery))
        return -1


def bodies_of(delivery):
    """Of its records."""
    position = delivery.position
    bodies = []
    for _ in range(delivery.count):
        bodies.append(bytes(rewriting.take_apart(CODEC.split(delivery.data, position, 1)[0]).body))
        position = CODEC.skip(delivery.data, position, 1)
    return bodies


class Source:
    """A definition, as far as a reader looks at it."""

    def __init__(self, is_topic):
        self.is_topic = is_topic


class Front:
    """One start of a front. `got`: (body, offset, redelivered) of each consumer, by its token."""

    def __init__(self, bench, number):
        self.bench = bench
        self.name = f"front{number}"
        self.start_id = bytes((*bytes(14), 255, number))
        self.alive = True
        self.crossing = None
        self.done = []
        self.wanting = []
        self.got = {}
        self.on_given = None
        self.ids = itertools.count(1)
        self.here = Here(Hub(bench.loop, SimulatedClock(bench.loop)))

    @property
    def remote(self):
        return self.crossing.remote[DURABLE]

    def linked(self, link, wake):
        self.crossing = Crossing(link, [], 2, self.here, wake, before=self.crossing)
        return self.crossing

    def given(self, token, delivery, bodies):
        for index, body in enumerate(bodies):
            self.got.setdefault(token, []).append((body, delivery.offset + index, delivery.redelivered))
        if self.on_given is not None:
            self.on_given(token, delivery, bodies)

    # ---- what it asks

    def door(self):
        return FrontDoor(self)

    def lane(self, *queues):
        return self.remote.lane(address_of("", queues[0]), [self.bench.log_id(name) for name in queues])

    def publish_runs(self, queues, *bodies, confirm=True):
        """The same by runs."""
        call = self.call(bodies, confirm, None)
        self.remote.stage_runs(address_of("", "q"), [([self.bench.log_id(name) for name in queues], b"", call.data, call.count, range(call.count))], call)
        return call

    def publish(self, lane, *bodies, confirm=True, door=None):
        call = self.call(bodies, confirm, door)
        self.remote.stage(lane, call)
        return call

    def call(self, bodies, confirm, door):
        data = b"".join(map(record_of, bodies))
        call = make_publish(1, address_of("", "q"), CODEC.tag, 1, 0, data, len(bodies), sum(map(len, bodies)))
        call.confirm = confirm
        call.attachment = door or self.door()
        return call

    def consumer(self, token, door=None, limit=10, auto_settle=False, exclusive=False, priority=0, is_topic=False):
        consumer = make_consumer(next(self.ids), door or self.door(), token, None, Pool(1), limit, auto_settle, exclusive, priority)
        consumer.source = Source(is_topic)
        consumer.owner = self.remote
        return consumer

    def consume(self, queue, token="c", **how):
        """The consumer, and what was answered, once it is."""
        consumer = self.consumer(token, **how)
        answers = []
        self.remote.consume(consumer, [self.bench.log_id(queue)], None, answers.append)
        return consumer, answers

    def get(self, queue, getter):
        call = make_ask(1, None)
        call.attachment = getter.attachment
        self.remote.get(self.bench.log_id(queue), getter, call)
        return call


class Wire:
    """Between a start of a front and one of the owners: links over one connection after another; what is sent takes a turn, or more."""

    def __init__(self, bench, front):
        self.bench = bench
        self.front = front
        self.start = bench.owners.starts
        self.epoch = 0
        self.queues = (deque(), deque())
        self.is_up = True
        self.due = [False, False]
        self.broken_count = 0
        links = (Link("owners", bench.owners.start_id), Link(front.name, front.start_id))
        self.links = links
        self.decoders = (LinkDecoder(), LinkDecoder())
        for link in links:
            link.resume(0)
        self.ends = (front.linked(links[0], lambda: self.wake(0)), bench.owners.linked(front, links[1], lambda: self.wake(1)))

    @property
    def alive(self):
        owners = self.bench.owners
        return owners.broker is not None and owners.starts == self.start and self.front.alive

    def wake(self, index):
        if not self.due[index]:
            self.due[index] = True
            self.bench.loop.call_soon(self._carry, index)

    def _carry(self, index):
        self.due[index] = False
        if not self.is_up or not self.alive or self.bench.cut:
            return
        link = self.links[index]
        while link.waits:
            self.queues[index].append(b"".join(link.take()))
            self.bench.loop.call_later(self.bench.chance.choice(self.bench.delays), self._arrive, 1 - index, self.epoch)
            if self.bench.chance.random() < self.bench.breaks:
                self.break_off()
                return

    def _arrive(self, index, epoch):
        if epoch != self.epoch or not self.alive:
            return
        data = self.queues[1 - index].popleft()
        link, decoder = self.links[index], self.decoders[index]
        found = []
        while data:
            room = decoder.writable()
            count = min(len(room), len(data))
            room[:count] = data[:count]
            decoder.received(count)
            data = data[count:]
            found += decoder.frames()
            if decoder.acknowledged >= 0:
                link.heard(decoder.acknowledged)
                decoder.acknowledged = -1
        link.received += len(found)
        self.ends[index].heed(found)
        if link.waits:
            self.wake(index)

    def break_off(self):
        self.broken_count += 1
        self.epoch += 1
        self.is_up = False
        self.bench.loop.call_later(self.bench.chance.choice((0.0, 0.01)), self._connect, self.epoch)

    def _connect(self, epoch):
        if epoch != self.epoch or not self.alive:
            return
        self.is_up = True
        self.queues = (deque(), deque())
        self.decoders = (LinkDecoder(), LinkDecoder())
        received = [link.received for link in self.links]
        for index in (0, 1):
            self.links[index].resume(received[1 - index])
            self.wake(index)


class ReturningBench:
    """`fronts` fronts of one process of owners."""

    delays = (0.0, 0.0005)
    breaks = 0.0
    owners_class = Owners

    def __init__(self, fronts=1, seed=1, queues=None, topics=None):
        self.loop = SimulatedLoop(seed)
        self.chance = self.loop.random
        self.cut = False
        self.fronts = []
        self.wires = {}
        self.owners = self.owners_class(self)
        self.owners.start()
        me = self.owners.connect()
        for name, arguments in (queues or {"q": {}}).items():
            me.declare(name, **arguments)
        for request in topics or ():
            me.ask(request)
        me.close()
        self.log_ids = {definition.name: definition.log_id for definition in self.owners.catalogue.queues()}
        self.fronts = [Front(self, number) for number in range(fronts)]
        for front in self.fronts:
            self.link(front)
        self.run()

    def log_ids_of(self, topic):
        """Of its partitions."""
        return list(self.owners.catalogue.namespace(NS).topics[topic].partitions)

    def log_id(self, queue):
        return self.log_ids[queue]

    def link(self, front):
        self.wires[front.name] = Wire(self, front)

    def run(self, seconds=0.3):
        self.loop.run_for(seconds)

    def queue(self, name="q"):
        return self.owners.queue(name)

    # ---- death

    def die(self, power=True):
        """The process of the owners is gone, and fronts hear it."""
        self.owners.die(power)
        for front in self.fronts:
            if front.alive:
                front.crossing.dead(returns=True)

    def come_back(self, linked=True):
        """It starts again."""
        self.owners.start()
        for front in self.fronts if linked else ():
            if front.alive:
                self.link(front)

    def restart(self, power=True):
        self.die(power)
        self.come_back()
        self.run()

    def front_dies(self, front):
        front.alive = False
        if self.owners.broker is not None:
            crossing = self.owners.crossings.get(front.name)
            if crossing is not None:
                crossing.dead()
            self.owners.returning.gone(front.name)
