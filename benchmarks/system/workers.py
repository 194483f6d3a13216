"""What several workers cost and bring, by processor time, in one run of `serve --workers`.

  python -m benchmarks.system.workers link     a client that is connected to another worker than its queue's, beside one that is connected to the right one
  python -m benchmarks.system.workers share    what three can do against one, with clients spread over queues (AMQP) and partitions (Kafka)

link: each queue is some worker's; a connection comes to a worker by chance, which is looked up in /proc while the load runs. Microseconds of all workers
together by message, and what one publish at a time takes from publish to confirm; medians of runs, which take turns by chance.

share: microseconds a message of one worker alone, and of the busiest of several; the quotient is what they can do on as many cores, whatever
this machine has.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.system import build, probes
from benchmarks.system.brokers import Entrepot
from entrepot.broker.catalogue.shards import SHARD_COUNT_DEFAULT, Shards

_ROOT = Path(__file__).resolve().parent.parent.parent
_ESTABLISHED = "01"
_LOOK_S = 0.02
_WARM_UP = 20_000  # messages, before anything is measured


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(prog="python -m benchmarks.system.workers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = out.add_argument
    add("what", choices=["link", "share"])
    add("--workers", type=int, default=3)
    add("--command", default="", help="that starts a broker; empty: this one")
    add("--runs", type=int, default=5, help="of each kind, at least")
    add("--count", type=int, default=300_000, help="messages a run of 100 B; of 1 KiB a third of it")
    add("--directory", type=Path, default=_ROOT / "build" / "benchmarks" / "data", help="where brokers keep their data")
    return out


class Node:
    """A broker of so many workers, and what each has used so far."""

    def __init__(self, directory: Path, command: str, workers: int, protocol: str = "amqp") -> None:
        words = command or f"{sys.executable} -m entrepot serve"
        self.broker = Entrepot(directory / f"workers-{workers}", f"{words} --workers {workers}", protocol)
        self.broker.start()
        if workers == 1:
            assert self.broker.process is not None
            self.pids = [self.broker.process.pid]
            return
        said = subprocess.run(
            [*words.split()[:-1], "status", "--once", "--json", "--data", str(self.broker.directory / "data")], capture_output=True, text=True, check=True
        )
        self.pids = [each["pid"] for each in sorted(json.loads(said.stdout)["workers"], key=lambda each: each["worker"])]

    def cpu_s(self) -> list[float]:
        """Of each worker, in their order."""
        return [probes.cpu_s([pid]) for pid in self.pids]

    def workers_of_clients(self) -> list[int]:
        """Of each connection that there is now to the listener of the load, the worker that has it."""
        port = int(self.broker.url.rstrip("/").rpartition(":")[2])
        inodes = set()
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _ESTABLISHED and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
        found = []
        for number, pid in enumerate(self.pids):
            for one in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    found += [number] if str(one.readlink()) in inodes else []
        return found


def load(node: Node, mode: str, *words: str) -> tuple[dict[str, Any], list[float], list[int]]:
    """Run one load: its figures, the seconds that each worker has used in it, and the workers that had its connections."""
    seen: list[list[int]] = [[]]
    over = threading.Event()

    def look() -> None:
        while not over.wait(_LOOK_S):
            found = node.workers_of_clients()
            seen[0] = max(seen[0], found, key=len)

    looking = threading.Thread(target=look)
    before = node.cpu_s()
    looking.start()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.system.load", mode, "--url", node.broker.url, *words], capture_output=True, text=True, check=False, cwd=_ROOT
        )
    finally:
        over.set()
        looking.join()
    if done.returncode:
        raise SystemExit(f"{mode} {' '.join(words)} failed: {done.stderr[-1000:]}{done.stdout[-500:]}")
    return json.loads(done.stdout), [now - then for now, then in zip(node.cpu_s(), before, strict=True)], seen[0]


def link(arguments: argparse.Namespace) -> None:
    """What the way over a link costs."""
    node = Node(arguments.directory.resolve(), arguments.command, arguments.workers)
    try:
        shards = Shards(SHARD_COUNT_DEFAULT)
        queues: dict[int, str] = {}
        for number in range(1000):
            queues.setdefault(shards.shard("queue", "public/default", f"price-{number}") % arguments.workers, f"price-{number}")
        for queue in queues.values():
            load(node, "both", "--queue", queue, "--count", str(_WARM_UP), "--purge")
        print("| | right worker µs | other worker µs | more µs | runs |\n|---|--:|--:|--:|---|", flush=True)
        for size, count in ((100, arguments.count), (1024, arguments.count // 3)):
            bulk = ("--size", str(size), "--count", str(count))

            def publish(queue: str, bulk: tuple[str, ...] = bulk, count: int = count) -> tuple[float, list[int]]:
                _, used, workers = load(node, "publish", *bulk, "--queue", queue, "--purge")
                return sum(used) / count * 1e6, workers

            def consume(queue: str, bulk: tuple[str, ...] = bulk, count: int = count) -> tuple[float, list[int]]:
                load(node, "publish", *bulk, "--queue", queue, "--purge")
                _, used, workers = load(node, "consume", *bulk, "--queue", queue)
                return sum(used) / count * 1e6, workers

            _show(f"publish {size} B, CPU a message", _in_turns(publish, queues, arguments.runs))
            _show(f"consume {size} B, CPU a message", _in_turns(consume, queues, arguments.runs))

        def singly(queue: str) -> tuple[float, list[int]]:
            figures, _, workers = load(node, "publish", "--size", "100", "--count", "3000", "--window", "1", "--queue", queue, "--purge")
            return float(figures["confirm_us"]["p50"]), workers

        _show("one publish at a time, to its confirm", _in_turns(singly, queues, arguments.runs))
    finally:
        node.broker.stop()


def _in_turns(run: Callable[[str], tuple[float, list[int]]], queues: dict[int, str], runs: int) -> dict[bool, list[float]]:
    """Runs until there are so many of each: of clients that came to the worker that has the queue, and of the others."""
    found: dict[bool, list[float]] = defaultdict(list)
    for turn in range(runs * 20):
        owner = turn % len(queues)
        figure, workers = run(queues[owner])
        if len(workers) == 1:
            found[workers[0] == owner].append(figure)
        if min(len(found[True]), len(found[False])) >= runs:
            break
    return found


def _show(what: str, found: dict[bool, list[float]]) -> None:
    right, other = (statistics.median(found[which]) for which in (True, False))
    each = "; ".join(" ".join(f"{figure:.2f}" for figure in found[which]) for which in (True, False))
    print(f"| {what} | {right:.2f} | {other:.2f} | {other - right:+.2f} | {each} |", flush=True)


def share(arguments: argparse.Namespace) -> None:
    """What several can do against one."""
    print("| | one µs | busiest of several µs | times | by worker µs |\n|---|--:|--:|--:|---|", flush=True)
    for what, protocol, spread in (("AMQP, 100 B", "amqp", _amqp), ("AMQP, 1 KiB", "amqp", _amqp_large), ("Kafka, 100 B", "kafka", _kafka)):
        found: dict[int, list[list[float]]] = {}
        nodes = {workers: Node(arguments.directory.resolve(), arguments.command, workers, protocol) for workers in (1, arguments.workers)}
        try:
            for node in nodes.values():
                spread(node, _WARM_UP)
            for _ in range(arguments.runs):
                for workers, node in nodes.items():
                    found.setdefault(workers, []).append(spread(node, arguments.count))
        finally:
            for node in nodes.values():
                node.broker.stop()
        one = statistics.median(each[0] for each in found[1])
        busiest = statistics.median(max(each) for each in found[arguments.workers])
        by_worker = "; ".join(" ".join(f"{figure:.2f}" for figure in each) for each in found[arguments.workers])
        print(f"| {what} | {one:.2f} | {busiest:.2f} | {one / busiest:.2f} | {by_worker} |", flush=True)


def _amqp(node: Node, count: int, size: int = 100) -> list[float]:
    """48 publishers and 48 consumers over 48 queues: microseconds a message of each worker."""
    words = ("--queues", "48", "--publishers", "48", "--consumers", "48", "--size", str(size), "--count", str(count), "--queue", "share", "--purge")
    _, used, workers = load(node, "both", *words)
    counts = Counter(workers)
    print(f"connections by worker: {[counts[number] for number in range(len(used))]}", file=sys.stderr)
    return [each / count * 1e6 for each in used]


def _amqp_large(node: Node, count: int) -> list[float]:
    return _amqp(node, count // 3, 1024)


def _kafka(node: Node, count: int) -> list[float]:
    """Produced to, and consumed from, a topic of 24 partitions."""
    before = node.cpu_s()
    topic = f"share-{time.monotonic_ns()}"
    brokers = node.broker.url.partition("//")[2].rstrip("/")
    for words in (("produce", "--partitions", "24", "--producers", "2"), ("consume", "--delete")):
        command = [sys.executable, "-m", "benchmarks.system.kafka_load", *words, "--brokers", brokers, "--topic", topic, "--size", "100", "--count", str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=_ROOT)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed: {done.stderr[-1000:]}")
    return [(now - then) / count * 1e6 for now, then in zip(node.cpu_s(), before, strict=True)]


def main(words: list[str] | None = None) -> int:
    """The command; its exit status."""
    arguments = parser().parse_args(words)
    build.ensure()
    {"link": link, "share": share}[arguments.what](arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
