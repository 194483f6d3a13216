"""MemberLink: a process that follows, as the decider's stream sees it: what it is sent goes over its link."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from entrepot.broker.catalogue.changes import Revision
from entrepot.cluster.catalogue.frames import Change, Snapshot, encode
from entrepot.cluster.link import FRAME_BYTES, Link

UNAPPLIED_MAX_BYTES = 64 << 20  # of changes that it has not said to have applied: what comes behind a snapshot waits in its memory
PIECES_MAX_BYTES = 1 << 20  # of a snapshot that are on their way: beyond, no more of it is cut


class MemberLink:
    """See stream.PieceMember. `start_id`: of its homes. `is_lost`: its link was full, or much waits there to be applied, and it has not been sent everything:
    it has to join anew. `is_sent`: its snapshot is. `revision`(): of the catalogue, here and now.
    """

    def __init__(self, link: Link, start_id: bytes, revision: Callable[[], Revision]) -> None:
        self.link = link
        self.start_id = start_id
        self.is_lost = False
        self.is_sent = False
        self._on_their_way: deque[tuple[int, int]] = deque()  # pieces of a snapshot: their places in the link, and sizes
        self._bytes = 0  # of them
        self._revision = revision
        self._unapplied: deque[tuple[Revision, int]] = deque()  # changes, by what was so when they were sent, and how much memory they take there
        self._unapplied_bytes = 0

    def has_room(self, pending: int) -> bool:
        """See stream.PieceMember. Whatever else is on its way there; who is lost needs no more of it."""
        while self._on_their_way and self._on_their_way[0][0] <= self.link.acknowledged:
            self._bytes -= self._on_their_way.popleft()[1]
        return not self.is_lost and not self.link.is_full and self._bytes + pending <= min(PIECES_MAX_BYTES, self.link.held_max // 2)

    def piece(self, piece: bytes, number: int, is_last: bool) -> None:
        """See stream.PieceMember."""
        self.is_lost |= self.link.is_full
        if not self.is_lost:
            self.is_sent = is_last
            self.link.send(*encode(Snapshot(piece, number, is_last)))
            self._on_their_way.append((self.link.sent, len(piece)))
            self._bytes += len(piece)

    def restart(self, snapshot: bytes) -> None:
        """See stream.Member."""
        self.piece(snapshot, 0, True)

    def take(self, change: bytes) -> None:
        """See stream.Member."""
        self.is_lost |= self.link.is_full or self._unapplied_bytes > UNAPPLIED_MAX_BYTES
        if not self.is_lost:
            self.link.send(*encode(Change(change)))
            size = len(change) + FRAME_BYTES
            self._unapplied.append((self._revision(), size))
            self._unapplied_bytes += size

    def has_applied(self, revision: Revision) -> None:
        """Everything up to there."""
        while self._unapplied and self._unapplied[0][0] <= revision:
            self._unapplied_bytes -= self._unapplied.popleft()[1]
