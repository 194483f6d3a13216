"""subscribed_topics(): which topics a member of protocol type "consumer" says that it reads.

Its metadata is Kafka's ConsumerProtocolSubscription: i16 version, i32 count, and each topic as i16 size and UTF-8; what follows is not looked at.
"""

from __future__ import annotations

CONSUMER = "consumer"

LOOKED_AT_MAX = 4000  # topics; who has more reads whatever is asked about

_HEAD_SIZE = 6


def subscribed_topics(metadata: bytes) -> set[str] | None:
    """The topics; None if it is not that format."""
    if len(metadata) < _HEAD_SIZE:
        return None
    count = int.from_bytes(metadata[2:_HEAD_SIZE], "big", signed=True)
    if count < 0 or count * 2 > len(metadata):
        return None
    topics = set()
    at = _HEAD_SIZE
    for _ in range(count):
        size = int.from_bytes(metadata[at : at + 2], "big", signed=True)
        at += 2
        if size < 0 or at + size > len(metadata):
            return None
        try:
            topics.add(metadata[at : at + size].decode())
        except UnicodeDecodeError:
            return None
        at += size
    return topics


def topics_end(metadata: bytes) -> int:
    """Where the topics end; 0: it is not that format, or has more than are looked at."""
    if len(metadata) < _HEAD_SIZE:
        return 0
    count = int.from_bytes(metadata[2:_HEAD_SIZE], "big", signed=True)
    if not 0 <= count <= LOOKED_AT_MAX:
        return 0
    at = _HEAD_SIZE
    for _ in range(count):
        size = int.from_bytes(metadata[at : at + 2], "big", signed=True)
        at += 2 + size
        if size < 0 or at > len(metadata):
            return 0
    return at


def has_topic(metadata: bytes, end: int, topic: str) -> bool:
    """Whether it is among the topics, which end at `end`; without taking them apart, for many members may be asked about many topics."""
    name = topic.encode()
    return metadata.find(len(name).to_bytes(2, "big") + name, _HEAD_SIZE, end) >= 0
