"""SharedLimit: what the consumers of one stream of a door may hold together. Lending: credit of limits that span owners, lent out by their front.

A limit whose consumers are all at one owner is a number that the owner is told, and goes by itself. Where it spans owners (a stream's, or that of one
consumer whose partitions are at several) each of its consumers at an owner is a borrower, and its owner knows one number of it: how many records it may
still be given. What a borrower holds and what it may still be given are, over all, never more than a limit.

    an owner that has something and no credit says so, once                     wants()
    credit that is free goes to who wants some, in the order in which they said so
    where none is free it is taken back from who has not spent it; an owner answers that behind what it can send at once
    what is settled is free; where nobody wants it, it goes where it was

A borrower that is lent some has spent it, or has nothing to spend it on, before it is taken back, and whoever wants more stands behind the others: so
everybody has his turn, also of a limit of 1.
"""

from __future__ import annotations

from functools import partial

from entrepot.broker.owners import Owner
from entrepot.broker.subscription.consumer import LEASED_MAX, Consumer, Pool


class SharedLimit:
    """Of one stream: `limit`, 0 for none. `consumers` are those that are active, as their session knows them; `is_lent`: the limit is lent out."""

    __slots__ = ("consumers", "is_lent", "lending", "limit", "pools", "stream")

    def __init__(self, stream: int) -> None:
        self.stream = stream
        self.limit = 0
        self.consumers: list[Consumer] = []
        self.pools: list[Pool] = []  # one an owner
        self.is_lent = False
        self.lending: Lending | None = None

    def pool(self, owner: Owner) -> Pool:
        """What the consumers at an owner go by."""
        for pool in self.pools:
            if pool.owner is owner:
                return pool
        pool = Pool(self.stream, owner, self.consumers)
        pool.limit = 0 if self.is_lent else self.limit
        pool.lent = self.lending is not None
        self.pools.append(pool)
        return pool

    def enter(self, consumer: Consumer, parts: list[Consumer] | None = None) -> None:
        """One consumer more, of which no owner knows yet; `parts`: at several of them. They are lent their credit."""
        self.consumers.append(consumer)
        if parts is not None:
            lending = self._lending()
            lending.parts[consumer.id] = parts
            for part in parts:
                lending.add(part)
        if not self.limit:
            return
        if not self.is_lent and self._spans_owners():
            if parts is None and not consumer.auto_settle:
                self._lending().add(consumer)
            self._lend_out()
        elif self.is_lent and parts is None and not consumer.auto_settle:
            self._lending().add(consumer)

    def leave(self, consumer: Consumer) -> None:
        """One less: what it was lent is free, what it holds is not yet."""
        self.consumers.remove(consumer)
        lending = self.lending
        if lending is None:
            return
        lending.drop(consumer)
        if not self.consumers:
            self._end_lending()

    def set_limit(self, limit: int) -> None:
        """It holds from now on."""
        self.limit = limit
        self.review()

    def review(self) -> None:
        """The limit may be another. While something is on its way back from an owner it is looked at when that has come."""
        lending = self.lending
        if lending is not None and lending.is_waiting():
            return
        if self._spans_owners():
            self._lend_out()  # also to who came while there was no limit
            return
        if lending is None or not lending.parts:
            self._end_lending()
        self.is_lent = False
        for consumer in self.consumers:
            if lending is not None and consumer.id in lending.parts:
                continue
            if lending is not None:
                lending.forget(consumer)
            if not consumer.auto_settle:
                consumer.owner.limit(consumer, self.limit)

    def _spans_owners(self) -> bool:
        """Whether no owner alone can know how much is left of it."""
        if not self.limit or (len(self.pools) < 2 and self.lending is None):
            return False
        owners = {pool.owner for pool in self.pools if pool.leased}
        for consumer in self.consumers:
            if not consumer.auto_settle:
                owners.add(consumer.owner)
        return len(owners) > 1 or (self.lending is not None and bool(self.lending.parts))

    def _end_lending(self) -> None:
        """Nobody is lent anything; owners go by the limit."""
        self.lending = None
        self.is_lent = False
        for pool in self.pools:
            pool.limit = self.limit
            pool.lent = False

    def _lending(self) -> Lending:
        if self.lending is None:
            self.lending = Lending(self)
            for pool in self.pools:
                pool.lent = True
        return self.lending

    def _lend_out(self) -> None:
        """From now on. Nobody is lent anything before all that owners gave by themselves is known."""
        lending = self._lending()
        self.is_lent = True
        for pool in self.pools:
            pool.limit = 0
        for consumer in self.consumers:
            if not consumer.auto_settle and consumer.id not in lending.parts and consumer not in lending.borrowers:
                lending.join(consumer)
        lending.serve()


