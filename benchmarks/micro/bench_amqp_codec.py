"""Nanoseconds a message of the AMQP 0-9-1 codec, best of several rounds: `python benchmarks/micro/bench_amqp_codec.py`.

Budgets at 100 B: decode 100 ns, delivery 60 ns, acknowledgement 20 ns, to and from a record batch 500 ns each.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from entrepot.model.batch import RecordBatch
from entrepot.protocols.amqp091 import codec
from entrepot.protocols.amqp091.codec import Decoder
from entrepot.protocols.amqp091.events import PROTOCOL_HEADER, PublishRun
from entrepot.protocols.amqp091.output import OFFSET_HEADER, Output, deliver_template
from entrepot.protocols.amqp091.records import AmqpEntryCodec
from entrepot.protocols.amqp091.translation import from_batch, to_batch

ROUNDS = 15
READ_BYTES = 64 * 1024
PERSISTENT = b"\x10\x00\x02"
HEADERS = b"\x30\x00" + (23).to_bytes(4, "big") + b"\x05traceS" + (12).to_bytes(4, "big") + b"0123456789ab" + b"\x02"
TYPICAL = b"\xb8\x80" + b"\x10application/json" + HEADERS[2:-1] + b"\x02\x00" + b"\x24" + b"0f0e0d0c-0b0a-0908-0706-050403020100"


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return bytes([kind]) + channel.to_bytes(2, "big") + len(payload).to_bytes(4, "big") + payload + b"\xce"


def message(key: bytes, properties: bytes, body: bytes, frame_max: int = 131072) -> bytes:
    step = frame_max - 8
    bodies = b"".join(frame(3, 1, body[at : at + step]) for at in range(0, len(body), step))
    return frame(1, 1, b"\x00\x3c\x00\x28\x00\x00" + key + b"\x00") + frame(2, 1, b"\x00\x3c\x00\x00" + len(body).to_bytes(8, "big") + properties) + bodies


def best(work: Callable[[], int]) -> float:
    """Nanoseconds per item of work(), which returns how many items it did."""
    figures = []
    for _ in range(ROUNDS):
        started = time.perf_counter_ns()
        count = work()
        figures.append((time.perf_counter_ns() - started) / count)
    return min(figures)


def decode(stream: bytes, count: int) -> Callable[[], int]:
    decoder = Decoder()
    decoder.push(PROTOCOL_HEADER)

    def work() -> int:
        pos = 0
        size = len(stream)
        while pos < size:
            room = decoder.writable()
            step = min(len(room), READ_BYTES, size - pos)
            room[:step] = stream[pos : pos + step]
            del room
            for event in decoder.feed(step):
                assert not isinstance(event, Exception), event
            pos += step
        return count

    return work


def deliver(run: PublishRun, times: int, stream: bool = False) -> Callable[[], int]:
    template, tag_at = deliver_template(b"ctag1.0123456789abcdef", False, run.key, 1)
    output = Output()

    def work() -> int:
        for _ in range(times):
            if stream:
                output.deliver_numbered(run.data, 0, run.count, template, tag_at, 1, 1, 131072, OFFSET_HEADER, 0, 1)
            else:
                output.deliver(run.data, 0, run.count, template, tag_at, 1, 1, 131072)
            output.take()
        return run.count * times

    return work


def translate(entry: bytes, count: int) -> Callable[[], int]:
    def work() -> int:
        for _ in range(10):
            to_batch(entry)
        return 10 * count

    return work


def translate_back(batch: RecordBatch) -> Callable[[], int]:
    def work() -> int:
        for _ in range(10):
            from_batch(batch, b"\x00\x05queue")
        return 10 * batch.count

    return work


def acks(multiple: bool) -> Callable[[], int]:
    output = Output()

    def work() -> int:
        for _ in range(100):
            for tag in range(1, 201):
                output.ack(1, tag, multiple)
            output.take_joined()
        return 20_000

    return work


def show(name: str, figure: float) -> None:
    print(f"{name:<58} {figure:9.1f} ns")


def main() -> None:
    print("mode:", "interpreted" if Path(codec.__file__).suffix == ".py" else "compiled")
    key = b"\x00\x05queue"
    for label, properties, body, count in (
        ("16 B, delivery mode", PERSISTENT, bytes(16), 20_000),
        ("100 B, delivery mode", PERSISTENT, bytes(100), 20_000),
        ("100 B, no properties", b"\x00\x00", bytes(100), 20_000),
        ("100 B, one header", HEADERS, bytes(100), 20_000),
        ("100 B, type, header, mode, message id", TYPICAL, bytes(100), 20_000),
        ("1 KiB, delivery mode", PERSISTENT, bytes(1024), 5_000),
        ("64 KiB, delivery mode", PERSISTENT, bytes(65536), 200),
        ("1 MiB, delivery mode", PERSISTENT, bytes(1 << 20), 20),
    ):
        stream = message(key, properties, body) * count
        show(f"decode {label}", best(decode(stream, count)))
        decoder = Decoder()
        decoder.push(PROTOCOL_HEADER)
        run = decoder.push(stream)[-1]
        assert isinstance(run, PublishRun)
        show(f"deliver {label}", best(deliver(run, max(1, count // run.count))))
        if len(body) == 100:
            entry = AmqpEntryCodec().prefix(run.key) + run.data
            batch = to_batch(entry)
            show(f"to record batch {label}", best(translate(entry, run.count)))
            show(f"from record batch {label}", best(translate_back(batch)))
            show(f"deliver as a stream {label}", best(deliver(run, max(1, count // run.count), stream=True)))
    distinct = b"".join(message(key, TYPICAL[:-4] + b"%04d" % number, bytes(100)) for number in range(10_000))
    show("decode 100 B, every message id different", best(decode(distinct, 10_000)))
    routes = b"".join(message(b"\x00\x05q%04d" % (number % 50), PERSISTENT, bytes(100)) for number in range(10_000))
    show("decode 100 B, every routing key different (runs of one)", best(decode(routes, 10_000)))
    single = b"".join(frame(1, 1, b"\x00\x3c\x00\x50" + tag.to_bytes(8, "big") + b"\x00") for tag in range(1, 20_001))
    show("decode basic.ack, one range", best(decode(single, 20_000)))
    alternating = b"".join(frame(1, 1, b"\x00\x3c\x00\x50" + tag.to_bytes(8, "big") + b"\x00") for tag in range(1, 20_001, 2))
    show("decode basic.ack, no two in order", best(decode(alternating, 10_000)))
    show("confirm (called from Python)", best(acks(False)))


if __name__ == "__main__":
    main()
