"""Connections of sessions that end with them, over a whole broker: what clients of each version are told and sent."""

from __future__ import annotations

import pytest
from mqtt_bench import VERSIONS, Bench, Client
from mqtt_wire import DISCONNECT, PING, alias, connect, expiry, listed, packet, publish, string, subscribe, u16, u32, unsubscribe

from entrepot.protocols.mqtt.connecting import Settings
from entrepot.protocols.mqtt.delivering import OUTPUT_HIGH_BYTES
from entrepot.protocols.mqtt.negotiation import Offer


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
    assert heard[1] | {"properties": b"", "id": 0} == {
        "topic": b"a/b/c",
        "qos": qos,
        "retain": False,
        "dup": False,
        "payload": b"hello",
        "id": 0,
        "properties": b"",
    }
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


# ---- CONNECT


@pytest.mark.parametrize("version", VERSIONS)
def test_connected(bench: Bench, version: int) -> None:
    client = bench.client(version)
    client.send(connect(version, "me"))
    ((name, present, code, more),) = client.hear()
    assert (name, present, code) == ("CONNACK", 0, 0)
    assert bool(more) == (version == 5)
    assert client.session.established
    assert client.send(PING, PING).hear() == [("PINGRESP",), ("PINGRESP",)]


@pytest.mark.parametrize("version", [4, 5])
def test_who_has_no_name_is_given_one(bench: Bench, version: int) -> None:
    client = bench.client(version)
    client.send(connect(version, b""))
    ((_, _, code, more),) = client.hear()
    assert code == 0
    assert client.session.client_id == f"auto-{client.session.name}"
    assert (b"\x12" + string(client.session.client_id) in more) == (version == 5)


@pytest.mark.parametrize(
    ("version", "octets", "code"),
    [
        (3, connect(3, b""), 2),
        (4, connect(4, b"", flags=0), 2),
        (4, connect(7, b"x"), 1),
        (5, connect(5, b"x" * 300), 0x85),
        (4, connect(4, b"x" * 300), 2),
        (5, connect(5, b"x", flags=0xC2, rest=string("bob") + string("wrong")), 0x86),
        (4, connect(4, b"x", flags=0xC2, rest=string("bob") + string("wrong")), 4),
        (4, connect(4, b"x", flags=0xC2, rest=string("bob") + string(b"\xff")), 4),
        (5, connect(5, b"x", flags=0xC2, rest=string("nowhere:bob") + string("bob")), 0x87),
        (4, connect(4, b"x", flags=0xC2, rest=string("stranger") + string("stranger")), 5),
        (5, connect(5, b"x", flags=0x42, rest=string("secret")), 0x86),  # a password without a name
        (5, connect(5, b"x", properties=listed(b"\x15" + string("SCRAM-SHA-1"))), 0x8C),
        (5, connect(5, b"x", properties=listed(b"\x21\0\0")), 0x82),  # receive maximum 0
        (5, connect(5, b"x", flags=3), 0x81),
        (5, connect(5, b"x", flags=6, rest=b"\0" + string("t" * 300) + string("")), 0x90),
        (5, connect(5, b"x", flags=6, rest=b"\0" + string("$SYS/x") + string("")), 0x87),
    ],
)
def test_who_is_not_let_in(bench: Bench, version: int, octets: bytes, code: int) -> None:
    client = bench.client(version)
    client.send(octets, publish(b"a", b"never"))
    assert [one[:3] for one in client.hear()] == [("CONNACK", 0, code)]
    assert client.ended
    assert client.notes
    client.session.deadline_reached(1.0)
    assert client.session.closing


@pytest.mark.parametrize(
    "octets", [PING, b"GET / HTTP/1.1\r\n\r\n", packet(0x10, b""), connect(4, name=b"MQTX"), connect(4, flags=3), b"\x10\xff\xff\xff\xff\xff"]
)
def test_who_is_told_nothing(bench: Bench, octets: bytes) -> None:
    client = bench.client(4)
    client.send(octets)
    assert client.hear() == []
    assert client.ended


def test_a_virtual_host_before_the_user(bench: Bench) -> None:
    bench.decisions.create_namespace("public/other")
    bench.run()
    client = bench.connected("x", 4, flags=0xC2, rest=string("other:bob") + string("bob"))
    assert client.session.attachment.namespace == "public/other"
    assert client.session.principal.name == "bob"


