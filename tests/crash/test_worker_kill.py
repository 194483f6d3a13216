"""SIGKILL of single workers under load of pika, confluent-kafka and boto3: nothing acknowledged is lost, order is kept, leases and groups hold.

Clients that are connected to another worker than the one that dies wait, and see nothing else; boto3, which asks again where its connection is lost, never
gives anything up, unless the whole broker is gone. ENTREPOT_KILLS sets how often one is killed; `-m long` does it 50 times, and at times two at once, stops
them for a while, or kills the whole broker.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash_boto3 import Boto3
from crash_kafka import KafkaSide
from crash_pika import PikaSide
from crash_sqs import SqsSide
from crash_workers import Workers
from test_kill import KILLS_LONG, SETTINGS

from entrepot.testing.broker import Broker

KILLS = int(os.environ.get("ENTREPOT_KILLS", "2"))
LISTENERS = ("amqp", "kafka", "sqs", "http")
STEADY_S = 11.0  # a worker that was ready for so long is started again at once (cluster/workers/restarts.py)


def free_port() -> int:
    """Of twenty. Below those that the system gives clients: one that tries again and again while nobody listens would come to be at the very port itself."""
    dice = random.Random(os.getpid())
    while True:
        first = dice.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for port in range(first, first + 20):
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
            return first


@pytest.fixture
def moves() -> int:
    """How often a connection moves to the worker whose queue it uses. What crosses from worker to worker is tested where none does."""
    return 0


@pytest.fixture
def broker(tmp_path: Path, moves: int) -> Iterator[Broker]:
    first = free_port()
    ports = {"kafka": first, "amqp": first + 10, "sqs": first + 11, "http": first + 12}
    settings = {**SETTINGS, "limits.connection_moves": moves}
    with Broker(tmp_path / "data", settings=settings, listeners=LISTENERS, ports=ports, workers=3) as broker:
        yield broker


class Run:
    """A broker of several workers with all that is connected to it."""

    def __init__(self, broker: Broker, *, moving: bool = False) -> None:
        Boto3.given_up.clear()
        Boto3.waits.clear()
        self.workers = Workers(broker)
        self.pauses: list[tuple[float, float, float, float]] = []  # until it was there again; the longest of pika, Kafka and boto3
        self.kafka = KafkaSide(f"127.0.0.1:{broker.port('kafka')}", producers=2)
        self.sqs = SqsSide(broker.sqs_url, fifo=True, senders=1, consumers=2, raw=Boto3)
        self.pika = PikaSide(self.workers, moving=moving)
        self.pika.wait(50)

    @contextlib.contextmanager
    def dying(self, *numbers: int) -> Iterator[None]:
        """These may die: who is connected to them may lose that."""
        begun = time.monotonic()
        self.pika.dying, self.pika.last_trouble_s = frozenset(numbers), begun
        try:
            yield
        finally:
            self.pika.check()
            self.pika.dying = frozenset()
            pika = [waited for at, waited, worker, _ in self.pika.waits.found if at >= begun and worker not in numbers]
            boto3 = [waited for at, waited, _ in Boto3.waits if at >= begun]
            self.pauses.append((time.monotonic() - begun, max(pika, default=0.0), self.kafka.longest_wait_since(begun), max(boto3, default=0.0)))

    def kill(self, *numbers: int) -> None:
        """These, and wait until they are there again, and all goes on."""
        with self.dying(*numbers):
            before = self.workers.pids
            self.workers.kill(*numbers)
            self.workers.wait_for_others_than(before, *numbers)
            self.pika.wait(20)
            self.kafka.wait(20)
            self.sqs.wait(1)

    def stand_still(self, number: int, seconds: float) -> None:
        """A worker, for so long; nobody loses anything."""
        with self.dying():
            self.workers.signal(number, signal.SIGSTOP)
            time.sleep(seconds)
            self.workers.signal(number, signal.SIGCONT)
            self.pika.wait(20)
            self.kafka.wait(20)

    def kill_all(self, broker: Broker) -> None:
        """The parent, with which its workers end; and start it again."""
        with self.dying(*range(self.workers.count)):
            broker.kill()
            broker.start()
            self.workers.renew()
            self.pika.wait(20)
            self.kafka.wait(20)
            self.sqs.wait(1)

    def end(self) -> None:
        """Stop all of it, and check."""
        for side in (self.pika, self.kafka, self.sqs):
            side.stop()
        print(*(" ".join(f"{pause:.3f}" for pause in pauses) for pauses in self.pauses), sep="\n")

    def stop_clients(self) -> None:
        """After a failure."""
        for client in (*self.pika.clients, *self.sqs.senders, *self.sqs.consumers, *self.kafka.producers, self.kafka.committer):
            client.ended.set()
        for client in self.pika.clients:
            client.join()


@pytest.fixture
def run(broker: Broker, moves: int) -> Iterator[Run]:
    run = Run(broker, moving=moves > 0)
    try:
        yield run
    finally:
        run.stop_clients()


def test_who_is_connected_elsewhere_only_waits(run: Run) -> None:
    order = random.Random(1).sample(range(3), 3)
    for number in (0, *[one for one in order if one][: KILLS - 1]):
        run.kill(number)
    run.end()
    assert Boto3.given_up == []


@pytest.mark.parametrize("moves", [3])
def test_connections_that_moved(run: Run, broker: Broker) -> None:
    assert moved(broker) >= len(run.pika.consuming) // 2
    run.kill(2)
    run.kill(1)
    run.end()


def moved(broker: Broker) -> float:
    """Connections that went to another worker."""
    with urllib.request.urlopen(broker.http_url + "/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return float(next(line for line in lines if line.startswith("entrepot_connections_moved_total")).split()[-1])


@pytest.mark.long
@pytest.mark.parametrize("moves", [0, 3])
def test_fifty_kills_of_workers(run: Run) -> None:
    dice = random.Random(2)
    ready_s = [time.monotonic() - STEADY_S] * 3
    for count in range(KILLS_LONG):
        numbers = dice.sample(range(3), 2) if count % 10 == 9 else [dice.randrange(3)]
        while any(time.monotonic() - ready_s[number] < STEADY_S for number in numbers):
            run.pika.wait(10)
        run.kill(*numbers)
        for number in numbers:
            ready_s[number] = time.monotonic()
        print(count, numbers, *(f"{pause:.3f}" for pause in run.pauses[-1]), flush=True)
    run.end()
    assert Boto3.given_up == []


@pytest.mark.long
def test_workers_that_stand_still(run: Run) -> None:
    for seconds in (1.0, 4.0):
        for number in range(3):
            run.stand_still(number, seconds)
    assert not any(client.lost for client in run.pika.clients)
    run.kill(1)
    run.end()
    assert Boto3.given_up == []


@pytest.mark.long
def test_the_parent_is_killed(run: Run, broker: Broker) -> None:
    for _ in range(2):
        run.kill_all(broker)
        run.kill(1)
    run.end()
