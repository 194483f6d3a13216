"""What workers expose, put together: rules by example, sums of parts, and that every metric there is has a rule."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from entrepot.clock import SystemClock
from entrepot.cluster.link_figures import LinkFigures
from entrepot.cluster.workers.figures import LIMIT, RULES, NodeFigures, Rule, rule_of, summed
from entrepot.config import load
from entrepot.entropy import SystemEntropy
from entrepot.figures import register_links
from entrepot.http.exposition import exposition
from entrepot.metrics import Histogram, Metrics
from entrepot.model.errors import CorruptData
from entrepot.server import Server


def samples(data: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(data.decode())
        for sample in family.samples
    }


def exposed(**figures: Any) -> bytes:
    """Of names without entrepot_: numbers, Histograms, or dictionaries by a label's value."""
    metrics = Metrics()
    for name, value in figures.items():
        add: Any = metrics.histogram if isinstance(value, Histogram) else metrics.counter if name.endswith("_total") else metrics.gauge
        if isinstance(value, dict):
            for label, one in value.items():
                add(f"entrepot_{name}", "Text", lambda one=one: one, limit=label)
        else:
            add(f"entrepot_{name}", "Text", lambda value=value: value)
    return exposition(metrics)


def test_each_by_its_rule() -> None:
    data = summed(
        {
            0: exposed(broker_published_total=5, connections=2, queues=7, store_full=0, ready=1, cpu_seconds_total=1.5, uptime_seconds=10),
            1: exposed(broker_published_total=6, connections=3, queues=7, store_full=1, ready=0, cpu_seconds_total=2.5, uptime_seconds=20),
        }
    )
    assert samples(data) == {
        ("entrepot_broker_published_total", ()): 11,
        ("entrepot_connections", ()): 5,
        ("entrepot_queues", ()): 7,
        ("entrepot_store_full", ()): 1,
        ("entrepot_ready", ()): 0,
        ("entrepot_cpu_seconds_total", (("worker", "0"),)): 1.5,
        ("entrepot_cpu_seconds_total", (("worker", "1"),)): 2.5,
        ("entrepot_uptime_seconds", (("worker", "0"),)): 10,
        ("entrepot_uptime_seconds", (("worker", "1"),)): 20,
    }
    assert b"# TYPE entrepot_broker_published_total counter" in data


def test_a_gauge_and_a_counter_of_one_name() -> None:
    found = samples(summed({0: exposed(attachments=2, attachments_total=5), 1: exposed(attachments=1, attachments_total=4)}))
    assert [found["entrepot_attachments", (("worker", number),)] for number in "01"] == [2, 1]
    assert found["entrepot_attachments_total", ()] == 9


def test_histograms_of_processes_stay_apart_and_others_are_summed() -> None:
    one, two = Histogram((0.1, 1.0), [4, 2, 1], 3.5), Histogram((0.1, 1.0), [1, 0, 0], 0.5)
    found = samples(summed({0: exposed(loop_stall_seconds=one), 1: exposed(loop_stall_seconds=two)}))
    assert found["entrepot_loop_stall_seconds_bucket", (("le", "1.0"), ("worker", "0"))] == 6
    assert found["entrepot_loop_stall_seconds_sum", (("worker", "1"),)] == 0.5


def test_limits_that_are_divided_are_the_nodes_again() -> None:
    each = exposed(limit={"connections": 500, "http_request_bytes": 65_536})
    found = samples(summed({0: each, 1: each}, divided={"connections"}))
    assert found == {(LIMIT, (("limit", "connections"),)): 1000, (LIMIT, (("limit", "http_request_bytes"),)): 65_536}


@given(st.lists(st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(0, 1 << 40)), max_size=5))
def test_a_sum_is_of_its_parts(parts: list[dict[str, int]]) -> None:
    found = samples(summed({number: exposed(sqs_requests_total=part) for number, part in enumerate(parts) if part}))
    names = {name for part in parts for name in part}
    assert found == {("entrepot_sqs_requests_total", (("limit", name),)): sum(part.get(name, 0) for part in parts) for name in names}


