"""The worst batches for a topic whose subject does not take them on at once; see stalls.py."""

from __future__ import annotations

import struct

from benchmarks.system.stalls import Clients, batch, case, produce, small_records, topics, varint


def _on_by_subject(clients: Clients, records: bytes, count: int, codec: int, refuses: bool, level: int = 3) -> None:
    """A batch for a topic whose subject leads to a queue by headers, or to one that may refuse."""
    kafka, amqp = clients.kafka(), clients.amqp()
    topics(kafka, ["t"])
    limit = b"\x0cx-max-lengthI\x7f\xff\xff\xff\x0ax-overflowS\0\0\0\x0ereject-publish" if refuses else b""
    amqp.ask(50, 10, b"\0\0\x01q\0" + struct.pack(">I", len(limit)) + limit, 11)
    if refuses:
        amqp.ask(50, 20, b"\0\0\x01q\x09amq.topic\x01t\0\0\0\0\0", 21)
    else:
        amqp.ask(40, 30, b"\0\0\x0bamq.headers\x09amq.topic\x01t\0\0\0\0\0", 31)
        inside = b"\x01aS\0\0\0\x01b"
        amqp.ask(50, 20, b"\0\0\x01q\x0bamq.headers\0\0" + struct.pack(">I", len(inside)) + inside, 21)
    data = produce({"t": {0: batch(records, count, codec, level)}})
    clients.begin()
    kafka.send(data)
    kafka.answers()
    amqp.until_ready(b"q", count)


def _of_other_headers(count: int) -> bytes:
    rows = []
    for number in range(count):
        text = b"%d" % number
        body = b"\0\0" + varint(number) + b"\1\0" + varint(2) + b"\x02a\x02b\x02n" + varint(len(text)) + text
        rows.append(varint(len(body)) + body)
    return b"".join(rows)


@case("kafka produce: 10 000 records of other headers each, on by headers")
def _(clients: Clients) -> None:
    _on_by_subject(clients, _of_other_headers(10_000), 10_000, 0, False)


@case("kafka produce: 1 000 000 such records in one zstd batch")
def _(clients: Clients) -> None:
    _on_by_subject(clients, _of_other_headers(1_000_000), 1_000_000, 4, False, 19)


@case("kafka produce: 1 000 000 records in one zstd batch, on to a queue that may refuse")
def _(clients: Clients) -> None:
    _on_by_subject(clients, small_records(1_000_000), 1_000_000, 4, True)
