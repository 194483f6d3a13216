"""WorkersSessionsRun: sessions that outlive connections over three workers: SessionsRun's clients at each of them, and Workers' nemesis.

Half of what a client publishes is for a queue that the owner of its session has, too: it is there once. The rest goes to queues of all owners, and may come
again there; but whatever lies in a session's queue comes to its client once.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.port import Attachment, Sink
from entrepot.broker.front.parting import make_address
from entrepot.model.principal import Principal
from entrepot.simulation.letters_run import NAMESPACE, bodies_of
from entrepot.simulation.sessions_run import CLIENTS, Client, SessionsRun, Setting
from entrepot.simulation.store_run import Seams
from entrepot.simulation.workers import COUNT, TROUBLE, Worker, Workers
from entrepot.simulation.workers_timed_run import DoorThere

STEPS = 250


class WorkersSessionsRun(SessionsRun):
    """One seed's run."""

    def __init__(self, seed: int, seams: Seams | None = None) -> None:
        super().__init__(seed, seams)
        self.is_one_process = False
        self.workers = Workers.under(self, seams, on_kill=self._killed)
        self.workers.skew_ms, self.workers.drift = 0, 0.0  # delays of wills are counted by one clock here
        self.trouble = self.chance.choice(TROUBLE)
        self.own = {name: next(f"own-{number}" for number in range(100) if _owner(f"own-{number}") == _owner(name)) for name in CLIENTS}
        self.to_own: dict[str, list[bytes]] = {name: [] for name in CLIENTS}

    @property
    def is_troubled(self) -> bool:
        """See CrashingRun."""
        return self.trouble > 0

    def run(self) -> str:
        """See CrashingRun."""
        self.workers.start()
        self.prepare()
        self.loop.run_for(0.5)
        for _ in range(STEPS):
            if self.workers.open_ones():
                self.act()
            else:
                self.loop.run_for(0.05)
            self.workers.check()
            self.workers.trouble(self.trouble)
        self.workers.settle()
        self.drain()
        self.conclude()
        return self.loop.digest()

    def prepare(self) -> None:
        """See SessionsRun."""
        super().prepare()
        setting = Setting(self)
        for name in set(self.own.values()):
            setting.ask(r.DeclareQueue(name, durable=True))
        setting.door.close()

    def attach(self, sink: Sink, name: str) -> Attachment:
        """See SessionsRun: at one of those that are there."""
        worker = self.chance.choice(self.workers.open_ones())
        assert worker.broker is not None
        return DoorThere(worker.process, worker.broker.attach(sink, Principal(name), NAMESPACE))

    def bodies(self, queue: str) -> Counter[bytes]:
        """See SessionsRun: where its shard is."""
        worker = self.workers.all[_owner(queue)]
        assert worker.broker is not None
        return Counter(bodies_of(worker.broker, self.loop, queue))

    def new_body(self, client: Client, body: bytes) -> None:
        """See SessionsRun."""
        if self.chance.random() < 0.5:
            self.to_own[client.name].append(body)
        else:
            self.sent.append(body)

    def address_of(self, client: Client, body: bytes) -> bytes:
        """See SessionsRun."""
        return make_address("", self.own[client.name]) if body in self.to_own[client.name] else super().address_of(client, body)

    def conclude(self) -> None:
        """See CrashingRun."""
        super().conclude()
        for queue in set(self.own.values()):
            sent = [body for client in CLIENTS if self.own[client] == queue for body in self.to_own[client]]
            self.check_came(f"queue {queue}", self.bodies(queue), sent, is_once=True)

    def _killed(self, worker: Worker) -> None:
        """Its connections are lost."""
        for client in self.clients:
            for connection in list(client.connections):
                door: Any = connection.door
                if door.process is worker.process:
                    client.connections.remove(connection)
                    connection.is_lost(self.loop.time())


def _owner(queue: str) -> int:
    return Workers.shard("queue", NAMESPACE, queue) % COUNT
