"""GroupRun: a group's coordinator and its members under virtual time: they come, go, pause, crash and are replaced, topics grow, the broker restarts.

What must hold: no partition has two live owners (an owner is live while the coordinator has not fenced it); offsets that members are allowed to commit
never go back, and those acknowledged outlive the broker; once the trouble is over the group comes to rest within a bounded time with every
partition owned by one member, stays so, and every record has been processed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from entrepot.broker.calls import group_requests as ask
from entrepot.broker.calls.port import DONE, REFUSED, Attachment, Call, Sink, make_ask
from entrepot.broker.catalogue.quotas import Quotas
from entrepot.broker.catalogue.shards import Shards
from entrepot.broker.groups.classic import ClassicGroup
from entrepot.broker.groups.consumer import ConsumerGroup
from entrepot.broker.groups.coordinator import GroupCoordinator
from entrepot.broker.groups.desk import Desk
from entrepot.broker.groups.settings import GroupSettings
from entrepot.broker.groups.topics import TopicFacts
from entrepot.broker.state_kinds import default_folds
from entrepot.model.errors import Refused
from entrepot.model.principal import Principal
from entrepot.simulation.group_clients import GROUP, SESSION_MS, ClassicClient, Client, ConsumerClient, Place
from entrepot.simulation.loop import Handle, SimulatedClock, SimulatedEntropy, SimulatedLoop
from entrepot.simulation.state_store import StateStore
from entrepot.simulation.store_model import Violation

NAMESPACE = "public/default"
TROUBLE_S = 120.0
CLIENTS_MAX = 5
REST_LIMIT_S = 120.0  # until the group has come to rest
QUIET_S = 15.0  # and how long it must stay so
EAGER, COOPERATIVE, CONSUMER = "eager", "cooperative", "consumer"


class _Life:
    """One life of the broker's process: what it asked of the loop ends with it."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self._loop = loop
        self.over = False

    def time(self) -> float:
        return self._loop.time()

    def call_soon(self, callback: Callable[..., object], *arguments: Any) -> Handle:
        return self._loop.call_soon(self._do, callback, arguments)

    def call_later(self, delay: float, callback: Callable[..., object], *arguments: Any) -> Handle:
        return self._loop.call_later(delay, self._do, callback, arguments)

    def _do(self, callback: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        if not self.over:
            callback(*arguments)


class _Everybody:
    """May do anything."""

    version = 0

    def watch(self, *_: object) -> None:
        """Nothing changes."""

    def authorize(self, *_: object) -> None:
        pass

    def may(self, *_: object) -> bool:
        return True


class SimulatedTopics:
    """See broker.groups.topics.Topics."""

    def __init__(self) -> None:
        self.facts: dict[str, TopicFacts] = {}
        self._changes = 0

    def find(self, namespace: str, name: str) -> TopicFacts | None:
        """See Topics."""
        return self.facts.get(name)

    def names(self, namespace: str) -> frozenset[str]:
        """See Topics."""
        return frozenset(self.facts)

    def version(self, namespace: str) -> int:
        """See Topics."""
        return self._changes

    def note(self, shard: int) -> None:
        """See Topics."""

    def changed(self, namespace: str) -> None:
        """See Topics."""
        self._changes += 1

    def set(self, name: str, count: int) -> None:
        """Make a topic, or give it more partitions."""
        self.facts[name] = TopicFacts(name.encode().ljust(16, b"."), count)
        self.changed("")

    def counts(self) -> dict[str, int]:
        """Partitions of every topic."""
        return {name: facts.partition_count for name, facts in self.facts.items()}

    def places(self) -> list[Place]:
        """Every partition."""
        return [(name, partition) for name, facts in self.facts.items() for partition in range(facts.partition_count)]


class Connection(Sink):
    """A client's connection: requests and answers take a while and keep their order; it breaks now and then."""

    def __init__(self, run: GroupRun, client: Client) -> None:
        self._run = run
        self._client = client
        self._door = self._new_door()
        self._waiting: dict[int, Callable[..., None]] = {}
        self._number = 0
        self._arrives_s = 0.0
        self._answered_s = 0.0

    def send(self, request: Any, answered: Callable[..., None], *more: Any) -> None:
        """Ask the broker; answered(result, refused, *more), both None if the connection broke first."""
        run = self._run
        self._number += 1
        number = self._number
        self._waiting[number] = lambda result, refused: answered(result, refused, *more)
        call = make_ask(number, request)
        call.attachment = self._door
        self._arrives_s = max(self._arrives_s, run.loop.time() + run.chance.choice((0.001, 0.01, 0.05)))
        run.loop.call_at(self._arrives_s, self._arrive, call)
        if run.chance.random() < run.break_chance:
            run.loop.call_later(run.chance.choice((0.005, 0.03, 0.2, 3.0)), self.reset)

    def reset(self) -> None:
        """The connection breaks: what is on its way is lost."""
        self._door.closed = True
        self._door = self._new_door()
        waiting, self._waiting = self._waiting, {}
        for answered in waiting.values():
            self._run.loop.call_later(0.1, self._client.now, answered, None, None)

    def completed(self, call: Call) -> None:
        """See Sink."""
        if call.attachment.closed:
            return
        run = self._run
        run.answered(call)
        self._answered_s = max(self._answered_s, run.loop.time() + run.chance.choice((0.001, 0.01, 0.05)))
        run.loop.call_at(self._answered_s, self._deliver, call)

    def _new_door(self) -> Attachment:
        door = Attachment()
        door.spent = 0
        door.closed = False
        door.namespace = NAMESPACE
        door.principal = Principal("simulated")
        door.sink = self
        return door

    def _arrive(self, call: Any) -> None:
        if call.attachment.closed:
            return
        if self._run.is_down:
            self.reset()
        else:
            self._run.perform(call)

    def _deliver(self, call: Call) -> None:
        answered = None if call.attachment.closed else self._waiting.pop(call.stream, None)
        if answered is not None:
            self._client.now(answered, call.result, call.error)


class GroupRun:
    """One seed's run; `protocol` is EAGER, COOPERATIVE or CONSUMER."""

    def __init__(self, seed: int, protocol: str) -> None:
        self.protocol = protocol
        self.loop = SimulatedLoop(seed)
        self.chance = self.loop.random
        self.break_chance = self.chance.choice((0.0, 0.01, 0.05))
        self.topics = SimulatedTopics()
        self.topics.set("one", self.chance.randint(1, 5))
        self.topics.set("two", self.chance.randint(1, 3))
        self.life = _Life(self.loop)
        self.store = StateStore(self.life, default_folds().fold, lambda: self.chance.choice((0.0002, 0.002, 0.02)))
        self.is_down = False
        self.clients: list[Client] = []
        self.serial = 0
        self.restarts = 0
        self._members_before: list[Client] = []
        self.rebalance_timeout_ms = self.chance.choice((3_000, 8_000))
        self.rebalances = 0
        # records and offsets
        self.ends: dict[Place, int] = {}
        self.processed: dict[Place, bytearray] = {}
        self.accepted: dict[Place, list[int]] = {}  # commits since the last that was acknowledged, that one first
        self._start_broker()
        self._produce()

    def run(self) -> str:
        """All of it; the digest of the trace. Violation if something does not hold."""
        while self.loop.time() < TROUBLE_S:
            self._trouble()
            self.loop.run_for(self.chance.choice((0.05, 0.5, 2.0, 6.0)))
            self.check_owners()
        self.break_chance = 0.0
        for client in self.clients:
            if client.paused:
                client.resume()
        self.loop.run_for(2 * SESSION_MS / 1000)  # who was paused for too long finds out, and who is gone is missed
        while not any(len(client.reads) == len(self.topics.facts) for client in self._living()):
            self._add_client()  # somebody must read everything
        self._settle()
        return self.loop.digest()

    def _settle(self) -> None:
        """The trouble is over: the group comes to rest, stays so, and everything is processed."""
        for place in self.topics.places():
            self.ends.setdefault(place, 10)
        began = self.loop.time()
        while not self._is_at_rest():
            if self.loop.time() - began > REST_LIMIT_S:
                raise Violation(f"after {REST_LIMIT_S} quiet seconds the group is not at rest: {self._picture()}")
            self.loop.run_for(1.0)
            self.check_owners()
        generation = self._group_epoch()
        self.loop.note("rest", generation, round(self.loop.time() - began, 3))
        self.loop.run_for(QUIET_S)
        if not self._is_at_rest() or self._group_epoch() != generation:
            raise Violation(f"the group does not stay at rest: {self._picture()}")
        self.rebalances = generation
        left = {place: end for place, end in self.ends.items() if self.processed.get(place, b"").count(1) < end}
        for _ in range(60):
            if not left:
                break
            self.loop.run_for(1.0)
            left = {place: end for place, end in self.ends.items() if self.processed.get(place, b"").count(1) < end}
        if left:
            raise Violation(f"records are not processed: {left}")

    # ---- the broker

    def _start_broker(self) -> None:
        settings = GroupSettings(
            initial_rebalance_delay_ms=self.chance.choice((0, 100, 1000)),
            consumer_session_timeout_ms=SESSION_MS,
            consumer_heartbeat_interval_ms=1_500,
            new_member_timeout_ms=20_000,
        )
        desk = Desk(self.life, SimulatedClock(self.loop), SimulatedEntropy(self.loop), self.store, Shards(2), settings, Quotas())
        self.coordinator = GroupCoordinator(desk, self.topics, _Everybody())
        self.coordinator.load()
        self.is_down = False
        for place, values in self.accepted.items():
            kept = self._committed(place)
            if kept not in values:
                raise Violation(f"{place}: the broker came back with offset {kept}; acknowledged, and taken since, were {values}")
            self.accepted[place] = [kept]
        for client in self._members_before:
            if not client.dead and not self._is_live(client):
                raise Violation(f"the restart of the broker has fenced {client.name}: {self._picture()}")
        self.check_owners()

    def crash_broker(self) -> None:
        """It is gone; somebody starts it again in a while."""
        self.restarts += 1
        self._members_before = self._settled_members()
        self.life.over = True
        self.life = _Life(self.loop)
        self.store.crash(self.life)
        self.is_down = True
        for client in self.clients:
            client.connection.reset()
        self.loop.call_later(self.chance.choice((0.1, 1.0, 4.0)), self._start_broker)

    def _settled_members(self) -> list[Client]:
        """Who must not notice a restart. A cooperative member's last generation may be one that is lost: it has partitions all the time."""
        group = self._group()
        if self.protocol == COOPERATIVE or group is None or (self.protocol == EAGER and group.state != "Stable"):
            return []
        return [client for client in self.clients if client.generation > 0 and client.owned and self._is_live(client)]

    def perform(self, call: Any) -> None:
        """A request has arrived."""
        request = call.request
        try:
            self.coordinator.perform(call)
        except Refused as refused:
            call.outcome, call.error = REFUSED, refused
            call.attachment.sink.completed(call)
        else:
            if isinstance(request, ask.CommitOffsets):
                self._accept(request.offsets)
        self.loop.note(type(request).__name__, call.outcome, str(call.error))

    def _accept(self, offsets: dict[Place, ask.CommittedOffset]) -> None:
        for place, committed in offsets.items():
            values = self.accepted.setdefault(place, [-1])
            if committed.offset < values[len(values) - 1]:
                raise Violation(f"{place}: offset {committed.offset} was taken after {values}: from an owner that is none any more")
            values.append(committed.offset)

    def answered(self, call: Any) -> None:
        """The broker has answered: what was committed must outlive it."""
        if call.outcome == DONE and isinstance(call.request, ask.CommitOffsets):
            for place, committed in call.request.offsets.items():
                values = self.accepted.get(place, [])
                self.accepted[place] = values[values.index(committed.offset) :] if committed.offset in values else [committed.offset]

    def _committed(self, place: Place) -> int:
        offsets = self.coordinator._offsets.get((NAMESPACE, GROUP))  # noqa: SLF001 - the checker looks inside
        return -1 if offsets is None else offsets.get(*place).offset

    def _group(self) -> ClassicGroup | ConsumerGroup | None:
        return self.coordinator._groups.get((NAMESPACE, GROUP))  # noqa: SLF001 - the checker looks inside

    def _group_epoch(self) -> int:
        group = self._group()
        if group is None:
            return -1
        return group.generation if isinstance(group, ClassicGroup) else group.epoch

    # ---- what must hold

    def _is_live(self, client: Client) -> bool:
        """Whether the coordinator would still take it for a member."""
        group = self._group()
        if client.dead or group is None or client.member_id not in group.members:
            return False
        return isinstance(group, ConsumerGroup) or group.generation == client.generation

    def check_owners(self) -> None:
        """No partition has two live owners."""
        if self.is_down:
            return
        owners: dict[Place, Client] = {}
        for client in self.clients:
            if client.owned and self._is_live(client):
                for place in client.owned:
                    other = owners.setdefault(place, client)
                    if other is not client:
                        raise Violation(f"{place} has two live owners, {other.name} and {client.name}: {self._picture()}")

    def _is_at_rest(self) -> bool:
        group = self._group()
        if group is None or self.is_down or group.state != "Stable":
            return False
        living = self._living()
        if {client.member_id for client in living} != set(group.members):
            return False
        if isinstance(group, ClassicGroup):
            agree = all(client.generation == group.generation for client in living)
        else:
            agree = all(client.generation == group.epoch for client in living)
        return agree and sorted(place for client in living for place in client.owned) == sorted(self.topics.places())

    def _picture(self) -> str:
        group = self._group()
        described = "no group" if group is None else repr(group.describe())
        clients = [f"{client.name}: {client.member_id} at {client.generation} owns {sorted(client.owned)}" for client in self._living()]
        return f"seed {self.loop.seed} {self.protocol} at {self.loop.time():.3f}: {described}; {'; '.join(clients)}"

    # ---- records

    def process(self, place: Place, position: int, count: int) -> int:
        """Process up to `count` records from `position`; where that leads."""
        done = self.processed.setdefault(place, bytearray())
        end = min(position + count, self.ends.get(place, 0))
        if end > len(done):
            done.extend(bytes(end - len(done)))
        for offset in range(position, end):
            done[offset] = 1
        return max(position, end)

    def _produce(self) -> None:
        for place in self.topics.places():
            self.ends[place] = self.ends.get(place, 0) + self.chance.randint(0, 8)
        if self.loop.time() < TROUBLE_S:
            self.loop.call_later(1.0, self._produce)

    # ---- trouble

    def _living(self) -> list[Client]:
        return [client for client in self.clients if not client.dead]

    def _add_client(self, instance_id: str | None = None) -> None:
        self.serial += 1
        name = f"c{self.serial}"
        if self.protocol == CONSUMER:
            self.clients.append(ConsumerClient(self, name, instance_id))
        else:
            self.clients.append(ClassicClient(self, name, instance_id, is_cooperative=self.protocol == COOPERATIVE))

    def connect(self, client: Client) -> Connection:
        """A client's connection."""
        return Connection(self, client)

    def _trouble(self) -> None:
        """One thing happens."""
        living = self._living()
        what = self.chance.random()
        if len(living) < 2 or (what < 0.2 and len(living) < CLIENTS_MAX):
            taken = {client.instance_id for client in living}
            free = [name for name in ("s1", "s2") if name not in taken]
            self._add_client(self.chance.choice(free) if free and self.chance.random() < 0.4 else None)
            return
        client = self.chance.choice(living)
        if what < 0.3:
            client.now(client.leave)
        elif what < 0.42:
            client.die()
        elif what < 0.5 and client.instance_id is not None:
            if self.chance.random() < 0.7:
                client.die()
            self._add_client(client.instance_id)
        elif what < 0.65 and not client.paused:
            client.paused = True
            self.loop.call_later(self.chance.choice((1.0, 5.0, 7.0, 15.0)), client.resume)
        elif what < 0.72:
            name = self.chance.choice(sorted(self.topics.facts))
            if self.topics.facts[name].partition_count < 8:
                self.topics.set(name, self.topics.facts[name].partition_count + self.chance.randint(1, 2))
        elif what < 0.82 and not self.is_down:
            self.crash_broker()
