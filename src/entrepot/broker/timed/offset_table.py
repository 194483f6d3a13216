"""OffsetTable: offsets to small numbers, dense: 12 bytes a place, at most two thirds of the places taken.

Open addressing with linear probing; removing closes the gap, so that there are no tombstones.
"""

from __future__ import annotations

import cython

if not cython.compiled:
    from entrepot.model.octets import get_u32_le_ba, get_u64_le_ba, put_u32_le, put_u64_le

_PLACES_MIN = 64
_SPREAD = 0x9E3779B97F4A7C15
_MASK = 0xFFFFFFFFFFFFFFFF


class OffsetTable:
    """A map from u64 below 2^64 - 1 to u32. `count` is how many there are."""

    __slots__ = ("bits", "count", "keys", "places", "values")

    count: int

    def __init__(self) -> None:
        self.count = 0
        self.bits = 6
        self.places = _PLACES_MIN
        self.keys = bytearray(8 * _PLACES_MIN)  # offset + 1; 0: free
        self.values = bytearray(4 * _PLACES_MIN)

    def home(self, offset: int) -> int:
        """Where an offset would like to be."""
        return ((offset * _SPREAD) & _MASK) >> (64 - self.bits)

    def place_of(self, offset: int) -> int:
        """Where `offset` stands, or the free place where it would."""
        place = self.home(offset)
        key = offset + 1
        while True:
            found = get_u64_le_ba(self.keys, 8 * place)
            if found == key or found == 0:
                return place
            place += 1
            if place == self.places:
                place = 0

    def get(self, offset: int) -> int:
        """The number of `offset`; -1 if there is none."""
        if self.count == 0:
            return -1
        place = self.place_of(offset)
        return -1 if get_u64_le_ba(self.keys, 8 * place) == 0 else get_u32_le_ba(self.values, 4 * place)

    def put(self, offset: int, value: int) -> int:
        """Set the number of `offset`."""
        if 3 * (self.count + 1) > 2 * self.places:
            self.resize(self.bits + 1)
        place = self.place_of(offset)
        if get_u64_le_ba(self.keys, 8 * place) == 0:
            put_u64_le(self.keys, 8 * place, offset + 1)
            self.count += 1
        put_u32_le(self.values, 4 * place, value)
        return 0

    def remove(self, offset: int) -> int:
        """Forget `offset`; its number, or -1 if there was none."""
        if self.count == 0:
            return -1
        place = self.place_of(offset)
        if get_u64_le_ba(self.keys, 8 * place) == 0:
            return -1
        value = get_u32_le_ba(self.values, 4 * place)
        self.close_gap(place)
        self.count -= 1
        if self.bits > 6 and 12 * self.count < self.places:
            self.resize(self.bits - 1)
        return value

    def close_gap(self, gap: int) -> int:
        """Free a place, and move up what then could not be found any more."""
        place = gap
        while True:
            place += 1
            if place == self.places:
                place = 0
            found = get_u64_le_ba(self.keys, 8 * place)
            if found == 0:
                put_u64_le(self.keys, 8 * gap, 0)
                return 0
            home = self.home(found - 1)
            # it may move up unless its home lies behind the gap
            if (place - home if place >= home else place + self.places - home) >= (place - gap if place >= gap else place + self.places - gap):
                put_u64_le(self.keys, 8 * gap, found)
                put_u32_le(self.values, 4 * gap, get_u32_le_ba(self.values, 4 * place))
                gap = place

    def resize(self, bits: int) -> int:
        """Have 2^bits places."""
        keys = self.keys
        values = self.values
        old = self.places
        self.bits = bits
        self.places = 1 << bits
        self.keys = bytearray(8 * self.places)
        self.values = bytearray(4 * self.places)
        self.count = 0
        place = 0
        while place < old:
            found = get_u64_le_ba(keys, 8 * place)
            if found:
                self.put(found - 1, get_u32_le_ba(values, 4 * place))
            place += 1
        return 0

    def clear(self) -> int:
        """Forget everything."""
        self.count = 0
        self.bits = 6
        self.places = _PLACES_MIN
        self.keys = bytearray(8 * _PLACES_MIN)
        self.values = bytearray(4 * _PLACES_MIN)
        return 0
