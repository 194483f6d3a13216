"""The property list of a basic content header: a checker for what arrives, readers for what was checked.

A property list (AMQP 0-9-1 section 4.2.6.1) is a u16 of presence flags, then the values of the properties present, in flag order from
bit 15 down. Bits 1 and 0 (unused, continuation) are always 0, as RabbitMQ demands. A field table is a u32 size, then (short string
name, type octet, value)*; an array a u32 size, then (type octet, value)*. The types are those RabbitMQ reads (its errata page):

    t b B 1 byte | s u 2 | I i f 4 | l L d T 8 | D 5 (u8 scale, u32) | S x u32 size and bytes | F table | A array | V nothing

check_* read a receive buffer and raise AmqpError 502 on anything malformed, so that nothing behind the decoder meets a list that does
not parse. The others take bytes that passed it; they are bounds-checked all the same (IndexError means damage).
"""

from __future__ import annotations

import cython

from entrepot.protocols.amqp091.reply_codes import AmqpError

if not cython.compiled:
    from entrepot.model.octets import get_u16_be, get_u16_be_ba, get_u32_be, get_u32_be_ba, take

CONTENT_TYPE = 0x8000
CONTENT_ENCODING = 0x4000
HEADERS = 0x2000
DELIVERY_MODE = 0x1000
PRIORITY = 0x0800
CORRELATION_ID = 0x0400
REPLY_TO = 0x0200
EXPIRATION = 0x0100
MESSAGE_ID = 0x0080
TIMESTAMP = 0x0040
TYPE = 0x0020
USER_ID = 0x0010
APP_ID = 0x0008
CLUSTER_ID = 0x0004

NESTING_MAX = 64
"""Tables and arrays inside one another, the header table itself being 1, that check_properties() accepts unless told otherwise."""

EXPIRATION_MAX_MS = 315_360_000_000
"""Ten years, RabbitMQ's longest time to live."""

_HEADERS = HEADERS
_EXPIRATION = EXPIRATION
_EXPIRATION_MAX_MS = EXPIRATION_MAX_MS
_OCTETS = DELIVERY_MODE | PRIORITY
_TIMESTAMP = TIMESTAMP


def check_properties(data: bytearray, pos: int, end: int, nesting_max: int) -> int:
    """The flag word of the property list that fills data[pos:end] exactly.

    Raises AmqpError 502 (SYNTAX_ERROR) where it does not parse to its last byte.
    """
    if end - pos < 2:
        raise AmqpError(502, f"content header of {end - pos} bytes has no property flags", 60, 40)
    flags = get_u16_be_ba(data, pos)
    if flags & 3:
        raise AmqpError(502, f"property flags 0x{flags:04x} have bits that no property owns", 60, 40)
    pos += 2
    bit = 0x8000
    while bit >= 4:
        if flags & bit:
            if bit == _HEADERS:
                pos = check_table(data, pos, end, nesting_max)
            elif bit & _OCTETS:
                pos += 1
            elif bit == _TIMESTAMP:
                pos += 8
            else:
                if pos >= end:
                    raise AmqpError(502, f"content header ends inside property 0x{bit:04x}", 60, 40)
                pos += 1 + data[pos]
            if pos > end:
                raise AmqpError(502, f"content header ends inside property 0x{bit:04x}", 60, 40)
        bit >>= 1
    if pos != end:
        raise AmqpError(502, f"content header has {end - pos} bytes after its last property", 60, 40)
    return flags


def check_table(data: bytearray, pos: int, end: int, nesting_max: int) -> int:
    """The position after the field table at `pos`; raises AmqpError 502 where it is malformed, passes `end` or nests too deep."""
    if nesting_max <= 0:
        raise AmqpError(502, "field tables are nested too deep", 60, 40)
    if end - pos < 4:
        raise AmqpError(502, "field table has no size", 60, 40)
    size = get_u32_be_ba(data, pos)
    pos += 4
    if size > end - pos:
        raise AmqpError(502, f"field table of {size} bytes passes the end of what holds it", 60, 40)
    stop = pos + size
    while pos < stop:
        pos += 1 + data[pos]
        if pos >= stop:
            raise AmqpError(502, "field table ends inside a name", 60, 40)
        pos = check_value(data, pos, stop, nesting_max)
    return pos


