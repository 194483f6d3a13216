"""SIGKILL under load, again and again on one data directory: what was confirmed is there, in order, once, and what was settled stays settled.

Journal files are small, so that sorting into segments, reuse and checkpoints go on all the time. ENTREPOT_KILLS sets how often the
broker is killed; `-m long` does it 50 times.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
from functools import partial
from pathlib import Path

import pytest
from crash_ledger import QueueLedger, Sent, StreamLedger
from crash_peers import FENCE, Consumer, Peer, Publisher, StreamReader, Transactor, connect, drive

from entrepot.broker.catalogue.shards import SHARD_COUNT_DEFAULT, Shards
from entrepot.testing.broker import Broker, BrokerFailed

KILLS = int(os.environ.get("ENTREPOT_KILLS", "6"))
KILLS_LONG = int(os.environ.get("ENTREPOT_KILLS", "50"))
SETTINGS = {"journal.file_size_bytes": 1 << 20, "journal.unsorted_bytes": 1 << 24, "cache.size_bytes": 1 << 20, "journal.files_ready": 1}
EXCHANGE = "fan"
FENCES = "fences"


class Run:
    """A broker, its peers and what they know, over many kills."""

    def __init__(self, broker: Broker, seed: int) -> None:
        self.broker = broker
        self.random = random.Random(seed)
        self.sent = Sent()
        self.life = 0
        self.peers: list[Peer] = []
        self.publishers: list[Publisher] = []
        queue = QueueLedger
        self.plain = queue("plain", self.sent, (1, 2))
        self.shared = queue("shared", self.sent, (3,), ordered=False)
        self.stream = StreamLedger("stream", self.sent, (4, 5))
        self.copies = [queue("copy-1", self.sent, (4, 5)), queue("copy-2", self.sent, (4, 5)), self.stream]
        self.refused = queue("refused", self.sent, (6,))
        self.dead = queue("dead", self.sent, (6,))
        self.every = [queue(name, self.sent, (7,)) for name in Transactor.ROUTING_KEYS]
        self.transactors: dict[tuple[int, int], Transactor] = {}
        self.ledgers = [self.plain, self.shared, *self.copies, self.refused, self.dead, *self.every]

    def declare(self) -> None:
        """Everything, or the same again."""
        session = connect(self.broker.amqp_url)
        for name in ("plain", "shared", "copy-1", "copy-2", "dead", *Transactor.ROUTING_KEYS):
            session.declare_queue(name, durable=True)
        session.declare_queue("refused", durable=True, arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"})
        session.declare_queue("stream", durable=True, arguments={"x-queue-type": "stream"})
        session.declare_queue(FENCE, durable=True, arguments={"x-max-length": 1})
        session.declare_exchange(EXCHANGE, "fanout", durable=True)
        if self.broker.workers > 1:
            session.declare_exchange(FENCES, "fanout", durable=True)
            for number in range(8 * self.broker.workers):  # every worker has one; what another confirms says nothing of what was settled
                session.declare_queue(f"{FENCE}-{number}", durable=True, arguments={"x-max-length": 1})
                session.bind(f"{FENCE}-{number}", FENCES, "")
        for name in ("copy-1", "copy-2", "stream"):
            session.bind(name, EXCHANGE, "")
        session.close()

    def consume(self) -> None:
        """A consumer for every queue, and two for one; a reader for the stream."""
        url = self.broker.amqp_url
        consumer = partial(Consumer, fence=("", FENCE) if self.broker.workers == 1 else (FENCES, ""))
        self.peers = [consumer(connect(url), ledger) for ledger in (self.plain, self.copies[0], self.copies[1], self.dead, *self.every)]
        self.peers += [consumer(connect(url), self.shared, run=30, returns=True), consumer(connect(url), self.shared, run=7)]
        self.peers += [consumer(connect(url), self.refused, run=50, rejects=True), StreamReader(connect(url), self.stream)]

    def publish(self, budget: int = 1 << 31) -> None:
        """A publisher for each route, with a life of its own; `budget`: messages each."""
        self.peers = [peer for peer in self.peers if not isinstance(peer, Publisher)]
        self.life += 1
        routes = [("", "plain"), ("", "plain"), ("", "shared"), (EXCHANGE, ""), (EXCHANGE, ""), ("", "refused")]
        self.publishers = [
            Publisher(connect(self.broker.amqp_url), self.sent, number, self.life, exchange, key, self.random.choice([1, 50, 500]), budget)
            for number, (exchange, key) in enumerate(routes, 1)
        ]
        transactor = Transactor(connect(self.broker.amqp_url), self.sent, 7, self.life, "", "", self.random.choice([1, 50, 500]), budget)
        self.transactors[transactor.source] = transactor
        self.publishers.append(transactor)
        self.peers += self.publishers

    def crash(self, confirms: int) -> None:
        """Work until so many more are confirmed, then SIGKILL, and hear what it had still said."""
        wanted = self.sent.confirmed_count + confirms
        drive(self.peers, lambda: self.sent.confirmed_count >= wanted)
        self.broker.kill()
        drive(self.peers, lambda: False, may_end=True)
        for peer in self.peers:
            peer.socket.close()

    def start(self) -> None:
        """Start again; now and then it is killed while it recovers, too."""
        while self.random.random() < 0.3:
            killer = threading.Timer(self.random.uniform(0.1, 0.6), self._kill_now)
            killer.start()
            with contextlib.suppress(BrokerFailed):
                self.broker.start()
            killer.join()
            self.broker.kill()
        self.broker.start()

    def _kill_now(self) -> None:
        process = self.broker.process
        if process is not None:
            process.kill()

    def drain(self) -> None:
        """What every publisher sends last arrives, so all before it has; everything is settled for good; the stream holds from its first what it held."""
        self.publish(budget=50)
        drive(self.peers, lambda: all(publisher.done for publisher in self.publishers) and all(ledger.complete() for ledger in self.ledgers))
        consumers = [peer for peer in self.peers if isinstance(peer, Consumer)]
        for consumer in consumers:
            consumer.fence()
        drive(self.peers, lambda: all(consumer.is_settled for consumer in consumers))
        for ledger in self.ledgers:
            ledger.check_complete()
            if ledger is not self.stream:
                ledger.check_settled()
        self._check_one_commit()
        last, self.stream.next_offset = self.stream.next_offset, 0
        reader = StreamReader(connect(self.broker.amqp_url), self.stream)
        drive([*self.peers, reader], lambda: self.stream.next_offset == last)
        reader.socket.close()

    def _check_one_commit(self) -> None:
        """What goes to several queues of one worker is one commit, and a transaction's part at each; whoever commits waits for all of them."""
        for source in self.sent.sent:
            if source[0] in (4, 5):
                self._check_together(source, self.copies)
            elif source in self.transactors:
                self._check_together(source, self.every)
                transactor, counts = self.transactors[source], [ledger.count(source) for ledger in self.every]
                assert all(map(transactor.is_whole, counts)), f"part of a transaction: {source}: {counts}"
                assert max(counts) - min(counts) <= transactor.window, f"a transaction was begun before the one before was done: {source}: {counts}"

    def _check_together(self, source: tuple[int, int], ledgers: list[QueueLedger]) -> None:
        counts: dict[int, set[int]] = {}
        for ledger in ledgers:
            counts.setdefault(self._worker_of(ledger), set()).add(ledger.count(source))
        assert all(len(same) == 1 for same in counts.values()), f"what goes to several queues of a worker reached some only: {source}: by worker {counts}"

    def _worker_of(self, ledger: QueueLedger) -> int:
        kind = "topic" if ledger is self.stream else "queue"
        return Shards(SHARD_COUNT_DEFAULT).shard(kind, "public/default", ledger.name) % self.broker.workers


