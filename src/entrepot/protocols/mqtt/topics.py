"""Topic names and filters (4.7): what is one, what matches what, and what they are in the exchange `amq.topic`. All over UTF-8 bytes.

A topic is a routing key, and a filter a pattern, with two pairs of characters exchanged: `/` and `.`, `+` and `*` (docs/decisions/mqtt.md says why).
"""

from __future__ import annotations

from entrepot.model.addresses import KEY_MAX_BYTES, KEY_WORDS_MAX
from entrepot.protocols.mqtt.properties import checked_text
from entrepot.protocols.mqtt.reason_codes import malformed

LONG_BYTES = 256
"""A filter counts as one more subscription for each of these that it has, and a topic so where topics are remembered."""

_SWAPPED = bytes.maketrans(b"/.+*", b"./*+")
SHORT_BYTES = 255

_SHARE = b"$share/"


def check_name(topic: bytes) -> None:
    """MqttError, malformed, where it is no topic name: empty, with a wildcard, not UTF-8 (3.3.2.1, 4.7.1, 4.7.3)."""
    if not topic:
        raise malformed("an empty topic name")
    checked_text(topic)
    if b"#" in topic or b"+" in topic:
        raise malformed("a topic name with a wildcard")


def is_bounded(topic: bytes) -> bool:
    """Whether a topic or filter is one that an exchange takes: not of more octets, nor of more levels."""
    return len(topic) <= SHORT_BYTES or (len(topic) <= KEY_MAX_BYTES and topic.count(b"/") < KEY_WORDS_MAX)


def is_filter(topic_filter: bytes) -> bool:
    """Whether UTF-8 is a topic filter (4.7.1): a wildcard has its level for itself, and `#` is the last."""
    if not topic_filter:
        return False
    levels = topic_filter.split(b"/")
    return b"#" not in b"/".join(levels[:-1]) and all(len(level) == 1 or (b"#" not in level and b"+" not in level) for level in levels)


def shared(topic_filter: bytes) -> tuple[bytes, bytes] | None:
    """Share name and filter of `$share/NAME/FILTER` (4.8.2); (b"", the filter) of one that is not shared; None: it is not right."""
    if topic_filter != _SHARE[:-1] and not topic_filter.startswith(_SHARE):
        return (b"", topic_filter) if is_filter(topic_filter) else None
    name, separator, inner = topic_filter[len(_SHARE) :].partition(b"/")
    if not name or not separator or b"+" in name or b"#" in name or not is_filter(inner):
        return None
    return name, inner


def is_apart(topic: bytes) -> bool:
    """Whether it begins with `$`: no filter that begins with a wildcard matches it (4.7.2)."""
    return topic[:1] == b"$"


def matches(topic_filter: bytes, topic: bytes) -> bool:
    """Whether a filter, without its share, matches a topic name."""
    return matches_levels(topic_filter, topic.split(b"/"))


def matches_levels(topic_filter: bytes, levels: list[bytes]) -> bool:
    """The same, of the levels of a topic name."""
    if is_apart(levels[0]) and topic_filter[:1] in (b"+", b"#"):
        return False
    wanted = topic_filter.split(b"/")
    if wanted[-1] == b"#":
        wanted.pop()
        if len(levels) < len(wanted):
            return False
        levels = levels[: len(wanted)]
    elif len(levels) != len(wanted):
        return False
    return all(one in (b"+", level) for one, level in zip(wanted, levels, strict=True))


def key_of(topic: bytes) -> bytes:
    """The routing key that a topic is, or the pattern that a filter is."""
    return topic.translate(_SWAPPED)


def topic_of(key: bytes) -> bytes | None:
    """The topic that a routing key is; None: none, for it is empty, or has `*`, `#`, U+0000 or what is not UTF-8."""
    if not key or b"*" in key or b"#" in key or b"\0" in key:
        return None
    try:
        key.decode()
    except UnicodeDecodeError:
        return None
    return key.translate(_SWAPPED)


def filter_of(pattern: bytes) -> bytes | None:
    """The filter that a pattern is; None: none, for it has `#` before its last word, or is no text."""
    topic_filter = pattern.translate(_SWAPPED)
    try:
        pattern.decode()
    except UnicodeDecodeError:
        return None
    return topic_filter if b"\0" not in pattern and is_filter(topic_filter) else None
