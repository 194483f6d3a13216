"""`entrepot status`: what two looks say together, and a broker of two workers whose sockets answer what is written here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fake_workers import FakeWorker, run, served

from entrepot.admin.status import LinkStatus, Status
from entrepot.cli.looks import Look, Looks, lasted
from entrepot.cli.status import look_at
from entrepot.model.errors import Refused

LINK = LinkStatus("w1", True, 75.0, 2048, 10, 20)
STATUS = Status(
    version="0.1.0",
    worker=0,
    workers=2,
    pid=4242,
    start="00" * 16,
    started_ms=0,
    uptime_s=3700.0,
    why_not_ready="",
    decides=True,
    revision=(1, 7),
    shards=128,
    shards_open=128,
    shards_all=256,
    connections=3,
    messages_in=100,
    messages_out=50,
    bytes_in=10_240,
    bytes_out=0,
    intents=4,
    intent_bytes=512,
    intents_full=0,
    links=[LINK],
)


def changed(status: Any, **fields: Any) -> Any:
    return msgspec.structs.replace(status, **fields)


def cells(looks: Looks) -> list[dict[str, str]]:
    """The rows of all tables, by their heads."""
    found = []
    for part in looks.shown().split("\n\n"):
        heads, *rows = part.split("\n")
        starts = [at for at in range(len(heads)) if heads[at] != " " and (at == 0 or heads[at - 2 : at] == "  ")]
        ends = [*starts[1:], None]
        found += [{heads[at:end].strip(): row[at:end].strip() for at, end in zip(starts, ends, strict=True)} for row in rows]
    return found


def test_one_look_says_all_but_rates() -> None:
    looks = Looks()
    looks.take(Look(5.0, {0: STATUS, 1: "does not run"}))
    first, second, link = cells(looks)
    assert first["WORKER"] == "w0"
    assert (first["STATE"], first["UP"], first["SHARDS"], first["CONNECTIONS"]) == ("ready, decides", "1 h 1 min", "128", "3")
    assert (first["IN/S"], first["RESTARTS"], first["INTENTS"], first["INTENT BYTES"]) == ("-", "-", "4", "512")
    assert (second["WORKER"], second["STATE"], second["PID"]) == ("w1", "does not run", "-")
    assert (link["LINK"], link["STATE"], link["SINCE"], link["HELD BYTES"], link["SENT/S"]) == ("w0 to w1", "connected", "1 min 15 s", "2048", "-")


def test_two_looks_say_rates() -> None:
    looks = Looks()
    looks.take(Look(5.0, {0: STATUS}))
    links = [changed(LINK, sent=30, connected=False)]
    looks.take(Look(7.0, {0: changed(STATUS, messages_in=300, messages_out=50, bytes_in=30_720, links=links, shards_open=100, decides=False)}))
    worker, link = cells(looks)
    assert (worker["IN/S"], worker["OUT/S"], worker["KB IN/S"], worker["KB OUT/S"]) == ("100", "0", "10", "0")
    assert (worker["SHARDS"], worker["STATE"], worker["RESTARTS"]) == ("100 of 128", "ready", "0")
    assert (link["STATE"], link["SENT/S"], link["RECEIVED/S"]) == ("not connected", "10", "0")


def test_a_worker_that_has_started_again_has_no_rates_and_is_counted() -> None:
    looks = Looks()
    again = changed(STATUS, start="01" * 16, messages_in=1000, why_not_ready="the broker stops")
    for at, status in enumerate((STATUS, "does not run", again)):
        looks.take(Look(float(at), {0: status}))
    assert (cells(looks)[0]["RESTARTS"], cells(looks)[0]["IN/S"], cells(looks)[0]["STATE"]) == ("1", "-", "the broker stops, decides")
    looks.take(Look(3.0, {0: changed(again, messages_in=1007)}))
    assert (cells(looks)[0]["RESTARTS"], cells(looks)[0]["IN/S"]) == ("1", "7")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.9, "0 s"), (59, "59 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"), (3600, "1 h 0 min"), (90_000, "1 d 1 h"), (86_400 * 400, "400 d 0 h")],
)
def test_durations(seconds: float, text: str) -> None:
    assert lasted(seconds) == text


def test_the_status_of_two_workers(tmp_path: Path) -> None:
    first = FakeWorker({"/v1/status": msgspec.to_builtins(STATUS) | {"of a later version": 1}})
    second = FakeWorker({"/v1/status": (200, {"another": "kind"})})
    with served(tmp_path, {0: first, 1: second}):
        status, text = run(tmp_path, "status", "--json")
        assert (status, msgspec.json.decode(text)) == (0, {"workers": [json.loads(msgspec.json.encode(STATUS))], "silent": {"1": "is of another version"}})
        status, text = run(tmp_path, "status", "--once")
        assert status == 0
        assert "w0 to w1" in text
        assert "is of another version" in text
        second.answers["/v1/status"] = (404, {"error": "there is no such path", "reason": "NOT_FOUND"})
        assert look_at(tmp_path).found[1] == "is of another version"
    with pytest.raises(Refused, match="no broker runs on"):
        look_at(tmp_path)
