"""WorkersRun: three workers as one broker, AMQP's clients at each of them, and a nemesis: workers that are killed and start again, that stand still, links
that break. What must hold is what BrokerRun says, wherever a client is connected, and at the end all of it comes to rest and is delivered.
"""

from __future__ import annotations

from typing import Any, cast

from entrepot.cluster.owners.crossing import RETURN_S
from entrepot.net.network import Network
from entrepot.protocols.amqp091.handshake import Settings
from entrepot.protocols.amqp091.listener import AmqpListener
from entrepot.simulation.amqp_client import AmqpClient
from entrepot.simulation.broker_run import CONSUMERS, DEAD, PUBLISHERS, QUEUES, BrokerRun, Consumer, _Publisher
from entrepot.simulation.crashing_run import NETWORK_LIMITS
from entrepot.simulation.store_model import Violation
from entrepot.simulation.store_run import Seams
from entrepot.simulation.workers import COUNT, TROUBLE, Worker, Workers

STEPS = 400
FRESH_MAX = 20  # queues that are declared amid it all


class WorkersRun(BrokerRun):
    """One seed's run."""

    def __init__(self, seed: int, seams: Seams | None = None) -> None:
        super().__init__(seed, seams)
        self.workers = Workers.under(self, seams, on_open=self._listen, on_kill=self._killed)
        self.network = self.workers.network
        self.trouble = self.chance.choice(TROUBLE)
        self._sessions: dict[str, Network] = {}
        self.only: Worker | None = None  # where clients go now; None: anywhere
        self.fresh: list[_Fresh] = []
        self.fresh_count = 0  # of those that were declared, and written to by others

    @property
    def is_troubled(self) -> bool:
        """See CrashingRun."""
        return self.trouble > 0

    def run(self) -> str:
        """See CrashingRun."""
        self.workers.start()
        self._make_queues()
        for _ in range(STEPS):
            self.act()
            self.workers.trouble(self.trouble)
        self.workers.settle()
        self.drain()
        self.conclude()
        return self.loop.digest()

    def run_past_a_lease(self) -> None:
        """Instead: a worker stands still, and what is published to it meanwhile is for a queue that was declared elsewhere meanwhile. Raises Violation."""
        stopped = self.workers.all[1]
        self._declare_past(stopped, stopped, 0)

    def run_past_an_owners_lease(self) -> None:
        """Instead: the owner of a queue stands still while that is declared, and published to at a third worker. Raises Violation."""
        _, stopped, third = self.workers.all
        number = next(number for number in range(100) if Workers.shard("queue", "public/default", f"fresh-{number}") % COUNT == stopped.number)
        self._declare_past(stopped, third, number)
        if not any(body.startswith(b"fresh") for body in self.must_arrive):
            raise Violation("what was published to a queue that was declared before is refused")

    def _declare_past(self, stopped: Worker, publishing: Worker, number: int) -> None:
        """`fresh-number` is declared where that is decided while a worker stands still, and then published to."""
        self.workers.start()
        self._make_queues()
        self.only = publishing
        publisher = _Publisher(self, "orders")
        self.loop.run_until(lambda: publisher.client.ready, 60)
        self.publishers = [publisher]
        publisher.client.publish(b"goes nowhere", f"fresh-{number}")  # where that leads is known from now on
        self.loop.run_for(0.1)
        stopped.stop()
        self.only = self.workers.all[0]
        self.fresh = [_Fresh(self, number)]
        self.loop.run_until(lambda: self.fresh[0].client.ready, 60)
        self.fresh[0].step()
        self.loop.run_for(0.1)
        stopped.go_on()
        self.only = None
        self.workers.settle()
        self.drain()
        self.conclude()

    def run_past_the_wait(self) -> None:
        """Instead: a worker is away for so long that it is given up, and comes back; those who published to it before, and do again, are connected elsewhere.

        Raises Violation.
        """
        self.workers.start()
        self._make_queues()
        here, *others = self.workers.all
        self.only = here
        self.publishers = [_Publisher(self, queue) for queue in QUEUES]
        self.loop.run_until(lambda: all(publisher.client.ready for publisher in self.publishers), 60)
        self._publish(10)
        for other in others:
            self.workers.kill(other, power=False, down_s=self.chance.choice((RETURN_S - 0.1, RETURN_S + 1.0)))
        self.loop.run_for(RETURN_S + 5.0)
        self.workers.settle()
        self.publishers = [publisher if publisher.client.ready else _Publisher(self, queue) for publisher, queue in zip(self.publishers, QUEUES, strict=True)]
        self.loop.run_until(lambda: all(publisher.client.ready for publisher in self.publishers), 60)
        self._publish(10)
        self.only = None
        self.drain()
        self.conclude()
        assert self.confirms >= 10 * len(self.publishers)

    def _publish(self, count: int) -> None:
        """One by one: as many frames."""
        for _ in range(count):
            for publisher in self.publishers:
                publisher.publish(1)
            self.loop.run_for(0.1)

    def _make_queues(self) -> None:
        """They are there before anything dies."""
        self.consumers = [Consumer(self, queue, 100) for queue in (*QUEUES, DEAD)]
        self.loop.run_until(lambda: all(consumer.client.ready for consumer in self.consumers), 60)
        for consumer in self.consumers[1:]:
            consumer.client.transport.abort()
        del self.consumers[1:]

    # ---- its workers

    def _listen(self, worker: Worker) -> None:
        """Clients may come to it."""
        loop = cast("Any", worker.process)
        network = Network(loop, worker.clock, NETWORK_LIMITS)
        listener = AmqpListener(network, worker.name, 5672, port=worker.broker, authenticator=self.everyone, settings=Settings())
        self._sessions[worker.name] = network
        self.network.listen(f"{worker.name}.amqp", listener._accept, worker.process)  # noqa: SLF001 - what create_server() is given

    def _killed(self, worker: Worker) -> None:
        """What its clients say from now on nobody hears, and they do not know that yet."""
        for consumer in {*self.consumers, *self.accepted_by.values()}:
            if consumer.client.served_by == worker.name:
                consumer.client.is_cut_off = True

    def connect(self, client: AmqpClient) -> None:
        """See BrokerRun: to one of those that are there."""
        there = [worker for worker in self.workers.open_ones() if self.only is None or worker is self.only]
        if there:
            client.served_by = self.chance.choice(there).name
            self.network.connect(f"{client.served_by}.amqp", client)
        else:
            client.lost = True

    def act(self) -> None:
        """See CrashingRun."""
        self.publishers = [publisher for publisher in self.publishers if not publisher.client.lost]
        self.consumers = [consumer for consumer in self.consumers if not consumer.client.lost]
        chance = self.chance
        what = chance.random()
        if len(self.publishers) < PUBLISHERS:
            self.publishers.append(_Publisher(self, chance.choice(list(QUEUES))))
        elif len(self.consumers) < CONSUMERS:
            self.consumers.append(Consumer(self, chance.choice(list(QUEUES)), chance.choice((1, 5, 100))))
        elif what < 0.06 and len(self.fresh) < FRESH_MAX:
            self.fresh.append(_Fresh(self, len(self.fresh)))
        elif what < 0.6:
            chance.choice(self.publishers).publish(chance.choice((1, 1, 5, 40)))
        elif what < 0.97:
            chance.choice(self.consumers).settle()
        elif what < 0.98:
            self.publishers.pop(chance.randrange(len(self.publishers))).client.transport.abort()
        else:
            self.consumers.pop(chance.randrange(len(self.consumers))).client.transport.abort()
        self.loop.run_for(chance.choice((1e-5, 1e-3, 1e-2)))
        for one in self.fresh:
            one.step()
        self.check()

    def check(self) -> None:
        """See BrokerRun."""
        self.workers.check()
        if any(network.session_failures for network in self._sessions.values()):
            raise Violation("a session failed by its own fault")

    def drain(self) -> None:
        """See BrokerRun."""
        consumers = [consumer for consumer in self.consumers if not consumer.client.lost] + [
            Consumer(self, queue, 50) for queue in (*QUEUES, DEAD, *(one.queue for one in self.fresh))
        ]
        quiet_since = self.loop.time()
        while self.loop.time() - quiet_since < 5:
            before = self.deliveries
            for consumer in consumers:
                consumer.accept_all()
            self.loop.run_for(0.05)
            self.check()
            if self.deliveries > before:
                quiet_since = self.loop.time()

    def conclude(self) -> None:
        """See BrokerRun."""
        for worker in self.workers.all:
            assert worker.broker is not None
            for log in worker.broker.store.logs():
                queue: Any = log.owner
                if queue is not None and not log.volatile and hasattr(queue, "subscription") and queue.subscription.leased_count:
                    raise Violation(f"{queue.subscription.leased_count} records of {queue.name} are held, though all were accepted")
        lost = self.must_arrive - self.accepted
        if lost:
            raise Violation(f"{len(lost)} messages are lost, such as {min(lost)[:40]!r}")


class _Fresh:
    """A queue that somebody declares; once that is answered, whoever publishes to it, wherever, reaches it."""

    def __init__(self, run: WorkersRun, number: int) -> None:
        self.run = run
        self.queue = f"fresh-{number}"
        self.is_done = False
        self.client = AmqpClient(self.queue)
        run.connect(self.client)

    def step(self) -> None:
        run = self.run
        publishers = [publisher for publisher in run.publishers if publisher.client.ready and not publisher.client.lost]
        if self.is_done or not self.client.ready or not publishers:
            return
        self.is_done = True
        publisher = run.chance.choice(publishers)
        body = b"%s-%s:%06d:" % (self.queue.encode(), publisher.name, 1)
        run.published.add(body)
        run.fresh_count += 1
        publisher.bodies[publisher.client.publish(body, self.queue)] = body
