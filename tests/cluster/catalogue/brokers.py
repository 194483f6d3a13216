"""Whole brokers in one simulated loop, each a process with a store of its own, joined by links whose connections break now and then."""

from __future__ import annotations

import itertools
from collections import deque
from functools import partial

from broker_bench import CODEC, NS, SMALL, AllowAll, Connection

from entrepot.broker.broker import Broker
from entrepot.broker.calls.questions import Seal, Unseal
from entrepot.broker.catalogue.decisions import Decisions
from entrepot.broker.catalogue.stream import CatalogueStream
from entrepot.broker.front.owner_table import OwnerTable
from entrepot.broker.operations.administration import Administration
from entrepot.broker.owners import Owner
from entrepot.broker.state_kinds import default_folds
from entrepot.broker.users.secret_box import SecretBox
from entrepot.broker.users.users import Users
from entrepot.cluster.catalogue.deciding import Deciding
from entrepot.cluster.catalogue.following import Following
from entrepot.cluster.catalogue.frames import FIRST_KIND, LAST_KIND, decode
from entrepot.cluster.catalogue.homes import Homes
from entrepot.cluster.catalogue.leases import FrontLease, Leases
from entrepot.cluster.catalogue.revisions import Ahead
from entrepot.cluster.link import HELD_MAX_BYTES, Link
from entrepot.cluster.link_frames import LinkDecoder
from entrepot.model.errors import Unavailable
from entrepot.simulation.disk import SimulatedDisk
from entrepot.simulation.loop import SimulatedClock, SimulatedEntropy, SimulatedLoop
from entrepot.store.local.opening import open_store
from entrepot.store.shard_time import ShardTime
from entrepot.store.volatile import VolatileStore

__all__ = ["CODEC", "NS", "Cluster", "Connection"]


class Scheduler:
    """The loop, for one start of a process: when that is dead nothing of it is called any more; when it stands still, later.

    When it goes on, what has arrived and what has become due come in any order, each in its own.
    """

    def __init__(self, loop):
        self.loop = loop
        self.dead = False
        self.paused = False
        self.due = deque()
        self.arrived = deque()

    def arrive(self, callback, *args):
        """Something comes to the process."""
        if self.paused:
            self.arrived.append((callback, args))
        elif not self.dead:
            callback(*args)

    def go_on(self):
        self.paused = False
        while not self.dead and (self.due or self.arrived):
            queue = self.due if not self.arrived or (self.due and self.loop.random.random() < 0.5) else self.arrived
            callback, args = queue.popleft()
            callback(*args)

    def time(self):
        return self.loop.time()

    def _alive(self, callback, args):
        if self.paused:
            self.due.append((callback, args))
        elif not self.dead:
            callback(*args)

    def call_soon(self, callback, *args, context=None):
        return self.loop.call_soon(self._alive, callback, args)

    call_soon_threadsafe = call_soon

    def call_at(self, when, callback, *args, context=None):
        return self.loop.call_at(when, self._alive, callback, args)

    def call_later(self, delay, callback, *args, context=None):
        return self.loop.call_later(delay, self._alive, callback, args)


class FarOwner(Owner):
    """The owner in another process, as far as the catalogue's requests ask it: answers come at a later turn, and its deeds are its own."""

    def __init__(self, front, other, home=False):
        self.front = front
        self.other = other
        self.is_home = home
        self.asked = {}  # what waits for an answer -> what it is
        self.sealed = []

    def _owner(self):
        broker = self.other.broker
        if broker is None or self.other.link_down:
            raise Unavailable("its process is not there")
        return broker.owners.home if self.is_home else broker.owners.durable

    def lane(self, address, log_ids):
        raise Unavailable("what is published goes to this process alone")

    def count(self, log_ids, done):
        def answered(*answer):
            self.front.scheduler.call_soon(done, *answer)

        def ask():
            try:
                self._owner().count(log_ids, answered)
            except Unavailable as error:
                answered(error, 0, 0)

        self.front.scheduler.loop.call_soon(ask)

    def ask(self, question, done):
        waiting = object()
        self.asked[waiting] = done

        def answered(*answer):
            if self.asked.pop(waiting, None) is not None:
                self.front.scheduler.call_soon(done, *answer)
            if isinstance(question, Seal) and answer[0] is None:
                self.sealed.append(question.log_ids)

        def ask():
            try:
                self._owner().ask(question, answered)
            except Unavailable as error:
                answered(error, None)

        self.front.scheduler.loop.call_soon(ask)

    def front_died(self):
        """What it has sealed goes on, as an owner sees to it when a start is dead."""
        for log_ids in self.sealed if self.other.broker is not None else ():
            self.other.broker.owners.durable.ask(Unseal(log_ids), lambda *_: None)
            self.other.broker.owners.home.ask(Unseal(log_ids), lambda *_: None)

    def owner_died(self):
        asked, self.asked = self.asked, {}
        for done in asked.values():
            done(Unavailable("its process is gone"), None)


