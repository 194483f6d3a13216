"""stomp.py, in all three versions: queues, topics, acknowledgements, transactions, replies, durable subscriptions, heart-beats."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import stomp
from identities import make_identity
from stomp_client import DEADLINE_S, Peer, new_name

Connect = Callable[..., Peer]


def test_a_queue(connect: Connect, version: str) -> None:
    peer = connect(version)
    name = f"/queue/{new_name()}"
    peer.send(name, "early")
    peer.subscribe(name)
    peer.send(name, "late", {"colour": "green", "type": "note"})
    early, late = peer.take(2)
    assert [early.body, late.body] == ["early", "late"]
    assert (late.headers["destination"], late.headers["colour"], late.headers["type"]) == (name, "green", "note")
    assert early.headers["message-id"] != late.headers["message-id"]
    assert late.headers.get("subscription") == (None if version == "1.0" else "1")


@pytest.mark.parametrize("text", ["a:b", "line\nfeed", "back\\slash", "\u00e9\u4e2d", " blanks ", ""])
def test_header_values(connect: Connect, text: str) -> None:
    name = f"/queue/{new_name()}"
    for sender, reader in (("1.2", "1.2"), ("1.1", "1.2"), ("1.2", "1.1")):
        from_, to = connect(sender), connect(reader)
        to.subscribe(name)
        from_.send(name, "x", {"k": text})
        (frame,) = to.take()
        assert frame.headers["k"] == text
        to.close()


@pytest.mark.parametrize("body", [b"", b"\x00", bytes(range(256)), b"x" * 300_000, b"\n\n\x00\n"])
def test_any_body(connect: Connect, version: str, body: bytes) -> None:
    peer = connect(version, auto_decode=False)
    name = f"/queue/{new_name()}"
    peer.subscribe(name)
    peer.send(name, body)
    (frame,) = peer.take()
    assert (frame.body or b"") == body


def test_many_messages_in_order(connect: Connect, version: str) -> None:
    sender, reader = connect(version), connect(version)
    name = f"/queue/{new_name()}"
    reader.subscribe(name, ack="client")
    for number in range(2000):
        sender.connection.send(name, str(number))
    frames = reader.take(2000)
    assert [frame.body for frame in frames] == [str(number) for number in range(2000)]
    reader.settle(frames[-1])
    reader.close()
    again = connect(version)
    again.subscribe(name)
    assert again.none()


def test_client_acknowledges_all_before(connect: Connect, version: str) -> None:
    name = f"/queue/{new_name()}"
    peer = connect(version)
    for number in range(5):
        peer.send(name, str(number))
    peer.subscribe(name, ack="client")
    frames = peer.take(5)
    peer.settle(frames[2])
    peer.close()
    again = connect(version)
    again.subscribe(name)
    left = again.take(2)
    assert [(frame.body, frame.headers.get("redelivered")) for frame in left] == [("3", "true"), ("4", "true")]


def test_client_individual_and_nack(connect: Connect) -> None:
    name = f"/queue/{new_name()}"
    peer = connect("1.1")
    for number in range(4):
        peer.send(name, str(number))
    peer.subscribe(name, ack="client-individual")
    frames = peer.take(4)
    peer.settle(frames[1])
    peer.settle(frames[3])
    peer.ack(frames[0], negative=True)
    (again,) = peer.take()
    assert (again.body, again.headers["redelivered"]) == ("0", "true")


def test_a_nack_without_requeue_is_a_dead_letter(connect: Connect) -> None:
    name, dead = new_name(), new_name("dead")
    peer = connect()
    peer.subscribe(f"/queue/{dead}", "dead")
    arguments = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
    peer.subscribe(f"/queue/{name}", ack="client-individual", headers=arguments)
    peer.send(f"/queue/{name}", "poison", {"k": "v"})
    (frame,) = peer.take()
    peer.connection.nack(frame.headers["ack"], requeue="false")
    (letter,) = peer.take()
    assert (letter.body, letter.headers["subscription"], letter.headers["destination"]) == ("poison", "dead", f"/queue/{dead}")
    assert (letter.headers["k"], letter.headers["original-destination"]) == ("v", f"/queue/{name}")
    assert json.loads(letter.headers["x-death"])[0]["reason"] == "rejected"


def test_prefetch(connect: Connect) -> None:
    name = f"/queue/{new_name()}"
    peer = connect()
    for number in range(5):
        peer.send(name, str(number))
    peer.subscribe(name, ack="client-individual", headers={"activemq.prefetchSize": "2"})
    first, second = peer.take(2)
    assert peer.none()
    peer.settle(first)
    (third,) = peer.take()
    assert [frame.body for frame in (first, second, third)] == ["0", "1", "2"]


def test_topics_and_wildcards(connect: Connect, version: str) -> None:
    peer = connect(version)
    for key, pattern in (("1", "/topic/a.*.c"), ("2", "topic://a.>"), ("3", "/exchange/amq.topic/a.#")):
        if version == "1.0":
            break
        peer.subscribe(pattern, key)
    if version == "1.0":
        peer.subscribe("/topic/a.*.c")
    peer.send("/topic/a.b.c", "both")
    peer.send("/topic/a.b", "one")
    peer.send("/topic/b", "none")
    expected = [("both", None)] if version == "1.0" else [("both", "1"), ("both", "2"), ("both", "3"), ("one", "2"), ("one", "3")]
    found = [(frame.body, frame.headers.get("subscription")) for frame in peer.take(len(expected))]
    assert sorted(found, key=str) == expected
    assert peer.none()


def test_unsubscribe(connect: Connect, version: str) -> None:
    peer = connect(version)
    name = f"/queue/{new_name()}"
    peer.subscribe(name, ack="client")
    peer.send(name, "one")
    peer.take()
    peer.unsubscribe(destination=name)
    peer.send(name, "two")
    assert peer.none()
    peer.subscribe(name)
    assert [frame.body for frame in peer.take(2)] == ["one", "two"]


def test_a_durable_subscription(connect: Connect) -> None:
    topic, client, name = f"/topic/{new_name()}", {"client-id": new_name()}, {"activemq.subscriptionName": "news"}
    sender, reader = connect(), connect(headers=client)
    reader.subscribe(topic, headers=name)
    sender.send(topic, "live")
    assert reader.take()[0].body == "live"
    reader.close()
    sender.send(topic, "missed")
    again = connect(headers=client)
    again.subscribe(topic, headers=name)
    assert again.take()[0].body == "missed"
    rival = connect(headers=client)
    receipt = rival.new_receipt()
    rival.connection.subscribe(topic, "1", headers={"receipt": receipt, **name})
    assert rival.error().headers["message"] == "access refused"
    again.unsubscribe(headers=name)
    sender.send(topic, "nobody")
    again.subscribe(topic, headers=name)
    assert again.none()
    again.unsubscribe(headers=name)


def test_a_durable_subscription_over_a_restart() -> None:
    from entrepot.testing import Broker

    with Broker(listeners=("stomp",)) as broker:
        topic, name = f"/topic/{new_name()}", {"durable": "true", "auto-delete": "false"}
        peer = Peer(broker.stomp_address, "/")
        peer.subscribe(topic, headers=name)
        peer.close()
        sender = Peer(broker.stomp_address, "/")
        sender.send(topic, "kept")
        sender.send("/queue/there", "too")
        broker.kill()
        broker.start()
        again = Peer(broker.stomp_address, "/")
        again.subscribe(topic, headers=name)
        again.subscribe("/queue/there", "2")
        assert sorted(frame.body for frame in again.take(2)) == ["kept", "too"]
        again.close()


def test_transactions(connect: Connect, version: str) -> None:
    peer = connect(version)
    source, target = f"/queue/{new_name()}", f"/queue/{new_name()}"
    peer.send(source, "in")
    peer.subscribe(source, ack="client")
    if version != "1.0":
        peer.subscribe(target, "2")
    (frame,) = peer.take()

    def attempt(end: Any) -> None:
        transaction = peer.connection.begin()
        peer.ack(frame, transaction=transaction)
        for number in range(3):
            peer.send(target, str(number), {"transaction": transaction})
        receipt = peer.new_receipt()
        end(transaction=transaction, headers={"receipt": receipt})
        peer.await_receipt(receipt)

    attempt(peer.connection.abort)
    assert peer.none()
    attempt(peer.connection.commit)
    if version == "1.0":
        peer.subscribe(target)
    assert [one.body for one in peer.take(3)] == ["0", "1", "2"]
    peer.close()
    again = connect(version)
    again.subscribe(source)
    assert again.none()


def test_disconnecting_aborts(connect: Connect) -> None:
    peer = connect()
    name = f"/queue/{new_name()}"
    transaction = peer.connection.begin()
    peer.send(name, "never", {"transaction": transaction})
    peer.close()
    again = connect()
    again.subscribe(name)
    assert again.none()


def test_request_and_reply(connect: Connect) -> None:
    """RabbitMQ's way: the asker does not subscribe, and hears its answer as from its temporary queue."""
    asker, answerer = connect(), connect()
    name = f"/queue/{new_name()}"
    answerer.subscribe(name)
    for number in range(2):
        asker.send(name, f"ask {number}", {"reply-to": "/temp-queue/mine", "correlation-id": str(number)})
        (request,) = answerer.take()
        answerer.send(request.headers["reply-to"], "answer", {"correlation-id": request.headers["correlation-id"]})
        (reply,) = asker.take()
        assert (reply.body, reply.headers["subscription"], reply.headers["correlation-id"]) == ("answer", "/temp-queue/mine", str(number))


