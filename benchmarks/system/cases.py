"""What is measured over AMQP 0-9-1, and all cases together."""

from __future__ import annotations

import statistics
from collections.abc import Callable

from benchmarks.system import probes
from benchmarks.system.brokers import Broker, Entrepot
from benchmarks.system.case import MIB, Case, Expectation, Scale
from benchmarks.system.kafka_cases import KAFKA_CASES
from benchmarks.system.measure import UNSORTED, Figures, drop_page_cache, held, load, measured, settle, stalls
from benchmarks.system.mqtt_cases import MQTT_CASES
from benchmarks.system.settle import ready_count, settle_a_third
from benchmarks.system.sqs_cases import SQS_CASES
from benchmarks.system.stomp_cases import STOMP_CASES

_SLICES = 5


def _load(*words: str, window: int = 0) -> Callable[[Broker, Scale], Figures]:
    """`window`: of unconfirmed messages and of prefetched ones, for Entrepot alone: group commit gains by it, while RabbitMQ does
    best (measured: by a tenth) with the generator's own 1,000."""

    def measure(broker: Broker, scale: Scale) -> Figures:
        wide = ["--window", str(window), "--prefetch", str(window)] if window and isinstance(broker, Entrepot) else []
        return measured(broker, [*words, *wide, "--seconds", str(scale.seconds), "--delete"])

    return measure


def _bulk(*words: str, window: int) -> Callable[[Broker, Scale], Figures]:
    def measure(broker: Broker, scale: Scale) -> Figures:
        wide = ["--window", str(window), "--prefetch", str(window)]
        return measured(broker, [*words, *wide, "--seconds", str(scale.bulk_seconds), "--idle", "10", "--delete"], watch_unsorted=True)

    return measure


