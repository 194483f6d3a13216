"""Builds AMQP 0-9-1 frames by hand, for the tests of this folder."""

from __future__ import annotations

PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"
PERSISTENT = b"\x10\x00\x02"


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return bytes([kind]) + channel.to_bytes(2, "big") + len(payload).to_bytes(4, "big") + payload + b"\xce"


def short(text: bytes) -> bytes:
    return bytes([len(text)]) + text


def route(exchange: bytes, routing_key: bytes) -> bytes:
    return short(exchange) + short(routing_key)


def publish_method(channel: int, key: bytes, bits: int = 0) -> bytes:
    return frame(1, channel, b"\x00\x3c\x00\x28\x00\x00" + key + bytes([bits]))


def content_header(channel: int, body_size: int, properties: bytes = b"\x00\x00") -> bytes:
    return frame(2, channel, b"\x00\x3c\x00\x00" + body_size.to_bytes(8, "big") + properties)


def bodies(channel: int, body: bytes, step: int = 131064) -> bytes:
    return b"".join(frame(3, channel, body[at : at + step]) for at in range(0, len(body), step))


def publish(channel: int, key: bytes, body: bytes, properties: bytes = b"\x00\x00", bits: int = 0, step: int = 131064) -> bytes:
    return publish_method(channel, key, bits) + content_header(channel, len(body), properties) + bodies(channel, body, step)


def settle(channel: int, method: int, tag: int, bits: int = 0) -> bytes:
    return frame(1, channel, b"\x00\x3c" + method.to_bytes(2, "big") + tag.to_bytes(8, "big") + bytes([bits]))


def ack(channel: int, tag: int, multiple: bool = False) -> bytes:
    return settle(channel, 80, tag, int(multiple))


def record(properties: bytes, body: bytes) -> bytes:
    return len(properties).to_bytes(4, "big") + len(body).to_bytes(4, "big") + properties + body


def table(*entries: bytes) -> bytes:
    data = b"".join(entries)
    return len(data).to_bytes(4, "big") + data


def entry(name: bytes, kind: bytes, value: bytes) -> bytes:
    return short(name) + kind + value


def longstr(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value
