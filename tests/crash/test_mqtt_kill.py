"""SIGKILL under load of MQTT's clients with sessions that are kept, whose connections are cut, too: QoS 1 loses nothing, QoS 2 is exactly once from publisher
to subscriber, order is kept, and the last retained message is there. ENTREPOT_KILLS sets how often the broker is killed; `-m long` does it 50 times. Of a
broker with several workers (ENTREPOT_TEST_WORKERS) mostly one of them is killed."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from crash_mqtt import Publisher, Subscriber, wait_until
from crash_workers import Workers
from paho.mqtt.client import MQTTv5, MQTTv311
from test_kill import KILLS_LONG, SETTINGS

from entrepot.testing.broker import Broker

KILLS = int(os.environ.get("ENTREPOT_KILLS", "3"))


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path / "data", settings=SETTINGS, listeners=("mqtt", "http")) as broker:
        yield broker


def run(broker: Broker, kills: int, seed: int) -> None:
    dice, port = random.Random(seed), broker.port("mqtt")
    subscribers = [Subscriber(port, f"s{qos}-{version}", qos, version) for qos in (1, 2) for version in (MQTTv311, MQTTv5)]
    publishers = [Publisher(port, f"p{qos}-{version}", qos, version, retain=qos == 1) for qos in (1, 2) for version in (MQTTv311, MQTTv5)]
    peers = [*subscribers, *publishers]
    workers = Workers(broker) if broker.workers > 1 else None
    for _ in range(kills):
        wanted = [publisher.acknowledged + dice.randrange(1, 400) for publisher in publishers]
        wait_until(lambda wanted=wanted: all(one.acknowledged >= least for one, least in zip(publishers, wanted, strict=True)), "acknowledgements")  # type: ignore[misc]
        dice.choice(peers).cut()
        known = kill(broker, workers, dice, publishers)
        last_values(port, [publisher for publisher in publishers if publisher.retain], known)
    for publisher in publishers:
        publisher.stop()
    for subscriber in subscribers:
        for publisher in publishers:
            wait_until(lambda one=subscriber, other=publisher: one.has_all(other), f"{subscriber.name} hears all of {publisher.name}")  # type: ignore[misc]
            subscriber.check(publisher)
    for peer in peers:
        peer.end()


def kill(broker: Broker, workers: Workers | None, dice: random.Random, publishers: list[Publisher]) -> dict[str, int]:
    """The broker, or one of its workers; it is there again then. What was acknowledged before that."""
    if workers is not None and dice.random() < 0.8:
        number, before = dice.randrange(workers.count), workers.pids
        workers.kill(number)
        known = {publisher.name: publisher.acknowledged for publisher in publishers}
        workers.wait_for_others_than(before, number)
        return known
    broker.kill()
    known = {publisher.name: publisher.acknowledged for publisher in publishers}
    broker.start()
    if workers is not None:
        workers.renew()
    return known


def last_values(port: int, publishers: list[Publisher], known: dict[str, int]) -> None:
    """Who comes now is told of the last message of each, or of a later one than was acknowledged."""
    late = Subscriber(port, f"late-{sum(known.values())}", 1, MQTTv5, is_kept=False)
    try:
        for publisher in publishers:
            wait_until(lambda name=publisher.name: name in late.heard, f"a retained message of {publisher.name}")  # type: ignore[misc]
            assert late.heard[publisher.name][0] >= known[publisher.name] - 1
    finally:
        late.end()


def test_a_few_kills(broker: Broker) -> None:
    run(broker, KILLS, 1)


@pytest.mark.long
def test_fifty_kills(broker: Broker) -> None:
    run(broker, KILLS_LONG, 2)
