"""Runs of the SQS cases: the generator in a process of its own, or another one with the same options."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.system.brokers import Broker
from benchmarks.system.measure import Figures, LoadFailed, measured

SQS_LOAD = "ENTREPOT_SQS_LOAD"  # names another generator
_ROOT = Path(__file__).resolve().parent.parent.parent
_TIMEOUT_S = 600
_WARM_S = 4.0
_warm: dict[str, int] = {}  # by broker: the process that has been warmed up


def _command(broker: Broker, words: Sequence[str]) -> list[str]:
    other = os.environ.get(SQS_LOAD)
    return [*([other] if other else [sys.executable, "-m", "benchmarks.system.sqs_load"]), *words, "--url", broker.url]


def sqs_load(broker: Broker, words: Sequence[str]) -> Figures:
    """One run of the generator. Raises LoadFailed; what was refused or lost is no exception but figures."""
    command = _command(broker, words)
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode not in (0, 3) or not done.stdout.strip():
        raise LoadFailed(f"{broker.name}: {' '.join(command)}: exit status {done.returncode}: {done.stderr.strip()[-1000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


@contextmanager
def polls_held(broker: Broker, words: Sequence[str], out: Figures) -> Iterator[None]:
    """Long polls that all wait while the block runs; `out` gets what the generator says after it has sent to them."""
    process = subprocess.Popen(
        _command(broker, ["polls", "--hold", *words]), cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    if process.stdout.readline().strip() != "ready":
        _, said = process.communicate(timeout=_TIMEOUT_S)
        raise LoadFailed(f"{broker.name}: polls {' '.join(words)}: {said.strip()[-1000:]}")
    try:
        yield
    finally:
        answer, said = process.communicate("", timeout=_TIMEOUT_S)
    if process.returncode not in (0, 3):
        raise LoadFailed(f"{broker.name}: polls {' '.join(words)}: {said.strip()[-1000:]}")
    out.update(json.loads(answer.splitlines()[-1]))


def run(broker: Broker, *words: str) -> Figures:
    """One measured run, on the queue that `words` name, else on one of its own."""
    own = () if "--queue" in words else ("--queue", new_queue())
    return measured(broker, [*words, *own], by=sqs_load)


def new_queue() -> str:
    """A name that was not there before."""
    return f"load-{secrets.token_hex(6)}"


def warmed(broker: Broker) -> None:
    """Send and receive for a few seconds before the first figure of a process: what runs on a virtual machine is not compiled before."""
    pid = broker.process.pid if broker.process else 0
    if _warm.get(broker.name) == pid:
        return
    queue = new_queue()
    sqs_load(broker, ["send", "--queue", queue, "--seconds", str(_WARM_S), "--keep"])
    sqs_load(broker, ["send", "--batch", "10", "--queue", queue, "--seconds", str(_WARM_S), "--keep"])
    sqs_load(broker, ["receive", "--batch", "10", "--queue", queue, "--seconds", str(_WARM_S)])
    _warm[broker.name] = pid