def kill_many_times(directory: Path, seed: int, kills: int) -> Run:
    """The whole run; the broker is stopped at its end."""
    broker = Broker(directory, settings=SETTINGS)
    try:
        run = Run(broker.start(), seed)
        run.declare()
        for _ in range(kills):
            run.consume()
            run.publish()
            run.crash(run.random.choice([1, 300, 3_000, 10_000]))
            run.start()
        run.declare()
        run.consume()
        run.drain()
        run.crash(0)
        broker.start()
        run.consume()
        run.drain()
        for peer in run.peers:
            peer.socket.close()
        broker.stop()
        assert any(path.name.startswith("segment-") for path in directory.rglob("*")), "nothing was sorted: the run shows little"
        return run
    finally:
        broker.close()


def test_nothing_confirmed_is_lost(tmp_path: Path) -> None:
    run = kill_many_times(tmp_path / "data", 1, KILLS)
    assert run.sent.confirmed_count > 0
    assert sum(ledger.redelivered for ledger in run.ledgers) > 0, "no crash left anything unsettled: the run shows nothing"


@pytest.mark.long
@pytest.mark.parametrize("seed", [2])
def test_nothing_confirmed_is_lost_over_fifty_kills(tmp_path: Path, seed: int) -> None:
    run = kill_many_times(tmp_path / "data", seed, KILLS_LONG)
    assert run.sent.confirmed_count > 100_000
