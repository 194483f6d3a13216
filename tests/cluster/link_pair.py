"""Processes with links between them, over connections that cut anything anywhere. Everything comes from a seed."""

from __future__ import annotations

import random
from typing import Any

from entrepot.cluster.greeting import NONCE_SIZE, START_SIZE
from entrepot.cluster.link import Link
from entrepot.cluster.link_session import Identity, LinkSession
from entrepot.model.errors import CorruptData
from entrepot.simulation.linked_owners import give
from stopped_clock import StoppedClock

KEY = b"the key of the cluster, 32 octets"


class Process:
    """One start after another of a process, with a link to one other. `got[start of the sender]`: what has come of it, in this start."""

    def __init__(self, name: str, rng: random.Random, clock: Any, cluster: str = "c", key: bytes = KEY) -> None:
        self.name = name
        self.rng = rng
        self.clock = clock
        self.cluster = cluster
        self.key = key
        self.dead: set[bytes] = set()
        self.begun = 0
        self.log: list[str] = []
        self.session: LinkSession | None = None
        self.begin()

    def begin(self) -> None:
        """A new start, which knows nothing."""
        self.begun += 1
        self.start = self.begun.to_bytes(8, "big") + self.rng.randbytes(START_SIZE - 8)
        self.links: dict[str, Link] = {}
        self.got: dict[bytes, list[bytes]] = {}
        self.sent: dict[bytes, list[bytes]] = {}  # by the start they were sent to
        self.session = None

    def connect(self, dials: str | None) -> LinkSession:
        identity = Identity(self.cluster, self.name, self.start, self.key)
        return LinkSession(identity, self, dials, self.clock, self.rng.randbytes(NONCE_SIZE), lambda: None, lambda _, call: call(), self.log.append)

    def send(self, name: str, frame: bytes) -> None:
        link = self.links.get(name)
        if link is not None:
            link.send(frame[:3], frame[3:])
            self.sent.setdefault(link.peer, []).append(frame)

    # ---- Ends

    def known(self, name: str) -> Link | None:
        return self.links.get(name)

    def admit(self, name: str, start: bytes) -> Link:
        if start in self.dead:
            raise CorruptData(f"that start of '{name}' was declared dead")
        link = self.links.get(name)
        if link is None or link.peer != start:
            if link is not None:
                self.dead.add(link.peer)
            link = self.links[name] = Link(name, start)
        return link

    def opened(self, session: LinkSession) -> None:
        if self.session is not None and self.session is not session:
            self.session.superseded()
        self.session = session

    def frames(self, link: Link, found: list[bytes]) -> None:
        self.got.setdefault(link.peer, []).extend(found)

    def ended(self, session: LinkSession, reason: str) -> None:
        if self.session is session:
            self.session = None


class Pipe:
    """One connection: octets of each end under way, in order, until it breaks."""

    def __init__(self, rng: random.Random, dialler: LinkSession, acceptor: LinkSession) -> None:
        self.rng = rng
        self.ends = (dialler, acceptor)
        self.under_way = (bytearray(), bytearray())  # to the acceptor, to the dialler
        self.broken = False

    def step(self) -> bool:
        """Something moves; False: nothing did."""
        moved = False
        for index, (end, other) in enumerate((self.ends, self.ends[::-1])):
            way = self.under_way[index]
            while end.output.size:
                way += b"".join(end.output.take())
                moved = True
            count = self.rng.choice((1, 3, 20, 200, 5000))
            data, way[:] = bytes(way[:count]), way[count:]
            if data and not other.closing:
                give(other, data)
                moved = True
        return moved

    def break_off(self) -> None:
        """What is under way is lost."""
        self.broken = True
        for end in self.ends:
            end.lost("reset")


def run(seed: int, steps: int = 400, between: Any = None) -> dict[str, int]:
    """Two processes that send, lose connections and start again; raises AssertionError. What happened, counted."""
    rng = random.Random(seed)
    clock = StoppedClock()
    a, b = Process("a", rng, clock), Process("b", rng, clock)
    happened = {"frames": 0, "connections": 0, "restarts": 0, "resumed": 0}
    pipes: list[Pipe] = []
    number = 0
    for step in range(steps):
        what = rng.random()
        if what < 0.45:
            sender, receiver = (a, b) if rng.random() < 0.5 else (b, a)
            for _ in range(rng.choice((1, 1, 5, 40))):
                number += 1
                sender.send(receiver.name, number.to_bytes(8, "big") + bytes(rng.choice((0, 10, 3000))))
        elif what < 0.50 and pipes:
            pipes.pop(rng.randrange(len(pipes))).break_off()
        elif what < 0.505:
            process = rng.choice((a, b))
            while pipes:
                pipes.pop().break_off()
            check(a, b)
            process.begin()
            happened["restarts"] += 1
        elif (not pipes or what > 0.995) and len(pipes) < 3:
            resumed = "b" in a.links and a.links["b"].peer == b.start
            pipes.append(Pipe(rng, a.connect("b"), b.connect(None)))
            happened["connections"] += 1
            happened["resumed"] += resumed
        for pipe in list(pipes):
            pipe.step()
            if any(end.closing for end in pipe.ends) and not pipe.under_way[0] and not pipe.under_way[1]:
                pipes.remove(pipe)
                pipe.break_off()
        if between is not None:
            between(step, a, b)
        check(a, b)
    while pipes:
        pipes.pop().break_off()
    pipe = Pipe(rng, a.connect("b"), b.connect(None))
    while pipe.step():
        pass
    check(a, b)
    for one, other in ((a, b), (b, a)):
        link = one.links[other.name]
        assert not link.waits
        assert link.held_bytes == 0
        assert other.got.get(one.start, []) == one.sent.get(other.start, [])
        happened["frames"] += len(other.got.get(one.start, []))
    return happened


def check(a: Process, b: Process) -> None:
    """Of what a start has sent to a start that still is, the first so many have come, in order, each once."""
    for one, other in ((a, b), (b, a)):
        got = other.got.get(one.start, [])
        assert got == one.sent.get(other.start, [])[: len(got)]


def exchanged(dialler: LinkSession, acceptor: LinkSession) -> None:
    """All that both have to say, without a break."""
    pipe = Pipe(random.Random(1), dialler, acceptor)
    while pipe.step():
        pass
