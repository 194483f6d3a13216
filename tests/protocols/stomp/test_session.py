"""A connection: what goes to the port, and what its client is told, whenever and however the port answers."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from stomp_bench import NOW_MS, Client, answer, complete, known_queue, refuse
from stomp_wire import CONNECT, frame, record, records_of, route, send

from entrepot.broker.calls import requests
from entrepot.broker.calls.port import UNAVAILABLE, UNKNOWN, Ask
from entrepot.model.entry import CODEC_STOMP, HAS_EXPIRY
from entrepot.model.errors import OutcomeUnknown, Reason, Unavailable
from entrepot.net.unfinished import Unfinished
from entrepot.protocols.stomp.frames import UNSUPPORTED
from entrepot.protocols.stomp.handshake import CLOSED, Settings
from entrepot.protocols.stomp.session import OUTPUT_HIGH_BYTES, RECEIPTS_HIGH_BYTES

LOGIN = frame("CONNECT", "accept-version:1.2", "login:guest", "passcode:guest")
BLOCK = b"destination:/queue/q\n"


@pytest.fixture
def client() -> Client:
    return Client().connect()


@pytest.fixture
def known() -> Client:
    return known_queue()


# ---- CONNECT


@pytest.mark.parametrize("version", [10, 11, 12])
def test_connected(version: int) -> None:
    client = Client(version)
    client.send(CONNECT[version])
    (connected,) = client.hear()
    assert connected.command == "CONNECTED"
    assert connected["version"] == {10: "1.0", 11: "1.1", 12: "1.2"}[version]
    assert connected["session"] == "s"
    assert ("heart-beat" in connected.headers) == (version > 10)
    assert client.door.codec == CODEC_STOMP
    assert client.door.waits
    assert client.session.established


@pytest.mark.parametrize(
    ("headers", "namespace"),
    [
        ([], "public/default"),
        (["host:/"], "public/default"),
        (["host:127.0.0.1"], "public/default"),
        (["host:other", "login:bob", "passcode:bob"], "public/other"),
    ],
)
def test_host_is_the_virtual_host(headers: list[str], namespace: str) -> None:
    client = Client()
    client.send(frame("CONNECT", "accept-version:1.2", *headers))
    assert client.said() == [("CONNECTED", "1.2")]
    assert client.door.namespace == namespace


def test_a_host_that_is_none_can_be_refused() -> None:
    client = Client(settings=Settings(namespace=""))
    client.send(frame("CONNECT", "accept-version:1.2", "host:nowhere"))
    assert client.said() == [("ERROR", "access refused")]


@pytest.mark.parametrize("headers", [["login:guest", "passcode:x"], ["login:guest"], ["passcode:guest"], ["login:guest", "passcode:guest", "host:other"]])
def test_who_may_not_come_in(headers: list[str]) -> None:
    client = Client()
    client.send(frame("CONNECT", "accept-version:1.2", *headers), send("/queue/q"))
    assert client.said() == [("ERROR", "access refused")]
    assert not client.port.doors
    assert client.session.state == CLOSED
    assert client.notes


def test_without_credentials_where_nobody_may_be_anonymous() -> None:
    client = Client()
    client.authenticator.open = False
    client.send(CONNECT[12])
    assert client.said() == [("ERROR", "access refused")]


def test_blanks_behind_the_colon_are_none_in_1_0() -> None:
    client = Client(10)
    client.send(
        frame("CONNECT", "login: bob", "passcode: bob"), frame("SUBSCRIBE", "destination: /queue/q", "ack: client"), send(" /topic/t", b"", "receipt: r")
    )
    assert client.said() == [("CONNECTED", "1.0")]
    assert client.session.user == "bob"
    assert client.door.tokens()[0].queue == "q"
    assert client.door.publishes[0].address == route(b"amq.topic", b"t")
    complete(client.door.publishes[0])
    assert client.said() == [("RECEIPT", "r")]


def test_no_common_version() -> None:
    client = Client()
    client.send(frame("CONNECT", "accept-version:2.0"))
    (error,) = client.hear()
    assert (error.command, error["version"]) == ("ERROR", "1.0,1.1,1.2")


def test_what_comes_while_credentials_are_checked_waits() -> None:
    client = Client()
    client.authenticator.held = []
    client.send(LOGIN, send("/queue/q", b"x", "receipt:1"))
    assert client.hear() == []
    assert client.session.paused
    client.authenticator.held[0]()
    assert client.said() == [("CONNECTED", "1.2")]
    assert not client.session.paused
    assert [call.count for call in client.door.publishes] == [1]


def test_lost_while_credentials_are_checked() -> None:
    client = Client()
    client.authenticator.held = []
    client.send(LOGIN)
    client.session.lost("gone")
    client.authenticator.held[0]()
    assert not client.port.doors


def test_a_connection_that_says_nothing_ends() -> None:
    client = Client()
    client.session.deadline_reached(100.0)
    assert client.session.next_deadline == 110.0
    client.session.deadline_reached(110.0)
    assert client.session.closing


def test_a_stranger_holds_little() -> None:
    strangers = Unfinished(1 << 20)
    client = Client(strangers=strangers)
    client.send(b"CONNECT\nx:" + b"a" * 8100)
    assert client.said() == [("ERROR", "headers too long")]
    assert strangers.held_bytes == 0
    client = Client(strangers=strangers)
    client.send(b"CONNECT\nx:" + b"a" * 7900)
    assert strangers.held_bytes == 4096
    client.send(b"a" * 200)
    assert client.said() == [("ERROR", "headers too long")]
    assert strangers.held_bytes == 0


def test_a_stranger_is_ended_where_all_hold_too_much() -> None:
    strangers = Unfinished(1000)
    client = Client(strangers=strangers)
    client.send(b"CONNECT\nx:" + b"a" * 5000)
    assert client.said() == [("ERROR", "too much unfinished")]
    assert strangers.ended_count == 1


# ---- SEND


def test_a_run_is_one_call(known: Client) -> None:
    known.send(send("/queue/q", b"abc") * 5)
    (call,) = known.door.publishes
    assert (call.address, call.codec, call.count, call.body_bytes, call.flags) == (route(b"", b"q"), CODEC_STOMP, 5, 15, 0)
    assert call.data == record(BLOCK, b"abc") * 5
    assert call.mandatory
    complete(call)
    assert known.hear() == []


@pytest.mark.parametrize(
    ("destination", "address", "mandatory"),
    [
        ("/topic/a.b", route(b"amq.topic", b"a.b"), False),
        ("topic://a.b", route(b"amq.topic", b"a.b"), False),
        ("/topic/a/b", route(b"amq.topic", b"a/b"), False),
        ("/exchange/e/k.l", route(b"e", b"k.l"), False),
        ("/exchange/e", route(b"e", b""), False),
        ("/amq/queue/n", route(b"", b"n"), True),
        ("/reply-queue/n", route(b"", b"n"), True),
        ("/queue/a%2Fb", route(b"", b"a/b"), True),
        ("queue://a%2Fb", route(b"", b"a%2Fb"), True),
        ("plain", route(b"", b"plain"), True),
        ("/queue/\u00e9", route(b"", "\u00e9".encode()), True),
    ],
)
def test_destinations(client: Client, destination: str, address: bytes, mandatory: bool) -> None:
    client.send(send(destination, b"x"))
    (call,) = client.door.publishes
    assert (call.address, call.mandatory) == (address, mandatory)


@pytest.mark.parametrize(
    "destination",
    ["/queue/", "/topic/", "/nothing/a", "/queue", "/amq/topic/a", "/temp-topic/", "foo://a", "/exchange/", "queue://a,,b", "/queue/a,/queue/", "queue://a?x=1",
     "/queue/a,/temp-queue/x", "/queue/" + "a" * 256, ",".join(f"/queue/{number}" for number in range(17)), "queue://a,b?x=1"],
)  # fmt: skip
def test_destinations_that_are_none(client: Client, destination: str) -> None:
    client.send(send(destination, b"x", "receipt:7"))
    (error,) = client.hear()
    assert (error["message"], error["receipt-id"]) == ("invalid destination", "7")
    assert client.door.closed


def test_a_queue_is_made_once(client: Client) -> None:
    client.send(send("/queue/new"), send("/queue/new"), send("/topic/t"), send("/queue/new"))
    assert client.door.requests == [requests.DeclareQueue("new", passive=True), requests.DeclareQueue("new", durable=True)]
    assert [call.count for call in client.door.publishes] == [2, 1, 1]


def test_what_comes_while_a_queue_is_made_waits(client: Client) -> None:
    client.door.answers = False
    client.send(send("/queue/new", b"1", "receipt:a"), send("/topic/t", b"2"))
    assert client.door.publishes == []
    assert client.session.paused
    while client.door.pending and isinstance(client.door.pending[0], Ask):
        answer(client.door, client.door.pending[0])
    assert [call.address for call in client.door.publishes] == [route(b"", b"new"), route(b"amq.topic", b"t")]
    assert not client.session.paused


def test_a_queue_that_may_not_be_made(client: Client) -> None:
    client.door.answers = False
    client.send(send("/queue/new", b"1", "receipt:a"))
    refuse(client.door.pending[0], Reason.NOT_PERMITTED, "you may not")
    (error,) = client.hear()
    assert (error["message"], error["receipt-id"], error.body) == ("access refused", "a", b"you may not")


def test_receipts_come_when_it_is_durable_in_any_order(known: Client) -> None:
    known.send(send("/queue/q", b"1", "receipt:1"), send("/topic/t", b"2", "receipt:2"), send("/queue/q", b"3", "receipt:3"), send("/queue/q", b"4"))
    assert known.hear() == []
    first, second, third, last = known.door.publishes
    complete(last)
    assert known.hear() == []
    complete(third)
    assert known.said() == [("RECEIPT", "3")]
    complete(first)
    complete(second)
    assert known.said() == [("RECEIPT", "1"), ("RECEIPT", "2")]


@pytest.mark.parametrize(
    ("outcome", "error", "text"),
    [(UNAVAILABLE, Unavailable("away"), "unavailable"), (UNKNOWN, OutcomeUnknown("lost"), "outcome unknown")],
)
def test_what_is_not_done_is_an_error(known: Client, outcome: int, error: Exception, text: str) -> None:
    known.send(send("/queue/q", b"1", "receipt:1"))
    complete(known.door.publishes[0], outcome=outcome, error=error)  # type: ignore[arg-type]
    (heard,) = known.hear()
    assert (heard["message"], heard["receipt-id"]) == (text, "1")
    assert known.session.state == CLOSED


def test_a_queue_that_is_gone(known: Client) -> None:
    known.send(send("/queue/q", b"1"))
    call = known.door.publishes[0]
    call.unroutable = True
    complete(call)
    assert known.said() == [("ERROR", "not found")]


def test_what_nobody_listens_to_is_done(client: Client) -> None:
    client.send(send("/topic/t", b"1", "receipt:1"))
    call = client.door.publishes[0]
    call.unroutable = True
    complete(call)
    assert client.said() == [("RECEIPT", "1")]


@pytest.mark.parametrize(("error", "text"), [(None, "full"), (Unavailable("away"), "outcome unknown")])
def test_what_a_full_queue_refuses_is_told_and_the_rest_too(known: Client, error: Unavailable | None, text: str) -> None:
    """Or one that cannot be reached, when others have taken it."""
    known.send(b"".join(send("/queue/q", b"x", f"receipt:{number}") for number in range(4)))
    call = known.door.publishes[0]
    call.nacked = [1, 2]
    complete(call, error=error)
    heard = known.hear()
    assert [one["receipt-id"] for one in heard] == ["0", "3", "1"]
    assert (heard[-1].command, heard[-1]["message"]) == ("ERROR", text)


def test_when_a_message_expires_is_counted_from_now(known: Client) -> None:
    known.send(send("/queue/q", b"1", f"expires:{NOW_MS + 500}"), send("/queue/q", b"2", "expiration:70"), send("/queue/q", b"3", "expires:0"))
    known.send(send("/queue/q", b"4", f"expires:{NOW_MS - 9}"))
    calls = known.door.publishes
    assert [ttl for call in calls for _, _, _, ttl in records_of(call.data)] == [500, 70, -1, 0]
    assert all(call.flags == HAS_EXPIRY for call in calls)


@pytest.mark.parametrize("header", ["expires:soon", "expiration:-1", "expires:1.5"])
def test_a_time_that_is_none(known: Client, header: str) -> None:
    known.send(send("/queue/q", b"1", header))
    assert known.said() == [("ERROR", "malformed header")]


def test_what_is_routed_by_headers_goes_in_small_runs(client: Client) -> None:
    parts = [send("/exchange/headers/k", b"%d" % number, f"receipt:{number}") for number in range(10)]
    client.send(b"".join(parts), send("/exchange/headers/k", b"x") * 3)
    calls = client.door.publishes
    assert [(call.count, call.body_bytes) for call in calls] == [(4, 4), (4, 4), (2, 2), (3, 3)]
    assert [body for call in calls for _, body, _, _ in records_of(call.data)] == [b"%d" % number for number in range(10)] + [b"x"] * 3
    complete(calls[1])
    assert client.said() == [("RECEIPT", str(number)) for number in range(4, 8)]


def test_receipts_that_wait_have_a_limit(known: Client) -> None:
    for _ in range(RECEIPTS_HIGH_BYTES // 65_536 + 2):
        known.send(*(send("/queue/q", b"", "receipt:" + "r" * 1000) for _ in range(64)))
    assert known.session.paused
    for call in known.door.pending:
        complete(call)
    assert not known.session.paused
    known.octets()


def test_throttled_reading_stops_for_a_while(known: Client) -> None:
    known.session.throttle(True, "")
    assert known.session.paused
    known.session.throttle(False, "")
    assert not known.session.paused


# ---- SUBSCRIBE


def test_a_queue_is_read(client: Client) -> None:
    token = client.subscribe("/queue/q", "client", "7", "prefetch-count:5", "receipt:r")
    assert client.said() == [("RECEIPT", "r")]
    assert client.door.requests[-1] == requests.Consume("q", token, 5, False, False, 0, "next", {})
    client.deliver(token, record(BLOCK + b"k:v\n", b"one") + record(BLOCK, b""), 2, offset=40)
    one, two = client.hear()
    assert one.headers == {"subscription": "7", "message-id": "s-1-1", "ack": "1-1", "destination": "/queue/q", "k": "v", "content-length": "3"}
    assert (one.body, two.body, two["ack"]) == (b"one", b"", "1-2")


@pytest.mark.parametrize("header", ["activemq.prefetchSize:5", "prefetch-count:5"])
def test_prefetch_in_both_words(client: Client, header: str) -> None:
    client.subscribe("/queue/q", "client", "7", header)
    assert client.door.requests[-1].limit == 5


def test_the_receipt_comes_before_the_first_message(client: Client) -> None:
    client.door.answers = False
    client.send(frame("SUBSCRIBE", "id:0", "destination:/amq/queue/q", "receipt:r"))
    (consume,) = client.door.pending
    assert isinstance(consume, Ask)
    client.deliver(consume.request.token, record(BLOCK, b"x"))
    assert client.said() == [("RECEIPT", "r"), ("MESSAGE", "s-1-1")]
    complete(consume, 1)
    assert client.hear() == []


def test_what_follows_a_subscribe_waits_for_it(client: Client) -> None:
    client.door.answers = False
    client.send(frame("SUBSCRIBE", "id:0", "destination:/topic/t"), send("/topic/t", b"x"))
    for _ in range(3):
        assert client.door.publishes == []
        answer(client.door, client.door.pending[0])  # type: ignore[arg-type]
    assert [type(request).__name__ for request in client.door.requests] == ["DeclareQueue", "Bind", "Consume"]
    assert len(client.door.publishes) == 1


@pytest.mark.parametrize(
    ("destination", "bind"),
    [
        ("/topic/a.*.b", ("amq.topic", "a.*.b")),
        ("/topic/a.>", ("amq.topic", "a.#")),
        ("topic://>", ("amq.topic", "#")),
        ("/topic/a.#", ("amq.topic", "a.#")),
        ("/exchange/e/k", ("e", "k")),
        ("/exchange/e/>", ("e", ">")),
    ],
)
def test_a_topic_is_read_by_a_queue_of_ones_own(client: Client, destination: str, bind: tuple[str, str]) -> None:
    client.subscribe(destination)
    declare, bound, consume = client.door.requests
    assert declare == requests.DeclareQueue("", exclusive=True, auto_delete=True)
    assert bound == requests.Bind(bind[0], "amq.gen-1", "queue", bind[1])
    assert (consume.queue, consume.auto_settle, consume.exclusive) == ("amq.gen-1", True, False)


def test_a_durable_subscription_of_activemqs(client: Client) -> None:
    client.session.client_id = "me:1"
    client.subscribe("/topic/t", "client", "0", "activemq.subscriptionName:news")
    declare, bound, consume = client.door.requests
    assert declare == requests.DeclareQueue("stomp:me%3A1:news", durable=True)
    assert (bound.destination, consume.queue, consume.exclusive) == (declare.name, declare.name, True)
    client.send(frame("UNSUBSCRIBE", "id:0"))
    assert isinstance(client.door.requests[-1], requests.Cancel)
    client.send(frame("UNSUBSCRIBE", "id:0", "activemq.subscriptionName:news", "receipt:r"))
    assert client.door.requests[-1] == requests.DeleteQueue(declare.name)
    assert client.said() == [("RECEIPT", "r")]


def test_a_durable_subscription_has_limits_unless_it_says_arguments(client: Client) -> None:
    client.session.client_id = "me"
    client.session.settings = replace(client.session.settings, kept_max=9, kept_bytes_max=1 << 20)
    client.subscribe("/topic/t", "client", "0", "activemq.subscriptionName:a", "x-message-ttl:5")
    client.subscribe("/topic/t", "client", "1", "activemq.subscriptionName:b")
    first, _, _, second, _, _ = client.door.requests
    assert first.arguments == {"x-message-ttl": 5}
    assert second.arguments == {"x-max-length": 9, "x-kept-bytes": 1 << 20}


def test_a_durable_subscription_that_is_there_is_as_it_is(client: Client) -> None:
    client.session.client_id = "me"
    client.session.settings = replace(client.session.settings, kept_max=9)
    client.door.answers = False
    client.send(frame("SUBSCRIBE", "id:0", "destination:/topic/t", "activemq.subscriptionName:a"))
    refuse(client.door.pending[0], Reason.EXISTS_DIFFERENT, "inequivalent arg 'x-max-length' for queue")
    complete(client.door.pending[0], ("stomp:me:a", 0, 0))
    assert client.door.requests[1:] == [requests.DeclareQueue("stomp:me:a", passive=True), requests.Bind("amq.topic", "stomp:me:a", "queue", "t")]


def test_a_durable_subscription_has_no_queue_that_is_not_durable(client: Client) -> None:
    client.session.client_id = "me"
    client.session.settings = replace(client.session.settings, kept_max=9)
    client.door.answers = False
    client.send(frame("SUBSCRIBE", "id:0", "destination:/topic/t", "activemq.subscriptionName:a"))
    refuse(client.door.pending[0], Reason.EXISTS_DIFFERENT, "inequivalent arg 'durable' for queue")
    assert len(client.door.requests) == 1


def test_a_durable_subscription_of_rabbitmqs(client: Client) -> None:
    durable = ("durable:true", "auto-delete:false")
    client.subscribe("/topic/t", "client", "0", *durable)
    name = client.door.requests[0].name
    assert name.startswith("stomp-subscription-")
    assert client.door.requests[0].durable
    client.send(frame("UNSUBSCRIBE", "id:0", *durable))
    assert client.door.requests[-1] == requests.DeleteQueue(name)
    client.subscribe("/topic/t", "client", "0", *durable)
    assert client.door.requests[-3].name == name
    client.subscribe("/topic/t", "client", "1", *durable)
    assert client.door.requests[-3].name != name


def test_a_durable_subscription_needs_a_client_id(client: Client) -> None:
    client.send(frame("SUBSCRIBE", "id:0", "destination:/topic/t", "activemq.subscriptionName:news"))
    assert client.said() == [("ERROR", "missing client-id")]


def test_arguments_of_a_queue(client: Client) -> None:
    client.subscribe("/queue/q", "auto", "0", "x-max-length:5", "x-dead-letter-exchange:d", "x-single-active-consumer:true", "auto-delete:true")
    arguments = {"x-dead-letter-exchange": "d", "x-max-length": 5, "x-single-active-consumer": True}
    assert client.door.requests[0] == requests.DeclareQueue("q", durable=True, auto_delete=True, arguments=arguments)


@pytest.mark.parametrize("header", [f"{name}:{'true' if name != 'selector' else 'a = 1'}" for name in UNSUPPORTED])
def test_what_is_not_supported_is_refused(client: Client, header: str) -> None:
    client.send(frame("SUBSCRIBE", "id:0", "destination:/queue/q", header, "receipt:r"))
    (error,) = client.hear()
    assert (error.command, error["message"], error["receipt-id"]) == ("ERROR", "not supported", "r")
    assert client.door.requests == []


@pytest.mark.parametrize(
    ("headers", "text"),
    [
        (("destination:/queue/q",), "missing id"),
        (("id:0",), "missing destination"),
        (("id:0", "destination:/queue/q", "ack:maybe"), "malformed header"),
        (("id:0", "destination:/queue/q", "prefetch-count:many"), "malformed header"),
        (("id:0", "destination:/queue/q", "durable:maybe"), "malformed header"),
        (("id:" + "i" * 1025, "destination:/queue/q"), "header too long"),
        (("id:0", "destination:/queue/q", "x-stream-offset:offset=x"), "malformed header"),
        (("id:taken", "destination:/queue/q"), "subscription exists"),
    ],
)
def test_wrong_subscriptions(client: Client, headers: tuple[str, ...], text: str) -> None:
    client.subscribe("/queue/other", "auto", "taken")
    client.send(frame("SUBSCRIBE", *headers))
    assert client.said() == [("ERROR", text)]


def test_a_queue_that_is_not_there(client: Client) -> None:
    client.door.answers = False
    client.send(frame("SUBSCRIBE", "id:0", "destination:/amq/queue/q", "receipt:r"))
    refuse(client.door.pending[0], Reason.NOT_FOUND, "no queue 'q' in vhost '/'")
    (error,) = client.hear()
    assert (error["message"], error["receipt-id"], error.body) == ("not found", "r", b"no queue 'q'")


def test_a_stream_is_read_from_where_it_says(client: Client) -> None:
    token = client.subscribe("/queue/s", "client", "0", "x-stream-offset:offset=9")
    assert client.door.requests[-1].start == 9
    client.deliver(token, record(BLOCK, b"x") * 2, 2, offset=9, from_topic=True)
    assert [heard["x-stream-offset"] for heard in client.hear()] == ["9", "10"]


@pytest.mark.parametrize("version", [10, 11, 12])
def test_messages_by_version(version: int) -> None:
    client = Client(version).connect()
    client.send(frame("SUBSCRIBE", *(["id:a\\\\b"] if version > 10 else []), "destination:/queue/q", "ack:client"))
    token = client.door.tokens()[-1]
    client.deliver(token, record(BLOCK + b"k:a\\cb\\\\\\r\n", b"x"))
    raw = client.octets()
    if version == 10:
        assert raw == b"MESSAGE\nmessage-id:s-1-1\ndestination:/queue/q\nk:a:b\\ \ncontent-length:1\n\nx\0"
    else:
        ack = b"ack:1-1\n" if version == 12 else b""
        value = b"k:a\\cb\\\\\\r\n" if version == 12 else b"k:a\\cb\\\\\r\n"
        said = b"subscription:a\\\\b\nmessage-id:s-1-1\n" + ack + b"destination:/queue/q\n" + value
        assert raw == b"MESSAGE\n" + said + b"content-length:1\n\nx\0"


def test_redelivered_and_counted(client: Client) -> None:
    token = client.subscribe()
    client.deliver(token, record(BLOCK, b"x"), redelivered=True, deliveries=3)
    (heard,) = client.hear()
    assert (heard["redelivered"], heard["x-delivery-count"]) == ("true", "3")


def test_a_large_body_is_not_copied_and_comes_whole(client: Client) -> None:
    token = client.subscribe()
    body = random.Random(1).randbytes(40_000)
    client.deliver(token, record(BLOCK, body) + record(BLOCK, b"after"), 2)
    assert [heard.body for heard in client.hear()] == [body, b"after"]


def test_output_has_a_limit_in_one_tick(client: Client) -> None:
    token = client.subscribe()
    client.deliver(token, record(BLOCK, bytes(OUTPUT_HIGH_BYTES)))
    assert not client.door.writable
    client.octets()
    assert client.door.writable


def test_a_queue_that_goes_away_ends_the_connection(client: Client) -> None:
    token = client.subscribe()
    client.session.cancelled(token)
    assert client.said() == [("ERROR", "subscription ended")]
