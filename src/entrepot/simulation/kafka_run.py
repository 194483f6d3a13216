"""KafkaRun: the whole broker, Kafka session and all, over simulated network and disk; producers and followers that come, go and send again; machines that fail.

What must hold is said in kafka_model.py; besides, no retriable outcome ends a connection, no producer's next batch is said to be out of order, and
no producer id and epoch are given twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, cast

from entrepot.broker.catalogue.shards import CATALOGUE
from entrepot.model.principal import Principal
from entrepot.net.network import Network
from entrepot.protocols.kafka.listener import KafkaListener
from entrepot.protocols.kafka.record_batch import BatchValidator
from entrepot.protocols.kafka.records import KafkaEntryCodec
from entrepot.protocols.kafka.session import Settings, Shared
from entrepot.simulation.crashing_run import NETWORK_LIMITS, CrashingRun, Everyone
from entrepot.simulation.kafka_actors import AGAIN, GROUPS, REST_S, Actor, Follower, Producer
from entrepot.simulation.kafka_client import Place
from entrepot.simulation.kafka_model import CommitModel, PartitionModel
from entrepot.simulation.network import SimulatedNetwork
from entrepot.simulation.store_model import Violation
from entrepot.simulation.store_run import Seams

NAMESPACE = "public/default"
ACTIONS = 120  # between two crashes
PRODUCERS = 4
FOLLOWERS = 4
TOPICS_MAX = 2
PARTITIONS_MAX = 4
_STEPS_MAX = 4000  # of what remains to be done at the end
_SETTINGS: tuple[dict[str, str], ...] = (
    {},
    {},
    {"retention.bytes": "20000"},
    {"message.timestamp.type": "LogAppendTime"},
    {"compression.type": "gzip"},
    {"retention.bytes": "60000", "message.timestamp.type": "LogAppendTime", "compression.type": "gzip"},
)


class _Anybody(Everyone):
    """Lets connections in that show no credentials."""

    def anonymous(self, peer: Any) -> Principal:
        """See authentication."""
        return Principal("me")

    def namespace_of(self, principal: Principal, usual: str) -> str:
        """See authentication."""
        return usual


class KafkaRun(CrashingRun):
    """One seed's run."""

    actions = ACTIONS
    partitions_max = PARTITIONS_MAX
    rest_s = REST_S  # until nothing happens any more of what connections had sent that were dropped

    def __init__(self, seed: int, seams: Seams | None = None) -> None:
        super().__init__(seed, seams)
        self.codecs.append(KafkaEntryCodec())
        # this life of the broker
        self.network = SimulatedNetwork(self.loop)
        self.broker: Any = None
        self.sessions: Any = None
        self.header_of: Callable[[bytes], tuple[bytes, bytes]] | None = None  # which each record has, by its value
        # all lives
        chance = self.chance
        sizes = [(chance.randint(1, self.partitions_max), chance.choice(_SETTINGS)) for _ in range(chance.randint(1, TOPICS_MAX))]
        self.topics = {self.topic_name(number, size[0]): size for number, size in enumerate(sizes)}
        self.groups = tuple(map(self.group_name, GROUPS))
        self.partitions = {place: PartitionModel(place) for name, (count, _) in self.topics.items() for place in ((name, number) for number in range(count))}
        for (name, _), model in self.partitions.items():
            model.is_sized = "retention.bytes" in self.topics[name][1]
        self.commits = {(group, place): CommitModel(group, place) for group in self.groups for place in self.partitions}
        self.producer_ids: set[tuple[int, int]] = set()
        self.producers: list[Producer] = []
        self.followers: list[Follower] = []
        self.free_from = dict.fromkeys(self.groups, 0.0)  # when a group may have its next follower
        # what came of it
        self.codes: Counter[int] = Counter()
        self.acks = 0
        self.reads = 0
        self.retries = 0
        self.duplicates = 0
        self.committed_count = 0
        self.lookups = 0  # of what is committed
        self.session_fetches = 0
        self.deletions = 0
        self.resets = 0  # of followers whose offset was gone
        self.drops = 0  # connections that broke
        self.closes = 0  # connections that the broker closed because something was refused that expects no answer

    def topic_name(self, number: int, partitions: int) -> str:
        """Of a topic of so many."""
        return f"topic{number}"

    def group_name(self, name: str) -> str:
        """Of one of GROUPS."""
        return name

    # ---- the broker

    def start(self) -> None:
        """Recover, and listen; the first time make the topics."""
        first = self.broker is None
        if not first:
            self.duplicates += self.broker.appender.duplicate_count
            for model in self.partitions.values():
                model.crashed()
        self.broker = self.recovered()
        self.wandering.also = [CATALOGUE, *(self.broker.shards.shard("group", NAMESPACE, group) for group in self.groups)]
        loop = cast("Any", self.loop)
        shared = Shared(self.entropy, BatchValidator(), self.loop.call_soon)
        listener = KafkaListener(
            Network(loop, self.clock, NETWORK_LIMITS), "simulated", 9092, port=self.broker, authenticator=_Anybody(), settings=Settings(), shared=shared
        )
        self.network.listen("kafka", listener._accept)  # noqa: SLF001 - what create_server() is given
        self.sessions = listener.network
        for actor in self.actors():
            actor.rests_until = 0.0
            actor.gone()
        if first:
            for name in self.topics:
                Maker(self, name).make()

    def actors(self) -> list[Actor]:
        """All clients."""
        return [*self.producers, *self.followers]

    def check(self) -> None:
        """Nothing has gone wrong inside."""
        self.check_store()
        if self.sessions.session_failures:
            raise Violation("a session failed by its own fault")

    # ---- its clients

    def act(self) -> None:
        """Somebody does something, and some time passes."""
        chance = self.chance
        what = chance.random()
        if len(self.producers) < PRODUCERS:
            idempotent = chance.random() < 0.6
            self.producers.append(Producer(self, idempotent=idempotent, acks=-1 if idempotent else chance.choice((-1, 1, 0))))
        elif len(self.followers) < FOLLOWERS:
            self._follow()
        elif what < 0.45:
            chance.choice(self.producers).produce(chance.choice((1, 1, 3, 8)))
        elif what < 0.93:
            chance.choice(self.followers).step()
        elif what < 0.97:
            chance.choice(self.actors()).drop()
        elif what < 0.98:
            self._leave()
        elif what < 0.99:
            chance.choice(self.producers).renew()
        else:
            self._delete()
        self.loop.run_for(chance.choice((1e-5, 1e-3, 1e-2)))
        self.check()

    def _follow(self) -> None:
        taken = {follower.group for follower in self.followers}
        now = self.loop.time()
        free = [group for group in self.groups if group not in taken and self.free_from[group] <= now]
        group = self.chance.choice(free) if free and self.chance.random() < 0.7 else None
        self.followers.append(Follower(self, self.chance.choice(list(self.topics)), group))

    def _leave(self) -> None:
        """Somebody goes for good."""
        actor = self.chance.choice(self.actors())
        actor.drop()
        if isinstance(actor, Producer):
            self.producers.remove(actor)
        elif isinstance(actor, Follower):
            self.followers.remove(actor)
            if actor.group is not None:
                self.free_from[actor.group] = self.loop.time() + REST_S

    def _delete(self) -> None:
        """A follower deletes some of what it has read."""
        for follower in self.followers:
            if follower.delete():
                return

    # ---- the end

    def drain(self) -> None:
        """Everything that producers have left is sent; then everything is read from the beginning."""
        self.wandering.come_home()
        for follower in self.followers:
            follower.drop()
        self._until(lambda: all(producer.is_settled() for producer in self.producers), self.producers)
        self.duplicates += self.broker.appender.duplicate_count
        self.loop.run_for(self.rest_s)
        for topic in self.topics:
            reader = Follower(self, topic, None, only_reads=True)
            self._until(reader.is_placed, [reader])
            starts, ends = dict(reader.positions), dict[Place, int]()
            reader.find_ends(ends)
            self._until(lambda reader=reader, ends=ends: len(ends) == len(reader.places) and ends == reader.positions, [reader])
            for place, base in starts.items():
                self.partitions[place].conclude(base, ends[place], reader.found[place])
        for group in self.groups:
            for topic in self.topics:
                follower = Follower(self, topic, group)
                self._until(lambda follower=follower: follower.knows_committed, [follower])

    def conclude(self) -> None:
        """See CrashingRun: drain() has."""

    def _until(self, condition: Any, actors: Any) -> None:
        for _ in range(_STEPS_MAX):
            if condition():
                return
            for actor in actors:
                actor.step()
            self.loop.run_for(1e-3)
            self.check()
        raise Violation(f"the end is not reached: {[vars(actor) for actor in actors]}")


class Maker(Actor):
    """Makes one topic."""

    def __init__(self, run: KafkaRun, topic: str) -> None:
        super().__init__(run)
        self.topic = topic
        self.made = False

    def make(self) -> None:
        """Until it is there."""
        self.usable()
        self.run.loop.run_until(lambda: self.made, 600)
        self.drop()

    def step(self) -> None:
        """See Actor."""
        assert self.connection is not None
        count, settings = self.run.topics[self.topic]
        self.connection.create_topic(self.topic, count, settings, self._answered)

    def _answered(self, code: int) -> None:
        exists = 36
        self.made = self.expect(code, *AGAIN, exists) or code == exists
        if not self.made:
            self.step()
