"""Bodies of many bytes as SQS carries them, looked at and digested on a thread, mostly without the GIL: as text if they are, else in base64."""

from __future__ import annotations

import hashlib
from typing import Any

import cython

from entrepot.protocols.sqs.writing import BASE64

PIECE_BYTES = 3 << 16  # looked at in one go; thirds, for base64

_PIECE = PIECE_BYTES
_BASE64 = BASE64
_PAD = 61


def text_pieces(body: memoryview) -> tuple[list[bytes], bytes] | None:
    """The body in pieces, and its MD5; None: it is no text that SQS can carry."""
    digest = hashlib.md5(usedforsecurity=False)
    pieces: list[bytes] = []
    at = 0
    while at < len(body):
        end = text_end(body, at, min(at + _PIECE, len(body)))
        if end <= at:
            return None
        piece = bytes(body[at:end])
        digest.update(piece)  # which lets go of the GIL
        pieces.append(piece)
        at = end
    return pieces, digest.digest()


def base64_pieces(body: memoryview) -> tuple[list[bytes], bytes]:
    """The body's base64 in pieces, and its MD5."""
    digest = hashlib.md5(usedforsecurity=False)
    pieces: list[bytes] = []
    for at in range(0, len(body), _PIECE):
        piece = base64_of(body, at, min(at + _PIECE, len(body)))
        digest.update(piece)
        pieces.append(piece)
    return pieces, digest.digest()


def text_end(view: Any, start: int, stop: int) -> int:
    """Up to where view[start:stop] is whole characters that SQS takes, in UTF-8; -1: something there is none. At the end of `view` all are whole."""
    if start < 0 or start > stop or stop > len(view):
        raise IndexError("outside a buffer")
    with cython.nogil:
        end = _text(view, start, stop)
    return end  # noqa: RET504 - the GIL is back


def base64_of(view: Any, start: int, stop: int) -> bytes:
    """view[start:stop] as RFC 4648, section 4, with padding."""
    if start < 0 or start > stop or stop > len(view):
        raise IndexError("outside a buffer")
    room = bytearray((stop - start + 2) // 3 * 4)
    if room:
        target: Any = room
        table: Any = _BASE64
        with cython.nogil:
            _encode(view, start, stop, target, table)
    return bytes(room)


def _text(view: Any, pos: int, stop: int) -> int:
    while pos < stop:
        octet = view[pos]
        if octet < 0x80:
            if octet < 32 and octet != 9 and octet != 10 and octet != 13:
                return -1
            pos += 1
            continue
        if octet < 0xC2 or octet > 0xF4:
            return -1
        size = 2 if octet < 0xE0 else 3 if octet < 0xF0 else 4
        if size > stop - pos:
            return pos if stop < view.shape[0] else -1
        second = view[pos + 1]
        if second & 0xC0 != 0x80:
            return -1
        if size > 2:
            third = view[pos + 2]
            if third & 0xC0 != 0x80:
                return -1
            if octet == 0xEF and second == 0xBF and third >= 0xBE:
                return -1  # U+FFFE and U+FFFF
            if (octet == 0xE0 and second < 0xA0) or (octet == 0xED and second >= 0xA0):
                return -1  # too long a form; half of a surrogate pair
        if size > 3:
            if view[pos + 3] & 0xC0 != 0x80:
                return -1
            if (octet == 0xF0 and second < 0x90) or (octet == 0xF4 and second >= 0x90):
                return -1  # too long a form; beyond U+10FFFF
        pos += size
    return pos


def _encode(view: Any, pos: int, stop: int, target: Any, table: Any) -> None:
    at = 0
    while stop - pos >= 3:
        bits = (view[pos] << 16) | (view[pos + 1] << 8) | view[pos + 2]
        target[at] = table[bits >> 18]
        target[at + 1] = table[(bits >> 12) & 63]
        target[at + 2] = table[(bits >> 6) & 63]
        target[at + 3] = table[bits & 63]
        at += 4
        pos += 3
    if pos < stop:
        bits = view[pos] << 16
        if stop - pos == 2:
            bits |= view[pos + 1] << 8
        target[at] = table[bits >> 18]
        target[at + 1] = table[(bits >> 12) & 63]
        target[at + 2] = table[(bits >> 6) & 63] if stop - pos == 2 else _PAD
        target[at + 3] = _PAD
