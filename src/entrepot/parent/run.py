"""run(): a node of several workers, from its directory to its end."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec

from entrepot import __version__
from entrepot.clock import SystemClock
from entrepot.cluster.workers.directory import stores_for
from entrepot.cluster.workers.limits import of_worker
from entrepot.cluster.workers.opening import lock, opened
from entrepot.cluster.workers.place import WorkerPlace, name_of
from entrepot.cluster.workers.restarts import StartIds
from entrepot.config import packed
from entrepot.entropy import SystemEntropy
from entrepot.http.health import Health
from entrepot.http.listener import HttpListener
from entrepot.metrics import Metrics
from entrepot.model.errors import CorruptData, Reason, Refused
from entrepot.net.network import Network, NetworkLimits
from entrepot.net.pages import Pages
from entrepot.parent.addresses import Addresses
from entrepot.parent.child import Child
from entrepot.parent.earlier import wait_for_earlier
from entrepot.parent.forwarding import Forwarding
from entrepot.parent.health import Figures, register
from entrepot.parent.supervisor import Step, Supervisor
from entrepot.protocol_table import listeners
from entrepot.secret_file import make_key
from entrepot.settings import Config
from entrepot.started import Started

log = logging.getLogger("entrepot.parent")

SIGNALS = (signal.SIGTERM, signal.SIGINT)
SECRETS_KEY_NAME = "secrets.key"  # as one process names it (broker/users/secret_box.py)
COMMAND = (sys.executable, "-m", "entrepot", "serve")
FILES_OF_OUR_OWN = 128  # what is accepted in a turn before it is counted, scrapes, and what a process takes that is started
GOODBYE_S = 1.0  # for who has asked for health or figures and stays connected
CORRUPT = 1  # exit status of a worker whose data is damaged, and of any that ends otherwise than refused


def run(
    config: Config,
    count: int,
    announce: Callable[[Started], None],
    notes: Sequence[str] = (),
    control_fd: int | None = None,
    command: Sequence[str] = (),
) -> int:
    """Run `count` workers until a signal ends them; the exit status. Arguments as of server.run; `command`: what a worker is started by, if not by COMMAND.

    Raises Refused and CorruptData for what the configuration, the directory or a worker that cannot start says, OSError.
    """
    for note in notes:
        log.warning("%s", note)
    os.umask(0o077)
    with ExitStack() as stack:
        data = Path(config.data).resolve()
        stack.callback(os.close, lock(data))
        entropy = SystemEntropy()
        workers = opened(data, count, entropy)
        if not config.secrets_key_file:
            make_key(data / SECRETS_KEY_NAME, entropy)
        wait_for_earlier(stores_for(data, count))
        try:
            addresses = Addresses(config, count, stack)
        except OSError as error:
            raise Refused(Reason.INVALID, f"cannot start: {error.strerror or error}") from None
        starts = StartIds(data, SystemClock(), entropy)
        with asyncio.Runner() as runner:
            return runner.run(Parent(config, count, data, workers.cluster_id, addresses, starts, command or COMMAND).serve(announce, control_fd))


def bounded(limits: NetworkLimits, files: int, held: int) -> NetworkLimits:
    """So many connections that a worker can be started whoever asks for figures: of `files` that may be open, `held` are the workers' and their addresses'."""
    if files == resource.RLIM_INFINITY:
        return limits
    possible = max(1, files - held - FILES_OF_OUR_OWN)
    return replace(limits, connections=min(limits.connections, possible), connections_per_listener=min(limits.connections_per_listener, possible))


class Parent:
    """Made on no loop yet; `serve` once."""

    def __init__(self, config: Config, count: int, data: Path, cluster_id: str, addresses: Addresses, starts: StartIds, command: Sequence[str]) -> None:
        self._config = config
        self._count = count
        self._data = data
        self._cluster_id = cluster_id
        self._addresses = addresses
        self._starts = starts
        self._command = command
        self._clock = SystemClock()
        self._began_s = self._clock.monotonic_s()
        self._children: dict[int, Child] = {}  # by worker
        self._stores = stores_for(data, count)
        self._packed = [packed(self._config_of(number)) for number in range(count)]
        self._forwarding = Forwarding(count, lambda number, command: self._supervisor.ask(number, command))
        self._supervisor: Supervisor

    async def serve(self, announce: Callable[[Started], None], control_fd: int | None) -> int:
        """Until no worker is left; the exit status."""
        loop = asyncio.get_running_loop()
        ready, over = asyncio.Event(), loop.create_future()
        self._supervisor = supervisor = Supervisor(
            self._count,
            launch=self._launch,
            next_start=self._starts.next,
            call_later=loop.call_later,
            monotonic_s=self._clock.monotonic_s,
            grace_s=self._config.limits.stop_grace_ms / 1000,
            on_ready=ready.set,
            on_over=lambda *ended: over.set_result(ended),
            on_answer=self._forwarding.answered,
            on_ready_again=self._forwarding.ready_again,
        )
        network = self._network(loop)
        http = await self._listen(network)
        loop.add_signal_handler(signal.SIGCHLD, self._look)
        for number in SIGNALS:
            loop.add_signal_handler(number, self._on_signal)
        supervisor.start()
        telling = loop.create_task(self._tell(ready, announce, http, control_fd))
        telling.add_done_callback(self._told)
        status, why = await over
        telling.cancel()
        await network.stop("the broker stops", GOODBYE_S)
        if why:
            raise CorruptData(why) if status == CORRUPT else Refused(Reason.INVALID, why)
        return int(status)

    async def _tell(self, ready: asyncio.Event, announce: Callable[[Started], None], http: HttpListener | None, control_fd: int | None) -> None:
        await ready.wait()
        announce(self._started(http))
        if control_fd is not None:
            await self._forwarding.serve(control_fd)

    def _told(self, telling: asyncio.Task[None]) -> None:
        """Whoever started the broker cannot be told: it ends."""
        if not telling.cancelled() and (error := telling.exception()) is not None:
            log.error("it cannot be said that the broker is ready", exc_info=error)
            self._supervisor.kill(1)

    def _started(self, http: HttpListener | None) -> Started:
        addresses = {} if http is None else {http.name: (http.host, http.port)}
        addresses |= {name: held.bound for name, held in self._addresses.shared.items()}
        said = [worker.ready or {} for worker in self._supervisor.workers]
        seconds = self._clock.monotonic_s() - self._began_s
        pids = [int(one.get("pid", 0)) for one in said]
        is_compiled = all(one.get("compiled", False) for one in said)
        return Started(__version__, os.getpid(), seconds, addresses, str(self._data), self._config.durability.mode, is_compiled, self._cluster_id, pids)

    # ---- workers

    def _config_of(self, number: int) -> Config:
        """What one worker is to run by: addresses that are known, a store of its own, its part of the limits."""
        return msgspec.structs.replace(
            of_worker(self._config, self._count),
            data=str(self._stores[number]),
            listen=dict(self._addresses.of_workers()),
            secrets_key_file=self._config.secrets_key_file or str(self._data / SECRETS_KEY_NAME),
            workers=0,
        )

    def _launch(self, number: int, start: str) -> Child:
        addresses = self._addresses.of_clients()
        place = WorkerPlace(number=number, count=self._count, start=start, data=str(self._data), addresses=addresses, own=self._addresses.own)
        first = {"place": msgspec.to_builtins(place), "config": self._packed[number]}
        # What a list of processes shows of it: which worker it is. It goes by what it is told.
        command = [*self._command, "--data", str(self._stores[number])]
        heard = partial(self._supervisor.heard, number, start)
        child = Child(asyncio.get_running_loop(), command, first, heard, partial(self._ended, number, start))
        self._children[number] = child
        log.debug("%s is process %d", name_of(number), child.pid)
        return child

    def _ended(self, number: int, start: str, status: int) -> None:
        del self._children[number]
        self._forwarding.lost(number)
        self._supervisor.ended(number, start, status)

    def _look(self) -> None:
        for child in list(self._children.values()):
            child.look()

    def _on_signal(self) -> None:
        if self._supervisor.step is Step.STARTING:
            log.warning("stopping before it is ready")
        elif self._supervisor.step is Step.RUNNING:
            log.info("stopping")
        else:
            log.warning("second signal: stopping at once")
        self._supervisor.stop("the broker stops")

    # ---- HTTP

    def _network(self, loop: asyncio.AbstractEventLoop) -> Network:
        limits = self._config.limits
        bounds = NetworkLimits(**{name: getattr(limits, name) for name in NetworkLimits.__dataclass_fields__})
        return Network(loop, self._clock, bounded(bounds, resource.getrlimit(resource.RLIMIT_NOFILE)[0], self._count + self._addresses.count), listeners())

    async def _listen(self, network: Network) -> HttpListener | None:
        """The port of health and metrics, if there is to be one."""
        if self._addresses.http is None:
            return None
        metrics = Metrics()
        register(metrics, self._supervisor, self._clock)
        health = Health(metrics, self._supervisor.why_not_ready, Figures(metrics, self._stores, lambda number: self._supervisor.workers[number].start))
        listener = HttpListener(
            network,
            *self._addresses.http,
            health,
            self._config.limits.http_request_bytes,
            pages=Pages(self._config.http_hosts),
            has_users=lambda: self._supervisor.has_users,
        )
        try:
            await network.listen(listener)
        except OSError as error:
            raise Refused(Reason.INVALID, f"cannot start: {error.strerror or error}") from None
        network.open += [(name, held.host, held.port) for name, held in self._addresses.shared.items()]
        self._addresses.http = (listener.host, listener.port)
        return listener
