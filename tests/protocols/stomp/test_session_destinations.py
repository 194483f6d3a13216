"""Browsers, temporary topics, several destinations in one, exclusive consumers: what goes to the port, and what a client is told."""

from __future__ import annotations

from typing import Any

import pytest
from stomp_bench import Client, complete, known_queue, refuse
from stomp_wire import frame, record, records_of, route, send

from entrepot.broker.calls import requests
from entrepot.broker.calls.port import Ask
from entrepot.protocols.stomp.browsing import BROWSERS_MAX, PAGE_RECORDS
from entrepot.protocols.stomp.frames import TEMPORARIES_MAX

BLOCK = b"destination:/queue/q\n"


@pytest.fixture
def known() -> Client:
    return known_queue()


def page_of(*bodies: bytes, place: int = -1, ready: int | None = None, deliveries: int = 0) -> Any:
    data = b"".join(record(BLOCK, body) for body in bodies)
    return [(1, deliveries, len(bodies), data)] if bodies else [], place, len(bodies) if ready is None else ready


def browse(client: Client, *headers: str, key: str = "b", destination: str = "/queue/q") -> Client:
    return client.send(frame("SUBSCRIBE", f"id:{key}", f"destination:{destination}", "browser:true", *headers))


def asked(client: Client) -> Ask:
    """The Browse that waits."""
    (call,) = (call for call in client.door.pending if isinstance(call, Ask) and isinstance(call.request, requests.Browse))
    return call


# ---- browsers


def test_a_browser_sees_what_is_there_and_the_end(known: Client) -> None:
    browse(known, "receipt:r", "ack:client")
    assert asked(known).request == requests.Browse("q", -1, PAGE_RECORDS)
    complete(asked(known), page_of(b"1", b"2"))
    receipt, first, second = known.hear()
    assert receipt.command == "RECEIPT"
    assert [(heard.body, heard["subscription"], heard["destination"]) for heard in (first, second)] == [(body, "b", "/queue/q") for body in (b"1", b"2")]
    assert "ack" not in first.headers
    (end,) = known.hear()
    assert (end.command, end["browser"], end["subscription"], end["destination"], end.body) == ("MESSAGE", "end", "b", "/queue/q", b"")
    assert len({first["message-id"], second["message-id"], end["message-id"]}) == 3
    assert known.hear() == []
    assert known.door.tokens() == []
    assert known.door.settles == []


def test_an_empty_queue_ends_at_once(known: Client) -> None:
    browse(known)
    complete(asked(known), page_of())
    (end,) = known.hear()
    assert end["browser"] == "end"


def test_pages_come_one_by_one_as_they_are_taken(known: Client) -> None:
    browse(known)
    complete(asked(known), page_of(b"1", b"2", place=7, ready=5, deliveries=1))
    assert known.door.pending == []  # the first page is not with the network yet
    known.session.writable(False)
    heard = known.hear()
    assert [one.body for one in heard] == [b"1", b"2"]
    assert heard[0]["redelivered"] == "true"
    assert known.door.pending == []
    known.session.writable(True)
    assert asked(known).request == requests.Browse("q", 7, 3)
    complete(asked(known), page_of(b"3", b"4", b"5", place=20, ready=1000))
    assert [one.body for one in known.hear()] == [b"3", b"4", b"5"]
    (end,) = known.hear()  # what came since it began is not waited for
    assert end["browser"] == "end"
    assert known.door.pending == []


def test_browsers_are_at_work_one_by_one(known: Client) -> None:
    browse(known, key="a")
    complete(asked(known), page_of(b"1", place=1, ready=2))
    browse(known, key="b")
    assert asked(known).request == requests.Browse("q", -1, 0)  # a connection holds one page
    complete(asked(known), page_of(place=7, ready=1))
    assert [one["subscription"] for one in known.hear()] == ["a"]
    complete(asked(known), page_of(b"2"))
    assert [one["subscription"] for one in known.hear()] == ["a"]
    assert [(one["subscription"], one.headers.get("browser")) for one in known.hear()] == [("a", "end")]
    assert asked(known).request == requests.Browse("q", 7, 1)
    complete(asked(known), page_of(b"x"))
    assert [(one["subscription"], one.headers.get("browser")) for one in known.hear()] == [("b", None)]
    assert [(one["subscription"], one.headers.get("browser")) for one in known.hear()] == [("b", "end")]


