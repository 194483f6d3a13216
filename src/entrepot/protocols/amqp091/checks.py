"""What a publish's properties must satisfy beyond parsing; looked at only for runs whose flags say that it may matter.

Error texts are RabbitMQ's; all are 406 and close the channel.
"""

from __future__ import annotations

import cython

from entrepot.protocols.amqp091.properties import DELIVERY_MODE, EXPIRATION, EXPIRATION_MAX_MS, HEADERS, USER_ID
from entrepot.protocols.amqp091.reply_codes import AmqpError, ReplyCode

if not cython.compiled:
    from entrepot.model.octets import get_u32_be
    from entrepot.protocols.amqp091.properties import find_header, property_at, short_string

_HEADERS = HEADERS
_EXPIRATION = EXPIRATION
_USER_ID = USER_ID
_DELIVERY_MODE = DELIVERY_MODE
_EXPIRATION_MAX = EXPIRATION_MAX_MS
_ARRAY = ord("A")


def check_run(data: bytes, count: int, user: bytes) -> bool:
    """Check the delivery mode, expiration, user id and CC headers of `count` packed records; whether any record names further routing keys.

    Raises AmqpError 406.
    """
    scattered = False
    position = 0
    for _ in range(count):
        properties_size = get_u32_be(data, position)
        body_size = get_u32_be(data, position + 4)
        position += 8
        flags = data[position] << 8 | data[position + 1]
        if flags & _DELIVERY_MODE:
            mode = data[position + 2] if flags < _DELIVERY_MODE << 1 else data[property_at(data, position, _DELIVERY_MODE)]
            if mode != 1 and mode != 2:
                raise _refusal(f"invalid message: {{delivery_mode_unknown,{mode}}}")
        if flags & _HEADERS and names_further_keys(data, position):
            scattered = True
        if flags & _EXPIRATION:
            parse_expiration(short_string(data, position, _EXPIRATION) or b"")
        if flags & _USER_ID:
            claimed = short_string(data, position, _USER_ID)
            if claimed != user:
                raise _refusal(f"user_id property set to '{_text(claimed)}' but authenticated user was '{_text(user)}'")
        position += properties_size + body_size
    return scattered


def parse_expiration(text: bytes) -> int:
    """Milliseconds of an expiration property. Raises AmqpError 406 if it is not an integer, sign or not, from 0 to the limit."""
    value = 0
    size = len(text)
    first = 1 if size and (text[0] == 43 or text[0] == 45) else 0
    index = first
    while index < size and 48 <= text[index] <= 57:
        if value <= _EXPIRATION_MAX:
            value = value * 10 + (text[index] - 48)
        index += 1
    if index == first:
        raise _refusal(f"invalid expiration '{_text(text)}': no_integer")
    if index < size:
        raise _refusal(f"invalid expiration '{_text(text)}': {{leftover_string,\"{_text(text[index:])}\"}}")
    if value and text[0] == 45:
        raise _refusal(f"invalid expiration '{_text(text)}': {{value_negative,-{_digits(text)}}}")
    if value > _EXPIRATION_MAX:
        raise _refusal(f"invalid expiration '{_text(text)}': {{value_too_large,{_digits(text)}}}")
    return value


def names_further_keys(data: bytes, properties: int) -> bool:
    """Whether the header table has CC or BCC; raises AmqpError 406 where one is not an array."""
    table = property_at(data, properties, _HEADERS)
    if get_u32_be(data, table) == 0:
        return False
    at = find_header(data, table, b"CC")
    if at >= 0 and data[at + 3] != _ARRAY:
        raise _refusal(f'invalid message: {{unacceptable_type_in_header,"CC",{_type_name(data[at + 3])}}}')
    if at < 0:
        at = find_header(data, table, b"BCC")
        if at >= 0 and data[at + 4] != _ARRAY:
            raise _refusal(f'invalid message: {{unacceptable_type_in_header,"BCC",{_type_name(data[at + 4])}}}')
    return at >= 0


def _refusal(text: str) -> AmqpError:
    return AmqpError(ReplyCode.PRECONDITION_FAILED, text, 60, 40)


def _digits(number: bytes) -> str:
    return number.lstrip(b"+-").lstrip(b"0").decode()


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("utf-8", "replace")


_TYPE_NAMES = {"S": "longstr", "I": "signedint", "l": "long", "t": "bool", "F": "table", "V": "void", "T": "timestamp", "d": "double", "x": "binary"}


def _type_name(octet: int) -> str:
    return _TYPE_NAMES.get(chr(octet), chr(octet))
