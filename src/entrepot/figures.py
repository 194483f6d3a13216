"""Which figures the process and its node give to the metrics: names, units, and where each is read."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from entrepot import __version__
from entrepot.clock import Clock
from entrepot.cluster.link_figures import HasLinks
from entrepot.cluster.workers.moves import Moves
from entrepot.config import keys, value_of
from entrepot.metrics import Histogram, Metrics
from entrepot.net.network import Network
from entrepot.net.stall import BOUNDS_S, StallWatch
from entrepot.node import Node
from entrepot.settings import Config

CATALOGUE = ("namespaces", "exchanges", "queues", "topics", "partitions", "bindings")

COUNTED = {"commits", "commit_bytes", "commit_seconds", "checkpoints", "sorted_bytes", "adopted_bytes", "merged_bytes"}  # of statistics(): counts since start
TEXTS = {
    "commits": "Group commits that reached the disk",
    "commit_bytes": "Written by commits; divided by the commits, their size",
    "commit_seconds": "Spent writing and syncing commits; divided by the commits, their time",
    "cached_bytes": "Stored entries in memory",
    "journal_unsorted_bytes": "In the journal and not yet sorted into segments",
    "pressure": "1 while publishers are slowed down because of the store",
    "full": "1 while publishing is refused because of the disk reserve",
    "sorted_bytes": "Copied from the journal into segments",
    "adopted_bytes": "Journal files that stay as they are, as parts of segments",
    "merged_bytes": "Copied from segments into segments",
    "disk_free_bytes": "Free on the data directory's file system, as last looked at",
    "shelved_bytes": "Stored entries kept in memory for queues with message groups",
    "memory_bytes": "Transient messages in memory",
    "scratch_bytes": "Transient messages in scratch files",
}


class RunQueueWait:
    """How long the thread that makes it has waited for a processor, as Linux counts it; 0 where the system does not say.

    Source: the kernel's documentation, scheduler/sched-stats.
    """

    def __init__(self) -> None:
        try:
            self._file: io.FileIO | None = open("/proc/thread-self/schedstat", "rb", buffering=0)  # noqa: SIM115 - read 100 times a second
        except OSError:
            self._file = None
        self._last_s = 0.0

    def seconds(self) -> float:
        """See net.stall.Waited."""
        if self._file is None:
            return 0.0
        try:
            self._file.seek(0)
            self._last_s = int(self._file.read(96).split()[1]) / 1e9
        except (OSError, ValueError, IndexError):
            pass  # it waited no longer, as far as is known
        return self._last_s

    def close(self) -> None:
        """See net.stall.Waited."""
        if self._file is not None:
            self._file.close()
            self._file = None


def register_process(metrics: Metrics, config: Config, network: Network, stalls: StallWatch, is_ready: Callable[[], bool], clock: Clock) -> None:
    """The process, its loop and its sockets."""
    began = clock.monotonic_s()
    metrics.gauge("entrepot_info", "Constant 1; the version is in its label", lambda: 1, version=__version__)
    metrics.gauge("entrepot_ready", "1 when /readyz says so", lambda: float(is_ready()))
    metrics.gauge("entrepot_uptime_seconds", "Since start", lambda: clock.monotonic_s() - began)
    metrics.gauge("entrepot_memory_resident_bytes", "Of the process, as the system counts it", _resident_bytes)
    metrics.counter("entrepot_cpu_seconds_total", "Processor time of the process", _cpu_seconds)
    metrics.gauge("entrepot_connections", "Open connections", lambda: network.connection_count)
    metrics.gauge("entrepot_strangers", "Connections on which nobody has logged in yet", lambda: network.arrivals.strangers)
    metrics.gauge("entrepot_strangers_bytes", "Received on connections before their login", lambda: network.strangers.held_bytes)
    metrics.counter("entrepot_strangers_cut_total", "Connections before their login cut off for others", lambda: network.arrivals.outwaited)
    metrics.counter("entrepot_connections_accepted_total", "Connections accepted", lambda: sum(listener.accepted for listener in network.listeners))
    metrics.counter(
        "entrepot_connections_turned_away_total",
        "Connections closed at once, over a limit",
        lambda: sum(listener.turned_away for listener in network.listeners),
    )
    metrics.counter("entrepot_received_bytes_total", "Read from all connections", lambda: network.tick.bytes_received)
    metrics.counter("entrepot_sent_bytes_total", "Handed to all connections", lambda: network.tick.bytes_sent)
    metrics.counter("entrepot_flushes_total", "Loop ticks in which connections had something to send", lambda: network.tick.ticks)
    metrics.counter("entrepot_session_failures_total", "Connections closed because of a bug of the broker", lambda: network.session_failures)
    metrics.histogram("entrepot_loop_stall_seconds", "How late a timer of the event loop fired", lambda: Histogram(BOUNDS_S, stalls.counts, stalls.sum_s))
    metrics.gauge("entrepot_loop_stall_longest_seconds", "The longest since start", lambda: stalls.longest_s)
    metrics.gauge(
        "entrepot_loop_stall_own_longest_seconds",
        "The longest since start, without the time that the loop waited for a processor",
        lambda: stalls.longest_own_s,
    )
    metrics.gauge(
        "entrepot_unfinished_bytes", "Received of requests and messages that are not whole, of all connections", lambda: network.unfinished.held_bytes
    )
    metrics.counter(
        "entrepot_unfinished_ended_total", "Connections ended for limits.unfinished_bytes, theirs waiting longest", lambda: network.unfinished.ended_count
    )
    for found in keys():
        if found.name.startswith("limits."):
            name = found.name.removeprefix("limits.")
            metrics.gauge("entrepot_limit", "What each limit is set to; docs/limits.md explains them", partial(float, value_of(config, found)), limit=name)


def register_node(metrics: Metrics, node: Node) -> None:
    """The stores, the catalogue and the engine: what each says of itself in `statistics()`, read once per figure."""
    for kind in CATALOGUE:
        metrics.gauge(f"entrepot_{kind}", f"How many {kind} there are", partial(_read, node.catalogue.statistics, kind))
    _register_all(metrics, "entrepot_broker_", node.broker.statistics)
    for prefix, store in (("entrepot_store_", node.store), ("entrepot_volatile_", node.volatile)):
        metrics.gauge(f"{prefix}staged_bytes", "Published and not yet durable", partial(getattr, store, "staged_bytes"))
        _register_all(metrics, prefix, store.statistics)


def register_links(metrics: Metrics, links: HasLinks, names: Iterable[str]) -> None:
    """The links with the processes of these names."""

    def read(name: str, figure: str) -> float:
        return next((float(getattr(link, figure)) for link in links.figures() if link.name == name), 0.0)

    for name in names:
        metrics.gauge("entrepot_link_connected", "1 while the link with another process is connected", partial(read, name, "is_connected"), link=name)
        metrics.gauge("entrepot_link_held_bytes", "In memory for what the other process has not acknowledged", partial(read, name, "held_bytes"), link=name)
        metrics.counter("entrepot_link_frames_sent_total", "Frames sent over the link", partial(read, name, "sent"), link=name)
        metrics.counter("entrepot_link_frames_received_total", "Frames that came over the link", partial(read, name, "received"), link=name)


def register_moves(metrics: Metrics, moves: Moves) -> None:
    """Connections that go to the worker whose queue they use."""
    gone = ("entrepot_connections_moved_total", "Connections that went on to another worker, whose queue they use")
    metrics.counter(*gone, lambda: moves.gone)
    stayed = ("entrepot_connections_not_moved_total", "Connections that were to go to another worker, and stayed: busy for too long, or the other has no room")
    metrics.counter(*stayed, lambda: moves.stayed)


def _register_all(metrics: Metrics, prefix: str, statistics: Callable[[], Mapping[str, Any]]) -> None:
    for key, value in statistics().items():
        if not isinstance(value, (int, float)) or key == "staged_bytes":
            continue
        text = TEXTS.get(key) or key.removesuffix("_total").replace("_", " ").capitalize()
        read = partial(_read, statistics, key)
        if key.endswith("_total") or key in COUNTED:
            metrics.counter(f"{prefix}{key.removesuffix('_total')}_total", text, read)
        else:
            metrics.gauge(prefix + key, text, read)


def _read(statistics: Callable[[], Mapping[str, float]], key: str) -> float:
    return float(statistics()[key])


def _resident_bytes() -> float:
    try:
        with open("/proc/self/statm", "rb") as statm:
            return float(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # macOS has no /proc: the greatest so far, in bytes there
        import resource

        return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system
