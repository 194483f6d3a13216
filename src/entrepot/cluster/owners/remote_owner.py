"""RemoteOwner: an owner in another process, as a front of this one calls it.

Requests go out in the order in which they are made, each once; answers and deliveries come with some later turn of the loop. What cannot be waited for is
answered from what is known here: a lane is a number of this link, which is registered there before it is named; whether one of a queue with timed leases
still stands the owner says when it does not. A call that goes out before that is heard is answered by the owner: a lane stands for the ids of logs, which
are never used again, so it comes to no other queue.

Nothing new is begun while the owner is away(), or the link is full: Unavailable; publishes have a bound of their own, whatever else waits at the link, and
what only looks or begins to read has that of the connections there are. What is under way waits, over however many connections, until the other start
is dead().

What an owner takes durably survives its start, and what it has then is the same: its front keeps what was sent and is not said to be durable, and who holds
what. When the owner is there again (resume()), it claims that, sends again what it has kept, in order, and goes on; publishes wait meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import msgspec

from entrepot.broker.calls.lease_calls import EndLeases, Send
from entrepot.broker.calls.port import ACCEPT, DONE, Ask, Delivery, Publish, fail
from entrepot.broker.calls.questions import Load, Note
from entrepot.broker.owners import Done, Lane, Run, Settlement, Stage
from entrepot.broker.subscription.consumer import Consumer
from entrepot.cluster.owners import asked, hot_frames, kinds, words
from entrepot.cluster.owners.claims import claim_of, left_of, words_of
from entrepot.cluster.owners.doors import Reader, Readers
from entrepot.cluster.owners.lanes import Lanes
from entrepot.cluster.owners.outlet import Outlet
from entrepot.cluster.owners.remote_stages import RemoteStages
from entrepot.cluster.owners.settlements import Ranges, SentSettlements
from entrepot.cluster.owners.waiting import ENDED, Asked, Getting, Receiving, Waiting, lost, refuse, went_along
from entrepot.model.errors import CorruptData, NotDone, Unavailable
from entrepot.store.interface import Scheduler

ENDS_MAX = 4096  # settlements in one frame


class RemoteOwner(RemoteStages):
    """One of a process, by its number there, for one front. `survives`: what it takes and gives is kept over its start, and this stays with its next one."""

    def __init__(self, outlet: Outlet, scheduler: Scheduler, survives: bool = False) -> None:
        super().__init__(scheduler, survives, outlet.owner)
        self._outlet = outlet
        self._held_from = 0  # while it is returning: calls from there on were not sent
        self._lanes = Lanes(self, self._say)
        self._settlements = SentSettlements()
        self._ends: list[hot_frames.End] = []  # settlements of this turn, which go as one
        self._readers = Readers(self._say, self._settle, self._taken, self._settlements.left, survives)
        self._waiting = Waiting()
        if survives:
            self._say(words.Claimed(0, 0))

    def _say(self, what: Any) -> None:
        """Behind what was settled before."""
        if self._ends:
            self._say_ends()
        self._outlet.say(what)

    def _send(self, *parts: bytes) -> None:
        if self._ends:
            self._say_ends()
        self._outlet.send(*parts)

    # ---- the other end comes and goes

    def away(self, text: str) -> None:
        """There has been no connection for long: nothing new is begun. What was sent keeps waiting. Nothing, after dead(); so is back()."""
        if not self._outlet.is_over:
            self._outlet.away = Unavailable(text)
            self._let_go()

    def back(self) -> None:
        """There is one again."""
        if not self._outlet.is_over:
            self._outlet.away = None

    def dead(self, returns: bool = False) -> None:
        """That start is no more. `returns`: where it survives, what can be asked again waits, until it is there again, or it is given up: see resume()."""
        self._outlet.end(Unavailable(ENDED))
        self._ends = []
        if not returns or not self._survives:
            self.give_up()
            return
        self._returning = True
        self._held_from = self._waiting.next()
        for _, who in self._waiting.end_some():
            lost(who)
        self._end_late()

    def give_up(self) -> None:
        """Nobody waits for it any more: whatever is under way is answered, consumers are told that they are gone; nothing more is sent or heeded until it
        resumes. Nothing, unless its start is dead. What does not survive that is gone, and so is what was published there.
        """
        if not self._outlet.is_over:
            return
        held_from = self._held_from if self._returning else self._waiting.next()
        self._returning = False
        readers = self._readers.everyone()
        self._readers.forget_all()
        self._settlements.forget_all()
        ended: list[tuple[int, Any]] = [*self._waiting.end(), *self._stages.end(), *self._sent_calls.end()]
        self._let_go()
        for number, who in sorted(ended, key=lambda item: item[0]):
            if isinstance(who, Publish) and not self._survives:
                went_along(who)
            elif isinstance(who, (Publish, Send, EndLeases)) and number >= held_from:
                refuse(who, Unavailable(ENDED))
            else:
                lost(who)
        for reader in readers:
            consumer = reader.consumer
            if consumer.active and consumer.token is not None:
                door: Any = consumer.attachment
                door.gone(consumer)

    def resume(self, outlet: Outlet) -> None:
        """The owner is there again, in another start: it hears who holds what, and then, in order, what is not known to be durable and what is asked."""
        assert self._outlet.is_over
        assert self._survives
        self._outlet = outlet
        self._returning = False
        self._told_waits = 0
        self._lanes.begin()
        unsaid = self._settlements.unsaid()
        left = left_of(self._settlements.ended(), unsaid)
        passing = self._readers.begin(left)
        count = 0
        for reader in (*left, *self._readers.everyone()):
            claim = claim_of(reader, unsaid.get(reader.consumer.id, []))
            if claim is not None:
                self._say(claim)
                count += 1
        self._say(words.Claimed(count, self._readers.last))
        for consumer_id, ranges, disposition in self._settlements.begin():
            for first, end in ranges:
                self._put_end(consumer_id, [(first, end)], first, end - first, disposition)
        for reader in left:
            self._settlements.left(reader)
        for door in passing:
            self._say(words.DoorEnd(door.number))
        self._send_again()

    def _send_again(self) -> None:
        stages = [(number, lane, frame) for number, _, lane, frame, _ in self._stages.all()]
        calls: list[tuple[int, Any, Any]] = [(number, who, None) for number, who in self._waiting.again()]
        self._asked_again = self._waiting.next()
        for number, what, frame in sorted([*calls, *stages, *self._sent_calls.again()], key=lambda item: item[0]):
            if frame is not None:
                if what is not None:
                    self._lanes.number(what)
                self._send(*frame)
            elif isinstance(what, Receiving):
                self._receive_again(number, what)
            elif isinstance(what.again, words.Consume) and not self._still_asks(what.again):
                self._waiting.take(number)
                lost(what)
            else:
                self._say(what.again)
                if isinstance(what, Asked) and what.once:
                    what.again = None

    def _still_asks(self, said: words.Consume) -> bool:
        """Whether its consumer has not ended meanwhile; then it is said on what terms that reads now."""
        reader = self._readers.get(said.consumer.number)
        if reader is None or not reader.consumer.active:
            return False
        said.consumer = words_of(reader)
        return True

    @property
    def under_way_count(self) -> int:
        """Calls that are not answered."""
        return len(self._waiting) + len(self._stages) + len(self._sent_calls)

    # ---- what is durable

    def _durable(self, frame: bytes) -> None:
        _, count = hot_frames.read_number(frame)
        self._settlements.durable(count)

    def reply(self, namespace: str, name: str, codec: int, version: int, data: bytes, position: int, count: int) -> bool:
        """See Owner. Nobody waits for it: what cannot be sent is dropped."""
        try:
            self._outlet.check()
            head = hot_frames.reply(self._number, codec, version, namespace.encode(), name.encode("utf-8", "surrogateescape"), position, count)
            self._send(head, data)
        except NotDone:
            return False
        return True

    # ---- consuming

    def consume(self, consumer: Consumer, log_ids: list[bytes], start: Any, done: Callable[[NotDone | None], None]) -> None:
        """See Owner."""

        def check(places: Any) -> None:
            if len(places or ()) != len(reader.positions or ()):
                raise CorruptData(f"a consumer of {len(log_ids)} logs is said to begin at {len(places or ())} places")

        def answered(error: NotDone | None, places: Any) -> None:
            reader.asked = False
            if error is not None:
                self._readers.leave(consumer.id)
            elif places is not None:
                reader.positions = places
            done(error)

        try:
            self._check()
        except NotDone as error:
            done(error)
            return
        reader = self._readers.enter(consumer, log_ids, start)
        reader.asked = True
        waits = Asked(answered, asked.PLACES, check=check)
        number = self._ask(waits)
        waits.again = words.Consume(number, words_of(reader), log_ids, words.words_of_start(start))
        self._say_now(waits.again)

    def settle(self, consumer: Consumer, first: int, count: int, disposition: int) -> None:
        """See Owner."""
        self._settle(consumer.id, first, count, disposition)
        if consumer.lent:  # another owner may be lent what this gives back, and is not to hear of that first
            self._say_ends()
        leased = consumer.leased
        consumer.freed(min(count, leased))
        if count >= leased and not consumer.active:
            self._readers.leave(consumer.id)

    def _settle(self, consumer_id: int, first: int, count: int, disposition: int) -> None:
        ended: Ranges = []
        if self._survives:
            reader = self._readers.get(consumer_id)
            if reader is not None and reader.positions is None:
                ended = reader.settled(first, count, disposition)
        self._put_end(consumer_id, ended, first, count, disposition)

    def _put_end(self, consumer_id: int, ended: Ranges, first: int, count: int, disposition: int) -> None:
        """Settlements go at the end of the turn, or ahead of what else is said there. `ended`: what it ends for good."""
        is_over = self._outlet.is_over
        if self._survives and (ended or not is_over):
            self._settlements.put(consumer_id, ended, disposition)
        if is_over:
            return
        ends = self._ends
        if not ends:
            self._scheduler.call_soon(self._say_ends)
        ends.append((consumer_id, first, count, disposition))
        if len(ends) >= ENDS_MAX:
            self._say_ends()

    def _say_ends(self) -> None:
        if self._ends:
            ends, self._ends = self._ends, []
            several = len(ends) > 1
            self._outlet.send(hot_frames.settlements(self._number, ends) if several else hot_frames.settle(self._number, *ends[0]))

    def _taken(self, door: int, size: int, paused: bool) -> None:
        self._send(hot_frames.read(self._number, door, size, paused))

    def credit(self, consumer: Consumer) -> None:
        """See Owner. What its owner does not know by itself is that its connection reads again."""
        reader = self._readers.get(consumer.id)
        if reader is not None:
            self._readers.flush(reader.door)

    def lend(self, consumer: Consumer, count: int) -> None:
        """See Owner."""
        consumer.borrowed(count)
        reader = self._readers.get(consumer.id)
        if reader is not None:
            reader.lent += count
            self._send(hot_frames.lend(self._number, consumer.id, count))

    def take_back(self, consumer: Consumer, done: Callable[[int], None]) -> None:
        """See Owner."""
        reader = self._readers.get(consumer.id)
        lent, limits = (0, 0) if reader is None else (reader.lent, reader.limits)

        def is_limited() -> bool:
            return reader is not None and reader.limits != limits

        def check(count: int) -> None:
            since = 0 if reader is None else reader.lent - lent
            if consumer.active and not is_limited() and not consumer.credit - since <= count <= consumer.credit:
                raise CorruptData(f"{count} of {consumer.credit} that were lent are said to be left")

        def answered(error: NotDone | None, count: Any) -> None:
            if not is_limited():
                consumer.lent = True
            count = min(count, consumer.credit) if error is None else consumer.credit
            consumer.returned(count)
            done(count)

        if reader is None or self._returning:
            answered(None, consumer.credit)
            return
        number = self._ask(Asked(answered, asked.NUMBER, check=check))
        self._say(words.TakeBack(number, consumer.id))

    def limit(self, consumer: Consumer, together: int) -> None:
        """See Owner."""
        consumer.returned(consumer.credit)
        consumer.lent = False
        consumer.pool.limit = together
        reader = self._readers.get(consumer.id)
        if reader is not None:
            reader.limits += 1
            self._say(words.Limit(consumer.id, together))

    def cancel(self, consumer: Consumer) -> None:
        """See Owner. What is on its way goes back as it comes."""
        consumer.active = False
        reader = self._readers.get(consumer.id)
        if reader is not None:
            self._say(words.Cancel(consumer.id))
            self._readers.cancel(reader)
            if consumer.leased == 0:
                self._readers.leave(consumer.id)

    def end(self, consumer: Consumer) -> None:
        """See Owner."""
        consumer.active = False
        reader = self._readers.get(consumer.id)
        if reader is not None:
            self._say(words.End(consumer.id))
            self._readers.leave(consumer.id)
            for number in reader.gets:
                self._waiting.take(number)
        consumer.freed(consumer.leased)

    def _delivered(self, frame: bytes) -> None:
        what, data = hot_frames.read_delivered(frame)
        delivery = Delivery.__new__(Delivery)
        delivery.codec, delivery.codec_version, door, delivery.position, delivery.count, delivery.deliveries, consumer_id, delivery.offset = what[:8]
        delivery.append_time_ms, delivery.redelivered, delivery.counted, delivery.settled, delivery.from_topic = what[8:]
        delivery.data = data
        self._readers.came(door, consumer_id, delivery)

    def _wants(self, frame: bytes) -> None:
        _, number = hot_frames.read_number(frame)
        reader = self._readers.get(number)
        if reader is not None and reader.consumer.active:
            door: Any = reader.consumer.attachment
            door.wants(reader.consumer)

    def _gone(self, said: words.Gone) -> None:
        reader = self._readers.leave(said.consumer)
        if reader is not None and reader.consumer.active:
            door: Any = reader.consumer.attachment
            door.gone(reader.consumer)

    # ---- what is asked of queues

    def get(self, log_id: bytes, getter: Consumer, call: Ask) -> None:
        """See Owner."""
        try:
            self._check()
        except NotDone as error:
            fail(call, error)
            return
        reader = self._readers.enter(getter, [log_id])
        waits = Getting(call, reader)
        number = self._ask(waits)
        reader.gets.append(number)
        waits.again = words.Get(number, words_of(reader), log_id)
        self._say_now(waits.again)

    def _got(self, said: words.Got) -> None:
        getting = self._waiting.maybe_get(said.call, Getting)
        error = words.error_of(said.error)
        one = said.delivery
        if one is not None and not 0 < one.count <= len(one.data) - one.position:
            raise CorruptData(f"{one.count} records from {one.position} on in {len(one.data)} bytes")
        if getting is None:
            return  # who would hold it has ended
        self._waiting.take(said.call)
        call, reader = getting.call, getting.reader
        reader.gets.remove(said.call)
        if error is not None:
            fail(call, error)
            return
        call.result = None
        if one is not None:
            call.result = (self._delivery(reader, one), said.left)
        call.outcome = DONE
        call.attachment.sink.completed(call)

    def _delivery(self, reader: Reader, said: words.WordsOfDelivery) -> Delivery:
        getter = reader.consumer
        delivery = Delivery.__new__(Delivery)
        for name in words.WordsOfDelivery.__struct_fields__:
            setattr(delivery, name, getattr(said, name))
        delivery.consumer_id = getter.id
        delivery.token = None
        delivery.settled = getter.auto_settle
        delivery.from_topic = False
        reader.came(delivery)
        if getter.auto_settle:
            self._settle(getter.id, said.offset, said.count, ACCEPT)
        else:
            getter.gave(said.count)
        return delivery

    def purge(self, log_id: bytes, call: Ask) -> None:
        """See Owner."""

        def answered(error: NotDone | None, count: Any) -> None:
            if error is not None:
                fail(call, error)
                return
            call.result = count
            call.outcome = DONE
            call.attachment.sink.completed(call)

        self._ask_or_fail(Asked(answered, asked.NUMBER, True), lambda number: words.Purge(number, log_id))

    def count(self, log_ids: list[bytes], done: Callable[[NotDone | None, int, int], None]) -> None:
        """See Owner."""

        def answered(error: NotDone | None, counts: Any) -> None:
            done(error, *(counts or (0, 0)))

        self._ask_or_fail(Asked(answered, asked.TWO_NUMBERS), lambda number: words.Count(number, log_ids))

    def together(self, stages: list[Stage], settlements: list[Settlement], loads: list[Load], done: Done, note: Note | None = None) -> None:
        """See Owner."""

        def answered(error: NotDone | None, answer: Any) -> None:
            for consumer, first, count, disposition in settlements if error is None else ():
                reader = self._readers.get(consumer.id)
                if reader is not None:
                    reader.settled(first, count, disposition)
                consumer.freed(min(count, consumer.leased))
                if not consumer.active and consumer.leased == 0:
                    self._readers.leave(consumer.id)
                door: Any = consumer.attachment
                door.credit_returned(consumer)
            done(error, answer)

        ends = [(consumer.id, first, count, disposition) for consumer, first, count, disposition in settlements]
        sent = [self._words_of_stage(*one) for one in stages]
        if note is None:
            self._ask_or_fail(Asked(answered, asked.NOTHING, True), lambda number: words.Together(number, sent, ends, loads))
            return
        assert not loads
        noted = words.WordsOfNote(*note[:-1], [words.WordsOfOnward(*msgspec.structs.astuple(one)) for one in note.onward])
        self._ask_or_fail(Asked(answered, asked.RUNS, True), lambda number: words.Noted(number, sent, ends, noted))

    def _words_of_stage(self, lane: Lane | None, address: bytes, runs: list[Run], call: Publish) -> words.WordsOfStage:
        number = None if lane is None else self._lanes.number(lane)
        of_runs = [words.WordsOfRun(ids, hidden, data, count, list(indices)) for ids, hidden, data, count, indices in runs]
        return words.WordsOfStage(number, address, of_runs, call.codec, call.codec_version, call.flags, call.data, call.count, call.body_bytes)

    def ask(self, question: Any, done: Done) -> None:
        """See Owner."""
        kind = type(question)
        waits = Asked(done, asked.answers_of(question), kind in asked.CHANGES, once=kind in asked.ONCE)
        self._ask_or_fail(waits, lambda number: words.Ask(number, type(question).__name__, words.plain(tuple(question))))

    def _ask(self, who: Any) -> int:
        number = self._waiting.next()
        self._waiting.put(number, who)
        return number

    def _ask_or_fail(self, who: Asked, say: Callable[[int], Any]) -> None:
        """Ask, or answer that nothing new is begun."""
        number = self._waiting.next()
        try:
            if who.changes:
                self._outlet.check()
                self._say(say(number))
            else:
                self._check()
                said = say(number)
                who.again = None if who.once and not self._returning else said
                self._say_now(said)
        except NotDone as error:
            who.done(error, None)
            return
        self._waiting.put(number, who)

    def _check(self) -> None:
        """Raises Unavailable: nothing new may be begun. What can be asked again waits for an owner that returns."""
        if not self._returning:
            self._outlet.check_there()

    def _say_now(self, what: Any) -> None:
        """Unless it waits for the owner to return."""
        if not self._returning:
            self._say(what)

    def _answer(self, said: words.Answer) -> None:
        who = self._waiting.get(said.call, Asked)
        error = words.error_of(said.error)
        answer = None if error is not None else words.read(said.answer, who.decoder)
        if error is None and who.check is not None:
            who.check(answer)
        self._waiting.take(said.call)
        who.done(error, answer)

    def _lane_gone(self, said: words.LaneGone) -> None:
        self._lanes.gone(said.number)

    # ---- what comes

    def heed(self, frame: bytes) -> None:
        """One frame of the owner. Raises CorruptData."""
        hot = self._hot.get(frame[0])
        if hot is not None:
            hot(self, frame)
            return
        seldom = self._seldom.get(frame[0])
        if seldom is None:
            raise CorruptData(f"a frame of kind {frame[0]} does not come from an owner")
        seldom(self, words.decode(frame))

    _hot: ClassVar[dict[int, Callable[[Any, bytes], None]]] = {
        kinds.DELIVERED: _delivered,
        kinds.WANTS: _wants,
        kinds.SETTLED: _durable,
        **RemoteStages.hot,
    }
    _seldom: ClassVar[dict[int, Callable[[Any, Any], None]]] = {
        kinds.ANSWER: _answer,
        kinds.GOT: _got,
        kinds.GONE: _gone,
        kinds.LANE_GONE: _lane_gone,
        **RemoteStages.heeds,
    }
