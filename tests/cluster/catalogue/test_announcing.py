"""What homes announce: what of it is taken in, and what ends the start of who says it."""

import msgspec
import pytest
from brokers import NS, Cluster

from entrepot.broker.calls import requests as r
from entrepot.broker.catalogue.changes import NO_REVISION, Revision, Row, encode_change
from entrepot.broker.catalogue.kept_definitions import QUEUE_KEY, made_binding_row, named_key
from entrepot.cluster.catalogue import frames as f
from entrepot.cluster.catalogue.announcing import announced, taken_in
from entrepot.model.errors import CorruptData


def same(cluster):
    cluster.settle()
    first, *others = [process.rows() for process in cluster.processes]
    return all(rows == first for rows in others)


def test_what_is_announced_again_was_deleted():
    cluster = Cluster(2)
    cluster.settle()
    first, other = cluster.processes
    there = other.connect()
    there.ask(r.DeclareExchange("e", "direct"))
    there.declare("q")
    there.ask(r.Bind("e", "q", "queue", "k"))
    rows = announced(other.catalogue, other.broker.start_id, set())
    assert len(rows) == 2
    there.ask(r.DeleteExchange("e"))
    first.deciding.frame(first.links["w1"], f.Join(first.store.epoch, other.broker.start_id, encode_change(NO_REVISION, rows)))
    cluster.settle()
    assert "e" not in first.space.exchanges
    assert same(cluster)


def test_a_binding_of_what_is_kept_is_not_taken_from_who_announces_it():
    cluster = Cluster(2)
    cluster.settle()
    first = cluster.processes[0]
    here = first.connect()
    here.ask(r.DeclareExchange("e", "direct", durable=True))
    here.declare("q")
    identity = ("e", "queue", "q", "k", b"")
    row = made_binding_row(NS, identity, (), kept=False)
    assert taken_in(first.catalogue, [row], b"another!") == []
    here.ask(r.DeclareExchange("e2", "direct"))
    row = made_binding_row(NS, ("e2", *identity[1:]), (), kept=False)
    assert taken_in(first.catalogue, [row], b"another!") == [row]


DEEP = b"\x91" * 100_000 + b"\x00"


@pytest.mark.parametrize(
    "wrong",
    [
        {"routing_key": None},
        {"routing_key": 5},
        {"makers": 5},
        {"makers": [[1]]},
        {"kind": 5},
        {"destination": []},
        {"arguments": 5},
        {"arguments": [1]},
        {"arguments": {"b": 1, "a": 1}},
        {"arguments": {"x": {1: 2}}},
        {"arguments": {"x": msgspec.msgpack.Ext(1, b"zz")}},
        {"arguments": msgspec.msgpack.Ext(3, DEEP)},
        {"routing_key": "another"},
    ],
    ids=lambda wrong: repr(wrong)[:60],
)
def test_a_binding_that_cannot_be_is_not_taken_in(wrong):
    catalogue = Cluster(1).processes[0].catalogue
    row = made_binding_row(NS, ("amq.topic", "queue", "q", "a.b", b""), (), kept=False)
    assert taken_in(catalogue, [row], b"another!") == [row]
    with pytest.raises(CorruptData):
        taken_in(catalogue, [row._replace(fields={**row.fields, **wrong})], b"another!")


@pytest.mark.parametrize(
    "wrong",
    [
        {"maker": 5},
        {"auto_delete": "x"},
        {"durable": 0.0},
        {"log_id": b"short"},
        {"log_id": 5},
        {"exclusive_to": [b"another!", []]},
        {"timed": 5},
        {"timed": {"policy": {"visibility_ms": "x"}}},
        {"arguments": msgspec.msgpack.Ext(1, b"1")},
    ],
    ids=lambda wrong: repr(wrong)[:60],
)
def test_a_queue_that_cannot_be_is_not_taken_in(wrong):
    catalogue = Cluster(1).processes[0].catalogue
    fields = {"log_id": b"l" * 16, "auto_delete": False, "durable": False, "arguments": {}, "home": b"another!"}
    row = Row(named_key(QUEUE_KEY, NS, "x"), fields, False, False)
    assert taken_in(catalogue, [row], b"another!") == [row]
    with pytest.raises(CorruptData):
        taken_in(catalogue, [row, row], b"another!")
    with pytest.raises(CorruptData):
        taken_in(catalogue, [row._replace(fields={**fields, **wrong})], b"another!")


@pytest.mark.parametrize(
    "data",
    [
        DEEP,
        encode_change(Revision(1 << 63, 0), []),
        encode_change(Revision(-1, 0), []),
        encode_change(
            Revision(1 << 40, 1),
            [Row(named_key(QUEUE_KEY, NS, "x"), {"log_id": b"l" * 16, "auto_delete": False, "arguments": {"x": msgspec.msgpack.Ext(1, b"zz")}})],
        ),
    ],
    ids=range(4),
)
def test_what_does_not_decode_ends_the_start(data):
    cluster = Cluster(2)
    cluster.settle()
    other = cluster.processes[1]
    with pytest.raises(CorruptData):
        other.following.frame(other.links["w0"], f.Snapshot(data))
