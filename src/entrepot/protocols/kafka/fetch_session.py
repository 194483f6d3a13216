"""Fetch sessions (KIP-227): what a connection fetches is remembered between its requests, and only what changed goes over the wire.

A session is of one connection, which has at most one. Without one (an old client, or too many sessions in the process) every request names all
partitions; they are remembered too, so that the broker keeps its places.
"""

from __future__ import annotations

from typing import Any

from entrepot.broker.calls.partition_calls import ReadPart
from entrepot.protocols.kafka.error_codes import ErrorCode
from entrepot.protocols.kafka.fetch_codec import FetchRequest, FetchTable

SESSIONS_MAX = 16_000  # of the process; Kafka's default is 1,000, a matter of its memory
EPOCH_MAX = 0x7FFFFFFF
FULL = 0  # epoch of a request that wants a new session
FINAL = -1  # epoch of a request that wants none


class FetchSlots:
    """How many sessions there are in the process. `entropy` makes their ids."""

    def __init__(self, entropy: Any, sessions_max: int = SESSIONS_MAX) -> None:
        self.count = 0
        self._entropy = entropy
        self._sessions_max = sessions_max

    def open(self) -> int:
        """A new session's id, or 0 when there are too many."""
        if self.count >= self._sessions_max:
            return 0
        self.count += 1
        return int.from_bytes(self._entropy.octets(4), "big") & EPOCH_MAX or 1

    def close(self) -> None:
        """A session has ended."""
        self.count -= 1


class FetchSessions:
    """A connection's session, if it has one, and its table."""

    __slots__ = ("_slots", "epoch", "id", "table")

    def __init__(self, slots: FetchSlots) -> None:
        self._slots = slots
        self.id = 0
        self.epoch = 0  # of the next request
        self.table = FetchTable()

    def enter(self, request: FetchRequest, by_id: bool) -> ErrorCode:
        """Where a request goes: into the session that it names, a new one, or none. What the error is, if it is one."""
        if request.session_epoch in (FULL, FINAL):
            if self.id:
                self._slots.close()
                self.id = 0
            if request.session_epoch == FULL:
                self.id = self._slots.open()
                self.epoch = 1
            self.table.by_id = by_id
            return ErrorCode.NONE
        if not self.id or request.session_id != self.id:
            return ErrorCode.FETCH_SESSION_ID_NOT_FOUND
        if request.session_epoch != self.epoch:
            return ErrorCode.INVALID_FETCH_SESSION_EPOCH
        if self.table.by_id != by_id:
            return ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR
        self.epoch = self.epoch + 1 if self.epoch < EPOCH_MAX else 1
        return ErrorCode.NONE

    def clear(self) -> list[ReadPart]:
        """The connection has ended: give the session back; its parts."""
        if self.id:
            self._slots.close()
            self.id = 0
        parts = self.table.all_parts()
        self.table = FetchTable()
        return parts
