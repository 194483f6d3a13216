"""Puts a broker together from its configuration, runs it until a signal or a failed store ends it, and takes it apart in order.

start   loop -> network -> http (healthy, not ready) -> store: recovery -> broker -> protocol listeners -> ready
stop    not ready -> listeners closed -> sessions say goodbye -> store flushed and checkpointed -> exit 0
failure the store has failed: said in the log, exit STORE_FAILED at once, nothing is acknowledged any more
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from entrepot import __version__
from entrepot.clock import Clock, SystemClock
from entrepot.config import Config, address, keys
from entrepot.entropy import Entropy, SystemEntropy
from entrepot.http.listener import HttpListener
from entrepot.metrics import Histogram, Metrics
from entrepot.model.errors import Reason, Refused
from entrepot.net.network import Network, NetworkLimits
from entrepot.net.stall import BOUNDS_S, StallWatch

log = logging.getLogger("entrepot.server")

STORE_FAILED = 74  # exit status; EX_IOERR of sysexits.h
STOPPED_TWICE = 1  # exit status after a second signal
GC_THRESHOLDS = (50_000, 50, 100)  # after recovery: what lives then lives on, and the rest is mostly freed by counting


@dataclass(frozen=True, slots=True)
class Started:
    """What a ready broker says of itself."""

    version: str
    pid: int
    seconds: float  # from the start of `run` to ready
    addresses: Mapping[str, tuple[str, int]]  # by listener
    data: str
    durability: str

    def url(self, name: str) -> str:
        """A listener's address as a client writes it."""
        host, port = self.addresses[name]
        return f"{name}://{f'[{host}]' if ':' in host else host}:{port}"

    def as_json(self) -> dict[str, Any]:
        """The ready line for programs."""
        urls = {name: self.url(name) for name in self.addresses}
        return {"ready": True, "version": self.version, "pid": self.pid, "data": self.data, "durability": self.durability, "listen": urls}


class Server:
    """One broker in this process. `start` once, then `stop` once."""

    def __init__(self, config: Config, clock: Clock, entropy: Entropy) -> None:
        self.config = config
        self.clock = clock
        self.entropy = entropy
        self.metrics = Metrics()
        self.why_not_ready: str | None = "starting"
        self.loop = asyncio.get_running_loop()
        limits = config.limits
        self.network = Network(self.loop, clock, NetworkLimits(**{name: getattr(limits, name) for name in NetworkLimits.__dataclass_fields__}))
        self.stalls = StallWatch(self.loop, clock)
        self.store: Any = None
        self.broker: Any = None
        self._began = clock.monotonic_s()

    async def start(self) -> Started:
        """Recover and listen. Raises Refused for what the configuration or the data directory does not allow, OSError for a taken address."""
        wanted = {name: address(name, where) for name in self.config.listen.__struct_fields__ if (where := getattr(self.config.listen, name))}
        self._register()
        if "http" in wanted:
            await self._listen_http(*wanted["http"])
        self.why_not_ready = "the store recovers"
        for name in ("amqp", "amqps"):
            if name in wanted:
                await self._listen_amqp(name, *wanted[name])
        self.why_not_ready = None
        self.stalls.start()
        addresses = {listener.name: (listener.host, listener.port) for listener in self.network.listeners}
        seconds = self.clock.monotonic_s() - self._began
        return Started(__version__, os.getpid(), seconds, addresses, str(Path(self.config.data).resolve()), self.config.durability.mode)

    async def stop(self) -> None:
        """See the module; takes at most limits.stop_grace_ms for the connections, and what the disk needs."""
        self.why_not_ready = "the broker stops"
        await self.network.stop("the broker stops", self.config.limits.stop_grace_ms / 1000)
        self.stalls.stop()

    async def _listen_http(self, host: str, port: int) -> None:
        from entrepot.http.health import Health

        await self.network.listen(
            HttpListener(self.network, host, port, Health(self.metrics, lambda: self.why_not_ready), self.config.limits.http_request_bytes)
        )

    async def _listen_amqp(self, name: str, host: str, port: int) -> None:
        pass

    def _register(self) -> None:
        metrics, network, stalls = self.metrics, self.network, self.stalls
        metrics.gauge("entrepot_info", "Constant 1; the version is in its label", lambda: 1, version=__version__)
        metrics.gauge("entrepot_ready", "1 when /readyz says so", lambda: float(self.why_not_ready is None))
        metrics.gauge("entrepot_uptime_seconds", "Since start", lambda: self.clock.monotonic_s() - self._began)
        metrics.gauge("entrepot_memory_resident_bytes", "Of the process, as the system counts it", _resident_bytes)
        metrics.counter("entrepot_cpu_seconds_total", "Processor time of the process", _cpu_seconds)
        metrics.gauge("entrepot_connections", "Open connections", lambda: network.connection_count)
        metrics.counter("entrepot_received_bytes_total", "Read from all connections", lambda: network.tick.bytes_received)
        metrics.counter("entrepot_sent_bytes_total", "Handed to all connections", lambda: network.tick.bytes_sent)
        metrics.counter("entrepot_flushes_total", "Loop ticks in which connections had something to send", lambda: network.tick.ticks)
        metrics.counter("entrepot_session_failures_total", "Connections closed because of a bug of the broker", lambda: network.session_failures)
        metrics.histogram("entrepot_loop_stall_seconds", "How late a timer of the event loop fired", lambda: Histogram(BOUNDS_S, stalls.counts, stalls.sum_s))
        metrics.gauge("entrepot_loop_stall_longest_seconds", "The longest since start", lambda: stalls.longest_s)
        for found in keys():
            if found.name.startswith("limits."):
                name = found.name.removeprefix("limits.")
                metrics.gauge(
                    "entrepot_limit", "What each limit is set to; docs/limits.md explains them", partial(getattr, self.config.limits, name), limit=name
                )


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


def run(config: Config, announce: Callable[[Started], None], notes: Sequence[str] = ()) -> int:
    """Run a broker until a signal ends it; the exit status. `announce` is called once, when it is ready."""
    for note in notes:
        log.warning("%s", note)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(config, announce))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        log.warning("uvloop is not installed; asyncio's own loop is used (slower with many connections)")
        return None
    return uvloop.new_event_loop


async def _serve(config: Config, announce: Callable[[Started], None]) -> int:
    stopping = asyncio.Event()

    def on_signal() -> None:
        if stopping.is_set():
            log.warning("second signal: stopping at once")
            _leave(STOPPED_TWICE)
        log.info("stopping")
        stopping.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    server = Server(config, SystemClock(), SystemEntropy())
    try:
        started = await server.start()
    except OSError as error:
        raise Refused(Reason.INVALID, f"cannot listen: {error}") from None
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    announce(started)
    await stopping.wait()
    await server.stop()
    return 0


def _leave(status: int) -> None:
    """End the process now: nothing more is written, sent or acknowledged."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def offline(config: Config) -> AbstractContextManager[Any]:
    """The catalogue of a data directory that no broker runs on, for the commands that change users."""
    raise Refused(Reason.NOT_SUPPORTED, f"{config.data}: users cannot be changed yet")
