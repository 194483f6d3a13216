"""Which characters SQS takes: those of XML 1.0 in bodies and values; letters, digits and punctuation in ids; letters of any script in names."""

from __future__ import annotations

import re

import cython

if not cython.compiled:
    from entrepot.model.octets import get_u64_le

ALLOWED = "#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"

ATTRIBUTE_NAME = re.compile(r"[\w\-.]{1,256}")  # letters and digits of any script: AWS takes them, whatever its guide says
_PLUS, _PERCENT = 0x2B, 0x25
_DIGITS = bytes(int(chr(octet), 16) if chr(octet) in "0123456789abcdefABCDEF" else 255 for octet in range(256))  # what each hexadecimal digit stands for
_SPACES, _HIGH_BITS = 0x2020202020202020, 0x8080808080808080
_QUEUE_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}")
_FIFO_NAME = re.compile(r"[A-Za-z0-9_-]{1,75}\.fifo")


def illegal_at(text: bytes) -> int:
    """Where the first character that SQS does not take begins, in UTF-8; -1: there is none."""
    end = len(text)
    pos = 0
    while pos < end:
        stop = end
        if end - pos >= 8:
            word = get_u64_le(text, pos)
            if (word | (word - _SPACES)) & _HIGH_BITS == 0:  # eight octets from 0x20 to 0x7F: none below, which would borrow, none above
                pos += 8
                continue
            stop = pos + 8
        while pos < stop:
            octet = text[pos]
            if octet < 32:
                if octet != 9 and octet != 10 and octet != 13:
                    return pos
            elif octet >= 0xED:
                if octet == 0xEF and pos + 2 < end and text[pos + 1] == 0xBF and text[pos + 2] >= 0xBE:
                    return pos  # U+FFFE and U+FFFF
                if octet == 0xED and pos + 1 < end and text[pos + 1] >= 0xA0:
                    return pos  # half of a surrogate pair
            pos += 1
    return -1


def percent_decoded(text: bytes) -> bytes:
    """A name or value of a form (application/x-www-form-urlencoded): `+` is a space, `%` and two hexadecimal digits an octet, all else itself."""
    if b"%" not in text and b"+" not in text:
        return text
    size = len(text)
    out = bytearray(size)
    filled = 0
    pos = 0
    while pos < size:
        octet = text[pos]
        pos += 1
        if octet == _PLUS:
            octet = 32
        elif octet == _PERCENT and pos + 1 < size:
            high, low = _DIGITS[text[pos]], _DIGITS[text[pos + 1]]
            if high < 16 and low < 16:
                octet = 16 * high + low
                pos += 2
        out[filled] = octet
        filled += 1
    del out[filled:]
    return bytes(out)


def is_identifier(text: str) -> bool:
    """Whether it may be a message group id, a deduplication id or a receive attempt id."""
    if not 1 <= len(text) <= 128:
        return False
    for character in text:  # noqa: SIM110 - compiled, it is a loop over code points
        if not "!" <= character <= "~":
            return False
    return True


def is_batch_id(text: str) -> bool:
    """Whether it may name an entry of a batch."""
    if not 1 <= len(text) <= 80:
        return False
    for character in text:  # noqa: SIM110
        if not ("a" <= character <= "z" or "A" <= character <= "Z" or "0" <= character <= "9" or character == "_" or character == "-"):
            return False
    return True


def is_queue_name(name: str) -> bool:
    """Whether a queue may be called that: 1 to 80 letters, digits, hyphens and underscores, `.fifo` at the end counted and for FIFO queues only."""
    return _QUEUE_NAME.fullmatch(name) is not None or _FIFO_NAME.fullmatch(name) is not None
