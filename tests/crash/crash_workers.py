"""The workers of a broker, one by one: which process each is, at which of them a client is, and signals to them."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from entrepot.testing.broker import Broker

LIMIT_S = 60.0

T = TypeVar("T")


class Workers:
    """Of a broker that runs."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.count = broker.workers
        self.renew()

    def renew(self) -> None:
        """The whole broker was started again."""
        self._pids: list[int] = self.broker.ready["workers"]
        self._log_from = len(self.broker.log)

    @property
    def pids(self) -> list[int]:
        """Of those that were ready last, by their numbers."""
        found = list(self._pids)
        for number, pid in re.findall(r"w(\d+) is ready again \(process (\d+)\)", self.broker.log[self._log_from :]):
            found[int(number)] = int(pid)
        return found

    def signal(self, number: int, what: signal.Signals) -> None:
        """SIGKILL, SIGSTOP, SIGCONT."""
        os.kill(self.pids[number], what)

    def kill(self, *numbers: int) -> None:
        """These, now."""
        for pid in [self.pids[number] for number in numbers]:
            os.kill(pid, signal.SIGKILL)

    def wait_for_others_than(self, before: list[int], *numbers: int) -> None:
        """Until these are ready again in other processes than they were."""
        give_up = time.monotonic() + LIMIT_S
        while any(self.pids[number] == before[number] for number in numbers):
            assert time.monotonic() < give_up, f"w{numbers} is not ready again:\n{self.broker.log[-5000:]}"
            time.sleep(0.01)

    def at(self, client_port: int, server_port: int) -> int | None:
        """The worker that has accepted a connection on this machine from that port to that one; None: none has, or it has ended since."""
        inode = _inode(client_port, server_port)
        if inode is None:
            return None
        return next((number for number, pid in enumerate(self.pids) if inode in _sockets(pid)), None)

    def connected(self, wanted: int, connect: Callable[[], T], client_port: Callable[[T], int], server_port: int, close: Callable[[T], None]) -> T:
        """A connection with that worker: which one a connection comes to is chance, so it is tried again."""
        give_up = time.monotonic() + LIMIT_S
        while True:
            found = connect()
            if self.at(client_port(found), server_port) == wanted:
                return found
            close(found)
            assert time.monotonic() < give_up, f"no connection comes to w{wanted}"


def _inode(client_port: int, server_port: int) -> str | None:
    """Of the accepted socket."""
    wanted = (f":{server_port:04X}", f":{client_port:04X}")
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(wanted[0]) and fields[2].endswith(wanted[1]) and fields[9] != "0":
            return fields[9]
    return None


def _sockets(pid: int) -> set[str]:
    """The inodes of a process's sockets; none if it has ended."""
    found = set()
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            target = os.readlink(entry)
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except OSError:
        pass
    return found