def test_a_listener_of_one_namespace(bench: Bench) -> None:
    bench.decisions.create_namespace("public/other")
    bench.run()
    settings = Settings(namespace="public/other", is_only=True)
    assert bench.connected("x", 4, settings).session.attachment.namespace == "public/other"
    client = bench.client(5, settings)
    client.send(connect(5, "y", flags=0xC2, rest=string("/:bob") + string("bob")))
    assert client.hear()[0][2] == 0x87


def test_nobody_may_be_anonymous(bench: Bench) -> None:
    bench.authenticator.open = False
    client = bench.client(5)
    client.send(connect(5))
    assert client.hear()[0][2] == 0x86


def test_what_comes_while_a_password_is_checked_waits(bench: Bench) -> None:
    bench.authenticator.held = []
    client = bench.client(4)
    client.feed(connect(4, "x", flags=0xC2, rest=string("bob") + string("bob")) + PING)
    assert client.session.paused
    assert client.hear() == []
    bench.authenticator.held[0]()
    assert [one[0] for one in client.hear()] == ["CONNACK", "PINGRESP"]
    assert not client.session.paused


def test_lost_while_a_password_is_checked(bench: Bench) -> None:
    bench.authenticator.held = []
    client = bench.client(4)
    client.feed(connect(4, "x", flags=0xC2, rest=string("bob") + string("bob")))
    client.session.lost("gone")
    bench.authenticator.held[0]()
    assert client.session.attachment is None


def test_what_a_server_takes_is_said(bench: Bench) -> None:
    offer = Offer(receive_maximum=20, packet_max=5000, topic_alias_maximum=3, keep_alive_max_s=30)
    client = bench.client(5, Settings(offer))
    client.send(connect(5, keep_alive=60))
    more = client.hear()[0][3]
    for said in (b"\x21\0\x14", b"\x27\0\0\x13\x88", b"\x22\0\x03", b"\x13\0\x1e"):
        assert said in more


def test_a_second_connect(bench: Bench) -> None:
    client = bench.connected()
    assert client.send(connect(5)).hear() == [("DISCONNECT", 0x82)]
    assert client.ended


# ---- keep alive, and the end


@pytest.mark.parametrize("version", VERSIONS)
def test_a_silent_client_is_given_up(bench: Bench, version: int) -> None:
    client = bench.connected("x", version, keep_alive=10)
    sweep(client, 0.0, 14.0)
    assert not client.ended
    client.send(PING)
    assert client.hear() == [("PINGRESP",)]
    sweep(client, 14.25, 28.0)
    assert not client.ended
    sweep(client, 28.25, 31.0)
    assert client.ended
    assert client.hear() == ([("DISCONNECT", 0x8D)] if version == 5 else [])


def test_without_keep_alive_nobody_is_given_up(bench: Bench) -> None:
    client = bench.connected(keep_alive=0)
    sweep(client, 0.0, 100_000.0, 100.0)
    assert not client.ended


def test_who_does_not_connect_is_given_up(bench: Bench) -> None:
    client = bench.client(5)
    client.send(connect(5)[:10])
    sweep(client, 0.0, 9.0)
    assert not client.ended
    sweep(client, 9.25, 11.0)
    assert client.session.closing


@pytest.mark.parametrize("version", VERSIONS)
def test_disconnect(bench: Bench, version: int) -> None:
    client = bench.connected("x", version)
    client.subscribe(b"a", 1)
    client.send(DISCONNECT + publish(b"a", b"never"))
    assert client.session.closing
    assert client.hear() == []
    assert not bench.queues()


def test_the_broker_stops(bench: Bench) -> None:
    client = bench.connected()
    client.session.shut_down("it stops")
    assert client.hear() == [("DISCONNECT", 0x8B)]
    assert client.session.closing


def test_a_user_that_is_gone(bench: Bench) -> None:
    client = bench.connected()
    client.session.revoked("no user")
    assert client.hear() == [("DISCONNECT", 0x98)]


@pytest.mark.parametrize("version", VERSIONS)
def test_taken_over(bench: Bench, version: int) -> None:
    first = bench.connected("x", version)
    first.subscribe(b"a")
    second = bench.connected("x", version)
    assert first.ended
    assert first.hear() == ([("DISCONNECT", 0x8E)] if version == 5 else [])
    first.lost()
    second.publish(b"a", b"1", 1)
    assert second.hear() == [("PUBACK", 1, 0x10 if version == 5 else 0)]


