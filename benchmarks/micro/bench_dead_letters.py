"""Dead letters: what a record costs the broker from its rejection, drop or last receive until it is settled here and durable there.

python benchmarks/micro/bench_dead_letters.py [one] [run] [maxlen] [redrive] [apart] [--count N] [--rounds N]

one       rejected one by one
run       rejected a hundred at a time
maxlen    dropped from the head of a queue over its length
redrive   received too often from a queue with timed leases
apart     as `run`, while the target is in a shard that is not open, and then opens: by intents

CPU time, the least of the rounds, over a simulated loop and disk: the same work in every run, so that two versions can be compared; `valgrind
--tool=cachegrind --cache-sim=no` counts its instructions. The simulated disk's own cost is in it.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from entrepot.broker.broker import Broker
from entrepot.broker.calls import requests
from entrepot.broker.calls.lease_calls import make_receive, make_send
from entrepot.broker.calls.port import DONE, PENDING, REJECT, Attachment, Call, Delivery, Sink, make_ask, make_publish, make_settle
from entrepot.broker.calls.queue_requests import CreateTimedQueue, TimedPolicy
from entrepot.broker.catalogue.decisions import Decisions
from entrepot.broker.catalogue.stream import CatalogueStream
from entrepot.broker.front.parting import make_address
from entrepot.broker.state_kinds import default_folds
from entrepot.model.principal import Principal
from entrepot.protocols.amqp091 import rewriting
from entrepot.protocols.amqp091.records import AmqpEntryCodec
from entrepot.simulation.crashing_run import Everyone
from entrepot.simulation.disk import SimulatedDisk
from entrepot.simulation.loop import SimulatedClock, SimulatedEntropy, SimulatedLoop
from entrepot.store.local.opening import open_store
from entrepot.store.local.settings import StoreSettings
from entrepot.store.volatile import VolatileStore

NAMESPACE = "public/default"
DEAD = "grave"
RUN = 100
RECORD = rewriting.Parts({}, None, b"x" * 100).packed()


class _Client(Sink):
    def __init__(self) -> None:
        self.held: list[tuple[int, int, int]] = []

    def completed(self, call: Call) -> None:
        pass

    def throttle(self, blocked: bool, reason: str) -> None:
        pass

    def deliver(self, delivery: Delivery) -> int:
        self.held.append((delivery.consumer_id, delivery.offset, delivery.count))
        return -1


class Bench:
    def __init__(self) -> None:
        loop: Any = SimulatedLoop(1)
        self.loop = loop
        clock, entropy = SimulatedClock(loop), SimulatedEntropy(loop)
        fold = default_folds().fold
        disk: Any = SimulatedDisk(loop)
        store = open_store(disk, scheduler=loop, clock=clock, entropy=entropy, fold=fold, settings=StoreSettings(journal_file_size=64 << 20))
        decisions = Decisions.over(CatalogueStream(store), lambda: entropy.octets(16))
        self.broker = Broker(
            scheduler=loop,
            clock=clock,
            entropy=entropy,
            store=store,
            volatile=VolatileStore(loop, store.time, fold),
            decisions=decisions,
            authorizer=Everyone(),
            on_failed=_failed,
        )
        self.codec = AmqpEntryCodec()
        self.broker.register(self.codec)
        self.broker.open()
        self.client = _Client()
        self.door: Attachment = self.broker.attach(self.client, Principal("bench"), NAMESPACE)

    def ask(self, request: Any) -> None:
        call = make_ask(0, request)
        self.door.submit(call)
        self.loop.run_until(lambda: call.outcome != PENDING)
        assert call.outcome == DONE, call.error

    def declare(self, name: str, **arguments: Any) -> None:
        self.ask(requests.DeclareQueue(name, False, True, False, False, {f"x-{key.replace('_', '-')}": value for key, value in arguments.items()}))

    def publish(self, count: int) -> None:
        for _ in range(count // RUN):
            self.door.submit(make_publish(1, make_address("", "q"), self.codec.tag, self.codec.version, 0, RECORD * RUN, RUN, 100 * RUN))

    def dead(self) -> int:
        depth: int = self.broker.catalogue.namespace(NAMESPACE).queues[DEAD].runtime.depth()
        return depth

    def until_dead(self, count: int) -> float:
        """CPU seconds until so many have arrived and are settled."""
        begun = time.process_time()
        self.loop.run_for(30)
        spent = time.process_time() - begun
        assert self.dead() == count, self.dead()
        return spent

    # ---- cases

    def one(self, count: int) -> float:
        self._hold(count)
        for consumer_id, first, held in self.client.held:
            for offset in range(first, first + held):
                self.door.submit(make_settle(1, consumer_id, offset, 1, REJECT))
        return self.until_dead(count)

    def run(self, count: int) -> float:
        self._hold(count)
        self._reject()
        return self.until_dead(count)

    def maxlen(self, count: int) -> float:
        self.declare(DEAD)
        self.declare("q", dead_letter_exchange="", dead_letter_routing_key=DEAD, max_length=0)
        self.publish(count)
        return self.until_dead(count)

    def redrive(self, count: int) -> float:
        self.ask(CreateTimedQueue(DEAD, TimedPolicy(), frozenset(), {}, {}))
        self.ask(CreateTimedQueue("q", TimedPolicy(visibility_ms=1000, dead_letter_queue=DEAD, receive_max=1), frozenset(), {}, {}))
        for _ in range(count // 10):
            self.door.submit(make_send(1, "q", self.codec.tag, self.codec.version, 0, RECORD * 10, 10, [100] * 10, [b"\0" * 16] * 10))
        self.loop.run_for(1)
        for _ in range(count // 10):
            self.door.submit(make_receive(1, "q", self.codec.tag, 10, -1, 0))
        self.loop.run_for(2)
        self.door.submit(make_receive(1, "q", self.codec.tag, 10, -1, 0))
        return self.until_dead(count)

    def apart(self, count: int) -> float:
        self._hold(count)
        broker = self.broker
        shard = broker.shards.shard("queue", NAMESPACE, DEAD)
        broker.shard_moves.close(shard, lambda: None)
        self.loop.run_for(1)
        begun = time.process_time()
        self._reject()
        self.loop.run_for(1)
        broker.shard_moves.open(shard, 0, lambda: None)
        return time.process_time() - begun + self.until_dead(count)

    def _hold(self, count: int) -> None:
        self.declare(DEAD)
        self.declare("q", dead_letter_exchange="", dead_letter_routing_key=DEAD)
        self.ask(requests.Consume("q", "c"))
        self.publish(count)
        self.loop.run_for(1)
        assert sum(held for _, _, held in self.client.held) == count

    def _reject(self) -> None:
        for consumer_id, first, held in self.client.held:
            for start in range(0, held, RUN):
                self.door.submit(make_settle(1, consumer_id, first + start, min(RUN, held - start), REJECT))


def _failed(error: BaseException) -> None:
    raise error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=["one", "run", "maxlen", "redrive", "apart"])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    for case in options.cases:
        spent = min(getattr(Bench(), case)(options.count) for _ in range(options.rounds))
        print(json.dumps({"case": case, "ns_per_record": round(spent * 1e9 / options.count)}), flush=True)


if __name__ == "__main__":
    main()
