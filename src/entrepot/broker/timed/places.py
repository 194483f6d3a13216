"""Place: a queue whose leases are timed, as one door knows it: found once by its name, and with what the door's principal may do there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from entrepot.broker.timed.sending import Sending
    from entrepot.broker.timed.timed_queue import TimedQueue


class Place:
    """Holds as long as its queue lives and `version` is the authorizer's."""

    __slots__ = ("may_read", "may_write", "sending", "timed", "version")

    def __init__(self, timed: TimedQueue, may_read: bool, may_write: bool, version: Any) -> None:
        self.timed = timed
        self.sending: Sending = timed.sending
        self.may_read = may_read
        self.may_write = may_write
        self.version = version
