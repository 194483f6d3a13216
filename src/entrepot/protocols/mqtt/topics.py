"""Topic names and filters (4.7): what is one, and what matches what. All of it is over UTF-8 bytes."""

from __future__ import annotations

from entrepot.protocols.mqtt.properties import checked_text
from entrepot.protocols.mqtt.reason_codes import malformed


def check_name(topic: bytes) -> None:
    """MqttError, malformed, where it is no topic name: empty, with a wildcard, not UTF-8 (3.3.2.1, 4.7.1, 4.7.3)."""
    if not topic:
        raise malformed("an empty topic name")
    checked_text(topic)
    if b"#" in topic or b"+" in topic:
        raise malformed("a topic name with a wildcard")
