"""A session whose connection is gone leaves nothing in memory that only the collector would find."""

from __future__ import annotations

import gc

import pytest
from mqtt_bench import Bench
from mqtt_wire import DISCONNECT, listed, u32

from entrepot.protocols.mqtt.session import Session


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize("ends", [DISCONNECT, b""])
@pytest.mark.parametrize("expiry_s", [0, 100])
def test_one_whose_connection_is_gone_is_gone_without_the_collector(bench: Bench, ends: bytes, expiry_s: int) -> None:
    """It looks at what is old once in a blue moon."""
    writer = bench.connected("w")
    gc.collect()
    gc.disable()
    try:
        for number in range(5):
            reader = bench.connected(f"r{number}", properties=listed(b"\x11" + u32(expiry_s)))
            reader.subscribe(b"a/+", 1)
            writer.publish(b"a/b", b"hello", 1, 7)
            assert len(reader.hear()) == 1
            reader.publish(b"b", b"hello", 1, 8)
            reader.send(*[ends] if ends else [])
            reader.lost()
            del reader.session  # the bench has a circle of its own
        writer.publish(b"a/b", b"hello", 1, 7)
        bench.run(5)
        assert sum(isinstance(one, Session) for one in gc.get_objects()) == 1
    finally:
        gc.enable()
