"""A real parent, whose workers are small programs that speak as workers do: processes, signals, addresses, directories."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from entrepot.model.errors import Refused
from entrepot.net.listener import bound_sockets
from entrepot.net.network import NetworkLimits
from entrepot.net.reserved import reserve
from entrepot.parent.earlier import wait_for_earlier
from entrepot.parent.run import FILES_OF_OUR_OWN, bounded
from entrepot.store.local.whole_file import hold

LIMIT_S = 60.0  # a loaded machine
HERE = Path(__file__).parent


class Node:
    """The process, and what it and its workers print."""

    def __init__(self, process: subprocess.Popen[bytes], errors: Path) -> None:
        self.process = process
        self.errors = errors
        self.lines: list[str] = []
        self._rest = b""

    def until(self, *words: str) -> str:
        """The next line that has all of these; what comes before it is kept."""
        for line in self.read():
            if all(word in line for word in words):
                return line
        raise AssertionError(f"it ended before {words}: {self.lines}\n{self.errors.read_text()}")

    def read(self) -> Iterator[str]:
        """Lines, until nobody is left who could print one."""
        assert self.process.stdout is not None
        while True:
            while b"\n" in self._rest:
                line, _, self._rest = self._rest.partition(b"\n")
                self.lines.append(line.decode())
                yield self.lines[-1]
            assert select.select([self.process.stdout], [], [], LIMIT_S)[0], f"silent: {self.lines}"
            data = os.read(self.process.stdout.fileno(), 65_536)
            if not data:
                return
            self._rest += data

    def ready(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.until("ready").removeprefix("ready "))
        return found

    def end(self) -> int:
        """Its exit status, when no worker is left."""
        for _ in self.read():
            pass
        return self.process.wait(LIMIT_S)

    def pid(self, name: str) -> int:
        """Of the worker's last start."""
        return int(next(line for line in reversed(self.lines) if line.startswith(f"{name} ") and " began " in line).split()[1])

    def told(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line.split(" ", 2)[2]) for line in self.lines if line.startswith(f"{name} ") and "{" in line]

    def kinds(self, name: str) -> list[str]:
        return [next(iter(said)) for said in self.told(name)]


@contextmanager
def node(data: Path, *listen: str, count: int = 3, environment: Mapping[str, str] | None = None, fds: tuple[int, ...] = ()) -> Iterator[Node]:
    errors = data.parent / "errors"
    with (
        errors.open("ab") as log,
        subprocess.Popen(
            [sys.executable, str(HERE / "run_fakes.py"), str(data), str(count), *listen],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            pass_fds=fds,
            env={**os.environ, **(environment or {})},
        ) as process,
    ):
        try:
            yield Node(process, errors)
        finally:
            process.kill()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def test_workers_are_told_what_they_are(data: Path) -> None:
    with node(data, "amqp=127.0.0.1:0", "kafka=127.0.0.1:0") as it:
        ready = it.ready()
        amqp = ready["listen"]["amqp"].removeprefix("amqp://")
        began = [next(line for line in it.lines if line.startswith(f"w{number} ")).split() for number in range(3)]
        assert [line[4] for line in began] == [str(data / f"w{number}") for number in range(3)]
        assert {line[5] for line in began} == {amqp}
        own = {line[6] for line in began}
        assert len(own) == 1
        assert len(set(own.pop().split(","))) == 3
        assert ready["workers"] == [int(line[1]) for line in began]
        assert ready["cluster_id"] == json.loads((data / "workers.json").read_text())["cluster_id"]
        assert (data / "secrets.key").stat().st_mode & 0o777 == 0o600