def test_names_of_two_namespaces_are_two(bench: Bench) -> None:
    bench.decisions.create_namespace("public/other")
    bench.run()
    first = bench.connected("x")
    bench.connected("x", flags=0xC2, rest=string("other:bob") + string("bob"))
    assert not first.ended


# ---- wills


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("end", "is_published"), [("lost", True), ("disconnect", False), ("bad", True), ("over", True), ("again", True)])
def test_wills(bench: Bench, version: int, end: str, is_published: bool) -> None:
    watcher = bench.connected("w", version)
    watcher.subscribe(b"last", 1)
    client = bench.connected("x", version, flags=0x0E, rest=(b"\0" if version == 5 else b"") + string("last") + string("words"))
    if end == "lost":
        client.lost()
    elif end == "disconnect":
        client.send(DISCONNECT)
    elif end == "bad":
        client.send(b"\0\0")
    elif end == "over":
        bench.connected("x", version)
    else:
        sweep(client, 0.0, 100.0)
    assert watcher.payloads() == ([b"words"] if is_published else [])


def test_disconnect_with_the_will(bench: Bench) -> None:
    watcher = bench.connected("w")
    watcher.subscribe(b"last")
    client = bench.connected("x", flags=0x06, rest=listed(expiry(7)) + string("last") + string("words"))
    client.send(packet(0xE0, b"\x04"))
    ((_, heard),) = watcher.hear()
    assert heard["properties"] == expiry(7)


def test_a_session_that_ends_cannot_be_made_longer(bench: Bench) -> None:
    client = bench.connected()
    assert client.send(packet(0xE0, b"\0" + listed(b"\x11\0\0\0\x09"))).hear() == [("DISCONNECT", 0x82)]


def test_topics_that_are_refused_are_not_remembered(bench: Bench) -> None:
    client = bench.connected()
    for n in range(3):
        client.publish(b"%d" % n + b"x" * 60_000, b"", 1, n + 1)
    assert client.hear() == [("PUBACK", n + 1, 0x90) for n in range(3)]
    assert not client.session.addresses


@pytest.mark.parametrize("how", ["apart", "long"])
def test_what_is_not_sent_does_not_hold_up_what_is_behind_it(bench: Bench, how: str) -> None:
    reader, writer = bench.connected("r", properties=listed(b"\x21" + u16(4), b"\x27" + u32(40))), bench.connected("w")
    reader.subscribe(b"#", 1)
    for n in range(12):
        writer.publish(b"$apart" if how == "apart" else b"a", b"" if how == "apart" else b"x" * 50, 1, n + 1)
    writer.publish(b"b", b"1", 1, 99)
    assert reader.payloads() == [b"1"]


# ---- SUBSCRIBE


@pytest.mark.parametrize("version", VERSIONS)
def test_filters_are_granted_or_not(bench: Bench, version: int) -> None:
    client = bench.connected("x", version)
    filters = [(b"a", 0), (b"b/+", 1), (b"#", 2), (b"a#", 0), (b"", 0), (b"x" * 300, 0), (b"$share/g/a", 2), (b"$share/g", 1)]
    client.send(subscribe(3, *filters, properties=b"\0" if version == 5 else b""))
    codes = [0, 1, 2, 0x8F, 0x8F, 0x8F, 1, 0x8F] if version == 5 else [0, 1, 2, 0x80, 0x80, 0x80, 1, 0x80]
    assert client.hear() == [("SUBACK", 3, codes)]
    assert len(client.session.subscriptions) == 3


@pytest.mark.parametrize("version", VERSIONS)
def test_who_may_not_subscribe(bench: Bench, version: int) -> None:
    client = bench.connected("x", version)
    bench.authorizer.forbidden = {"amq.topic"}
    client.send(subscribe(3, (b"a", 0), (b"b", 1), properties=b"\0" if version == 5 else b""))
    assert client.hear() == [("SUBACK", 3, [0x87, 0x87] if version == 5 else [0x80, 0x80])]
    assert len(client.session.subscriptions) == 0


def test_there_are_not_too_many(bench: Bench) -> None:
    client = bench.connected(settings=Settings(subscriptions_max=2))
    client.send(subscribe(1, (b"a", 0), (b"b", 0), (b"c", 0), (b"a", 1), properties=b"\0"))
    assert client.hear() == [("SUBACK", 1, [0, 0, 0x97, 1])]