def test_request_and_reply_by_a_subscription(connect: Connect) -> None:
    """ActiveMQ's way: the asker subscribes to its temporary queue first."""
    asker, answerer = connect(), connect()
    name = f"/queue/{new_name()}"
    answerer.subscribe(name)
    asker.subscribe("/temp-queue/mine", "replies")
    asker.send(name, "ask", {"reply-to": "/temp-queue/mine"})
    (request,) = answerer.take()
    answerer.send(request.headers["reply-to"], "answer")
    (reply,) = asker.take()
    assert (reply.body, reply.headers["subscription"]) == ("answer", "replies")


def test_what_expires_is_not_delivered(connect: Connect) -> None:
    peer = connect()
    name = f"/queue/{new_name()}"
    peer.send(name, "gone", {"expires": str(int(time.time() * 1000) - 1000)})
    peer.send(name, "gone too", {"expiration": "0"})
    peer.send(name, "here", {"expires": str(int(time.time() * 1000) + 600_000)})
    peer.subscribe(name)
    assert peer.take()[0].body == "here"
    assert peer.none()


def test_a_full_queue_that_refuses(connect: Connect) -> None:
    peer = connect()
    name = f"/queue/{new_name()}"
    peer.subscribe(name, ack="client", headers={"x-max-length": "1", "x-overflow": "reject-publish", "activemq.prefetchSize": "1"})
    peer.send(name, "out")
    peer.take()
    peer.connection.send(name, "waits", headers={"receipt": "a"})
    peer.wait(lambda: "a" in peer.receipts)
    peer.connection.send(name, "refused", headers={"receipt": "b"})
    assert peer.error().headers["receipt-id"] == "b"


