"""WorkersTimedRun: queues with timed leases over three workers: TimedRun's clients at each of them, and Workers' nemesis."""

from __future__ import annotations

from typing import Any

from entrepot.broker.calls.port import Attachment, Call
from entrepot.model.principal import Principal
from entrepot.simulation.process import SimulatedProcess
from entrepot.simulation.store_run import Seams
from entrepot.simulation.timed_run import NAMESPACE, TimedRun
from entrepot.simulation.workers import COUNT, TROUBLE, Worker, Workers

STEPS = 300


class DoorThere(Attachment):
    """A door of a worker: what is submitted arrives there when it runs."""

    def __init__(self, process: SimulatedProcess, door: Any) -> None:
        self.process = process
        self.door = door

    def submit(self, call: Call) -> None:
        """See Attachment."""
        self.process.arrive(self.door.submit, call)

    def wait_for_catalogue(self) -> None:
        """See Attachment."""
        self.process.arrive(self.door.wait_for_catalogue)

    def close(self) -> None:
        """See Attachment."""
        self.process.arrive(self.door.close)


class WorkersTimedRun(TimedRun):
    """One seed's run."""

    def __init__(self, seed: int, seams: Seams | None = None) -> None:
        super().__init__(seed, seams)
        self.workers = Workers.under(self, seams, on_kill=self._killed)
        self.workers.skew_ms, self.workers.drift = 0, 0.0  # what clients are told is counted by one clock here
        self.trouble = self.chance.choice(TROUBLE)
        self.stale_count = 0

    @property
    def is_troubled(self) -> bool:
        """See CrashingRun."""
        return self.trouble > 0

    def run(self) -> str:
        """See CrashingRun."""
        self.workers.start()
        self.make_queues()
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

    def attach(self, client: Any) -> Attachment:
        """See TimedRun: at one of those that are there."""
        worker = self.chance.choice(self.workers.open_ones())
        assert worker.broker is not None
        return DoorThere(worker.process, worker.broker.attach(client, Principal("me"), NAMESPACE))

    def queue_of(self, name: str) -> Any:
        """See TimedRun: where its shard is."""
        worker = self.workers.all[self.workers.shard("queue", NAMESPACE, name) % COUNT]
        return None if worker.broker is None else worker.broker.catalogue.namespace(NAMESPACE).queues[name].runtime

    def is_gone(self, message: Any) -> bool:
        """See TimedRun; of a worker that is dead, or not open, nothing is known."""
        queue = self.queue_of(message.queue)
        return not hasattr(queue, "subscription") or bool(queue.subscription.is_settled(message.offset))

    def _killed(self, worker: Worker) -> None:
        """Its clients are gone; what they asked for may have been done."""
        for client in list(self.clients):
            if client.door.process is worker.process:  # type: ignore[attr-defined]
                self.clients.remove(client)

    def received(self, queue: str, body: bytes, deliveries: int, until_ms: int, lease: tuple[bytes, int, bytes], batch: set[bytes], again: bool) -> None:
        """See TimedRun. An answer that was on its way for longer than its lease holds nothing any more."""
        message = self.messages.get(body)
        if until_ms <= self.now_ms() and message is not None and message.lease is not None:
            is_past = message.settled or message.held_until_ms > self.now_ms() or deliveries <= message.deliveries or (message.dead and queue == message.queue)
            if is_past:
                self.stale_count += 1
                return
        super().received(queue, body, deliveries, until_ms, lease, batch, again)
