"""Outlet: where one end of a link's owners puts frames. It knows whether something new may be begun.

What a front sends it has routed by its catalogue: before the first frame that is by another revision than those before goes that one (hot_frames.routed()).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import cython

from entrepot.broker.catalogue.changes import NO_REVISION, Revision
from entrepot.cluster.owners import hot_frames, words
from entrepot.model.errors import NotDone, Reason, Refused, Unavailable

if not cython.compiled:
    from entrepot.cluster.link import Link


class HasRevision(Protocol):
    """A catalogue, as far as it says how far it is."""

    revision: Revision


class Outlet:
    """Of one link, for its owner numbered `owner`. `wake` is called for what waits. `away`: why nothing new is begun; None: it may be.

    `is_over`: the other end is no more. `routes`: of a front whose catalogue others follow, too; None: it is the owner's own.
    """

    def __init__(self, link: Link, owner: int, wake: Callable[[], None], routes: HasRevision | None = None) -> None:
        self._link = link
        self._routes = routes
        self._told = NO_REVISION
        self.owner = owner
        self.wake = wake
        self.away: NotDone | None = None
        self.is_over = False

    def check_there(self) -> None:
        """Raises Unavailable: nothing new may be begun, for the other is away. For what is bounded by itself, whatever else waits there, deliveries mostly."""
        if self.away is not None:
            raise self.away.again()

    def check(self) -> None:
        """Raises Unavailable: nothing new may be begun, for that, or because much waits."""
        self.check_there()
        if self._link.is_full:
            raise Unavailable(f"'{self._link.name}' has not answered for long, and much waits for it")

    def send(self, *parts: bytes) -> None:
        """One frame, which comes when there is a connection; nothing when the other end is no more. Raises Refused: it is too long for one."""
        if self.is_over:
            return
        if self._routes is not None and self._routes.revision is not self._told:
            self._told = self._routes.revision
            self._link.send(hot_frames.routed(self.owner, *self._told))
        try:
            self._link.put(parts)
        except ValueError as error:
            raise Refused(Reason.TOO_LARGE, str(error)) from None
        self.wake()

    def say(self, what: Any) -> None:
        """A frame of words.py."""
        self.send(words.encode(self.owner, what))

    def end(self, error: NotDone) -> None:
        """The other end is no more."""
        self.is_over = True
        self.away = error
