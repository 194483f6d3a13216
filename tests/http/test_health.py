from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from entrepot.http.health import Health
from entrepot.http.session import Request
from entrepot.metrics import Histogram, Metrics


def ask(health: Health, path: str, method: str = "GET") -> tuple[int, str]:
    response = health(Request(method, path, "", {}, b""))
    return response.status, response.body.decode()


def test_ready_says_why_not() -> None:
    why: list[str | None] = ["the store recovers"]
    health = Health(Metrics(), lambda: why[0])
    assert ask(health, "/readyz") == (503, "the store recovers\n")
    assert ask(health, "/healthz") == (200, "ok\n")
    why[0] = None
    assert ask(health, "/readyz") == (200, "ready\n")


def test_other_paths_and_methods() -> None:
    health = Health(Metrics(), lambda: None)
    assert ask(health, "/x")[0] == 404
    assert ask(health, "/metrics", "POST")[0] == 405
    assert ask(health, "/metrics", "HEAD")[0] == 200


def test_metrics_are_read_when_asked_and_parse() -> None:
    metrics = Metrics()
    count = [0]
    metrics.counter("entrepot_commits_total", "Commits", lambda: count[0])
    metrics.gauge("entrepot_connections", "Open", lambda: 2, listener="amqp")
    metrics.gauge("entrepot_connections", "Open", lambda: 3, listener="http")
    metrics.histogram("entrepot_commit_seconds", "Times", lambda: Histogram((0.1, 1.0), [4, 2, 1], 3.5))
    health = Health(metrics, lambda: None)
    for expected in (0, 7):
        count[0] = expected
        families = {family.name: family for family in text_string_to_metric_families(ask(health, "/metrics")[1])}
        assert families["entrepot_commits"].samples[0].value == expected
    assert {sample.labels["listener"]: sample.value for sample in families["entrepot_connections"].samples} == {"amqp": 2, "http": 3}
    samples = {(sample.name, sample.labels.get("le")): sample.value for sample in families["entrepot_commit_seconds"].samples}
    assert samples == {
        ("entrepot_commit_seconds_bucket", "0.1"): 4,
        ("entrepot_commit_seconds_bucket", "1.0"): 6,
        ("entrepot_commit_seconds_bucket", "+Inf"): 7,
        ("entrepot_commit_seconds_count", None): 7,
        ("entrepot_commit_seconds_sum", None): 3.5,
    }


@pytest.mark.parametrize("name", ["commits_total", "entrepot_Commits_total", "entrepot_commits"])
def test_a_counter_is_named_as_one(name: str) -> None:
    with pytest.raises(AssertionError):
        Metrics().counter(name, "", lambda: 0)


def test_the_same_figure_twice_is_our_bug() -> None:
    metrics = Metrics()
    metrics.gauge("entrepot_x_bytes", "", lambda: 0, a="1")
    metrics.gauge("entrepot_x_bytes", "", lambda: 5, a="2")
    with pytest.raises(AssertionError):
        metrics.gauge("entrepot_x_bytes", "", lambda: 0, a="1")
    assert metrics.value("entrepot_x_bytes", a="2") == 5
    with pytest.raises(KeyError):
        metrics.value("entrepot_x_bytes", a="3")