@pytest.mark.parametrize(
    ("destination", "headers", "text"),
    [
        ("/queue/x", {"selector": "a = 1"}, "not supported"),
        ("/queue/x", {"activemq.noLocal": "true"}, "not supported"),
        ("/amq/queue/nowhere", {}, "not found"),
        ("/exchange/nowhere/k", {}, "not found"),
        ("/nothing/x", {}, "invalid destination"),
    ],
)
def test_what_is_refused_is_told(connect: Connect, version: str, destination: str, headers: dict[str, str], text: str) -> None:
    peer = connect(version)
    receipt = peer.new_receipt()
    arguments: dict[str, Any] = {"headers": {"receipt": receipt, **headers}}
    peer.connection.subscribe(destination, **({} if version == "1.0" else {"id": "1"}), **arguments)
    error = peer.error()
    assert (error.headers["message"], error.headers["receipt-id"]) == (text, receipt)


def test_a_wrong_passcode(space: Any) -> None:
    connection = stomp.Connection12([space.stomp_address], reconnect_attempts_max=1, vhost=space.stomp_host)
    with pytest.raises(stomp.exception.ConnectFailedException):
        connection.connect("guest", "wrong", wait=True)


def test_namespaces_are_apart(connect: Connect, stomp_broker: Any, version: str) -> None:
    here, there = connect(version), Peer(stomp_broker.stomp_address, "/", version)
    name = f"/queue/{new_name()}"
    here.subscribe(name)
    there.send(name, "elsewhere")
    here.send(name, "here")
    assert here.take()[0].body == "here"
    assert here.none()
    there.close()


