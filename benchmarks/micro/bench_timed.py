"""Send, Receive and EndLeases at the port: what a message costs the broker, over a real store, by the length of the queue.

python benchmarks/micro/bench_timed.py [send] [receive] [fifo] [backlog] [wait] [--directory DIR] [--count N] [--backlog N]

send      CPU of a message from submit() to completion, everything of the store's included: one a call from many callers at once, and ten a call
receive   CPU of a message that is received and settled, ten a call, and one
fifo      the same two in a queue that orders groups
backlog   receive, with so many messages behind; the memory of the process before and after
wait      memory of 10,000 waiting Receives, and CPU of serving one
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import resource
import shutil
import tempfile
import time
from typing import Any

import uvloop

from entrepot.broker.broker import Broker
from entrepot.broker.calls.lease_calls import EndLeases, Receive, Send, make_end_leases, make_receive, make_send
from entrepot.broker.calls.port import DONE, Attachment, Call, Sink, make_ask
from entrepot.broker.calls.queue_requests import CreateTimedQueue, TimedPolicy
from entrepot.broker.catalogue.decisions import Decisions
from entrepot.broker.catalogue.stream import CatalogueStream
from entrepot.broker.state_kinds import default_folds
from entrepot.clock import SystemClock
from entrepot.entropy import SystemEntropy
from entrepot.model.principal import Principal
from entrepot.protocols.amqp091 import rewriting
from entrepot.protocols.amqp091.records import AmqpEntryCodec
from entrepot.server import GC_THRESHOLDS
from entrepot.store.local.opening import open_store
from entrepot.store.local.settings import StoreSettings
from entrepot.store.volatile import VolatileStore

BODY = b"x" * 100
CALLERS = 50
RECEIVERS = 50


class _Everyone:
    version = 0

    def watch(self, *_: object) -> None:
        """Nothing changes."""

    def authorize(self, *_: object) -> None:
        pass

    def authorize_namespace(self, *_: object) -> None:
        pass

    def may(self, *_: object) -> bool:
        return True


class _Sink(Sink):
    def __init__(self) -> None:
        self.done: Any = None

    def completed(self, call: Call) -> None:
        self.done(call)

    def throttle(self, blocked: bool, reason: str) -> None:
        pass


def _failed(_: BaseException) -> None:
    os._exit(3)


def record(group: bytes = b"") -> bytes:
    headers = [(b"x-group-id", b"S" + len(group).to_bytes(4, "big") + group)] if group else None
    return rewriting.Parts({}, headers, BODY).packed()


class Bench:
    def __init__(self, directory: str, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        clock, entropy = SystemClock(), SystemEntropy()
        fold = default_folds().fold
        self.store = open_store(directory, scheduler=loop, clock=clock, entropy=entropy, fold=fold, settings=StoreSettings())
        decisions = Decisions.over(CatalogueStream(self.store), lambda: entropy.octets(16))
        self.broker = Broker(
            scheduler=loop,
            clock=clock,
            entropy=entropy,
            store=self.store,
            volatile=VolatileStore(loop, self.store.time, fold),
            decisions=decisions,
            authorizer=_Everyone(),
            on_failed=_failed,
        )
        self.codec = AmqpEntryCodec()
        self.broker.register(self.codec)
        self.broker.open()
        self.sink = _Sink()
        self.door: Attachment = self.broker.attach(self.sink, Principal("bench"), "public/default")

    async def create(self, name: str, **policy: Any) -> None:
        done = self.loop.create_future()
        self.sink.done = done.set_result
        self.door.submit(make_ask(0, CreateTimedQueue(name, TimedPolicy(**policy), frozenset(), {}, {})))
        await done

    def send_call(self, queue: str, per_call: int, number: int, groups: int) -> Send:
        if groups:
            names = [b"g%d" % ((number + index) % groups) for index in range(per_call)]
            data = b"".join(record(name) for name in names)
        else:
            data = record() * per_call
        ids = [(number + index).to_bytes(16, "big") for index in range(per_call)]
        call = make_send(1, queue, self.codec.tag, 1, 0, data, per_call, [100] * per_call, ids)
        if groups:
            call.groups = names
            call.deduplication_ids = ids
        return call

    async def send(self, queue: str, count: int, per_call: int, callers: int = CALLERS, groups: int = 0) -> float:
        """CPU seconds of the sends; the calls are made before."""
        calls = [self.send_call(queue, per_call, start, groups) for start in range(0, count, per_call)]
        left = len(calls)
        done = self.loop.create_future()

        def completed(call: Call) -> None:
            nonlocal left
            assert call.outcome == DONE, call.error
            left -= 1
            if calls:
                self.door.submit(calls.pop())
            elif left == 0:
                done.set_result(None)

        self.sink.done = completed
        begun = time.process_time()
        for _ in range(min(callers, len(calls))):
            self.door.submit(calls.pop())
        await done
        return time.process_time() - begun

    async def drain(self, queue: str, count: int, per_call: int, receivers: int = RECEIVERS) -> float:
        """CPU seconds of receiving and settling so many."""
        left = count
        done = self.loop.create_future()

        def completed(call: Call) -> None:
            nonlocal left
            if isinstance(call, Receive):
                received = call.received
                offsets = [item.offset for item in received]
                self.door.submit(make_end_leases(1, queue, call.queue_id, offsets, [call.lease_id] * len(offsets), None))
            elif isinstance(call, EndLeases):
                left -= len(call.offsets)
                if left > 0:
                    self.door.submit(make_receive(1, queue, self.codec.tag, per_call, 30_000, 20_000))
                elif not done.done():
                    done.set_result(None)

        self.sink.done = completed
        begun = time.process_time()
        for _ in range(receivers):
            self.door.submit(make_receive(1, queue, self.codec.tag, per_call, 30_000, 20_000))
        await done
        return time.process_time() - begun

    async def wait(self, queue: str, count: int) -> tuple[int, float]:
        """Resident bytes of so many waiting Receives, and CPU seconds of serving each one message."""
        before = resident()
        left = count
        done = self.loop.create_future()

        def completed(call: Call) -> None:
            nonlocal left
            if isinstance(call, Receive):
                left -= 1
                if left == 0:
                    done.set_result(None)

        self.sink.done = completed
        for _ in range(count):
            self.door.submit(make_receive(1, queue, self.codec.tag, 1, 30_000, 600_000))
        await asyncio.sleep(0.1)
        size = resident() - before
        calls = [self.send_call(queue, 1, number, 0) for number in range(count)]
        begun = time.process_time()
        for call in calls:
            self.door.submit(call)
        await done
        return size, time.process_time() - begun


def resident() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


async def run(options: argparse.Namespace, directory: str) -> dict[str, float]:
    bench = Bench(directory, asyncio.get_running_loop())
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    count = options.count
    found: dict[str, float] = {}
    what = options.what or ["send", "receive", "fifo", "wait"]
    await bench.create("q")
    await bench.create("q.fifo", groups=True)
    if "send" in what or "receive" in what:
        found["send 1 a call, us"] = 1e6 * await bench.send("q", count, 1) / count
        found["send 10 a call, us"] = 1e6 * await bench.send("q", count, 10) / count
    if "receive" in what:
        found["receive and settle 10 a call, us"] = 1e6 * await bench.drain("q", count, 10) / count
        found["receive and settle 1 a call, us"] = 1e6 * await bench.drain("q", count // 2, 1) / (count // 2)
    if "fifo" in what:
        found["fifo: send 1 a call, us"] = 1e6 * await bench.send("q.fifo", count, 1, groups=1000) / count
        found["fifo: send 10 a call, us"] = 1e6 * await bench.send("q.fifo", count, 10, groups=1000) / count
        found["fifo: receive and settle 10 a call, us"] = 1e6 * await bench.drain("q.fifo", count, 10) / count
    if "backlog" in what:
        await bench.create("long")
        await bench.send("long", options.backlog, 500, callers=8)
        found["backlog, messages"] = options.backlog
        found["resident, MiB"] = resident() / (1 << 20)
        found["backlog: receive and settle 10 a call, us"] = 1e6 * await bench.drain("long", count, 10) / count
        found["resident after, MiB"] = resident() / (1 << 20)
    if "wait" in what:
        await bench.create("waiting")
        size, seconds = await bench.wait("waiting", 10_000)
        found["10,000 waiting, MiB"] = size / (1 << 20)
        found["waiting: sent and served, us"] = 1e6 * seconds / 10_000
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="*", help="of the list above")
    parser.add_argument("--directory")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--backlog", type=int, default=1_000_000)
    options = parser.parse_args()
    directory = tempfile.mkdtemp(dir=options.directory)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            print(json.dumps({name: round(value, 2) for name, value in runner.run(run(options, directory)).items()}, indent=1))
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
