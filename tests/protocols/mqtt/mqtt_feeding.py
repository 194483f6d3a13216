"""A decoder that is fed as a connection feeds it."""

from __future__ import annotations

from typing import Any

from mqtt_streams import ALIAS_MAX
from mqtt_wire import connect

from entrepot.protocols.mqtt import codec
from entrepot.protocols.mqtt.reason_codes import MqttError

MALFORMED, BROKEN, TOO_LARGE, BAD_ALIAS = 0x81, 0x82, 0x95, 0x94


def feed(decoder: Any, data: bytes) -> list[Any]:
    """Events of one read, as asyncio's BufferedProtocol would make them; who has said CONNECT is let in."""
    events: list[Any] = []
    pos = 0
    while decoder.error is None:
        step = 0
        if pos < len(data):
            room = decoder.writable()
            assert len(room) > 0
            step = min(len(room), len(data) - pos)
            room[:step] = data[pos : pos + step]
            pos += step
        found = decoder.feed(step)
        events.extend(found)
        if found and type(found[-1]).__name__ == "Connect":
            decoder.accept(256 * 1024, None, ALIAS_MAX)
        elif not decoder.more and pos == len(data):
            break
    return events


def accepted(version: int = 5, **limits: int) -> Any:
    decoder = codec.Decoder(**limits)
    feed(decoder, connect(version))
    return decoder


def error_of(data: bytes, version: int = 5, **limits: int) -> int:
    """The reason code for which a connection ends that sends this and nothing else behind its CONNECT."""
    events = feed(accepted(version, **limits), data)
    assert isinstance(events[-1], MqttError), events
    return int(events[-1].reason_code)
