"""Runs of the MQTT cases: the generator in C (mqtt_load.c, compiled on first use) and the one of many sessions (mqtt_many.py), each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.system.brokers import Broker
from benchmarks.system.measure import Figures, LoadFailed

MQTT_LOAD = "ENTREPOT_MQTT_LOAD"  # names another generator
_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parent.parent
_SOURCE, _PROGRAM = _HERE / "mqtt_load.c", _ROOT / "build" / "benchmarks" / "mqtt_load"
_TIMEOUT_S = 600


def generator() -> str:
    """The program, compiled if it is missing or older than its source."""
    if other := os.environ.get(MQTT_LOAD):
        return other
    if not _PROGRAM.exists() or _PROGRAM.stat().st_mtime < _SOURCE.stat().st_mtime:
        _PROGRAM.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cc", "-std=c11", "-O2", "-o", str(_PROGRAM), str(_SOURCE)], check=True)
    return str(_PROGRAM)


def mqtt_load(broker: Broker, words: Sequence[str]) -> Figures:
    """One run of the generator. Raises LoadFailed; wrong messages are no exception but figures."""
    parts = urlsplit(broker.url)
    return _run(broker, [generator(), *words, "--host", str(parts.hostname), "--port", str(parts.port)])


def mqtt_many(broker: Broker, words: Sequence[str]) -> Figures:
    """One run with many sessions or topics."""
    return _run(broker, [sys.executable, "-m", "benchmarks.system.mqtt_many", *words, "--url", broker.url])


@contextmanager
def sessions_held(broker: Broker, words: Sequence[str], out: Figures) -> Iterator[None]:
    """Sessions that stand while the block runs; `out` gets what the generator said of how they came."""
    command = [sys.executable, "-m", "benchmarks.system.mqtt_many", "sessions", "--hold", *words, "--url", broker.url]
    process = subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        _, said = process.communicate(timeout=_TIMEOUT_S)
        raise LoadFailed(f"{broker.name}: {' '.join(command)}: {said.strip()[-1000:]}")
    out.update(json.loads(line))
    try:
        yield
    finally:
        process.communicate("", timeout=_TIMEOUT_S)


def _run(broker: Broker, command: list[str]) -> Figures:
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode not in (0, 3) or not done.stdout.strip():
        raise LoadFailed(f"{broker.name}: {' '.join(command)}: exit status {done.returncode}: {done.stderr.strip()[-1000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))
