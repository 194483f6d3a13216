"""Runs of the Kafka cases: librdkafka through our own driver (or another generator of the same options), and the performance tools that Kafka comes with."""

from __future__ import annotations

import json
import os
import re
import resource
import secrets
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.system.brokers import Broker
from benchmarks.system.kafka_peer import fetch
from benchmarks.system.measure import Figures, LoadFailed, measured

KAFKA_LOAD = "ENTREPOT_KAFKA_LOAD"  # names another generator
_ROOT = Path(__file__).resolve().parent.parent.parent
_TIMEOUT_S = 600  # of one run; a client that hangs while it ends must not hold up the others
_TOOLS = "org.apache.kafka.tools"


def bootstrap(broker: Broker) -> str:
    """Its address as Kafka's clients want it."""
    return urlsplit(broker.url).netloc


def librdkafka(broker: Broker, words: Sequence[str]) -> Figures:
    """One run of the generator. Raises LoadFailed; wrong records are no exception but figures."""
    other = os.environ.get(KAFKA_LOAD)
    command = [other] if other else [sys.executable, "-m", "benchmarks.system.kafka_load"]
    done = subprocess.run([*command, *words, "--brokers", bootstrap(broker)], cwd=_ROOT, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode not in (0, 3) or not done.stdout.strip():
        raise LoadFailed(f"{broker.name}: {' '.join([*command, *words])}: exit status {done.returncode}: {done.stderr.strip()[-1000:]}")
    return dict(json.loads(done.stdout))


def java(broker: Broker, words: Sequence[str]) -> Figures:
    """One run of ProducerPerformance or ConsumerPerformance, in the generator's figures; words[0] is the tool."""
    tool, *rest = words
    jars = fetch()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = ["java", "-Xmx512m", "-cp", f"{jars}/*", f"{_TOOLS}.{tool}", "--bootstrap-server", bootstrap(broker), *rest]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise LoadFailed(f"{broker.name}: {' '.join(words)}: exit status {done.returncode}: {done.stderr.strip()[-1000:]}")
    said = done.stdout.strip().splitlines()
    wanted = int(rest[rest.index("--num-records") + 1])
    figures: Figures = {"published": 0, "consumed": 0, "publish_per_s": 0.0, "consume_per_s": 0.0, "confirm_us": None, "end_to_end_us": None, "size": 0}
    if tool == "ProducerPerformance":
        found = re.search(
            r"(\d+) records sent, ([\d.]+) records/sec.* ([\d.]+) ms max latency, ([\d.]+) ms 50th, .* ([\d.]+) ms 99th, ([\d.]+) ms 99.9th", said[-1]
        )
        if found is None:
            raise LoadFailed(f"{broker.name}: {' '.join(words)} said: {said[-1]}")
        longest, half, most, nearly = (float(found[number]) * 1e3 for number in (3, 4, 5, 6))
        figures |= {"published": int(found[1]), "publish_per_s": float(found[2]), "size": int(rest[rest.index("--record-size") + 1])}
        figures["confirm_us"] = {"p50": half, "p99": most, "p99.9": nearly, "max": longest}
        rate, done_count = figures["publish_per_s"], figures["published"]
    else:
        header, row = ([field.strip() for field in line.split(",")] for line in said[-2:])
        figures |= {"consumed": int(row[header.index("data.consumed.in.nMsg")]), "consume_per_s": float(row[header.index("fetch.nMsg.sec")])}
        rate, done_count = figures["consume_per_s"], figures["consumed"]
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return figures | {
        "seconds": done_count / max(rate, 1e-9),
        "errors": {"lost": max(0, wanted - done_count)},
        "client_cpu_us_per_message": cpu * 1e6 / max(done_count, 1),
    }


_WARM_S = 4.0
_warm: dict[str, int] = {}  # by broker: the process that has been warmed up


def warmed(broker: Broker) -> None:
    """Produce and read for a few seconds before the first figure of a process: what runs on a virtual machine is not compiled before."""
    pid = broker.process.pid if broker.process else 0
    if _warm.get(broker.name) == pid:
        return
    topic = new_topic()
    librdkafka(broker, ["produce", "--topic", topic, "--partitions", "4", "--seconds", str(_WARM_S)])
    librdkafka(broker, ["consume", "--topic", topic, "--seconds", str(_WARM_S)])
    librdkafka(broker, ["latency", "--topic", topic, "--seconds", "1", "--delete"])
    _warm[broker.name] = pid


def new_topic() -> str:
    """A name that was not there before."""
    return f"load-{secrets.token_hex(6)}"


def produced(broker: Broker, *words: str, topic: str = "", watch_unsorted: bool = False) -> Figures:
    """One measured run of producing; the topic is deleted unless it is named."""
    if "--partitions" not in words:
        words = (*words, "--partitions", "4")
    own = ["--topic", topic] if topic else ["--topic", new_topic(), "--delete"]
    return measured(broker, [*words, *own], by=librdkafka, watch_unsorted=watch_unsorted)


def make_topic(broker: Broker, partitions: int) -> str:
    """A topic, for tools that do not make their own as it is wanted."""
    topic = new_topic()
    librdkafka(broker, ["produce", "--topic", topic, "--partitions", str(partitions), "--count", "1"])
    return topic


def remove_topic(broker: Broker, topic: str) -> None:
    librdkafka(broker, ["produce", "--topic", topic, "--count", "1", "--delete"])