@pytest.mark.parametrize("version", VERSIONS)
def test_unsubscribe(bench: Bench, version: int) -> None:
    client = bench.connected("x", version)
    client.subscribe(b"a/#", 1)
    client.subscribe(b"b")
    client.send(unsubscribe(9, b"a/#", b"c", b"x#", properties=b"\0" if version == 5 else b""))
    assert client.hear() == [("UNSUBACK", 9, [0, 0x11, 0x8F] if version == 5 else [])]
    client.publish(b"a/x", b"1").publish(b"b", b"2")
    assert client.payloads() == [b"2"]


@pytest.mark.parametrize(("before", "after"), [(0, 1), (1, 0), (1, 2), (2, 0), (0, 0)])
def test_a_subscription_is_replaced(bench: Bench, before: int, after: int) -> None:
    client = bench.connected()
    client.subscribe(b"a", before)
    client.subscribe(b"a", after)
    client.publish(b"a", b"1", 2)
    assert [one[1]["qos"] for one in client.hear() if one[0] == "PUBLISH"] == [after]
    client.send(unsubscribe(9, b"a", properties=b"\0"))
    client.hear()
    client.publish(b"a", b"2", 0)
    assert client.payloads() == []


def test_overlapping_subscriptions_are_one_message(bench: Bench) -> None:
    client = bench.connected()
    client.subscribe(b"a/#", 0, properties=listed(b"\x0b\x07"))
    client.subscribe(b"a/b", 1, properties=listed(b"\x0b\x80\x01"))
    client.subscribe(b"+/b", 1)
    client.subscribe(b"a/+", 0)
    client.publish(b"a/b", b"1", 2).publish(b"a/c", b"2", 2, 2)
    heard = [one[1] for one in client.hear() if one[0] == "PUBLISH"]
    assert sorted((one["payload"], one["qos"]) for one in heard) == [(b"1", 1), (b"2", 0)]
    found = {one["payload"]: one["properties"] for one in heard}
    assert {found[b"1"][at : at + size] for at, size in ((0, 2), (2, 3))} in ({b"\x0b\x07", b"\x0b\x80\x01"}, {b"\x0b\x80", b"\x01\x0b\x07"})
    assert found[b"2"] == b"\x0b\x07"


def test_topics_that_begin_with_a_dollar_are_apart(bench: Bench) -> None:
    client = bench.connected()
    client.subscribe(b"#", 1)
    client.subscribe(b"+/x", 0)
    client.publish(b"$a/x", b"1", 1).publish(b"b/x", b"2", 0)
    assert client.payloads() == [b"2"]
    client.subscribe(b"$a/#", 0)
    client.publish(b"$a/x", b"3", 1)
    assert client.payloads() == [b"3"]


def test_retain_as_published(bench: Bench) -> None:
    plain, exact = bench.connected("p"), bench.connected("e")
    plain.subscribe(b"a")
    exact.subscribe(b"a", 8)
    plain.publish(b"a", b"1", retain=True).publish(b"a", b"2")
    assert [one[1]["retain"] for one in plain.hear()] == [False, False]
    assert [one[1]["retain"] for one in exact.hear()] == [True, False]


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("retain", [False, True])
def test_no_local(bench: Bench, qos: int, retain: bool) -> None:
    client, other = bench.connected("x"), bench.connected("y")
    client.subscribe(b"a/#", 4 | qos)
    client.subscribe(b"a/b", 4)
    for n, one in enumerate((client, other)):
        one.publish(b"a/b", b"%d" % n, qos, 1, retain=retain)
        one.publish(b"a/c", b"%d" % n, qos, 2)
    assert client.payloads() == [b"1", b"1"]
    client.subscribe(b"+/c", qos)
    client.publish(b"a/b", b"2", qos, 3).publish(b"a/c", b"3", qos, 4)
    assert client.payloads() == [b"3"]
    other.subscribe(b"#")
    client.publish(b"a/b", b"4", 0)
    assert other.payloads()[-1:] == [b"4"]


def test_a_subscriber_whose_queue_is_deleted(bench: Bench) -> None:
    client = bench.connected()
    client.subscribe(b"a", 1)
    client.session.cancelled(client.session.sources[0])
    assert client.hear() == [("DISCONNECT", 0x98)]
    assert client.ended


# ---- PUBLISH


