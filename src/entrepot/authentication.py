"""Checking passwords without holding up the loop: what listeners ask, over the users of the catalogue.

A password's check is a key derivation of milliseconds, which runs without the GIL in one thread of its own; a password that was
right a while ago is answered at once. At most CHECKS_MAX wait; one more is refused, so that a crowd of guesses costs only itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from entrepot.broker.credentials import ScramVerifier
from entrepot.broker.users import PlainCheck, Users
from entrepot.model.errors import Refused
from entrepot.model.principal import Principal
from entrepot.net.session import Peer

CHECKS_MAX = 1000


class Authenticator:
    """One per process. `close` ends its thread."""

    def __init__(self, users: Users, loop: asyncio.AbstractEventLoop) -> None:
        self._users = users
        self._loop = loop
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="entrepot-password")
        self.waiting = 0
        self.refused = 0  # since start

    def plain(self, name: str, password: str, peer: Peer, done: Callable[[Principal | None], object]) -> None:
        """done(who it is, or None): now or later, on the loop."""
        try:
            found = self._users.begin_plain(name, password, peer.is_loopback)
        except Refused:
            found = None
        if not isinstance(found, PlainCheck):
            self._answer(found, done)
        elif self.waiting >= CHECKS_MAX:
            self._answer(None, done)
        else:
            self.waiting += 1
            self._loop.run_in_executor(self._thread, found.run).add_done_callback(lambda future: self._checked(found, future, done))

    def anonymous(self, peer: Peer) -> Principal | None:
        """Who a connection is that shows no credentials: guest, from loopback, while there is no other user and guest is as it came."""
        return self._users.anonymous(peer.is_loopback)

    def scram(self, name: str, mechanism: str, peer: Peer) -> ScramVerifier:
        """What a SCRAM proof of `name` is checked against; for nobody's name, and guest from elsewhere, one that no proof fits."""
        return self._users.scram_verifier(name, mechanism, peer.is_loopback)

    def scram_done(self, name: str, mechanism: str) -> Principal | None:
        """Who has shown the proof; None where the user is gone meanwhile."""
        return self._users.scram_principal(name, mechanism)

    def namespace_of(self, principal: Principal, usual: str) -> str:
        """The namespace of a connection whose protocol names none: the usual one where the user may use it, else the user's first."""
        user = self._users.maybe_user(principal.name)
        if user is None or not user.namespaces or usual in user.namespaces:
            return usual
        return user.namespaces[0]

    def close(self) -> None:
        """Checks that wait are not made."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _checked(self, check: PlainCheck, future: asyncio.Future[bool], done: Callable[[Principal | None], object]) -> None:
        self.waiting -= 1
        if future.cancelled():
            return
        try:
            principal = self._users.finish_plain(check, future.result())
        except Refused:
            principal = None
        self._answer(principal, done)

    def _answer(self, principal: Principal | None, done: Callable[[Principal | None], object]) -> None:
        if principal is None:
            self.refused += 1
        done(principal)
