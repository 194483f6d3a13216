"""`share`: what several workers can do against one, by processor time, whatever this machine has of cores.

Marginal cost: each run is done at two lengths, and the difference of what a worker has used is divided by the difference of messages: so connections,
declares and purges, which both have, are not in it. Nor is what a worker uses while it is idle: that is measured once, and taken off by the difference in
time. A run lasts until the workers have come to rest. One worker alone and several take turns; a first round of both is not counted; medians of the others.

  one        microseconds a message of one worker alone
  busiest    of the busiest of several; one / busiest is what they can do on as many cores as the connections fell
  sum        of all of them; workers x one / sum is what they could do if all of it were spread evenly

Each worker has as many clients as the one alone (48 publishers and 48 consumers over 48 queues, two connections of SQS a queue), on whichever worker
they fall. Kafka's have two producers on both sides: more of them make smaller batches, which says something of clients.

With --in-turn (AMQP, Kafka) the workers' queues or partitions are loaded one worker's after the other's, so that each is as busy as the one alone, as it is
where there are cores for all of them and for their clients. Without it several share what cores there are with all clients, have less to do at a time, and
smaller batches.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from benchmarks.system.queue_names import names_of
from benchmarks.system.sqs_load import call, make_queue, waiting
from benchmarks.system.worker_node import Node

_ROOT = Path(__file__).resolve().parent.parent.parent
_AMQP_QUEUES = 48  # for each worker
_KAFKA_PARTITIONS = 24
_SQS_QUEUES = 24
_SQS_CONNECTIONS = 2  # of each queue, for each worker
_FILL = 3  # times as long are batches sent as they will be received: the connections of some queues are all on a busy worker


@dataclass(frozen=True)
class Spent:
    """Of one run: messages, how long it took, and what each worker used."""

    messages: int
    seconds: float
    cpu_s: list[float]


@dataclass(frozen=True)
class Shape:
    """One kind of load. `run(node, length)`; `lengths`: the short and the long one, of messages (SQS: of seconds)."""

    title: str
    protocol: str
    run: Callable[[Node, float], Spent]
    lengths: tuple[float, float]
    in_turn: Callable[[Node, float], Spent] | None = None  # the same for one worker's queues after the other's


def _of_amqp(title: str, window: int, size: int, lengths: tuple[float, float]) -> Shape:
    return Shape(title, "amqp", partial(_amqp, window=window, size=size), lengths, partial(_amqp_in_turn, window=window, size=size))


def marginal_us(short: Spent, long: Spent, idle: list[float]) -> list[float]:
    """Of each worker, what one message more costs; `idle`: what part of a core each uses by itself. Raises ValueError if the long run was none."""
    messages, seconds = long.messages - short.messages, long.seconds - short.seconds
    if messages <= 0:
        raise ValueError(f"the long run had {long.messages} messages, the short one {short.messages}")
    return [(more - less - each * seconds) / messages * 1e6 for more, less, each in zip(long.cpu_s, short.cpu_s, idle, strict=True)]


def row(title: str, found: dict[int, list[list[float]]], workers: int) -> str:
    """A line of the table. `found`: by number of workers, what each needed for a message, run by run."""
    one = statistics.median(each[0] for each in found[1])
    busiest = statistics.median(max(each) for each in found[workers])
    total = statistics.median(sum(each) for each in found[workers])
    runs = ["; ".join(" ".join(f"{figure:.2f}" for figure in each) for each in found[number]) for number in (1, workers)]
    return f"| {title} | {one:.2f} | {busiest:.2f} | {total:.2f} | {one / busiest:.2f} | {workers * one / total:.2f} | {' | '.join(runs)} |"


def _spent(node: Node, module: str, *words: str) -> Spent:
    """Run a generator until the workers are at rest again; `messages`: what was published, or else consumed."""
    node.come_to_rest()
    before, begun = node.cpu_s(), time.monotonic()
    done = subprocess.run([sys.executable, "-m", f"benchmarks.system.{module}", *words], capture_output=True, text=True, check=False, cwd=_ROOT)
    node.come_to_rest()
    seconds, cpu_s = time.monotonic() - begun, node.cpu_since(before)
    if done.returncode:
        raise SystemExit(f"{module} {' '.join(words)} failed: {done.stderr[-1000:]}{done.stdout[-500:]}")
    figures = json.loads(done.stdout.splitlines()[-1])
    return Spent(figures["published"] or figures["consumed"], seconds, cpu_s)


def _amqp(node: Node, length: float, *, window: int, size: int) -> Spent:
    return _amqp_over(node, names_of(f"share-{window}-{size}", _AMQP_QUEUES * node.workers), length, window, size)


def _amqp_in_turn(node: Node, length: float, *, window: int, size: int) -> Spent:
    """Each worker's queues by themselves, as many as the one alone has."""
    spent = []
    names = names_of(f"share-{window}-{size}", 10 * _AMQP_QUEUES * node.workers)
    for worker in range(node.workers):
        its_own = [name for name in names if node.owner(name) == worker][:_AMQP_QUEUES]
        spent.append(_amqp_over(node, its_own, length, window, size))
    return _all_of(spent)


