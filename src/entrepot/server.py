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
import resource
import signal
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import msgspec

from entrepot import __version__
from entrepot.authentication import Authenticator
from entrepot.beside import Beside
from entrepot.broker.users.users import check_listen
from entrepot.clock import Clock, SystemClock
from entrepot.cluster.member import Member
from entrepot.cluster.workers.directory import read as workers_of
from entrepot.cluster.workers.link_sockets import LIMITS as LINK_LIMITS
from entrepot.cluster.workers.link_sockets import connect_links
from entrepot.cluster.workers.moves import Moves
from entrepot.config import listened
from entrepot.control import Control
from entrepot.entropy import Entropy, SystemEntropy
from entrepot.figures import RunQueueWait, register_links, register_moves, register_node, register_process
from entrepot.http.listener import HttpListener
from entrepot.leaving import STOPPED_TWICE, STORE_FAILED, leave
from entrepot.metrics import Metrics
from entrepot.model.errors import Reason, Refused
from entrepot.model.nodes import ALONE
from entrepot.net import connection
from entrepot.net.network import Network, NetworkLimits
from entrepot.net.pages import Pages
from entrepot.net.stall import StallWatch
from entrepot.net.tls import server_context
from entrepot.node import Membership, Node
from entrepot.protocol import Protocol, Site, Speaker
from entrepot.protocol_table import listeners, protocols
from entrepot.settings import Config, address
from entrepot.started import Started

log = logging.getLogger("entrepot.server")

FILES_OF_OUR_OWN = 200  # journal, segments, libraries, and what is accepted in a turn before it is counted
SIGNALS = (signal.SIGTERM, signal.SIGINT)
RECOVERY_LOG_INTERVAL_S = 0.5
JOINING_LOOK_S = 0.01  # at whether this process may let clients in
# After recovery: what lives then lives on, and the rest is mostly freed by counting. A look at what is young is short.
GC_THRESHOLDS = (2_000, 2, 60_000)


