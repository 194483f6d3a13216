"""amqplib, the Node client: amqplib_program.js does the talking. npm fetches the library on first use into the folder that `fetched` names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

VERSION = "2.3.1"
PROGRAM = Path(__file__).with_name("amqplib_program.js")


@pytest.fixture(scope="module")
def seen(amqp_url: str, fetched: Path) -> dict[str, Any]:
    """What the program saw."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed: amqplib is not tested")
    folder = fetched / f"amqplib-{VERSION}"
    if not (folder / "node_modules" / "amqplib" / "package.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--prefix", folder, "--no-audit", "--no-fund", "--silent", f"amqplib@{VERSION}"], check=True, timeout=300)
    environment = os.environ | {"AMQP_URL": amqp_url, "NODE_PATH": str(folder / "node_modules")}
    run = subprocess.run(["node", PROGRAM], env=environment, capture_output=True, text=True, timeout=150, check=False)
    assert run.returncode == 0, run.stderr
    seen: dict[str, Any] = json.loads(run.stdout) | {"errors": run.stderr}
    return seen


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("counted", 200),
        ("inOrder", True),
        ("headers", {"number": 0, "nested": {"list": [1, "a", None, True, 1.5]}}),
        ("returned", [312, "NO_ROUTE", "lost", "m"]),
        ("routed", ["a.2", "a.3"]),
        ("redelivered", [False, True, True, False]),
        ("purged", 0),
        ("refused", [404, 406, 404, 403]),
        ("cancelled", None),
        ("large", True),
        ("rpc", ["hello world", "7"]),
        ("product", "string"),
        ("wrongPassword", True),
    ],
)
def test_amqplib(seen: dict[str, Any], what: str, expected: Any) -> None:
    assert what in seen, seen["errors"]
    assert seen[what] == expected
