"""LinkSession: one connection of a link as a state machine: greeting, proof, frames. Sans-IO: it opens no socket and never waits (net/session.py).

    GREETING   who has connected sends his at once, the other when it has read that
    PROOF      both send theirs, and read the other's: from then on it is known who is at the other end
    OPEN       the Link goes on where it was: what the other has not had is sent again, then what is new

A connection that says nothing for SILENCE_S is closed; that is the connection's end, and not the link's. Its `output_max_bytes` is WINDOW_BYTES at least.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from entrepot.clock import Clock
from entrepot.cluster import greeting
from entrepot.cluster.greeting import Greeting, Heard
from entrepot.cluster.link import Link, LinkCore
from entrepot.cluster.link_frames import ALIVE_FRAME
from entrepot.model.errors import CorruptData
from entrepot.model.printable import printable
from entrepot.net.receive_buffer import BUFFER_MAX_BYTES, BUFFER_MIN_BYTES
from entrepot.net.session import Wake

GREETING_S = 5.0  # for greeting and proof together
ALIVE_S = 1.0  # after so long without anything to send an end says that it is there
SILENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this process is: the cluster's id, its own name in it, this start of it (greeting.py), and the random key that all of the cluster share.

    Raises ValueError.
    """

    cluster: str
    name: str
    start: bytes
    key: bytes

    def __post_init__(self) -> None:
        if not greeting.are_names(self.cluster, self.name):
            raise ValueError(f"cluster '{self.cluster}' and process '{self.name}' need names of 1 to {greeting.NAME_MAX_BYTES} bytes")
        if len(self.start) != greeting.START_SIZE:
            raise ValueError(f"a start of {len(self.start)} bytes; give {greeting.START_SIZE}")
        if len(self.key) < greeting.KEY_MIN_BYTES:
            raise ValueError(f"the cluster's key has {len(self.key)} bytes; give {greeting.KEY_MIN_BYTES} random ones or more")


class Ends(Protocol):
    """Who keeps the links of this process, one for each of the others."""

    def known(self, name: str) -> Link | None:
        """The link with the process of that name, whatever start of it."""

    def admit(self, name: str, start: bytes) -> Link:
        """The link with that start of it, no earlier one than known() has: that, or a new one in its place. Raises CorruptData: it is not to be heard."""

    def opened(self, session: LinkSession) -> None:
        """`session.link` goes over this connection now; one that went over before is superseded() before anything else happens."""

    def frames(self, link: Link, found: list[bytes]) -> None:
        """These have come, and will not again: it must not raise, and what cannot be heeded is the end of this start."""

    def ended(self, session: LinkSession, reason: str) -> None:
        """A connection is gone, perhaps one that was superseded: `session.link` is that of its time, None if it never opened."""


class State(Enum):
    """See the module."""

    GREETING = 1
    PROOF = 2
    OPEN = 3
    CLOSING = 4


