"""The table of listeners, and what the first bytes of a connection look like."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.config import keys
from entrepot.model.listeners import HTTP, TLS
from entrepot.protocol_table import listeners
from entrepot.protocols.amqp091.protocol import AMQP
from entrepot.protocols.kafka.protocol import KAFKA
from entrepot.protocols.mqtt.protocol import MQTT
from entrepot.protocols.stomp.protocol import STOMP

LISTENERS = listeners().kinds


def test_the_configuration_is_made_of_it() -> None:
    assert {one.name: one.default for one in keys() if one.name.startswith("listen.")} == {f"listen.{name}": kind.address for name, kind in LISTENERS.items()}


def test_who_speaks_tls_has_who_does_not() -> None:
    for name, kind in LISTENERS.items():
        if kind.without_tls:
            assert LISTENERS[kind.without_tls].look == kind.look
            assert listeners().with_tls(kind.without_tls) == name
    assert listeners().with_tls("http") == ""


@pytest.mark.parametrize(
    ("first", "look"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", TLS),
        (b"\x16\x03", TLS),
        (b"AMQP\x00\x00\x09\x01", AMQP),
        (b"AMQP", AMQP),
        (b"GET / HT", HTTP),
        (b"GET", HTTP),
        (b"OPTIONS ", HTTP),
        (b"DELETE /", HTTP),
        (b"\x00\x00\x00\x2e\x00\x12\x00\x03", KAFKA),
        (b"\x00\x00\x00\x2e\x00\x12\x00", ""),
        (b"\x00\x00\x00\x02\x00\x12\x00\x03", ""),
        (b"\x00\x00\x00\x2e\x01\x12\x00\x03", ""),
        (b"\x10\x0d\x00\x04MQTT", MQTT),
        (b"\x10\x8d\x01\x00\x06MQI", MQTT),
        (b"\x10\x0d\x00\x04HTTP", ""),
        (b"HELO you", ""),
        (b"GO", ""),
        (b"", ""),
    ],
)
def test_looks(first: bytes, look: str) -> None:
    assert listeners().look_of(first) == look


@given(st.binary(max_size=12))
def test_any_bytes_look_like_something_or_nothing(first: bytes) -> None:
    assert listeners().look_of(first) in (TLS, AMQP, HTTP, KAFKA, STOMP, MQTT, "")
