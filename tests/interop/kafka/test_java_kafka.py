"""Kafka's own Java client: KafkaProgram.java does the talking."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from kafka_java import jars_in, run_java
from kafka_messages import DEADLINE_S

REFUSED = ("TopicExists", "InvalidTopic", "InvalidConfiguration", "InvalidPartitions", "UnknownTopicOrPartition", "GroupIdNotFound")
PROGRAM = Path(__file__).with_name("KafkaProgram.java")


@pytest.fixture(scope="module")
def said(bootstrap: str, fetched: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the program said, by name."""
    jars = jars_in(fetched)
    classes = tmp_path_factory.mktemp("classes")
    subprocess.run(["javac", "-cp", f"{jars}/*", "-d", classes, PROGRAM], check=True, timeout=120)
    run = run_java(jars, "KafkaProgram", bootstrap, classes=classes)
    assert run.returncode == 0, run.stdout + run.stderr
    return dict(line.split("=", 1) for line in run.stdout.splitlines()) | {"errors": run.stderr, "bootstrap": bootstrap}


def for_both(what: str, classic: str, consumer: str = "") -> list[tuple[str, str]]:
    return [(f"classic {what}", classic), (f"consumer {what}", consumer or classic)]


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        *((f"fields {compression}", "true") for compression in ("none", "gzip", "snappy", "lz4", "zstd")),
        *((f"compressed anew {compression}", "true") for compression in ("uncompressed", "gzip", "snappy", "lz4", "zstd")),
        *((f"acks {acks}", "true") for acks in ("0", "1", "all")),
        *for_both("disjoint", "true"),
        *for_both("seen", "40"),
        *for_both("described", "Stable Classic 2", "Stable Consumer 2"),
        *for_both("revoked", "true"),
        *for_both("committed", "[10, 10, 10, 7seven]"),
        *for_both("resumed", "[3:7, 3:8, 3:9]"),
        *for_both("listed", "true"),
        *for_both("altered", "1 null"),
        *for_both("deleted", "true"),
        ("cooperative revoked", "2"),
        ("static", "true"),
        ("removed", "0"),
        ("ends", "0 50"),
        ("byTime", "21 1700000021000"),
        ("sought", "[45, 46, 47, 48, 49]"),
        ("position", "50"),
        ("lag", "true"),
        ("maxTimestamp", "49"),
        ("trimmed", "30"),
        ("reset", "30"),
        ("listed", "true"),
        ("described", "2 true"),
        ("byId", "true"),
        ("partitions", "3"),
        ("configuration", "60000 4321 true"),
        (
            "refused",
            f"[{', '.join(f'{each}Exception' for each in REFUSED)}]",
        ),
        ("gone", "true"),
        ("tooLarge", "RecordTooLargeException"),
        ("large", "true"),
        ("threads", "8000"),
    ],
)
def test_java_client(said: dict[str, str], what: str, expected: str) -> None:
    assert what in said, said["errors"]
    assert said[what] == expected


def test_the_address_is_the_one_that_was_dialled(said: dict[str, str], admin: AdminClient, node_count: int) -> None:
    nodes = [f"{node.host}:{node.port}" for node in admin.list_topics(timeout=DEADLINE_S).brokers.values()]
    assert said["address"] in nodes
    assert node_count > 1 or nodes == [said["bootstrap"]]
