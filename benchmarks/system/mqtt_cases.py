"""What is measured over MQTT, beside Eclipse Mosquitto."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.system import probes
from benchmarks.system.brokers import Broker
from benchmarks.system.case import MIB, Case, Expectation, Scale
from benchmarks.system.measure import Figures, measured, settle, stalls
from benchmarks.system.mqtt_measure import mqtt_load, mqtt_many, sessions_held


def _load(*words: str) -> Callable[[Broker, Scale], Figures]:
    def measure(broker: Broker, scale: Scale) -> Figures:
        return measured(broker, [*words, "--seconds", str(scale.seconds)], by=mqtt_load)

    return measure


def _kept(broker: Broker, scale: Scale) -> Figures:
    """For a session that is kept and away, then all of it to that session: durable, where the others' sessions end with their connections."""
    name = ["--client-id", "kept", "--topic", "kept"]
    mqtt_load(broker, ["consume", "--persistent", *name, "--seconds", "0.1"])
    published = measured(broker, ["publish", *name[2:], "--qos", "1", "--seconds", str(scale.seconds)], by=mqtt_load)
    taken = mqtt_load(broker, ["consume", "--persistent", *name, "--qos", "1", "--count", str(published["load"]["confirmed"])])
    return published | {"consume_per_s": taken["consume_per_s"], "errors": published["errors"] + sum(taken["errors"].values())}


def _sessions(broker: Broker, scale: Scale) -> Figures:
    """Clients that are connected and idle, each with a session that is kept and three subscriptions."""
    settle(broker)
    before, cpu = probes.rss_bytes(broker.pids()), probes.cpu_s(broker.pids())
    count = int(scale.count(10_000))
    said: Figures = {}
    with sessions_held(broker, ["--count", str(count)], said):
        opened_cpu = probes.cpu_s(broker.pids()) - cpu
        settle(broker)
        after = probes.rss_bytes(broker.pids())
        away = stalls(probes.metrics(broker.metrics_url))
    added = after - before
    figures: Figures = {
        "rss_bytes": after,
        "rss_added_bytes": added,
        "rss_added_each_bytes": added / count,
        "broker_cpu_us_per_message": opened_cpu * 1e6 / count,
    }
    return figures | {"open_seconds": said["open_seconds"], **away, "errors": 0}


def _retained(broker: Broker, scale: Scale) -> Figures:
    """Published one after the other, then sent to one new subscription all at once."""
    return measured(broker, ["retained", "--count", scale.count(100_000)], by=mqtt_many)


def _offline(broker: Broker, scale: Scale) -> Figures:
    """Messages for sessions that are away, who then come back for them."""
    return measured(broker, ["offline", "--count", scale.count(10_000), "--messages", scale.count(1_000_000)], by=mqtt_many)


def _case(name: str, about: str, measure: Callable[[Broker, Scale], Figures], *expectations: Expectation, repetitions: int | None = None) -> Case:
    return Case(f"mqtt-{name}", about, measure, expectations, repetitions=repetitions, protocol="mqtt")


def _times(figure: str, peer: float) -> Expectation:
    return Expectation(figure, at_least=peer, of_peer=True)


_STALL = Expectation("loop_stall_own_longest_ms", at_most=10.0)

MQTT_CASES = (
    _case("publish-0", "1 publisher, QoS 0, 100 B, nobody reads", _load("publish", "--qos", "0"), _times("publish_per_s", 1), _STALL),
    _case("both-0", "1 publisher, 1 consumer, QoS 0, 100 B", _load("both", "--qos", "0", "--lag-max", "10000"), _STALL),
    _case("publish-1", "1 publisher, QoS 1, 100 B, nobody reads", _load("publish", "--qos", "1"), _STALL),
    _case("both-1", "1 publisher, 1 consumer, QoS 1, 100 B", _load("both", "--qos", "1", "--lag-max", "10000"), _times("consume_per_s", 4), _STALL),
    _case("both-2", "the same, QoS 2", _load("both", "--qos", "2", "--lag-max", "10000"), _times("consume_per_s", 3), _STALL),
    _case("kept-1", "1 publisher, QoS 1, 100 B, for a kept session, then to it", _kept, _STALL),
    _case(
        "waiting-200",
        "200 clients that wait for each PUBACK, 100 B, nobody reads",
        _load("publish", "--qos", "1", "--publishers", "200", "--window", "1"),
        _times("publish_per_s", 0.5),
        _STALL,
    ),
    _case("fanout-0", "1 publisher, 100 consumers, QoS 0, 100 B", _load("fanout", "--qos", "0", "--lag-max", "1000"), _times("consume_per_s", 4), _STALL),
    _case("fanout-1", "the same, QoS 1", _load("fanout", "--qos", "1", "--lag-max", "1000"), _STALL),
    _case("paced-1000", "1,000 messages a second, QoS 1", _load("both", "--qos", "1", "--rate", "1000")),
    _case("memory-sessions", "10,000 idle clients with kept sessions", _sessions, Expectation("rss_added_bytes", at_most=500 * MIB), repetitions=1),
    _case("retained", "100,000 retained messages, then to one subscription at once", _retained, _STALL, repetitions=1),
    _case("offline", "a million messages for 10,000 sessions that are away, and back for them", _offline, _STALL, repetitions=1),
)
