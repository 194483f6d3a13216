"""Acknowledgements, transactions and temporary queues: what goes to the port, and what its client is told."""

from __future__ import annotations

import pytest
from stomp_bench import Client, complete, known_queue, refuse
from stomp_wire import frame, record, records_of, route, send

from entrepot.broker.calls import requests
from entrepot.broker.calls.port import ACCEPT, REJECT, RELEASE
from entrepot.model.errors import Reason
from entrepot.net.unfinished import Unfinished
from entrepot.protocols.stomp.frames import TEMPORARIES_MAX
from entrepot.protocols.stomp.handshake import Settings

BLOCK = b"destination:/queue/q\n"


@pytest.fixture
def client() -> Client:
    return Client().connect()


@pytest.fixture
def known() -> Client:
    return known_queue()


# ---- ACK and NACK


def out(client: Client, ack: str, count: int = 6) -> None:
    """`count` messages of a subscription, offsets from 100 on."""
    token = client.subscribe("/queue/q", ack)
    client.deliver(token, record(BLOCK, b"x") * count, count, offset=100)
    client.hear()
    client.door.asked.clear()


def test_client_individual(client: Client) -> None:
    out(client, "client-individual")
    client.send(frame("ACK", "id:1-2"), frame("ACK", "id:1-3"), frame("NACK", "id:1-5"), frame("NACK", "id:1-6", "requeue:false"))
    assert client.door.settles == [(1, 101, 2, ACCEPT), (1, 104, 1, RELEASE), (1, 105, 1, REJECT)]


def test_client_acknowledges_all_before(client: Client) -> None:
    out(client, "client")
    client.send(frame("ACK", "id:1-4"), frame("NACK", "id:1-5"))
    assert client.door.settles == [(1, 100, 4, ACCEPT), (1, 104, 1, RELEASE)]


@pytest.mark.parametrize(
    ("ack", "frames"),
    [
        ("client-individual", ["id:1-7"]),
        ("client-individual", ["id:1-2", "id:1-2"]),
        ("client-individual", ["id:2-1"]),
        ("client-individual", ["id:1-0"]),
        ("client", ["id:1-7"]),
        ("client", ["id:1-3", "id:1-2"]),
        ("auto", ["id:1-1"]),
    ],
)
def test_what_cannot_be_acknowledged(client: Client, ack: str, frames: list[str]) -> None:
    out(client, ack)
    client.send(*(frame("ACK", one) for one in frames))
    assert client.said() == [("ERROR", "no such message")]


def test_an_acknowledgement_with_a_receipt_is_answered_when_it_is_durable(client: Client) -> None:
    out(client, "client")
    client.send(frame("ACK", "id:1-2", "receipt:r"))
    (together,) = client.door.requests
    assert [(one.first, one.count) for one in together.settlements] == [(100, 2)]
    assert client.hear() == []
    complete(client.door.pending[0])
    assert client.said() == [("RECEIPT", "r")]


def test_acknowledging_before_1_2() -> None:
    for version in (10, 11):
        client = Client(version).connect()
        client.send(frame("SUBSCRIBE", "id:0", "destination:/queue/q", "ack:client"))
        client.deliver(client.door.tokens()[-1], record(BLOCK, b"x"), offset=5)
        (heard,) = client.hear()
        assert "ack" not in heard.headers
        client.send(frame("ACK", f"message-id:{heard['message-id']}", "subscription:0"))
        assert client.door.settles == [(1, 5, 1, ACCEPT)]


def test_unsubscribe_gives_back_what_is_out(client: Client) -> None:
    out(client, "client-individual")
    client.send(frame("ACK", "id:1-2"), frame("UNSUBSCRIBE", "id:0", "receipt:u"), frame("ACK", "id:1-3"))
    cancel, release = client.door.requests
    assert cancel == requests.Cancel(1)
    assert release == requests.Release([(1, 100, 1), (1, 102, 4)])
    assert client.said() == [("RECEIPT", "u")]  # and the late ACK is no error
    client.send(frame("ACK", "id:1-4", "receipt:late"))
    assert client.said() == [("ERROR", "no such message")]


def test_unsubscribing_from_nothing(client: Client) -> None:
    client.send(frame("UNSUBSCRIBE", "id:0"))
    assert client.said() == [("ERROR", "no such subscription")]


def test_what_is_delivered_after_unsubscribe_is_not_sent(client: Client) -> None:
    token = client.subscribe()
    client.send(frame("UNSUBSCRIBE", "id:0"))
    assert client.deliver(token, record(BLOCK, b"x")) == -1
    assert client.hear() == []


# ---- transactions


def test_a_transaction_is_one_commit(known: Client) -> None:
    out(known, "client-individual")
    known.send(frame("BEGIN", "transaction:t", "receipt:b"))
    known.send(send("/queue/q", b"1", "transaction:t", "receipt:s"), send("/queue/q", b"2", "transaction:t"), frame("ACK", "id:1-2", "transaction:t"))
    known.send(frame("NACK", "id:1-3", "transaction:t", "requeue:false"))
    assert known.said() == [("RECEIPT", "b"), ("RECEIPT", "s")]
    assert known.door.publishes == []
    assert known.door.settles == []
    known.send(frame("COMMIT", "transaction:t", "receipt:c"), send("/queue/q", b"after"))
    (together,) = known.door.requests
    assert [(one.count, one.data) for one in together.publishes] == [(2, record(BLOCK, b"1") + record(BLOCK, b"2"))]
    assert [(one.first, one.count, one.disposition) for one in together.settlements] == [(101, 1, ACCEPT), (102, 1, REJECT)]
    assert known.hear() == []
    assert known.door.publishes == []
    complete(known.door.pending[0])
    assert known.said() == [("RECEIPT", "c")]
    assert len(known.door.publishes) == 1


