"""The command as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from entrepot import __version__
from entrepot.protocol_table import listeners


def entrepot(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "entrepot", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1", **environment},
    )


def test_version() -> None:
    ran = entrepot("--version")
    assert (ran.returncode, ran.stdout) == (0, f"entrepot {__version__}\n")


LISTENERS = listeners().kinds
BY_DEFAULT = [kind for kind in LISTENERS.values() if kind.address]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            (),
            [
                "serve",
                "store",
                "users",
                "queues",
                "topics",
                "groups",
                "connections",
                "namespaces",
                "docs/configuration.md",
                *(f"{kind.scheme}://{kind.address}" for kind in BY_DEFAULT),
                *(kind.title for kind in BY_DEFAULT),
            ],
        ),
        (
            ("serve", "--help"),
            ["--listen", "--data", "--config", "--set", "SIGTERM", *LISTENERS, *(f"{kind.title} on {kind.address}" for kind in BY_DEFAULT)],
        ),
        (("store", "--help"), ["verify", "quarantine"]),
        (("users", "--help"), ["add", "list", "set-password", "delete"]),
        (("queues", "list", "--help"), ["--json", "--namespace", "--prefix", "--data", "--config"]),
        (("connections", "--help"), ["list", "close"]),
        (("namespaces", "--help"), ["list", "add", "delete"]),
    ],
)
def test_help_is_worth_reading(arguments: tuple[str, ...], words: list[str]) -> None:
    ran = entrepot(*arguments, *([] if arguments else ["--help"]))
    assert ran.returncode == 0
    assert [word for word in words if word not in ran.stdout] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("serve", "--set", "limits.connections=none"), ["limits.connections = 'none'", "at least 1"]),
        (("serve", "--set", "limits.connections"), ["KEY=VALUE"]),
        (("serve", "--listen", "amqp"), ["PROTOCOL=HOST:PORT"]),
        (("serve", "--listen", "http=1.2.3.4"), ["listen.http", "HOST:PORT"]),
    ],
)
def test_a_wrong_setting_is_one_line_and_status_2(tmp_path: Path, arguments: tuple[str, ...], words: list[str]) -> None:
    ran = entrepot(*arguments, "--data", str(tmp_path))
    assert ran.returncode == 2
    assert len(ran.stderr.splitlines()) == 1
    assert [word for word in words if word not in ran.stderr] == []


def test_nothing_slow_is_imported_to_listen() -> None:
    listing = "import sys; import entrepot.cli.app, entrepot.cli.serve, entrepot.server; print(sorted(sys.modules))"
    loaded = set(eval(subprocess.run([sys.executable, "-c", listing], capture_output=True, text=True, check=True).stdout))
    assert not {"rich", "prometheus_client", "pydantic", "pytest", "hypothesis", "urllib.request", "entrepot.cli.listings", "entrepot.cli.users"} & loaded


def test_passwords_come_from_a_file_or_standard_input_and_the_command_line_is_warned_of(tmp_path: Path) -> None:
    data = ("--data", str(tmp_path / "data"))
    file = tmp_path / "password"
    file.write_text("correct horse\nnot this\n")
    from_file = entrepot("users", "add", "ann", "--password-file", str(file), *data)
    assert (from_file.returncode, from_file.stderr) == (0, "")
    piped = subprocess.run(
        [sys.executable, "-m", "entrepot", "users", "add", "bob", "--password-file", "-", *data],
        input="battery staple\n",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (piped.returncode, piped.stderr) == (0, "")
    open_to_all = entrepot("users", "set-password", "ann", "--password", "another", *data)
    assert open_to_all.returncode == 0
    assert "can be read by others" in open_to_all.stderr
    assert entrepot("users", "add", "eve", "--password-file", str(tmp_path / "nothing"), *data).returncode == 2
