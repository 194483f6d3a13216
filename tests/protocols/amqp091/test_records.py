"""The entry codec: walking, what the broker asks of a record, and records that are changed."""

from __future__ import annotations

from typing import Any

import pytest
from amqp_streams import EVERYTHING, HEADERS, PROPERTIES
from amqp_wire import PERSISTENT, entry, longstr, record, route, table
from pika.spec import BasicProperties

from both_modes import both
from entrepot.broker.logs.entry_codec import DeadLetter
from entrepot.protocols.amqp091 import records, rewriting

BELOW = "entrepot.protocols.amqp091.properties"
mode = pytest.mark.parametrize("module", both("entrepot.protocols.amqp091.records", BELOW), ids=["installed", "interpreted"])
CODEC = records.AmqpEntryCodec()
ADDRESS = route(b"ex", b"key")


def properties(**values: Any) -> bytes:
    return b"".join(BasicProperties(**values).encode())


def expiring(text: str) -> bytes:
    return record(properties(expiration=text), b"body")


def read(packed: bytes) -> BasicProperties:
    size = int.from_bytes(packed[:4], "big")
    result = BasicProperties()
    result.decode(packed[8 : 8 + size])
    return result


def letter(reason: str = "expired", queue: str = "q1", routing_key: str | None = None, exchange: str = "dlx") -> DeadLetter:
    return DeadLetter(namespace="public/default", queue=queue, reason=reason, exchange=exchange, routing_key=routing_key, time_ms=1_700_000_000_999)


@mode
def test_walking(module: Any) -> None:
    codec = module.AmqpEntryCodec()
    assert codec.tag == 2
    packed = [record(PERSISTENT, b"a"), record(HEADERS, b""), record(EVERYTHING, bytes(300))]
    data = codec.prefix(ADDRESS) + b"".join(packed)
    start = codec.start(data)
    assert codec.address(data) == ADDRESS
    assert data[start:] == b"".join(packed)
    assert module.count_records(data, start) == 3
    assert codec.split(data, start, 3) == packed
    second = start + len(packed[0])
    assert module.positions(data, start, 3) == [start, second, second + len(packed[1])]
    assert codec.skip(data, start, 1) == second
    assert codec.skip(data, start, 3) == len(data)
    assert codec.body_bytes(data, start, 3) == 301
    with pytest.raises(IndexError):
        codec.skip(data, start, 4)
    with pytest.raises(IndexError):
        module.count_records(data[:-1], start)


@mode
@pytest.mark.parametrize("sizes", [(0xFFFFFFF8, 0), (0, 0xFFFFFFF8), (0xFFFFFFFF, 0xFFFFFFFF), (0x80000000, 0x7FFFFFF8)])
def test_damaged_sizes_do_not_wrap(module: Any, sizes: tuple[int, int]) -> None:
    data = b"".join(size.to_bytes(4, "big") for size in sizes) + bytes(20)
    codec = module.AmqpEntryCodec()
    assert codec.skip(data, 0, 1) == 8 + sum(sizes)
    for walk in (lambda: module.count_records(data, 0), lambda: codec.skip(data, 0, 2), lambda: codec.body_bytes(data, 0, 2), lambda: codec.split(data, 0, 1)):
        with pytest.raises(IndexError):
            walk()


@mode
@pytest.mark.parametrize(
    ("text", "ttl"),
    [
        *[("0", 0), ("60000", 60_000), ("4294967296", 4294967296), ("315360000000", 315_360_000_000), ("+5", 5), ("-0", 0), ("0" * 250 + "7", 7)],
        *[("315360000001", -1), ("", -1), ("+", -1), ("abc", -1), ("-1", -1), ("1.5", -1), ("+-5", -1), ("9" * 255, -1)],
    ],
)
def test_time_to_live(module: Any, text: str, ttl: int) -> None:
    assert module.AmqpEntryCodec().time_to_live_ms(expiring(text), 0) == ttl


@mode
def test_expired_records_are_counted_to_the_first_that_is_not(module: Any) -> None:
    codec = module.AmqpEntryCodec()
    data = expiring("5") + expiring("10") + expiring("100") + expiring("1") + record(PERSISTENT, b"")
    assert [codec.expired_count(data, 0, 5, age) for age in (0, 4, 5, 9, 10, 99, 100, 10**15)] == [0, 0, 1, 1, 2, 2, 4, 4]
    assert codec.expired_count(data, 0, 1, 100) == 1
    assert codec.time_to_live_ms(record(PERSISTENT, b""), 0) == -1


def test_headers_and_further_keys() -> None:
    data = record(properties(headers={"CC": ["a", "b", 3], "BCC": ["c"], "n": {"x": [1, None]}, "s": "t"}), b"")
    assert CODEC.headers(data, 0) == {"CC": ["a", "b", 3], "BCC": ["c"], "n": {"x": [1, None]}, "s": "t"}
    assert CODEC.further_keys(data, 0) == ["a", "b", "c"]
    assert CODEC.headers(record(PERSISTENT, b""), 0) == {}
    assert CODEC.further_keys(record(PERSISTENT, b""), 0) == []
    stripped, hidden = CODEC.without_hidden_keys(data)
    assert read(stripped).headers == {"CC": ["a", "b", 3], "n": {"x": [1, None]}, "s": "t"}
    assert hidden == b"A\x00\x00\x00\x06S\x00\x00\x00\x01c"
    again, nothing = CODEC.without_hidden_keys(stripped)
    assert again is stripped
    assert nothing == b""


