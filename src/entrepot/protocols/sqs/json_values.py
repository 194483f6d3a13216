"""How many values a request in JSON has: they cost more than bytes, and no action takes many."""

from __future__ import annotations

from entrepot.protocols.sqs.errors import SqsError

VALUES_MAX = 20_000  # ten messages with ten attributes each are under 1000

_VALUES_MAX = VALUES_MAX
_QUOTE, _BACKSLASH, _COMMA, _BRACKET, _BRACE = 0x22, 0x5C, 0x2C, 0x5B, 0x7B


def check_values(text: bytes) -> int:
    """How many values it has, one not counted; raises SqsError SerializationException for more than VALUES_MAX. What is no JSON passes: its decoder says so."""
    values = 0
    in_string = False
    escaped = False
    for octet in text:
        if in_string:
            if escaped:
                escaped = False
            elif octet == _QUOTE:
                in_string = False
            elif octet == _BACKSLASH:
                escaped = True
        elif octet == _QUOTE:
            in_string = True
        elif octet in (_COMMA, _BRACKET, _BRACE):
            values += 1
            if values > _VALUES_MAX:
                raise SqsError("SerializationException", f"The request has more than {_VALUES_MAX} values.")
    return values
