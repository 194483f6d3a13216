"""Broker: a context manager around a real broker process."""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from entrepot.protocol_table import endpoints
from entrepot.testing.namespace import FIRST_ACCOUNT, Namespace, values
from entrepot.testing.offered import Offered

START_TIMEOUT_S = 60.0  # a loaded machine; the usual time is well under one second
STOP_TIMEOUT_S = 60.0
STOP_GRACE_MS = 500  # a test's clients that are still connected mostly do nothing any more
WORKERS_VARIABLE = "ENTREPOT_TEST_WORKERS"


class BrokerFailed(Exception):
    """The process did not start, or ended otherwise than asked; the text holds its log."""


class Broker(Offered):
    """One broker process, started by `with` or `start()`.

    data_dir: kept if given, else temporary and removed at the end. settings: configuration keys by dotted name, such as
    {"durability.mode": "none"}; without limits.stop_grace_ms clients have half a second to leave when it stops. ports: fixed ones by
    listener, such as {"amqp": 5673}; others are free ones, and stay the same over restarts. listeners: by name; None: of every protocol, in
    the clear. arguments: more command line arguments of `entrepot serve`. environment: added to this process's own. workers: how many; None:
    as ENTREPOT_TEST_WORKERS in this process's environment says, else 1; a directory of one process is divided for so many, then.
    """

    def __init__(
        self,
        data_dir: Path | str | None = None,
        *,
        settings: Mapping[str, object] | None = None,
        ports: Mapping[str, int] | None = None,
        listeners: tuple[str, ...] | None = None,
        arguments: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
        command: tuple[str, ...] = (),
        workers: int | None = None,
    ) -> None:
        self._scratch = Path(tempfile.mkdtemp(prefix="entrepot-"))
        self.data_dir = Path(data_dir) if data_dir is not None else self._scratch / "data"
        self._settings = {"limits.stop_grace_ms": STOP_GRACE_MS, **(settings or {})}
        self._ports = dict.fromkeys(endpoints() if listeners is None else listeners, 0) | dict(ports or {})
        self._divides = workers is None
        self.workers = int(os.environ.get(WORKERS_VARIABLE, "1")) if workers is None else workers
        self._arguments = (*(("--workers", str(self.workers)) if self.workers > 1 else ()), *arguments)
        self._environment = dict(environment or {})
        self._command = command or (sys.executable, "-m", "entrepot")
        self._log_file = self._scratch / "broker.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._spaces: dict[str, Namespace] = {}  # those that are open, by account
        self._last_account = FIRST_ACCOUNT
        self.ready: dict[str, Any] = {}  # what the broker said when it was ready

    # -- where it is

    def port(self, listener: str) -> int:
        """The port of a listener."""
        return self._ports[listener]

    def __getattr__(self, name: str) -> Any:
        """What clients are told, in the words of each protocol: amqp_port, amqp_url, kafka_bootstrap, sqs_url, http_url, and whatever else is offered."""
        if name.startswith("_") or name not in (found := values(self._ports)):
            raise AttributeError(f"this broker has no {name!r}")
        return found[name]

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *values(self._ports)]

    @property
    def log(self) -> str:
        """All that the process has printed, over restarts."""
        return self._log_file.read_text("utf-8", "replace") if self._log_file.exists() else ""

    @property
    def pid(self) -> int:
        """Of the running process."""
        return self._running().pid

    @property
    def pids(self) -> list[int]:
        """Of all its processes, as they were when it became ready."""
        return [self.pid, *self.ready.get("workers", ())]

    # -- namespaces of their own

    @contextmanager
    def namespace(self) -> Iterator[Namespace]:
        """A namespace that nobody else uses, for all protocols that the broker listens for. Listeners of its own are closed at the end."""
        self._last_account += 1
        space = Namespace(dict(self._ports), f"{self._last_account:012d}")
        self._open(space)
        self._spaces[space.account] = space
        try:
            yield space
        finally:
            del self._spaces[space.account]
            if self.process is not None and self.process.poll() is None:
                self._ask({"close": space.name})

    def _open(self, space: Namespace) -> None:
        answer = self._ask({"open": space.name, "ports": space.own_ports})
        space.own_ports = answer["ports"]

    def change_users(self, change: str, *arguments: object) -> None:
        """A change of the running broker's users, by a method of broker.users.Users; BrokerFailed if it is refused."""
        self._ask({"users": [change, *arguments]})

    def _ask(self, command: dict[str, object]) -> dict[str, Any]:
        """One command of entrepot.control; BrokerFailed if it is refused."""
        assert self._control is not None, "the broker does not run"
        self._control.sendall(json.dumps(command).encode() + b"\n")
        line = _read_line(self._control.fileno(), STOP_TIMEOUT_S)
        answer: dict[str, Any] = json.loads(line) if line else {"error": f"no answer:\n{self.log}"}
        if "error" in answer:
            raise BrokerFailed(f"{command}: {answer['error']}")
        return answer

    # -- its life

    def start(self) -> Self:
        """Start the process and wait until it is ready. BrokerFailed if it ends before, or takes too long."""
        assert self.process is None, "the broker runs already"
        if self.workers > 1 and self._divides:
            self._divide()
        readable, writable = os.pipe()
        self._control, theirs = socket.socketpair()
        command = [*self._command, "serve", "--data", str(self.data_dir), "--ready-fd", str(writable), "--control-fd", str(theirs.fileno())]
        for name, port in self._ports.items():
            command += ["--listen", f"{name}=127.0.0.1:{port}"]
        for key, value in self._settings.items():
            command += ["--set", f"{key}={value}"]
        command += self._arguments
        try:
            with self._log_file.open("ab") as log:
                self.process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(writable, theirs.fileno()),
                    env=_bare_environment() | self._environment,
                    start_new_session=True,
                )
        finally:
            os.close(writable)
            theirs.close()
        try:
            line = _read_line(readable, START_TIMEOUT_S)
        finally:
            os.close(readable)
        if not line:
            status = self._end(kill=True)
            raise BrokerFailed(f"the broker did not become ready (exit status {status}):\n{self.log}")
        self.ready = json.loads(line)
        for name, url in self.ready["listen"].items():
            self._ports[name] = urlsplit(url).port or 0
        for space in self._spaces.values():
            self._open(space)
        return self

    def _divide(self) -> None:
        if self.data_dir.is_dir() and any(self.data_dir.iterdir()) and not (self.data_dir / "workers.json").exists():
            command = [sys.executable, "-m", "entrepot", "store", "split", str(self.data_dir), "--workers", str(self.workers)]
            split = subprocess.run(command, env=_bare_environment() | self._environment, capture_output=True, text=True, check=False)
            if split.returncode:
                raise BrokerFailed(split.stderr)

    def kill(self) -> None:
        """SIGKILL, as a crash; the data stays."""
        self._end(kill=True)

    def stop(self) -> None:
        """SIGTERM, and wait. BrokerFailed if it does not end with status 0."""
        status = self._end(kill=False)
        if status != 0:
            raise BrokerFailed(f"the broker ended with status {status}:\n{self.log}")

    def restart(self) -> Self:
        """Stop it if it runs, and start it on the same data and ports."""
        if self.process is not None:
            self.stop()
        return self.start()

    def close(self) -> None:
        """Stop it if it runs, and remove what is temporary."""
        try:
            if self.process is not None and self.process.poll() is None:
                self.stop()
        finally:
            self._end(kill=True)
            shutil.rmtree(self._scratch, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _running(self) -> subprocess.Popen[bytes]:
        assert self.process is not None, "the broker does not run"
        return self.process

    def _end(self, *, kill: bool) -> int | None:
        process, self.process = self.process, None
        if self._control is not None:
            self._control.close()
            self._control = None
        if process is None:
            return None
        if process.poll() is None:
            if kill:
                process.kill()
            else:
                process.terminate()
        try:
            return process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise BrokerFailed(f"the broker did not stop within {STOP_TIMEOUT_S:.0f} s:\n{self.log}") from None


def _bare_environment() -> dict[str, str]:
    """This process's, without settings for a broker that somebody runs besides the tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith("ENTREPOT_")}


def _read_line(descriptor: int, timeout_s: float) -> bytes:
    """One line, or nothing if the other end closes or is silent for `timeout_s` first."""
    line = b""
    while not line.endswith(b"\n"):
        if not select.select([descriptor], [], [], timeout_s)[0]:
            return b""
        part = os.read(descriptor, 4096)
        if not part:
            return b""
        line += part
    return line
