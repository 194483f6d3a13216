"""Simulated workers: several whole brokers, each a process with a disk of its own, joined by real links over simulated connections, as one broker.

Each is made of what a worker is made of: store, catalogue, broker, Member, and the network's own connections. What the parent does is done here: a worker
that is killed is said to be dead to the others a while later, and starts again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from entrepot.broker.broker import Broker
from entrepot.broker.catalogue.decisions import Decisions
from entrepot.broker.catalogue.quotas import QuotaLimits
from entrepot.broker.catalogue.shards import SHARD_COUNT_DEFAULT, Shards
from entrepot.broker.catalogue.stream import CatalogueStream
from entrepot.broker.logs.entry_codec import EntryCodec
from entrepot.broker.state_kinds import default_folds
from entrepot.cluster.catalogue.homes import Homes
from entrepot.cluster.greeting import START_SIZE
from entrepot.cluster.member import Member
from entrepot.cluster.owner_map import OwnerMap, start_id_of
from entrepot.cluster.workers.link_sockets import LIMITS, LinkConnections
from entrepot.cluster.workers.place import WorkerPlace, name_of
from entrepot.net.network import Network
from entrepot.simulation.crashing_run import CrashingRun
from entrepot.simulation.disk import SimulatedDisk
from entrepot.simulation.loop import SimulatedEntropy, SimulatedLoop
from entrepot.simulation.network import SimulatedNetwork
from entrepot.simulation.process import ProcessClock, SimulatedProcess
from entrepot.simulation.store_model import Violation
from entrepot.simulation.store_run import Seams
from entrepot.store.interface import LOG_ID_SIZE
from entrepot.store.local.disk import Disk
from entrepot.store.local.opening import open_store
from entrepot.store.local.settings import StoreSettings
from entrepot.store.shard_time import ShardTime
from entrepot.store.volatile import VolatileStore

KEY = bytes(range(32))
CLUSTER = "simulated"
DRIFT = 0.01  # of clocks, either way
SKEW_MS = 200
NOTICED_S = (0.0, 0.01, 0.1)  # until the others are told that a worker is dead
AGAIN_S = (0.0, 0.05, 0.5)  # until it starts again
DIAL_S = 0.02
DOWN_S = (0.0, 0.05, 1.0)  # without a link
STOPPED_S = (0.1, 1.0, 4.0, 10.0)  # the longest are beyond every limit
POWER = 0.5  # of those who are killed: how many with their machine
COUNT = 3
TROUBLE = (0.0, 0.02, 0.05)  # how likely something happens, a step of a run


class Worker:
    """One start after another of worker `number`. `broker` is None while there is none."""

    def __init__(self, group: Workers, number: int) -> None:
        self.group = group
        self.number = number
        self.name = name_of(number)
        self.loop = group.loop
        self.disk = group.make_disk(self.loop)
        self.broker: Broker | None = None
        self.starts = 0
        self.is_noticed = False  # that there is none now
        self.failed: BaseException | None = None
        self.journal: list[str] = []
        self.is_open = False  # to clients

    def start(self) -> None:
        """A new start, from what is on its disk."""
        loop, group = self.loop, self.group
        self.starts += 1
        self.is_open = False
        self.is_noticed = False
        start = self.starts.to_bytes(8, "big") + loop.random.randbytes(START_SIZE - 8)
        self.place = WorkerPlace(number=self.number, count=group.count, start=start.hex(), data="")
        process = self.process = SimulatedProcess(loop)
        clock = self.clock = ProcessClock(loop, 1 + loop.random.uniform(-group.drift, group.drift), loop.random.randint(-group.skew_ms, group.skew_ms))
        entropy = SimulatedEntropy(loop)
        fold = default_folds().fold
        store = open_store(cast("Disk", self.disk), scheduler=process, clock=clock, entropy=entropy, fold=fold, settings=group.settings)
        volatile = VolatileStore(process, ShardTime(clock), fold)
        stream = CatalogueStream(store)
        broker = self.broker = Broker(
            scheduler=process,
            clock=clock,
            entropy=entropy,
            store=store,
            volatile=volatile,
            decisions=Decisions.over(stream, partial(entropy.octets, LOG_ID_SIZE), group.limits),
            authorizer=group.authorizer,
            on_failed=self._store_failed,
            owners=partial(OwnerMap, self.name, lambda shard: name_of(shard % group.count)),
            start_id=start_id_of(start),
        )
        homes = Homes()
        stream.add(homes)
        for codec in group.codecs:
            broker.register(codec)
        owners = broker.owners
        assert isinstance(owners, OwnerMap)
        member = self.member = Member(
            place=self.place,
            broker=broker,
            owners=owners,
            homes=homes,
            epoch=store.epoch,
            clock=clock,
            entropy=entropy,
            cluster=CLUSTER,
            key=KEY,
            journal=self.journal.append,
            on_condemned=self._condemned,
            dead=[(other.name, other.place.start_id) for other in group.all if other.is_noticed],  # as the parent does
        )
        shards = Shards(SHARD_COUNT_DEFAULT)
        broker.open(self.place.shards(shards.count) if member.decides else (), follows=not member.decides, shards=shards, cluster=CLUSTER)
        process.on_arrival = None if member.decides else member.woken
        member.begin()
        self._listen()
        self._look()

    def _listen(self) -> None:
        """For links, and as soon as it may for clients."""
        self.links = Network(cast("Any", self.process), self.clock, LIMITS)
        group = self.group
        group.network.listen(f"{self.name}.link", LinkConnections(self.links, self.member)._accept, self.process)  # noqa: SLF001 - what create_server() is given
        self._sweep(self.links)
        for other in self.member.to_dial():
            self._dial(other)

    def _sweep(self, network: Network) -> None:
        for listener in network.listeners:
            listener.sweep(self.clock.monotonic_s())
        self.process.call_later(0.25, self._sweep, network)

    def _dial(self, other: str) -> None:
        """Again and again, while there is no connection."""
        self.process.call_later(DIAL_S, self._dial, other)
        if self.member.needs_connection(other) and not self.group.is_cut(self.name, other):
            dialler = _Dialler(self.links, self.member, other)
            self.links.listeners.append(dialler)
            self.group.dialled(self.name, other, self.process, dialler)

    def _look(self) -> None:
        if self.member.why_not_ready is None:
            self.is_open = True
            self.group.on_open(self)
        else:
            self.process.call_later(0.01, self._look)

    def kill(self) -> None:
        """It is gone, and with it every connection."""
        self.process.kill()
        self.broker = None
        self.is_open = False
        self.group.network.cut_off(self.process)
        self.group.network.forget(self.name)

    def stop(self) -> None:
        """It stands still."""
        self.process.stop()

    def go_on(self) -> None:
        """It goes on."""
        self.process.go_on()
        self.group.network.went_on(self.process)

    def check(self) -> None:
        """Nothing has gone wrong inside. Raises Violation."""
        if self.failed is not None:
            raise Violation(f"the store of {self.name} failed on its own: {self.failed!r}") from self.failed
        if self.broker is not None and self.links.session_failures:
            raise Violation(f"a link's session of {self.name} failed by its own fault")

    def _store_failed(self, error: BaseException) -> None:
        self.failed = error

    def _condemned(self, name: str, start: bytes, why: str) -> None:
        raise Violation(f"{self.name} condemns {name}: {why}: {self.journal[-3:]}")


class _Dialler(LinkConnections):
    def __init__(self, network: Network, member: Member, other: str) -> None:
        super().__init__(network, member)
        self._other = other

    def _dials(self) -> str | None:
        return self._other


class Workers:
    """`count` of them. `codecs` of the entries; `limits`, `authorizer`, `settings` as the broker's.

    on_open(worker) is called when clients may come, on_kill(worker) when it is about to be killed. `skew_ms`, `drift`: how far their clocks are apart.
    """

    def __init__(
        self,
        loop: SimulatedLoop,
        count: int,
        *,
        codecs: list[EntryCodec],
        authorizer: Any,
        settings: StoreSettings,
        limits: QuotaLimits,
        make_disk: Callable[[SimulatedLoop], SimulatedDisk] = SimulatedDisk,
        on_open: Callable[[Worker], None] = lambda _: None,
        on_kill: Callable[[Worker], None] = lambda _: None,
    ) -> None:
        self.loop = loop
        self.count = count
        self.codecs = codecs
        self.authorizer = authorizer
        self.settings = settings
        self.limits = limits
        self.make_disk = make_disk
        self.on_open = on_open
        self.on_kill = on_kill
        self.skew_ms = SKEW_MS
        self.drift = DRIFT
        self.network = SimulatedNetwork(loop)
        self.cut: set[frozenset[str]] = set()
        self.kill_count = 0
        self.broken_count = 0
        self.stopped_count = 0
        self.all = [Worker(self, number) for number in range(count)]

    @classmethod
    def under(cls, run: CrashingRun, seams: Seams | None, **callbacks: Callable[[Worker], None]) -> Workers:
        """COUNT of them, in place of the one broker that a run has."""
        terms = {"codecs": run.codecs, "authorizer": run.everyone, "settings": run.settings, "limits": run.limits}
        run.faults.stop()
        return cls(run.loop, COUNT, **terms, make_disk=(seams or Seams()).disk, **callbacks)  # type: ignore[arg-type]

    def start(self) -> None:
        """All of them; until clients may come."""
        for worker in self.all:
            worker.start()
        self.loop.run_until(lambda: all(worker.is_open for worker in self.all), 60)

    # ---- what happens to them

    def trouble(self, rate: float) -> None:
        """Something, as likely as that."""
        chance = self.loop.random
        if chance.random() >= rate:
            return
        what = chance.random()
        one, other = chance.sample(self.all, 2)
        if what < 0.35:
            self.kill(one, power=chance.random() < POWER)
        elif what < 0.8:
            self.break_link(one, other, chance.choice(DOWN_S))
        else:
            self.stop(one, chance.choice(STOPPED_S))

    def kill(self, worker: Worker, *, power: bool, down_s: float | None = None) -> None:
        """It is gone, with what its disk had not synced where the power failed; it starts again after a while, `down_s`."""
        if worker.broker is None:
            return
        self.kill_count += 1
        self.on_kill(worker)
        start = worker.place.start_id
        worker.kill()
        if power:
            worker.disk.crash()
        else:
            worker.disk.kill()
        chance = self.loop.random
        noticed = chance.choice(NOTICED_S)
        self.loop.call_later(noticed, self._dead, worker.name, start)
        self.loop.call_later(noticed + (chance.choice(AGAIN_S) if down_s is None else down_s), worker.start)

    def _dead(self, name: str, start: bytes) -> None:
        for other in self.all:
            if other.name == name and other.broker is None:
                other.is_noticed = True
            if other.broker is not None and other.name != name:
                other.process.arrive(other.member.dead, name, start)

    def break_link(self, one: Worker, other: Worker, down_s: float) -> None:
        """Their connection is lost amid whatever is under way; there is none for so long."""
        self.broken_count += 1
        pair = frozenset((one.name, other.name))
        self.cut.add(pair)
        self.network.break_between(one.name, other.name)
        self.loop.call_later(down_s, self.cut.discard, pair)

    def is_cut(self, one: str, other: str) -> bool:
        """Whether they cannot reach each other."""
        return frozenset((one, other)) in self.cut

    def dialled(self, name: str, other: str, process: SimulatedProcess, dialler: LinkConnections) -> None:
        """A worker connects to another one, if that listens."""
        try:
            self.network.connect_process(f"{other}.link", dialler._accept(), process, (name, other))  # noqa: SLF001 - as the listener's
        except ConnectionRefusedError:
            pass

    def stop(self, worker: Worker, seconds: float) -> None:
        """SIGSTOP, and SIGCONT so much later."""
        if worker.broker is None or worker.process.is_stopped:
            return
        self.stopped_count += 1
        process = worker.process
        worker.stop()
        self.loop.call_later(seconds, self._go_on, worker, process)

    def _go_on(self, worker: Worker, process: SimulatedProcess) -> None:
        if worker.process is process and not process.is_dead:
            worker.go_on()

    def settle(self, limit_s: float = 120) -> None:
        """No more trouble: until all are there, and clients may come to each."""
        for worker in self.all:
            if worker.broker is not None and worker.process.is_stopped:
                worker.go_on()
        self.loop.run_until(lambda: all(worker.is_open and worker.member.why_not_ready is None for worker in self.all), limit_s)

    def check(self) -> None:
        """See Worker."""
        for worker in self.all:
            worker.check()

    @staticmethod
    def shard(kind: str, namespace: str, name: str, partition: int = 0) -> int:
        """Where something is."""
        return Shards(SHARD_COUNT_DEFAULT).shard(kind, namespace, name, partition)

    def open_ones(self) -> list[Worker]:
        """Those that clients may connect to."""
        return [worker for worker in self.all if worker.is_open and worker.broker is not None]