class Lending:
    """Of one stream. `parts`: of consumers that are at several owners, by number; `borrowers`: all that are lent their credit, each at one owner."""

    def __init__(self, shared: SharedLimit) -> None:
        self._shared = shared
        self.parts: dict[int, list[Consumer]] = {}
        self.borrowers: dict[Consumer, None] = {}
        self._wanting: dict[Consumer, None] = {}  # in their order
        self._joining: set[Consumer] = set()  # who gave by themselves
        self._called_back: set[Consumer] = set()  # whose owners are asked for what they have not spent
        self._silent: set[int] = set()  # numbers of those who are sent nothing yet
        self._prioritised = False  # of what several of them read, some go before others

    # ---- who borrows

    def add(self, consumer: Consumer) -> None:
        """Its owner will hear of it, and has nothing to give it yet."""
        consumer.lent = True
        self._enter(consumer)

    def _enter(self, borrower: Consumer) -> None:
        self.borrowers[borrower] = None
        if borrower.priority:
            self._prioritised = True

    def join(self, consumer: Consumer) -> None:
        """Its owner gave by itself up to now."""
        self._enter(consumer)
        self._joining.add(consumer)
        consumer.owner.take_back(consumer, partial(self._taken_back, consumer))

    def hush(self, consumer_id: int) -> None:
        """It is lent nothing until begin()."""
        self._silent.add(consumer_id)

    def begin(self, consumer_id: int) -> None:
        """All its owners know it."""
        self._silent.discard(consumer_id)
        self.serve()

    def drop(self, consumer: Consumer) -> None:
        """It borrows no more."""
        self._silent.discard(consumer.id)
        for part in self.parts.pop(consumer.id, (consumer,)):
            part.returned(part.credit)
            self.forget(part)
        self.serve()

    def forget(self, borrower: Consumer) -> None:
        """It has no credit from here."""
        self.borrowers.pop(borrower, None)
        self._wanting.pop(borrower, None)

    def is_waiting(self) -> bool:
        """Whether an owner is still to answer."""
        return bool(self._joining or self._called_back)

    # ---- what happens

    def wants(self, borrower: Consumer) -> None:
        """Its owner has something for it, and no credit."""
        if borrower in self.borrowers:
            self._wanting[borrower] = None
            self.serve()

    def freed(self, consumer: Consumer) -> None:
        """It holds less: what is free now goes to who wants it, else to where it was."""
        self.serve()
        parts = self.parts.get(consumer.id)
        borrower = consumer if parts is None else consumer.owner.freed_last()
        if borrower in self.borrowers and borrower.active and not self._joining and not self._is_behind(borrower):
            room = self._room(borrower)
            if room > 0:
                self._lend(borrower, room)

    def serve(self) -> None:
        """Lend what is free to who wants it, in turn; where there is nothing, call back what others have not spent."""
        if self._joining:
            return
        limit = self._shared.limit
        if limit and self._left(limit) < 0:
            self._call_back(list(self.borrowers))  # it was more until now
            return
        if not self._wanting:
            return
        wanting = list(self._wanting)
        if self._prioritised:
            wanting += wanting  # who was behind another may not be, once that one has had all that it may have
        for borrower in wanting:
            if limit and self._left(limit) == 0:
                self._call_back(list(self.borrowers))
                break
            if borrower not in self._wanting or borrower.id in self._silent or self._is_behind(borrower):
                continue
            room = self._room(borrower)
            if room > 0:
                del self._wanting[borrower]
                self._lend(borrower, room)
            else:
                self._call_back(self.parts.get(borrower.id, []))

    def _lend(self, borrower: Consumer, room: int) -> None:
        """A share of what it might have: the others may want some soon."""
        alike = len(self.borrowers) if self._shared.limit else len(self.parts.get(borrower.id, ())) or 1
        borrower.owner.lend(borrower, max(1, room // alike))

    def _room(self, borrower: Consumer) -> int:
        """How much it may be lent; not above 0: nothing."""
        room = (borrower.limit or LEASED_MAX) - sum(part.leased + part.credit for part in self.parts.get(borrower.id, (borrower,)))
        limit = self._shared.limit
        return min(room, self._left(limit)) if limit else room

    def _is_behind(self, borrower: Consumer) -> bool:
        """Whether one of a higher priority may have more of what it reads."""
        if not self._prioritised:
            return False
        return any(
            other.priority > borrower.priority
            and other.source is borrower.source
            and other.active
            and (other.limit or LEASED_MAX) > other.leased + other.credit
            for other in self.borrowers
        )

    def _left(self, limit: int) -> int:
        """What is left of the stream's limit."""
        return limit - sum(pool.leased + pool.credit for pool in self._shared.pools)

    def _call_back(self, among: list[Consumer]) -> None:
        """From one at a time: who has most of it."""
        if not any(pool.credit for pool in self._shared.pools):
            return
        if any(borrower in self._called_back for borrower in among):
            return
        richest = max(among, key=lambda borrower: borrower.credit, default=None)
        if richest is not None and richest.credit:
            self._called_back.add(richest)
            richest.owner.take_back(richest, partial(self._taken_back, richest))

    def _taken_back(self, borrower: Consumer, count: int) -> None:
        """Its owner has answered; what it gave before that is known."""
        self._joining.discard(borrower)
        self._called_back.discard(borrower)
        if not self.is_waiting() and self._shared.lending is self:
            self._shared.review()
        self.serve()
