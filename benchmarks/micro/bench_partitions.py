"""Append and Read at the port: what a batch costs the broker, over a real store, by the number of partitions and of parts in a call.

python benchmarks/micro/bench_partitions.py [append] [sequence] [subject] [read] [wait] [--directory DIR] [--batches N] [--size BYTES]

append    CPU of a batch, from submit() to completion, everything of the store's included; batches go to the partitions in turn
sequence  the same with a producer that numbers its batches
subject   the same for a topic whose subject leads to a queue
read      CPU of a batch that is read from memory
wait      CPU of a Read that waits: until its time is over, and until one partition of many got something
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import shutil
import tempfile
import time
from typing import Any

import uvloop

from entrepot.broker.broker import Broker
from entrepot.broker.calls.partition_calls import Append, AppendPart, Read, ReadPart, make_append, make_append_part, make_read, make_read_part
from entrepot.broker.calls.port import Attachment, Call, Sink, make_ask
from entrepot.broker.calls.requests import Bind, DeclareQueue
from entrepot.broker.calls.topic_requests import CreateTopic
from entrepot.broker.catalogue.decisions import Decisions
from entrepot.broker.catalogue.stream import CatalogueStream
from entrepot.broker.logs.entry_codec import EntryCodec
from entrepot.broker.state_kinds import default_folds
from entrepot.clock import SystemClock
from entrepot.entropy import SystemEntropy
from entrepot.model.entry import CODEC_KAFKA
from entrepot.model.principal import Principal
from entrepot.server import GC_THRESHOLDS
from entrepot.store.local.opening import open_store
from entrepot.store.local.settings import StoreSettings
from entrepot.store.volatile import VolatileStore

PARTITIONS = (1, 10, 100, 1000, 10_000)
PARTS = 100  # of one call
CALLS = 5  # under way at once


class _Codec(EntryCodec):
    tag = CODEC_KAFKA
    version = 1
    by_record = False

    def stamp(self, data: bytes, base_offset: int, epoch: int, append_time_ms: int) -> bytes:
        return data

    def prefix(self, address: bytes) -> bytes:
        return address


class Everyone:
    """Nobody is refused anything."""

    version = 0

    def watch(self, *_: object) -> None:
        """Nothing changes."""

    def may(self, *_: object) -> bool:
        return True

    def authorize(self, *_: object) -> None:
        pass

    def authorize_namespace(self, *_: object) -> None:
        pass


class Session(Sink):
    """Completes futures."""

    def __init__(self) -> None:
        self.waiting: dict[Call, asyncio.Future[None]] = {}
        self.door: Attachment

    def completed(self, call: Call) -> None:
        """See Sink."""
        waiting = self.waiting.pop(call, None)
        if waiting is not None:
            waiting.set_result(None)

    def throttle(self, blocked: bool, reason: str) -> None:
        """See Sink."""

    async def submit(self, call: Call) -> None:
        """Until it is complete."""
        waiting = self.waiting[call] = asyncio.get_running_loop().create_future()
        self.door.submit(call)
        await waiting


class Bench:
    """A broker over a directory."""

    def __init__(self, directory: str, loop: asyncio.AbstractEventLoop, what: list[str]) -> None:
        clock, entropy, fold = SystemClock(), SystemEntropy(), default_folds().fold
        settings = StoreSettings(cache_size=(512 if "read" in what else 24) << 20)  # what is read is to lie in memory
        self.store = open_store(directory, scheduler=loop, clock=clock, entropy=entropy, fold=fold, settings=settings)
        decisions = Decisions.over(CatalogueStream(self.store), lambda: entropy.octets(16))
        self.broker = Broker(
            scheduler=loop,
            clock=clock,
            entropy=entropy,
            store=self.store,
            volatile=VolatileStore(loop, self.store.time, fold),
            decisions=decisions,
            authorizer=Everyone(),
            on_failed=self.failed,
        )
        self.broker.register(_Codec())
        self.broker.open()

    def failed(self, error: BaseException) -> None:
        """The store has ended."""
        raise SystemExit(f"the store has ended: {error!r}")

    def connect(self) -> Session:
        """A session."""
        session = Session()
        session.door = self.broker.attach(session, Principal("me"), "public/default")
        return session

    async def close(self) -> None:
        """The store's end."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.store.close(lambda: done.set_result(None))
        await done


