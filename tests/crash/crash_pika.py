"""pika's publishers, consumers and a declarer at each worker, over workers that die: what they saw, how long they waited, and what became of their connections.

A client that is connected to a worker that is killed connects again, wherever. To every other nothing may happen: no end of its connection or channel, no
cancel, no nack, no return. Each notes when it has asked for something and was answered, and for how long it waited.

Where connections move to the worker whose queue they use, which worker one was at when it was lost is not known: any that dies may have been it.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pika
import pika.exceptions
from crash_bodies import body_of
from crash_ledger import SETTLED, QueueLedger, Sent
from crash_workers import Workers
from pika.adapters.blocking_connection import BlockingChannel

QUEUES = tuple(f"pika-{number}" for number in range(6))
SILENCE_S = 60.0


@dataclass
class Waits:
    """(when it was answered, for how long it was waited for, at which worker, what): time.monotonic(), seconds."""

    found: list[tuple[float, float, int, str]] = field(default_factory=list)

    def note(self, begun: float, worker: int, what: str) -> None:
        now = time.monotonic()
        self.found.append((now, now - begun, worker, what))


class Client:
    """A thread with one connection at a time. `lost`: how often its connection ended because its worker did; `errors`: everything else that went wrong."""

    def __init__(self, side: PikaSide, worker: int) -> None:
        self.side = side
        self.worker = worker
        self.lost = 0
        self.errors: list[str] = []
        self.ended = threading.Event()
        self.channel: BlockingChannel | None = None
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self.ended.set()
        self._thread.join(SILENCE_S)
        assert not self._thread.is_alive(), f"a {type(self).__name__} at w{self.worker} hangs"

    def _run(self) -> None:
        first = True
        while not self.ended.is_set():
            try:
                connection = self.side.connection(self.worker if first else None)
            except (pika.exceptions.AMQPError, OSError) as error:
                if self.side.is_troubled():
                    continue
                self.errors.append(f"connect: {error!r}")
                return
            first = False
            worker = self.side.worker_of(connection)
            if worker is None:
                self._close(connection)
                continue
            self.worker = worker
            try:
                self.channel = connection.channel()
                self.work(self.channel)
                connection.close()
            except (pika.exceptions.AMQPError, OSError) as error:
                if not self.side.has_died(worker):
                    since_s = time.monotonic() - self.side.last_trouble_s
                    self.errors.append(f"{type(self).__name__} at w{worker}, {since_s:.3f} s after a kill, now {sorted(self.side.dying)}: {error!r}")
                    if len(self.errors) > 20:
                        return
                else:
                    self.lost += 1
            finally:
                self._close(connection)

    @staticmethod
    def _close(connection: pika.BlockingConnection) -> None:
        with contextlib.suppress(pika.exceptions.AMQPError, OSError):
            if connection.is_open:
                connection.close()

    def work(self, channel: BlockingChannel) -> None:
        """Until it is told to end."""
        raise NotImplementedError


class Publishing(Client):
    """One persistent message after the other to all queues in turn, each confirmed."""

    def __init__(self, side: PikaSide, worker: int, number: int) -> None:
        super().__init__(side, worker)
        self.number = number
        self.life = -1

    def work(self, channel: BlockingChannel) -> None:
        channel.confirm_delivery()
        self.life += 1
        sent = self.side.sent
        sources = [(self.number * len(QUEUES) + at, self.life) for at in range(len(QUEUES))]
        for source in sources:
            sent.sent[source] = sent.confirmed[source] = 0
        number = 0
        while not self.ended.is_set():
            for queue, source in zip(QUEUES, sources, strict=True):
                sent.sent[source] = number + 1
                begun = time.monotonic()
                channel.basic_publish("", queue, body_of(*source, number), pika.BasicProperties(delivery_mode=2), mandatory=True)
                sent.confirmed[source] = number + 1
                self.side.waits.note(begun, self.worker, f"publish to {queue}")
            number += 1
            self.ended.wait(0.002)


class Consuming(Client):
    """Of one queue."""

    def __init__(self, side: PikaSide, worker: int, ledger: QueueLedger) -> None:
        super().__init__(side, worker)
        self.ledger = ledger
        self.violation: AssertionError | None = None

    def work(self, channel: BlockingChannel) -> None:
        channel.basic_qos(prefetch_count=20)
        channel.add_on_cancel_callback(lambda _: self.errors.append(f"cancelled at w{self.worker}"))
        channel.basic_consume(self.ledger.name, self._delivered)
        while not self.ended.is_set() and self.violation is None:
            channel.connection.process_data_events(0.2)

    def _delivered(self, channel: BlockingChannel, method: object, _: object, body: bytes) -> None:
        try:
            message = self.ledger.delivered(body, method.redelivered)  # type: ignore[attr-defined]
        except AssertionError as error:
            self.violation = self.violation or error
            return
        channel.basic_ack(method.delivery_tag)  # type: ignore[attr-defined]
        self.ledger.settled([message], SETTLED)


class Declaring(Client):
    """Makes queues and exchanges, binds, publishes by that, gets, looks, and takes away again."""

    def __init__(self, side: PikaSide, worker: int) -> None:
        super().__init__(side, worker)
        self._number = worker
        self._made = 0
        self._dice = random.Random(worker)

    def work(self, channel: BlockingChannel) -> None:
        channel.confirm_delivery()
        while not self.ended.is_set():
            self._made += 1
            durable = self._dice.random() < 0.7
            for what, do in self._steps(channel, f"declared-{self._number}-{self._made}", durable):
                begun = time.monotonic()
                try:
                    do()
                except BaseException:
                    self.side.failed.append(f"{what} at w{self.worker} after {time.monotonic() - begun:.3f} s, durable: {durable}")
                    raise
                self.side.waits.note(begun, self.worker, what)
                if self.ended.wait(0.02):
                    break

    def _steps(self, channel: BlockingChannel, name: str, durable: bool) -> list[tuple[str, Callable[[], object]]]:
        """What is done with a queue and an exchange of that name."""
        properties = pika.BasicProperties(delivery_mode=2)
        return [
            ("declare a queue", lambda: channel.queue_declare(name, durable=durable, auto_delete=not durable)),
            ("declare an exchange", lambda: channel.exchange_declare(name, "topic", durable=durable)),
            ("bind", lambda: channel.queue_bind(name, name, "a.*")),
            ("look", lambda: channel.queue_declare(name, passive=True)),
            ("publish there", lambda: channel.basic_publish(name, "a.b", b"x", properties, mandatory=True)),
            ("get", lambda: self._get(channel, name)),
            ("unbind", lambda: channel.queue_unbind(name, name, "a.*")),
            ("delete the exchange", lambda: channel.exchange_delete(name)),
            ("delete the queue", lambda: channel.queue_delete(name)),
            ("have a name made up", lambda: channel.queue_declare("", exclusive=True)),
        ]

    def _get(self, channel: BlockingChannel, name: str) -> None:
        method, _, body = channel.basic_get(name, auto_ack=True)
        if method is None or body != b"x":
            self.errors.append(f"{name} was confirmed something, and has {body!r}")


class PikaSide:
    """All of them, at all workers."""

    def __init__(self, workers: Workers, *, moving: bool = False) -> None:
        self.workers = workers
        self.moving = moving
        self.sent = Sent()
        self.waits = Waits()
        self.failed: list[str] = []
        self.last_trouble_s = 0.0
        self.dying: frozenset[int] = frozenset()  # workers that are killed now
        self._parameters = pika.URLParameters(workers.broker.amqp_url + "/%2F?heartbeat=0&blocked_connection_timeout=60&socket_timeout=60&stack_timeout=60")
        connection = pika.BlockingConnection(self._parameters)
        channel = connection.channel()
        for name in QUEUES:
            channel.queue_declare(name, durable=True)
        connection.close()
        count = workers.count
        publishers = range(count)
        numbers = {name: [number * len(QUEUES) + at for number in publishers] for at, name in enumerate(QUEUES)}
        self.ledgers = [QueueLedger(name, self.sent, numbers[name]) for name in QUEUES]
        self.publishing = [Publishing(self, number, number) for number in publishers]
        self.consuming = [Consuming(self, at % count, ledger) for at, ledger in enumerate(self.ledgers)]
        self.declaring = [Declaring(self, number) for number in range(count)]
        self.clients: list[Client] = [*self.publishing, *self.consuming, *self.declaring]
        for client in self.clients:
            client.start()

    def connection(self, worker: int | None) -> pika.BlockingConnection:
        """With that worker, or any."""
        port = self.workers.broker.amqp_port
        if worker is None:
            return pika.BlockingConnection(self._parameters)
        return self.workers.connected(
            worker, lambda: pika.BlockingConnection(self._parameters), _port, port, lambda connection: connection.close() if connection.is_open else None
        )

    def worker_of(self, connection: pika.BlockingConnection) -> int | None:
        return self.workers.at(_port(connection), self.workers.broker.amqp_port)

    def is_troubled(self) -> bool:
        """Whether a worker is being killed, so that a connection may be refused or reset."""
        return bool(self.dying)

    def has_died(self, worker: int) -> bool:
        """Whether the worker of a connection that has ended was killed."""
        return worker in self.dying or (self.moving and bool(self.dying))

    def check(self) -> None:
        """Nothing has gone wrong so far."""
        errors = [error for client in self.clients for error in client.errors]
        assert not errors, "\n".join([*errors[:20], *self.failed[:20]])
        for one in self.consuming:
            if one.violation is not None:
                raise one.violation

    def wait(self, more: int) -> None:
        """Until so many more are confirmed."""
        wanted, give_up = self.sent.confirmed_count + more, time.monotonic() + SILENCE_S
        while self.sent.confirmed_count < wanted:
            assert time.monotonic() < give_up, f"{wanted - self.sent.confirmed_count} of {more} are not confirmed within {SILENCE_S} s"
            self.check()
            time.sleep(0.01)

    def stop(self) -> None:
        """What was confirmed is there, in order; what was settled is not."""
        for client in (*self.publishing, *self.declaring):
            client.join()
        give_up = time.monotonic() + SILENCE_S
        while not all(ledger.complete() for ledger in self.ledgers):
            if time.monotonic() > give_up:
                break
            self.check()
            time.sleep(0.05)
        for client in self.consuming:
            client.join()
        self.check()
        for ledger in self.ledgers:
            ledger.check_complete()
        assert sum(client.lost for client in self.clients) > 0, "no client was at a worker that died: the run shows nothing"


def _port(connection: pika.BlockingConnection) -> int:
    transport = connection._impl._transport
    port: int = 0 if transport is None else transport._sock.getsockname()[1]  # it is closed again
    return port
