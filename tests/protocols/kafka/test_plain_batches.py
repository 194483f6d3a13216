"""Which large batches are checked at once, and which beside the loop."""

from __future__ import annotations

import kafka_batches
import pytest
from kafka_bench import Client, produce

from entrepot.protocols.kafka.record_batch import LARGE_BYTES, PLAIN_BYTES, PLAIN_ELEMENTS_MAX


def plain(count, headers, size):
    """`count` records of no compression with so many headers each, `size` octets in all or a few more."""
    each = max(0, (size - 61) // count - 12 - 3 * headers)
    return kafka_batches.batch(
        [kafka_batches.record(value=bytes(each), headers=[(b"h", b"")] * headers, delta=number) for number in range(count)], kafka_batches.NONE
    )


@pytest.mark.parametrize(
    ("count", "headers", "size", "is_elsewhere"),
    [
        (1_000, 0, 2 * LARGE_BYTES, False),
        (PLAIN_ELEMENTS_MAX, 0, 2 * LARGE_BYTES, False),
        (PLAIN_ELEMENTS_MAX // 2, 1, 2 * LARGE_BYTES, False),
        (PLAIN_ELEMENTS_MAX // 2 + 1, 1, 2 * LARGE_BYTES, True),
        (PLAIN_ELEMENTS_MAX + 1, 0, 2 * LARGE_BYTES, True),
        (1, PLAIN_ELEMENTS_MAX, 2 * LARGE_BYTES, True),
        (1, PLAIN_ELEMENTS_MAX - 1, 2 * LARGE_BYTES, False),
        (1_000, 0, PLAIN_BYTES + 20_000, True),
    ],
)
def test_a_plain_batch_of_few_records_is_checked_at_once(count, headers, size, is_elsewhere):
    elsewhere = []
    client = Client(elsewhere=lambda run, done: elsewhere.append((run, done)))
    large = plain(count, headers, size)
    assert len(large) > LARGE_BYTES
    assert (len(large) > PLAIN_BYTES) == (size > PLAIN_BYTES)
    client.send(0, 9, produce({"t": {0: large}}))
    while client.turn():
        pass
    assert (len(elsewhere), len(client.port.calls)) == ((1, 0) if is_elsewhere else (0, 1))