class Server:
    """One broker in this process. `start` once, then `stop` once."""

    def __init__(
        self, config: Config, clock: Clock, entropy: Entropy, on_failed: Callable[[BaseException], None], membership: Membership | None = None
    ) -> None:
        self.config = config
        self.membership = membership
        self.clock = clock
        self.entropy = entropy
        self.metrics = Metrics()
        self.why_not_ready: str | None = "starting"
        self.loop = asyncio.get_running_loop()
        limits = config.limits
        bounds = NetworkLimits(**{name: getattr(limits, name) for name in NetworkLimits.__dataclass_fields__})
        self.network = Network(self.loop, clock, bounds, listeners())
        self.links: Network | None = None  # of the links with other processes
        self.moves: Moves | None = None  # of connections to and from them
        self.pages = Pages(config.http_hosts)
        self.stalls = StallWatch(self.loop, clock, RunQueueWait())
        self.node: Node | None = None
        self.authenticator: Authenticator | None = None
        self.beside: Beside | None = None
        self.speakers: dict[str, Speaker] = {}  # by protocol; of those that are listened for
        self._on_failed = on_failed
        self._began = clock.monotonic_s()
        self._has_left = False

    async def start(self) -> Started:
        """Recover and listen. Raises Refused for what the configuration or the data directory does not allow, CorruptData, OSError for a taken address."""
        wanted = {name: address(name, where) for name, where in listened(self.config).items() if where}
        register_process(self.metrics, self.config, self.network, self.stalls, lambda: self.why_not_ready is None, self.clock)
        if "http" in wanted:
            await self._listen_http(*wanted["http"])
        self.why_not_ready = "the store recovers"
        self.node = node = Node(self.config, self.loop, self.clock, self.entropy, self._failed, _RecoveryLog(self.clock), self.membership)
        self._forget_seeded(node)
        if node.member is not None:
            await self._join(node.member)
        self.beside = beside = Beside(self.loop, "entrepot-batches")
        node.broker.hub.pieces.elsewhere = beside.do
        register_node(self.metrics, node)
        if node.member is not None:
            register_links(self.metrics, node.member, node.member.place.others())
        self.authenticator = Authenticator(node.users, self.loop, self.clock)
        self._warn(node)
        if node.member is not None:
            self._let_move(node.member)
        site = self._site(node, self.authenticator, beside)
        for protocol in protocols().values():
            await self._speak(protocol, site, {name: wanted[name] for name in protocol.listeners if name in wanted})
        await self._listen_admin()
        self.why_not_ready = None
        addresses = {listener.name: (listener.host, listener.port) for listener in self.network.listeners if listener.for_clients and not listener.of_node}
        seconds = self.clock.monotonic_s() - self._began
        data = str(Path(self.config.data).resolve())
        return Started(__version__, os.getpid(), seconds, addresses, data, self.config.durability.mode, is_compiled(), node.broker.cluster_id)

    async def stop(self) -> None:
        """See the module; takes at most limits.stop_grace_ms for the connections, and what the disk needs."""
        await self.leave()
        if self.authenticator is not None:
            self.authenticator.close()
        for speaker in self.speakers.values():
            speaker.close()
        if self.beside is not None:
            self.beside.close()
        if self.node is not None:
            await self.node.close()
        if self.links is not None:
            await self.links.stop("the process stops", self.config.limits.stop_grace_ms / 1000)
        self.stalls.stop()

    async def leave(self) -> None:
        """The first part of the stop: no client is connected any more."""
        if not self._has_left:
            self._has_left = True
            if self.moves is not None:
                self.moves.stop()
            self.why_not_ready = "the broker stops"
            await self.network.stop("the broker stops", self.config.limits.stop_grace_ms / 1000)

    async def _join(self, member: Member) -> None:
        """Be one of several processes; until clients may be let in."""
        member.begin()
        self.network.tick.on_read = None if member.decides else member.woken
        self.links = Network(self.loop, self.clock, LINK_LIMITS)
        await connect_links(self.links, member, Path(member.place.data), member.place.name, member.to_dial())
        joined = asyncio.Event()
        self._look(member, joined)
        await joined.wait()

    def _let_move(self, member: Member) -> None:
        """Connections may move between this process and the others."""
        most = self.config.limits.connection_moves
        place, may_take = member.place, lambda: member.why_not_ready is None
        moves = Moves(self.network, Path(place.data), place.name, most, lambda name: name in member.sessions, may_take)
        try:
            moves.start()
        except OSError as error:
            log.info("connections stay with the worker that accepts them: %s", error)
            return
        self.moves = moves
        if most:
            self.network.moves = moves
        register_moves(self.metrics, moves)

    def _look(self, member: Member, joined: asyncio.Event) -> None:
        """Whether clients may be let in by now."""
        self.why_not_ready = member.why_not_ready or self.why_not_ready
        if member.why_not_ready is None:
            joined.set()
        else:
            self.loop.call_later(JOINING_LOOK_S, self._look, member, joined)

    def _forget_seeded(self, node: Node) -> None:
        """Who decides does, before anybody else follows."""
        for name in () if node.follows else node.users.forget_seeded(self.config.users):
            log.warning("user '%s' is deleted with its access keys: the configuration that made it has it no more", name)

    def _warn(self, node: Node) -> None:
        """Of what is open wider than it need be: of several processes the one says it that decides. The others have the first snapshot now, and its secrets."""
        node.broker.dropped.journal = partial(log.warning, "%s")
        if node.follows:
            node.users.check_secrets()
            return
        mode = Path(self.config.data).stat().st_mode
        if mode & 0o077:
            log.warning("others on this machine may enter the data directory (mode %03o): `chmod 700 %s`", mode & 0o777, self.config.data)
        if node.users.has_own() and node.users.guest_is_as_it_came():
            log.warning("the user guest may still do everything from this machine, with the password that everybody knows: `entrepot users delete guest`")
        for note in node.users.pattern_notes():
            log.warning("%s", note)

    def _failed(self, error: BaseException) -> None:
        self.why_not_ready = "the store has failed"
        self._on_failed(error)

    async def _listen_http(self, host: str, port: int) -> None:
        from entrepot.http.health import Health

        await self.network.listen(
            HttpListener(
                self.network,
                host,
                port,
                Health(self.metrics, lambda: self.why_not_ready),
                self.config.limits.http_request_bytes,
                pages=self.pages,
                has_users=lambda: self.node is not None and self.node.users.has_own(),
            )
        )

    async def _listen_admin(self) -> None:
        """For the commands of who owns the data directory; a directory that takes no socket costs no more than these."""
        from entrepot.admin.listener import AdminListener
        from entrepot.admin.service import Service
        from entrepot.admin.status import Self, readings

        assert self.node is not None
        place = None if self.membership is None else self.membership.place
        process = Self(self.node, self.network, self.clock, lambda: self.why_not_ready, place, self.node.member)
        service = Service(self.node, self.network, self.loop, readings(self.metrics, process))
        try:
            await self.network.listen(AdminListener(self.network, Path(self.config.data), service, self.config.limits.http_request_bytes))
        except OSError as error:
            log.warning("the broker cannot be administered while it runs: no socket in the data directory: %s", error)

    def _site(self, node: Node, authenticator: Authenticator, beside: Beside) -> Site:
        return Site(
            config=self.config,
            network=self.network,
            broker=node.broker,
            decisions=node.decisions,
            administration=node.administration,
            users=node.users,
            authenticator=authenticator,
            clock=self.clock,
            entropy=self.entropy,
            pages=self.pages,
            beside=beside,
            metrics=self.metrics,
            tls=self._tls,
            nodes=ALONE if self.membership is None else self.membership.place.nodes(),
        )

    async def _speak(self, protocol: Protocol, site: Site, wanted: Mapping[str, tuple[str, int]]) -> None:
        """Listen where that is wanted; a protocol that nobody listens for costs nothing."""
        if protocol.speak is None or not wanted:
            return
        self.speakers[protocol.name] = speaker = protocol.speak(site)
        for name, (host, port) in wanted.items():
            check_listen(name, host, site.users)
            await self.network.listen(speaker.make_listener(name, host, port, None))
            if protocol.tells_nodes_apart and name in site.nodes.addresses:
                own = speaker.make_listener(name, *site.nodes.addresses[name][site.nodes.own], None)
                own.of_node = True
                await self.network.listen(own)

    def control(self) -> Control:
        """For the program that started the broker, once it is ready."""
        assert self.node is not None
        own = {name: protocols()[name].namespace_listener for name in self.speakers}
        return Control(self.node, self.network, {listener: self.speakers[name].make_listener for name, listener in own.items() if listener})

    def _tls(self) -> ssl.SSLContext:
        """Of the listeners over TLS; config.listened has found the settings."""
        files = self.config.tls
        authorities = Path(files.client_authorities) if files.client_authorities else None
        return server_context(Path(files.certificate), Path(files.key), authorities)


