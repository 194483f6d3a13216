"""MiniMQTT, the client of CircuitPython: minimqtt_program.py does the talking. pip fetches it on first use, without what it needs on a device alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mqtt_client import new_name

VERSION = "8.1.0"
PACKAGES = (
    f"adafruit-circuitpython-minimqtt=={VERSION}",
    "adafruit-circuitpython-connectionmanager==3.1.8",
    "adafruit-circuitpython-ticks==1.1.7",
    "adafruit-circuitpython-typing==1.13.0",
)
PROGRAM = Path(__file__).with_name("minimqtt_program.py")


@pytest.fixture(scope="module")
def topic() -> str:
    return new_name()


@pytest.fixture(scope="module")
def said(address: tuple[str, int], topic: str, fetched: Path) -> dict[str, Any]:
    """What the program saw."""
    folder = fetched / f"minimqtt-{VERSION}"
    if not (folder / "adafruit_minimqtt").exists():
        pip = [sys.executable, "-m", "pip", "-q", "--disable-pip-version-check", "install", "--no-deps", "--target", str(folder)]
        subprocess.run([*pip, *PACKAGES], check=True, timeout=300)
    environment = os.environ | {"PYTHONPATH": str(folder)}
    run = subprocess.run(
        [sys.executable, PROGRAM, address[0], str(address[1]), topic], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert run.returncode == 0, run.stderr
    said: dict[str, Any] = json.loads(run.stdout)
    return said


def test_minimqtt(said: dict[str, Any], topic: str) -> None:
    assert said == {
        "states": list(range(20)),
        "retained": [[f"{topic}/sensor/config", "{}"]],
        "ping": 1,
        "will": [[f"{topic}/will/sensor", "gone"]],
        "commands": [[f"{topic}/command", "on"], [f"{topic}/command", "off"]],
    }
