"""stompjs, the client in pages of browsers, over WebSocket: stompjs_program.js does the talking. npm fetches it on first use."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from stomp_client import new_name

VERSION, WS_VERSION = "7.5.0", "8.23.0"
PROGRAM = Path(__file__).with_name("stompjs_program.js")


@pytest.fixture(scope="module")
def seen(stomp_broker: Any, fetched: Path) -> dict[str, Any]:
    """What the program saw."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed: stompjs is not tested")
    folder = fetched / f"stompjs-{VERSION}"
    if not (folder / "node_modules" / "ws" / "package.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        wanted = [f"@stomp/stompjs@{VERSION}", f"ws@{WS_VERSION}"]
        subprocess.run(["npm", "install", "--prefix", folder, "--no-audit", "--no-fund", "--silent", *wanted], check=True, timeout=300)
    own = {"STOMP_WS_URL": f"ws://127.0.0.1:{stomp_broker.port('stomp-ws')}/stomp", "STOMP_HOST": stomp_broker.stomp_host, "QUEUE": new_name()}
    environment = os.environ | own | {"NODE_PATH": str(folder / "node_modules")}
    run = subprocess.run(["node", PROGRAM], env=environment, capture_output=True, text=True, timeout=150, check=False)
    assert run.returncode == 0, run.stderr
    seen: dict[str, Any] = json.loads(run.stdout)
    return seen


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("subprotocol", "v12.stomp"),
        ("extensions", ""),
        ("version", "1.2"),
        ("first", ["h\u00e9llo \U0001f600", "green"]),
        ("again", ["h\u00e9llo \U0001f600", "true"]),
        ("inOrder", True),
        ("binary", True),
        ("text", True),
        ("committed", "in"),
        ("topic", 30_000),
        ("alive", True),
        ("password", "ERROR access refused"),
        ("page", "Unexpected server response: 403"),
        ("ended", 1000),
    ],
)
def test_stompjs(seen: dict[str, Any], what: str, expected: Any) -> None:
    assert seen[what] == expected
