"""`many`: thousands of connections, and a hundred thousand queues that work from every worker; of one worker alone, and of several.

  connections    that stand at once: how long until the last is there and all have been answered, which worker they came to, what memory each worker has
                 then. They ask for no heartbeats, and are closed before the rest
  one declare    of durable queues one after another, over a connection of each worker
  declares       of all queues, over the declaring connections at once, each so many calls ahead of their answers
  publishes      to each queue one message through every worker, persistent, mandatory, confirmed
  seen           each queue from every worker (a passive declare), with all its messages
  gets           from each queue one message through every worker: it has to be one of that queue, and at the end those of all workers have come, each once
  settles        all that was got, by one acknowledgement a connection
  seen empty     each queue once, over connections that are opened when those are closed

A connection comes to a worker by chance: which it is is looked up in /proc, before and after; connections are opened until every worker has one. The
client shares the machine with the broker, so look at the broker's processor time first.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from benchmarks.system.calls import DECLARE_OK, GET_OK, Caller, acknowledge_all, declare, exchange, get, messages_of, prefetch, publish
from benchmarks.system.handshake import Address, BrokerError, Session
from benchmarks.system.worker_node import STAY, Node

_OPENERS = 16  # threads that open connections
_OPEN_MAX = 1000  # connections, until every worker has one
_GONE_S = 60.0
_SINGLY = 300  # declares one after another


class WrongAnswer(Exception):
    """What was asked for was not as it has to be."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Of this bench alone."""
    add = parser.add_argument
    add("--connections", type=int, default=10_000, help="that stand at once")
    add("--queues", type=int, default=100_000)
    add("--declarers", type=int, default=30, help="connections that the queues are declared and used over")
    add("--window", type=int, default=20, help="calls of such a connection that are not answered")