def is_compiled() -> bool:
    """Whether the hot modules run as compiled, or from their sources."""
    return (connection.__file__ or "").endswith(tuple(EXTENSION_SUFFIXES))


class _RecoveryLog:
    """Says how far recovery is, when it takes long enough to wonder."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next = clock.monotonic_s() + RECOVERY_LOG_INTERVAL_S

    def __call__(self, what: str, done: int, total: int) -> None:
        now = self._clock.monotonic_s()
        if now >= self._next:
            self._next = now + RECOVERY_LOG_INTERVAL_S
            log.info("recovering: %s, %d of %d MiB (%d %%)", what, done >> 20, total >> 20, 100 * done // max(1, total))


def run(config: Config, announce: Callable[[Started], None], notes: Sequence[str] = (), control_fd: int | None = None) -> int:
    """Run a broker until a signal ends it; the exit status. `announce` is called once, when it is ready. `control_fd`: a socket for control.py."""
    for note in notes:
        log.warning("%s", note)
    os.umask(0o077)  # what the broker writes is its own
    config = within_descriptors(config)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_serve(config, announce, control_fd))


def within_descriptors(config: Config) -> Config:
    """Every connection is an open file: take as many as the system gives, and where that is fewer than the configuration allows, allow fewer, and say so."""
    limits = config.limits
    possible = max(1, _raise_file_limit(limits.connections + FILES_OF_OUR_OWN) - FILES_OF_OUR_OWN)
    if possible >= limits.connections:
        return config
    log.warning("limits.connections is %d instead of %d: the system allows no more open files (`ulimit -n`)", possible, limits.connections)
    return msgspec.structs.replace(config, limits=msgspec.structs.replace(limits, connections=possible))


def _raise_file_limit(wanted: int) -> int:
    """How many files may be open, `wanted` if the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft == unlimited or soft >= wanted:
        return wanted
    possible = wanted if hard == unlimited else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
    except (OSError, ValueError):  # macOS has a lower limit than it says
        possible = soft
    return possible


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Of uvloop where it is installed; None: asyncio's own."""
    try:
        import uvloop
    except ImportError:
        log.warning("uvloop is not installed; asyncio's own loop is used (slower with many connections)")
        return None
    return uvloop.new_event_loop