@pytest.mark.parametrize("version", VERSIONS)
def test_runs_are_answered_one_by_one(bench: Bench, version: int) -> None:
    client = bench.connected("x", version)
    client.subscribe(b"a")
    none = b"\0" if version == 5 else None
    client.send(b"".join(publish(b"a", b"%d" % n, 1, n, properties=none) for n in range(1, 6)) + publish(b"a", b"6", 2, 6, properties=none))
    heard = client.hear()
    assert [one for one in heard if one[0] != "PUBLISH"] == [*[("PUBACK", n, 0) for n in range(1, 6)], ("PUBREC", 6, 0)]
    assert [one[1]["payload"] for one in heard if one[0] == "PUBLISH"] == [b"%d" % n for n in range(1, 7)]


def test_nobody_is_subscribed(bench: Bench) -> None:
    client = bench.connected()
    client.publish(b"a", b"1", 1, 3).publish(b"a", b"1", 2, 4)
    assert client.hear() == [("PUBACK", 3, 0x10), ("PUBREC", 4, 0x10)]
    assert client.ack("PUBREL", 4).hear() == [("PUBCOMP", 4, 0)]


def test_who_may_not_publish(bench: Bench) -> None:
    bench.authorizer.forbidden = {"amq.topic"}
    client = bench.connected()
    client.publish(b"a", b"1", 1, 3).publish(b"a", b"1", 2, 4)
    assert client.hear() == [("PUBACK", 3, 0x87), ("PUBREC", 4, 0x87)]
    assert client.session.incoming.count == 0
    client.publish(b"a", b"1")
    assert client.hear() == [("DISCONNECT", 0x87)]
    older = bench.connected("o", 4)
    older.publish(b"a", b"1", 1, 3)
    assert older.hear() == []
    assert older.ended


@pytest.mark.parametrize(("topic", "code"), [(b"t" * 256, 0x90), (b"$SYS/broker", 0x87), (b"$SYS", 0x87)])
def test_topics_that_cannot_be(bench: Bench, topic: bytes, code: int) -> None:
    client = bench.connected()
    client.publish(topic, b"", 1, 3).publish(topic, b"", 2, 4)
    assert client.hear() == [("PUBACK", 3, code), ("PUBREC", 4, code)]
    client.publish(topic)
    assert client.hear() == [("DISCONNECT", code)]


def test_qos_2_is_not_published_twice(bench: Bench) -> None:
    reader, writer = bench.connected("r"), bench.connected("w")
    reader.subscribe(b"a")
    writer.publish(b"a", b"1", 2, 1).hear()
    writer.send(
        publish(b"a", b"1", 2, 1, dup=True, properties=b"\0") + publish(b"a", b"2", 2, 2, properties=b"\0") + publish(b"a", b"1", 2, 1, properties=b"\0")
    )
    assert sorted(writer.hear()) == [("PUBREC", 1, 0), ("PUBREC", 1, 0), ("PUBREC", 2, 0)]
    assert reader.payloads() == [b"1", b"2"]
    writer.ack("PUBREL", 1)
    writer.publish(b"a", b"3", 2, 1)
    assert writer.hear() == [("PUBCOMP", 1, 0), ("PUBREC", 1, 0)]
    assert reader.payloads() == [b"3"]
    assert writer.ack("PUBREL", 9).hear() == [("PUBCOMP", 9, 0x92)]


@pytest.mark.parametrize("qos", [1, 2])
def test_more_than_may_be_unanswered(bench: Bench, qos: int) -> None:
    client = bench.connected(settings=Settings(Offer(receive_maximum=3)))
    client.send(b"".join(publish(b"a", b"", qos, n, properties=b"\0") for n in range(1, 5)))
    assert client.hear()[-1] == ("DISCONNECT", 0x93)


def test_topic_aliases_of_a_client(bench: Bench) -> None:
    reader, writer = bench.connected("r"), bench.connected("w")
    reader.subscribe(b"long/topic")
    writer.publish(b"long/topic", b"1", properties=listed(alias(4))).publish(b"", b"2", properties=listed(alias(4)))
    assert reader.payloads() == [b"1", b"2"]
    writer.publish(b"", b"3", properties=listed(alias(17)))
    assert writer.hear() == [("DISCONNECT", 0x94)]