def test_it_stops_in_order(data: Path) -> None:
    with node(data, "http=127.0.0.1:0") as it, closing(HTTPConnection(urlsplit(it.ready()["listen"]["http"]).netloc, timeout=LIMIT_S)) as stays:
        stays.request("GET", "/healthz")
        assert stays.getresponse().read() == b"ok\n"
        it.process.terminate()
        assert it.end() == 0
        assert "cut off" not in it.errors.read_text()
        ends = [line.split()[0] for line in it.lines if '{"end"' in line]
        assert sorted(ends[:2]) == ["w1", "w2"]
        assert ends[2:] == ["w0"]
        assert it.kinds("w0") == ["leave", "dead", "dead", "end"]
        assert not any("alone" in line for line in it.lines)


def test_signals_of_a_terminal_are_the_parents(data: Path) -> None:
    with node(data) as it:
        it.ready()
        os.killpg(it.process.pid, signal.SIGINT)
        assert it.end() == 0
        assert it.kinds("w0") == ["leave", "dead", "dead", "end"]


def test_a_second_signal_ends_it_at_once(data: Path) -> None:
    with node(data, environment={"FAKE_STAYS": "w0 w1 w2"}) as it:
        it.ready()
        it.process.terminate()
        it.until("leave")
        it.process.terminate()
        assert it.end() == 1
        assert "second signal" in it.errors.read_text()


def test_a_worker_that_dies_is_started_again(data: Path) -> None:
    with node(data) as it:
        it.ready()
        first = next(line for line in it.lines if line.startswith("w1 ")).split()[3]
        os.kill(it.pid("w1"), signal.SIGKILL)
        second = it.until("w1", "began").split()[3]
        assert second > first
        it.process.terminate()
        assert it.end() == 0
        for other in ("w0", "w2"):
            assert it.told(other)[0] == {"dead": ["w1", first]}


def test_the_parents_death_ends_all_and_another_parent_goes_on(data: Path) -> None:
    with node(data) as it:
        cluster_id = it.ready()["cluster_id"]
        starts = [line.split()[3] for line in it.lines if " began " in line]
        it.process.kill()
        assert it.end() == -signal.SIGKILL
        assert sorted(line.split()[0] for line in it.lines if line.endswith(" alone")) == ["w0", "w1", "w2"]
    with node(data) as it:
        assert it.ready()["cluster_id"] == cluster_id
        assert min(line.split()[3] for line in it.lines if " began " in line) > max(starts)


def test_one_that_cannot_start_ends_the_start_in_its_own_words(data: Path) -> None:
    with node(data, environment={"FAKE_ENDS": "w2=2"}) as it:
        assert it.end() == 2
        assert it.errors.read_text().strip() == "Refused: w2 does not want to"


