"""Subscriptions that several sessions share: each message goes to one of them, and is lost with none."""

from __future__ import annotations

import pytest
from mqtt_bench import VERSIONS, Bench, Client
from mqtt_wire import DISCONNECT, listed, subscribe, u16, unsubscribe
from test_kept_sessions import kept

from entrepot.broker.calls.requests import DeleteQueue


@pytest.fixture
def bench() -> Bench:
    return Bench()


def heard(client: Client, ack: bool = True) -> list[bytes]:
    found = [one[1] for one in client.hear() if one[0] == "PUBLISH"]
    for one in found:
        if one["qos"] and ack:
            client.ack("PUBACK", one["id"])
    return [one["payload"] for one in found]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("qos", [0, 1])
def test_each_message_goes_to_one(bench: Bench, version: int, qos: int) -> None:
    members = [bench.connected(f"m{n}", version) for n in range(3)]
    for member in members:
        member.subscribe(b"$share/g/a/+", qos)
    other, alone = bench.connected("o", version), bench.connected("p", version)
    other.subscribe(b"$share/h/a/#", qos)
    alone.subscribe(b"a/b", qos)
    for n in range(30):
        alone.publish(b"a/b", b"%d" % n, 1, n + 1)
    each = [heard(member) for member in members]
    everything = sorted(b"%d" % n for n in range(30))
    assert sorted(payload for payloads in each for payload in payloads) == everything
    assert all(each)
    assert sorted(heard(other)) == sorted(heard(alone)) == everything


@pytest.mark.parametrize("how", ["lost", "disconnect", "unsubscribe"])
def test_what_a_member_has_not_acknowledged_goes_to_another(bench: Bench, how: str) -> None:
    first, writer = bench.connected("a"), bench.connected("w")
    first.subscribe(b"$share/g/t", 1)
    for n in range(5):
        writer.publish(b"t", b"%d" % n, 1, n + 1)
    assert len(heard(first, ack=False)) == 5
    second = bench.connected("b")
    second.subscribe(b"$share/g/t", 1)
    assert heard(second) == []
    if how == "lost":
        first.lost()
    elif how == "disconnect":
        first.send(DISCONNECT)
    else:
        first.send(unsubscribe(2, b"$share/g/t", properties=b"\0"))
        first.hear()
        first.lost()
    assert heard(second) == [b"0", b"1", b"2", b"3", b"4"]


def test_an_unsubscribe_lets_what_is_under_way_be_acknowledged(bench: Bench) -> None:
    first, second, writer = bench.connected("a", properties=listed(b"\x21" + u16(2))), bench.connected("b"), bench.connected("w")
    first.subscribe(b"$share/g/t", 1)
    for n in range(4):
        writer.publish(b"t", b"%d" % n, 1, n + 1)
    (one, two) = (one[1] for one in first.hear())
    second.feed(subscribe(1, (b"$share/g/t", 1), properties=b"\0"))
    assert heard(second) == [b"2", b"3"]
    first.send(unsubscribe(2, b"$share/g/t", properties=b"\0"))
    assert first.hear() == [("UNSUBACK", 2, [0])]
    first.ack("PUBACK", one["id"]).ack("PUBACK", two["id"])
    bench.run()
    first.lost()
    assert heard(second) == []


def test_the_last_one_takes_it_along(bench: Bench) -> None:
    for n in range(2):
        member = bench.connected(f"m{n}")
        member.subscribe(b"$share/g/t", 1)
        member.subscribe(b"$share/g/t", 0)
        member.subscribe(b"$share/g/t", 1, properties=listed(b"\x0b\x05"))
    writer = bench.connected("w")
    writer.publish(b"t", b"1", 1, 1)
    messages = [one for client in bench.clients[:2] for one in client.hear() if one[0] == "PUBLISH"]
    assert len(messages) == 1
    for client in bench.clients[:2]:
        client.send(unsubscribe(9, b"$share/g/t", properties=b"\0"))
        assert client.hear()[-1] == ("UNSUBACK", 9, [0])
    assert not [name for name in bench.queues() if name.startswith("mqtt.share")]
    assert not bench.clients[0].session.shared


def test_a_kept_member_stays_one(bench: Bench) -> None:
    member, writer = kept(bench, "m"), bench.connected("w")
    member.subscribe(b"$share/g/t/#", 1, properties=listed(b"\x0b\x05"))
    member.lost()
    writer.publish(b"t", b"1", 1, 1)
    writer.hear()
    bench = bench.crash()
    again = kept(bench, "m")
    assert [(one[1]["payload"], one[1]["properties"]) for one in again.rest] == [(b"1", b"\x0b\x05")]
    assert list(again.session.shared) == [b"$share/g/t/#"]
    again.ack("PUBACK", again.rest[0][1]["id"])
    again.send(unsubscribe(9, b"$share/g/t/#", properties=b"\0"))
    assert again.hear() == [("UNSUBACK", 9, [0])]
    assert list(bench.queues()) == ["mqtt.m"]


@pytest.mark.parametrize("is_kept", [False, True])
def test_its_queue_is_deleted_and_its_client_hears_it_and_finds_it_again(bench: Bench, is_kept: bool) -> None:
    member, writer = kept(bench, "m") if is_kept else bench.connected("m"), bench.connected("w")
    member.subscribe(b"$share/g/t", 1, properties=listed(b"\x0b\x05"))
    bench.ask(DeleteQueue("mqtt.share.g/t"))
    assert member.hear() == [("DISCONNECT", 0x98)]
    assert member.ended
    if is_kept:
        member = kept(bench, "m")
        assert member.present
    else:
        member = bench.connected("m")
        member.subscribe(b"$share/g/t", 1, properties=listed(b"\x0b\x05"))
    writer.publish(b"t", b"1", 1, 1)
    assert [(one[1]["payload"], one[1]["properties"]) for one in member.hear()] == [(b"1", b"\x0b\x05")]
