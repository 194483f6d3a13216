"""Outlet: where one end of a link's owners puts frames. It knows whether something new may be begun."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from entrepot.cluster.link import Link
from entrepot.cluster.owners import words
from entrepot.model.errors import NotDone, Reason, Refused, Unavailable


class Outlet:
    """Of one link, for its owner numbered `owner`. `wake` is called for what waits. `away`: why nothing new is begun; None: it may be.

    `is_over`: the other end is no more.
    """

    __slots__ = ("_link", "away", "is_over", "owner", "wake")

    def __init__(self, link: Link, owner: int, wake: Callable[[], None]) -> None:
        self._link = link
        self.owner = owner
        self.wake = wake
        self.away: NotDone | None = None
        self.is_over = False

    def check(self) -> None:
        """Raises Unavailable: nothing new may be begun."""
        if self.away is not None:
            raise self.away.again()
        if self._link.is_full:
            raise Unavailable(f"'{self._link.name}' has not answered for long, and much waits for it")

    def send(self, *parts: bytes) -> None:
        """One frame, which comes when there is a connection; nothing when the other end is no more. Raises Refused: it is too long for one."""
        if self.is_over:
            return
        try:
            self._link.send(*parts)
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
