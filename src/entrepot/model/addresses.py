"""Addresses of what is published: an exchange and a routing key in one.

    u8 octets of the exchange's name | the name | u8 octets of the routing key, 255: as many, or more | the routing key, to the end

One whose key has no more than 255 octets is two short strings, as AMQP 0-9-1 has them. A longer one is wide, and has no name there: narrow() is what its
readers are told.
"""

from __future__ import annotations

ADDRESS_MAX_BYTES = 0xFFFF
"""An entry says its size in two octets (docs/formats)."""

KEY_MAX_BYTES = 65_000
"""Of a routing key: with any exchange's name it fits into an address."""

KEY_WORDS_MAX = 256
"""Of a wide key: as many as one of 255 octets may have. What it costs to find whom it leads to is bounded by its words."""

_SHORT = 255


def pack_address(exchange: bytes, key: bytes) -> bytes:
    """The address; the exchange's name has at most 255 octets, the key at most KEY_MAX_BYTES."""
    return b"".join((bytes((len(exchange),)), exchange, bytes((min(len(key), _SHORT),)), key))


def is_address(octets: bytes) -> bool:
    """Whether it is one."""
    at = 1 + octets[0] if octets else 0
    return 0 < at < len(octets) <= ADDRESS_MAX_BYTES and octets[at] == min(len(octets) - at - 1, _SHORT)


def is_wide(address: bytes) -> bool:
    """Whether its routing key is none of AMQP 0-9-1's."""
    return len(address) > 2 + address[0] + _SHORT


def key_in(address: bytes) -> bytes:
    """The routing key."""
    return address[2 + address[0] :]


def narrow(address: bytes) -> bytes:
    """The same exchange and an empty routing key."""
    return address[: 1 + address[0]] + b"\0"