def test_message_expiry(bench: Bench) -> None:
    reader, writer = bench.connected("r"), bench.connected("w")
    for queue, options in ((b"a", 0), (b"b", 1)):
        reader.subscribe(queue, options)
    reader.reads = False
    reader.session.writable(False)
    for topic in (b"a", b"b"):
        writer.publish(topic, b"1", 1, properties=listed(expiry(2))).publish(topic, b"2", 1, properties=listed(expiry(10)))
    bench.run(3.5)
    reader.reads = True
    reader.session.writable(True)
    assert [(one[1]["payload"], one[1]["properties"]) for one in reader.hear()] == [(b"2", expiry(7))] * 2


# ---- deliveries


def test_no_more_is_in_flight_than_the_client_takes(bench: Bench) -> None:
    reader, writer = bench.connected("r", properties=listed(b"\x21" + u16(3))), bench.connected("w")
    reader.subscribe(b"a", 2)
    for n in range(10):
        writer.publish(b"a", b"%d" % n, 1 + n % 2, n + 1)
    first = reader.hear()
    assert [one[1]["payload"] for one in first] == [b"0", b"1", b"2"]
    reader.ack("PUBREC", first[1][1]["id"])
    assert [one[0] for one in reader.hear()] == ["PUBREL"]  # counts until it is completed
    reader.ack("PUBCOMP", first[1][1]["id"])
    assert [one[1]["payload"] for one in reader.hear()] == [b"3"]
    reader.ack("PUBACK", first[0][1]["id"]).ack("PUBACK", first[2][1]["id"])
    assert [one[1]["payload"] for one in reader.hear()] == [b"4", b"5"]


def test_acknowledgements_of_what_was_not_sent(bench: Bench) -> None:
    client = bench.connected()
    client.ack("PUBACK", 7).ack("PUBCOMP", 8).ack("PUBREC", 9)
    assert client.hear() == [("PUBREL", 9, 0x92)]
    assert not client.ended


def test_a_message_that_is_refused_by_its_reader_is_done_with(bench: Bench) -> None:
    client = bench.connected()
    client.subscribe(b"a", 2)
    client.publish(b"a", b"1", 2, 5)
    packet_id = next(one[1]["id"] for one in client.hear() if one[0] == "PUBLISH")
    assert client.ack("PUBREC", packet_id, b"\x97").hear() == []
    assert client.session.flights.count == 0


def test_what_is_longer_than_a_client_takes_is_not_sent(bench: Bench) -> None:
    reader, writer = bench.connected("r", properties=listed(b"\x27\0\0\0\x40")), bench.connected("w")
    reader.subscribe(b"a", 1)
    reader.subscribe(b"b", 0)
    for n, size in enumerate((3, 200, 4)):
        writer.publish(b"a", b"x" * size, 1, n + 1).publish(b"b", b"y" * size)
    assert sorted(map(len, reader.payloads())) == [3, 3, 4, 4]
    assert reader.session.flights.count == 2


def test_topic_aliases_towards_a_client(bench: Bench) -> None:
    reader, writer = bench.connected("r", properties=listed(b"\x22" + u16(2))), bench.connected("w")
    reader.subscribe(b"#", 0)
    for topic in (b"long/topic/1", b"long/topic/1", b"long/topic/2", b"long/topic/3", b"long/topic/1", b"short"):
        writer.publish(topic, b"x", 1)
        writer.hear()
    heard = [(one[1]["topic"], one[1]["properties"]) for one in reader.hear()]
    assert heard == [
        (b"long/topic/1", alias(1)), (b"", alias(1)), (b"long/topic/2", alias(2)), (b"long/topic/3", alias(1)), (b"long/topic/1", alias(2)), (b"short", b"")
    ]  # fmt: skip


def test_who_does_not_read_is_not_sent_more(bench: Bench) -> None:
    reader, writer = bench.connected("r"), bench.connected("w")
    reader.subscribe(b"a", 0)
    reader.reads = False
    for n in range(30):
        writer.publish(b"a", bytes(100_000), 1, n + 1)
    bench.run()
    assert reader.session.output.size < OUTPUT_HIGH_BYTES + 200_000
    reader.reads = True
    assert len(reader.payloads()) == 30


def sweep(client: Client, start: float, stop: float, step: float = 0.25) -> None:
    """Time passes: the network looks at deadlines, as often as that."""
    now = start
    while now <= stop and not client.session.closing:
        if client.session.next_deadline and now >= client.session.next_deadline:
            client.session.deadline_reached(now)
        now += step