def _one_in_flight(broker: Broker, scale: Scale) -> Figures:
    """Publish to confirm with one message in flight, in slices, each between two probes of the disk in the same directory."""
    probed = [probes.sync_us(broker.directory)["p50"]]
    slices: list[Figures] = []
    for _ in range(_SLICES):
        slices.append(measured(broker, ["publish", "--window", "1", "--seconds", str(scale.seconds / _SLICES), "--delete"]))
        probed.append(probes.sync_us(broker.directory)["p50"])
    above = [figures["confirm_us p50"] - (before + after) / 2 for figures, before, after in zip(slices, probed, probed[1:], strict=False)]
    middle = sorted(slices, key=lambda figures: float(figures["confirm_us p50"]))[_SLICES // 2]
    return middle | {
        "disk_sync_4k_us": statistics.median(probed),
        "disk_append_sync_4k_us": probes.sync_us(broker.directory, reuse=False)["p50"],
        "confirm_above_disk_us": statistics.median(above),
        "errors": sum(figures["errors"] for figures in slices),
    }


def _idle(broker: Broker, _: Scale) -> Figures:
    settle(broker)
    return {"rss_bytes": probes.rss_bytes(broker.pids()), "start_s": broker.start_s, "errors": 0}


def _idle_connections(broker: Broker, scale: Scale) -> Figures:
    settle(broker)
    pids = broker.pids()
    before = probes.rss_bytes(pids)
    count = scale.count(10_000)
    with held(broker, ["idle", "--publishers", count, "--seconds", "600"]):
        settle(broker)
        after = probes.rss_bytes(broker.pids())
        away = stalls(probes.metrics(broker.metrics_url))
    return {"rss_bytes": after, "rss_added_bytes": after - before, "connections": int(count), **away, "errors": 0}


def _singly(broker: Broker, scale: Scale) -> Figures:
    """Small messages to one queue, each connection waiting for each confirm: the shortest runs that there are."""
    load(broker, ["publish", "--publishers", "200", "--window", "1", "--count", "20000", "--size", "16", "--purge"])
    settle(broker)
    before = probes.rss_bytes(broker.pids())
    figures = measured(broker, ["publish", "--publishers", "200", "--window", "1", "--count", scale.count(10_000_000), "--size", "16"], watch_unsorted=True)
    settle(broker)
    after = probes.rss_bytes(broker.pids())
    return figures | {"rss_bytes": after, "rss_added_bytes": after - before, "rss_added_max_bytes": figures["rss_max_bytes"] - before}


def _no_prefetch(*words: str, stalled: bool) -> Callable[[Broker, Scale], Figures]:
    def measure(broker: Broker, scale: Scale) -> Figures:
        count = scale.count(3_000_000)
        load(broker, ["publish", "--publishers", "4", "--count", count, "--purge"])
        settle(broker)
        before = probes.rss_bytes(broker.pids())
        consume = ["consume", "--prefetch", "0", *words]
        if stalled:
            with held(broker, [*consume, "--seconds", "600"]), probes.Watcher(broker.pids()) as watcher:
                settle(broker)
            figures: Figures = {"errors": 0, "rss_max_bytes": max(watcher.rss)}
        else:
            figures = measured(broker, [*consume, "--count", count])
        return figures | {"rss_bytes": probes.rss_bytes(broker.pids()), "rss_added_max_bytes": figures["rss_max_bytes"] - before, "deep": int(count)}

    return measure


def _cold_catch_up(broker: Broker, scale: Scale) -> Figures:
    """One log of 1,000 written interleaved, against logs written alone, of the same length, read after a restart with a cold page cache."""
    per_log = max(100, int(20_000 * scale.part))
    picked = (17, 250, 500, 733, 998)
    for log in picked:
        load(broker, ["publish", "--queue", f"alone-{log:03}", "--count", str(per_log)])
    load(broker, ["publish", "--queue", "among", "--queues", "1000", "--count", str(per_log * 1000)])
    settle(broker)
    broker.stop()
    cold = drop_page_cache()
    broker.start(fresh=False)
    figures: Figures = {"start_s": broker.start_s, "page_cache_dropped": cold, "errors": 0, "per_log": per_log}
    rates = {}
    for kind in ("alone", "among"):
        seconds = 0.0
        for log in picked:
            result = load(broker, ["consume", "--queue", f"{kind}-{log:03}", "--count", str(per_log), "--prefetch", "0"])
            figures["errors"] += sum(result["errors"].values()) + abs(result["consumed"] - per_log)
            seconds += result["consumed"] / max(result["consume_per_s"], 1.0)
        rates[kind] = per_log * len(picked) / max(seconds, 1e-9)
    return figures | {"consume_per_s": rates["among"], "alone_per_s": rates["alone"], "part_of_alone": rates["among"] / rates["alone"]}


def _recovery(broker: Broker, scale: Scale) -> Figures:
    """Messages published singly, in turn to 1,000 queues, a third of them settled out of order; SIGKILL; how long until it listens again."""
    count = int(scale.count(5_000_000))
    published = load(broker, ["publish", "--queue", "many", "--queues", "1000", "--window", "1000", "--count", str(count), "--size", "64"])
    queues = [f"many-{number:03}" for number in range(1000)]
    settled = settle_a_third(broker.url, queues, count)
    unsorted = probes.metric(probes.metrics(broker.metrics_url), *UNSORTED)
    broker.kill()
    starts = []
    for _ in range(3):
        broker.start(fresh=False)
        starts.append(broker.start_s)
        broker.kill()
    broker.start(fresh=False)
    ready = ready_count(broker.url, queues)
    return {
        "start_s": statistics.median(starts),
        "start_first_s": starts[0],
        "start_longest_s": max(starts),
        "publish_per_s": published["publish_per_s"],
        "records": count,
        "settled": settled,
        "unsorted_bytes": unsorted,
        "rss_bytes": probes.rss_bytes(broker.pids()),
        "errors": sum(published["errors"].values()) + abs(ready - (count - settled)),
    }


def _at_least(figure: str, rate: float, times: float) -> tuple[Expectation, ...]:
    return Expectation(figure, at_least=rate), Expectation(figure, at_least=times, of_peer=True)


def _alone(name: str, about: str, measure: Callable[[Broker, Scale], Figures], *expectations: Expectation) -> Case:
    """A long case: Entrepot only, once."""
    return Case(name, about, measure, expectations, peers=False, repetitions=1)


_STALL = Expectation("loop_stall_own_longest_ms", at_most=10.0)
_KEEPS_UP = Expectation("unsorted_grows", at_most=0.0)

AMQP_CASES = (
    Case("both-16", "1 publisher, 1 consumer, 16 B", _load("both", "--size", "16", window=20_000), (_STALL,)),
    Case("both-100", "1 publisher, 1 consumer, 100 B", _load("both", window=20_000), (*_at_least("consume_per_s", 1e6, 20), _STALL)),
    Case("both-100-10-priorities", "as both-100, of 10 priorities in turn", _load("both", "--priorities", "10", window=20_000), (_STALL,)),
    Case("both-1k", "1 publisher, 1 consumer, 1 KiB", _load("both", "--size", "1024", window=10_000), (*_at_least("consume_per_s", 250e3, 10), _STALL)),
    Case(
        "queues-4",
        "4 publishers, 4 queues, 4 consumers, 100 B",
        _load("both", "--queues", "4", "--publishers", "4", "--consumers", "4", window=5_000),
        (_STALL,),
    ),
    Case(
        "waiting-200",
        "200 clients that wait for each confirm, 100 B",
        _load("publish", "--publishers", "200", "--window", "1"),
        (*_at_least("publish_per_s", 40e3, 3), _STALL),
    ),
    Case(
        "fanout-100",
        "1 publisher, 100 queues and consumers, 100 B",
        _load("fanout"),
        (Expectation("consume_per_s", at_least=20, of_peer=True), _STALL),
    ),
    Case(
        "one-in-flight",
        "1 client that waits for each confirm, beside the disk's own sync",
        _one_in_flight,
        (Expectation("confirm_above_disk_us", at_most=100.0),),
    ),
    Case("paced-1000", "1,000 messages a second, each acknowledged by itself", _load("both", "--rate", "1000", "--ack-every", "1")),
    _alone("bulk-100", "as both-100 for 60 s", _bulk("both", window=20_000), Expectation("consume_per_s", at_least=1e6), _STALL, _KEEPS_UP),
    _alone("bulk-1k", "as both-1k for 60 s", _bulk("both", "--size", "1024", window=10_000), Expectation("consume_per_s", at_least=250e3), _STALL, _KEEPS_UP),
    _alone("cold-catch-up", "one log among 1,000 after a restart, against logs alone", _cold_catch_up, Expectation("part_of_alone", at_least=0.5)),
    _alone(
        "recovery",
        "5 million messages published singly to 1,000 queues, a third settled out of order, after SIGKILL",
        _recovery,
        Expectation("start_first_s", at_most=2.0),
    ),
    Case("memory-idle", "an idle broker", _idle, (Expectation("rss_bytes", at_most=80 * MIB), Expectation("start_s", at_most=1.0)), repetitions=1),
    Case("memory-connections", "10,000 idle connections", _idle_connections, (Expectation("rss_bytes", at_most=400 * MIB),), repetitions=1),
    _alone(
        "memory-singly",
        "10 million messages of 16 B published singly to one queue",
        _singly,
        Expectation("rss_added_bytes", at_most=64 * MIB),
        _KEEPS_UP,
    ),
    _alone(
        "memory-unread",
        "a consumer without prefetch on a deep queue that reads nothing",
        _no_prefetch("--stall", stalled=True),
        Expectation("rss_added_max_bytes", at_most=64 * MIB),
    ),
    _alone(
        "memory-unacknowledged",
        "a consumer without prefetch on a deep queue that acknowledges nothing",
        _no_prefetch("--ack-every", "0", stalled=False),
        Expectation("rss_added_max_bytes", at_most=64 * MIB),
    ),
)

CASES = (*AMQP_CASES, *KAFKA_CASES, *SQS_CASES, *MQTT_CASES, *STOMP_CASES)
GROUPS = {
    "quick": ("both-100", "both-1k", "waiting-200", "fanout-100", "one-in-flight", "memory-idle"),
    "kafka": tuple(case.name for case in KAFKA_CASES),
    "sqs": tuple(case.name for case in SQS_CASES),
    "mqtt": tuple(case.name for case in MQTT_CASES),
    "stomp": tuple(case.name for case in STOMP_CASES),
    "mqtt-quick": ("mqtt-publish-1", "mqtt-both-1", "mqtt-fanout-0", "mqtt-waiting-200"),
    "sqs-quick": ("sqs-send-50", "sqs-batch-50", "sqs-receive-50", "sqs-latency"),
    "kafka-quick": ("kafka-produce-100", "kafka-produce-1k", "kafka-linger-0", "kafka-consume-100", "kafka-one-in-flight"),
}
