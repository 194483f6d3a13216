"""Sessions that outlive their connections: what a client finds again, in which order, and what it is never sent or stored twice."""

from __future__ import annotations

import pytest
from mqtt_bench import Bench, Client
from mqtt_wire import DISCONNECT, ack, listed, packet, publish, string, subscribe, u32, unsubscribe

from entrepot.broker.calls.port import Publish
from entrepot.broker.calls.requests import Bind
from entrepot.broker.front.gathering import Gathering
from entrepot.broker.operations.session_opening import Opening
from entrepot.model.errors import OutcomeUnknown, Unavailable

CONNACK = ("CONNACK", 1, 0)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def kept(bench: Bench, client_id: str = "k", version: int = 5, expiry_s: int = 1000, clean: bool = False, more: bytes = b"", **how: object) -> Client:
    """A connection whose session is kept; `present`: what CONNACK says of it."""
    client = bench.client(version)
    client.send(connect(client_id, version, expiry_s, clean, more, **how))
    (connack, *client.rest) = client.hear()
    assert connack[0] == "CONNACK"
    assert connack[2] == 0
    client.present = connack[1] == 1 if version > 3 else client.session.number > 0
    return client


def connect(client_id: str, version: int, expiry_s: int, clean: bool, more: bytes = b"", flags: int = 0, rest: bytes = b"") -> bytes:
    import mqtt_wire

    return mqtt_wire.connect(version, client_id, flags=flags | 2 * clean, properties=listed(b"\x11" + u32(expiry_s), more), rest=rest)


@pytest.mark.parametrize("version", [3, 4, 5])
def test_what_comes_while_nobody_is_there(bench: Bench, version: int) -> None:
    client, writer = kept(bench, version=version), bench.connected("w")
    client.subscribe(b"a/#", 1)
    client.send(DISCONNECT)
    for n in range(3):
        writer.publish(b"a/b", b"%d" % n, n, n + 1)
    writer.hear()
    again = kept(bench, version=version)
    assert again.present
    assert [(one[1]["payload"], one[1]["qos"], one[1]["dup"]) for one in again.rest] == [(b"0", 0, False), (b"1", 1, False), (b"2", 1, False)]


@pytest.mark.parametrize("arguments", [{"x-mqtt-identifier": 1 << 40}, {"x-mqtt-identifier": -5}, {"x-mqtt-options": 3}, {"x-mqtt-options": "1"}, {}])
def test_a_binding_that_is_no_subscription_finds_nothing(bench: Bench, arguments: dict[str, object]) -> None:
    client, writer = kept(bench), bench.connected("w")
    client.subscribe(b"a", 1)
    client.send(DISCONNECT)
    bench.ask(Bind("amq.topic", "mqtt.k", "queue", "b", {"x-mqtt-options": 1, **arguments} if arguments else {}))
    again = kept(bench)
    writer.publish(b"b", b"1", 1).publish(b"a", b"2", 1)
    assert again.payloads() == [b"2"]


def test_a_pubrec_twice_has_one_pubrel_when_it_is_durable(bench: Bench) -> None:
    client, writer = kept(bench), bench.connected("w")
    client.subscribe(b"a", 2)
    writer.publish(b"a", b"1", 2).hear()
    ((_, message),) = client.hear()
    client.feed(2 * ack(5, message["id"]))
    client.feed(ack(5, message["id"]))
    assert client.hear() == [("PUBREL", message["id"], 0)]


def test_a_clean_start_drops_what_there_was(bench: Bench) -> None:
    client, writer = kept(bench), bench.connected("w")
    client.subscribe(b"a", 1)
    client.send(DISCONNECT)
    writer.publish(b"a", b"1", 1)
    again = kept(bench, clean=True)
    assert not again.present
    assert again.rest == []
    writer.publish(b"a", b"2", 1)
    assert again.payloads() == []


@pytest.mark.parametrize("how", ["lost", "crash", "over"])
@pytest.mark.parametrize("qos", [1, 2])
def test_what_was_not_acknowledged_comes_again_in_order(bench: Bench, qos: int, how: str) -> None:
    client, writer = kept(bench), bench.connected("w")
    client.subscribe(b"a", 2)
    for n in range(5):
        writer.publish(b"a", b"%d" % n, qos, n + 1)
    first = [one[1] for one in client.hear()]
    assert [one["payload"] for one in first] == [b"0", b"1", b"2", b"3", b"4"]
    client.ack("PUBACK" if qos == 1 else "PUBREC", first[1]["id"])
    client.hear()
    if how == "lost":
        client.lost()
    elif how == "crash":
        bench = bench.crash()
    again = kept(bench)
    assert again.present
    released = [one for one in again.rest if one[0] == "PUBREL"]
    assert released == ([("PUBREL", first[1]["id"], 0)] if qos == 2 else [])
    messages = [one[1] for one in again.rest if one[0] == "PUBLISH"]
    assert [(one["payload"], one["dup"]) for one in messages] == [(b"0", True), (b"2", True), (b"3", True), (b"4", True)]
    assert [one["id"] for one in messages] == [first[n]["id"] for n in (0, 2, 3, 4)]
    if qos == 2:
        again.ack("PUBCOMP", first[1]["id"])
    for one in messages:
        again.ack("PUBACK" if qos == 1 else "PUBREC", one["id"])
    heard = again.hear()
    assert heard == ([("PUBREL", one["id"], 0) for one in messages] if qos == 2 else [])
    for one in messages if qos == 2 else ():
        again.ack("PUBCOMP", one["id"])
    again.hear()
    again.send(DISCONNECT)
    assert kept(bench).rest == []


