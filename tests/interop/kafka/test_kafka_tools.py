"""The command-line tools that Kafka comes with, each run as its users run it: topics, console producer and consumer, groups, offsets, performance."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from kafka_java import jars_in, run_java

NewTopicName = Callable[..., str]
Tool = Callable[..., str]
TOOLS = "org.apache.kafka.tools"


@pytest.fixture(scope="module")
def tool(bootstrap: str, fetched: Path) -> Tool:
    """tool(class name, words…, given=standard input) → what it said."""
    jars = jars_in(fetched)

    def run(name: str, *words: str, given: str = "", server: str = "--bootstrap-server") -> str:
        done = run_java(jars, f"{TOOLS}.{name}", server, bootstrap, *words, given=given)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_topics(tool: Tool, topic: NewTopicName) -> None:
    name = topic(3, retention_ms=60000)
    said = tool("TopicCommand", "--describe", "--topic", name)
    assert "PartitionCount: 3" in said
    assert "retention.ms=60000" in said
    assert len(re.findall(r"Partition: \d", said)) == 3


def test_console_producer_and_consumer_and_groups(tool: Tool, topic: NewTopicName, group: str) -> None:
    name = topic()
    given = "".join(f"h:{n}\tk{n}\tv{n}\n" for n in range(100))
    tool(
        "ConsoleProducer",
        "--topic",
        name,
        "--reader-property",
        "parse.key=true",
        "--reader-property",
        "parse.headers=true",
        "--compression-codec=lz4",
        given=given,
    )
    words = (
        "--topic",
        name,
        "--group",
        group,
        "--from-beginning",
        "--max-messages",
        "100",
        "--formatter-property",
        "print.key=true",
        "--formatter-property",
        "print.headers=true",
    )
    assert tool("consumer.ConsoleConsumer", *words) == given
    said = tool("consumer.group.ConsumerGroupCommand", "--describe", "--group", group)
    (row,) = (line.split() for line in said.splitlines() if line.startswith(group))
    assert row[1:6] == [name, "0", "100", "100", "0"]


def test_performance(tool: Tool, topic: NewTopicName) -> None:
    name = topic(4)
    words = ("--topic", name, "--num-records", "20000", "--record-size", "100", "--throughput", "-1", "--command-property", "acks=all", "linger.ms=5")
    said = tool("ProducerPerformance", *words, server="--bootstrap-server")
    assert "20000 records sent" in said
    said = tool("ConsumerPerformance", "--topic", name, "--num-records", "20000", "--timeout", "30000")
    header, row = ([field.strip() for field in line.split(",")] for line in said.strip().splitlines()[-2:])
    assert int(row[header.index("data.consumed.in.nMsg")]) == 20000
    assert tool("GetOffsetShell", "--topic", name).count(name) == 4