class LinkSession(LinkCore):
    """See the module. `dials`: the name of the process that was connected to, where this end has connected; None where it was connected to.

    `nonce`: NONCE_SIZE octets that nobody can guess. later(seconds, call): a timer. journal(text): for the operator.
    """

    def __init__(
        self,
        identity: Identity,
        ends: Ends,
        dials: str | None,
        clock: Clock,
        nonce: bytes,
        wake: Wake,
        later: Callable[[float, Callable[[], None]], object],
        journal: Callable[[str], None],
    ) -> None:
        super().__init__(ends, clock, wake, later)
        # what net sees
        self.closing = False
        self.paused = False
        self.next_deadline = 0.0
        # who
        self.link: Link | None = None
        self._identity = identity
        self._dials = dials
        self._nonce = nonce
        # how far
        self.state = State.GREETING
        self._journal = journal
        self._decoder.of_stranger(BUFFER_MIN_BYTES)
        self._raw = b""  # our greeting
        self._told = (b"", 0)  # what it says of the link
        self._heard: Heard | None = None
        self._why = ""
        self.next_deadline = self._heard_s + GREETING_S
        if dials is not None:
            self._greet(dials)

    @property
    def established(self) -> bool:
        """See net.session.Session."""
        return self.state is State.OPEN

    # ---- bytes in

    def early(self, count: int) -> None:
        """Greeting and proof, and perhaps the first frames."""
        if self.closing:
            self._decoder.drop()
            return
        self._heard_s = self._clock.monotonic_s()
        try:
            if self.state is State.GREETING:
                self._read_greeting()
            if self.state is State.PROOF:
                self._read_proof()
        except CorruptData as error:
            self.end(str(error))
        if self.output.link is not None:
            self.more(count)

    def _read_greeting(self) -> None:
        head = self._decoder.peek(greeting.HEAD_SIZE)
        if head is None:
            return
        raw = self._decoder.take(greeting.HEAD_SIZE + greeting.body_size(head))
        if raw is None:
            return
        heard = greeting.decode(raw)
        said = heard.said
        if said.cluster != self._identity.cluster:
            raise CorruptData(f"'{printable(said.name, 100)}' is of another cluster, '{printable(said.cluster, 100)}'")
        if said.name == self._identity.name:
            raise CorruptData(f"the other end is called '{printable(said.name, 100)}', as this one")
        if self._dials is not None and said.name != self._dials:
            raise CorruptData(f"'{printable(said.name, 100)}' answers where '{self._dials}' should be")
        self._heard = heard
        if self._dials is None:
            self._greet(said.name)
        self.output.first.append(self._proof(self._dials is not None))
        self.state = State.PROOF
        self._wake()

    def _greet(self, name: str) -> None:
        """What is told is what is so now: nothing of that link may be heeded over another connection before this one opens."""
        link = self._ends.known(name)
        peer, received = (b"", 0) if link is None else (link.peer, link.received)
        self._told = (peer, received)
        identity = self._identity
        self._raw = greeting.encode(Greeting(identity.cluster, identity.name, identity.start, peer, received, self._nonce))
        self.output.first.append(self._raw)

    def _proof(self, dialled: bool) -> bytes:
        assert self._heard is not None
        ours = (self._raw, self._heard.raw)
        return greeting.proof(self._identity.key, dialled, *(ours if self._dials is not None else ours[::-1]))

    def _read_proof(self) -> None:
        found = self._decoder.take(greeting.PROOF_SIZE)
        if found is None:
            return
        assert self._heard is not None
        said = self._heard.said
        if not hmac.compare_digest(found, self._proof(self._dials is None)):
            raise CorruptData(f"'{printable(said.name, 100)}' does not know the cluster's key")
        known = self._ends.known(said.name)
        if known is not None and said.start < known.peer:  # it proved itself, and has ended meanwhile
            raise CorruptData(f"an earlier start of '{known.name}' than the one that there is a link with")
        link = self._ends.admit(said.name, said.start)
        if (link.peer, link.received) != (self._told if self._told[0] == link.peer else (link.peer, 0)):
            raise CorruptData(f"what '{link.name}' was told of the link is so no longer")  # another connection was quicker: the next one will do
        received = said.received if said.peer_start == self._identity.start else 0
        if not link.may_resume(received):
            raise CorruptData(f"'{link.name}' has lost what it had of the link: it has {received} frames, and acknowledged {link.acknowledged}")
        link.resume(received)
        link.wake = self._wake
        self.link = link
        self.output.link = link
        self.state = State.OPEN
        self._decoder.of_user(BUFFER_MAX_BYTES, None)
        self.next_deadline = self._heard_s + ALIVE_S
        self._ends.opened(self)
        self._wake()

    # ---- the rest of its life

    def superseded(self) -> None:
        """The link goes over another connection."""
        self.end("another connection has taken its place")

    def deadline_reached(self, now: float) -> None:
        """Time for a sign of life, or the other has given none."""
        if self.state in (State.GREETING, State.PROOF):
            self.end(f"no greeting and proof within {GREETING_S:g} s")
        elif self.state is State.OPEN:
            if now - self._heard_s >= SILENCE_S:
                self.end(f"nothing was heard for {SILENCE_S:g} s")
                return
            if self.output.size == 0:
                self.output.first.append(ALIVE_FRAME)
            self.next_deadline = now + ALIVE_S
            self._wake()

    def shut_down(self, reason: str) -> None:
        """See net.session.Session."""
        self.end(reason)

    def lost(self, reason: str) -> None:
        """See net.session.Session."""
        self.closing = True
        self.state = State.CLOSING
        self.output.link = None
        self._ends.ended(self, self._why or reason)

    def end(self, why: str) -> None:
        """See LinkCore."""
        if not self.closing:
            self._why = why
            if self.state is not State.OPEN:
                self._journal(f"link refused: {why}")
            self.closing = True
            self.state = State.CLOSING
            self.output.link = None
            self.next_deadline = 0.0
            self._wake()