@pytest.mark.parametrize("how", ["lost", "crash", "over"])
def test_qos_2_is_stored_once_whatever_happens(bench: Bench, how: str) -> None:
    reader, client = kept(bench, "r"), kept(bench)
    reader.subscribe(b"a", 1)
    client.send(publish(b"a", b"1", 2, 1, properties=b"\0") + publish(b"a", b"2", 2, 2, properties=b"\0"))
    assert client.hear() == [("PUBREC", 1, 0), ("PUBREC", 2, 0)]
    client.ack("PUBREL", 1)
    assert client.hear() == [("PUBCOMP", 1, 0)]
    if how == "lost":
        client.lost()
    elif how == "crash":
        bench = bench.crash()
        reader = kept(bench, "r")
        assert len(reader.rest) == 2
    again = kept(bench)
    again.send(publish(b"a", b"2", 2, 2, dup=True, properties=b"\0") + publish(b"a", b"3", 2, 3, properties=b"\0"))
    assert sorted(again.hear()) == [("PUBREC", 2, 0), ("PUBREC", 3, 0)]
    again.ack("PUBREL", 2).ack("PUBREL", 3)
    assert again.hear() == [("PUBCOMP", 2, 0), ("PUBCOMP", 3, 0)]
    assert again.ack("PUBREL", 2).hear() == [("PUBCOMP", 2, 0x92)]
    payloads = reader.payloads()
    assert payloads == ([b"3"] if how == "crash" else [b"1", b"2", b"3"])


def test_subscriptions_are_found_again_with_their_options(bench: Bench) -> None:
    client, writer = kept(bench), bench.connected("w")
    client.subscribe(b"a/+", 0, properties=listed(b"\x0b\x07"))
    client.subscribe(b"b/#", 1 | 8, properties=listed(b"\x0b\x09"))
    client.subscribe(b"c", 2)
    client.subscribe(b"c", 0)
    client.subscribe(b"d", 0)
    client.subscribe(b"d", 1)
    client.send(unsubscribe(5, b"a/x", b"b/x", properties=b"\0"))
    client.lost()
    for topic in (b"a/1", b"c"):  # of QoS 0 nothing is kept
        writer.publish(topic, b"away", 1)
    writer.hear()
    bench = bench.crash()
    again, writer = kept(bench), bench.connected("w")
    assert again.present
    assert again.rest == []
    assert len(again.session.subscriptions) == 4
    for n, topic in enumerate((b"a/1", b"b/1", b"c", b"d")):
        writer.publish(topic, topic, 2, n + 1, retain=True)
    heard = {one[1]["topic"]: (one[1]["qos"], one[1]["retain"], one[1]["properties"]) for one in again.hear()}
    assert heard == {b"a/1": (0, False, b"\x0b\x07"), b"b/1": (1, True, b"\x0b\x09"), b"c": (0, False, b""), b"d": (1, False, b"")}
    again.send(unsubscribe(5, b"a/+", b"b/#", b"c", b"d", properties=b"\0"))
    assert again.hear() == [("UNSUBACK", 5, [0, 0, 0, 0])]
    assert not [one for queue in bench.queues().values() for one in queue.bindings_in]


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_no_local_is_remembered(bench: Bench, qos: int) -> None:
    client, other = kept(bench), bench.connected("w")
    client.subscribe(b"a", 4 | qos)
    client.lost()
    again = kept(bench)
    again.publish(b"a", b"mine", 2, 1)
    other.publish(b"a", b"hers", 2, 1)
    assert again.payloads() == [b"hers"]


def test_a_session_ends_after_its_time(bench: Bench) -> None:
    client = kept(bench, expiry_s=10)
    client.subscribe(b"a", 1)
    client.lost()
    bench.run(8.0)
    again = kept(bench, expiry_s=10)
    assert again.present
    again.lost()
    bench.run(12.0)
    assert not kept(bench, expiry_s=10).present


