"""Connections of sessions that end with them, over a whole broker: what clients of each version are told and sent."""

from __future__ import annotations

import pytest
from mqtt_bench import VERSIONS, Bench
from mqtt_wire import DISCONNECT, PING, alias, connect, expiry, listed, packet, publish, string, subscribe, u16, unsubscribe


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message(bench: Bench, version: int, qos: int) -> None:
    reader, writer = bench.connected("r", version), bench.connected("w", version)
    reader.subscribe(b"a/+/c", qos)
    writer.publish(b"a/b/c", b"hello", qos, 7)
    (heard,) = reader.hear()
    assert heard[1] | {"properties": b"", "id": 0} == {"topic": b"a/b/c", "qos": qos, "retain": False, "dup": False, "payload": b"hello", "id": 0, "properties": b""}
    if qos == 1:
        assert writer.hear() == [("PUBACK", 7, 0)]
        reader.ack("PUBACK", heard[1]["id"])
    elif qos == 2:
        assert writer.hear() == [("PUBREC", 7, 0)]
        assert writer.ack("PUBREL", 7).hear() == [("PUBCOMP", 7, 0)]
        assert reader.ack("PUBREC", heard[1]["id"]).hear() == [("PUBREL", heard[1]["id"], 0)]
        reader.ack("PUBCOMP", heard[1]["id"])
    assert reader.hear() == []
    assert reader.session.flights.count == 0
    for queue in bench.queues().values():
        assert queue.runtime.subscription.ready_count == 0
        assert queue.runtime.depth() == 0
