"""RemoteOwner: an owner in another process, as a front of this one calls it.

Requests go out in the order in which they are made, each once; answers and deliveries come with some later turn of the loop. What cannot be waited for is
answered from what is known here: a lane is a number of this link, which is registered there before it is named; whether one of a queue with timed leases
still stands the owner says when it does not. A call that goes out before that is heard is answered by the owner: a lane stands for the ids of logs, which
are never used again, so it comes to no other queue.

Nothing new is begun while the link is full or the owner away(): Unavailable. What is under way waits, over however many connections, until the other start
is dead().
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import msgspec

from entrepot.broker.calls import lease_calls
from entrepot.broker.calls.port import ACCEPT, DONE, Ask, Attachment, Delivery, Publish, fail
from entrepot.broker.calls.questions import Load
from entrepot.broker.owners import Done, Lane, Owner, Run, Settlement, Stage
from entrepot.broker.subscription.consumer import Consumer
from entrepot.cluster.owners import asked, hot_frames, kinds, words
from entrepot.cluster.owners.doors import Reader, Readers
from entrepot.cluster.owners.lanes import Lanes, RemoteLane
from entrepot.cluster.owners.outlet import Outlet
from entrepot.cluster.owners.waiting import ENDED, Asked, Getting, Receiving, Waiting, refuse
from entrepot.model.errors import CorruptData, NotDone, Unavailable

_WHY = msgspec.msgpack.Decoder(words.Why)


class RemoteOwner(Owner):
    """One of another start of a process, by its number there, for one front."""

    def __init__(self, outlet: Outlet) -> None:
        self._outlet = outlet
        self._number = outlet.owner
        self._lanes = Lanes(self, outlet.say)
        self._readers = Readers(outlet.say, self._settle, self._taken)
        self._waiting = Waiting()

    # ---- the other end comes and goes

    def away(self, text: str) -> None:
        """There has been no connection for long: nothing new is begun. What was sent keeps waiting. Nothing, after dead(); so is back()."""
        if not self._outlet.is_over:
            self._outlet.away = Unavailable(text)

    def back(self) -> None:
        """There is one again."""
        if not self._outlet.is_over:
            self._outlet.away = None

    def dead(self) -> None:
        """That start is no more: whatever is under way is answered, consumers are told that they are gone, and nothing more is sent or heeded."""
        self._outlet.end(Unavailable(ENDED))
        readers = self._readers.everyone()
        self._readers.forget_all()
        self._waiting.end()
        for reader in readers:
            consumer = reader.consumer
            if consumer.active and consumer.token is not None:
                door: Any = consumer.attachment
                door.gone(consumer)

    @property
    def under_way_count(self) -> int:
        """Calls that are not answered."""
        return len(self._waiting)

    # ---- publishing

    def lane(self, address: bytes, log_ids: list[bytes]) -> Lane:
        """See Owner."""
        return self._lanes.make(address, log_ids)

    def stage(self, lane: Lane, call: Publish) -> bool:
        """See Owner."""
        self._outlet.check()
        lane_number = self._lanes.number(lane)
        number = self._waiting.next()
        staged = (call.codec, call.codec_version, call.flags, call.confirm, lane_number, call.count, number, call.body_bytes)
        self._outlet.send(hot_frames.stage(self._number, staged), call.data)
        return self._under_way(number, call)

    def stage_runs(self, address: bytes, runs: list[Run], call: Publish) -> bool:
        """See Owner."""
        self._outlet.check()
        number = self._waiting.next()
        staged = (call.codec, call.codec_version, call.flags, call.confirm, len(runs), call.count, number, call.body_bytes)
        self._outlet.send(*hot_frames.stage_runs(self._number, staged, address, runs))
        return self._under_way(number, call)

    def _under_way(self, number: int, call: Publish) -> bool:
        if call.confirm:
            self._waiting.put(number, call)
            return False
        self._waiting.put_unheard(number, call)
        call.outcome = DONE
        return True

    def _answered(self, frame: bytes) -> None:
        number, nacked, error = hot_frames.read_answered(frame)
        call = self._waiting.get_staged(number)
        why = _error(error) if error else None
        if why is None and (not call.confirm or max(nacked or (), default=0) >= call.count):
            raise CorruptData(f"of a publish of {call.count} records {len(nacked or ())} are said to be nowhere, or nobody waits for it")
        self._waiting.take_staged(number)
        if why is not None:
            refuse(call, why)
        else:
            call.nacked = nacked
            call.outcome = DONE
            call.attachment.sink.completed(call)

    def _passed(self, frame: bytes) -> None:
        _, number = hot_frames.read_number(frame)
        self._waiting.passed(number)

    def reply(self, namespace: str, name: str, codec: int, version: int, data: bytes, position: int, count: int) -> bool:
        """See Owner. Nobody waits for it: what cannot be sent is dropped."""
        try:
            self._outlet.check()
            head = hot_frames.reply(self._number, codec, version, namespace.encode(), name.encode("utf-8", "surrogateescape"), position, count)
            self._outlet.send(head, data)
        except NotDone:
            return False
        return True

    # ---- consuming

    def consume(self, consumer: Consumer, log_ids: list[bytes], start: Any, done: Callable[[NotDone | None], None]) -> None:
        """See Owner."""

        def answered(error: NotDone | None, _: Any) -> None:
            if error is not None:
                self._readers.leave(consumer.id)
            done(error)

        try:
            self._outlet.check()
        except NotDone as error:
            done(error)
            return
        reader = self._readers.enter(consumer)
        number = self._ask(Asked(answered, asked.NOTHING))
        self._outlet.say(words.Consume(number, _words_of(reader), log_ids, words.words_of_start(start)))

    def settle(self, consumer: Consumer, first: int, count: int, disposition: int) -> None:
        """See Owner."""
        self._settle(consumer.id, first, count, disposition)
        consumer.freed(min(count, consumer.leased))
        if not consumer.active and consumer.leased == 0:
            self._readers.leave(consumer.id)

    def _settle(self, consumer_id: int, first: int, count: int, disposition: int) -> None:
        self._outlet.send(hot_frames.settle(self._number, consumer_id, first, count, disposition))

    def _taken(self, door: int, size: int, paused: bool) -> None:
        self._outlet.send(hot_frames.read(self._number, door, size, paused))

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
            self._outlet.send(hot_frames.lend(self._number, consumer.id, count))

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

        if reader is None:
            answered(None, consumer.credit)
            return
        number = self._ask(Asked(answered, asked.NUMBER, check=check))
        self._outlet.say(words.TakeBack(number, consumer.id))

    def limit(self, consumer: Consumer, together: int) -> None:
        """See Owner."""
        consumer.returned(consumer.credit)
        consumer.lent = False
        consumer.pool.limit = together
        reader = self._readers.get(consumer.id)
        if reader is not None:
            reader.limits += 1
            self._outlet.say(words.Limit(consumer.id, together))

    def cancel(self, consumer: Consumer) -> None:
        """See Owner. What is on its way goes back as it comes."""
        consumer.active = False
        reader = self._readers.get(consumer.id)
        if reader is not None:
            self._outlet.say(words.Cancel(consumer.id))
            self._readers.cancel(reader)
            if consumer.leased == 0:
                self._readers.leave(consumer.id)

    def end(self, consumer: Consumer) -> None:
        """See Owner."""
        consumer.active = False
        reader = self._readers.get(consumer.id)
        if reader is not None:
            self._outlet.say(words.End(consumer.id))
            self._readers.leave(consumer.id)
            for number in reader.gets:
                self._waiting.take(number)
        consumer.freed(consumer.leased)

    def _delivered(self, frame: bytes) -> None:
        what, data = hot_frames.read_delivered(frame)
        delivery = Delivery.__new__(Delivery)
        delivery.codec, delivery.codec_version, door, delivery.position, delivery.count, delivery.deliveries, consumer_id, delivery.offset, *marks = what
        delivery.redelivered, delivery.counted, delivery.settled, delivery.from_topic = marks
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
            self._outlet.check()
        except NotDone as error:
            fail(call, error)
            return
        reader = self._readers.enter(getter)
        number = self._ask(Getting(call, reader))
        reader.gets.append(number)
        self._outlet.say(words.Get(number, _words_of(reader), log_id))

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

    def together(self, stages: list[Stage], settlements: list[Settlement], loads: list[Load], done: Done) -> None:
        """See Owner."""

        def answered(error: NotDone | None, answer: Any) -> None:
            for consumer, _, count, _ in settlements if error is None else ():
                consumer.freed(min(count, consumer.leased))
                if not consumer.active and consumer.leased == 0:
                    self._readers.leave(consumer.id)
                door: Any = consumer.attachment
                door.credit_returned(consumer)
            done(error, answer)

        ends = [(consumer.id, first, count, disposition) for consumer, first, count, disposition in settlements]
        sent = [self._words_of_stage(*one) for one in stages]
        self._ask_or_fail(Asked(answered, asked.NOTHING, True), lambda number: words.Together(number, sent, ends, loads))

    def _words_of_stage(self, lane: Lane | None, address: bytes, runs: list[Run], call: Publish) -> words.WordsOfStage:
        number = None if lane is None else self._lanes.number(lane)
        of_runs = [words.WordsOfRun(ids, hidden, data, count, list(indices)) for ids, hidden, data, count, indices in runs]
        return words.WordsOfStage(number, address, of_runs, call.codec, call.codec_version, call.flags, call.data, call.count, call.body_bytes)

    def ask(self, question: Any, done: Done) -> None:
        """See Owner."""
        waits = Asked(done, asked.answers_of(question), type(question) in asked.CHANGES)
        self._ask_or_fail(waits, lambda number: words.Ask(number, type(question).__name__, words.plain(tuple(question))))

    def _ask(self, who: Any) -> int:
        number = self._waiting.next()
        self._waiting.put(number, who)
        return number

    def _ask_or_fail(self, who: Asked, say: Callable[[int], Any]) -> None:
        """Ask, or answer that nothing new is begun."""
        number = self._waiting.next()
        try:
            self._outlet.check()
            self._outlet.say(say(number))
        except NotDone as error:
            who.done(error, None)
            return
        self._waiting.put(number, who)

    def _answer(self, said: words.Answer) -> None:
        who = self._waiting.get(said.call, Asked)
        error = words.error_of(said.error)
        answer = None if error is not None else words.read(said.answer, who.decoder)
        if error is None and who.check is not None:
            who.check(answer)
        self._waiting.take(said.call)
        who.done(error, answer)

    # ---- leases that are timed

    def timed(self, log_id: bytes) -> Lane:
        """See Owner."""
        return self._lanes.timed(log_id)

    def holds(self, lane: Lane) -> bool:
        """See Owner: as far as it is known here."""
        assert isinstance(lane, RemoteLane)
        return lane.stands and not self._outlet.is_over

    def send(self, lane: Lane, call: lease_calls.Send) -> bool:
        """See Owner."""
        self._outlet.check()
        lane_number = self._lanes.number(lane)
        number = self._waiting.next()
        what = (call.codec, call.codec_version, call.flags, call.data, call.count, call.sizes, call.message_ids)
        more = (call.delays_ms, call.groups, call.deduplication_ids, call.content_ids, call.policy_version)
        self._outlet.say(words.Send(number, lane_number, *what, *more))
        self._waiting.put(number, call)
        return False

    def receive(self, lane: Lane, call: lease_calls.Receive) -> None:
        """See Owner."""
        self._outlet.check()
        assert isinstance(lane, RemoteLane)
        door = self._readers.door(call.attachment)
        waits = Receiving(call, lane, door, self._withdraw)
        number = self._ask(waits)
        door.calls += 1
        call.timed = waits
        terms = (call.codec, call.count, call.visibility_ms, call.wait_ms, call.attempt_id, call.policy_version)
        self._outlet.say(words.Receive(number, self._lanes.number(lane), door.number, *terms))

    def end_leases(self, lane: Lane, call: lease_calls.EndLeases) -> None:
        """See Owner."""
        self._outlet.check()
        self._end_leases(self._ask(call), self._lanes.number(lane), call)

    def _end_leases(self, number: int, lane: int, call: lease_calls.EndLeases) -> None:
        self._outlet.say(words.EndLeases(number, lane, call.queue_id, call.offsets, call.lease_ids, call.visibility_ms, call.policy_version))

    def withdraw_all(self, lane: Lane, attachment: Attachment) -> None:
        """See Owner."""
        door = self._readers.known(attachment)
        if door is not None:
            self._outlet.say(words.WithdrawAll(self._lanes.number(lane), door.number))
            self._readers.rest(door)

    def _withdraw(self, waits: Receiving) -> None:
        number = self._waiting.number_of(waits)
        if number:
            self._outlet.say(words.Withdraw(number))

    def _sent(self, said: words.Sent) -> None:
        call = self._waiting.get(said.call, lease_calls.Send)
        error = words.error_of(said.error)
        errors: Any = None if said.errors is None else [words.error_of(one) for one in said.errors]
        if error is None:
            lists: list[Any] = [said.offsets, said.stored_ids, *([] if errors is None else [errors])]
            if any(len(items) != call.count for items in lists):
                raise CorruptData(f"of {call.count} messages {len(said.offsets)} offsets are told")
            call.offsets, call.stored_ids, call.errors = said.offsets, said.stored_ids, errors
        self._waiting.take(said.call)
        _complete(call, error)

    def _received(self, said: words.Received) -> None:
        waits = self._waiting.get(said.call, Receiving)
        call = waits.call
        error = words.error_of(said.error)
        received = [_received(said, item) for item in said.received]
        if len(received) > call.count:
            raise CorruptData(f"{len(received)} messages for who asked for {call.count}")
        self._waiting.take(said.call)
        call.timed = None
        waits.door.calls -= 1
        self._readers.rest(waits.door)
        if error is None:
            call.lease_id, call.queue_id = said.lease_id, said.queue_id
            call.received = received
            if call.received and (waits.withdrawn or call.attachment.closed):
                self._give_back(waits)
        _complete(call, error)

    def _give_back(self, waits: Receiving) -> None:
        """Nobody waits for it any more."""
        call = waits.call
        offsets = [item.offset for item in call.received]
        end = lease_calls.make_end_leases(call.stream, call.queue, call.queue_id, offsets, [call.lease_id] * len(offsets), [0] * len(offsets))
        end.policy_version = call.policy_version
        self._end_leases(self._waiting.next(), self._lanes.number(waits.lane), end)
        call.received = []

    def _leases_ended(self, said: words.LeasesEnded) -> None:
        call = self._waiting.maybe_get(said.call, lease_calls.EndLeases)
        error = words.error_of(said.error)
        if call is not None:
            if error is None and (len(said.statuses) != len(call.offsets) or max(said.statuses, default=0) > lease_calls.TOO_LONG):
                raise CorruptData(f"of {len(call.offsets)} leases {len(said.statuses)} are said to have ended, or in no known way")
            self._waiting.take(said.call)
            call.statuses = said.statuses
            _complete(call, error)

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
        kinds.ANSWERED: _answered,
        kinds.DELIVERED: _delivered,
        kinds.WANTS: _wants,
        kinds.PASSED: _passed,
    }
    _seldom: ClassVar[dict[int, Callable[[Any, Any], None]]] = {
        kinds.ANSWER: _answer,
        kinds.GOT: _got,
        kinds.SENT: _sent,
        kinds.RECEIVED: _received,
        kinds.LEASES_ENDED: _leases_ended,
        kinds.GONE: _gone,
        kinds.LANE_GONE: _lane_gone,
    }


def _words_of(reader: Reader) -> words.WordsOfConsumer:
    consumer = reader.consumer
    auto_settle = consumer.auto_settle and not reader.settles
    is_getter = consumer.token is None
    terms = (consumer.stream, consumer.pool.limit, consumer.limit, auto_settle, consumer.exclusive, consumer.priority)
    more = (is_getter, is_getter or consumer.auto_settle, consumer.lent, consumer.counts)
    return words.WordsOfConsumer(reader.door.number, consumer.id, *terms, *more)


def _received(said: words.Received, item: words.WordsOfReceived) -> lease_calls.Received:
    if item.entry >= len(said.entries) or item.position >= len(said.entries[item.entry]):
        raise CorruptData(f"a record at {item.position} of entry {item.entry} of {len(said.entries)}")
    received = lease_calls.Received.__new__(lease_calls.Received)
    received.data = said.entries[item.entry]
    received.base, received.position, received.offset, received.deliveries = item.base, item.position, item.offset, item.deliveries
    received.first_received_ms, received.append_time_ms = item.first_received_ms, item.append_time_ms
    return received


def _complete(call: Any, error: NotDone | None) -> None:
    if error is not None:
        fail(call, error)
        return
    call.outcome = DONE
    if not call.attachment.closed:
        call.attachment.sink.completed(call)


def _error(raw: bytes) -> NotDone:
    error = words.error_of(words.read(msgspec.Raw(raw), _WHY))
    assert error is not None
    return error
