"""What is retained: who is sent it when, and marked how."""

from __future__ import annotations

from typing import Any

import pytest
from mqtt_bench import NS, VERSIONS, Bench, Client
from mqtt_wire import expiry, listed, subscribe, u16, unsubscribe
from test_kept_sessions import kept

from entrepot.broker.calls.retained_requests import RETAINED_QUEUE


@pytest.fixture
def bench() -> Bench:
    return Bench()


def heard(client: Client) -> list[tuple[bytes, bytes, int, bool]]:
    return sorted((one[1]["topic"], one[1]["payload"], one[1]["qos"], one[1]["retain"]) for one in client.hear() if one[0] == "PUBLISH")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_who_subscribes_later_is_sent_the_last_one(bench: Bench, version: int, qos: int) -> None:
    writer, reader = bench.connected("w", version), bench.connected("r", version)
    for n, payload in enumerate((b"old", b"new")):
        writer.publish(b"a/b", payload, qos, n + 1, retain=True)
    writer.publish(b"a/c", b"gone", qos, 3, retain=True).publish(b"a/c", b"", qos, 4, retain=True).publish(b"a/b", b"passing", qos, 5)
    assert [one[0] for one in writer.hear()] == {0: [], 1: ["PUBACK"] * 5, 2: ["PUBREC"] * 5}[qos]
    reader.feed(subscribe(1, (b"a/#", 1), properties=b"\0" if version == 5 else b""))
    assert heard(reader) == [(b"a/b", b"new", min(qos, 1), True)]
    writer.publish(b"a/b", b"live", 0, retain=True)
    assert heard(reader) == [(b"a/b", b"live", 0, False)]


@pytest.mark.parametrize(("handling", "first", "second"), [(0, 1, 1), (1, 1, 0), (2, 0, 0)])
def test_retain_handling(bench: Bench, handling: int, first: int, second: int) -> None:
    writer, reader = bench.connected("w"), bench.connected("r")
    writer.publish(b"a", b"1", 1, retain=True).hear()
    for packet_id, expected in ((1, first), (2, second)):
        reader.feed(subscribe(packet_id, (b"a", handling << 4), properties=listed(b"\x0b\x07")))
        listened = reader.hear()
        assert listened[0] == ("SUBACK", packet_id, [0])
        assert [one[1]["properties"] for one in listened[1:]] == [b"\x0b\x07"] * expected
    reader.send(unsubscribe(3, b"a", properties=b"\0"))
    reader.hear()
    reader.feed(subscribe(4, (b"a", handling << 4), properties=b"\0"))
    assert len(heard(reader)) == first


def test_there_may_be_many(bench: Bench) -> None:
    writer, reader = bench.connected("w"), bench.connected("r", properties=listed(b"\x21" + u16(7)))
    for n in range(700):
        writer.publish(b"t/%d" % n, b"%d" % n, 1, n + 1, retain=True)
    writer.hear()
    reader.feed(subscribe(1, (b"t/+", 1), (b"#", 0), properties=b"\0"))
    found: list[bytes] = []
    for _ in range(2000):
        got = [one[1] for one in reader.hear() if one[0] == "PUBLISH"]
        if not got:
            break
        found += [one["payload"] for one in got if one["qos"]]
        for one in got:
            if one["qos"]:
                reader.ack("PUBACK", one["id"])
    assert sorted(found, key=int) == [b"%d" % n for n in range(700)]


@pytest.mark.parametrize("how", ["lost", "crash"])
def test_copying_goes_on_when_the_client_is_back(bench: Bench, how: str) -> None:
    writer = bench.connected("w")
    for n in range(1200):
        writer.publish(b"t/%d" % n, b"%d" % n, 1, n + 1, retain=True)
    writer.hear()
    reader = kept(bench, "r")
    reader.feed(subscribe(1, (b"t/+", 1), (b"#", 0), properties=listed(b"\x0b\x05")))
    found: dict[bytes, bytes] = {}

    def take(events: list[tuple[Any, ...]]) -> int:
        got = [one[1] for one in events if one[0] == "PUBLISH" and one[1]["qos"]]
        found.update((one["payload"], one["properties"]) for one in got)
        for one in got:
            reader.ack("PUBACK", one["id"])
        return len(got)

    while len(found) < 300:
        assert take(reader.hear())
    assert len(found) < 1200
    if how == "crash":
        bench = bench.crash()
    reader = kept(bench, "r")
    take(reader.rest)
    while take(reader.hear()):
        pass
    assert sorted(found, key=int) == [b"%d" % n for n in range(1200)]
    assert set(found.values()) == {b"\x0b\x05"}
    assert kept(bench, "r").rest == []


def test_what_is_unsubscribed_is_copied_no_further(bench: Bench) -> None:
    writer = bench.connected("w")
    for n in range(700):
        writer.publish(b"t/%d" % n, b"x", 1, n + 1, retain=True)
    writer.hear()
    reader = kept(bench, "r", more=b"\x21" + u16(7))
    reader.feed(subscribe(1, (b"t/+", 1), properties=b"\0"))
    reader.hear()
    reader.send(unsubscribe(2, b"t/+", properties=b"\0"))
    reader.hear()
    again = kept(bench, "r")
    assert not again.session.copies.under_way


def test_their_owner_is_away_for_a_while(bench: Bench) -> None:
    writer, reader = bench.connected("w"), bench.connected("r")
    writer.publish(b"a", b"1", 1, retain=True).hear()
    shard = bench.broker.catalogue.namespace(NS).queues[RETAINED_QUEUE].runtime.log.shard
    done: list[int] = []
    bench.broker.shard_moves.close(shard, lambda: done.append(1))
    bench.loop.run_until(lambda: bool(done))
    reader.subscribe(b"#")
    assert heard(reader) == []
    bench.broker.shard_moves.open(shard, bench.store.epoch, lambda: done.append(2))
    bench.loop.run_until(lambda: len(done) == 2)
    reader.session.deadline_reached(1e9)
    assert heard(reader) == [(b"a", b"1", 0, True)]


def test_what_expires(bench: Bench) -> None:
    writer, reader = bench.connected("w"), bench.connected("r")
    writer.publish(b"a", b"1", 1, properties=listed(expiry(10)), retain=True).publish(b"b", b"2", 1, 2, properties=listed(expiry(2)), retain=True)
    bench.run(4.0)
    reader.subscribe(b"none")
    reader.feed(subscribe(1, (b"#", 0), properties=b"\0"))
    assert [(one[1]["payload"], one[1]["properties"]) for one in reader.hear()[1:]] == [(b"1", expiry(6))]


def test_of_a_session_that_is_kept(bench: Bench) -> None:
    writer = kept(bench, "w")
    writer.publish(b"a", b"1", 2, 1, retain=True)
    assert writer.hear() == [("PUBREC", 1, 0x10)]
    bench = bench.crash()
    reader = kept(bench, "r")
    reader.feed(subscribe(1, (b"#", 2), properties=b"\0"))
    (_, (_, message)) = reader.hear()
    assert (message["payload"], message["qos"], message["retain"]) == (b"1", 2, True)
    again = kept(bench, "r")
    assert [(one[1]["payload"], one[1]["retain"], one[1]["id"]) for one in again.rest] == [(b"1", True, message["id"])]