def test_one_that_is_unsubscribed_says_no_more(known: Client) -> None:
    browse(known, key="a")
    complete(asked(known), page_of(b"1", place=1, ready=9))
    known.hear()
    late = asked(known)
    known.send(frame("UNSUBSCRIBE", "id:a", "receipt:u"))
    browse(known, key="b")
    complete(late, page_of(b"2", place=5))
    assert known.said() == [("RECEIPT", "u")]
    complete(asked(known), page_of(b"x"))
    assert [one["subscription"] for one in known.hear()] == ["b"]
    assert not any(isinstance(request, requests.Cancel) for request in known.door.requests)


def test_an_acknowledgement_of_what_was_only_looked_at(known: Client) -> None:
    browse(known)
    complete(asked(known), page_of(b"1"))
    (message,) = known.hear()
    known.send(frame("ACK", f"id:{message['message-id'].partition('-')[2]}", "receipt:a"))
    assert ("RECEIPT", "a") in known.said()
    assert known.door.settles == []


def test_what_cannot_be_browsed(known: Client) -> None:
    browse(known, "receipt:r")
    refuse(asked(known))
    (error,) = known.hear()
    assert (error["message"], error["receipt-id"]) == ("not found", "r")
    topic = known_queue()
    browse(topic, destination="/topic/t")
    assert topic.said() == [("ERROR", "not supported")]
    later = known_queue()
    browse(later)
    complete(asked(later), page_of(b"1", place=1, ready=2))
    later.hear()
    refuse(asked(later))
    assert later.said() == [("ERROR", "not found")]


def test_a_queue_is_made_to_be_browsed() -> None:
    client = Client().connect()
    browse(client, destination="/queue/new")
    assert requests.DeclareQueue("new", durable=True) in client.door.requests


def test_browsers_have_a_limit(known: Client) -> None:
    for number in range(BROWSERS_MAX):
        browse(known, key=str(number))
        complete(asked(known), page_of())
    known.hear()
    browse(known)
    assert known.said() == [("ERROR", "too many browsers")]


# ---- temporary topics


def test_a_temporary_topic_is_a_key_of_this_connection(known: Client) -> None:
    token = known.subscribe("/temp-topic/t")
    known.send(send("/temp-topic/t", b"x"), send("/topic/ask", b"?", "reply-to:/temp-topic/t"))
    assert [call.address for call in known.door.publishes] == [route(b"amq.topic", b"temp.s.1"), route(b"amq.topic", b"ask")]
    assert requests.Bind("amq.topic", token.queue, "queue", "temp.s.1") in known.door.requests
    ((block, *_),) = records_of(known.door.publishes[1].data)
    assert block.startswith(b"reply-to:/topic/temp.s.1\n")
    known.send(send("/temp-topic/other", b"x"))
    assert known.door.publishes[2].address == route(b"amq.topic", b"temp.s.2")


def test_replies_can_be_wanted_before_anything_else(known: Client) -> None:
    known.send(send("/queue/q", b"?", "reply-to:/temp-topic/t"))
    ((block, *_),) = records_of(known.door.publishes[0].data)
    assert block == b"reply-to:/topic/temp.s.1\n" + BLOCK


def test_many_temporary_topics_have_a_limit(known: Client) -> None:
    known.send(*(send(f"/temp-topic/{number}") for number in range(TEMPORARIES_MAX + 1)))
    assert known.said() == [("ERROR", "too many temporary topics")]


# ---- several destinations