def run(arguments: argparse.Namespace) -> int:
    """The exit status."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print("| workers | | count | s | µs each | broker CPU µs each | by worker | |\n|--:|---|--:|--:|--:|--:|---|---|", flush=True)
    for workers in sorted({1, arguments.workers}):
        node = Node(arguments.directory, arguments.command, workers, settings=[*STAY, *arguments.set])
        try:
            stand(node, arguments.connections)
            Queues(node, arguments).run()
        except (BrokerError, WrongAnswer) as error:
            print(f"{workers} workers: {error}", file=sys.stderr)
            return 1
        finally:
            node.broker.stop()
    return 0


@contextmanager
def _measured(node: Node, what: str, count: int) -> Iterator[list[Callable[[], str]]]:
    """A line about what is done meanwhile, with what those that are put into the list say afterwards."""
    notes: list[Callable[[], str]] = []
    before, begun = node.cpu_s(), time.monotonic()
    yield notes
    seconds, used = time.monotonic() - begun, [each / count * 1e6 for each in node.cpu_since(before)]
    by_worker, said = " ".join(f"{each:.1f}" for each in used), "; ".join(note() for note in notes)
    print(f"| {node.workers} | {what} | {count} | {seconds:.2f} | {seconds / count * 1e6:.1f} | {sum(used):.1f} | {by_worker} | {said} |", flush=True)


def stand(node: Node, count: int) -> None:
    """So many connections, which are closed again. Raises BrokerError, WrongAnswer."""
    address, empty = Address.parse(node.broker.url), node.rss_mb()
    with ThreadPoolExecutor(_OPENERS) as pool:
        with _measured(node, "connections", count) as notes:
            sessions = list(pool.map(lambda _: Session(address), range(count)))
            callers = [Caller(session, 1) for session in sessions]
            for caller in callers:
                caller.begin([prefetch(1)], lambda *_: None)
            exchange(callers)
            notes += [partial(_spread, node, count), lambda: f"memory MB {_words(empty)} before, {_words(node.rss_mb())} now"]
        for session in sessions:
            session.socket.setblocking(True)
        list(pool.map(Session.close, sessions))
    deadline = time.monotonic() + _GONE_S
    while node.workers_of_clients():
        if time.monotonic() > deadline:
            raise WrongAnswer(f"connections are there {_GONE_S:.0f} s after they were closed")
        time.sleep(0.1)


def _spread(node: Node, count: int) -> str:
    found = Counter(node.workers_of_clients())
    if found.total() != count:
        raise WrongAnswer(f"{count} connections were opened, the workers have {found.total()}")
    return f"connections {_words(found[number] for number in range(node.workers))}"


def _words(figures: Iterable[object]) -> str:
    return " ".join(map(str, figures))


@dataclass
class Client:
    """A connection and the worker that has it."""

    caller: Caller
    worker: int


class Queues:
    """Queues of a node, used over connections to all its workers."""

    def __init__(self, node: Node, arguments: argparse.Namespace) -> None:
        self._node = node
        self._window = arguments.window
        self._names = [f"many-{number}" for number in range(arguments.queues)]
        self._sessions = self._opened(arguments.declarers)
        self._clients: list[Client] = []

    def run(self) -> None:
        """All of it. Raises BrokerError, WrongAnswer."""
        self._declare_singly()
        for session in self._sessions:
            session.confirms()
        callers, workers = [Caller(session, self._window) for session in self._sessions], self._node.workers_of_ports()
        self._clients = [Client(caller, workers[caller.port]) for caller in callers]
        self._declare()
        self._publish()
        self._see()
        self._get()
        self._settle()
        moved = self._moved()
        if moved:
            raise WrongAnswer(f"{moved} connections went to another worker meanwhile: which queue was used from where is not known")
        for session in self._sessions:
            session.socket.setblocking(True)
            session.close()
        self._see_empty()

    def _opened(self, count: int) -> list[Session]:
        """So many connections, or as many more as it takes until every worker has one."""
        address = Address.parse(self._node.broker.url)
        sessions = [Session(address) for _ in range(count)]
        while len(set(self._node.workers_of_clients())) < self._node.workers:
            if len(sessions) >= _OPEN_MAX:
                raise WrongAnswer(f"{len(sessions)} connections, and a worker without one")
            sessions.append(Session(address))
        return sessions

    def _moved(self) -> int:
        now = self._node.workers_of_ports()
        return sum(now.get(client.caller.port) != client.worker for client in self._clients)

    def _declare_singly(self) -> None:
        ports = self._node.workers_of_ports()
        for worker, session in sorted({ports[session.socket.getsockname()[1]]: session for session in self._sessions}.items()):
            took: list[float] = []
            with _measured(self._node, f"one declare at a time, through worker {worker}", _SINGLY) as notes:
                for number in range(_SINGLY):
                    begun = time.perf_counter()
                    session.declare_queue(f"single-{worker}-{number}", durable=True)
                    took.append((time.perf_counter() - begun) * 1e6)
                notes.append(partial(_median, took))

    def _declare(self) -> None:
        clients = self._clients
        with _measured(self._node, "declares", len(self._names)) as notes:
            found = [Named(self._names[number :: len(clients)]) for number in range(len(clients))]
            for client, names in zip(clients, found, strict=True):
                client.caller.begin(map(declare, names.wanted), names.declared)
            exchange([client.caller for client in clients])
            notes.append(lambda: f"memory MB {_words(self._node.rss_mb())}")
        _check("declared", sum(names.count for names in found), len(self._names))

    def _of_every_worker(self) -> Iterator[tuple[Client, list[str]]]:
        """Each connection with names, so that each name is with one connection of every worker."""
        for worker in range(self._node.workers):
            clients = [client for client in self._clients if client.worker == worker]
            for number, client in enumerate(clients):
                yield client, self._names[number :: len(clients)]

    def _publish(self) -> None:
        count = len(self._names) * self._node.workers
        with _measured(self._node, "publishes", count):
            for client, names in self._of_every_worker():
                client.caller.begin(map(partial(_published_through, client.worker), names), lambda *_: None, publishes=True)
            exchange([client.caller for client in self._clients])

    def _see(self) -> None:
        count = len(self._names) * self._node.workers
        with _measured(self._node, "seen", count):
            found = []
            for client, names in self._of_every_worker():
                named = Named(names, messages=self._node.workers)
                found.append(named)
                client.caller.begin(map(partial(declare, passive=True), names), named.declared)
            exchange([client.caller for client in self._clients])
        _check("seen", sum(named.count for named in found), count)

    def _get(self) -> None:
        node = self._node
        got = Got(self._names, node.workers)
        with _measured(node, "gets", got.count_wanted) as notes:
            for client, names in self._of_every_worker():
                client.caller.begin(map(get, names), partial(got.take, client.worker, iter(names)))
            exchange([client.caller for client in self._clients])
            notes.append(lambda: f"each worker, of each owner's queues: {', '.join(_words(line) for line in got.table(node.owner))}")
        got.check()
        if not all(map(all, got.table(node.owner))):
            raise WrongAnswer("a worker has fetched nothing of an owner's queues: take more queues")

    def _settle(self) -> None:
        with _measured(self._node, "settles", len(self._names) * self._node.workers):
            for client in self._clients:
                client.caller.begin([acknowledge_all()], lambda *_: None)
            exchange([client.caller for client in self._clients])

    def _see_empty(self) -> None:
        sessions = self._opened(len(self._sessions))
        found = [Named(self._names[number :: len(sessions)]) for number in range(len(sessions))]
        with _measured(self._node, "seen empty", len(self._names)):
            callers = [Caller(session, self._window) for session in sessions]
            for caller, named in zip(callers, found, strict=True):
                caller.begin(map(partial(declare, passive=True), named.wanted), named.declared)
            exchange(callers)
        _check("seen empty", sum(named.count for named in found), len(self._names))
        for session in sessions:
            session.socket.close()


def _published_through(worker: int, queue: str) -> bytes:
    return publish(queue, f"{worker} {queue}".encode())


class Named:
    """Answers to declares, in order: of these queues, with so many messages."""

    def __init__(self, wanted: list[str], messages: int = 0) -> None:
        self.wanted = wanted
        self.count = 0
        self._messages = messages

    def declared(self, method: tuple[int, int], arguments: bytes, body: bytes) -> None:
        name, messages = arguments[1 : 1 + arguments[0]].decode(), messages_of(arguments) if method == DECLARE_OK else -1
        if (name, messages) != (self.wanted[self.count], self._messages):
            raise WrongAnswer(f"declared '{self.wanted[self.count]}', to have {self._messages} messages: it is '{name}' with {messages}")
        self.count += 1


class Got:
    """What was got, once through every worker, of queues to which every worker has published `WORKER QUEUE`."""

    def __init__(self, names: list[str], workers: int) -> None:
        self._workers = workers
        self._publishers: dict[str, set[int]] = {name: set() for name in names}
        self._getters: dict[str, list[int]] = {name: [] for name in names}

    @property
    def count_wanted(self) -> int:
        """Messages in all."""
        return len(self._publishers) * self._workers

    def take(self, worker: int, asked: Iterator[str], method: tuple[int, int], arguments: bytes, body: bytes) -> None:
        """An answer that came through this worker, to the next get of `asked`."""
        name = next(asked)
        publisher, _, said = body.decode().partition(" ")
        if method != GET_OK or said != name:
            raise WrongAnswer(f"worker {worker} was asked for a message of '{name}', and gave {body!r}")
        if int(publisher) in self._publishers[name]:
            raise WrongAnswer(f"what worker {publisher} was given for '{name}' came twice")
        self._publishers[name].add(int(publisher))
        self._getters[name].append(worker)

    def check(self) -> None:
        """Raises WrongAnswer if anything has not come, or not through every worker."""
        everyone = list(range(self._workers))
        for name, publishers in self._publishers.items():
            if sorted(publishers) != everyone or sorted(self._getters[name]) != everyone:
                raise WrongAnswer(f"of '{name}' came what workers {sorted(publishers)} were given, through workers {sorted(self._getters[name])}")

    def table(self, owner: Callable[[str], int]) -> list[list[int]]:
        """By worker that fetched, and by owner of the queue: how many."""
        found = Counter((worker, owner(name)) for name, workers in self._getters.items() for worker in workers)
        return [[found[worker, of] for of in range(self._workers)] for worker in range(self._workers)]


def _check(what: str, count: int, wanted: int) -> None:
    if count != wanted:
        raise WrongAnswer(f"{what}: {count} of {wanted}")


def _median(took_us: list[float]) -> str:
    return f"median {statistics.median(took_us):.0f} µs"
