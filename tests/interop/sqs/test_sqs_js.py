"""The JavaScript SDK v3, and sqs-consumer on top of it: sqs_program.js does the talking. npm fetches both on first use."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from sqs_endpoint import environment, new_name

SDK_VERSION, CONSUMER_VERSION = "3.1072.0", "15.0.3"
PROGRAM = Path(__file__).with_name("sqs_program.js")


@pytest.fixture(scope="module")
def seen(endpoint: str, fetched: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the program saw."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed: the JavaScript SDK is not tested")
    folder = fetched / f"aws-sdk-js-{SDK_VERSION}"
    if not (folder / "node_modules" / "sqs-consumer" / "package.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        wanted = [f"@aws-sdk/client-sqs@{SDK_VERSION}", f"sqs-consumer@{CONSUMER_VERSION}"]
        subprocess.run(["npm", "install", "--prefix", folder, "--no-audit", "--no-fund", "--silent", *wanted], check=True, timeout=300)
    program = tmp_path_factory.mktemp("js") / PROGRAM.name  # `import` looks for packages beside the program
    shutil.copy(PROGRAM, program)
    (program.parent / "node_modules").symlink_to(folder / "node_modules")
    run = subprocess.run(["node", program], env=environment(endpoint) | {"QUEUE": new_name()}, capture_output=True, text=True, timeout=100, check=False)
    assert run.returncode == 0, run.stderr
    seen: dict[str, Any] = json.loads(run.stdout)
    return seen


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("found", True),
        ("tags", {"a": "b"}),
        ("same", True),
        ("attributes", ["ü", 0]),
        ("count", "1"),
        ("batch", [9, [["3", True]]]),
        ("waiting", "9"),
        ("error", ["QueueDoesNotExist", True, 400, True]),
        ("fifo", ["1", "2", "3"]),
        ("handled", [30, 30, 1]),
        ("left", ["0", "0"]),
    ],
)
def test_javascript(seen: dict[str, Any], what: str, expected: Any) -> None:
    assert seen[what] == expected
