"""Nanoseconds a message of the MQTT codec, best of several rounds: `python benchmarks/micro/bench_mqtt_codec.py`.

Budgets at 100 B: decode 100 ns, delivery 60 ns, acknowledgement 20 ns, to and from a record batch 500 ns each; where the codec is compiled.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from entrepot.protocols.mqtt import codec
from entrepot.protocols.mqtt.codec import Decoder
from entrepot.protocols.mqtt.output import Output, make_template
from entrepot.protocols.mqtt.packing import pack_record
from entrepot.protocols.mqtt.properties import binary, variable
from entrepot.protocols.mqtt.records import MqttEntryCodec
from entrepot.protocols.mqtt.translation import from_batch, to_batch

ROUNDS = 15
COUNT = 20_000
READ_BYTES = 64 * 1024
USER = b"\x26" + binary(b"unit") + binary(b"C")
EXPIRY = b"\x02\x00\x00\x00\x3c"
TOPIC = b"sensors/room/7"
ADDRESS = b"\x09amq.topic\x0esensors.room.7"


def best(work: Callable[[], int]) -> float:
    """Nanoseconds per item of work(), which returns how many items it did."""
    figures = []
    for _ in range(ROUNDS):
        started = time.perf_counter_ns()
        count = work()
        figures.append((time.perf_counter_ns() - started) / count)
    return min(figures)


def packet(first: int, rest: bytes) -> bytes:
    return bytes((first,)) + variable(len(rest)) + rest


def publish(number: int, qos: int, properties: bytes | None, topic: bytes = TOPIC) -> bytes:
    listed = b"" if properties is None else variable(len(properties)) + properties
    packet_id = (number % 65_535 + 1).to_bytes(2, "big") if qos else b""
    return packet(0x30 | qos << 1, binary(topic) + packet_id + listed + bytes(100))


def decode(version: int, packets: list[bytes]) -> Callable[[], int]:
    decoder = Decoder()
    decoder.push(packet(0x10, binary(b"MQTT") + bytes((version, 2, 0, 60)) + (b"\0" if version == 5 else b"") + binary(b"c")))
    decoder.accept(256 * 1024, None, 10)
    stream = b"".join(packets)

    def work() -> int:
        pos = 0
        while pos < len(stream):
            room = decoder.writable()
            step = min(len(room), READ_BYTES, len(stream) - pos)
            room[:step] = stream[pos : pos + step]
            del room
            for event in decoder.feed(step):
                assert not isinstance(event, Exception), event
            while decoder.more:
                decoder.feed(0)
            pos += step
        return len(packets)

    return work


def deliver(qos: int, version: int, properties: bytes) -> Callable[[], int]:
    data = pack_record(qos, -1, properties, bytes(100)) * 500
    template, output = make_template(TOPIC, qos, version == 5), Output()

    def work() -> int:
        for _ in range(COUNT // 500):
            output.deliver(data, 0, 500, template, 1 if qos else 0, 0)
            output.take()
        return COUNT

    return work


def acknowledge() -> int:
    output, ids = Output(), b"".join(number.to_bytes(2, "big") for number in range(1, 1001))
    for _ in range(COUNT // 1000):
        output.acks(4, ids, 0)
        output.take()
    return COUNT


def main() -> None:
    print("interpreted" if Path(codec.__file__).suffix == ".py" else "compiled")
    acks = [packet(0x40, (number % 65_535 + 1).to_bytes(2, "big")) for number in range(COUNT)]
    entry = MqttEntryCodec().prefix(ADDRESS) + pack_record(1, 60, USER, bytes(100)) * 500
    batch = to_batch(entry)

    def to() -> int:
        return len(to_batch(entry)) and 500

    def back() -> int:
        return len(from_batch(batch, ADDRESS)) and 500

    for name, work in {
        "decode 3.1.1, QoS 0": decode(4, [publish(number, 0, None) for number in range(COUNT)]),
        "decode 3.1.1, QoS 1": decode(4, [publish(number, 1, None) for number in range(COUNT)]),
        "decode 3.1.1, two topics in turn": decode(4, [publish(number, 0, None, TOPIC + b"%d" % (number % 2)) for number in range(COUNT)]),
        "decode 5, QoS 1": decode(5, [publish(number, 1, b"") for number in range(COUNT)]),
        "decode 5, user property": decode(5, [publish(number, 1, USER) for number in range(COUNT)]),
        "decode 5, expiry": decode(5, [publish(number, 1, EXPIRY) for number in range(COUNT)]),
        "decode acknowledgements": decode(4, acks),
        "deliver 3.1.1, QoS 0": deliver(0, 4, b""),
        "deliver 3.1.1, QoS 1": deliver(1, 4, b""),
        "deliver 5, QoS 1, user property": deliver(1, 5, USER),
        "acknowledge": acknowledge,
        "to a record batch": to,
        "from a record batch": back,
    }.items():
        print(f"{name:34}{best(work):9.1f} ns")


if __name__ == "__main__":
    main()
