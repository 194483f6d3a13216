"""SIGKILL under load of idempotent Kafka producers: every record is there once, in order, where its acknowledgement said; committed offsets are kept.

ENTREPOT_KILLS sets how often the broker is killed; `-m long` does it 50 times, with everything that test_kill.py has over AMQP at the same time.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from crash_kafka import KafkaSide
from test_kill import KILLS_LONG, SETTINGS, Run

from entrepot.testing.broker import Broker

KILLS = int(os.environ.get("ENTREPOT_KILLS", "4"))
LISTENERS = ("amqp", "kafka", "http")


def test_idempotent_producers_over_crashes(tmp_path: Path) -> None:
    dice = random.Random(1)
    with Broker(tmp_path / "data", settings=SETTINGS, listeners=LISTENERS) as broker:
        side = KafkaSide(f"127.0.0.1:{broker.port('kafka')}")
        for _ in range(KILLS):
            side.wait(dice.choice((1, 500, 3000)))
            broker.kill()
            broker.start()
        side.wait(100)
        side.stop()
        assert side.acknowledged_count > 100
        assert side.committer.told > 0


@pytest.mark.long
@pytest.mark.parametrize("seed", [3])
def test_both_protocols_over_fifty_crashes(tmp_path: Path, seed: int) -> None:
    with Broker(tmp_path / "data", settings=SETTINGS, listeners=LISTENERS) as broker:
        run = Run(broker, seed)
        run.declare()
        side = KafkaSide(f"127.0.0.1:{broker.port('kafka')}")
        for _ in range(KILLS_LONG):
            run.consume()
            run.publish()
            run.crash(run.random.choice([1, 300, 3_000, 10_000]))
            run.start()
            side.wait(run.random.choice([1, 300]))
        run.declare()
        run.consume()
        run.drain()
        side.stop()
        assert side.acknowledged_count > KILLS_LONG
        for peer in run.peers:
            peer.socket.close()
