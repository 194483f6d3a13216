"""CrashingRun: a whole broker that lives several lives over one simulated disk. Derived runs say who its clients are, and what must hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from entrepot.broker.broker import Broker
from entrepot.broker.catalogue.decisions import Decisions
from entrepot.broker.catalogue.quotas import QuotaLimits
from entrepot.broker.catalogue.shards import CATALOGUE
from entrepot.broker.catalogue.stream import CatalogueStream
from entrepot.broker.front.owner_table import OwnerTable
from entrepot.broker.logs.entry_codec import EntryCodec
from entrepot.broker.logs.hub import Hub
from entrepot.broker.state_kinds import default_folds
from entrepot.model.errors import EntrepotError
from entrepot.model.principal import Principal
from entrepot.net.network import NetworkLimits
from entrepot.protocols.amqp091.records import AmqpEntryCodec
from entrepot.simulation.disk import COMMIT_S, SLOW_COMMIT_S, Crashed
from entrepot.simulation.faulty_doors import Faults
from entrepot.simulation.following import Following
from entrepot.simulation.loop import SimulatedClock, SimulatedLoop
from entrepot.simulation.store_model import Violation
from entrepot.simulation.store_run import Seams
from entrepot.simulation.wandering import Wandering
from entrepot.store.interface import LOG_ID_SIZE, Store
from entrepot.store.local.disk import Disk
from entrepot.store.local.opening import open_store
from entrepot.store.local.settings import StoreSettings

CRASHES = 3
FOLLOWING_S = (0.0, 0.05, 0.5)  # how long another process takes to apply a change of the catalogue; 0: nobody follows
WANDERING_RATES = (0.0, 0.3, 1.0)
FAULT_RATES = (0.0, 0.01, 0.1)  # of calls that are delayed, not carried out, or whose answer is lost or late
NETWORK_LIMITS = NetworkLimits(
    connections=100,
    connections_per_listener=100,
    accept_backlog=10,
    socket_output_bytes=65_536,
    connection_output_bytes=1 << 20,
    close_timeout_ms=1000,
    dead_peer_timeout_ms=60_000,
    unfinished_bytes=1 << 26,
    strangers_per_listener=100,
    strangers_per_address=100,
    strangers_bytes=1 << 26,
)


class Everyone:
    """Anybody may log in, and do anything."""

    version = 0

    def plain(self, name: str, password: str, peer: Any, done: Any) -> None:
        """See authentication."""
        done(Principal(name))

    def watch(self, *_: object) -> None:
        """Nothing changes."""

    def authorize(self, *_: object) -> None:
        """See Authorizer."""

    def authorize_namespace(self, *_: object) -> None:
        """See Authorizer."""

    def may(self, *_: object) -> bool:
        """See Authorizer."""
        return True


class CrashingRun:
    """One seed's run: `actions` between two crashes. Derived: start(), act(), drain(), conclude()."""

    actions: int
    limits = QuotaLimits(10, 100, 100, 100, 100, 100)

    def __init__(self, seed: int, seams: Seams | None = None) -> None:
        seams = seams or Seams()
        self.loop = SimulatedLoop(seed)
        self.chance = self.loop.random
        self.disk = seams.disk(self.loop)
        self.disk.commit_s = self.chance.choice((COMMIT_S, COMMIT_S, SLOW_COMMIT_S))
        self.clock = SimulatedClock(self.loop)
        self.entropy = seams.entropy(self.loop)
        self.codec = AmqpEntryCodec()
        self.codecs: list[EntryCodec] = [self.codec]
        self.everyone = Everyone()
        self.settings = StoreSettings(
            journal_file_size=64 << 10, journal_ready_files=1, cache_size=self.chance.choice((0, 32 << 10, 1 << 20)), reserve_size=64 << 10, linger_ms=1
        )
        self.faults = Faults(self.loop, self.chance, self.chance.choice(FAULT_RATES))
        self.owners: Callable[[Hub, Store, Store], OwnerTable] = OwnerTable
        self.wandering = Wandering(self.loop, self.chance.choice(WANDERING_RATES), [CATALOGUE])
        self.following = Following(self.loop, self.chance.choice(FOLLOWING_S))
        self.failed: BaseException | None = None  # of this life
        self.serial = 0
        self.power_failures = 0
        self.kills = 0

    def run(self) -> str:
        """Do all of it; the digest of the trace. Violation if the broker broke a promise."""
        for _ in range(CRASHES):
            self.start()
            try:
                for _ in range(self.actions):
                    self.act()
                    self.wandering.step()
                self.disk.crash_after = self.chance.randint(1, 60)
                for _ in range(50 * self.actions):
                    self.act()
                    self.wandering.step()
            except Crashed:
                pass
            self.loop.forget_all()
            if self.chance.random() < 0.7:
                self.power_failures += 1
                self.disk.crash()
            else:
                self.kills += 1
                self.disk.kill()
        self.start()
        self.faults.stop()
        self.drain()
        self.conclude()
        self.following.conclude()
        return self.loop.digest()

    @property
    def is_troubled(self) -> bool:
        """Whether calls may not be carried out though nobody's connection or machine fails."""
        return self.faults.rate > 0 or self.wandering.rate > 0

    # ---- what a run is made of

    def start(self) -> None:
        """A new life: the broker, and nobody connected."""
        raise NotImplementedError

    def act(self) -> None:
        """Somebody does something, and some time passes."""
        raise NotImplementedError

    def drain(self) -> None:
        """At the end: whatever is there is taken."""
        raise NotImplementedError

    def conclude(self) -> None:
        """What must hold at the end. Raises Violation."""
        raise NotImplementedError

    # ---- the broker

    def recovered(self) -> Broker:
        """The broker, from what is on the disk."""
        self.failed = None
        try:
            store = open_store(
                cast("Disk", self.disk), scheduler=self.loop, clock=self.clock, entropy=self.entropy, fold=default_folds().fold, settings=self.settings
            )
        except (EntrepotError, OSError) as error:
            raise Violation(f"the store does not open: {error!r}") from error
        broker = Broker(
            scheduler=self.loop,
            clock=self.clock,
            entropy=self.entropy,
            store=store,
            volatile=store,
            decisions=Decisions.over(CatalogueStream(store), lambda: self.entropy.octets(LOG_ID_SIZE), self.limits),
            authorizer=self.everyone,
            on_failed=self._store_failed,
            owners=self.owners,
        )
        broker.make_door = self.faults.door
        broker.hub.shelved_max_bytes = self.chance.choice((0, 2000, 1 << 20))
        for codec in self.codecs:
            broker.register(codec)
        broker.open()
        self.wandering.begin(broker)
        self.following.begin(broker)
        return broker

    def check_store(self) -> None:
        """Violation if the store has failed on its own."""
        if self.failed is not None:
            raise Violation(f"the store failed on its own: {self.failed!r}") from self.failed

    def _store_failed(self, error: BaseException) -> None:
        self.failed = error
