"""Admission: what a record costs that is published to targets which differ by record or may refuse it. Processor time of submit(), in memory.

python benchmarks/micro/bench_admission.py [--count N]

keys       to a topic of 10 partitions by the header x-key
keyless    to the same, without keys
reject     to a queue that takes all of it, and would refuse
refused    to the same, full
headers    to a headers exchange with two queues, neighbours to different ones
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import tempfile
import time
from typing import Any

from benchmarks.micro.bench_partitions import Bench, Session

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.port import make_ask, make_publish
from entrepot.broker.calls.topic_requests import CreateTopic
from entrepot.protocols.amqp091.records import AmqpEntryCodec

RUN = 512
CODEC = AmqpEntryCodec()


def record(number: int, name: bytes, value: bytes) -> bytes:
    """100 bytes of body and one header."""
    table = bytes([len(name)]) + name + b"S" + len(value).to_bytes(4, "big") + value if name else b""
    properties = b"\x20\x00" + len(table).to_bytes(4, "big") + table if name else b"\x00\x00"
    return len(properties).to_bytes(4, "big") + (100).to_bytes(4, "big") + properties + number.to_bytes(4, "big") + bytes(96)


async def measure(session: Session, exchange: bytes, key: bytes, records: list[bytes], count: int) -> float:
    """Nanoseconds of a record."""
    address = bytes([len(exchange)]) + exchange + bytes([len(key)]) + key
    data = b"".join(records)
    spent = 0.0
    for _ in range(count // RUN):
        call = make_publish(1, address, CODEC.tag, 1, 0, data, RUN, RUN * 100)
        call.confirm = True
        waiting = session.waiting[call] = asyncio.get_running_loop().create_future()
        began = time.process_time()
        session.door.submit(call)
        spent += time.process_time() - began
        await waiting
    return spent / (count // RUN * RUN) * 1e9


async def main(count: int) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(directory, asyncio.get_running_loop(), [])
        bench.broker.register(CODEC)
        session = bench.connect()

        async def ask(request: Any) -> None:
            call = make_ask(1, request)
            await session.submit(call)
            assert call.error is None, call.error

        await ask(CreateTopic("t", 10))
        large = {"x-overflow": "reject-publish", "x-max-length": 1 << 40}
        await ask(r.DeclareQueue("large", False, True, False, False, large))
        await ask(r.DeclareQueue("full", False, True, False, False, large | {"x-max-length": 0}))
        await ask(r.DeclareExchange("h", "headers", durable=True))
        for name in ("odd", "even"):
            await ask(r.DeclareQueue(name, False, True, False, False, {}))
            await ask(r.Bind("h", name, "queue", "", {"x-match": "all", "n": name}))
        gc.collect()
        keys = [record(number, b"x-key", b"key %d" % (number % 50)) for number in range(RUN)]
        plain = [record(number, b"", b"") for number in range(RUN)]
        turns = [record(number, b"n", b"odd" if number % 2 else b"even") for number in range(RUN)]
        for what, exchange, key, records in (
            ("keys", b"", b"t", keys),
            ("keyless", b"", b"t", plain),
            ("reject", b"", b"large", plain),
            ("refused", b"", b"full", plain),
            ("headers", b"h", b"", turns),
        ):
            print(f"{what:10} {await measure(session, exchange, key, records, count):8.0f} ns a record", flush=True)
        await bench.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=50 * RUN)
    asyncio.run(main(parser.parse_args().count))