async def _serve(config: Config, announce: Callable[[Started], None], control_fd: int | None) -> int:
    stopping = asyncio.Event()

    def on_signal() -> None:
        if stopping.is_set():
            log.warning("second signal: stopping at once")
            leave(STOPPED_TWICE)
        log.info("stopping")
        stopping.set()

    def on_early_signal(*_: object) -> None:
        log.warning("stopping before it is ready")
        leave(STOPPED_TWICE)

    for number in SIGNALS:
        signal.signal(number, on_early_signal)  # recovery holds up the loop, and has nothing that would be lost
    server = Server(config, SystemClock(), SystemEntropy(), store_failed)
    try:
        started = await server.start()
    except OSError as error:
        raise Refused(Reason.INVALID, f"cannot start: {error.strerror or error}") from None
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, on_signal)
    announce(started)
    settle()
    control = None
    if control_fd is not None:
        control = loop.create_task(server.control().serve(control_fd))
    server.stalls.start()  # from here on: what it finds is traffic's
    await stopping.wait()
    if control is not None:
        control.cancel()
    await server.stop()
    return 0


def settle() -> None:
    """What need not be done before the first client: import what the first scrape needs, and keep the collector away from all that stays."""
    import entrepot.http.exposition  # noqa: F401

    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    gc.enable()


def store_failed(error: BaseException) -> None:
    """Say so, and end the process at once."""
    log.critical("the store has failed, and nothing is confirmed any more: %s", error, exc_info=error)
    leave(STORE_FAILED)


@contextmanager
def offline(config: Config, own: range | None = None) -> Iterator[Node]:
    """The node of a data directory that no broker runs on, for the commands that change what it keeps. What was changed is durable at the end.

    `own`: the shards that are this directory's, of several workers; None: all. Raises Refused if a broker runs on it, or it is of several workers.
    """
    if (found := workers_of(Path(config.data))) is not None and found.workers > 1:
        raise Refused(Reason.NOT_SUPPORTED, f"{config.data} is divided for {found.workers} workers: it can be changed while the broker runs on it")
    os.umask(0o077)
    with asyncio.Runner() as runner:
        node = runner.run(_open(config, own))
        try:
            yield node
        finally:
            runner.run(node.close())


async def _open(config: Config, own: range | None) -> Node:
    return Node(config, asyncio.get_running_loop(), SystemClock(), SystemEntropy(), store_failed, own=own)
