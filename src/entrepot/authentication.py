"""Checking passwords without holding up the loop: what listeners ask, over the users of the catalogue.

A password's check is a key derivation of milliseconds, which runs without the GIL in one thread of its own; a password that was
right a while ago is answered at once. Who waits for a check waits in line with those from its own address and of its own name (login_line.py); who has
been wrong often waits for its answer, longer each time (failed_logins.py). A crowd of guesses costs those who guess.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from entrepot.broker.users.credentials import USER_NAME_SIZE_MAX, ScramVerifier
from entrepot.broker.users.users import PlainCheck, Users
from entrepot.clock import Clock
from entrepot.failed_logins import FailedLogins
from entrepot.login_line import LoginLine, Waiting
from entrepot.model.errors import Refused
from entrepot.model.principal import Principal
from entrepot.net.arrivals import source_of
from entrepot.net.session import Peer


class Authenticator:
    """One per process. `close` ends its thread."""

    def __init__(self, users: Users, loop: asyncio.AbstractEventLoop, clock: Clock) -> None:
        self._users = users
        self._loop = loop
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="entrepot-password")
        self._line = LoginLine()
        self._failed = FailedLogins()
        self._is_checking = False
        self.refused = 0  # since start

    @property
    def waiting(self) -> int:
        """Passwords that wait for their check."""
        return self._line.count

    def plain(self, name: str, password: str, peer: Peer, done: Callable[[Principal | None], object]) -> None:
        """done(who it is, or None): now or later, on the loop."""
        source = source_of(peer.host)
        try:
            found = self._users.begin_plain(name, password, peer.is_loopback)
        except Refused:
            self.wrong(name, peer, partial(done, None))
            return
        if not isinstance(found, PlainCheck):
            done(found)
            return
        dropped = self._line.add(Waiting(source, _kept(name), found, lambda principal: self._answer(name, peer, principal, done)))
        if dropped is not None:
            dropped.done(None)
        self._check_next()

    def wrong(self, name: str, peer: Peer, answer: Callable[[], object]) -> None:
        """Somebody did not show that it is `name`: answer() is called, the later the oftener that has happened."""
        self.refused += 1
        delay_s = self._failed.failed(source_of(peer.host), _kept(name), self._clock.monotonic_s())
        if delay_s:
            self._loop.call_later(delay_s, answer)
        else:
            answer()

    def credential_of(self, principal: Principal) -> bytes | None:
        """See Users: of somebody who goes on at another process."""
        return self._users.credential_of(principal)

    def who_has(self, name: str, mechanism: str, credential: bytes) -> Principal | None:
        """See Users: who comes from another process."""
        return self._users.who_has(name, mechanism, credential)

    def anonymous(self, peer: Peer) -> Principal | None:
        """Who a connection is that shows no credentials: guest, from loopback, while there is no other user and guest is as it came."""
        return self._users.anonymous(peer.is_loopback)

    def scram(self, name: str, mechanism: str, peer: Peer) -> ScramVerifier:
        """What a SCRAM proof of `name` is checked against; for nobody's name, and guest from elsewhere, one that no proof fits."""
        return self._users.scram_verifier(name, mechanism, peer.is_loopback)

    def scram_done(self, name: str, mechanism: str, verifier: ScramVerifier) -> Principal | None:
        """Who has shown a proof that `verifier` took; None where user or password are others meanwhile."""
        return self._users.scram_principal(name, mechanism, verifier)

    def namespace_of(self, principal: Principal, usual: str) -> str:
        """The namespace of a connection whose protocol names none: the usual one where the user may use it, else the user's first."""
        user = self._users.maybe_user(principal.name)
        if user is None or not user.namespaces or usual in user.namespaces:
            return usual
        return user.namespaces[0]

    def close(self) -> None:
        """Checks that wait are not made."""
        self._is_checking = True
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _check_next(self) -> None:
        if self._is_checking:
            return
        waiting = self._line.next()
        if waiting is None:
            return
        self._is_checking = True
        self._loop.run_in_executor(self._thread, waiting.check.run).add_done_callback(partial(self._checked, waiting))

    def _checked(self, waiting: Waiting, future: asyncio.Future[bool]) -> None:
        if future.cancelled():
            return
        self._is_checking = False
        self._check_next()
        try:
            principal = self._users.finish_plain(waiting.check, future.result())
        except Refused:
            principal = None
        waiting.done(principal)

    def _answer(self, name: str, peer: Peer, principal: Principal | None, done: Callable[[Principal | None], object]) -> None:
        if principal is None:
            self.wrong(name, peer, partial(done, None))
        else:
            self._failed.succeeded(source_of(peer.host), _kept(name))
            done(principal)


def _kept(name: str) -> str:
    """What is remembered of a name: a stranger's may be as long as a request, and nobody's is longer than this."""
    return name[:USER_NAME_SIZE_MAX]
