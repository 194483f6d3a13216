"""Handovers: what the outbox of one process hands over to the inbox of another, and what that answers, over their links. Sans-IO.

    linked          each says, once its own shards are open, that they are: Open. Before that nothing is sent there
    is_open(shard)  ours: as the inbox says; another process's: it has said so in this start, and its link is neither full nor away
    Handover ->     taken at once, or when the catalogue here is as far as it was there: else what it goes to might not be known yet
    <- Answer       to the process that has the source's shard
    a new start     says Open again: whatever it has not answered goes there once more, and it takes nothing twice (broker/outbox/taken.py)

What is not kept has no shard, and lives in one process: HOME where that is this one, else HOMES_FIRST less the number of the process. What was taken for it
is remembered in memory, and ends as it does: a letter to it comes there at most once, and at least once to a start of its home that lives on.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from entrepot.broker.broker import Broker
from entrepot.broker.catalogue.shards import HOME, HOMES_FIRST, HOMES_MAX
from entrepot.broker.outbox.handover import GONE, NOT_NOW, Answer, Handover
from entrepot.cluster import handover_frames as f
from entrepot.cluster.catalogue.homes import Homes
from entrepot.cluster.catalogue.revisions import Ahead
from entrepot.cluster.link import Link
from entrepot.model.errors import CorruptData

AGAIN_S = 0.1  # after which it is looked whether a link that was full takes more


class _Peer:
    """A start of another process. `open`: what it has said is open there, its home by the number that stands for it."""

    __slots__ = ("is_away", "link", "open")

    def __init__(self, link: Link) -> None:
        self.link = link
        self.open: set[int] = set()
        self.is_away = False


class Handovers:
    """Of one process, called `name`: the outbox's Owners, and where its inbox's answers go. Made before the broker opens, or at least before it dispatches.

    `names`: of all processes, by their numbers. worker_of(shard): the name of the process that has it; None: this one. wake(link): something waits to be
    sent. opened(link, shards): the other start has said that these are open, and its home. broken(link, error): what had to wait cannot be carried out; the
    other start is to end, as if frame() had raised it. journal(text): why.
    """

    def __init__(
        self,
        broker: Broker,
        name: str,
        names: Sequence[str],
        worker_of: Callable[[int], str | None],
        homes: Homes,
        *,
        wake: Callable[[Link], None] | None = None,
        opened: Callable[[Link, list[int]], None] | None = None,
        broken: Callable[[Link, CorruptData], None] | None = None,
        journal: Callable[[str], None] | None = None,
    ) -> None:
        assert len(names) <= HOMES_MAX
        self._broker = broker
        self._name = name
        self._numbers = {one: number for number, one in enumerate(names)}
        self._names = list(names)
        self._worker_of = worker_of
        self._homes = homes
        self._wake = wake
        self._on_opened = opened
        self._broken = broken
        self._journal = journal
        self._ahead = Ahead(broker.catalogue)
        self._own_home = HOMES_FIRST - self._numbers[name]
        self._peers: dict[str, _Peer] = {}
        self._opened: set[int] | None = None  # our shards, once they are open
        self._timer: Any = None
        broker.outbox.owners = self
        broker.inbox.answer = self._answered
        broker.owners.home_shard = self.home_shard

    def home_shard(self, start_id: bytes) -> int:
        """See OwnerTable: what stands for the home of a start of another process. Of one that is dead: HOME, where there is nothing of it."""
        number = self._numbers.get(self._homes.names.get(start_id, self._name))
        return HOME if number is None or self._names[number] == self._name else HOMES_FIRST - number

    # ---- links

    def opened_here(self, shards: Iterable[int]) -> None:
        """These shards of this process are open, more of them than before: all others hear of it."""
        self._opened = (self._opened or set()) | set(shards)
        for peer in self._peers.values():
            self._say_open(peer.link)

    def linked(self, link: Link) -> None:
        """A link with a start of another process that there was none with; what there was with an earlier one is over."""
        assert link.name in self._numbers, link.name
        before = self._peers.get(link.name)
        if before is not None:
            self.dead(before.link)
        self._peers[link.name] = _Peer(link)
        if self._opened is not None:
            self._say_open(link)

    def dead(self, link: Link) -> None:
        """The other start is no more. What it has not answered waits for the next one to say that it is open."""
        peer = self._peers.get(link.name)
        if peer is not None and peer.link is link:
            del self._peers[link.name]
            self._ahead.forget(link)

    def away(self, link: Link) -> None:
        """There has been no connection for long: nothing new is sent."""
        peer = self._peers.get(link.name)
        if peer is not None and peer.link is link:
            peer.is_away = True

    def back(self, link: Link) -> None:
        """There is one again."""
        peer = self._peers.get(link.name)
        if peer is not None and peer.link is link:
            peer.is_away = False
            self._broker.outbox.look_again()
            self._broker.subjects.wake()

    def _say_open(self, link: Link) -> None:
        self._send(link, f.encode_open(sorted(self._opened or ())))

    def _send(self, link: Link, frame: f.Frame) -> None:
        link.send(*frame)
        if self._wake is not None:
            self._wake(link)

    # ---- what the outbox asks: see Owners

    def is_open(self, shard: int) -> bool:
        """See Owners."""
        name = self._process_of(shard)
        if name == self._name:
            return shard == self._own_home or self._broker.inbox.is_open(shard)
        peer = self._peers.get(name)
        if peer is None:
            return name not in self._numbers  # of nobody: it will be told so
        if shard not in peer.open or peer.is_away:
            return False
        if peer.link.is_full:
            if self._timer is None:
                self._timer = self._broker.scheduler.call_later(AGAIN_S, self._look_again)
            return False
        return True

    def hand_over(self, handover: Handover) -> None:
        """See Owners."""
        name = self._process_of(handover.target)
        if name == self._name and handover.target != self._own_home:
            self._broker.inbox.hand_over(handover)
        elif name in self._peers:
            self._send(self._peers[name].link, f.encode_handover(handover, self._ahead.revision))
        elif name not in self._numbers or name == self._name:  # nobody's; or the home of a start of before, that had another's source
            gone = Answer(handover.source, handover.target, handover.sequence, GONE)
            self._broker.scheduler.call_soon(self._broker.outbox.answered, gone)

    def _look_again(self) -> None:
        self._timer = None
        self._broker.outbox.look_again()

    def _process_of(self, shard: int) -> str:
        """Whose a shard is, or what stands for a home; "": nobody's."""
        if shard < self._broker.shards.count:
            return self._worker_of(shard) or self._name
        if shard == HOME:
            return self._name
        number = HOMES_FIRST - shard
        return self._names[number] if 0 <= number < len(self._names) else ""

    # ---- what comes

    def frame(self, link: Link, data: bytes) -> None:
        """One of kinds FIRST_KIND to LAST_KIND has come. Raises CorruptData: the other start is to end."""
        peer = self._peers.get(link.name)
        if peer is None or peer.link is not link:
            return
        kind = data[0]
        if kind == f.HANDOVER:
            self._handed_over(link, data)
        elif kind == f.ANSWER:
            self._has_answered(link, f.decode_answer(data))
        elif kind == f.OPEN:
            self._has_opened(peer, f.decode_open(data))
        else:
            raise CorruptData(f"a frame of kind {kind} of handovers")

    def _has_opened(self, peer: _Peer, said: f.Open) -> None:
        name = peer.link.name
        count = self._broker.shards.count
        for shard in said.shards:
            if shard >= count or self._worker_of(shard) != name:
                raise CorruptData(f"'{name}' says that shard {shard} of {count} is open, which is not its own")
        found = {*said.shards, HOMES_FIRST - self._numbers[name]} - peer.open
        peer.open |= found
        self._broker.outbox.opened(*found)
        self._broker.subjects.wake()
        if self._on_opened is not None:
            self._on_opened(peer.link, said.shards)

    def has_opened(self, link: Link) -> bool:
        """Whether the start at the other end has said that its shards are open."""
        peer = self._peers.get(link.name)
        return peer is not None and peer.link is link and bool(peer.open)

    def _handed_over(self, link: Link, data: bytes) -> None:
        handover, revision = f.decode_handover(data, self._broker.hub.maybe_codec)
        if handover.source >= self._broker.shards.count or self._worker_of(handover.source) != link.name:
            raise CorruptData(f"'{link.name}' hands over from shard {handover.source}, which is not its own")
        if self._process_of(handover.target) != self._name or handover.target == HOME:
            raise CorruptData(f"'{link.name}' hands over to {handover.target}, which is not in '{self._name}'")
        if not self._ahead.take(link, revision, partial(self._take_put_off, link, handover)):
            raise CorruptData(f"'{link.name}' hands over by revision {revision} of the catalogue, and too much of it waits")

    def _take_put_off(self, link: Link, handover: Handover) -> None:
        """Now, or when the catalogue has come as far."""
        try:
            self._take(handover)
        except Exception as error:
            if self._journal is not None:
                self._journal(f"a handover of '{link.name}': {''.join(traceback.format_exception(error))}")
            wrong = CorruptData(f"a handover that cannot be carried out: {error!r:.200}")
            if self._broken is None:
                raise wrong from error
            self._broken(link, wrong)

    def _take(self, handover: Handover) -> None:
        target = HOME if handover.target == self._own_home else handover.target
        if self._broker.inbox.is_open(target):
            self._broker.inbox.hand_over(handover if target != HOME else replace(handover, target=HOME))
        else:
            self._answered(Answer(handover.source, target, handover.sequence, NOT_NOW))

    def _has_answered(self, link: Link, answer: Answer) -> None:
        if answer.source >= self._broker.shards.count or self._worker_of(answer.source) is not None or self._process_of(answer.target) != link.name:
            raise CorruptData(f"'{link.name}' answers what shard {answer.source} would hand over to {answer.target}")
        self._broker.outbox.answered(answer)

    def _answered(self, answer: Answer) -> None:
        """The inbox has answered: to whoever has the source's shard now. Who is gone is told when it asks again."""
        name = self._process_of(answer.source)
        if name == self._name:
            self._broker.outbox.answered(answer)
        elif name in self._peers:
            self._send(self._peers[name].link, f.encode_answer(replace(answer, target=self._own_home) if answer.target == HOME else answer))