def test_an_entry_keeps_the_hidden_keys_of_its_record_to_itself() -> None:
    packed = record(properties(headers={"n": 1}), b"body")
    hidden = b"A\x00\x00\x00\x06S\x00\x00\x00\x01c"
    address = route(b"exchange", b"key")
    data = CODEC.hiding_prefix(address, hidden) + packed
    assert data.hex() == (  # docs/formats/amqp091-entry.md
        "02000d0865786368616e6765036b65790000000b4100000006530000000163"
        "0000000d00000004200000000007016e4900000001" + b"body".hex()
    )  # fmt: skip
    assert CODEC.address(data) == address
    assert CODEC.split(data, CODEC.start(data), 1) == [packed]
    without = CODEC.prefix(address) + packed
    assert CODEC.to_record_batch(data, 0, 0) == CODEC.to_record_batch(without, 0, 0)
    letter = DeadLetter("ns", "q", "rejected", "dlx", None, 0)
    to, dead = CODEC.dead_letter(data, packed, letter) or (b"", b"")
    assert to == route(b"dlx", b"key")
    assert CODEC.further_keys(dead, 0) == ["c"]
    _, dead = CODEC.dead_letter(data, packed, DeadLetter("ns", "q", "rejected", "dlx", "other", 0)) or (b"", b"")
    assert CODEC.further_keys(dead, 0) == []


@pytest.mark.parametrize("listed", PROPERTIES)
def test_a_record_comes_together_as_it_was(listed: bytes) -> None:
    packed = record(listed, b"body")
    assert rewriting.take_apart(packed).packed() == packed


def test_delivery_count() -> None:
    once = CODEC.mark_delivery_count(record(EVERYTHING, b"body"), 1)
    twice = CODEC.mark_delivery_count(once, 2)
    assert read(once).headers["x-delivery-count"] == 1
    assert read(twice).headers["x-delivery-count"] == 2
    assert len(twice) == len(once)
    assert read(twice).app_id == "app"
    assert read(CODEC.mark_delivery_count(record(PERSISTENT, b""), 3)).headers == {"x-delivery-count": 3}


def test_a_first_death() -> None:
    packed = record(properties(expiration="60", headers={"CC": ["other"], "mine": 1}, delivery_mode=2), b"body")
    result = CODEC.dead_letter(CODEC.prefix(ADDRESS) + packed, packed, letter())
    assert result is not None
    address, changed = result
    assert address == route(b"dlx", b"key")
    assert changed.endswith(b"body")
    after = read(changed)
    assert after.expiration is None
    assert after.delivery_mode == 2
    (death,) = after.headers.pop("x-death")
    assert int(death.pop("time").timestamp()) == 1_700_000_000
    assert death == {"count": 1, "reason": "expired", "queue": "q1", "exchange": "ex", "routing-keys": ["key", "other"], "original-expiration": "60"}
    expected = {f"x-{which}-death-{what}": value for which in ("first", "last") for what, value in (("reason", "expired"), ("queue", "q1"), ("exchange", "ex"))}
    assert after.headers == {"CC": ["other"], "mine": 1, **expected}


def test_later_deaths() -> None:
    packed = record(PERSISTENT, b"body")
    data = CODEC.prefix(ADDRESS)
    for reason, queue in (("rejected", "q1"), ("maxlen", "q2"), ("rejected", "q1"), ("expired", "q1")):
        result = CODEC.dead_letter(data, packed, letter(reason, queue, "new"))
        assert result is not None
        address, packed = result
        data = CODEC.prefix(address)
    assert address == route(b"dlx", b"new")
    headers = read(packed).headers
    assert [(death["queue"], death["reason"], death["count"]) for death in headers["x-death"]] == [
        ("q1", "expired", 1),
        ("q1", "rejected", 2),
        ("q2", "maxlen", 1),
    ]
    assert (headers["x-first-death-queue"], headers["x-first-death-reason"], headers["x-first-death-exchange"]) == ("q1", "rejected", "ex")
    assert headers["x-death"][0]["exchange"] == "dlx"
    assert (headers["x-last-death-queue"], headers["x-last-death-reason"], headers["x-last-death-exchange"]) == ("q1", "expired", "dlx")


def test_a_routing_key_of_its_own_takes_the_copies_away() -> None:
    packed = record(properties(headers={"CC": ["other"]}), b"")
    result = CODEC.dead_letter(CODEC.prefix(ADDRESS) + packed, packed, letter(routing_key="dead"))
    assert result is not None
    assert result[0] == route(b"dlx", b"dead")
    assert "CC" not in read(result[1]).headers


def test_a_circle_without_rejection_ends() -> None:
    packed = record(PERSISTENT, b"body")
    data = CODEC.prefix(ADDRESS)
    result = CODEC.dead_letter(data, packed, letter("expired", "q1"))
    assert result is not None
    once = result[1]
    assert rewriting.is_cycle(once, b"q1")
    assert not rewriting.is_cycle(once, b"q2")
    assert CODEC.is_cycle(once, "q1")
    result = CODEC.dead_letter(data, once, letter("rejected", "q1"))
    assert result is not None
    assert not CODEC.is_cycle(result[1], "q1")


@pytest.mark.parametrize("forged", [b"S" + longstr(b"x"), b"A" + table(b"I" + bytes(4)), b"A" + table(b"F" + table(entry(b"queue", b"V", b""))), b"V"])
def test_a_made_up_death_does_no_harm(forged: bytes) -> None:
    packed = record(b"\x20\x00" + table(b"\x07x-death" + forged), b"")
    result = CODEC.dead_letter(CODEC.prefix(ADDRESS) + packed, packed, letter())
    assert result is not None
    assert read(result[1]).headers["x-death"][0]["queue"] == "q1"
