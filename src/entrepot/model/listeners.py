"""LISTENERS: every address that the broker may listen at, by the name that it has in the configuration, on the command line and in the log.

The one table: the configuration's [listen], the command line's help, the lines at the start, and the hints to who came to the wrong port are made of it.
"""

from __future__ import annotations

from typing import NamedTuple

# What the first bytes of a connection may look like.
AMQP = "AMQP"
KAFKA = "Kafka"
HTTP = "HTTP"
TLS = "TLS"
PLAIN = "plain text"  # what is said where TLS is expected


class ListenerKind(NamedTuple):
    """`title`: what is spoken; `look`: which of the first three above that looks like; `address`: where it is by default, or "" for nowhere."""

    title: str
    look: str
    address: str
    scheme: str
    clients: str  # whose it is, in the lines at the start
    without_tls: str = ""  # the listener that speaks the same in the clear


LISTENERS = {
    "amqp": ListenerKind("AMQP 0-9-1", AMQP, "127.0.0.1:5672", "amqp", "RabbitMQ clients"),
    "amqps": ListenerKind("AMQP 0-9-1 over TLS", AMQP, "", "amqps", "RabbitMQ clients, TLS", "amqp"),
    "kafka": ListenerKind("Apache Kafka", KAFKA, "127.0.0.1:9092", "kafka", "Apache Kafka clients; behind another address or port: kafka.advertised"),
    "kafkas": ListenerKind(
        "Apache Kafka over TLS", KAFKA, "", "kafkas", "Apache Kafka clients, TLS; behind another address or port: kafka.advertised_tls", "kafka"
    ),
    "sqs": ListenerKind("Amazon SQS", HTTP, "127.0.0.1:9324", "http", "Amazon SQS: endpoint_url, AWS_ENDPOINT_URL_SQS"),
    "sqss": ListenerKind("Amazon SQS over TLS", HTTP, "", "https", "Amazon SQS, TLS", "sqs"),
    "http": ListenerKind("health and metrics", HTTP, "127.0.0.1:9700", "http", "/healthz /readyz /metrics"),
}

_METHODS = (b"GET ", b"HEAD ", b"POST ", b"PUT ", b"DELETE ", b"OPTIONS ", b"PATCH ", b"CONNECT ", b"TRACE ", b"PRI ")
_KAFKA_SIZE_MAX = 1 << 24  # of a connection's first request
_KAFKA_KEY_MAX = 127
_KAFKA_VERSION_MAX = 31


def look_of(first: bytes) -> str:
    """What a connection looks like that begins with these bytes, of which eight are enough; "" for nothing that is known."""
    if first.startswith(b"\x16\x03"):  # a handshake record of SSL 3.0 or later
        return TLS
    if first.startswith(b"AMQP"):
        return AMQP
    if len(first) >= 3 and any(first.startswith(method) or method.startswith(first) for method in _METHODS):
        return HTTP
    if len(first) >= 8 and int.from_bytes(first[:4], "big") in range(8, _KAFKA_SIZE_MAX) and first[4] == first[6] == 0:
        return KAFKA if first[5] <= _KAFKA_KEY_MAX and first[7] <= _KAFKA_VERSION_MAX else ""
    return ""


def with_tls(name: str) -> str:
    """The listener that speaks over TLS what `name` does in the clear; "" for none."""
    return next((other for other, kind in LISTENERS.items() if kind.without_tls == name), "")