def test_a_disconnect_changes_how_long_it_lasts(bench: Bench) -> None:
    client = kept(bench, expiry_s=10)
    client.send(packet(0xE0, b"\0" + listed(b"\x11" + u32(0))))
    bench.run()
    assert not bench.queues()
    client = kept(bench, expiry_s=10)
    client.send(packet(0xE0, b"\0" + listed(b"\x11" + u32(1000))))
    bench.run(100.0)
    assert kept(bench).present


def test_a_will_that_is_delayed(bench: Bench) -> None:
    watcher = bench.connected("w")
    watcher.subscribe(b"last", 1)
    will = {"flags": 0x0C, "rest": listed(b"\x18" + u32(5)) + string("last") + string("words")}
    kept(bench, **will).lost()
    bench.run(2.0)
    kept(bench, **will).lost()
    assert watcher.payloads() == []
    bench.run(6.0)
    assert watcher.payloads() == [b"words"]


def test_a_will_of_a_session_that_is_over_when_the_broker_is_back(bench: Bench) -> None:
    watcher = kept(bench, "w")
    watcher.subscribe(b"last", 1)
    kept(bench, flags=0x0C, rest=b"\0" + string("last") + string("words"))
    bench = bench.crash()
    bench.run(3.0)
    assert [one[1]["payload"] for one in kept(bench, "w").rest] == [b"words"]


def test_taken_over_while_much_is_in_flight(bench: Bench) -> None:
    client, writer = kept(bench), bench.connected("w")
    client.subscribe(b"a", 1)
    for n in range(20):
        writer.publish(b"a", b"%d" % n, 1, n + 1)
    first = [one[1]["id"] for one in client.hear()]
    again = kept(bench)
    assert client.hear() == [("DISCONNECT", 0x8E)]
    client.ack("PUBACK", first[0])
    assert [one[1]["id"] for one in again.rest] == first


def test_who_may_not_have_a_session(bench: Bench) -> None:
    bench.authorizer.forbidden = {"mqtt.k"}
    client = bench.client(5)
    client.send(connect("k", 5, 10, False))
    assert [one[:3] for one in client.hear()] == [("CONNACK", 0, 0x87)]


@pytest.mark.parametrize(("version", "code"), [(3, 3), (4, 3), (5, 0x89)])
def test_whose_session_may_be_open_or_not_is_to_come_again(bench: Bench, monkeypatch: pytest.MonkeyPatch, version: int, code: int) -> None:
    def begin(opening: Opening) -> None:
        raise OutcomeUnknown("its owner has ended amid it")

    monkeypatch.setattr(Opening, "begin", begin)
    client = bench.client(version)
    client.send(connect("k", version, 10, False))
    assert [one[:3] for one in client.hear()] == [("CONNACK", 0, code)]


@pytest.mark.parametrize("version", [4, 5])
@pytest.mark.parametrize("retain", [False, True])
def test_what_some_have_and_others_cannot_be_asked_to_take_is_sent_again(bench: Bench, monkeypatch: pytest.MonkeyPatch, version: int, retain: bool) -> None:
    """Neither done nor refused."""
    writer = bench.connected("w", version)
    kept(bench).subscribe(b"a", 1)
    bench.connected("r").subscribe(b"a", 1)
    writer.publish(b"a", b"1", 1, 1, retain=True)
    writer.hear()
    gather = Gathering.publish
    monkeypatch.setattr(Gathering, "publish", lambda self, call, parts: gather(self, call, [*parts, (_away, (0,))]))
    writer.publish(b"a", b"2", 1, 2, retain=retain)
    assert writer.hear() == ([("DISCONNECT", 0x89)] if version == 5 else [])
    assert writer.ended


def _away(part: Publish) -> bool:
    raise Unavailable("away")


def test_not_more_is_sent_again_than_the_client_takes(bench: Bench) -> None:
    client, writer = kept(bench), bench.connected("w")
    client.subscribe(b"a", 2)
    for n in range(6):
        writer.publish(b"a", b"%d" % n, 2, n + 1)
    ids = [one[1]["id"] for one in client.hear()]
    client.ack("PUBREC", ids[0]).ack("PUBREC", ids[1])
    client.hear()
    client.lost()
    again = kept(bench, more=b"\x21\0\x03")
    assert [(one[0], one[1] if one[0] == "PUBREL" else one[1]["id"]) for one in again.rest] == [("PUBREL", ids[0]), ("PUBREL", ids[1]), ("PUBLISH", ids[2])]
    again.ack("PUBCOMP", ids[0])
    assert [one[1]["id"] for one in again.hear()] == [ids[3]]


def test_subscribing_and_lost_at_any_moment(bench: Bench) -> None:
    client = kept(bench)
    client.feed(subscribe(1, (b"a", 1), (b"b", 0), (b"c", 2), properties=b"\0"))
    client.lost()
    bench.run()
    again = kept(bench)
    assert again.present
    again.subscribe(b"a", 1)
    again.publish(b"a", b"1", 1)
    assert again.payloads() == [b"1"]
