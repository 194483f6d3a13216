"""WorkersSessionsRun: sessions that outlive connections over three workers: SessionsRun's clients at each of them, and Workers' nemesis.

At the end clients stay away for a while: of those whose connection was lost, or has died with its worker, the will comes once, delayed or not.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from entrepot.broker.calls.port import Attachment, Sink
from entrepot.model.principal import Principal
from entrepot.simulation.letters_run import NAMESPACE, bodies_of
from entrepot.simulation.sessions_run import SessionsRun
from entrepot.simulation.store_run import Seams
from entrepot.simulation.workers import COUNT, POWER, TROUBLE, Worker, Workers
from entrepot.simulation.workers_timed_run import DoorThere

STEPS = 250
AWAY_S = 15.0  # longer than until any will is due, whose owner has just started


class WorkersSessionsRun(SessionsRun):
    """One seed's run."""

    def __init__(self, seed: int, seams: Seams | None = None) -> None:
        super().__init__(seed, seams)
        self.workers = Workers.under(self, seams, on_kill=self._killed)
        self.workers.skew_ms, self.workers.drift = 0, 0.0  # delays of wills are counted by one clock here
        self.trouble = self.chance.choice(TROUBLE)
        self.awaited = 0  # wills of clients that stayed away

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
        self.stay_away()
        self.drain()
        self.conclude()
        return self.loop.digest()

    def stay_away(self) -> None:
        """See above. What was asked for on a connection before it was lost may still come, and be the end of a will; of that nothing is said."""
        for client in self.clients:
            if client.connection is not None and self.chance.random() < 0.3:
                client.connection.lose()
        self.workers.kill(self.chance.choice(self.workers.all), power=self.chance.random() < POWER)
        away = [client for client in self.clients if client.connection is None and client.last_opening_is_known]
        self.loop.run_for(AWAY_S)
        self.workers.settle()
        for client in away:
            will = client.last_will
            if will is not None and will.is_armed and will.left_s >= 0:
                self.awaited += 1
                will.expected = 1

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
