"""What serves connections knows names and numbers: live queues and topics are their owners' (docs/decisions/front-and-owner.md)."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[1] / "src"
FRONT = ("broker/front", "broker/operations", "broker/calls", "broker/users", "protocols", "admin", "http")
PLAIN = {"topic.topic_config", "topic.stream_start"}  # what is said of topics, and no topic
KAFKA = "a client is told where the owner is: appends, reads and searches never cross, and hold partitions"

EXCEPTIONS = {
    "broker/operations/live_objects.py": "the owner's own: makes and ends what is alive, as the catalogue says",
    "broker/operations/topic_making.py": "the owner's own: makes the partitions of large topics",
    "broker/operations/topic_ending.py": "the owner's own: ends partitions that nobody finds any more",
    "broker/front/inbox.py": "the owner's own: takes what comes from sources elsewhere",
    "broker/front/subject_hop.py": "the owner's own: a partition's way on to its subject",
    "broker/front/subjects.py": "the owner's own: of which partitions that is",
    "broker/front/appending.py": KAFKA,
    "broker/front/appending.pxd": KAFKA,
    "broker/front/door.py": KAFKA,
    "broker/front/door.pxd": KAFKA,
    "broker/operations/topic_operations.py": KAFKA,
}
"""Who touches live objects all the same, and why."""

SOURCES = [path for room in FRONT for kind in ("*.py", "*.pxd") for path in sorted((SRC / "entrepot" / room).rglob(kind))]


def touched(text: str) -> Iterator[str]:
    """What there is of live objects in a module."""
    for room in re.findall(r"^\s*from entrepot\.broker\.((?:queue|topic|timed)\.\w+) c?import", text, re.MULTILINE):
        if room not in PLAIN:
            yield room
    try:
        tree = ast.parse(text)
    except SyntaxError:  # C types
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "runtime":
            yield "runtime"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "here" and not node.args:
            yield "here()"


def place(source: Path) -> str:
    return str(source.relative_to(SRC / "entrepot"))


@pytest.mark.parametrize("source", SOURCES, ids=place)
def test_a_front_touches_nothing_that_is_alive(source: Path) -> None:
    found = list(touched(source.read_text("utf-8")))
    if place(source) in EXCEPTIONS:
        assert found, "it is no exception any more"
    else:
        assert found == []


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("from entrepot.broker.queue.queue import Queue", "queue.queue"),
        ("    from entrepot.broker.timed.timed_queue import TimedQueue", "timed.timed_queue"),
        ("from entrepot.broker.topic.topic cimport Topic", "topic.topic"),
        ("depth = definition.runtime.depth()", "runtime"),
        ("queue = definition.here()", "here()"),
    ],
)
def test_each_is_seen(text: str, name: str) -> None:
    assert name in list(touched(text))


@pytest.mark.parametrize("text", ["from entrepot.broker.topic.topic_config import SETTINGS", "owners.here(shard).store"])
def test_what_is_not_alive_is_not(text: str) -> None:
    assert list(touched(text)) == []


def test_exceptions_are_of_files_that_there_are() -> None:
    assert set(EXCEPTIONS) <= {place(source) for source in SOURCES}
