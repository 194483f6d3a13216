"""MemberLink: a process that follows, as the decider's stream sees it: what it is sent goes over its link."""

from __future__ import annotations

from entrepot.cluster.catalogue.frames import Change, Snapshot, encode
from entrepot.cluster.link import Link


class MemberLink:
    """See stream.Member. `start_id`: of its homes. `is_lost`: its link was full, and it has not been sent everything: it has to join anew.

    `is_sent`: its snapshot is.
    """

    def __init__(self, link: Link, start_id: bytes) -> None:
        self.link = link
        self.start_id = start_id
        self.is_lost = False
        self.is_sent = False

    def restart(self, snapshot: bytes) -> None:
        """See stream.Member."""
        self.is_lost = self.link.is_full
        if not self.is_lost:
            self.is_sent = True
            self.link.send(*encode(Snapshot(snapshot)))

    def take(self, change: bytes) -> None:
        """See stream.Member."""
        self.is_lost |= self.link.is_full
        if not self.is_lost:
            self.link.send(*encode(Change(change)))
