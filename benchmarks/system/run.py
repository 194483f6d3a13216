"""Measures Entrepot and, where they can be had, its peers of each protocol: alternating, several repetitions, medians; JSON and a table.

  python -m benchmarks.system.run list                    the cases
  python -m benchmarks.system.run [CASE…]                 all of them, or these; `quick`, `kafka-quick`, `sqs-quick` and `mqtt-quick` stand for
                                                          a few, `kafka`, `sqs`, `mqtt` and `stomp` for all of that protocol
  python -m benchmarks.system.run table FILE…             a result again as a table

Exit status 0: done, whatever the figures; 1: something failed, or messages were lost, repeated, reordered or damaged; 2: wrong usage.
With --strict an expectation that is not met is a failure, too.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.system import build, probes
from benchmarks.system.artemis_peer import Artemis
from benchmarks.system.brokers import Broker, BrokerFailed, Entrepot, RabbitMQ
from benchmarks.system.case import Case, Scale
from benchmarks.system.cases import CASES, GROUPS
from benchmarks.system.kafka_measure import KAFKA_LOAD
from benchmarks.system.kafka_peer import Kafka, can_run
from benchmarks.system.measure import Figures, LoadFailed
from benchmarks.system.mosquitto_peer import Mosquitto
from benchmarks.system.mqtt_measure import MQTT_LOAD
from benchmarks.system.report import judged, table
from benchmarks.system.sqs_measure import SQS_LOAD
from benchmarks.system.sqs_peers import ElasticMQ, LocalStack, Moto

_ROOT = Path(__file__).resolve().parent.parent.parent


def parser() -> argparse.ArgumentParser:
    """The command line."""
    out = argparse.ArgumentParser(prog="python -m benchmarks.system.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = out.add_argument
    add(
        "words",
        nargs="*",
        metavar="CASE",
        help="cases, `quick`, `kafka`, `kafka-quick`, `sqs`, `sqs-quick`, `mqtt`, `mqtt-quick`, `stomp`, `list`, or `table` and files",
    )
    add("--repetitions", type=int, default=3, help="runs of each case and broker; medians are shown")
    add("--seconds", type=float, default=5.0, help="of each short run")
    add("--bulk-seconds", type=float, default=60.0, help="of each long run")
    add("--part", type=float, default=1.0, help="part of the full counts in the memory and catch-up cases")
    add("--peers", default="auto", help="none: Entrepot alone; or names with commas, such as elasticmq,moto; auto: all that can be had")
    add("--kafka-load", type=Path, help="another load generator for Kafka's protocol, with the options and the output of benchmarks.system.kafka_load")
    add("--sqs-load", type=Path, help="another load generator for SQS, with the options and the output of benchmarks.system.sqs_load")
    add("--mqtt-load", type=Path, help="another load generator for MQTT, with the options and the output of mqtt_load.c")
    add("--entrepot", default="", help="command that starts Entrepot instead of `python -m entrepot serve`; {data} stands for its directory")
    add("--directory", type=Path, default=_ROOT / "build" / "benchmarks" / "data", help="where brokers keep their data, on the disk to be measured")
    add("--output", type=Path, default=_ROOT / "build" / "benchmarks" / "results", help="folder for the JSON file")
    add("--strict", action="store_true", help="fail when an expectation is not met")
    return out


def run_case(case: Case, brokers: list[Broker], scale: Scale, repetitions: int) -> dict[str, Any]:
    """All brokers through one case, in turn, every other time the last one first; figures by broker, with what failed in words."""
    brokers = brokers if case.peers else brokers[:1]
    runs: dict[str, list[Figures]] = {broker.name: [] for broker in brokers}
    failures: list[str] = []
    running: list[Broker] = []
    with ExitStack() as stack:
        for broker in brokers:
            try:
                broker.start()
                running.append(broker)
                stack.callback(broker.stop)
            except (BrokerFailed, OSError) as error:
                failures.append(f"{broker.name}: {error}")
        for repetition in range(min(repetitions, case.repetitions or repetitions)):
            for broker in running[::-1] if repetition % 2 else running:
                try:
                    runs[broker.name].append(case.measure(broker, scale))
                except (LoadFailed, BrokerFailed, subprocess.TimeoutExpired) as error:
                    failures.append(str(error))
                    if not broker.alive():
                        failures.append(f"{broker.name} has ended")
    if not failures:  # else what they left is evidence
        for broker in running:
            shutil.rmtree(broker.directory, ignore_errors=True)
    medians = {name: median(found) for name, found in runs.items() if found}
    return {"about": case.about, "medians": medians, "runs": runs, "failures": failures, "expectations": judged(case, medians)}


def median(runs: list[Figures]) -> Figures:
    """The median of each number; errors are summed, the longest stall and the memory are the most there was."""
    out: Figures = {}
    for name in runs[0]:
        values = [run.get(name) for run in runs]
        if any(value is None or not isinstance(value, int | float) for value in values):
            continue
        numbers = [float(value) for value in values if value is not None]
        most = name in ("rss_max_bytes", "loop_stall_longest_ms", "loop_stall_own_longest_ms", "unsorted_grows")
        out[name] = sum(numbers) if name == "errors" else max(numbers) if most else statistics.median(numbers)
    return out


def git_commit() -> str:
    """The commit that is measured, with a mark if files differ from it; empty outside a checkout."""
    done = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=12"], cwd=_ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def measure(arguments: argparse.Namespace, cases: list[Case]) -> int:
    """Runs the cases, writes and prints the result; the exit status."""
    build.ensure()
    directory = arguments.directory.resolve()
    directory.mkdir(parents=True, exist_ok=True)
    brokers: dict[str, list[Broker]] = {
        protocol: [Entrepot(directory / "entrepot", arguments.entrepot, protocol)] for protocol in ("amqp", "kafka", "sqs", "mqtt", "stomp")
    }
    peers: tuple[tuple[str, type[Broker], bool], ...] = (
        ("amqp", RabbitMQ, RabbitMQ.installed()),
        ("kafka", Kafka, can_run()),
        ("sqs", ElasticMQ, ElasticMQ.can_run()),
        ("sqs", LocalStack, True),
        ("sqs", Moto, True),
        ("mqtt", Mosquitto, Mosquitto.installed()),
        ("stomp", Artemis, Artemis.can_run()),
    )
    for protocol, peer, there in peers:
        if there and (arguments.peers == "auto" or peer.name in arguments.peers.split(",")):
            brokers[protocol].append(peer(directory / peer.name))
    if arguments.kafka_load:
        os.environ[KAFKA_LOAD] = str(arguments.kafka_load.resolve())
    if arguments.sqs_load:
        os.environ[SQS_LOAD] = str(arguments.sqs_load.resolve())
    if arguments.mqtt_load:
        os.environ[MQTT_LOAD] = str(arguments.mqtt_load.resolve())
    scale = Scale(arguments.seconds, arguments.bulk_seconds, arguments.part)
    begun = datetime.now(UTC)
    result: dict[str, Any] = {
        "format": 1,
        "begun": begun.isoformat(timespec="seconds"),
        "commit": git_commit(),
        "machine": probes.machine(directory),
        "scale": {"seconds": scale.seconds, "bulk_seconds": scale.bulk_seconds, "part": scale.part, "repetitions": arguments.repetitions},
        "disk": {"reused": probes.sync_us(directory), "appended": probes.sync_us(directory, reuse=False)},
        "cases": {},
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / f"{begun:%Y%m%dT%H%M%SZ}-{result['commit'] or 'nocommit'}.json"
    for case in cases:
        start = time.monotonic()
        result["cases"][case.name] = run_case(case, brokers[case.protocol], scale, arguments.repetitions)
        result["versions"] = {broker.name: broker.version for each in brokers.values() for broker in each if broker.version}
        path.write_text(json.dumps(result, indent=1))
        print(f"{case.name}: {time.monotonic() - start:.0f} s", file=sys.stderr)
        for failure in result["cases"][case.name]["failures"]:
            print(failure, file=sys.stderr)
    print(table(result))
    print(f"\n{path}", file=sys.stderr)
    found = result["cases"].values()
    failed = any(case["failures"] or any(median.get("errors") for median in case["medians"].values()) for case in found)
    missed = arguments.strict and any(not met["met"] for case in found for met in case["expectations"])
    return 1 if failed or missed else 0


def stop_on_sigterm() -> None:
    """As Ctrl-C: the brokers, which have sessions of their own, are stopped."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def main(words: list[str] | None = None) -> int:
    """The command; its exit status."""
    stop_on_sigterm()
    arguments = parser().parse_args(words)
    names: list[str] = arguments.words
    if names[:1] == ["list"]:
        for case in CASES:
            print(f"{case.name:22} {case.about}")
        return 0
    if names[:1] == ["table"]:
        for path in names[1:]:
            print(table(json.loads(Path(path).read_text())))
        return 0
    wanted = [name for word in names for name in GROUPS.get(word, (word,))]
    known = {case.name: case for case in CASES}
    if unknown := [name for name in wanted if name not in known]:
        print(f"no case {', '.join(unknown)}; there are: {' '.join(known)}", file=sys.stderr)
        return 2
    return measure(arguments, [known[name] for name in wanted] or list(CASES))


if __name__ == "__main__":
    sys.exit(main())
