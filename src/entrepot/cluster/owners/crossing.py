"""Crossing: what fronts and owners of two processes say to each other over one link, for as long as both starts are.

A link carries both ways: what the front here asks owners there, and what the front there asks owners here. Owners are numbered by their process: HOME is
what ends with its start, the others are durable. When a process is there again, the Crossing with its new start goes on with those of the one before.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable

from entrepot.broker.catalogue.catalogue import Catalogue
from entrepot.broker.catalogue.changes import Revision
from entrepot.broker.owner.local_owner import LocalOwner
from entrepot.cluster.link import Link
from entrepot.cluster.owners import hot_frames
from entrepot.cluster.owners.kinds import ANSWERS, CLAIM, CLAIMED, DOOR, READ, ROUTED
from entrepot.cluster.owners.outlet import Outlet
from entrepot.cluster.owners.remote_owner import RemoteOwner
from entrepot.cluster.owners.served_owner import Here, ServedOwner
from entrepot.cluster.owners.taken_stages import TakenStages
from entrepot.model.errors import CorruptData

OWNERS_MAX = 256
HOME = 0
RETURN_S = 30.0  # for how long a process that has ended is waited for, before give_up()

WAITING_MAX = 1_000_000  # frames of a front that wait, for the catalogue or because owners are held

_CLAIMING = frozenset({DOOR, READ, CLAIM, CLAIMED, ROUTED})


class Crossing:
    """`remote`: the `remote_count` owners there. `served`: the owners here, as the front there reaches them. `wake`: something waits to be sent.

    journal(text) has where a frame failed that nobody has foreseen. `before`: the Crossing with the start of that process before this one, if it is dead().
    While the owners here are held (returning.py) nothing is heeded of a front, and from heed_claims() on only its claims: claimed() is called when all have
    come. The rest waits for go_on(). `catalogue`: of this process, where each of the two follows; what a front has routed by a later revision than has come
    here waits until that has. What fails then is told to corrupt(error).
    """

    def __init__(
        self,
        link: Link,
        owners: list[LocalOwner],
        remote_count: int,
        here: Here,
        wake: Callable[[], None],
        journal: Callable[[str], None] | None = None,
        before: Crossing | None = None,
        catalogue: Catalogue | None = None,
    ) -> None:
        assert max(len(owners), remote_count) <= OWNERS_MAX
        self.link = link
        self.is_over = False
        self.claimed: Callable[[], None] = _nothing
        self.served = [
            ServedOwner(
                owner, Outlet(link, number, wake), here, None if number == HOME else TakenStages(owner.store, here.row_shard(owner), link.name, link.peer)
            )
            for number, owner in enumerate(owners)
        ]
        self._heeds_claims = False
        self._kept: list[bytes] | None = [] if owners and owners[HOME].hub.held else None
        self._behind: list[bytes] | None = None  # of a front whose catalogue is ahead
        self._catalogue = catalogue
        self._journal = journal
        self.corrupt: Callable[[CorruptData], None] = _raised
        self.remote = [self._reached(Outlet(link, number, wake, catalogue), here, before) for number in range(remote_count)]

    @staticmethod
    def _reached(outlet: Outlet, here: Here, before: Crossing | None) -> RemoteOwner:
        number = outlet.owner
        if number == HOME or before is None or number >= len(before.remote):
            return RemoteOwner(outlet, here.scheduler, number != HOME)
        remote = before.remote[number]
        remote.resume(outlet)
        return remote

    def heed(self, frames: list[bytes]) -> None:
        """These have come. Raises CorruptData, and nothing else: the other start says what cannot be understood; it is to be declared dead()."""
        asked = False
        frame = b""
        try:
            for frame in frames:
                if self.is_over:  # perhaps by what came before
                    return
                if len(frame) < 2:
                    raise CorruptData(f"a frame of {len(frame)} bytes")
                kind, owner = frame[0], frame[1]
                if kind >= ANSWERS:
                    if owner >= len(self.remote):
                        raise CorruptData(f"a frame of kind {kind} for owner {owner} of {len(self.remote)}")
                    self.remote[owner].heed(frame)
                    continue
                if owner >= len(self.served):
                    raise CorruptData(f"a frame of kind {kind} for owner {owner} of {len(self.served)}")
                asked = True
                if kind == ROUTED or self._kept is not None or self._behind is not None:
                    self._heed_in_turn(frame)
                else:
                    self.served[owner].heed(frame)
        except CorruptData:
            raise
        except Exception as error:
            if self._journal is not None:
                self._journal(f"a frame of kind {frame[0]} from '{self.link.name}': {''.join(traceback.format_exception(error))}")
            raise CorruptData(f"a frame of kind {frame[0]} that cannot be carried out: {error!r:.200}") from error
        finally:  # what came before a damaged one was taken
            if asked:
                for served in self.served:
                    served.flush()

    def _heed_in_turn(self, frame: bytes) -> None:
        """Of a front: where it may have to wait."""
        if self._behind is not None:
            self._put_off(self._behind, frame)
        elif self._kept is None:
            self._routed(frame)
        elif not self._heeds_claims or self.has_claimed or frame[1] == HOME or frame[0] not in _CLAIMING:
            self._put_off(self._kept, frame)
        elif frame[0] == ROUTED:
            self._routed(frame)
        else:
            self.served[frame[1]].heed(frame)
            if self.has_claimed:
                self.claimed()

    def _put_off(self, waiting: list[bytes], frame: bytes) -> None:
        """Stages among them are bounded by what a front keeps until they are answered; nobody has as many of anything else under way."""
        if len(waiting) >= WAITING_MAX:
            raise CorruptData(f"{WAITING_MAX} frames of '{self.link.name}' wait for the catalogue, or for who has something here to say so")
        waiting.append(frame)

    def _routed(self, frame: bytes) -> None:
        """What comes behind it waits until the catalogue here is as far."""
        revision = Revision(*hot_frames.read_routed(frame))
        if self._catalogue is not None and revision > self._catalogue.revision:
            self._behind = []
            self._catalogue.when(revision, self._caught_up)

    def _caught_up(self) -> None:
        behind, self._behind = self._behind, None
        try:
            self.heed(behind or [])
        except CorruptData as error:
            self.corrupt(error)

    @property
    def has_claimed(self) -> bool:
        """Whether the front there has said all that its consumers hold here."""
        return all(served.claims.is_over for served in self.served[HOME + 1 :])

    @property
    def claim_count(self) -> int:
        """How many claims it has said so far."""
        return sum(served.claims.count for served in self.served)

    def heed_claims(self) -> None:
        """The owners here have opened what they have. Raises CorruptData, as heed()."""
        self._heeds_claims = True
        if self._kept is not None:
            kept, self._kept = self._kept, []
            self.heed(kept)

    def go_on(self) -> None:
        """They are held no more. Raises CorruptData, as heed()."""
        kept, self._kept = self._kept, None
        self.heed(kept or [])

    def away(self, text: str) -> None:
        """There has been no connection for long: nothing new is begun."""
        for remote in self.remote:
            remote.away(text)

    def back(self) -> None:
        """There is one again."""
        for remote in self.remote:
            remote.back()

    def dead(self, returns: bool = False) -> None:
        """The other start is no more. `returns`: its process will be there again in a moment; what survives it waits for that, until it is given up."""
        if not self.is_over:
            self.is_over = True
            for served in self.served:
                served.dead()
            for remote in self.remote:
                remote.dead(returns)

    def give_up(self) -> None:
        """It has not come back for too long: who still waits for it is told so. Nothing, if it has."""
        for remote in self.remote:
            remote.give_up()


def _nothing() -> None:
    pass


def _raised(error: CorruptData) -> None:
    raise error
