"""WorkersPortRun: three workers as one broker, connections at the port of each, and Workers' nemesis. Derived runs say what these do, and what must hold.

What a connection asks for one after the other is a generator of requests, which is sent the results. It ends with its connection, wherever it is.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from entrepot.broker.calls.port import DONE, Call, Sink, make_ask
from entrepot.model.entry import CODEC_AMQP_091
from entrepot.model.errors import NotDone
from entrepot.model.principal import Principal
from entrepot.simulation.crashing_run import CrashingRun
from entrepot.simulation.letters_run import NAMESPACE
from entrepot.simulation.store_model import Violation
from entrepot.simulation.store_run import Seams
from entrepot.simulation.workers import TROUBLE, Worker, Workers
from entrepot.simulation.workers_timed_run import DoorThere

Steps = Generator[Any, Any, None]


class WorkersPortRun(CrashingRun):
    """One seed's run, of so many `steps`. Derived: prepare(), act(), drain(), conclude()."""

    steps = 250

    def __init__(self, seed: int, seams: Seams | None = None) -> None:
        super().__init__(seed, seams)
        self.workers = Workers.under(self, seams, on_kill=self._killed)
        self.trouble = self.chance.choice(TROUBLE)
        self.peers: list[Peer] = []
        self._violation: str | None = None

    @property
    def is_troubled(self) -> bool:
        """See CrashingRun."""
        return self.trouble > 0

    def run(self) -> str:
        """See CrashingRun."""
        self.workers.start()
        self.prepare()
        for _ in range(self.steps):
            if self.workers.open_ones():
                self.act()
            self.loop.run_for(self.chance.choice((1e-4, 1e-3, 1e-2, 0.1)))
            self.check()
            self.workers.trouble(self.trouble)
        self.workers.settle()
        self.drain()
        self.check()
        self.conclude()
        return self.loop.digest()

    def prepare(self) -> None:
        """What there is before anything happens."""
        raise NotImplementedError

    def violated(self, what: str) -> None:
        """A connection was told that. It is raised by the next check(), and not amid what the broker does."""
        self._violation = self._violation or what

    def check(self) -> None:
        """Raises Violation."""
        if self._violation is not None:
            raise Violation(self._violation)
        self.workers.check()

    def _killed(self, worker: Worker) -> None:
        for peer in list(self.peers):
            if peer.door.process is worker.process:
                peer.lose()


class Peer(Sink):
    """A connection at one of the workers that are there. lost(): it is no more, and it is not known what became of what it asked for."""

    def __init__(self, run: WorkersPortRun, codec: int = CODEC_AMQP_091) -> None:
        self.base = run
        self.is_over = False
        self._calls: dict[int, tuple[Call, Callable[[Call], None]]] = {}
        worker = run.chance.choice(run.workers.open_ones())
        assert worker.broker is not None
        self.door = DoorThere(worker.process, worker.broker.attach(self, Principal("me"), NAMESPACE, codec))
        self.door.wait_for_catalogue()
        run.peers.append(self)

    def submit(self, call: Call, then: Callable[[Call], None]) -> None:
        """then(call) when it is answered, if that comes."""
        self._calls[id(call)] = (call, then)
        self.door.submit(call)

    def begin(self, steps: Steps) -> None:
        """Have these done, one after the other; a NotDone is raised where it came from."""
        self._go_on(steps, lambda: next(steps))

    def _go_on(self, steps: Steps, step: Callable[[], Any]) -> None:
        try:
            request = step()
        except StopIteration:
            return
        self.submit(make_ask(1, request), lambda call: self._answered(steps, call))

    def _answered(self, steps: Steps, call: Any) -> None:
        if call.outcome == DONE:
            self._go_on(steps, lambda: steps.send(call.result))
        else:
            assert isinstance(call.error, NotDone)
            self._go_on(steps, lambda: steps.throw(call.error))

    def completed(self, call: Call) -> None:
        """See Sink."""
        waits = self._calls.pop(id(call), None)
        if waits is not None and not self.is_over:
            waits[1](call)

    def close(self) -> None:
        """Its connection ends."""
        if not self.is_over:
            self.lose()
            self.door.close()

    def lose(self) -> None:
        """It is gone with its worker."""
        self.is_over = True
        self.base.peers.remove(self)
        self.lost()

    def lost(self) -> None:
        """See above."""

    def cancelled(self, token: Any) -> None:
        """See Sink."""

    def throttle(self, blocked: bool, reason: str) -> None:
        """See Sink."""

    def elsewhere(self, process: str) -> None:
        """See Sink."""
