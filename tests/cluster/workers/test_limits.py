"""Limits are the node's: each is known to be divided, or to be whole in each worker."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pytest

from entrepot.cluster.workers.limits import DIVIDED, WHOLE, of_worker
from entrepot.config import keys
from entrepot.settings import Cache, Config, Journal, Limits, sections

# What protocols have of their own is of one connection, request or batch.
WHOLE_OF_PROTOCOLS = {
    *("channels", "frame_bytes", "unpacked_batch_bytes", "kafka_produce_bytes", "kafka_request_bytes", "kafka_fetch_bytes"),
    *("sqs_request_bytes", "sqs_request_ms", "stomp_header_bytes", "mqtt_subscriptions", "mqtt_queued"),
    *("mqtt_kept", "mqtt_kept_bytes", "stomp_kept", "stomp_kept_bytes"),
}
SECTIONS = sorted(DIVIDED.keys() | WHOLE.keys())


@dataclass
class Given:
    connections: int
    count: int
    each: int


@pytest.mark.parametrize("section", SECTIONS)
def test_every_limit_is_in_one_of_both(section: str) -> None:
    there = {found.name.partition(".")[2] for found in keys() if found.name.startswith(f"{section}.")}
    divided, whole = DIVIDED.get(section, frozenset()), WHOLE.get(section, frozenset()) | (WHOLE_OF_PROTOCOLS if section == "limits" else set())
    assert divided | whole == there
    assert not divided & whole


def test_whatever_has_a_figure_of_its_use_is_in_one_of_both() -> None:
    assert {found.name.partition(".")[0] for found in keys() if found.extra["metric"]} <= set(SECTIONS)


@pytest.mark.parametrize("given", [Given(16_000, 4, 4000), Given(10, 3, 4), Given(1, 3, 1), Given(3, 64, 1)])
def test_a_part_is_one_in_so_many_rounded_up(given: Given) -> None:
    config = of_worker(Config(limits=Limits(connections=given.connections)), given.count)
    assert config.limits.connections == given.each


def test_a_part_is_never_less_than_may_be_set() -> None:
    config = of_worker(Config(journal=Journal(unsorted_bytes=1 << 25), cache=Cache(size_bytes=1 << 20, files_bytes=0)), 8)
    assert config.journal.unsorted_bytes == 1 << 24
    assert (config.cache.size_bytes, config.cache.files_bytes) == (1 << 20, 0)


def test_nothing_else_changes() -> None:
    config, part = Config(), of_worker(Config(), 3)
    for name in sections():
        before, after = msgspec.to_builtins(getattr(config, name)), msgspec.to_builtins(getattr(part, name))
        assert {key for key in before if before[key] != after[key]} <= DIVIDED.get(name, frozenset())
    assert {key for key, value in msgspec.structs.asdict(config).items() if value != getattr(part, key)} <= {"journal", "cache", "limits"}
