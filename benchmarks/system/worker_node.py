"""A broker of several workers, or of one, as seen from outside: who has which connection, and what each has used."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from benchmarks.system import probes
from benchmarks.system.brokers import Entrepot
from entrepot.broker.catalogue.shards import SHARD_COUNT_DEFAULT, Shards

_ESTABLISHED = "01"
_IDLE_S = 5.0
_REST_S, _REST_CORES = 0.5, 0.04
_RESTLESS_S = 30.0


STAY = ("limits.connection_moves=0",)  # connections, with the worker that accepts them


class Node:
    """A broker of so many workers. `command`: that starts one, and ends with the word `serve`; `settings`: KEY=VALUE, as its --set has them."""

    def __init__(self, directory: Path, command: str, workers: int, protocol: str = "amqp", settings: Iterable[str] = ()) -> None:
        words = command.split() or [sys.executable, "-m", "entrepot", "serve"]
        self.workers = workers
        self._shards = Shards(SHARD_COUNT_DEFAULT)
        self.broker = Entrepot(directory / f"workers-{workers}", " ".join(words), protocol)
        self.broker.command += ["--workers", str(workers), *(word for each in settings for word in ("--set", each))]
        self.broker.start()
        try:
            self.pids = self._pids(words[:-1])
        except BaseException:
            self.broker.stop()
            raise

    def _pids(self, program: list[str]) -> list[int]:
        if self.workers == 1:
            assert self.broker.process is not None
            return [self.broker.process.pid]
        status = [*program, "status", "--once", "--json", "--data", str(self.broker.directory / "data")]
        said = subprocess.run(status, capture_output=True, text=True, check=True)
        return [each["pid"] for each in sorted(json.loads(said.stdout)["workers"], key=lambda each: each["worker"])]

    def owner(self, queue: str) -> int:
        """The worker that a durable queue of the virtual host `/` is with."""
        return self._shards.shard("queue", "public/default", queue) % self.workers

    def cpu_s(self) -> list[float]:
        """Of each worker, in their order."""
        return [probes.cpu_s([pid]) for pid in self.pids]

    def cpu_since(self, before: list[float]) -> list[float]:
        """What each has used since cpu_s() said this."""
        return [now - then for now, then in zip(self.cpu_s(), before, strict=True)]

    def rss_mb(self) -> list[int]:
        """Of each worker."""
        return [round(probes.rss_bytes([pid]) / 1e6) for pid in self.pids]

    def idle_cores(self) -> list[float]:
        """What part of a core each uses while nobody asks anything of it: takes some seconds."""
        time.sleep(1)  # what follows a start is not idling
        before = self.cpu_s()
        time.sleep(_IDLE_S)
        return [used / _IDLE_S for used in self.cpu_since(before)]

    def come_to_rest(self) -> None:
        """Wait until no worker has anything to do but what it does while idle: what follows a load is done then."""
        until = time.monotonic() + _RESTLESS_S
        while time.monotonic() < until:
            before = self.cpu_s()
            time.sleep(_REST_S)
            if max(self.cpu_since(before)) <= _REST_CORES * _REST_S:
                return
        print(f"workers still had something to do after {_RESTLESS_S:.0f} s without a load", file=sys.stderr)

    def workers_of_ports(self) -> dict[int, int]:
        """Of each connection that there is now to the listener of the load, by its client's port: the worker that has it."""
        listener = _port(self.broker.url)
        clients = {}
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == _ESTABLISHED and int(fields[1].rpartition(":")[2], 16) == listener:
                clients[f"socket:[{fields[9]}]"] = int(fields[2].rpartition(":")[2], 16)
        found = {}
        for number, pid in enumerate(self.pids):
            for one in Path(f"/proc/{pid}/fd").iterdir():
                with suppress(OSError):
                    client = clients.get(str(one.readlink()))
                    if client is not None:
                        found[client] = number
        return found

    def workers_of_clients(self) -> list[int]:
        """The same, without their ports."""
        return list(self.workers_of_ports().values())


def _port(url: str) -> int:
    return int(url.rstrip("/").rpartition(":")[2])
