"""Style rules that are tests: who may read the clock, roll dice, wait, or touch files; how long a file may be."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SRC = ROOT / "src"
SOURCES = sorted(SRC.rglob("*.py"))
LONGEST_FILE = 600  # lines; 400 is usual

CLOCK = "take a Clock (entrepot.clock) or the loop's time() from the constructor"
CHANCE = "take an Entropy (entrepot.entropy) from the constructor"
WAIT = "be called back: by the session's next_deadline, the scheduler's call_later, or the event that is waited for"
FILES = "go through the store's Disk (entrepot.store.local.disk), or take the text from who reads files"

# What is banned (a dotted name, or a module with .*), and the one thing to do instead.
BANNED = {
    "time.*": CLOCK,
    "datetime.datetime.now": CLOCK,
    "datetime.datetime.utcnow": CLOCK,
    "datetime.datetime.today": CLOCK,
    "random.*": CHANCE,
    "secrets.*": CHANCE,
    "os.urandom": CHANCE,
    "os.getrandom": CHANCE,
    "uuid.uuid1": CHANCE,
    "uuid.uuid4": CHANCE,
    "asyncio.sleep": WAIT,
    "open": FILES,
    "io.open": FILES,
    "os.open": FILES,
}

# Who implements them. A folder ends with a slash.
ALLOWED = {
    "entrepot/clock.py": ("time.",),
    "entrepot/entropy.py": ("os.urandom",),
    "entrepot/store/local/": ("open", "os.open", "io.open", "time."),
    "entrepot/simulation/": ("random.",),
    "entrepot/cli/": ("open", "time."),
    "entrepot/testing/": ("open", "time."),
    "entrepot/figures.py": ("open",),
    "entrepot/net/short_path.py": ("os.open",),
}


def _names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every dotted name that is used, with imports resolved."""
    known: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                known[alias.asname or alias.name.partition(".")[0]] = alias.name if alias.asname else alias.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                known[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                yield node.lineno, f"{node.module}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            parts = []
            inner: ast.AST = node
            while isinstance(inner, ast.Attribute):
                parts.append(inner.attr)
                inner = inner.value
            if isinstance(inner, ast.Name) and inner.id in known:
                yield node.lineno, ".".join([known[inner.id], *reversed(parts)])
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id not in known:
            yield node.lineno, node.func.id


def offences(text: str, place: str) -> list[str]:
    """What `text`, standing at `place` below src/, uses and may not."""
    allowed = tuple(prefix for where, prefixes in ALLOWED.items() if place.startswith(where) for prefix in prefixes)
    found = []
    for line, name in _names(ast.parse(text)):
        for banned, instead in BANNED.items():
            hit = name.startswith(banned[:-1]) if banned.endswith("*") else name == banned
            if hit and not any(name == prefix or (prefix.endswith(".") and name.startswith(prefix)) for prefix in allowed):
                found.append(f"src/{place}:{line}: {name} is not for this module: {instead}")
    return sorted(set(found))


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(SRC)))
def test_time_chance_waiting_and_files_come_from_outside(source: Path) -> None:
    assert offences(source.read_text("utf-8"), str(source.relative_to(SRC))) == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("import time\ntime.monotonic()", "time.monotonic"),
        ("import time as t\nt.sleep(1)", "time.sleep"),
        ("from time import time\ntime()", "time.time"),
        ("import random\nrandom.random()", "random.random"),
        ("import asyncio\nasync def f():\n    await asyncio.sleep(1)", "asyncio.sleep"),
        ("from datetime import datetime\ndatetime.now()", "datetime.datetime.now"),
        ("open('x')", "open"),
        ("from os import urandom", "os.urandom"),
    ],
)
def test_each_ban_is_seen(text: str, name: str) -> None:
    assert any(f" {name} " in offence for offence in offences(text, "entrepot/broker/calls/port.py"))


@pytest.mark.parametrize("source", [*SOURCES, *sorted((ROOT / "tests").rglob("*.py"))], ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_has_one_idea(source: Path) -> None:
    assert len(source.read_text("utf-8").splitlines()) <= LONGEST_FILE


@pytest.mark.parametrize("folder", sorted({source.parent for source in SOURCES}), ids=lambda path: str(path.relative_to(SRC)))
def test_every_folder_says_what_lives_there(folder: Path) -> None:
    assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8")))


def _rooms() -> dict[str, int]:
    """The broker's rooms, the highest first, as the contract of pyproject.toml orders them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract.get("containers") == ["entrepot.broker"])
    return {room.strip(): depth for depth, layer in enumerate(layers) for room in layer.split("|")}


def upward(text: str, room: str) -> list[str]:
    """What the types of a module in a room cimport from rooms that are not below it: import-linter sees no .pxd."""
    rooms = _rooms()
    found = re.findall(r"^from entrepot\.broker\.(\w+)\S* cimport", text, re.MULTILINE)
    return [other for other in found if other != room and rooms[other] <= rooms[room]]


@pytest.mark.parametrize("types", sorted((SRC / "entrepot/broker").rglob("*.pxd")), ids=lambda path: str(path.relative_to(SRC)))
def test_types_point_down_the_rooms_too(types: Path) -> None:
    assert upward(types.read_text(), Path(types.relative_to(SRC / "entrepot/broker").parts[0]).stem) == []


@pytest.mark.parametrize("room", ["timed", "topic"])
def test_types_that_point_up_or_aside_are_seen(room: str) -> None:
    assert upward(f"from entrepot.broker.{room}.some cimport Some\nfrom entrepot.broker.logs.hub cimport Hub\n", "queue") == [room]