class Process:
    """One start after another of one process of a cluster. Shards are its that are `number` modulo how many there are; 0 is of the first."""

    far_owner = FarOwner

    def __init__(self, cluster, number):
        self.cluster = cluster
        self.number = number
        self.name = f"w{number}"
        self.loop = cluster.loop
        self.disk = SimulatedDisk(self.loop)
        self.starts = 0
        self.broker = None
        self.link_down = False
        self.failed = []
        self.start()

    def start(self):
        self.starts += 1
        self.scheduler = Scheduler(self.loop)
        self.clock = SimulatedClock(self.loop)
        self.entropy = SimulatedEntropy(self.loop)
        self.start_id = self.starts.to_bytes(8, "big") + self.entropy.octets(8)
        fold = default_folds().fold
        self.store = open_store(self.disk, scheduler=self.scheduler, clock=self.clock, entropy=self.entropy, fold=fold, settings=SMALL)
        stream = CatalogueStream(self.store)
        self.users = Users(stream, self.clock, self.entropy, lambda: SecretBox(self.cluster.secrets_key, self.entropy), iterations=4096)
        self.users.load()
        self.decisions = Decisions.over(stream, lambda: self.entropy.octets(16))
        self.catalogue = self.decisions.catalogue
        self.homes = Homes()
        stream.add(self.homes)
        self.broker = Broker(
            scheduler=self.scheduler,
            clock=self.clock,
            entropy=self.entropy,
            store=self.store,
            volatile=VolatileStore(self.scheduler, ShardTime(self.clock), fold),
            decisions=self.decisions,
            authorizer=AllowAll(),
            on_failed=self.failed.append,
            owners=self._table,
        )
        self.broker.register(CODEC)
        for codec in self.cluster.codecs:
            self.broker.register(codec())
        self.administration = Administration(self.broker, self.users)
        decides = self.number == 0
        self.broker.open((0,) if decides else (), follows=not decides)
        self.ahead = Ahead(self.catalogue)
        self.deciding = Deciding(self.broker, self.homes, self.name, Leases(self.clock), lambda: True)
        self.following = Following(self.broker, FrontLease(self.clock))
        self.links = {}
        self.made()
        if not decides:
            self.following.begin()
        for shard in range(self.number or self.cluster.count, self.broker.shards.count, self.cluster.count):
            self.broker.shard_moves.open(shard, self.store.epoch, partial(self.opened, shard))

    def made(self):
        """Everything is there, and nothing has begun."""

    def opened(self, shard):
        """A shard is open."""

    def _table(self, hub, store, volatile):
        process = self

        class Table(OwnerTable):
            def is_here(self, shard):
                return shard % process.cluster.count == process.number

            def owner_of(self, shard):
                number = shard % process.cluster.count
                return super().owner_of(shard) if number == process.number else process.far(number)

            def home_of(self, definition):
                for other in process.cluster.processes:
                    if other is not process and other.broker is not None and other.broker.start_id == definition.home:
                        return process.far(other.number, home=True)
                return super().home_of(definition)

        self.far_owners = {}
        return Table(hub, store, volatile)

    def far(self, number, home=False):
        found = self.far_owners.get((number, home))
        if found is None:
            found = self.far_owners[number, home] = self.far_owner(self, self.cluster.processes[number], home)
        return found

    def kill(self):
        """The process is gone."""
        self.scheduler.dead = True
        self.broker = None
        self.links = {}
        self.disk.crash()

    def linked(self, other):
        """A new link with a start of another process."""
        before = self.links.get(other.name)
        link = self.links[other.name] = Link(other.name, other.start_id, self.cluster.held_max)
        if before is not None:
            self.following.dead(before)
        self.deciding.linked(link)
        return link

    def frames(self, link, found):
        for data in found:
            if self.links.get(link.name) is not link:
                return
            assert FIRST_KIND <= data[0] <= LAST_KIND
            frame = decode(data)
            if self.number == 0:
                self.deciding.frame(link, frame)
            else:
                self.following.frame(link, frame)

    def connect(self):
        return Connection(Bench(self))

    def rows(self):
        return sorted(row for part in (self.catalogue, self.homes, self.users) for row in part.snapshot())

    @property
    def space(self):
        return self.catalogue.namespace(NS)


