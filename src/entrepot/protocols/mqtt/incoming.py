"""What a client has sent with QoS 1 and 2 and is not answered to the end: flow control (4.9), and which of QoS 2 has come before (4.3.3).

Stored form: u8 version (1) | u16 big-endian each of the identifiers of QoS 2 that are taken and not released, ascending.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from itertools import pairwise

import cython

from entrepot.model.errors import CorruptData
from entrepot.protocols.mqtt.reason_codes import MqttError, ReasonCode

if not cython.compiled:
    from entrepot.model.octets import get_u16_be

NEW, UNDER_WAY, TAKEN = 0, 1, 2
"""Of a message of QoS 2: not known; being stored, and answered when it is; stored, to be answered at once and not stored again."""

UNLIMITED = 1 << 30

_VERSION = 1


def ids_of(packed: bytes) -> tuple[int, ...]:
    """Identifiers, as events.py has them."""
    if len(packed) == 2:
        return (get_u16_be(packed, 0),)
    return struct.unpack(f">{len(packed) // 2}H", packed)


def runs_of(packet_ids: Iterable[int]) -> list[tuple[int, int]]:
    """Identifiers as (first, count) of those that go on from one to the next."""
    runs: list[tuple[int, int]] = []
    first = count = 0
    for packet_id in packet_ids:
        if count and packet_id == first + count:
            count += 1
        else:
            if count:
                runs.append((first, count))
            first = packet_id
            count = 1
    if count:
        runs.append((first, count))
    return runs


def pack_ids(packet_ids: Iterable[int]) -> bytes:
    """As events.py has them."""
    listed = list(packet_ids)
    return struct.pack(f">{len(listed)}H", *listed)


class Incoming:
    """Of one session. `receive_maximum` is ours.

    Clients of 3.1 and 3.1.1 know of none: give UNLIMITED, and read no more from who has a `count` of many. Identifiers of QoS 1 are not kept: a repeated one
    is another message (4.3.2). They count until they are answered.
    """

    def __init__(self, receive_maximum: int) -> None:
        self.receive_maximum = receive_maximum
        self._unanswered = 0  # of QoS 1
        self._under_way: set[int] = set()
        self._taken: set[int] = set()

    @property
    def count(self) -> int:
        """How many count against the maximum."""
        return self._unanswered + len(self._under_way) + len(self._taken)

    def at_least_once(self, count: int) -> int:
        """So many messages of QoS 1 have come. MqttError where they are too many."""
        self._unanswered += count
        self._check()
        return 0

    def answered(self, count: int) -> int:
        """So many PUBACKs are written."""
        self._unanswered -= count
        assert self._unanswered >= 0
        return 0

    def exactly_once(self, packed: bytes) -> list[int]:
        """Messages of QoS 2 have come: of each, whether it is NEW, UNDER_WAY or TAKEN. MqttError where they are too many; the new ones are under way then."""
        found = []
        for packet_id in ids_of(packed):
            if packet_id in self._taken:
                found.append(TAKEN)
            elif packet_id in self._under_way:
                found.append(UNDER_WAY)
            else:
                self._under_way.add(packet_id)
                found.append(NEW)
        self._check()
        return found

    def stored(self, packed: bytes) -> int:
        """These are stored, in the commit that keeps their identifiers: PUBREC is due."""
        for packet_id in ids_of(packed):
            if packet_id in self._under_way:
                self._under_way.remove(packet_id)
                self._taken.add(packet_id)
        return 0

    def refused(self, packed: bytes) -> int:
        """These are not: a PUBREC that says so ends them (4.3.3)."""
        self._under_way.difference_update(ids_of(packed))
        return 0

    def released(self, packed: bytes) -> tuple[bytes, bytes]:
        """PUBREL: identifiers that were taken, and that are free when PUBCOMP is written, and those that were not, for which it says so."""
        known, unknown = [], []
        for packet_id in ids_of(packed):
            if packet_id in self._taken:
                self._taken.remove(packet_id)
                known.append(packet_id)
            else:
                unknown.append(packet_id)
        return (pack_ids(known), pack_ids(unknown)) if unknown else (packed, b"")

    def resume(self, receive_maximum: int) -> None:
        """The session goes on with another connection, which knows nothing of answers that are still due. What is under way stays so."""
        self.receive_maximum = receive_maximum
        self._unanswered = 0

    def restore(self, runs: Iterable[tuple[int, int]]) -> None:
        """These identifiers of QoS 2 were taken on another connection, (first, count) each."""
        for first, count in runs:
            self._taken.update(range(first, first + count))

    def pack(self) -> bytes:
        """The stored form. What is under way is not in it: its commit is."""
        return bytes((_VERSION,)) + pack_ids(sorted(self._taken))

    def _check(self) -> int:
        count = self._unanswered + len(self._under_way) + len(self._taken)
        if count > self.receive_maximum:
            raise MqttError(ReasonCode.RECEIVE_MAXIMUM_EXCEEDED, f"{count} messages are not answered; there may be {self.receive_maximum}")
        return 0


def unpack(data: bytes, receive_maximum: int) -> Incoming:
    """CorruptData where it is no stored form."""
    if not data or data[0] != _VERSION or len(data) % 2 == 0:
        raise CorruptData(f"identifiers of {len(data)} bytes, version {data[:1].hex()}")
    listed = ids_of(data[1:])
    if listed and (listed[0] == 0 or any(a >= b for a, b in pairwise(listed))):
        raise CorruptData("identifiers that do not ascend")
    incoming = Incoming(receive_maximum)
    incoming.restore((packet_id, 1) for packet_id in listed)
    return incoming
