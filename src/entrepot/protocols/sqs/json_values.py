"""How many values a request in JSON has: they cost more than bytes, and no action takes many."""

from __future__ import annotations

from entrepot.protocols.sqs.errors import SqsError

VALUES_MAX = 20_000  # ten messages with ten attributes each are under 1000

_VALUES_MAX = VALUES_MAX
_QUOTE, _BACKSLASH, _COMMA, _BRACKET, _BRACE = 0x22, 0x5C, 0x2C, 0x5B, 0x7B


def check_values(text: bytes) -> int:
    """How many, where they may be many; raises SqsError SerializationException for more than VALUES_MAX. What is no JSON passes: its decoder says so."""
    if text.count(b",") + text.count(b"[") + text.count(b"{") <= _VALUES_MAX:
        return 0  # not even with those in its strings
    size = len(text)
    pos = 0
    values = 0
    while pos < size:
        octet = text[pos]
        pos += 1
        if octet == _QUOTE:
            while pos < size:
                octet = text[pos]
                pos += 1
                if octet == _QUOTE:
                    break
                if octet == _BACKSLASH:
                    pos += 1
        elif octet in (_COMMA, _BRACKET, _BRACE):
            values += 1
            if values > _VALUES_MAX:
                raise SqsError("SerializationException", f"The request has more than {_VALUES_MAX} values.")
    return values