def check_value(data: bytearray, pos: int, end: int, nesting_max: int) -> int:
    """The position after the value whose type octet is at `pos`; errors as check_table()."""
    if pos >= end:
        raise AmqpError(502, "field table ends before a type", 60, 40)
    kind = data[pos]
    pos += 1
    fixed = fixed_size(kind)
    if fixed >= 0:
        if fixed > end - pos:
            raise AmqpError(502, "field table ends inside a value", 60, 40)
        return pos + fixed
    if kind == 0x46:  # F
        return check_table(data, pos, end, nesting_max - 1)
    if kind != 0x53 and kind != 0x78 and kind != 0x41:  # S x A
        raise AmqpError(502, f"field table value of unknown type 0x{kind:02x}", 60, 40)
    if end - pos < 4:
        raise AmqpError(502, "field table ends inside a value", 60, 40)
    size = get_u32_be_ba(data, pos)
    pos += 4
    if size > end - pos:
        raise AmqpError(502, f"field table value of {size} bytes passes the end of what holds it", 60, 40)
    stop = pos + size
    if kind == 0x41:
        if nesting_max <= 1:
            raise AmqpError(502, "field tables are nested too deep", 60, 40)
        while pos < stop:
            pos = check_value(data, pos, stop, nesting_max - 1)
    return stop


def fixed_size(kind: int) -> int:
    """Bytes of a value of type `kind` where every value has as many, else -1."""
    if kind == 0x53:  # S: the usual one
        return -1
    if kind == 0x6C or kind == 0x4C or kind == 0x54 or kind == 0x64:  # l L T d
        return 8
    if kind == 0x49 or kind == 0x69 or kind == 0x66:  # I i f
        return 4
    if kind == 0x74 or kind == 0x62 or kind == 0x42:  # t b B
        return 1
    if kind == 0x73 or kind == 0x75:  # s u
        return 2
    if kind == 0x56:  # V
        return 0
    if kind == 0x44:  # D
        return 5
    return -1


def value_end(data: bytes, pos: int) -> int:
    """The position after the value whose type octet is at `pos`; does not look inside tables and arrays."""
    fixed = fixed_size(data[pos])
    if fixed >= 0:
        return pos + 1 + fixed
    return pos + 5 + get_u32_be(data, pos + 1)


def property_at(data: bytes, pos: int, bit: int) -> int:
    """Where the value of the property with flag `bit` starts in the list at `pos`, or where it would: look at the flag word first."""
    flags = get_u16_be(data, pos)
    pos += 2
    other = 0x8000
    while other > bit:
        if flags & other:
            if other == _HEADERS:
                pos = pos + 4 + get_u32_be(data, pos)  # not +=: C would add in 32 bits
            elif other & _OCTETS:
                pos += 1
            elif other == _TIMESTAMP:
                pos += 8
            else:
                pos += 1 + data[pos]
        other >>= 1
    return pos


def short_string(data: bytes, pos: int, bit: int) -> bytes | None:
    """The short-string property with flag `bit` of the list at `pos`, None where it is absent."""
    if not get_u16_be(data, pos) & bit:
        return None
    pos = property_at(data, pos, bit)
    return take(data, pos + 1, data[pos])


def find_header(data: bytes, table_pos: int, name: bytes) -> int:
    """Where the first entry called `name` (its name's length octet) lies in the field table at `table_pos`, or -1."""
    size = len(name)
    stop = table_pos + 4 + get_u32_be(data, table_pos)
    pos = table_pos + 4
    while pos < stop:
        length = data[pos]
        if length == size and take(data, pos + 1, length) == name:
            return pos
        pos = value_end(data, pos + 1 + length)
    return -1


def expiration_ms(data: bytes, pos: int) -> int:
    """Time to live of the record at `pos` in milliseconds, -1 where it has none or one that is no number (checks.parse_expiration says what is one)."""
    if not get_u16_be(data, pos + 8) & _EXPIRATION:
        return -1
    at = property_at(data, pos + 8, _EXPIRATION)
    end = at + 1 + data[at]
    at += 1
    sign = 0
    if at < end and (data[at] == 0x2B or data[at] == 0x2D):
        sign = data[at]
        at += 1
    if at == end:
        return -1
    value = 0
    for index in range(at, end):
        digit = data[index]
        if digit < 0x30 or digit > 0x39:
            return -1
        value = value * 10 + digit - 0x30
        if value > _EXPIRATION_MAX_MS:
            return -1
    return -1 if sign == 0x2D and value else value
