"""Runs of the STOMP cases: the generator in C (stomp_load.c, compiled on first use), in a process of its own."""

from __future__ import annotations

import json
import secrets
import subprocess
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.system.brokers import Broker
from benchmarks.system.measure import Figures, LoadFailed

_HERE = Path(__file__).resolve().parent
_SOURCE, _PROGRAM = _HERE / "stomp_load.c", _HERE.parent.parent / "build" / "benchmarks" / "stomp_load"
_TIMEOUT_S = 600
_WARM_S = 5.0
_warm: dict[str, int] = {}  # by broker: the process that has been warmed up


def generator() -> str:
    """The program, compiled if it is missing or older than its source."""
    if not _PROGRAM.exists() or _PROGRAM.stat().st_mtime < _SOURCE.stat().st_mtime:
        _PROGRAM.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cc", "-std=c11", "-O2", "-o", str(_PROGRAM), str(_SOURCE)], check=True)
    return str(_PROGRAM)


def stomp_load(broker: Broker, words: Sequence[str]) -> Figures:
    """One run of the generator. Raises LoadFailed; wrong receipts or messages are no exception but figures."""
    parts = urlsplit(broker.url)
    command = [generator(), *words, "--host", str(parts.hostname), "--port", str(parts.port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode not in (0, 3) or not done.stdout.strip():
        raise LoadFailed(f"{broker.name}: {' '.join(command)}: exit status {done.returncode}: {done.stderr.strip()[-1000:]}")
    return dict(json.loads(done.stdout))


def new_queue() -> str:
    """A name that was not there before."""
    return f"load-{secrets.token_hex(6)}"


def warmed(broker: Broker) -> None:
    """Send for a few seconds before the first figure of a process, and take it all: what runs on a virtual machine is not compiled before."""
    pid = broker.process.pid if broker.process else 0
    if _warm.get(broker.name) == pid:
        return
    queue = new_queue()
    sent = stomp_load(broker, ["publish", "--queue", queue, "--seconds", str(_WARM_S)])
    stomp_load(broker, ["consume", "--queue", queue, "--count", str(sent["published"])])
    _warm[broker.name] = pid
