"""Member: one process of several that are one broker, as a whole: its links, what goes over each, whether it decides the catalogue, and its own shards.

    begin()      the process that has shard 0 decides, the others follow; each opens its own shards, as far as the catalogue has come
    session()    a connection, to or from another process: who is there in which start is found by its greeting (Ends)
    dead()       a start of another process is no more: what it had here ends, and what was asked of it is answered
    why_not_ready  until the catalogue may be answered by, and all shards of its own are open

Which process has which shard is fixed (workers/place.py). Frames go by their first octet: the catalogue's, and those of owners. A start whose frames
cannot be understood is condemned: it is dead to this process, and whoever starts processes is told to end it.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection
from functools import partial

from entrepot.broker.broker import Broker
from entrepot.broker.logs.entry_codec import EntryCodec
from entrepot.broker.owner.local_owner import LocalOwner
from entrepot.clock import Clock
from entrepot.cluster import handover_frames
from entrepot.cluster.catalogue import frames as catalogue_frames
from entrepot.cluster.catalogue.deciding import Deciding
from entrepot.cluster.catalogue.following import Following
from entrepot.cluster.catalogue.homes import Homes
from entrepot.cluster.catalogue.leases import FrontLease, Leases
from entrepot.cluster.greeting import NONCE_SIZE, START_SIZE
from entrepot.cluster.handovers import Handovers
from entrepot.cluster.link import Link
from entrepot.cluster.link_figures import LinkFigures
from entrepot.cluster.link_session import Identity, LinkSession
from entrepot.cluster.owner_map import OwnerMap
from entrepot.cluster.owners.crossing import RETURN_S, Crossing
from entrepot.cluster.owners.returning import Returning
from entrepot.cluster.workers.place import SHARD_OF_DECISIONS, WorkerPlace, name_of
from entrepot.entropy import Entropy
from entrepot.model.errors import CorruptData, Unavailable
from entrepot.net.session import Wake
from entrepot.store.interface import Scheduler

AWAY_S = 2.0  # without a connection: from then on nothing new is begun there

REFUSED_MAX = 10  # connections that were refused: so many are told of, in REFUSED_S; who dials may try four times a second, for ever
REFUSED_S = 60.0

_FIRST_OF_OTHERS, _LAST_OF_OTHERS = catalogue_frames.FIRST_KIND, handover_frames.LAST_KIND  # kinds of frames that are not of owners

OWNERS = 2  # of each process: what is in its memory alone, and what is durable

Journal = Callable[[str], None]


class Here:
    """What served owners need of their process."""

    def __init__(self, broker: Broker, row_shard: int) -> None:
        self._broker = broker
        self.scheduler: Scheduler = broker.scheduler
        self._row_shard = row_shard

    def codec(self, tag: int) -> EntryCodec | None:
        """See served_owner.Here."""
        return self._broker.hub.maybe_codec(tag)

    def next_consumer_id(self) -> int:
        """See served_owner.Here."""
        return self._broker.next_consumer_id()

    def row_shard(self, owner: LocalOwner) -> int:
        """See served_owner.Here."""
        return self._row_shard


class Member:
    """Of one start. `owners`: the broker's table. `epoch`: of its store. `key`: what all processes of the cluster know.

    on_condemned(name, start, why): that start is to be ended. `dead`: names and starts that are said to be dead before begin(), which heeds them.
    """

    def __init__(
        self,
        *,
        place: WorkerPlace,
        broker: Broker,
        owners: OwnerMap,
        homes: Homes,
        epoch: int,
        clock: Clock,
        entropy: Entropy,
        cluster: str,
        key: bytes,
        journal: Journal,
        on_condemned: Callable[[str, bytes, str], None],
        dead: Collection[tuple[str, bytes]] = (),
    ) -> None:
        self.place = place
        self.links: dict[str, Link] = {}
        self.sessions: dict[str, LinkSession] = {}  # those that are open, by the name at the other end
        self.decides = place.worker_of(SHARD_OF_DECISIONS) == place.number
        self.deciding = Deciding(broker, homes, place.name, Leases(clock), lambda: True)
        self.following = Following(broker, FrontLease(clock))
        self.following.on_corrupt = self._condemn
        names = [name_of(number) for number in range(place.count)]
        self._handovers = Handovers(broker, place.name, names, self._elsewhere, homes, broken=self._broken, journal=journal)
        self._broker = broker
        self._owners = owners
        self._epoch = epoch
        self._clock = clock
        self._entropy = entropy
        self._identity = Identity(cluster, place.name, place.start_id, key)
        self._journal = journal
        self._on_condemned = on_condemned
        self._dead_before = dead
        self._here = Here(broker, place.number)  # shards begin at 0
        self._dead: dict[str, bytes] = {}  # the latest start of each process that is no more: all before it are none, either
        self._since_s: dict[str, float] = {}  # when a link was connected, or ceased to be
        self._given_up: dict[str, Crossing] = {}  # by name: another start of it goes on with their numbers, which it knows of this one
        self._closed: set[int] = set()  # shards of its own that are not open yet
        self._returning: Returning | None = None  # once it has begun
        self._is_stopping = False
        self._refused_from_s = clock.monotonic_s()
        self._refused_count = 0  # connections, since then

    # ---- its life

    def begin(self) -> None:
        """The broker is open: for a process that decides with its own shards, for one that follows with none."""
        broker = self._broker
        own = self.place.shards(broker.shards.count)
        self._closed = set() if self.decides else set(own)
        self._returning = Returning(
            broker.hub, broker.scheduler, self.place.others(), self._is_open, _nothing, lambda crossing, error: self._broken(crossing.link, error)
        )
        if self.decides:
            self.deciding.begin(self.place.others())
            self._handovers.opened_here(own)
        else:
            self.following.begin()
            for shard in own:
                broker.shard_moves.open(shard, self._epoch, partial(self._opened, shard))
        for name in self.place.others():
            self._expect(name)
        for name, start in self._dead_before:
            self.dead(name, start)

    def _expect(self, name: str) -> None:
        """It has not been there in this start: what is asked of its owners waits for it all the same, as for one that returns."""
        nobody = Link(name, bytes(START_SIZE))
        crossing = Crossing(nobody, [], OWNERS, self._here, _nothing, self._journal, catalogue=self._broker.catalogue)
        crossing.dead(returns=True)
        self._owners.crossings[name] = crossing
        self._broker.scheduler.call_later(RETURN_S, self._give_up, crossing)

    def _opened(self, shard: int) -> None:
        self._closed.discard(shard)
        if not self._closed:
            self._handovers.opened_here(self.place.shards(self._broker.shards.count))

    def _is_open(self) -> bool:
        return not self._closed and not self._broker.outbox.loading

    def _elsewhere(self, shard: int) -> str | None:
        """The process that has a shard; None: this one."""
        number = self.place.worker_of(shard)
        return None if number == self.place.number else name_of(number)

    def _broken(self, link: Link, error: CorruptData) -> None:
        if self.links.get(link.name) is link:
            self._condemn(link, str(error))

    def stop(self) -> None:
        """The process is about to end: what the others say, or whether they end, is none of its business. Its next start hears what it has not answered."""
        self._is_stopping = True

    @property
    def why_not_ready(self) -> str | None:
        """Why clients are not to be let in; None: they are."""
        try:
            if self.decides:
                self._broker.decisions.stream.check()
            else:
                self.following.check()
        except Unavailable as error:
            return str(error)
        if self._closed:
            return f"{len(self._closed)} shards are on their way"
        if self._returning is None or not self._returning.is_over:
            return "who holds what is still to be said by the others"
        return None

    def woken(self) -> None:
        """Something has come, perhaps after this process stood still: see Following.wake()."""
        self.following.wake()

    # ---- the others

    def to_dial(self) -> list[str]:
        """Whom this process connects to: of two, it is the one with the greater number that does."""
        return [name_of(number) for number in range(self.place.number)]

    def needs_connection(self, name: str) -> bool:
        """Whether there is none with that process."""
        return name not in self.sessions

    def session(self, dials: str | None, wake: Wake) -> LinkSession:
        """Of a new connection; `dials`: the process that was connected to, None: this one was."""
        nonce = self._entropy.octets(NONCE_SIZE)
        return LinkSession(self._identity, self, dials, self._clock, nonce, wake, self._broker.scheduler.call_later, self._refused)

    def _refused(self, text: str) -> None:
        """A connection, for that."""
        now_s = self._clock.monotonic_s()
        if now_s - self._refused_from_s >= REFUSED_S:
            if self._refused_count > REFUSED_MAX:
                self._journal(f"link refused: {self._refused_count - REFUSED_MAX} times more")
            self._refused_from_s, self._refused_count = now_s, 0
        self._refused_count += 1
        if self._refused_count <= REFUSED_MAX:
            self._journal(text)

    def dead(self, name: str, start: bytes) -> None:
        """That start is no more, or is dead to this process: nothing of it is heeded any more."""
        if self._is_stopping or self._is_dead(name, start) or name not in self.place.others():
            return
        self._dead[name] = start
        link = self.links.get(name)
        if link is None:
            self._absent(name)
            return
        if link.peer > start:
            return
        self._end(link)
        if self.decides:
            self.deciding.dead(link)

    def _is_dead(self, name: str, start: bytes) -> bool:
        return start <= self._dead.get(name, b"")

    def _absent(self, name: str) -> None:
        """No start of that process is there, and there was no link with one."""
        if self.decides:
            self.deciding.absent(name)
        if self._returning is not None:
            self._returning.gone(name)

    def _end(self, link: Link) -> None:
        """All that was with that start, but what waits for the next one."""
        del self.links[link.name]
        self._since_s[link.name] = self._clock.monotonic_s()
        session = self.sessions.pop(link.name, None)
        if session is not None:
            session.shut_down(f"that start of '{link.name}' is dead")
        crossing = self._owners.crossings.get(link.name)
        if crossing is not None:
            crossing.dead(returns=True)
            self._broker.scheduler.call_later(RETURN_S, self._give_up, crossing)
        if self._returning is not None:
            self._returning.gone(link.name)
        self._handovers.dead(link)
        self.following.dead(link)
        self._broker.shard_moves.forget_found()

    def _give_up(self, crossing: Crossing) -> None:
        """It has not come back for long."""
        if self._owners.crossings.get(crossing.link.name) is crossing:
            self._given_up[crossing.link.name] = self._owners.crossings.pop(crossing.link.name)
            crossing.give_up()
            self._broker.shard_moves.forget_found()

    def _condemn(self, link: Link, why: str) -> None:
        """Whatever fails in that, it is ended: else it would be refused here for as long as it lives."""
        if self._is_stopping:
            return
        self._journal(f"'{link.name}' is dead to this process: {why}")
        try:
            self.dead(link.name, link.peer)
        finally:
            self._on_condemned(link.name, link.peer, why)

    def _fails(self, link: Link, error: Exception) -> None:
        """What nobody has foreseen, amid what that start has said: a link half made, or a frame half heeded, is worse than none."""
        self._journal("".join(traceback.format_exception(error)))
        self._condemn(link, f"{error!r:.200}")

    # ---- see link_session.Ends

    def known(self, name: str) -> Link | None:
        """See Ends."""
        return self.links.get(name)

    def admit(self, name: str, start: bytes) -> Link:
        """See Ends."""
        if name not in self.place.others():
            raise CorruptData(f"'{name[:100]}' is none of the processes that there are")
        if self._is_dead(name, start) or self._is_stopping:
            raise CorruptData(f"that start of '{name}' was declared dead, or this process is about to end")
        link = self.links.get(name)
        if link is not None and link.peer == start:
            return link
        if link is not None:
            self.dead(name, link.peer)
        try:
            return self._begin(name, start)
        except Exception as error:
            self._fails(self.links[name], error)
            raise CorruptData(f"there can be no link with that start of '{name}'") from error

    def _begin(self, name: str, start: bytes) -> Link:
        link = self.links[name] = Link(name, start)
        before = self._owners.crossings.get(name) or self._given_up.pop(name, None)
        owners = self._owners.served()
        crossing = Crossing(link, owners, OWNERS, self._here, _nothing, self._journal, before, self._broker.catalogue)
        crossing.corrupt = partial(self._broken, link)
        self._owners.crossings[name] = crossing
        if self._returning is not None:
            self._returning.linked(crossing)
        self._broker.shard_moves.forget_found()  # what is its is reached from now on
        self._handovers.linked(link)
        if self.decides:
            self.deciding.linked(link)
        self._broker.held.release()  # who publishes to queues that live there waits no longer
        return link

    def opened(self, session: LinkSession) -> None:
        """See Ends."""
        assert session.link is not None
        name = session.link.name
        before = self.sessions.get(name)
        self.sessions[name] = session
        if before is not None and before is not session:
            before.superseded()
        self._since_s[name] = self._clock.monotonic_s()
        self._owners.crossings[name].back()
        self._handovers.back(session.link)

    def ended(self, session: LinkSession, reason: str) -> None:
        """See Ends."""
        link = session.link
        if link is None or self.sessions.get(link.name) is not session:
            return
        del self.sessions[link.name]
        self._since_s[link.name] = self._clock.monotonic_s()
        if not self._is_stopping:
            self._journal(f"the connection with '{link.name}' has ended: {reason}")
        self._broker.scheduler.call_later(AWAY_S, self._gone_for_long, link, self._since_s[link.name])

    def _gone_for_long(self, link: Link, since_s: float) -> None:
        if self.links.get(link.name) is link and link.name not in self.sessions and self._since_s[link.name] == since_s:
            self._owners.crossings[link.name].away(f"'{link.name}' cannot be reached")
            self._handovers.away(link)

    def frames(self, link: Link, found: list[bytes]) -> None:
        """See Ends. What is of owners and lies together is heeded together."""
        try:
            of_owners: list[bytes] = []
            for data in found:
                if not data or not _FIRST_OF_OTHERS <= data[0] <= _LAST_OF_OTHERS:
                    of_owners.append(data)
                    continue
                if of_owners:
                    self._heed(link, of_owners)
                    of_owners = []
                self._heed_other(link, data)
            if of_owners:
                self._heed(link, of_owners)
        except CorruptData as error:
            self._condemn(link, str(error))
        except Exception as error:
            self._fails(link, error)

    def _heed(self, link: Link, found: list[bytes]) -> None:
        """Some frames of owners."""
        if not self._is_stopping and self.links.get(link.name) is link:
            self._owners.crossings[link.name].heed(found)

    def _heed_other(self, link: Link, data: bytes) -> None:
        if self._is_stopping or self.links.get(link.name) is not link:
            return
        if data[0] >= handover_frames.FIRST_KIND:
            self._handovers.frame(link, data)
        elif self.decides:
            self.deciding.frame(link, catalogue_frames.decode(data))
        else:
            self.following.frame(link, catalogue_frames.decode(data))

    @property
    def has_more_to_say(self) -> bool:
        """Whether something that was sent has not come there yet, of those that are connected."""
        return any(link.held_bytes for name, link in self.links.items() if name in self.sessions)

    # ---- for the operator

    def figures(self) -> list[LinkFigures]:
        """Of each other process."""
        now_s = self._clock.monotonic_s()
        found = []
        for name in self.place.others():
            link = self.links.get(name)
            held, sent, received = (0, 0, 0) if link is None else (link.held_bytes, link.sent, link.received)
            found.append(LinkFigures(name, name in self.sessions, now_s - self._since_s.get(name, now_s), held, sent, received))
        return found


def _nothing() -> None:
    """Whatever is sent over a link wakes its connection by itself, and whoever waits for clients looks at why_not_ready."""
