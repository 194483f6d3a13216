"""What memory a broker takes for what waits over MQTT: its resident memory after each step, one line for each; a broker of its own.

    python -m benchmarks.system.mqtt_memory waiting   --count sessions are away, each bound to a topic of its own; --messages come for them in turn
    python -m benchmarks.system.mqtt_memory fanout    the same sessions, all bound to one topic: --messages wait, of which one copy is stored for all
    python -m benchmarks.system.mqtt_memory idle      --count clients are there, each with a session that is kept and three subscriptions, and do nothing
    python -m benchmarks.system.mqtt_memory retained  --count retained messages, to one client that subscribes to all of them, and to --readers together

After the first two the broker is started anew, the sessions come back for all of it, and are ended. Exit status 3: something was lost, repeated or out
of order. Broker and generator need as many open files as there are clients at once, and 200 (`ulimit -n`).
`longest answer`: of `/healthz`, asked every millisecond.
"""

from __future__ import annotations

import argparse
import select
import shlex
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.system import probes
from benchmarks.system.brokers import Entrepot
from benchmarks.system.case import MIB
from benchmarks.system.measure import settle, stalls
from benchmarks.system.mqtt_many import (
    BATCH,
    CONNACK,
    PUBLISH,
    Client,
    come_back,
    connect_packet,
    delivered,
    open_sessions,
    publish_all,
    raise_limit,
    subscribe_packet,
    text,
)
from benchmarks.system.stalls import Watch

_IDLE_S = 10
_PARTS = (10, 20, 40, 70, 100)  # of the messages, in percent, after each of which there is a figure


class _Steps:
    """Prints a line for each step."""

    def __init__(self, broker: Entrepot) -> None:
        self._broker = broker
        self._cpu_s = 0.0
        print(f"{'':52}{'RSS MiB':>10}{'most':>8}{'seconds':>10}{'CPU s':>8}{'own stall ms':>14}", flush=True)

    def done(self, what: str, seconds: float, most: int = 0) -> None:
        """After what is in the background."""
        settle(self._broker)
        pids = self._broker.pids()
        cpu_s, rss = probes.cpu_s(pids), probes.rss_bytes(pids)
        stall_ms = stalls(probes.metrics(self._broker.metrics_url))["loop_stall_own_longest_ms"]
        print(f"{what:52}{rss / MIB:10.0f}{max(most, rss) / MIB:8.0f}{seconds:10.1f}{cpu_s - self._cpu_s:8.1f}{stall_ms:14.1f}", flush=True)
        self._cpu_s = cpu_s

    def anew(self) -> None:
        self._cpu_s = 0.0


def _address(broker: Entrepot) -> tuple[str, int]:
    parts = urlsplit(broker.url)
    return parts.hostname or "", parts.port or 0


def measure_idle(broker: Entrepot, count: int) -> int:
    """What clients cost that do nothing."""
    broker.start()
    steps = _Steps(broker)
    steps.done("started", broker.start_s)
    begin, before = time.monotonic(), probes.rss_bytes(broker.pids())
    clients = open_sessions(_address(broker), count, slice(3))
    steps.done(f"{count:,} clients with kept sessions", time.monotonic() - begin)
    cpu_s, added = probes.cpu_s(broker.pids()), probes.rss_bytes(broker.pids()) - before
    time.sleep(_IDLE_S)
    print(f"{added / count:.0f} bytes each; {probes.cpu_s(broker.pids()) - cpu_s:.2f} s of processor time in {_IDLE_S} s")
    for client in clients:
        client.leave()
    steps.done("they have left", 0)
    return 0


def measure_retained(broker: Entrepot, count: int, size: int, readers: int) -> int:
    """To one, and to several at once."""
    broker.start()
    steps = _Steps(broker)
    steps.done("started", broker.start_s)
    topics = [text(f"many/{n % 100}/{n}") for n in range(count)]
    steps.done(f"{count:,} retained", publish_all(_address(broker), topics, range(count), size, retain=True))
    wrong = 0
    for some in (1, readers):
        watch = Watch(urlsplit(broker.metrics_url).port or 0)
        begin = time.monotonic()
        with probes.Watcher(broker.pids()) as watcher:
            wrong += _take_retained(broker, topics, some)
        steps.done(f"{some} subscribed to all, longest answer {watch.longest_ms():.0f} ms", time.monotonic() - begin, max(watcher.rss))
        watch.end()
    return wrong


def _take_retained(broker: Entrepot, topics: list[bytes], readers: int) -> int:
    """Whether each gets each once, and as it is: how many are not."""
    expected = {topic[2:]: n for n, topic in enumerate(topics)}
    poll = select.epoll()
    left, wrong, clients = {}, 0, {}
    for number in range(readers):
        client = Client(_address(broker), f"reader-{number}")
        client.sock.sendall(connect_packet(client.name, clean=True, kept=False))
        client.await_kind(CONNACK)
        clients[client.sock.fileno()] = client
        left[client.sock.fileno()] = dict(expected)
        poll.register(client.sock, select.EPOLLIN)
    for client in clients.values():
        client.sock.sendall(subscribe_packet("#"))
    while left:
        for descriptor, _ in poll.poll(60.0):
            answers = []
            for kind, body in clients[descriptor].packets():
                if kind & 0xF0 == PUBLISH:
                    topic, identifier, payload = delivered(kind, body)
                    answers.append(b"\x40\x02" + identifier.to_bytes(2, "big"))
                    wrong += left[descriptor].pop(topic, None) != int.from_bytes(payload[:4], "big") or not kind & 1
            clients[descriptor].sock.sendall(b"".join(answers))
            if not left[descriptor]:
                del left[descriptor]
                poll.unregister(descriptor)
    for client in clients.values():
        client.leave()
    poll.close()
    return wrong


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
    parser.add_argument("what", choices=["waiting", "fanout", "idle", "retained"])
    parser.add_argument("--count", type=int, help="sessions (10,000), or retained messages (100,000)")
    parser.add_argument("--readers", type=int, default=10)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=100, help="octets of a payload, from 4")
    parser.add_argument("--directory", type=Path, default=Path("build/benchmarks/data/memory"))
    parser.add_argument("--entrepot", default="", help="another build's command")
    arguments = parser.parse_args()
    raise_limit()
    broker = Entrepot(arguments.directory.absolute(), shlex.join(shlex.split(arguments.entrepot)), "mqtt")
    count = arguments.count or (100_000 if arguments.what == "retained" else 10_000)
    try:
        if arguments.what == "idle":
            wrong = measure_idle(broker, count)
        elif arguments.what == "retained":
            wrong = measure_retained(broker, count, arguments.size, arguments.readers)
        else:
            wrong = measure(broker, count, arguments.messages, arguments.size, fanout=arguments.what == "fanout")
        return 3 if wrong else 0
    finally:
        broker.stop()


if __name__ == "__main__":
    sys.exit(main())