def test_a_commit_that_is_refused(known: Client) -> None:
    known.send(frame("BEGIN", "transaction:t"), send("/queue/q", b"1", "transaction:t"), frame("COMMIT", "transaction:t", "receipt:c"))
    refuse(known.door.pending[0], Reason.FULL, "full up")
    (error,) = known.hear()
    assert (error["message"], error["receipt-id"]) == ("full", "c")


def test_abort_forgets_and_unsettles(known: Client) -> None:
    out(known, "client-individual")
    known.send(frame("BEGIN", "transaction:t"), send("/queue/q", b"1", "transaction:t"), frame("ACK", "id:1-2", "transaction:t"))
    known.send(frame("ABORT", "transaction:t", "receipt:a"), frame("ACK", "id:1-2"))
    assert known.said() == [("RECEIPT", "a")]
    assert known.door.publishes == []
    assert known.door.settles == [(1, 101, 1, ACCEPT)]


def test_abort_after_the_subscription_has_ended_gives_back(known: Client) -> None:
    out(known, "client-individual", 1)
    known.send(frame("BEGIN", "transaction:t"), frame("ACK", "id:1-1", "transaction:t"), frame("UNSUBSCRIBE", "id:0"), frame("ABORT", "transaction:t"))
    assert known.door.requests[-1] == requests.Release([(1, 100, 1)])


@pytest.mark.parametrize(
    "parts",
    [
        [frame("COMMIT", "transaction:t")],
        [frame("ABORT", "transaction:t")],
        [frame("BEGIN", "transaction:t"), frame("BEGIN", "transaction:t")],
        [frame("BEGIN")],
        [send("/topic/t", b"", "transaction:t")],
        [frame("BEGIN", f"transaction:{number}") for number in range(101)],
    ],
)
def test_transactions_that_are_none(client: Client, parts: list[bytes]) -> None:
    client.send(*parts)
    assert [command for command, _ in client.said()] == ["ERROR"]


def test_a_transaction_holds_at_most_a_message_limit() -> None:
    client = Client(settings=Settings(message_size_max=10_000)).connect()
    client.send(frame("BEGIN", "transaction:t"), *(send("/topic/t", bytes(3000), "transaction:t", length=True) for _ in range(4)))
    assert client.said() == [("ERROR", "transaction too large")]


def test_all_transactions_together_have_a_limit() -> None:
    unfinished = Unfinished(20_000)
    old, new = (Client(unfinished=unfinished).connect() for _ in range(2))
    for client in (old, new):
        client.send(frame("BEGIN", "transaction:t"), send("/topic/t", bytes(9000), "transaction:t", length=True))
    new.send(send("/topic/t", bytes(9000), "transaction:t", length=True))
    assert old.said() == [("ERROR", "transaction too large")]
    assert new.hear() == []
    new.session.lost("gone")
    assert unfinished.held_bytes == 0


# ---- temporary queues


def test_replies_as_rabbitmqs_clients_want_them(known: Client) -> None:
    known.send(send("/queue/q", b"ask", "reply-to:/temp-queue/r"))
    declare, consume = known.door.requests
    assert declare == requests.DeclareQueue("", exclusive=True)
    assert consume.queue == "amq.gen-1"
    ((block, *_),) = records_of(known.door.publishes[0].data)
    assert block == b"reply-to:/reply-queue/amq.gen-1\n" + BLOCK
    known.deliver(consume.token, record(b"destination:/reply-queue/amq.gen-1\n", b"answer"))
    (heard,) = known.hear()
    assert (heard["subscription"], heard.body) == ("/temp-queue/r", b"answer")
    known.send(send("/queue/q", b"again", "reply-to:/temp-queue/r"))
    assert len(known.door.requests) == 2


def test_replies_as_activemqs_clients_want_them(known: Client) -> None:
    token = known.subscribe("/temp-queue/r", "auto", "mine")
    known.send(send("/queue/q", b"ask", "reply-to:/temp-queue/r"))
    assert known.door.tokens() == [token]
    known.deliver(token, record(BLOCK, b"answer"))
    assert known.hear()[0]["subscription"] == "mine"


def test_many_temporary_queues_have_a_limit(known: Client) -> None:
    known.send(*(send("/queue/q", b"ask", f"reply-to:/temp-queue/{number}") for number in range(TEMPORARIES_MAX + 1)))
    assert known.said() == [("ERROR", "too many temporary queues")]
    assert len(known.door.tokens()) == TEMPORARIES_MAX


def test_who_subscribes_later_takes_over(known: Client) -> None:
    known.send(send("/queue/q", b"ask", "reply-to:/temp-queue/r"))
    known.subscribe("/temp-queue/r", "auto", "mine")
    assert requests.Cancel(1) in known.door.requests
    assert list(known.session.subscriptions) == ["mine"]


def test_a_temporary_queue_can_be_sent_to_by_who_has_it(known: Client) -> None:
    known.send(send("/temp-queue/r", b"x"))
    assert known.door.publishes[0].address == route(b"", b"amq.gen-1")