@pytest.mark.parametrize(
    ("destination", "addresses"),
    [
        ("/queue/q,/topic/t", [route(b"", b"q"), route(b"amq.topic", b"t")]),
        ("/queue/q, /exchange/e/k", [route(b"", b"q"), route(b"e", b"k")]),
        ("queue://q,q", [route(b"", b"q")]),
        ("queue://q,topic://t", [route(b"", b"q"), route(b"amq.topic", b"t")]),
        ("queue://q, other", [route(b"", b"q"), route(b"", b"other")]),
        ("topic://a,b", [route(b"amq.topic", b"a"), route(b"amq.topic", b"b")]),
        ("queue://q,other,topic://a", [route(b"", b"q"), route(b"", b"other"), route(b"amq.topic", b"a")]),
        ("/topic/a,queue://q,other,/topic/a", [route(b"amq.topic", b"a"), route(b"", b"q"), route(b"", b"other")]),
        ("/topic/a,/remote-temp-queue/q", [route(b"amq.topic", b"a"), route(b"", b"q")]),
    ],
)
def test_several_destinations_are_one_commit(known: Client, destination: str, addresses: list[bytes]) -> None:
    known.door.existing |= {"q", "other"}
    known.send(send(destination, b"x", "receipt:r"), send(destination, b"y", "receipt:s"))
    if len(addresses) == 1:
        (call,) = known.door.publishes
        assert call.address == addresses[0]
        return
    (together,) = known.door.pending
    assert together.request.all_routed
    publishes = together.request.publishes
    assert [call.address for call in publishes] == addresses
    assert [call.count for call in publishes] == [2] * len(addresses)
    assert known.hear() == []
    complete(together)
    assert known.said() == [("RECEIPT", "r"), ("RECEIPT", "s")]


def test_a_comma_is_part_of_a_name_where_no_destination_follows(known: Client) -> None:
    known.send(send("/queue/a,b"), send("a,b"))
    assert {call.address for call in known.door.publishes} == {route(b"", b"a,b")}


@pytest.mark.parametrize(
    "destination",
    [
        "/queue/q,/temp-topic/t",
        "/queue/q,temp-queue://t",
        "temp-topic://a,b",
        "queue://a,b,temp-topic://c,d",
        "queue://" + ",".join(map(str, range(17))),
        ",".join(f"queue://{a},{a}b,{a}c,{a}d" for a in range(5)),
    ],
)
def test_what_is_no_list_of_destinations(known: Client, destination: str) -> None:
    known.send(send(destination, b"x"))
    assert known.said() == [("ERROR", "invalid destination")]
    assert known.door.publishes == []


def test_queues_that_are_missing_are_made(known: Client) -> None:
    known.send(send("/queue/q,/queue/new1,/queue/new2", b"x"))
    made = [request.name for request in known.door.requests if isinstance(request, requests.DeclareQueue) and not request.passive]
    assert made == ["new1", "new2"]
    assert len(known.door.pending[0].request.publishes) == 3


def test_several_destinations_in_a_transaction(known: Client) -> None:
    known.send(frame("BEGIN", "transaction:t"), send("/queue/q,/topic/t", b"x", "transaction:t"), frame("COMMIT", "transaction:t"))
    (commit,) = known.door.pending
    assert [call.address for call in commit.request.publishes] == [route(b"", b"q"), route(b"amq.topic", b"t")]


def test_one_of_several_that_is_refused(known: Client) -> None:
    known.send(send("/queue/q,/amq/queue/nowhere", b"x", "receipt:r"))
    refuse(known.door.pending[0])
    (error,) = known.hear()
    assert (error["message"], error["receipt-id"]) == ("not found", "r")


def test_a_subscription_has_one_destination(known: Client) -> None:
    known.send(frame("SUBSCRIBE", "id:0", "destination:/queue/a,/queue/b"))
    assert known.said() == [("ERROR", "not supported")]


# ---- exclusive consumers


def test_an_exclusive_consumer_declares_a_queue_that_serves_one(known: Client) -> None:
    known.subscribe("/queue/one", "auto", "0", "activemq.exclusive:true", "activemq.priority:7")
    assert requests.DeclareQueue("one", durable=True, arguments={"x-single-active-consumer": True}) in known.door.requests
    known.send(frame("SUBSCRIBE", "id:1", "destination:/amq/queue/q", "activemq.exclusive:true"))
    assert known.said() == [("ERROR", "not supported")]


def test_a_queue_that_is_another_is_told(known: Client) -> None:
    known.door.answers = False
    known.send(frame("SUBSCRIBE", "id:0", "destination:/queue/q", "activemq.exclusive:true", "receipt:r"))
    (declare,) = known.door.pending
    refuse(declare)
    (error,) = known.hear()
    assert error["receipt-id"] == "r"
