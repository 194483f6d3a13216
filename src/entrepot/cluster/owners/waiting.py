"""Waiting: the calls of a front that an owner elsewhere has not answered yet, by number; what each of them becomes when nobody will.

Publishes wait by themselves (sent_stages.py), and so do Send and EndLeases (sent_calls.py). What gives or changes nothing that is not asked for again as well
may be asked again of another start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from entrepot.broker.calls.lease_calls import EndLeases, Receive, Send
from entrepot.broker.calls.port import DONE, Ask, Call, Publish, fail
from entrepot.broker.owners import Done
from entrepot.cluster.owners.asked import Decoder
from entrepot.cluster.owners.doors import Reader, RemoteDoor
from entrepot.cluster.owners.lanes import RemoteLane
from entrepot.model.errors import CorruptData, NotDone, OutcomeUnknown, Unavailable

Kind = TypeVar("Kind")

LOST = "the owner has ended, and it is not known whether this was done"
ENDED = "the owner has ended"


class Asked:
    """What is called with an answer of that type. `changes`: without one it is not known what was done. `check`: raises CorruptData for one that cannot be.

    `again`: what is said to ask for it again; None: it is not. `once`: it is asked again only as long as it has not been asked.
    """

    __slots__ = ("again", "changes", "check", "decoder", "done", "once")

    def __init__(self, done: Done, decoder: Decoder, changes: bool = False, check: Callable[[Any], None] | None = None, once: bool = False) -> None:
        self.done = done
        self.decoder = decoder
        self.changes = changes
        self.check = check
        self.once = once
        self.again: Any = None


class Getting:
    """A Get, for who holds what it brings; and how it is asked for again."""

    __slots__ = ("again", "call", "reader")

    def __init__(self, call: Ask, reader: Reader) -> None:
        self.call = call
        self.reader = reader
        self.again: Any = None


class Receiving:
    """A Receive, and where it waits: for who withdraws it, when what it is given goes back. `is_over`: its time is, before its owner has answered."""

    __slots__ = ("_withdraw", "call", "door", "is_over", "lane", "until_s", "withdrawn")

    again = True  # it is asked for again, with what is left of its time

    def __init__(self, call: Receive, lane: RemoteLane, door: RemoteDoor, withdraw: Callable[[Receiving], None], until_s: float) -> None:
        self.call = call
        self.lane = lane
        self.door = door
        self.until_s = until_s
        self.is_over = False
        self.withdrawn = False
        self._withdraw = withdraw

    def withdraw(self, _: Receive) -> None:
        """See Owner.receive()."""
        self.withdrawn = True
        self._withdraw(self)


class Waiting:
    """Of one owner. An answer is looked at first, and its call taken when all of it is known to be good: else end() has still to answer it."""

    def __init__(self) -> None:
        self._last = 0
        self._calls: dict[int, Any] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def next(self) -> int:
        """A number for a call."""
        self._last += 1
        return self._last

    def put(self, number: int, who: Any) -> None:
        """It waits for an answer."""
        self._calls[number] = who

    def get(self, number: int, kind: type[Kind]) -> Kind:
        """Who waits for an answer of that kind to that number. Raises CorruptData."""
        who = self._calls.get(number)
        if not isinstance(who, kind):
            raise CorruptData(f"an answer to {number}, which asked for no such thing")
        return who

    def maybe_get(self, number: int, kind: type[Kind]) -> Kind | None:
        """As get(); None: nobody waits for it."""
        self.check(number)
        return self.get(number, kind) if number in self._calls else None

    def check(self, number: int) -> None:
        """Raises CorruptData: there was no such call."""
        if not 0 < number <= self._last:
            raise CorruptData(f"an answer to {number}, and {self._last} were asked")

    def take(self, number: int) -> None:
        """It is answered, or nobody waits for it any more."""
        self._calls.pop(number, None)

    def number_of(self, who: Any) -> int:
        """Of one that waits; 0: it is answered."""
        return next((number for number, one in self._calls.items() if one is who), 0)

    def end(self) -> list[tuple[int, Any]]:
        """Nobody will answer: which they were."""
        ended, self._calls = list(self._calls.items()), {}
        return ended

    def end_some(self) -> list[tuple[int, Any]]:
        """The same of those that are not asked again."""
        ended = [(number, who) for number, who in self._calls.items() if getattr(who, "again", None) is None]
        for number, _ in ended:
            del self._calls[number]
        return ended

    def again(self) -> list[tuple[int, Any]]:
        """All that wait, and are asked for again."""
        return list(self._calls.items())


def lost(who: Any) -> None:
    """Nobody answers."""
    if isinstance(who, Asked):
        is_unknown = who.changes or (who.once and who.again is None)
        who.done(OutcomeUnknown(LOST) if is_unknown else Unavailable(ENDED), None)
    elif isinstance(who, (Getting, Receiving)):
        if isinstance(who, Receiving):
            if who.is_over:
                return
            who.call.timed = None
        fail(who.call, Unavailable(ENDED))
    else:
        assert isinstance(who, (Publish, Send, EndLeases, Ask)), who
        refuse(who, OutcomeUnknown(LOST))


def went_along(call: Publish) -> None:
    """Its queues are no more, and what lies in them: it was done, or is as if they had been deleted while it was on its way."""
    call.outcome = DONE
    if call.confirm and call.attachment is not None and not call.attachment.closed:
        call.attachment.sink.completed(call)


def refuse(call: Call, error: NotDone) -> None:
    """As port.fail(); of who publishes for nobody, nobody hears."""
    if call.attachment is not None:
        fail(call, error)