@given(st.lists(st.tuples(st.integers(0, 2), st.one_of(st.none(), st.integers(0, 100)), st.booleans()), max_size=30))
def test_counters_of_the_node_never_go_back(steps: list[tuple[int, int | None, bool]]) -> None:
    """Workers count on, do not answer for a while, and start again at 0."""
    figures = NodeFigures(3)
    counts, starts, away = [0, 0, 0], [0, 0, 0], set[int]()
    total = seen = 0
    was_away = False
    for number, more, again in steps:
        if more is None:
            away ^= {number}
            was_away = True
        elif again:
            starts[number] += 1
            counts[number] = 0
        else:
            counts[number] += more
            total += more
        found = {one: (str(starts[one]), exposed(broker_published_total=counts[one])) for one in range(3) if one not in away}
        told = samples(figures.look(found))
        assert [told["entrepot_worker_up", (("worker", str(one)),)] for one in range(3)] == [one not in away for one in range(3)]
        if found:
            value = int(told["entrepot_broker_published_total", ()])
            assert seen <= value <= total
            assert was_away or value == total
            seen = value


def test_what_a_worker_had_counted_stays_when_it_starts_again() -> None:
    figures = NodeFigures(2)
    key = ("entrepot_broker_published_total", ())
    assert samples(figures.look({0: ("a", exposed(broker_published_total=5)), 1: ("b", exposed(broker_published_total=7))}))[key] == 12
    assert samples(figures.look({0: ("a", exposed(broker_published_total=6))}))[key] == 13
    assert samples(figures.look({0: ("a", exposed(broker_published_total=6)), 1: ("c", exposed(broker_published_total=9))}))[key] == 22
    histogram = Histogram((1.0,), [1, 0], 0.5)
    assert samples(figures.look({0: ("d", exposed(broker_published_total=0, loop_stall_seconds=histogram))}))[key] == 22


def test_a_counter_of_fractions_does_not_go_back_by_the_order_in_which_they_are_added_up() -> None:
    """By the last bit, that is, which Prometheus takes for a counter that has begun anew: the rate would be all that was ever counted."""
    figures = NodeFigures(3)
    counted = (0.1, 0.1, 0.4)
    found = {number: (str(number), exposed(store_commit_seconds_total=counted[number])) for number in range(3)}
    key = ("entrepot_store_commit_seconds_total", ())
    assert counted[0] + counted[2] + counted[1] < sum(counted)
    first = samples(figures.look(found))[key]
    assert samples(figures.look({number: found[number] for number in (0, 2)}))[key] == first
    started_again = found | {1: ("another", exposed(store_commit_seconds_total=0.0))}
    assert samples(figures.look(started_again))[key] == first


def test_a_node_is_not_ready_while_one_of_its_workers_does_not_answer() -> None:
    figures = NodeFigures(2)
    both = {0: ("a", exposed(ready=1)), 1: ("b", exposed(ready=1))}
    assert samples(figures.look(both))["entrepot_ready", ()] == 1
    assert samples(figures.look({1: both[1]}))["entrepot_ready", ()] == 0
    assert samples(figures.look(both))["entrepot_ready", ()] == 1


@pytest.mark.parametrize("data", [b"\xff", b"{", b'entrepot_x{a="b" 1\n', b"# TYPE entrepot_connections counter\nentrepot_connections_total 1\n"])
def test_what_is_no_exposition(data: bytes) -> None:
    with pytest.raises(CorruptData, match="worker 1 expose"):
        summed({0: exposed(connections=1), 1: data + (b"" if b"TYPE" in data else b"x y z\n")})


def test_every_metric_has_a_rule(tmp_path: Path) -> None:
    """A new gauge or histogram needs one: say in figures.py whether it is summed, the greatest, the least, or each worker's own."""
    kinds = asyncio.run(_kinds(tmp_path))
    assert {"entrepot_loop_stall_seconds", "entrepot_kafka_fetch_sessions", "entrepot_sqs_errors", "entrepot_link_connected", LIMIT} <= kinds.keys()
    without = [name for name, kind in kinds.items() if kind != "counter" and name not in RULES]
    assert without == []
    assert [name for name in RULES if name not in kinds] == []
    assert rule_of("entrepot_sqs_errors", "counter") is Rule.SUM
    assert rule_of("entrepot_of_a_later_version", "gauge") is Rule.EACH


class NoLinks:
    def figures(self) -> list[LinkFigures]:
        return []


async def _kinds(directory: Path) -> dict[str, str]:
    listen = dict.fromkeys(("amqp", "kafka", "sqs", "http"), "127.0.0.1:0")
    config = load(None, {}, {"data": str(directory / "data"), **{f"listen.{name}": where for name, where in listen.items()}}).config
    server = Server(config, SystemClock(), SystemEntropy(), lambda error: None)
    await server.start()
    server.stalls.start()  # or what it reads is not closed
    register_links(server.metrics, NoLinks(), ["w1"])
    kinds = {family.name: family.type for family in text_string_to_metric_families(exposition(server.metrics).decode())}
    await server.stop()
    return kinds
