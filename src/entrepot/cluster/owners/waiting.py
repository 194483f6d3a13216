"""Waiting: the calls of a front that an owner elsewhere has not answered yet, by number; what each of them becomes when nobody will.

Nobody hears of a publish without confirms unless it is refused: such ones are passed when the owner says that all up to a number are taken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from entrepot.broker.calls.lease_calls import EndLeases, Receive, Send
from entrepot.broker.calls.port import Ask, Call, Publish, fail
from entrepot.broker.owners import Done
from entrepot.cluster.owners.asked import Decoder
from entrepot.cluster.owners.doors import Reader, RemoteDoor
from entrepot.cluster.owners.lanes import RemoteLane
from entrepot.model.errors import CorruptData, NotDone, OutcomeUnknown, Unavailable

Kind = TypeVar("Kind")

LOST = "the owner has ended, and it is not known whether this was done"
ENDED = "the owner has ended"


class Asked:
    """What is called with an answer of that type. `changes`: without one it is not known what was done. `check`: raises CorruptData for one that cannot be."""

    __slots__ = ("changes", "check", "decoder", "done")

    def __init__(self, done: Done, decoder: Decoder, changes: bool = False, check: Callable[[Any], None] | None = None) -> None:
        self.done = done
        self.decoder = decoder
        self.changes = changes
        self.check = check


class Getting:
    """A Get, for who holds what it brings."""

    __slots__ = ("call", "reader")

    def __init__(self, call: Ask, reader: Reader) -> None:
        self.call = call
        self.reader = reader


class Receiving:
    """A Receive, and where it waits: for who withdraws it, when what it is given goes back."""

    __slots__ = ("_withdraw", "call", "door", "lane", "withdrawn")

    def __init__(self, call: Receive, lane: RemoteLane, door: RemoteDoor, withdraw: Callable[[Receiving], None]) -> None:
        self.call = call
        self.lane = lane
        self.door = door
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
        self._unheard: deque[tuple[int, Publish]] = deque()

    def __len__(self) -> int:
        return len(self._calls) + len(self._unheard)

    def next(self) -> int:
        """A number for a call."""
        self._last += 1
        return self._last

    def put(self, number: int, who: Any) -> None:
        """It waits for an answer."""
        self._calls[number] = who

    def put_unheard(self, number: int, call: Publish) -> None:
        """It waits for a refusal, at most."""
        self._unheard.append((number, call))

    def get(self, number: int, kind: type[Kind]) -> Kind:
        """Who waits for an answer of that kind to that number. Raises CorruptData."""
        who = self._calls.get(number)
        if not isinstance(who, kind):
            raise CorruptData(f"an answer to {number}, which asked for no such thing")
        return who

    def get_staged(self, number: int) -> Publish:
        """The publish of that number, heard or not."""
        if number in self._calls:
            return self.get(number, Publish)
        one, call = next((item for item in self._unheard if item[0] >= number), (0, None))
        if call is None or one != number:
            raise CorruptData(f"an answer to {number}, which waits for none")
        return call

    def maybe_get(self, number: int, kind: type[Kind]) -> Kind | None:
        """As get(); None: nobody waits for it."""
        if not 0 < number <= self._last:
            raise CorruptData(f"an answer to {number}, and {self._last} were asked")
        return self.get(number, kind) if number in self._calls else None

    def take(self, number: int) -> None:
        """It is answered, or nobody waits for it any more."""
        self._calls.pop(number, None)

    def take_staged(self, number: int) -> None:
        """The same, of a publish: with one of which nobody waits all before it are taken."""
        if self._calls.pop(number, None) is None:
            self.passed(number)

    def number_of(self, who: Any) -> int:
        """Of one that waits; 0: it is answered."""
        return next((number for number, one in self._calls.items() if one is who), 0)

    def passed(self, number: int) -> None:
        """All publishes up to that number of which nobody waits for one are taken. Raises CorruptData."""
        if number > self._last:
            raise CorruptData(f"all up to {number} are said to be taken, and {self._last} were asked")
        while self._unheard and self._unheard[0][0] <= number:
            self._unheard.popleft()

    def end(self) -> None:
        """The owner is no more: each is told what can be said of it, in the order in which they were asked."""
        calls: list[tuple[int, Any]] = sorted([*self._calls.items(), *self._unheard], key=lambda item: item[0])
        self._calls.clear()
        self._unheard.clear()
        for _, who in calls:
            _lost(who)


def _lost(who: Any) -> None:
    if isinstance(who, Asked):
        who.done(OutcomeUnknown(LOST) if who.changes else Unavailable(ENDED), None)
    elif isinstance(who, (Getting, Receiving)):
        if isinstance(who, Receiving):
            who.call.timed = None
        fail(who.call, Unavailable(ENDED))
    else:
        assert isinstance(who, (Publish, Send, EndLeases, Ask)), who
        refuse(who, OutcomeUnknown(LOST))


def refuse(call: Call, error: NotDone) -> None:
    """As port.fail(); of who publishes for nobody, nobody hears."""
    if call.attachment is not None:
        fail(call, error)
