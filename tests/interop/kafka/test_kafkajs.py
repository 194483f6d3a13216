"""kafkajs, the Node client: kafkajs_program.js does the talking. npm fetches the library on first use into the folder that `fetched` names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

VERSION = "2.2.4"
PROGRAM = Path(__file__).with_name("kafkajs_program.js")

FIELDS = [
    "0",
    ["0", "k", "76", "1700000000000", [["a", "one"], ["b", "two,three"]]],
    ["1", None, "00ff", "1700000000001", []],
    ["2", "", None, "1700000000002", []],
]


@pytest.fixture(scope="module")
def seen(bootstrap: str, fetched: Path) -> dict[str, Any]:
    """What the program saw."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed: kafkajs is not tested")
    folder = fetched / f"kafkajs-{VERSION}"
    if not (folder / "node_modules" / "kafkajs" / "package.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--prefix", folder, "--no-audit", "--no-fund", "--silent", f"kafkajs@{VERSION}"], check=True, timeout=300)
    environment = os.environ | {"KAFKA_BOOTSTRAP": bootstrap, "NODE_PATH": str(folder / "node_modules"), "KAFKAJS_NO_PARTITIONER_WARNING": "1"}
    run = subprocess.run(["node", PROGRAM], env=environment, capture_output=True, text=True, timeout=150, check=False)
    assert run.returncode == 0, run.stderr
    seen: dict[str, Any] = json.loads(run.stdout) | {"errors": run.stderr, "bootstrap": bootstrap}
    return seen


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("fields", [FIELDS, FIELDS]),
        ("idempotent", True),
        ("acks", ["0", "1", "-1"]),
        ("shares", [0, 1, 2, 3]),
        ("owners", True),
        ("described", ["Stable", "RoundRobinAssigner", 2]),
        ("committed", [[0, "1"], [1, "1"], [2, "1"], [3, "1"]]),
        ("again", 4),
        ("listed", True),
        ("deleted", [0]),
        ("offsets", [["0", "50"]]),
        ("byTime", ["21"]),
        ("trimmed", [["30", "50"]]),
        ("listedTopic", True),
        ("partitions", 3),
        ("configuration", [["retention.ms", "60000"]]),
        ("again_refused", False),
        ("tooLarge", "MESSAGE_TOO_LARGE"),
        ("large", True),
    ],
)
def test_kafkajs(seen: dict[str, Any], what: str, expected: Any) -> None:
    assert what in seen, seen["errors"]
    assert seen[what] == expected


def test_the_address_is_the_one_that_was_dialled(seen: dict[str, Any], node_count: int) -> None:
    assert len(set(seen["cluster"])) == node_count
    assert node_count > 1 or seen["cluster"] == [seen["bootstrap"]]
