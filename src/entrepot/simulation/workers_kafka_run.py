"""WorkersKafkaRun: Kafka's clients of one of three workers, whose partitions and groups are all of theirs, and Workers' nemesis.

Appends, reads and groups never cross; what does is what is decided elsewhere: topics, and producers' ids.
"""

from __future__ import annotations

import itertools
from typing import Any, cast

from entrepot.net.network import Network
from entrepot.protocols.kafka.listener import KafkaListener
from entrepot.protocols.kafka.record_batch import BatchValidator
from entrepot.protocols.kafka.session import Settings, Shared
from entrepot.simulation.crashing_run import NETWORK_LIMITS
from entrepot.simulation.kafka_client import KafkaClient
from entrepot.simulation.kafka_run import NAMESPACE, KafkaRun, Maker, _Anybody
from entrepot.simulation.store_model import Violation
from entrepot.simulation.store_run import Seams
from entrepot.simulation.workers import COUNT, TROUBLE, Worker, Workers

STEPS = 300


class _Way:
    """Where clients connect to: the leader, when it is there."""

    def __init__(self, run: WorkersKafkaRun) -> None:
        self._run = run

    def connect(self, _: str, client: KafkaClient) -> None:
        """See SimulatedNetwork; nobody there: it is lost a while later."""
        try:
            self._run.workers.network.connect(f"{self._run.leader}.kafka", client)
        except ConnectionRefusedError:
            self._run.loop.call_later(0.05, self._refused, client)

    def _refused(self, client: KafkaClient) -> None:
        for actor in self._run.actors():
            if actor.connection is client:
                actor.drop()


class WorkersKafkaRun(KafkaRun):
    """One seed's run. `leader`: the worker that its clients go to."""

    rest_s = 1.0  # a leader that stood still has much to do when it goes on
    partitions_max = 1  # the shards of one topic's partitions are at workers by turns

    def __init__(self, seed: int, seams: Seams | None = None) -> None:
        self._number = seed % COUNT
        self.leader = f"w{self._number}"
        super().__init__(seed, seams)
        self.workers = Workers.under(self, seams, on_open=self._listen, on_kill=self._killed)
        self.network = cast("Any", _Way(self))
        self.trouble = self.chance.choice(TROUBLE)
        self._sessions: dict[str, Network] = {}

    @property
    def is_troubled(self) -> bool:
        """See CrashingRun: a leader that has not heard of who decides for a while refuses what comes."""
        return self.trouble > 0

    def _all_there(self, kind: str, name: str, partitions: int) -> bool:
        return all(Workers.shard(kind, NAMESPACE, name, partition) % COUNT == self._number for partition in range(partitions))

    def topic_name(self, number: int, partitions: int) -> str:
        """See KafkaRun."""
        return next(name for count in itertools.count() if self._all_there("topic", name := f"topic{number}-{count}", partitions))

    def group_name(self, name: str) -> str:
        """See KafkaRun."""
        return next(found for count in itertools.count() if self._all_there("group", found := f"{name}-{count}", 1))

    def run(self) -> str:
        """See CrashingRun."""
        self.workers.start()
        for name in self.topics:
            Maker(self, name).make()
        for _ in range(STEPS):
            self.act()
            self.workers.trouble(self.trouble)
        self.workers.settle()
        self.drain()
        return self.loop.digest()

    # ---- its workers

    def _listen(self, worker: Worker) -> None:
        if worker.name != self.leader:
            return
        self.broker = worker.broker
        loop = cast("Any", worker.process)
        shared = Shared(self.entropy, BatchValidator(), worker.process.call_soon)
        network = Network(loop, worker.clock, NETWORK_LIMITS)
        listener = KafkaListener(network, worker.name, 9092, port=worker.broker, authenticator=_Anybody(), settings=Settings(), shared=shared)
        self._sessions[worker.name] = network
        self.workers.network.listen(f"{worker.name}.kafka", listener._accept, worker.process)  # noqa: SLF001 - what create_server() is given

    def _killed(self, worker: Worker) -> None:
        if worker.name != self.leader:
            return
        assert worker.broker is not None
        self.duplicates += worker.broker.appender.duplicate_count
        for model in self.partitions.values():
            model.crashed()
        for actor in self.actors():
            actor.drop()

    def check(self) -> None:
        """See KafkaRun."""
        self.workers.check()
        if any(network.session_failures for network in self._sessions.values()):
            raise Violation("a session failed by its own fault")
