"""What is measured over SQS, beside ElasticMQ, LocalStack and moto in the same run; they keep everything in memory, Entrepot syncs."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.system import probes
from benchmarks.system.brokers import Broker
from benchmarks.system.case import MIB, Case, Expectation, Scale
from benchmarks.system.measure import Figures, settle
from benchmarks.system.sqs_measure import new_queue, polls_held, run, sqs_load, warmed

Measure = Callable[[Broker, Scale], Figures]

_CPU = "broker_cpu_us_per_message"
_FILLED_FOR = 2.0  # times the seconds of a run: what a queue is filled for before it is received from
_SLOW = ("moto",)  # each of its requests takes time in proportion to the queue's depth


def _send(*words: str) -> Measure:
    def measure(broker: Broker, scale: Scale) -> Figures:
        return run(broker, "send", *words, "--seconds", str(scale.seconds))

    return measure


def _receive(*words: str, fifo: bool = False) -> Measure:
    """A queue is filled in batches, then emptied as far as the seconds go."""

    def measure(broker: Broker, scale: Scale) -> Figures:
        queue = ("--queue", new_queue(), *(("--fifo",) if fifo else ()))
        fill_s = 1.0 if broker.name in _SLOW else scale.seconds * _FILLED_FOR
        sqs_load(broker, ["send", "--batch", "10", *queue, "--seconds", str(fill_s), "--keep"])
        return run(broker, "receive", *words, *queue, "--seconds", str(scale.seconds))

    return measure


def _boto3(broker: Broker, scale: Scale) -> Figures:
    return run(broker, "boto3", "--count", scale.count(1000))


def _latency(rate: int) -> Measure:
    def measure(broker: Broker, scale: Scale) -> Figures:
        return run(broker, "latency", "--connections", "20", "--rate", str(rate), "--seconds", str(scale.seconds))

    return measure


def _polls(broker: Broker, scale: Scale) -> Figures:
    """Many long polls that wait: memory while they do, then how long each message takes to one of them."""
    settle(broker)
    before = probes.rss_bytes(broker.pids())
    count = max(100, int(10_000 * scale.part))
    out: Figures = {}
    words = ["--queue", new_queue(), "--connections", str(count), "--rate", "500", "--seconds", str(scale.seconds)]
    with polls_held(broker, words, out):
        settle(broker, seconds=0.5)
        held = probes.rss_bytes(broker.pids())
    times = out["end_to_end_us"]
    return {
        "rss_bytes": held,
        "rss_added_bytes": held - before,
        "connections": count,
        "consume_per_s": out["consume_per_s"],
        "errors": sum(out["errors"].values()),
        **{f"end_to_end_us {name}": value for name, value in times.items()},
    }


def _deep(broker: Broker, scale: Scale) -> Figures:
    """The same few seconds of sending, and of receiving, on an empty queue and on one with ten million messages."""
    target = int(scale.count(10_000_000))
    queue = ("--queue", new_queue())
    seconds = ("--seconds", str(scale.seconds))
    empty = run(broker, "send", *queue, *seconds, "--keep")
    empty_batch = run(broker, "send", "--batch", "10", *queue, *seconds, "--keep")
    empty_receive = run(broker, "receive", "--batch", "10", *queue, *seconds, "--keep")
    depth = empty["load"]["published"] + empty_batch["load"]["published"] - empty_receive["load"]["consumed"]
    errors = empty["errors"] + empty_batch["errors"] + empty_receive["errors"]
    while depth < target:
        filled = sqs_load(broker, ["send", "--batch", "10", *queue, "--seconds", "10", "--keep"])
        depth += filled["published"]
        errors += sum(filled["errors"].values())
    settle(broker)
    rss = probes.rss_bytes(broker.pids())
    deep = run(broker, "send", *queue, *seconds, "--keep")
    deep_batch = run(broker, "send", "--batch", "10", *queue, *seconds, "--keep")
    deep_receive = run(broker, "receive", "--batch", "10", *queue, *seconds)
    pairs = ((empty, deep), (empty_batch, deep_batch), (empty_receive, deep_receive))
    figures: Figures = {"errors": errors + deep["errors"] + deep_batch["errors"] + deep_receive["errors"], "depth": depth, "rss_bytes": rss}
    for name, (before, after) in zip(("send", "batch", "receive"), pairs, strict=True):
        figures |= {f"{name}_cpu_us_empty": before[_CPU], f"{name}_cpu_us_deep": after[_CPU]}
    figures["part_of_one"] = max(after[_CPU] / max(before[_CPU], 1e-9) for before, after in pairs)
    figures |= {"publish_per_s": deep_batch["publish_per_s"], "consume_per_s": deep_receive["consume_per_s"], _CPU: deep_receive[_CPU]}
    return figures


def _sends(most_cpu_us: float) -> tuple[Expectation, ...]:
    return (Expectation("publish_per_s", at_least=2.0, of_peer=True), Expectation(_CPU, at_most=most_cpu_us))


def _receives(most_cpu_us: float) -> tuple[Expectation, ...]:
    return (Expectation("consume_per_s", at_least=2.0, of_peer=True), Expectation(_CPU, at_most=most_cpu_us))


_STALL = Expectation("loop_stall_own_longest_ms", at_most=10.0)


def _case(name: str, about: str, case: Measure, *expectations: Expectation, peers: bool = True, repetitions: int | None = None) -> Case:
    def measure(broker: Broker, scale: Scale) -> Figures:
        if not name.startswith("polls"):
            warmed(broker)
        return case(broker, scale)

    return Case(f"sqs-{name}", about, measure, expectations, peers, repetitions, "sqs")


SQS_CASES = (
    _case("send-1", "SendMessage of 100 B, 1 connection", _send("--connections", "1")),
    _case("send-50", "SendMessage of 100 B, 50 connections", _send("--connections", "50"), *_sends(20.0), _STALL),
    _case("send-100", "SendMessage of 100 B, 100 connections", _send("--connections", "100"), *_sends(20.0), _STALL),
    _case("batch-1", "SendMessageBatch of ten, 1 connection", _send("--connections", "1", "--batch", "10")),
    _case("batch-50", "SendMessageBatch of ten, 50 connections", _send("--connections", "50", "--batch", "10"), *_sends(6.0), _STALL),
    _case("receive-1", "ReceiveMessage of ten and DeleteMessageBatch, 1 connection", _receive("--connections", "1", "--batch", "10")),
    _case(
        "receive-50", "ReceiveMessage of ten and DeleteMessageBatch, 50 connections", _receive("--connections", "50", "--batch", "10"), *_receives(8.0), _STALL
    ),
    _case("receive-one-50", "ReceiveMessage of one and DeleteMessage, 50 connections", _receive("--connections", "50", "--batch", "1"), _STALL),
    _case("fifo-send-50", "SendMessage to a FIFO queue, 1,000 groups, 50 connections", _send("--fifo", "--connections", "50"), _STALL),
    _case("fifo-batch-50", "SendMessageBatch of ten to a FIFO queue, 50 connections", _send("--fifo", "--connections", "50", "--batch", "10"), _STALL),
    _case("fifo-receive-50", "the same, received and deleted", _receive("--connections", "50", "--batch", "10", fifo=True), _STALL),
    _case("boto3", "one boto3: SendMessage, then ReceiveMessage and DeleteMessage, one by one", _boto3),
    _case("latency", "20 long polls, 500 messages a second", _latency(500), Expectation("end_to_end_us p99", at_most=20_000.0)),
    _case(
        "polls-10000",
        "10,000 long polls that wait, then 500 messages a second to them",
        _polls,
        Expectation("rss_added_bytes", at_most=200 * MIB),
        Expectation("end_to_end_us p99", at_most=20_000.0),
        peers=False,
        repetitions=1,
    ),
    _case("deep", "an empty queue, and one of ten million messages", _deep, Expectation("part_of_one", at_most=1.25), _STALL, peers=False, repetitions=1),
)
