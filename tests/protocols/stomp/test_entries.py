"""Entries of SENDs: what the broker asks of them, damage, changed records, and both ways of translation."""

from __future__ import annotations

import json
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stomp_records import CODEC, NONE, NOW_MS, QUEUE, Seen, block, message
from stomp_wire import entry, record, records_of, route

from both_modes import both, examples
from entrepot.broker.logs.entry_codec import DeadLetter
from entrepot.model.batch import BatchBuilder, RecordBatch
from entrepot.protocols.amqp091.records import AmqpEntryCodec
from entrepot.protocols.kafka.records import KafkaEntryCodec
from entrepot.protocols.sqs.records import SqsEntryCodec
from entrepot.protocols.stomp import translation

texts = st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), max_size=10)
messages = st.tuples(
    st.lists(st.tuples(texts.filter(bool), texts), max_size=5), st.binary(max_size=30), st.one_of(st.none(), st.integers(0, 2**50)), st.integers(0, 3)
)


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(messages, min_size=1, max_size=6), st.data())
def test_what_the_broker_asks(made: list[Any], data: st.DataObject) -> None:
    packed = [record(block(*headers), body, bits=bits, ttl=ttl) for headers, body, ttl, bits in made]
    for module in both("entrepot.protocols.stomp.records"):
        codec = module.StompEntryCodec()
        whole = codec.prefix(QUEUE) + b"".join(packed)
        start = codec.start(whole)
        assert codec.address(whole) == QUEUE
        assert codec.skip(whole, start, len(packed)) == len(whole)
        assert codec.split(whole, start, len(packed)) == packed
        assert codec.body_bytes(whole, start, len(packed)) == sum(len(body) for _, body, _, _ in made)
        at = start
        for one, (headers, _, ttl, _) in zip(packed, made, strict=True):
            assert codec.time_to_live_ms(whole, at) == (-1 if ttl is None else ttl)
            assert codec.headers(whole, at) == dict(reversed(headers))
            at += len(one)
        age = data.draw(st.integers(0, 2**50))
        expired = next((index for index, (_, _, ttl, _) in enumerate(made) if ttl is None or ttl > age), len(made))
        assert codec.expired_count(whole, start, len(made), age) == expired
        room = data.draw(st.integers(0, 60))
        sizes = [len(body) for _, body, _, _ in made]
        assert codec.fitting_count(whole, start, len(made), room) == max(count for count in range(len(made) + 1) if sum(sizes[:count]) <= room)
        assert codec.larger_count(whole, start, len(made), room) == next((index for index, size in enumerate(sizes) if size <= room), len(made))


@pytest.mark.parametrize("cut", range(1, 40))
def test_damage_is_an_error(cut: int) -> None:
    data = message("k:v", ttl=5)
    for module in both("entrepot.protocols.stomp.records"):
        with pytest.raises((IndexError, ValueError)):
            module.StompEntryCodec().skip(data[: len(data) - cut], CODEC.start(data), 1)


def test_the_format_stays() -> None:
    """docs/formats/stomp-entry.md: what is on disks already is read like this."""
    golden = bytes.fromhex("01000300016100000012000000020700000000000002bc") + b"destination:a\nk:v\nhi"
    assert CODEC.prefix(route(b"", b"a")) == golden[:6]
    assert list(records_of(golden[CODEC.start(golden) :])) == [(b"destination:a\nk:v\n", b"hi", 7, 700)]
    assert CODEC.skip(golden, CODEC.start(golden), 1) == len(golden)


def test_a_value_is_cut_out_and_put_in() -> None:
    data = message("k:v", body=b"large" * 100, ttl=5)
    found = CODEC.without_value(data)
    assert found is not None
    empty, at, size = found
    assert data[at : at + size] == b"large" * 100
    assert empty == message("k:v", body=b"", ttl=5)
    assert CODEC.takes_value()
    assert CODEC.with_value(empty, data, at, size) == data
    assert CODEC.without_value(data + record(block(), b"")) is None


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(messages, min_size=1, max_size=4))
def test_every_other_protocol_has_a_form_of_it_and_back(made: list[Any]) -> None:
    whole = CODEC.prefix(QUEUE) + b"".join(record(block(*headers), body, bits=bits, ttl=ttl) for headers, body, ttl, bits in made)
    batch = CODEC.to_record_batch(whole, 7, NOW_MS)
    assert batch is not None
    for other in (AmqpEntryCodec(), KafkaEntryCodec(), SqsEntryCodec()):
        there = other.from_record_batch(batch, 7, NOW_MS, QUEUE)
        middle = other.to_record_batch(there, 7, NOW_MS)
        assert middle is not None
        again = CODEC.from_record_batch(middle, 7, NOW_MS, QUEUE)
        bodies = [body for _, body, _, _ in records_of(again[CODEC.start(again) :])]
        assert bodies == [body for _, body, _, _ in made]


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.tuples(st.text("abcxyz-é:\\\n\r", min_size=1, max_size=6), texts), max_size=5, unique_by=lambda header: header[0]), st.binary(max_size=20))
def test_through_amqp_and_back_a_message_is_as_it_was(headers: list[tuple[str, str]], body: bytes) -> None:
    amqp = AmqpEntryCodec()
    batch = CODEC.to_record_batch(message(*headers, "persistent:true", body=body, bits=3), 0, NOW_MS)
    assert batch is not None
    middle = amqp.to_record_batch(amqp.from_record_batch(batch, 0, NOW_MS, NONE), 0, NOW_MS)
    assert middle is not None
    seen = Seen(CODEC.from_record_batch(middle, 0, NOW_MS, NONE))
    assert seen.headers == {"destination": "/queue/q", "persistent": "true", **dict(headers)}
    assert (seen.body, seen.bits) == (body, 3)


