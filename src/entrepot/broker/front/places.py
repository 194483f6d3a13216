"""Place: a queue whose leases are timed, as one door knows it: found once by its name, and with what the door's principal may do there."""

from __future__ import annotations

from typing import Any

from entrepot.broker.owners import Lane


class Place:
    """Holds as long as its owner says so of the lane, and `version` is the authorizer's."""

    __slots__ = ("lane", "may_read", "may_write", "version")

    def __init__(self, lane: Lane, may_read: bool, may_write: bool, version: Any) -> None:
        self.lane = lane
        self.may_read = may_read
        self.may_write = may_write
        self.version = version
