"""What a queue with priorities asks of each protocol's entries: records by their priorities, whichever way these are said."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from both_modes import examples
from entrepot.broker.logs.entry_codec import EntryCodec
from entrepot.model import batch as neutral
from entrepot.model.batch import BatchBuilder
from entrepot.protocols.amqp091.records import AmqpEntryCodec
from entrepot.protocols.mqtt.records import MqttEntryCodec
from entrepot.protocols.sqs.records import SqsEntryCodec
from entrepot.protocols.stomp.records import StompEntryCodec, priority_in

CODECS = (AmqpEntryCodec(), StompEntryCodec(), SqsEntryCodec(), MqttEntryCodec())
PRIORITIES = st.lists(st.one_of(st.none(), st.integers(0, 255), st.integers(0, 3)), min_size=1, max_size=30)


def packed(codec: EntryCodec, priorities: list[int | None]) -> bytes:
    """Records with these, as a codec has them."""
    builder = BatchBuilder()
    for place, priority in enumerate(priorities):
        builder.begin()
        if priority is not None:
            builder.octet(neutral.PRIORITY, priority)
        body = b"%d" % place
        builder.octets(neutral.VALUE, body, 0, len(body))
        builder.end()
    data = codec.from_record_batch(builder.build(), 0, 0, b"\0\1q")
    return data[codec.start(data) :]


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: type(codec).__name__)
@given(priorities=PRIORITIES, top=st.integers(1, 255))
@settings(max_examples=examples(60), deadline=None)
def test_each_record_to_its_level_and_in_order(codec: EntryCodec, priorities: list[int | None], top: int) -> None:
    data = packed(codec, priorities)
    expected: dict[int, list[bytes]] = {}
    for priority, record in zip(priorities, codec.split(data, 0, len(priorities)), strict=True):
        expected.setdefault(min(priority or 0, top), []).append(record)
    found = {number: (records, count) for number, records, count in codec.by_priority(data, len(priorities), top)}
    assert found == {number: (b"".join(records), len(records)) for number, records in expected.items()}


@pytest.mark.parametrize(
    ("block", "priority"),
    [
        (b"priority:7\n", 7),
        (b"a:b\npriority:7\nc:d\n", 7),
        (b"priority:7\npriority:8\n", 7),  # of repeated headers the first counts
        (b"x-priority:7\n", 0),
        (b"a:priority:7\n", 0),
        (b"priority:\n", 0),
        (b"priority:256\n", 0),
        (b"priority:-1\n", 0),
        (b"priority: 1\n", 0),
        (b"priority:1" + b"0" * 5000 + b"\n", 0),
        (b"priority:007\n", 7),
        (b"", 0),
    ],
)
def test_a_header_of_stomp(block: bytes, priority: int) -> None:
    assert priority_in(block) == priority
