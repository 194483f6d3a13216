"""What is measured over STOMP, beside ActiveMQ Artemis: persistent SENDs with receipts, each after the sync of both brokers."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.system.brokers import Broker
from benchmarks.system.case import Case, Expectation, Scale
from benchmarks.system.measure import Figures, LoadFailed, measured
from benchmarks.system.stomp_measure import new_queue, stomp_load, warmed


def _send(*words: str) -> Callable[[Broker, Scale], Figures]:
    """Sent for some seconds; then all of it is taken, and has to be there, each once and in order."""
    options = dict(zip(words[::2], words[1::2], strict=True))

    def measure(broker: Broker, scale: Scale) -> Figures:
        warmed(broker)
        queue = new_queue()
        figures = measured(broker, ["publish", *words, "--queue", queue, "--seconds", str(scale.seconds)], by=stomp_load)
        count = str(figures["load"]["published"])
        taken = stomp_load(broker, ["consume", "--queue", queue, "--count", count, "--connections", options.get("--connections", "1")])
        if taken["errors"]["lost"]:
            raise LoadFailed(f"{broker.name}: {taken['errors']['lost']} of {count} messages are lost")
        return figures | {"consume_per_s": taken["consume_per_s"], "errors": figures["errors"] + sum(taken["errors"].values())}

    return measure


_STALL = Expectation("loop_stall_own_longest_ms", at_most=10.0)
_LESS = Expectation("broker_cpu_us_per_message", at_most=0.2, of_peer=True)  # one window waits for the disk, whoever has it
_SENDS = (Expectation("publish_per_s", at_least=5.0, of_peer=True, otherwise=_LESS), _STALL)


def _case(name: str, about: str, measure: Callable[[Broker, Scale], Figures], *expectations: Expectation) -> Case:
    return Case(f"stomp-{name}", about, measure, expectations, protocol="stomp")


STOMP_CASES = (
    _case("send-1", "SEND of 100 B with receipts, 1 connection, window 200; then taken with ack:auto", _send("--window", "200"), *_SENDS),
    _case("send-10", "the same, 10 connections", _send("--window", "200", "--connections", "10"), *_SENDS),
    _case("waiting-200", "200 connections that wait for each RECEIPT, 100 B", _send("--window", "1", "--connections", "200"), _STALL),
)
