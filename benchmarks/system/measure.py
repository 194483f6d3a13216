"""One measured step against a running broker: the generator in a process of its own, the broker watched from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.system import probes
from benchmarks.system.brokers import Broker

_ROOT = Path(__file__).resolve().parent.parent.parent
_COMMAND = [sys.executable, "-m", "benchmarks.system.load"]

# The names of the broker's own figures, the first that is there counts. Other brokers have none of them.
UNSORTED = ("entrepot_store_journal_unsorted_bytes",)
STALL = ("entrepot_loop_stall_longest_seconds",)
STALL_OWN = ("entrepot_loop_stall_own_longest_seconds",)  # without the time that the load and other threads had all processors
COMMITS = ("entrepot_commits_total", "entrepot_store_commits_total")

Figures = dict[str, Any]


class LoadFailed(Exception):
    """The generator could not do its work (exit status 1 or 2, or no result)."""


def load(broker: Broker, words: Sequence[str], *, timeout_s: float = 1800) -> Figures:
    """What one run of the generator printed. Raises LoadFailed; wrong messages are no exception but figures."""
    done = subprocess.run([*_COMMAND, *words, "--url", broker.url], cwd=_ROOT, capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode not in (0, 3) or not done.stdout.strip():
        raise LoadFailed(f"{broker.name}: load {' '.join(words)}: exit status {done.returncode}: {done.stderr.strip()[-1000:]}")
    return dict(json.loads(done.stdout))


@contextmanager
def held(broker: Broker, words: Sequence[str]) -> Iterator[None]:
    """A generator that says when it is ready and then holds what it has, until the end of the block."""
    process = subprocess.Popen([*_COMMAND, *words, "--url", broker.url], cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            _, said = process.communicate()
            raise LoadFailed(f"{broker.name}: load {' '.join(words)}: {said.strip()[-1000:]}")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate()


def measured(broker: Broker, words: Sequence[str], *, watch_unsorted: bool = False, by: Callable[[Broker, Sequence[str]], Figures] = load) -> Figures:
    """One run with the broker's processor time, memory and disk bytes, and its own figures where it has them. `by`: what makes the run of these words."""
    pids = broker.pids()
    before = probes.metrics(broker.metrics_url)
    cpu, written = probes.cpu_s(pids), probes.Written(pids, broker.directory)
    with probes.Watcher(pids, broker.metrics_url, UNSORTED if watch_unsorted else (), 1.0 if watch_unsorted else 0.25) as watcher:
        result = by(broker, words)
    pids = broker.pids()
    cpu, disk_bytes = probes.cpu_s(pids) - cpu, written.since(pids)
    after = probes.metrics(broker.metrics_url)
    messages = max(result["published"], result["consumed"])
    received_bytes = result["published"] * (result["options"]["size"] if "options" in result else result["size"])
    figures: Figures = {
        "load": result,
        "publish_per_s": result["publish_per_s"],
        "consume_per_s": result["consume_per_s"],
        "broker_cpu_us_per_message": cpu * 1e6 / max(messages, 1),
        "broker_cores": cpu / max(result.get("seconds") or result["publish_seconds"] + result["consume_seconds"], 1e-9),
        "client_cpu_us_per_message": result["client_cpu_us_per_message"],
        "rss_max_bytes": max(watcher.rss),
        "rss_bytes": probes.rss_bytes(pids),
        "disk_bytes": disk_bytes,
        "disk_bytes_per_byte_received": disk_bytes / received_bytes if received_bytes else None,
        **stalls(after),
        "unsorted_bytes": probes.metric(after, *UNSORTED),
        "errors": sum(result["errors"].values()),
        "alive": broker.alive(),
    }
    commits = (probes.metric(before, *COMMITS), probes.metric(after, *COMMITS))
    if commits[0] is not None and commits[1] is not None and commits[1] > commits[0]:
        figures["messages_per_commit"] = messages / (commits[1] - commits[0])
    for name in ("first_s", "waited_s"):
        if result.get(name) is not None:
            figures[f"client_{name}"] = result[name]
    for kind in ("confirm_us", "end_to_end_us"):
        for name, value in (result[kind] or {}).items():
            figures[f"{kind} {name}"] = value
    if watcher.values:
        figures["unsorted_bytes_each_s"] = watcher.values
        figures["unsorted_grows"] = grows(watcher.values)
    return figures


def stalls(samples: dict[str, float]) -> Figures:
    """The longest that the loop was away since start, and how much of it was its own doing; None where a broker has no such figures."""
    return {"loop_stall_longest_ms": _ms(probes.metric(samples, *STALL)), "loop_stall_own_longest_ms": _ms(probes.metric(samples, *STALL_OWN))}


def grows(values: Sequence[float]) -> bool:
    """Whether the last third of a series lies above its middle third by more than a quarter and 64 MiB: a backlog that is not kept up with."""
    third = len(values) // 3
    if not third:
        return False
    middle, last = max(values[third : 2 * third]), max(values[2 * third :])
    return last > middle * 1.25 + 67_108_864


def settle(broker: Broker, *, seconds: float = 2.0) -> None:
    """Lets background work of a broker come to rest: until its memory and processor time stand still, at most five times `seconds`."""
    for _ in range(5):
        pids = broker.pids()
        cpu, rss = probes.cpu_s(pids), probes.rss_bytes(pids)
        time.sleep(seconds)
        if probes.cpu_s(pids) - cpu < 0.02 * seconds and abs(probes.rss_bytes(pids) - rss) < 1_048_576:
            return


def drop_page_cache() -> bool:
    """Whether the kernel's page cache could be emptied, which takes root."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("1")
    except OSError:
        return False
    return True


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e3
