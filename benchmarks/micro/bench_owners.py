"""A front and an owner over a real link in one process: what a publish that is confirmed, and a delivery that is settled, cost both ends together.

python -m benchmarks.micro.bench_owners [--connections N] [--rounds N]

Processor time of a message, the least of many rounds, with the broker's own; behind it the frames that went over the link, by kind. Simulated loop and disk.
In each round all connections, each with a queue of its own, publish a run in one turn, get it, and settle it; `direct`: the same without a link.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections import Counter
from typing import Any

from benchmarks.micro.bench_partitions import Everyone

from entrepot.broker.broker import Broker
from entrepot.broker.calls import requests as r
from entrepot.broker.calls.port import ACCEPT, PENDING, Call, Delivery, Sink, make_ask, make_publish, make_settle
from entrepot.broker.catalogue.decisions import Decisions
from entrepot.broker.catalogue.stream import CatalogueStream
from entrepot.broker.front.owner_table import OwnerTable
from entrepot.broker.state_kinds import default_folds
from entrepot.cluster.owners import kinds
from entrepot.cluster.owners.crossing import Crossing
from entrepot.model.principal import Principal
from entrepot.protocols.amqp091.records import AmqpEntryCodec
from entrepot.simulation.disk import SimulatedDisk
from entrepot.simulation.linked_owners import LinkedOwnerTable
from entrepot.simulation.loop import SimulatedClock, SimulatedEntropy, SimulatedLoop
from entrepot.store.local.opening import open_store
from entrepot.store.local.settings import StoreSettings
from entrepot.store.shard_time import ShardTime
from entrepot.store.volatile import VolatileStore

CODEC = AmqpEntryCodec()
RECORD = (2).to_bytes(4, "big") + (100).to_bytes(4, "big") + b"\x00\x00" + bytes(100)
NAMES = {number: name for name, number in vars(kinds).items() if name.isupper() and name != "ANSWERS"}


class Bench:
    """A broker in memory."""

    def __init__(self, owners: type[OwnerTable]) -> None:
        self.loop = SimulatedLoop(1)
        clock, entropy, fold = SimulatedClock(self.loop), SimulatedEntropy(self.loop), default_folds().fold
        store = open_store(SimulatedDisk(self.loop), scheduler=self.loop, clock=clock, entropy=entropy, fold=fold, settings=StoreSettings())
        self.broker = Broker(
            scheduler=self.loop,
            clock=clock,
            entropy=entropy,
            store=store,
            volatile=VolatileStore(self.loop, ShardTime(clock), fold),
            decisions=Decisions.over(CatalogueStream(store), lambda: entropy.octets(16)),
            authorizer=Everyone(),
            on_failed=print,
            owners=owners,
        )
        self.broker.register(CODEC)
        self.broker.open()


class Connection(Sink):
    """With a queue of its own, of which it consumes."""

    def __init__(self, bench: Bench, name: str) -> None:
        self.bench = bench
        self.done = self.got = 0
        self.held: list[tuple[int, int, int]] = []
        self.door: Any = bench.broker.attach(self, Principal("me"), "public/default", CODEC.tag)
        self.address = bytes((0, len(name))) + name.encode()
        self.ask(r.DeclareQueue(name, False, True, False, False, {}))
        self.ask(r.Consume(name, "c"))

    def completed(self, call: Call) -> None:
        """See Sink."""
        self.done += 1

    def deliver(self, delivery: Delivery) -> int:
        """See Sink."""
        self.got += delivery.count
        self.held.append((delivery.consumer_id, delivery.offset, delivery.count))
        return len(delivery.data)

    def ask(self, request: Any) -> None:
        """Until it is answered."""
        call = make_ask(1, request)
        self.door.submit(call)
        self.bench.loop.run_until(lambda: call.outcome != PENDING, 60)

    def publish(self, run: int) -> None:
        """So many, with a confirm."""
        call = make_publish(1, self.address, CODEC.tag, 1, 0, RECORD * run, run, run * 100)
        call.confirm = True
        self.door.submit(call)

    def settle(self) -> None:
        """All that it has."""
        held, self.held = self.held, []
        for consumer_id, first, count in held:
            self.door.submit(make_settle(1, consumer_id, first, count, ACCEPT))


def measure(owners: type[OwnerTable], connections: int, run: int, rounds: int) -> tuple[float, float, Counter[str]]:
    """Microseconds of a publish and its delivery, and of a settlement, a message; frames of all rounds by kind."""
    bench = Bench(owners)
    clients = [Connection(bench, f"q{number}") for number in range(connections)]
    gc.collect()
    gc.disable()
    frames: Counter[str] = Counter()
    plain = Crossing.heed

    def heed(crossing: Crossing, found: list[bytes]) -> None:
        frames.update(NAMES[frame[0]] for frame in found)
        plain(crossing, found)

    if rounds == 1:
        Crossing.heed = heed  # type: ignore[method-assign]
    best = [1e9, 1e9]
    try:
        for _ in range(rounds):
            for client in clients:
                client.done = client.got = 0
            spent = []
            began = time.process_time_ns()
            for client in clients:
                client.publish(run)
            while any(client.got < run or not client.done for client in clients):
                bench.loop.step()
            spent.append(time.process_time_ns() - began)
            began = time.process_time_ns()
            for client in clients:
                client.settle()
            bench.loop.run_for(0.05)
            spent.append(time.process_time_ns() - began)
            best = [min(pair) for pair in zip(best, spent, strict=True)]
    finally:
        Crossing.heed = plain  # type: ignore[method-assign]
        gc.enable()
    messages = connections * run * 1000
    return best[0] / messages, best[1] / messages, frames


def main(connections: int, rounds: int) -> None:
    """Print the table."""
    for run in (10, 1):
        for what, owners in (("direct", OwnerTable), ("linked", LinkedOwnerTable)):
            published, settled, _ = measure(owners, connections, run, rounds)
            print(f"{connections} by {run:2} {what}  published and delivered {published:6.2f} us, settled {settled:6.2f} us", flush=True)
        *_, frames = measure(LinkedOwnerTable, connections, run, 1)
        print("   frames:", ", ".join(f"{name} {count}" for name, count in frames.most_common()), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--connections", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=100)
    main(**vars(parser.parse_args()))
