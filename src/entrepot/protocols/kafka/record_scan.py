"""All records of a large batch, checked without the GIL: what record_batch.check_records() finds good is good here, and nothing else.

Layout: see record_cursor.py.
"""

from __future__ import annotations

from typing import Any

import cython

if not cython.compiled:

    def joined(head: bytes, view: Any, start: int, end: int) -> bytes:
        """head + view[start:end]."""
        return b"".join((head, view[start:end]))


GOOD, MALFORMED, MISNUMBERED, OUT_OF_TIME, BEHIND = range(5)

_TIME_MAX = 2**63 - 1
_TIME_MIN = -_TIME_MAX - 1
_GOOD, _MALFORMED, _MISNUMBERED, _OUT_OF_TIME, _BEHIND = GOOD, MALFORMED, MISNUMBERED, OUT_OF_TIME, BEHIND


def scan_records(view: Any, start: int, count: int, base_time_ms: int) -> tuple[int, int, int]:
    """`count` records from `start` to the end of `view`, a memoryview of octets: (what is wrong, at which record, the greatest timestamp)."""
    if start < 0 or start > len(view):
        raise IndexError("outside a buffer")
    with cython.nogil:
        wrong, index, greatest = _scan(view, start, count, base_time_ms)
    return wrong, index, greatest


def piece_end(view: Any, start: int, count: int, size: int) -> tuple[int, int]:
    """Of the records from `start` on, at most `count`, how many have `size` octets or less together, but one at least, and where they end; (0, start):
    there is no record."""
    if start < 0 or start > len(view):
        raise IndexError("outside a buffer")
    with cython.nogil:
        found, end = _piece(view, start, count, size)
    return found, end


def _piece(view: Any, start: int, count: int, most: int) -> tuple[int, int]:
    end = view.shape[0]
    index = 0
    behind = start
    while index < count:
        size, pos = _number(view, behind, end, 28, 0x0F)
        if pos < 0 or size < 1 or size > end - pos or (index > 0 and pos + size - start > most):
            break
        behind = pos + size
        index += 1
    return index, behind


def piece_of(head: bytes, view: Any, start: int, end: int) -> bytes:
    """head + view[start:end]: it may be much."""
    if start < 0 or start > end or end > len(view):
        raise IndexError("outside a buffer")
    return joined(head, view, start, end)


def first_of(view: Any, start: int, count: int, delta: int) -> tuple[int, int]:
    """Offset delta and time delta of the first of `count` good records from `start` on whose time delta is `delta` or more; (-1, 0): there is none."""
    if start < 0 or start > len(view):
        raise IndexError("outside a buffer")
    with cython.nogil:
        number, found = _first(view, start, count, delta)
    return number, found


def _first(view: Any, start: int, count: int, least: int) -> tuple[int, int]:
    end = view.shape[0]
    behind = start
    while count > 0:
        count -= 1
        size, pos = _number(view, behind, end, 28, 0x0F)
        if pos < 0 or size < 1 or size > end - pos:
            break
        behind = pos + size
        delta, pos = _number(view, pos + 1, behind, 63, 0x01)
        if pos < 0:
            break
        if delta >= least:
            number, pos = _number(view, pos, behind, 28, 0x0F)
            return number, delta
    return -1, 0


def _scan(view: Any, pos: int, count: int, base_time_ms: int) -> tuple[int, int, int]:
    end = view.shape[0]
    greatest = _TIME_MIN
    index = 0
    while index < count:
        size, pos = _number(view, pos, end, 28, 0x0F)
        if pos < 0 or size < 1 or size > end - pos:
            return _MALFORMED, index, greatest
        stop = pos + size
        delta, pos = _number(view, pos + 1, stop, 63, 0x01)
        if pos < 0:
            return _MALFORMED, index, greatest
        number, pos = _number(view, pos, stop, 28, 0x0F)
        if pos < 0:
            return _MALFORMED, index, greatest
        misnumbered = number != index
        pos = _field(view, pos, stop)
        if pos >= 0:
            pos = _field(view, pos, stop)
        if pos < 0:
            return _MALFORMED, index, greatest
        headers, pos = _number(view, pos, stop, 28, 0x0F)
        if pos < 0 or headers < 0 or headers > stop - pos:
            return _MALFORMED, index, greatest
        while headers > 0:
            headers -= 1
            name, pos = _number(view, pos, stop, 28, 0x0F)
            if pos < 0 or name < 0 or name > stop - pos:
                return _MALFORMED, index, greatest
            pos = _field(view, pos + name, stop)
            if pos < 0:
                return _MALFORMED, index, greatest
        if pos != stop:
            return _MALFORMED, index, greatest
        if misnumbered:
            return _MISNUMBERED, index, greatest
        if delta > 0:
            if base_time_ms > _TIME_MAX - delta:
                return _OUT_OF_TIME, index, greatest
        elif base_time_ms < _TIME_MIN - delta:
            return _OUT_OF_TIME, index, greatest
        if base_time_ms + delta > greatest:
            greatest = base_time_ms + delta
        index += 1
    return (_GOOD if pos == end else _BEHIND), index, greatest


def _field(view: Any, pos: int, stop: int) -> int:
    """The position behind a field with its size, which may be null; -1: it is none."""
    size, pos = _number(view, pos, stop, 28, 0x0F)
    if pos < 0 or size > stop - pos:
        return -1
    return pos + size if size > 0 else pos


def _number(view: Any, pos: int, stop: int, last: int, last_max: int) -> tuple[int, int]:
    """A zigzag varint and the position behind it, -1: it is none. The octet at bit `last` is at most `last_max`."""
    raw = 0
    shift = 0
    while True:
        if pos >= stop:
            return 0, -1
        octet = view[pos]
        pos += 1
        if shift == last and octet > last_max:
            return 0, -1
        low = octet & 0x7F
        raw |= low << shift
        if octet < 0x80:
            break
        shift += 7
    half = raw >> 1
    return (half if not raw & 1 else -half - 1), pos
