"""Crossing: what fronts and owners of two processes say to each other over one link, for as long as both starts are.

A link carries both ways: what the front here asks owners there, and what the front there asks owners here. Owners are numbered by their process.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable

from entrepot.broker.owner.local_owner import LocalOwner
from entrepot.cluster.link import Link
from entrepot.cluster.owners.kinds import ANSWERS
from entrepot.cluster.owners.outlet import Outlet
from entrepot.cluster.owners.remote_owner import RemoteOwner
from entrepot.cluster.owners.served_owner import Here, ServedOwner
from entrepot.model.errors import CorruptData

OWNERS_MAX = 256


class Crossing:
    """`remote`: the `remote_count` owners there. `served`: the owners here, as the front there reaches them. `wake`: something waits to be sent.

    journal(text) has where a frame failed that nobody has foreseen.
    """

    def __init__(
        self, link: Link, owners: list[LocalOwner], remote_count: int, here: Here, wake: Callable[[], None], journal: Callable[[str], None] | None = None
    ) -> None:
        assert max(len(owners), remote_count) <= OWNERS_MAX
        self.link = link
        self.served = [ServedOwner(owner, Outlet(link, number, wake), here) for number, owner in enumerate(owners)]
        self.remote = [RemoteOwner(Outlet(link, number, wake)) for number in range(remote_count)]
        self.is_over = False
        self._journal = journal

    def heed(self, frames: list[bytes]) -> None:
        """These have come. Raises CorruptData, and nothing else: the other start says what cannot be understood; it is to be declared dead()."""
        if self.is_over:
            return
        for frame in frames:
            if len(frame) < 2:
                raise CorruptData(f"a frame of {len(frame)} bytes")
            try:
                self._heed(frame)
            except CorruptData:
                raise
            except Exception as error:
                if self._journal is not None:
                    self._journal(f"a frame of kind {frame[0]} from '{self.link.name}': {''.join(traceback.format_exception(error))}")
                raise CorruptData(f"a frame of kind {frame[0]} that cannot be carried out: {error!r:.200}") from error
        for served in self.served:
            served.flush()

    def _heed(self, frame: bytes) -> None:
        sides: list[RemoteOwner] | list[ServedOwner] = self.remote if frame[0] >= ANSWERS else self.served
        if frame[1] >= len(sides):
            raise CorruptData(f"a frame of kind {frame[0]} for owner {frame[1]} of {len(sides)}")
        sides[frame[1]].heed(frame)

    def away(self, text: str) -> None:
        """There has been no connection for long: nothing new is begun."""
        for remote in self.remote:
            remote.away(text)

    def back(self) -> None:
        """There is one again."""
        for remote in self.remote:
            remote.back()

    def dead(self) -> None:
        """The other start is no more."""
        if not self.is_over:
            self.is_over = True
            for served in self.served:
                served.dead()
            for remote in self.remote:
                remote.dead()
