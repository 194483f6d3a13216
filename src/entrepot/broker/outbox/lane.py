"""Lane: what goes from one source shard to one target shard, in the order of its sequences."""

from __future__ import annotations

from collections import deque
from operator import attrgetter

from entrepot.broker.outbox.handover import UNDER_WAY_MAX
from entrepot.broker.outbox.intents import Part


class Lane:
    """`last`: the sequence that was given last. It is there as long as something is in it.

    A part that was sent is under way until what was answered is noted at the source, durably: until then it may be asked for again, and the target
    remembers as many answers.
    """

    __slots__ = ("_ahead", "_under_way", "last", "source", "target")

    def __init__(self, source: int, target: int, last: int) -> None:
        self.source = source
        self.target = target
        self.last = last
        self._ahead: deque[Part] = deque()  # to be sent, in order
        self._under_way: deque[Part] = deque()  # sent, in order: those answered come first

    def is_empty(self) -> bool:
        """Whether nothing goes here any more."""
        self._tidy()
        return not self._ahead and not self._under_way

    def add(self, part: Part) -> None:
        """One more, with the highest sequence."""
        self._ahead.append(part)

    def sort(self) -> None:
        """What was added in any order, at opening, goes by its sequences."""
        self._ahead = deque(sorted(self._ahead, key=attrgetter("sequence")))

    def next(self) -> Part | None:
        """What may be sent now."""
        self._tidy()
        if not self._ahead:
            return None
        part = self._ahead[0]
        if not part.intent.durable:
            return None
        if self._under_way:
            ready = part.sequence == self._under_way[-1].sequence + 1  # behind a gap only when nobody waits for what is before it
            if not ready or part.sequence - self._under_way[0].sequence >= UNDER_WAY_MAX:
                return None
        return part

    def first_waited(self) -> int:
        """The first sequence that is not let go of; something is under way or to be sent."""
        return (self._under_way or self._ahead)[0].sequence

    def sent(self) -> None:
        """What next() gave is under way."""
        self._under_way.append(self._ahead.popleft())

    def waiting(self, sequence: int) -> Part | None:
        """What was sent under that sequence and has no answer yet."""
        for part in self._under_way:
            if part.sequence == sequence and not part.status:
                return part
        return None

    def go_back(self) -> None:
        """All that is not answered is to be sent again."""
        answered = [part for part in self._under_way if part.status]
        self._ahead.extendleft(reversed([part for part in self._under_way if not part.status]))
        self._under_way = deque(answered)

    def _tidy(self) -> None:
        while self._under_way and (self._under_way[0].freed or self._under_way[0].intent.dropped):
            self._under_way.popleft()
        while self._ahead and self._ahead[0].intent.dropped:
            self._ahead.popleft()
