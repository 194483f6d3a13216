"""What a front asks an owner in another process, by frame: both ends, their links, sessions and queues in one process, over a connection in memory.

PYTHONPATH=src python -m benchmarks.micro.bench_link [stage1] [stage10] [deliver1] [deliver10] [--count N] [--rounds N]

stage1, stage10      a confirmed publish of 1 or 10 messages of 100 B to a queue in memory, there, and its answer back
deliver1, deliver10  a delivery of 1 or 10 of them to a consumer, there, and its settlement back

Each frame in a read of its own, as with a client that waits. Microseconds of the processor, the least of all rounds; `--rounds 0` runs one of them without
looking at the clock, for callgrind (`--toggle-collect` is of no use with what is interpreted: take the difference of two counts).
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from typing import Any

from benchmarks.micro.bench_owners import Bench as BrokerBench

from entrepot.broker.calls.port import ACCEPT, DONE, Call, Delivery, Sink, make_ask, make_publish, make_settle
from entrepot.broker.calls.requests import Consume, DeclareQueue
from entrepot.model.principal import Principal
from entrepot.protocols.amqp091.records import AmqpEntryCodec
from entrepot.simulation.linked_owners import LinkedOwnerTable

CODEC = AmqpEntryCodec()
RECORD = (2).to_bytes(4, "big") + (100).to_bytes(4, "big") + bytes(2) + bytes(100)
ADDRESS = b"\0\1q"


class Client(Sink):
    """A connection of the front's."""

    def __init__(self) -> None:
        self.done = 0
        self.last: Call | None = None
        self.delivery: Delivery | None = None

    def completed(self, call: Call) -> None:
        """See Sink."""
        self.last = call
        self.done += 1

    def deliver(self, delivery: Delivery) -> int:
        """See Sink."""
        self.delivery = delivery
        return CODEC.skip(delivery.data, delivery.position, delivery.count)

    def throttle(self, blocked: bool, reason: str) -> None:
        """See Sink."""


class Bench(BrokerBench):
    """A front, its owners at the other end, and a client with a queue in memory."""

    def __init__(self) -> None:
        super().__init__(LinkedOwnerTable)
        self.client = Client()
        self.door = self.broker.attach(self.client, Principal("bench"), "public/default")
        self.ask(DeclareQueue("q", False, False, False, False, {}))

    def ask(self, request: Any) -> Any:
        """What is answered."""
        self.client.last, call = None, make_ask(1, request)
        self.door.submit(call)
        self.loop.run_until(lambda: self.client.last is call)
        assert call.outcome == DONE, call.error
        return call.result

    def publish(self, messages: int) -> None:
        """Until it is confirmed."""
        call = make_publish(1, ADDRESS, CODEC.tag, 1, 0, RECORD * messages, messages, 100 * messages)
        call.confirm = True
        self.door.submit(call)
        client = self.client
        while client.last is not call:
            self.loop.step()

    def deliver(self, messages: int) -> None:
        """What was published without being waited for comes and is settled; so far the owner has heard of it when the next one comes."""
        call = make_publish(1, ADDRESS, CODEC.tag, 1, 0, RECORD * messages, messages, 100 * messages)
        client = self.client
        client.delivery = None
        self.door.submit(call)
        while client.delivery is None:
            self.loop.step()
        delivery: Delivery = client.delivery
        self.door.submit(make_settle(1, delivery.consumer_id, delivery.offset, delivery.count, ACCEPT))


def measure(what: str) -> Callable[[], None]:
    """One of it."""
    bench = Bench()
    messages = 10 if what.endswith("10") else 1
    if what.startswith("deliver"):
        bench.ask(Consume("q", "c"))
        return lambda: bench.deliver(messages)
    return lambda: bench.publish(messages)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="*", default=["stage1", "stage10", "deliver1", "deliver10"])
    parser.add_argument("--count", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    for what in options.what:
        once = measure(what)
        for _ in range(options.count):
            once()
        gc.collect()
        gc.freeze()
        least = float("inf")
        for _ in range(options.rounds):
            began = time.process_time()
            for _ in range(options.count):
                once()
            least = min(least, time.process_time() - began)
        if options.rounds:
            print(f"{what:10} {least / options.count * 1e6:8.2f} us", flush=True)


if __name__ == "__main__":
    main()