@pytest.mark.parametrize("listen", ["amqp", "http"])
def test_a_taken_address_is_said_once_and_nothing_is_started(data: Path, listen: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, node(data, f"{listen}=127.0.0.1:{taken.getsockname()[1]}") as it:
        assert it.end() == 2
        assert it.lines == []
        assert it.errors.read_text() == f"Refused: cannot start: cannot listen at 127.0.0.1:{taken.getsockname()[1]}: address already in use\n"


def test_own_ports_that_somebody_has_are_further_on(data: Path) -> None:
    """By hundreds: by one, or by more where somebody else has those."""
    shared = reserve("127.0.0.1", 0)
    port = shared.port
    shared.close()
    with socket.create_server(("127.0.0.1", port + 2)), node(data, f"kafka=127.0.0.1:{port}") as it:
        it.ready()
        (own,) = {line.split()[6] for line in it.lines if " began " in line}
        behind = int(own.split(",")[0].rpartition(":")[2]) - port - 1
        assert behind > 0
        assert behind % 100 == 0
        assert own.split(",") == [f"127.0.0.1:{port + behind + number}" for number in (1, 2, 3)]
        assert "are looked for 100 further on: cannot listen at 127.0.0.1:" in it.errors.read_text()


def test_it_waits_for_a_worker_of_an_earlier_start(data: Path) -> None:
    """Which has its addresses, too: without the wait they are in use."""
    store = data / "w1"
    store.mkdir(parents=True)
    (data / "workers.json").write_text('{"version":1,"workers":3,"cluster_id":"","shards":256}')
    held = hold(store / "lock")
    assert held is not None
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    with node(data, f"amqp=127.0.0.1:{port}") as it:
        while "waiting for workers of an earlier start to end: w1" not in it.errors.read_text():
            assert it.process.poll() is None, it.errors.read_text()
            time.sleep(0.02)
        listening.close()
        os.close(held)
        assert it.ready()["listen"]["amqp"] == f"amqp://127.0.0.1:{port}"


def test_a_worker_of_an_earlier_start_that_does_not_end_is_said(tmp_path: Path) -> None:
    stores = [tmp_path / "w0", tmp_path / "w1"]
    wait_for_earlier(stores, wait_s=0)
    stores[0].mkdir()
    wait_for_earlier(stores, wait_s=0)
    held = hold(tmp_path / "w0" / "lock")
    assert held is not None
    with pytest.raises(Refused, match="w0 is in use by another process, a worker of an earlier start that does not end"):
        wait_for_earlier(stores, wait_s=0)
    os.close(held)


def test_a_directory_has_one_parent(data: Path) -> None:
    with node(data) as first:
        first.ready()
        with node(data) as second:
            assert second.end() == 2
            assert "in use by another process" in second.errors.read_text()


def test_its_health(data: Path) -> None:
    with node(data, "http=127.0.0.1:0", environment={"FAKE_STAYS": "w0 w1 w2"}) as it:
        url = it.ready()["listen"]["http"]
        assert urllib.request.urlopen(f"{url}/readyz").read() == b"ready\n"
        assert urllib.request.urlopen(f"{url}/healthz").read() == b"ok\n"
        figures = urllib.request.urlopen(f"{url}/metrics").read().decode().splitlines()  # fakes give none
        assert "entrepot_workers 3.0" in figures
        assert 'entrepot_worker_ready{worker="1"} 1.0' in figures
        it.process.terminate()
        it.until("leave")
        with pytest.raises(urllib.error.HTTPError, match="503") as told:
            urllib.request.urlopen(f"{url}/readyz")
        assert told.value.read() == b"the broker stops\n"


def test_commands_are_forwarded(data: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, node(data, environment={"CONTROL_FD": str(theirs.fileno())}, fds=(theirs.fileno(),)) as it:
        it.ready()
        ours.settimeout(LIMIT_S)
        with ours.makefile("rwb") as lines:
            lines.write(b'{"users": ["add_user", "ann"]}\n')
            lines.flush()
            assert json.loads(lines.readline()) == {"asked": {"users": ["add_user", "ann"]}}


def test_addresses_stay_the_nodes_while_no_worker_listens(data: Path) -> None:
    with node(data, "amqp=127.0.0.1:0") as it:
        port = int(it.ready()["listen"]["amqp"].rpartition(":")[2])
        with pytest.raises(OSError, match="in use"), socket.socket() as other:
            other.bind(("127.0.0.1", port))
        with pytest.raises(OSError, match="in use"), socket.create_server(("127.0.0.1", port)):
            pass
        with bound_sockets(socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_STREAM), is_shared=True)[0] as worker:
            worker.setblocking(True)
            worker.listen()
            with socket.create_connection(("127.0.0.1", port), LIMIT_S) as client:
                accepted, address = worker.accept()
                accepted.close()
                assert address == client.getsockname()


@pytest.mark.parametrize(("files", "possible"), [(1024, 1024 - FILES_OF_OUR_OWN - 30), (100, 1), (1 << 20, 5000), (resource.RLIM_INFINITY, 5000)])
def test_who_asks_for_figures_leaves_room_for_workers(files: int, possible: int) -> None:
    limits = NetworkLimits(**dict.fromkeys(NetworkLimits.__dataclass_fields__, 5000))
    found = bounded(limits, files, 30)
    assert (found.connections, found.connections_per_listener, found.accept_backlog) == (possible, possible, 5000)