PROPERTIES = ["content-type", "content-encoding", "correlation-id", "type", "priority", "persistent", "expires", "reply-to", "x-key", "timestamp"]
RARE = ["JMSXGroupID", "x-group-id", "user-id", "app-id", "cluster-id", "amqp-message-id", "x-null-value", "x-key-base64", "x-death", "subscription"]
plain_names = st.sampled_from([*PROPERTIES, *RARE, "a", "b", "c", "d:e"])
plain_texts = st.one_of(st.text("abc19", max_size=3), st.sampled_from(["7", "10", "true", "a:b", "a\\b", "\u00e9", "/queue/a", "1700000000000", "256"]))
plain_pairs = st.lists(st.tuples(plain_names, plain_texts), max_size=6)
plain_messages = st.tuples(plain_pairs, st.binary(max_size=5), st.one_of(st.none(), st.integers(0, 9)), st.integers(0, 3))


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(plain_messages, min_size=1, max_size=4))
def test_the_short_way_is_the_long_way(made: list[Any]) -> None:
    data = CODEC.prefix(QUEUE) + b"".join(record(block(*headers), body, bits=bits, ttl=ttl) for headers, body, ttl, bits in made)
    for module in both("entrepot.protocols.stomp.plain_records"):
        batches = []
        for short in (module.plain_to, lambda *_: -1):
            with patch.object(translation, "plain_to", short):
                batches.append(translation.to_batch(data))
        assert batches[0] == batches[1]
        through = AmqpEntryCodec().to_record_batch(AmqpEntryCodec().from_record_batch(batches[0], 0, NOW_MS, QUEUE), 0, NOW_MS)
        for batch in (batches[0], through):
            assert batch is not None
            entries = []
            for short in (module.plain_from, lambda *_: None):
                with patch.object(translation, "plain_from", short):
                    entries.append(translation.from_batch(RecordBatch(batch), NOW_MS, QUEUE))
            assert entries[0] == entries[1]


def test_what_is_usual_goes_the_short_way() -> None:
    data = message("content-type:text/plain", "priority:4", "persistent:true", "colour:green", "correlation-id:7", bits=3)
    batch = CODEC.to_record_batch(data, 0, NOW_MS)
    assert batch is not None
    for module in both("entrepot.protocols.stomp.plain_records"):
        assert module.plain_to(BatchBuilder(), data, CODEC.start(data), b"origin") == len(data)
        assert module.plain_from(batch, 8, NOW_MS, b"") is not None


# ---- changed records


def letter(queue: str = "q", reason: str = "rejected", key: str | None = None) -> DeadLetter:
    return DeadLetter("public/default", queue, reason, "dlx", key, NOW_MS)


def test_a_dead_letter() -> None:
    data = message("k:v", "expires:5", body=b"v", ttl=5)
    one = CODEC.split(data, CODEC.start(data), 1)[0]
    found = CODEC.dead_letter(data, one, letter(reason="expired"))
    assert found is not None
    address, again = found
    assert address == route(b"dlx", b"q")
    seen = Seen(entry(address, again))
    assert (seen.body, seen.ttl, seen.headers["destination"], seen.headers["original-destination"]) == (b"v", -1, "/exchange/dlx/q", "/queue/q")
    (death,) = json.loads(seen.headers["x-death"])
    assert death == {
        "count": 1, "reason": "expired", "queue": "q", "time": NOW_MS // 1000, "exchange": "", "routing-keys": ["q"], "original-expiration": "5",
    }  # fmt: skip
    assert "expires" not in seen.headers
    assert seen.headers["x-first-death-queue"] == "q"
    assert CODEC.is_cycle(again, "q")
    assert not CODEC.is_cycle(again, "other")
    assert CODEC.source_of(entry(address, again), CODEC.start(entry(address, again))) == "q"
    more = CODEC.dead_letter(entry(address, again), again, letter(reason="expired", key="elsewhere"))
    assert more is not None
    assert json.loads(Seen(entry(more[0], more[1])).headers["x-death"])[0]["count"] == 2
    assert more[0] == route(b"dlx", b"elsewhere")
    rejected = CODEC.dead_letter(entry(address, again), again, letter())
    assert rejected is not None
    assert not CODEC.is_cycle(rejected[1], "q")


def test_a_dead_letter_that_cannot_be_addressed_is_dropped() -> None:
    data = message()
    assert CODEC.dead_letter(data, CODEC.split(data, CODEC.start(data), 1)[0], letter(key="k" * 65_001)) is None


def test_moved_and_counted() -> None:
    data = message("k:v")
    one = CODEC.split(data, CODEC.start(data), 1)[0]
    moved = CODEC.moved(one, "q", -1, NOW_MS)
    assert CODEC.source_of(entry(QUEUE, moved), CODEC.start(data)) == "q"
    counted = CODEC.mark_delivery_count(CODEC.mark_delivery_count(one, 2), 3)
    assert Seen(entry(QUEUE, counted)).headers == {"destination": "/queue/q", "k": "v", "x-delivery-count": "3"}
