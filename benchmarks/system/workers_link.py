"""`link`: what a client pays that is connected to another worker than its queue's.

Each queue is some worker's; a connection comes to a worker by chance, which is looked up in /proc while the load runs. Microseconds of all workers
together by message, and what one publish at a time takes from publish to confirm; medians of runs, which take turns by chance.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.system.worker_node import STAY, Node

_ROOT = Path(__file__).resolve().parent.parent.parent
_LOOK_S = 0.02
_WARM_UP = 20_000  # messages, before anything is measured


def add_options(parser: argparse.ArgumentParser) -> None:
    """Of this bench alone."""
    parser.add_argument("--runs", type=int, default=5, help="of each kind, at least")
    parser.add_argument("--count", type=int, default=300_000, help="messages a run of 100 B; of 1 KiB a third of it")


def load(node: Node, mode: str, *words: str) -> tuple[dict[str, Any], float, list[int]]:
    """Run one load: its figures, the seconds that all workers have used in it, and the workers that had its connections."""
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
    return json.loads(done.stdout), sum(node.cpu_since(before)), seen[0]


def run(arguments: argparse.Namespace) -> int:
    """What the way over a link costs."""
    node = Node(arguments.directory, arguments.command, arguments.workers, settings=[*STAY, *arguments.set])
    try:
        queues: dict[int, str] = {}
        for number in range(1000):
            queues.setdefault(node.owner(f"price-{number}"), f"price-{number}")
        for queue in queues.values():
            load(node, "both", "--queue", queue, "--count", str(_WARM_UP), "--purge")
        print("| | right worker µs | other worker µs | more µs | runs |\n|---|--:|--:|--:|---|", flush=True)
        for size, count in ((100, arguments.count), (1024, arguments.count // 3)):
            bulk = ("--size", str(size), "--count", str(count))

            def publish(queue: str, bulk: tuple[str, ...] = bulk, count: int = count) -> tuple[float, list[int]]:
                _, used_s, workers = load(node, "publish", *bulk, "--queue", queue, "--purge")
                return used_s / count * 1e6, workers

            def consume(queue: str, bulk: tuple[str, ...] = bulk, count: int = count) -> tuple[float, list[int]]:
                load(node, "publish", *bulk, "--queue", queue, "--purge")
                _, used_s, workers = load(node, "consume", *bulk, "--queue", queue)
                return used_s / count * 1e6, workers

            _show(f"publish {size} B, CPU a message", _in_turns(publish, queues, arguments.runs))
            _show(f"consume {size} B, CPU a message", _in_turns(consume, queues, arguments.runs))

        def singly(queue: str) -> tuple[float, list[int]]:
            figures, _, workers = load(node, "publish", "--size", "100", "--count", "3000", "--window", "1", "--queue", queue, "--purge")
            return float(figures["confirm_us"]["p50"]), workers

        _show("one publish at a time, to its confirm", _in_turns(singly, queues, arguments.runs))
    finally:
        node.broker.stop()
    return 0


def _in_turns(one: Callable[[str], tuple[float, list[int]]], queues: dict[int, str], runs: int) -> dict[bool, list[float]]:
    """Runs until there are so many of each: of clients that came to the worker that has the queue, and of the others."""
    found: dict[bool, list[float]] = defaultdict(list)
    for turn in range(runs * 20):
        owner = turn % len(queues)
        figure, workers = one(queues[owner])
        if len(workers) == 1:
            found[workers[0] == owner].append(figure)
        if min(len(found[True]), len(found[False])) >= runs:
            break
    return found


def _show(what: str, found: dict[bool, list[float]]) -> None:
    right, other = (statistics.median(found[which]) for which in (True, False))
    each = "; ".join(" ".join(f"{figure:.2f}" for figure in found[which]) for which in (True, False))
    print(f"| {what} | {right:.2f} | {other:.2f} | {other - right:+.2f} | {each} |", flush=True)