def _amqp_over(node: Node, queues: list[str], length: float, window: int, size: int) -> Spent:
    clients = ("--publishers", str(len(queues)), "--consumers", str(len(queues)), "--window", str(window))
    messages = ("--size", str(size), "--count", str(round(length)), "--queue", ",".join(queues))
    return _spent(node, "load", "both", "--url", node.broker.url, *clients, *messages)


def _kafka(node: Node, length: float, *, size: int) -> Spent:
    """Produced, and consumed."""
    topic = f"share-{time.monotonic_ns()}"
    return _kafka_over(node, topic, length, size, ("--partitions", str(_KAFKA_PARTITIONS)), ("--delete",))


def _kafka_in_turn(node: Node, length: float, *, size: int) -> Spent:
    """What each worker leads of a topic by itself, about as many partitions as the one alone has."""
    topic, count, spent = f"share-{time.monotonic_ns()}", str(_KAFKA_PARTITIONS * node.workers), []
    for worker in range(node.workers):
        led = ("--led-by", str(worker))
        before = () if worker else ("--partitions", count)
        spent.append(_kafka_over(node, topic, length, size, (*led, *before), led if worker < node.workers - 1 else (*led, "--delete")))
    return _all_of(spent)


def _kafka_over(node: Node, topic: str, length: float, size: int, produce: tuple[str, ...], consume: tuple[str, ...]) -> Spent:
    brokers = node.broker.url.partition("//")[2].rstrip("/")
    words = ("--brokers", brokers, "--topic", topic, "--size", str(size), "--count", str(round(length)))
    produced = _spent(node, "kafka_load", "produce", "--producers", "2", *words, *produce)
    consumed = _spent(node, "kafka_load", "consume", *words, *consume)
    return replace(_all_of([produced, consumed]), messages=produced.messages)


def _all_of(parts: list[Spent]) -> Spent:
    cpu_s = [sum(each) for each in zip(*(one.cpu_s for one in parts), strict=True)]
    return Spent(sum(one.messages for one in parts), sum(one.seconds for one in parts), cpu_s)


def _sqs(node: Node, length: float, *, batch: int, receives: bool) -> Spent:
    """Sent, or received and deleted: then enough of them are there before. The queues are removed when all is measured."""
    url, name = node.broker.url, f"share-{time.monotonic_ns()}"
    connections = _SQS_QUEUES * _SQS_CONNECTIONS * node.workers
    words = ("--url", url, "--queue", name, "--queues", str(_SQS_QUEUES), "--connections", str(connections), "--seconds", str(length), "--keep")
    if receives:
        _spent(node, "sqs_load", "send", "--batch", "10", *words, "--seconds", str(length * (_FILL if batch > 1 and node.workers > 1 else 1)))
    spent = _spent(node, "sqs_load", "receive" if receives else "send", "--batch", str(batch), *words)
    queues = [make_queue(url, each, fifo=False) for each in names_of(name, _SQS_QUEUES)]
    if receives and not all(waiting(url, each) for each in queues):
        print(f"a queue was empty before {length} s were over: what followed counts as idle", file=sys.stderr)
    for each in queues:
        call(url, "DeleteQueue", QueueUrl=each)
    return spent


