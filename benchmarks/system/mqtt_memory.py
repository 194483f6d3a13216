"""What memory a broker takes for what waits over MQTT: its resident memory after each step, one line for each; a broker of its own.

    python -m benchmarks.system.mqtt_memory waiting   --count sessions are away, each bound to a topic of its own; --messages come for them in turn
    python -m benchmarks.system.mqtt_memory fanout    the same sessions, all bound to one topic: --messages wait, of which one copy is stored for all

After that the broker is started anew, the sessions come back for all of it, and are ended. Exit status 3: something was lost, repeated or out of order.
Both need --count open files and 200 in the broker, and as many here (`ulimit -n`).
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.system import probes
from benchmarks.system.brokers import Entrepot
from benchmarks.system.case import MIB
from benchmarks.system.measure import settle, stalls
from benchmarks.system.mqtt_many import BATCH, Client, come_back, connect_packet, open_sessions, publish_all, text

_PARTS = (10, 20, 40, 70, 100)  # of the messages, in percent, after each of which there is a figure


class _Steps:
    """Prints a line for each step."""

    def __init__(self, broker: Entrepot) -> None:
        self._broker = broker
        self._cpu_s = 0.0
        print(f"{'':44}{'RSS MiB':>10}{'most':>8}{'seconds':>10}{'CPU s':>8}{'own stall ms':>14}", flush=True)

    def done(self, what: str, seconds: float, most: int = 0) -> None:
        """After what is in the background."""
        settle(self._broker)
        pids = self._broker.pids()
        cpu_s, rss = probes.cpu_s(pids), probes.rss_bytes(pids)
        stall_ms = stalls(probes.metrics(self._broker.metrics_url))["loop_stall_own_longest_ms"]
        print(f"{what:44}{rss / MIB:10.0f}{max(most, rss) / MIB:8.0f}{seconds:10.1f}{cpu_s - self._cpu_s:8.1f}{stall_ms:14.1f}", flush=True)
        self._cpu_s = cpu_s

    def anew(self) -> None:
        self._cpu_s = 0.0


def _address(broker: Entrepot) -> tuple[str, int]:
    parts = urlsplit(broker.url)
    return parts.hostname or "", parts.port or 0


def measure(broker: Entrepot, count: int, messages: int, size: int, *, fanout: bool) -> int:
    """All steps; how much was wrong."""
    broker.start()
    steps = _Steps(broker)
    steps.done("started", broker.start_s)
    begin = time.monotonic()
    for client in open_sessions(_address(broker), count, slice(2, 3) if fanout else slice(1)):
        client.leave()
    steps.done(f"{count:,} sessions made and left", time.monotonic() - begin)
    topics = [text("many/all")] if fanout else [text(f"many-{n}/a") for n in range(count)]
    published, each = 0, count if fanout else 1
    for part in _PARTS:
        numbers = range(published, messages // each * part // 100)
        with probes.Watcher(broker.pids()) as watcher:
            seconds = publish_all(_address(broker), topics, numbers, size)
        published = numbers.stop
        steps.done(f"{published * each:,} messages wait", seconds, max(watcher.rss))
    broker.stop()
    broker.start(fresh=False)
    steps.anew()
    steps.done("started anew", broker.start_s)
    wrong = _drain(broker, steps, count, published, 1 if fanout else count)
    _end(broker, steps, count)
    broker.stop()
    return wrong


def _drain(broker: Entrepot, steps: _Steps, count: int, messages: int, step: int) -> int:
    expected, received, wrong, begin = messages * (count if step == 1 else 1), 0, 0, time.monotonic()
    with probes.Watcher(broker.pids()) as watcher:
        for first in range(0, count, BATCH):
            some, errors = come_back(_address(broker), range(first, min(count, first + BATCH)), messages, step)
            received += some
            wrong += sum(errors.values())
            if first + BATCH == count // 2:
                steps.done(f"half of the sessions have taken {received:,}", time.monotonic() - begin, max(watcher.rss))
    steps.done(f"all have: {received:,}, {wrong} wrong, {expected - received} lost", time.monotonic() - begin, max(watcher.rss))
    return wrong + abs(expected - received)


def _end(broker: Entrepot, steps: _Steps, count: int) -> None:
    begin = time.monotonic()
    for first in range(0, count, BATCH):
        batch = [Client(_address(broker), f"many-{n}") for n in range(first, min(count, first + BATCH))]
        for client in batch:
            client.sock.sendall(connect_packet(client.name, clean=True, kept=False))
        for client in batch:
            client.leave()
    steps.done("the sessions are ended", time.monotonic() - begin)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["waiting", "fanout"])
    parser.add_argument("--count", type=int, default=10_000, help="sessions")
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=100, help="octets of a payload, from 4")
    parser.add_argument("--directory", type=Path, default=Path("build/benchmarks/data/memory"))
    parser.add_argument("--entrepot", default="", help="another build's command")
    arguments = parser.parse_args()
    broker = Entrepot(arguments.directory.absolute(), shlex.join(shlex.split(arguments.entrepot)), "mqtt")
    try:
        return 3 if measure(broker, arguments.count, arguments.messages, arguments.size, fanout=arguments.what == "fanout") else 0
    finally:
        broker.stop()


if __name__ == "__main__":
    sys.exit(main())
