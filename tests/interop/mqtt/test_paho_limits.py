"""What waits for a client that is away is bounded, and a session is its user's: paho against a broker with narrow limits, and with users."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pika
import pytest
from mqtt_client import Peer, Refused, new_name
from pika.exceptions import ChannelClosedByBroker

KEPT = 20
SIZE = 100_000
Connect = Callable[..., Peer]


def _users(*said: str) -> None:
    subprocess.run([sys.executable, "-m", "entrepot", "users", *said], check=True, capture_output=True)


@pytest.fixture(scope="module")
def narrow(is_entrepot: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A broker of its own: alice may do everything, eve configure what is named after her; KEPT messages of a session are kept, or 1 MiB."""
    if not is_entrepot:
        pytest.skip("the settings are Entrepot's")
    from entrepot.testing import Broker

    data = tmp_path_factory.mktemp("narrow") / "data"
    for user in ("alice", "eve"):
        _users("add", user, "--password", user, "--data", str(data))
    own = r"amq\.gen-.*|mqtt\.eve-.*"
    _users("permit", "eve", "--configure", own, "--write", own, "--read", rf"{own}|amq\.topic", "--data", str(data))
    with Broker(data, listeners=("amqp", "mqtt"), settings={"limits.mqtt_kept": KEPT, "limits.mqtt_kept_bytes": 1 << 20}) as broker:
        yield broker


@pytest.fixture
def join(narrow: Any) -> Iterator[Connect]:
    """join(user, **Peer's own) → a Peer."""
    opened: list[Peer] = []

    def make(user: str, **how: Any) -> Peer:
        opened.append(Peer(("127.0.0.1", narrow.port("mqtt")), user=(user, user), **how))
        return opened[-1]

    yield make
    for peer in opened:
        peer.close()


def test_the_oldest_go_by_number(join: Connect) -> None:
    topic, writer = new_name(), join("alice")
    peer = join("alice", clean=False, SessionExpiryInterval=600)
    peer.subscribe(topic, 1)
    peer.drop()
    for number in range(KEPT + 10):
        assert writer.publish(topic, b"%d" % number) == 0
    back = join("alice", client_id=peer.client_id, clean=False)
    assert [message.payload for message in back.take(KEPT)] == [b"%d" % number for number in range(10, KEPT + 10)]
    assert back.rest(1) == []


def test_the_oldest_go_by_size(join: Connect) -> None:
    topic, writer = new_name(), join("alice")
    peer = join("alice", clean=False, SessionExpiryInterval=600)
    peer.subscribe(topic, 1)
    peer.drop()
    for number in range(KEPT):
        assert writer.publish(topic, b"%02d" % number + bytes(SIZE)) == 0
    back = join("alice", client_id=peer.client_id, clean=False)
    numbers = [int(message.payload[:2]) for message in back.rest(1)]
    assert numbers == list(range(KEPT - len(numbers), KEPT))
    assert 8 <= len(numbers) <= 10


@pytest.mark.parametrize("qos", [1, 2])
def test_what_was_under_way_goes_on(join: Connect, qos: int) -> None:
    """It has an identifier that its client knows: it comes again, whatever was dropped."""
    topic, writer = new_name(), join("alice")
    peer = join("alice", clean=False, by_hand=True, SessionExpiryInterval=600)
    peer.subscribe(topic, qos)
    writer.publish(topic, b"first")
    assert peer.one().payload == b"first"
    peer.drop()
    for number in range(KEPT + 5):
        writer.publish(topic, b"%d" % number)
    back = join("alice", client_id=peer.client_id, clean=False)
    found = back.take(KEPT + 1)
    assert (found[0].payload, found[0].dup) == (b"first", True)
    assert [message.payload for message in found[1:]] == [b"%d" % number for number in range(5, KEPT + 5)]


@pytest.mark.parametrize("expiry_s", [0, 600])
def test_another_user_does_not_take_a_session_over(join: Connect, expiry_s: int) -> None:
    peer = join("alice", SessionExpiryInterval=expiry_s)
    topic = new_name()
    peer.subscribe(topic, 1)
    with pytest.raises(Refused) as refused:
        join("eve", client_id=peer.client_id)
    assert refused.value.code == 0x87
    join("alice").publish(topic, b"x")
    assert peer.one().payload == b"x"
    join("alice", client_id=peer.client_id)
    assert peer.wait_over() == 0x8E


def test_a_user_takes_its_own_session_over(join: Connect) -> None:
    peer = join("eve")
    join("eve", client_id=peer.client_id)
    assert peer.wait_over() == 0x8E


def test_nobody_else_makes_a_queue_with_a_sessions_name(narrow: Any, join: Connect) -> None:
    name = new_name("eve-")
    port = narrow.port("amqp")
    with pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port, credentials=pika.PlainCredentials("eve", "eve"))) as connection:
        with pytest.raises(ChannelClosedByBroker) as closed:
            connection.channel().queue_declare(f"mqtt.{name}", durable=True)
        assert closed.value.reply_code == 403
        peer = join("eve", client_id=name, clean=False, SessionExpiryInterval=600)
        peer.subscribe(new_name(), 1)
        channel = connection.channel()
        assert channel.queue_declare(f"mqtt.{name}", passive=True).method.message_count == 0
        assert channel.basic_get(f"mqtt.{name}")[0] is None


def test_who_may_read_no_more_is_sent_nothing(narrow: Any, join: Connect) -> None:
    """Nor what has come meanwhile: the session is a new one, and SUBACK says why."""
    topic, own = new_name(), r"amq\.gen-.*|mqtt\.eve-.*"
    peer = join("eve", client_id=new_name("eve-"), clean=False, SessionExpiryInterval=600)
    assert peer.subscribe(topic, 1) == 1
    peer.drop()
    join("alice").publish(topic, b"x")
    permit = ("permit", "eve", "--configure", own, "--write", own, "--data", str(narrow.data_dir), "--read")
    _users(*permit, own)
    try:
        back = join("eve", client_id=peer.client_id, clean=False, SessionExpiryInterval=600)
        assert not back.session_present
        assert back.subscribe(topic, 1) == 0x87
    finally:
        _users(*permit, rf"{own}|amq\.topic")
