"""The one loop of a run: waits for sockets, hands them to their connections, keeps an open load's pace."""

from __future__ import annotations

import select

import cython

from benchmarks.system.connection import Connection
from benchmarks.system.publisher import Publisher
from benchmarks.system.tally import Tally

if not cython.compiled:
    from benchmarks.system.kernel import event_fd, event_mask, now_ns, wait_events


class Loop:
    """Runs connections until what was waited for holds. `samples`: each second's (published, confirmed, delivered) so far."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.poller = select.epoll()
        self.poller_fd = self.poller.fileno()
        self.connections: list[Connection | None] = []
        self.publishers: list[Publisher] = []
        self.events = bytearray(16 * 512)
        self.samples: list[tuple[int, int, int]] = []
        self.sample_due_ns = 0
        self.paced = False

    def add(self, connection: Connection) -> None:
        """Watches this connection from now on."""
        while len(self.connections) <= connection.fd:
            self.connections.append(None)
        self.connections[connection.fd] = connection
        if isinstance(connection, Publisher):
            self.publishers.append(connection)
            self.paced = self.paced or connection.interval_ns > 0
        connection.watch()

    def run(self, deadline_ns: int, confirmed: int, delivered: int, answered: int) -> bool:
        """Until so many are confirmed (or refused), delivered and answered, all three; whether that came before the deadline.

        Negative: until the deadline, the budget or a failure.
        """
        tally = self.tally
        while True:
            now = now_ns()
            if now >= self.sample_due_ns:
                if self.sample_due_ns:
                    self.samples.append((tally.published, tally.confirmed, tally.delivered))
                else:
                    self.sample_due_ns = now
                self.sample_due_ns += 1_000_000_000
            if confirmed >= 0:
                if tally.confirmed + tally.refused >= confirmed and tally.delivered >= delivered and tally.answered >= answered:
                    return True
            elif (tally.budget == 0 and tally.publishing) or (delivered > 0 and tally.delivered >= delivered):
                return True
            if now >= deadline_ns or tally.failures:
                return False
            timeout_ns = deadline_ns - now
            if timeout_ns > self.sample_due_ns - now:
                timeout_ns = self.sample_due_ns - now
            if self.paced and tally.publishing:
                timeout_ns = self._pump_due(timeout_ns)
            count = wait_events(self.poller_fd, self.events, timeout_ns)
            for index in range(count):
                connection = self.connections[event_fd(self.events, index)]
                connection.ready(event_mask(self.events, index))  # type: ignore[union-attr]
            if tally.lag_max and tally.publishing:
                self.pump()

    def quiet(self, idle_ns: int, delivered: int) -> bool:
        """Until so many are confirmed or delivered as expected, or nothing has come for `idle_ns`; whether all came."""
        before = -1
        while True:
            seen = self.tally.delivered + self.tally.confirmed + self.tally.refused
            if self.tally.failures or seen == before:
                return False
            before = seen
            if self.run(now_ns() + idle_ns, self.tally.published, delivered, 0):
                return True

    def pump(self) -> int:
        """Lets every publisher publish what it may."""
        for publisher in self.publishers:
            publisher.pump()
        return 0

    def _pump_due(self, timeout_ns: int) -> int:
        """Publishes what is due; how long until the next is, at most `timeout_ns`."""
        for publisher in self.publishers:
            publisher.pump()
            wait_ns = publisher.due_ns() - now_ns()
            if wait_ns > 0 and wait_ns < timeout_ns:
                timeout_ns = wait_ns
        return timeout_ns