class Bench:
    """What a Connection needs."""

    def __init__(self, process):
        self.broker = process.broker
        self.loop = process.loop


class Wire:
    """Between two starts: two links over one connection after another, whose octets take a turn, and are lost where it breaks."""

    def __init__(self, cluster, one, other):
        self.cluster = cluster
        self.ends = (one, other)
        self.starts = (one.start_id, other.start_id)
        self.links = (one.linked(other), other.linked(one))
        self.is_up = True
        self.epoch = 0
        self.scheduled = False
        self.decoders = (LinkDecoder(), LinkDecoder())

    @property
    def alive(self):
        return all(end.broker is not None and end.start_id == start for end, start in zip(self.ends, self.starts, strict=True))

    def step(self):
        """What both have to say goes on its way."""
        if not self.is_up or not self.alive:
            return
        for index in (0, 1):
            link = self.links[index]
            if link.waits and not self.ends[index].scheduler.paused:
                data = b"".join(link.take())
                delay = self.cluster.random.choice((0.0, 0.001, 0.02))
                self.queues[index].append(data)
                self.cluster.loop.call_later(delay, self._arrive, 1 - index, self.epoch)

    def _arrive(self, index, epoch):
        if epoch != self.epoch or not self.is_up or not self.alive:
            return
        end = self.ends[index]
        end.scheduler.arrive(self._heed, index, epoch, self.queues[1 - index].popleft())

    def _heed(self, index, epoch, data):
        if epoch != self.epoch or not self.is_up or not self.alive:
            return
        decoder, link, end = self.decoders[index], self.links[index], self.ends[index]
        while data:
            room = decoder.writable()
            count = min(len(room), len(data))
            room[:count] = data[:count]
            decoder.received(count)
            data = data[count:]
            found = decoder.frames()
            if decoder.acknowledged >= 0:
                link.heard(decoder.acknowledged)
                decoder.acknowledged = -1
            link.came(len(found), count)
            link.acknowledge()  # at once: this wire has no timers of its own
            end.frames(link, found)

    def begin(self):
        """A connection: what the other has not had is sent again."""
        self.epoch += 1
        self.is_up = True
        self.queues = (deque(), deque())
        self.decoders = (LinkDecoder(), LinkDecoder())
        received = [link.received for link in self.links]
        for index in (0, 1):
            assert self.links[index].may_resume(received[1 - index])
            self.links[index].resume(received[1 - index])

    def break_off(self):
        self.is_up = False
        self.epoch += 1


class Cluster:
    """`count` processes, of which the first decides."""

    codecs = ()  # classes of further ones
    process = Process

    def __init__(self, count=2, seed=1, held_max=HELD_MAX_BYTES):
        self.loop = SimulatedLoop(seed)
        self.held_max = held_max
        self.random = self.loop.random
        self.count = count
        self.secrets_key = bytes(32)
        self.processes = []
        for number in range(count):
            self.processes.append(self.process(self, number))
        self.wires = {}
        for pair in itertools.combinations(range(count), 2):
            self._wire(pair)
        self.processes[0].deciding.begin([process.name for process in self.processes[1:]])
        self._pump()

    def _wire(self, pair):
        one, other = (self.processes[number] for number in pair)
        wire = self.wires[pair] = Wire(self, one, other)
        wire.begin()

    def _pump(self):
        for wire in self.wires.values():
            wire.step()
        self.loop.call_later(0.0005, self._pump)

    def restart(self, number):
        """A process is killed, and starts again."""
        process = self.processes[number]
        process.kill()
        for other in self.processes:
            for far in list(other.far_owners.values()):
                if other is process:
                    far.front_died()
                elif far.other is process:
                    far.owner_died()
        process.start()
        if number == 0:
            process.deciding.begin([other.name for other in self.processes[1:]])
        for pair in self.wires:
            if number in pair:
                self._wire(pair)

    def settle(self, limit_s=60):
        """Until everybody may answer, and has the same."""
        for process in self.processes:
            process.scheduler.go_on()
        for wire in self.wires.values():
            if not wire.is_up:
                wire.begin()
        self.loop.run_until(self.is_settled, limit_s)

    def is_settled(self):
        first, *others = self.processes
        if not first.decisions.stream.decides:
            return False
        for other in others:
            try:
                other.following.check()
            except Unavailable:
                return False
            if other.following.epoch != first.store.epoch or other.decisions.stream.revision != first.decisions.stream.revision:
                return False
        return True

    def run(self, seconds=0.3):
        self.loop.run_for(seconds)


def same(cluster):
    """Whether all have the same rows, at rest."""
    cluster.settle()
    first, *others = [process.rows() for process in cluster.processes]
    return all(rows == first for rows in others)
