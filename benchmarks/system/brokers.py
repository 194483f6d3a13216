"""Brokers as the runner starts them: processes of their own in a directory of their own, watched from outside."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from benchmarks.system import probes

_START_S = 60.0
_STOP_S = 30.0
_RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


class BrokerFailed(Exception):
    """A broker did not start, or ended by itself."""


def free_port() -> int:
    """A TCP port that is free on loopback now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Broker:
    """A broker process (and its children). `directory` holds its data and log; start() with `fresh` empties it first."""

    name = ""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.url = ""  # of the protocol that the case speaks
        self.metrics_url = ""
        self.version = ""
        self.start_s = 0.0
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, fresh: bool = True) -> None:
        """Until it listens. Raises BrokerFailed with the end of its log."""
        if fresh:
            shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True, exist_ok=True)
        begin = time.monotonic()
        self._start()
        self.start_s = time.monotonic() - begin

    def _start(self) -> None:
        raise NotImplementedError

    def _spawn(self, command: list[str], environment: dict[str, str] | None = None, pass_fds: tuple[int, ...] = ()) -> None:
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env={**os.environ, **(environment or {})}, pass_fds=pass_fds
            )

    def _failed(self, what: str) -> BrokerFailed:
        tail = (self.directory / "log").read_text(errors="replace")[-2000:]
        self.stop()
        return BrokerFailed(f"{self.name} {what}; the end of its log:\n{tail}")

    def _wait_for_port(self, port: int) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            if self.process is None or self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise self._failed(f"does not listen on {port}")

    def stop(self) -> None:
        """SIGTERM, and SIGKILL to what is left after a while."""
        if self.process is None:
            return
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in self.pids():
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            try:
                self.process.wait(_STOP_S)
                break
            except subprocess.TimeoutExpired:
                continue
        for pid in self.pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process = None

    def kill(self) -> None:
        """SIGKILL, as a crash."""
        for pid in self.pids():
            os.kill(pid, signal.SIGKILL)
        if self.process is not None:
            self.process.wait(_STOP_S)
        self.process = None

    def alive(self) -> bool:
        """Whether it still runs."""
        return self.process is not None and self.process.poll() is None

    def pids(self) -> list[int]:
        """All its processes."""
        return probes.session_pids(self.process.pid) if self.process else []


class Entrepot(Broker):
    """The real process, as users start it. `command` may hold {data}; it must print the line of JSON that --ready-fd asks for."""

    name = "entrepot"

    def __init__(self, directory: Path, command: str = "", protocol: str = "amqp") -> None:
        super().__init__(directory)
        self.command = command.split() if command else [sys.executable, "-m", "entrepot", "serve"]
        self.protocol = protocol

    def _start(self) -> None:
        reading, writing = os.pipe()
        words = [word.replace("{data}", str(self.directory / "data")) for word in self.command]
        if "{data}" not in " ".join(self.command):
            words += ["--data", str(self.directory / "data")]
        more = ["--listen", f"{self.protocol}=127.0.0.1:0"] if self.protocol != "amqp" else []  # other builds have no such listener
        try:
            self._spawn([*words, "--listen", "amqp=127.0.0.1:0", *more, "--listen", "http=127.0.0.1:0", "--ready-fd", str(writing)], pass_fds=(writing,))
        finally:
            os.close(writing)
        with os.fdopen(reading) as ready:
            line = ready.readline()
        if not line:
            raise self._failed("ended before it was ready")
        started = json.loads(line)
        self.version = started.get("version", "")
        if self.protocol not in started["listen"]:
            raise self._failed(f"listens on {started['listen']}, not on {self.protocol}")
        self.url = started["listen"][self.protocol].rstrip("/") + ("/" if self.protocol == "amqp" else "")
        self.metrics_url = started["listen"]["http"].rstrip("/") + "/metrics"


class RabbitMQ(Broker):
    """RabbitMQ as Debian installs it, with ports, node name and data of its own; no plugins."""

    name = "rabbitmq"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.epmd: subprocess.Popen[bytes] | None = None

    @staticmethod
    def installed() -> bool:
        return _RABBITMQ.exists()

    def _start(self) -> None:
        port, distribution_port, epmd_port = free_port(), free_port(), free_port()
        (self.directory / "rabbitmq.conf").write_text(f"listeners.tcp.default = 127.0.0.1:{port}\nvm_memory_high_watermark.absolute = 4GB\n")
        (self.directory / "plugins").write_text("[].")
        epmd = shutil.which("epmd")
        if epmd:  # else the server leaves one behind
            self.epmd = subprocess.Popen([epmd, "-port", str(epmd_port), "-address", "127.0.0.1"], stdin=subprocess.DEVNULL, start_new_session=True)
        environment = {
            "RABBITMQ_NODENAME": f"bench{port}@localhost",
            "RABBITMQ_DIST_PORT": str(distribution_port),
            "RABBITMQ_CONFIG_FILE": str(self.directory / "rabbitmq.conf"),
            "RABBITMQ_MNESIA_BASE": str(self.directory / "data"),
            "RABBITMQ_LOG_BASE": str(self.directory),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(epmd_port),
            "HOME": str(self.directory),
        }
        self._spawn([str(_RABBITMQ)], environment)
        self._wait_for_port(port)
        self.url = f"amqp://guest:guest@127.0.0.1:{port}/"
        library = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*"))
        self.version = library[-1].name.partition("-")[2] if library else ""

    def stop(self) -> None:
        super().stop()
        if self.epmd:
            self.epmd.kill()
            self.epmd.wait()
            self.epmd = None
