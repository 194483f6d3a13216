"""The tables against kio, which is made from Kafka's own schema files: every API, every version that is offered, both ways."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kio_bridge import decode_kio, encode_kio, messages, plan

from both_modes import examples
from entrepot.protocols.kafka.apis import APIS, NEVER
from entrepot.protocols.kafka.primitives import Malformed, Reader, Writer

HOT = (0, 1)  # their requests and responses have codecs of their own; the tables are used by tests alone


def written(api_key: int, version: int, side: str, values: dict[str, Any]) -> bytes:
    writer = Writer()
    plan(api_key, version, side).write(writer, values)
    return b"".join(writer.finish())[4:]


def read(api_key: int, version: int, side: str, data: bytes) -> dict[str, Any]:
    reader = Reader(bytearray(data), 0, len(data))
    values = plan(api_key, version, side).read(reader)
    reader.finish()
    return values


@pytest.mark.parametrize("side", ["request", "response"])
@pytest.mark.parametrize("key", APIS, ids=lambda key: APIS[key].name)
@given(data=st.data())
@settings(max_examples=examples(25))
def test_a_message_is_what_kafka_says_it_is(data: st.DataObject, key: int, side: str) -> None:
    api = APIS[key]
    version = data.draw(st.integers(api.least, api.most))
    values = data.draw(messages(plan(key, version, side)))
    theirs = encode_kio(key, version, side, values)
    assert read(key, version, side, theirs) == values
    assert decode_kio(key, version, side, written(key, version, side, values)) == values


@pytest.mark.parametrize("key", APIS, ids=lambda key: APIS[key].name)
def test_every_version_is_known_to_kafka_and_flexible_where_it_is_there(key: int) -> None:
    from kio_bridge import entity

    api = APIS[key]
    assert [entity(key, version, "request").__flexible__ for version in range(api.least, api.most + 1)] == [
        version >= api.flexible_from for version in range(api.least, api.most + 1)
    ]
    assert entity(key, api.most, "request").__api_key__ == key
    assert api.flexible_from == NEVER or api.flexible_from <= api.most


@pytest.mark.parametrize("key", APIS, ids=lambda key: APIS[key].name)
@given(data=st.data())
@settings(max_examples=examples(25))
def test_a_request_cut_anywhere_is_malformed(data: st.DataObject, key: int) -> None:
    api = APIS[key]
    version = data.draw(st.integers(api.least, api.most))
    whole = written(key, version, "request", data.draw(messages(plan(key, version, "request"))))
    for size in range(len(whole)):
        with pytest.raises(Malformed):
            read(key, version, "request", whole[:size])
    with pytest.raises(Malformed):
        read(key, version, "request", whole + b"\0")


@pytest.mark.parametrize("key", APIS, ids=lambda key: APIS[key].name)
@given(data=st.data())
@settings(max_examples=examples(15))
def test_any_bytes_are_read_or_malformed(data: st.DataObject, key: int) -> None:
    api = APIS[key]
    version = data.draw(st.integers(api.least, api.most))
    good = written(key, version, "request", data.draw(messages(plan(key, version, "request"))))
    damaged = bytearray(good or b"\0")
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    for bytes_ in (bytes(damaged), data.draw(st.binary(max_size=80))):
        try:
            values = read(key, version, "request", bytes_)
        except Malformed:
            continue
        assert isinstance(values, dict)


@pytest.mark.parametrize("count", [b"\x7f\xff\xff\xff", b"\x00\x0f\xff\xff", b"\xff\xff\xff\xfe"])
def test_an_array_that_claims_more_than_there_is_allocates_nothing(count: bytes) -> None:
    with pytest.raises(Malformed):
        read(3, 1, "request", count + b"\0\0")


def test_elements_of_a_request_are_limited() -> None:
    with pytest.raises(Malformed, match="elements"):
        read(16, 4, "request", b"\xc2\x9a\x0c" + bytes([1]) * 200_001 + b"\0\0")


def test_a_tagged_field_must_fill_what_it_claims() -> None:
    good = written(1, 12, "request", {"max_wait_ms": 1, "min_bytes": 1, "topics": [], "forgotten_topics_data": [], "cluster_id": "ab"})
    assert read(1, 12, "request", good)["cluster_id"] == "ab"
    assert good.endswith(b"\x01\x00\x03\x03ab")
    with pytest.raises(Malformed, match="claims"):
        read(1, 12, "request", good.replace(b"\x01\x00\x03\x03ab", b"\x01\x00\x03\x02ab"))
    assert read(1, 12, "request", good.replace(b"\x01\x00\x03\x03ab", b"\x01\x07\x03\x03ab"))["cluster_id"] is None
