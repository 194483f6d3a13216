"""mqtt.js, the Node client: mqtt_program.js does the talking. npm fetches the library on first use into the folder that `fetched` names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

VERSION = "5.16.0"
PROGRAM = Path(__file__).with_name("mqtt_program.js")


@pytest.fixture(scope="module")
def seen(address: tuple[str, int], fetched: Path) -> dict[str, Any]:
    """What the program saw, by version of the protocol."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed: mqtt.js is not tested")
    folder = fetched / f"mqtt-js-{VERSION}"
    if not (folder / "node_modules" / "mqtt" / "package.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--prefix", folder, "--no-audit", "--no-fund", "--silent", f"mqtt@{VERSION}"], check=True, timeout=300)
    environment = os.environ | {"MQTT_URL": f"mqtt://{address[0]}:{address[1]}", "NODE_PATH": str(folder / "node_modules")}
    run = subprocess.run(["node", PROGRAM], env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert run.returncode == 0, run.stderr
    seen: dict[str, Any] = json.loads(run.stdout)
    return seen


@pytest.mark.parametrize("version", ["3", "4", "5"])
@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("granted", [2, 1]),
        ("ordered", True),
        ("large", True),
        ("retained", [["kept", True]]),
        ("removed", [["", False]]),
        ("will", "gone"),
        ("session", ["1", "2"]),
        ("takenOver", True),
    ],
)
def test_mqtt_js(seen: dict[str, Any], version: str, what: str, expected: Any) -> None:
    assert seen[version][what] == expected


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("properties", ["text/plain", [7], True, {"one": "1", "two": ["2", "3"]}]),
        ("shared", [20, True]),
        ("aliased", [[True, str(n)] for n in range(5)]),
    ],
)
def test_mqtt_js_of_mqtt_5(seen: dict[str, Any], what: str, expected: Any) -> None:
    assert seen["5"][what] == expected