async def append(bench: Bench, partitions: int, batches: int, data: bytes, numbered: bool, bound: bool = False) -> float:
    """CPU microseconds of a batch."""
    session = bench.connect()
    topic = f"{'s' if numbered else 'b' if bound else 'p'}{partitions}"
    await session.submit(make_ask(1, CreateTopic(topic, partitions)))
    if bound:
        await session.submit(make_ask(1, DeclareQueue(topic + "q", False, True, False, False, {})))
        await session.submit(make_ask(1, Bind("amq.topic", topic + "q", routing_key=topic)))
    sequences = [0] * partitions
    started = time.process_time()
    running: set[asyncio.Task[None]] = set()
    warm = max(partitions, PARTS)  # each partition has had a batch before it counts
    for first in range(0, warm + batches, PARTS):
        if first == warm:
            started = time.process_time()
        parts: list[AppendPart] = []
        for number in range(first, first + PARTS):
            partition = number % partitions
            part = make_append_part(topic, partition, data, 0, 10, -1)
            if numbered:
                part.producer_id, part.producer_epoch, part.first_sequence = 5, 0, sequences[partition]
                sequences[partition] += 10
            parts.append(part)
        call: Append = make_append(1, CODEC_KAFKA, 1, parts, True)
        task = asyncio.ensure_future(session.submit(call))
        running.add(task)
        task.add_done_callback(running.discard)
        while len(running) >= CALLS:
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.gather(*running)
    assert all(part.error is None for part in parts), parts[0].error
    took = time.process_time() - started
    session.door.close()
    return took / batches * 1e6


async def read(bench: Bench, partitions: int, batches: int) -> float:
    """CPU microseconds of a batch that append() left."""
    session = bench.connect()
    parts: list[ReadPart] = [make_read_part(f"p{partitions}", number, 0, 1 << 20) for number in range(partitions)]
    ends = [(batches + max(partitions, PARTS)) // partitions * 10 for _ in parts]
    found = 0
    started = time.process_time()
    while found < batches:
        call: Read = make_read(1, CODEC_KAFKA, parts, 1, 4 << 20, 1000, False)
        await session.submit(call)
        for part, end in zip(parts, ends, strict=True):
            if part.data:
                found += len(part.data)
                part.offset = min(part.offset + 10 * len(part.data), end)
    took = time.process_time() - started
    session.door.close()
    return took / batches * 1e6


async def wait(bench: Bench, partitions: int, data: bytes, rounds: int = 200) -> tuple[float, float]:
    """CPU microseconds of a Read of all partitions that brings nothing, and of one that one partition wakes, the append included."""
    session = bench.connect()
    topic = f"w{partitions}"
    await session.submit(make_ask(1, CreateTopic(topic, partitions)))
    parts: list[ReadPart] = [make_read_part(topic, number, 0, 1 << 20) for number in range(partitions)]
    await session.submit(make_read(1, CODEC_KAFKA, parts, 1, 4 << 20, 1, False))
    started = time.process_time()
    for _ in range(rounds):
        await session.submit(make_read(1, CODEC_KAFKA, parts, 1, 4 << 20, 1, False))
    idle = (time.process_time() - started) / rounds * 1e6
    started = time.process_time()
    for number in range(rounds):
        reading = asyncio.ensure_future(session.submit(make_read(1, CODEC_KAFKA, parts, 1, 4 << 20, 10_000, False)))
        await asyncio.sleep(0)
        partition = number % partitions
        await session.submit(make_append(1, CODEC_KAFKA, 1, [make_append_part(topic, partition, data, 0, 10, -1)], True))
        await reading
        parts[partition].offset += 10
    woken = (time.process_time() - started) / rounds * 1e6
    session.door.close()
    return idle, woken


async def run(what: list[str], directory: str, batches: int, size: int) -> None:
    """Every benchmark that was asked for, one line each."""
    data = os.urandom(size)
    bench = Bench(directory, asyncio.get_running_loop(), what)
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    figures: dict[str, Any] = {}
    for partitions in PARTITIONS:
        if "append" in what or "read" in what:
            figures[f"append_{partitions}_us"] = round(await append(bench, partitions, batches, data, False), 2)
        if "sequence" in what:
            figures[f"sequence_{partitions}_us"] = round(await append(bench, partitions, batches, data, True), 2)
        if "subject" in what:
            figures[f"subject_{partitions}_us"] = round(await append(bench, partitions, batches, data, False, True), 2)
        if "read" in what:
            figures[f"read_{partitions}_us"] = round(await read(bench, partitions, batches), 2)
        if "wait" in what:
            idle, woken = await wait(bench, partitions, data)
            figures[f"wait_{partitions}_us"], figures[f"woken_{partitions}_us"] = round(idle, 1), round(woken, 1)
        print(json.dumps({key: value for key, value in figures.items() if f"_{partitions}_" in key}), flush=True)
    await bench.close()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", default=["append", "sequence", "subject", "read", "wait"])
    parser.add_argument("--directory", default=None)
    parser.add_argument("--batches", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=1024)
    arguments = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="entrepot-bench-", dir=arguments.directory)
    try:
        uvloop.run(run(arguments.what, os.path.join(directory, "data"), arguments.batches, arguments.size))
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
