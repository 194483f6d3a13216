"""Text of strangers in the log and on the terminal: one event is one line, and nothing in it acts on who reads it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from entrepot import logs
from entrepot.model.printable import PRINTED_MAX, printable

HOSTILE = [
    *(chr(code) for code in (*range(32), *range(0x7F, 0xA0))),  # C0, DEL, C1
    *"\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069",  # turn the direction
    *"\u2028\u2029\u200b\u2060\ufeff\U000e0041\ud800\udfff",
]


@pytest.fixture(params=["text", "json"])
def log(request: pytest.FixtureRequest) -> Iterator[tuple[str, io.StringIO]]:
    root = logging.getLogger()
    handlers, level, asyncio_level = root.handlers[:], root.level, logging.getLogger("asyncio").level
    stream = io.StringIO()
    logs.set_up("info", request.param, stream)
    yield request.param, stream
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("asyncio").setLevel(asyncio_level)


def shown(form: str, text: str) -> str:
    """What a reader of the log sees, who has a JSON line decoded."""
    return str(json.loads(text)["text"]) if form == "json" else text.removesuffix("\n")


@pytest.mark.parametrize("hostile", HOSTILE, ids=lambda char: f"U+{ord(char):04X}")
def test_what_is_not_printable_is_escaped_in_every_format(log: tuple[str, io.StringIO], hostile: str) -> None:
    form, stream = log
    logging.getLogger("entrepot.net").warning("user %s is refused", f"ann{hostile}2026-01-31T12:00:00.123Z INFO net: bob is let in")
    written = stream.getvalue()
    assert hostile not in written.removesuffix("\n")
    assert written.count("\n") == 1
    assert hostile not in shown(form, written)
    assert hostile.encode("unicode_escape").decode() in shown(form, written)


def test_what_is_printable_stays_as_it_is(log: tuple[str, io.StringIO]) -> None:
    form, stream = log
    logging.getLogger("entrepot.net").info("%s", "jürgen 日本 ❤ a\\b \"c\" 'd'")
    assert shown(form, stream.getvalue()).endswith("jürgen 日本 ❤ a\\b \"c\" 'd'")


@pytest.mark.parametrize("text", ["x" * 20_000, "\x1b" * 20_000, "\U000e0041" * 5000])
def test_a_line_is_cut(log: tuple[str, io.StringIO], text: str) -> None:
    form, stream = log
    logging.getLogger("entrepot.net").info("%s", text)
    found = shown(form, stream.getvalue())
    assert len(found) < PRINTED_MAX + 100
    assert found.endswith(" more characters)")


def test_a_traceback_forges_no_line(log: tuple[str, io.StringIO]) -> None:
    form, stream = log
    try:
        raise ValueError("no\n2026-01-31T12:00:00.123Z INFO net: forged\x1b[2J\n" + "more\n" * 5000)
    except ValueError:
        logging.getLogger("entrepot.net").exception("failed")
    written = stream.getvalue()
    lines = (json.loads(written)["error"] if form == "json" else written.removesuffix("\n").partition("\n")[2]).split("\n")
    assert "\x1b" not in written
    assert len(lines) == logs.TRACE_LINES_MAX + 1
    if form == "json":
        assert written.count("\n") == 1
    else:
        assert all(line.startswith(logs.TRACE) for line in lines)
    assert any("test_a_traceback_forges_no_line" in line for line in lines)


def test_how_much_is_cut_is_told() -> None:
    assert printable("a" * 10, 10) == "a" * 10
    assert printable("a" * 11, 10) == "a" * 10 + "... (1 more characters)"
    assert printable("\n" * 3, 4) == r"\n\n... (2 more characters)"


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_worker_is_named(form: str) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    logs.set_up("info", form, stream, worker="w1")
    logging.getLogger("entrepot.net").warning("text")
    root.handlers[:] = handlers
    root.setLevel(level)
    if form == "json":
        assert json.loads(stream.getvalue()).items() >= {"worker": "w1", "logger": "entrepot.net", "text": "text"}.items()
    else:
        assert stream.getvalue().partition(" ")[2] == "WARNING w1 net: text\n"