SHAPES = {
    "amqp-1": _of_amqp("AMQP, 100 B, window of 1", 1, 100, (20_000, 120_000)),
    "amqp-10": _of_amqp("AMQP, 100 B, window of 10", 10, 100, (50_000, 500_000)),
    "amqp-100": _of_amqp("AMQP, 1 KiB, window of 100", 100, 1024, (50_000, 400_000)),
    "amqp-1000": _of_amqp("AMQP, 100 B, window of 1000", 1000, 100, (2_000_000, 7_000_000)),
    "kafka": Shape("Kafka, 100 B", "kafka", partial(_kafka, size=100), (100_000, 2_000_000), partial(_kafka_in_turn, size=100)),
    "kafka-1k": Shape("Kafka, 1 KiB", "kafka", partial(_kafka, size=1024), (100_000, 1_000_000), partial(_kafka_in_turn, size=1024)),
    "sqs-send": Shape("SQS, send", "sqs", partial(_sqs, batch=1, receives=False), (2, 8)),
    "sqs-send-10": Shape("SQS, send in batches of 10", "sqs", partial(_sqs, batch=10, receives=False), (2, 8)),
    "sqs-receive": Shape("SQS, receive and delete", "sqs", partial(_sqs, batch=1, receives=True), (2, 8)),
    "sqs-receive-10": Shape("SQS, receive and delete in batches of 10", "sqs", partial(_sqs, batch=10, receives=True), (1, 5)),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Of this bench alone."""
    add = parser.add_argument
    add("--only", nargs="+", default=[], choices=SHAPES, metavar="SHAPE", help=f"of {', '.join(SHAPES)}")
    add("--lengths", nargs=2, type=float, metavar=("SHORT", "LONG"), help="of a run, for all shapes: messages, of SQS (whole) seconds")
    add("--part", type=float, default=1.0, help="of each shape's own lengths; SQS keeps at least 1 and 2 s")
    add("--runs", type=int, default=5, help="of each length, that count")
    add("--in-turn", action="store_true", help="each worker's queues by themselves, one worker after the other (not SQS)")


def lengths_of(shape: Shape, arguments: argparse.Namespace) -> tuple[float, float]:
    """The short and the long run of this shape."""
    if arguments.lengths:
        short, long = arguments.lengths
        return short, long
    short, long = (length * arguments.part for length in shape.lengths)
    return (max(1, round(short)), max(2, round(long))) if shape.protocol == "sqs" else (short, long)


def run(arguments: argparse.Namespace) -> int:
    """What several can do against one."""
    several = arguments.workers
    if several < 2:
        raise SystemExit(f"--workers {several}: what is held against one is at least two")
    print(
        f"| | one µs | busiest of {several} µs | sum of {several} µs | as the connections fell | spread evenly | runs of one | runs of {several}, by worker |"
    )
    print("|---|--:|--:|--:|--:|--:|---|---|", flush=True)
    for name in arguments.only or SHAPES:
        shape = SHAPES[name]
        if arguments.in_turn:
            if shape.in_turn is None:
                continue
            shape = replace(shape, run=shape.in_turn)
        found = _measured(shape, lengths_of(shape, arguments), arguments)
        print(row(shape.title, found, several), flush=True)
    return 0


def _measured(shape: Shape, lengths: tuple[float, float], arguments: argparse.Namespace) -> dict[int, list[list[float]]]:
    """By number of workers, run by run: what each of them needed for a message."""
    short, long = lengths
    with ExitStack() as stack:
        nodes = [_node(workers, shape, arguments, stack) for workers in (1, arguments.workers)]
        idle = {node.workers: node.idle_cores() for node in nodes}
        for workers, cores in idle.items():
            print(f"{shape.title}: idle, percent of a core, of {workers}: {' '.join(f'{each * 100:.1f}' for each in cores)}", file=sys.stderr)
        found: dict[int, list[list[float]]] = {node.workers: [] for node in nodes}
        for turn in range(arguments.runs + 1):
            for node in nodes:
                figures = marginal_us(shape.run(node, short), shape.run(node, long), idle[node.workers])
                if turn:
                    found[node.workers].append(figures)
        return found


def _node(workers: int, shape: Shape, arguments: argparse.Namespace, stack: ExitStack) -> Node:
    node = Node(arguments.directory, arguments.command, workers, shape.protocol, arguments.set)
    stack.callback(node.broker.stop)
    return node
