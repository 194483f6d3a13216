"""Nobody but a protocol's own package and the table (entrepot.protocol_table) names a protocol: adding one touches no other file.

Names of files, modules, classes, functions, arguments and attributes count, and texts without a blank: keys, schemes, labels. What people read may speak
of protocols: docstrings, comments, and texts of some words.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.model.listeners import WEBSOCKET
from entrepot.protocol_table import PACKAGES, endpoints, listeners, protocols
from entrepot.testing.offered import Offered

SRC = Path(__file__).parents[1] / "src"
OWN = tuple(package.replace(".", "/") + "/" for package in PACKAGES)
TABLE = "entrepot/protocol_table.py"
SOURCES = [source for source in sorted((SRC / "entrepot").rglob("*.py")) if not str(source.relative_to(SRC)).startswith((*OWN, TABLE))]
SHARED = {"http"}  # protocols speak over it, and so do administration, health and metrics: it is named as TCP is
WORDS = {package.rpartition(".")[2] for package in PACKAGES} | set(protocols())
NAMED = re.compile("|".join(sorted(WORDS - SHARED)), re.IGNORECASE)

# Where a protocol may be named all the same, and why: by the beginning of the place, and of the name.
ALLOWED = {
    ("entrepot/model/entry.py", "CODEC_"): "the tags of entries' formats on disk: no number may be given twice, so they stand together",
    ("entrepot/broker/", "CODEC_AMQP_091"): "the tag of what the broker itself moves between queues",
    ("entrepot/broker/", "KAFKA_WRAP"): "where sequences of producers begin anew, which Kafka has defined for all",
    ("entrepot/testing/offered", ""): "declarations for type checkers, which cannot read the table; what is not there is offered all the same",
    ("entrepot/simulation/", ""): "the seeded runs drive certain protocols with scripted clients, as tests do",
}


def names(text: str, place: str) -> Iterator[tuple[int, str]]:
    """Every name in `text`, and every text without a blank, that has a protocol's in it; `place` is a name, too."""
    if NAMED.search(place):
        yield 0, place
    tree = ast.parse(text)
    docstrings = {
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        for _, value in ast.iter_fields(node):
            for each in value if isinstance(value, list) else [value]:
                is_read = isinstance(node, ast.Constant) and (node in docstrings or " " in str(each).strip())
                if isinstance(each, str | bytes) and not is_read and NAMED.search(str(each)):
                    yield getattr(node, "lineno", 0), str(each)


def offences(text: str, place: str) -> list[str]:
    """What is named in `text`, standing at `place` below src/, and may not be."""
    allowed = [name for where, name in ALLOWED if place.startswith(where)]
    return [f"src/{place}:{line}: {name}" for line, name in names(text, place) if not any(name.startswith(one) for one in allowed)]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(SRC)))
def test_no_protocol_is_named(source: Path) -> None:
    assert offences(source.read_text("utf-8"), str(source.relative_to(SRC))) == []


@pytest.mark.parametrize("exception", ALLOWED, ids="".join)
def test_each_exception_is_used(exception: tuple[str, str]) -> None:
    where, name = exception
    found = [(source, str(source.relative_to(SRC))) for source in SOURCES]
    assert any(there.startswith(name) for source, place in found if place.startswith(where) for _, there in names(source.read_text("utf-8"), place))


@pytest.mark.parametrize(
    "text",
    [
        "from entrepot.protocols.kafka.session import Session",
        "import entrepot.protocols.amqp091",
        "class KafkaSettings: ...",
        "def listen_sqs(): ...",
        "def listen(amqp_port): ...",
        "config.kafka.idle_s",
        "listen(kafka=1)",
        'wanted["amqps"]',
        'f"entrepot_sqs_{name}_total"',
        'first.startswith(b"AMQP")',
    ],
)
def test_each_way_to_name_one_is_seen(text: str) -> None:
    assert offences(text, "entrepot/server.py")


@pytest.mark.parametrize("text", ['"""Kafka\'s ways."""', "# as SQS says", 'key("consumers of AMQP clients")'])
def test_people_are_told_of_protocols(text: str) -> None:
    assert not offences(text, "entrepot/server.py")


@pytest.mark.parametrize(
    ("module", "said", "kept_out"),
    [
        ("entrepot.cli.app", {"protocol"}, {"asyncio", "entrepot.broker", "entrepot.config", "entrepot.net", "entrepot.store"}),
        ("entrepot.testing.plugin", {"endpoints"}, {"asyncio", "entrepot.settings", "entrepot.testing.broker", "msgspec"}),
    ],
)
def test_what_is_read_of_a_protocol_is_light(module: str, said: set[str], kept_out: set[str]) -> None:
    program = f"import sys, pytest; before = set(sys.modules); import {module}; print(*(set(sys.modules) - before))"
    env = {**os.environ, "PYTHONPATH": str(SRC)}
    found = set(subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True).stdout.split())
    assert not found & kept_out
    assert {name for name in found if name.startswith(PACKAGES)} == {*PACKAGES, *(f"{package}.{one}" for package in PACKAGES for one in said)}


def test_what_is_declared_of_endpoints_is_offered() -> None:
    offered = {name: value for each in endpoints().values() for name, value in each.values.items()}
    declared = dict(Offered.__annotations__)
    assert declared.keys() <= offered.keys() | {f"{name}_port" for name in endpoints()}
    for name in declared.keys() & offered.keys():
        assert declared[name] == offered[name].__annotations__["return"]


def test_names_in_the_table_are_apart() -> None:
    assert len(PACKAGES) == len(protocols()) == len(endpoints())
    assert sum(len(protocol.listeners) for protocol in protocols().values()) == len(listeners().kinds)


@pytest.mark.parametrize("name", protocols())
def test_what_a_protocol_says_of_itself_fits(name: str) -> None:
    protocol = protocols()[name]
    clear = [listener for listener, kind in protocol.listeners.items() if not kind.without_tls]
    over_tls = [kind.without_tls for kind in protocol.listeners.values() if kind.without_tls]
    assert clear[0] == next(iter(protocol.listeners)) == name == endpoints()[name].name
    assert over_tls in ([], clear)
    assert {kind.look for kind in protocol.listeners.values()} - {WEBSOCKET} == set(protocol.looks)
    assert protocol.namespace_listener in ("", name)
    assert endpoints()[name].client in (None, "", *endpoints()[name].values)
