"""TransactedRun: as BrokerRun, with clients that move messages in transactions, and consumers that have all they hold delivered again.

What must hold besides: of a transaction that was said to be done all is there; of one that was said not to be done (405), nothing, and what it would have
accepted comes again. Where the connection ends before it is answered, it is as for any publish and acknowledgement. The answer to recover parts what was
given back, all that was delivered before it, from what the client holds.
"""

from __future__ import annotations

from collections import Counter

from entrepot.simulation.amqp_client import AmqpClient
from entrepot.simulation.broker_run import QUEUES, BrokerRun, Consumer
from entrepot.simulation.store_model import Violation
from entrepot.simulation.store_run import Seams

MOVERS = 2
RECOVERERS = 1
PREFETCH = 8
CERTAINLY_NOT = 405  # the channel is closed, try again


class TransactedRun(BrokerRun):
    """One seed's run."""

    def __init__(self, seed: int, seams: Seams | None = None) -> None:
        super().__init__(seed, seams)
        self.movers: list[_Mover] = []
        self.recoverers: list[_Recoverer] = []
        self.made: set[str] = set()
        self.moved: Counter[bytes] = Counter()  # by how many transactions that were done, or may have been
        # what came of it
        self.done = 0
        self.not_done = 0
        self.recovered_count = 0

    def start(self) -> None:
        """See BrokerRun."""
        self.movers = []
        self.recoverers = []
        super().start()

    def act(self) -> None:
        """See BrokerRun."""
        chance = self.chance
        what = chance.random()
        if len(self.movers) < MOVERS:
            self.movers.append(_Mover(self, chance.choice(list(QUEUES)), PREFETCH))
        elif len(self.recoverers) < RECOVERERS:
            self.recoverers.append(_Recoverer(self, chance.choice(list(QUEUES)), PREFETCH))
        elif what < 0.2:
            chance.choice(self.movers).move()
        elif what < 0.25:
            chance.choice(self.recoverers).step()
        elif what < 0.26:
            self.movers.pop(chance.randrange(MOVERS)).client.transport.abort()
        super().act()

    def known_queues(self) -> list[str]:
        """Queues that are there for certain: what is published to others has no target."""
        clients = [one.client for one in self.publishers]
        for consumers in (self.consumers, self.movers, self.recoverers):
            clients += [one.client for one in consumers]
        self.made |= {client.queue.decode() for client in clients if client.ready}
        return [queue for queue in QUEUES if queue in self.made]

    def drain(self) -> None:
        """See BrokerRun: what they hold is given back, and then accepted."""
        clients: list[Consumer] = [*self.movers, *self.recoverers]
        for one in clients:
            if not one.client.lost:
                one.client.transport.abort()
        super().drain()


class _Mover(Consumer):
    """Accepts some of what it holds, and publishes something in its place elsewhere: all or nothing."""

    run: TransactedRun
    loses = True

    def __init__(self, run: BrokerRun, queue: str, prefetch: int) -> None:
        super().__init__(run, queue, prefetch)
        run.serial += 1
        self.serial = run.serial
        self.sent = 0
        self.published: list[bytes] = []  # of the transaction that is to be done now
        self.accepting: list[bytes] = []
        self.is_waiting = False
        self.client.on_done = self.committed

    def make_client(self) -> AmqpClient:
        """See Consumer."""
        client = super().make_client()
        client.transacted = True
        return client

    def move(self) -> None:
        """One transaction, if none is under way."""
        client = self.client
        if self.is_waiting or not client.ready or client.lost:
            return
        chance = self.run.chance
        for tag in sorted(self.held)[: chance.choice((0, 1, 3))]:
            self.accepting.append(self.held.pop(tag))
            client.ack(tag)
        for _ in range(chance.choice((0, 1, 4))):
            self.sent += 1
            queue = chance.choice(self.run.known_queues())
            body = b"%s-%04dt:%06d:" % (queue.encode(), self.serial, self.sent) + b"." * chance.choice((0, 10, 2000))
            self.published.append(body)
            self.run.published.add(body)
            client.publish(body, queue)
        self.is_waiting = True
        self.run.accepted.update(self.accepting)  # perhaps
        self.run.moved.update(self.accepting)
        for body in self.accepting:
            self.run.accepted_by.pop(body, None)
        client.commit()

    def committed(self) -> None:
        """All of it is done."""
        self.run.done += 1
        self.run.must_arrive.update(self.published)
        self.run.settled.update(self.accepting)
        self._end()

    def closed(self) -> None:
        """See Consumer."""
        super().closed()
        if self.is_waiting and self.client.closed_with == CERTAINLY_NOT:
            self.run.not_done += 1
            self.run.void.update(self.published)
            self.run.moved.subtract(self.accepting)
            others = self.run.accepted_by  # who was given it since, as another mover may have been before this one heard that it was not done
            self.run.accepted.difference_update(body for body in self.accepting if body not in others and not self.run.moved[body])
        self._end()

    def _end(self) -> None:
        self.published = []
        self.accepting = []
        self.is_waiting = False


class _Recoverer(Consumer):
    """Accepts some, and from time to time has all that it holds delivered again."""

    run: TransactedRun
    loses = True

    def __init__(self, run: BrokerRun, queue: str, prefetch: int) -> None:
        super().__init__(run, queue, prefetch)
        self.is_waiting = False
        self.given_back: set[bytes] = set()  # what it held when it asked for all to be delivered again
        self.client.on_done = self.recovered

    def step(self) -> None:
        """One or the other."""
        if self.is_waiting or self.client.lost or not self.client.ready:
            return
        if self.run.chance.random() < 0.5:
            self.settle()
            return
        self.is_waiting = True
        self.given_back.update(self.held.values())
        self.held.clear()
        self.client.recover()

    def delivered(self, tag: int, redelivered: bool, body: bytes) -> None:
        """See Consumer. What comes before the answer is given back, too, and others may have had it since; what was given back comes after it."""
        if not self.is_waiting:
            super().delivered(tag, redelivered, body)
        elif body in self.given_back:
            raise Violation(f"{body[:40]!r} is delivered again before the client knows that what it held was given back")

    def recovered(self) -> None:
        """What comes from now on is its own."""
        self.is_waiting = False
        self.given_back.clear()
        self.run.recovered_count += 1

    def closed(self) -> None:
        """See Consumer."""
        super().closed()
        self.is_waiting = False
        self.given_back.clear()