def test_heart_beats(connect: Connect) -> None:
    peer = connect(heartbeats=(500, 500))
    quiet_until = time.monotonic() + 2
    peer.wait(lambda: time.monotonic() > quiet_until)
    assert peer.connection.is_connected()
    peer.send(f"/queue/{new_name()}", "still here")


def test_a_silent_client_is_given_up(stomp_broker: Any) -> None:
    with socket.create_connection(stomp_broker.stomp_address, timeout=DEADLINE_S) as sock:
        sock.sendall(b"CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\nheart-beat:100,0\n\n\0")
        assert b"CONNECTED" in sock.recv(4096)
        sock.settimeout(60)
        assert sock.recv(4096) == b""


def test_tls(tmp_path: Path) -> None:
    from entrepot.testing import Broker

    server = make_identity(tmp_path, "server")
    settings = {"tls.certificate": server.certificate, "tls.key": server.key}
    with Broker(settings=settings, listeners=("stomp", "stomps")) as broker:
        context = ssl.create_default_context(cafile=str(server.certificate))
        with (
            socket.create_connection(("127.0.0.1", broker.port("stomps")), timeout=DEADLINE_S) as sock,
            context.wrap_socket(sock, server_hostname="localhost") as secure,
        ):
            secure.sendall(b"CONNECT\naccept-version:1.2\n\n\0SEND\ndestination:/queue/secret\nreceipt:r\n\nbehind TLS\0")
            heard = part = secure.recv(4096)
            while b"RECEIPT" not in heard and part:
                part = secure.recv(4096)
                heard += part
            assert b"RECEIPT" in heard
        peer = Peer(broker.stomp_address, "/")
        peer.subscribe("/queue/secret")
        assert peer.take()[0].body == "behind TLS"
        peer.close()


def test_who_comes_to_the_wrong_port_is_told_so_in_the_log(stomp_broker: Any) -> None:
    with socket.create_connection(("127.0.0.1", stomp_broker.port("amqp")), timeout=DEADLINE_S) as sock:
        sock.sendall(b"CONNECT\naccept-version:1.2\n\n\0")
        while sock.recv(4096):
            pass
    deadline = time.monotonic() + DEADLINE_S
    while "STOMP" not in stomp_broker.log.rpartition("Ctrl-C")[2]:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_is_no_stomp_is_told_so(stomp_broker: Any) -> None:
    for first in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"AMQP\x00\x00\x09\x01", b"\x16\x03\x01\x02\x00\x01\x00\x01", b"\x00" * 64):
        with socket.create_connection(stomp_broker.stomp_address, timeout=DEADLINE_S) as sock:
            sock.sendall(first + b"x" * 64)
            heard = b""
            while part := sock.recv(4096):
                heard += part
            assert heard.startswith(b"ERROR\n")
