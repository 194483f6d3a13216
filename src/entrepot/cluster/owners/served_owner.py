"""ServedOwner: an owner of this process, as it is asked by a front in another: it carries out what arrives, with doors, consumers and lanes of its own.

There is one for each start of the other process. A connection that breaks releases nothing: what is leased to consumers there stays so until they end, or
that start is dead().

Where what is taken survives this start, too, it is kept which stages were (taken_stages.py), and the front hears what is durable. To a start of this process
after another it says first what its consumers hold: the claims.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Protocol

from entrepot.broker.calls import lease_calls
from entrepot.broker.calls.port import ACCEPT, Ask, Attachment, Call, Delivery, Publish, fail, make_ask
from entrepot.broker.calls.questions import AttachSession, HoldSession, Load, Note, Onward, Seal, Unseal
from entrepot.broker.calls.session_requests import NUMBER_MAX
from entrepot.broker.logs.entry_codec import EntryCodec
from entrepot.broker.owner.local_owner import LocalOwner
from entrepot.broker.owners import Lane, Settlement
from entrepot.broker.queue.queue import Queue
from entrepot.broker.subscription.consumer import Consumer
from entrepot.cluster.owners import asked, hot_frames, kinds, words
from entrepot.cluster.owners.outlet import Outlet
from entrepot.cluster.owners.served_claims import Claims, may_end
from entrepot.cluster.owners.served_door import ServedDoor, ServedSink
from entrepot.cluster.owners.served_lanes import ServedLanes
from entrepot.cluster.owners.served_stages import ServedStages
from entrepot.cluster.owners.taken_stages import TakenStages
from entrepot.model.addresses import is_address
from entrepot.model.errors import CorruptData, NotDone, Unavailable
from entrepot.store.interface import Scheduler

WORDS_AT = 2  # of a frame: behind its kind and owner

_CALLS = frozenset(number for one, number in words.KINDS.items() if number < kinds.ANSWERS and "call" in one.__struct_fields__ and one is not words.Withdraw)


class Here(Protocol):
    """What else is needed of this process."""

    @property
    def scheduler(self) -> Scheduler:
        """Its loop's."""

    def codec(self, tag: int) -> EntryCodec | None:
        """The codec of that tag; None: there is none."""

    def next_consumer_id(self) -> int:
        """A number that no consumer here has had."""

    def row_shard(self, owner: LocalOwner) -> int:
        """The lowest shard that an owner has of those that are kept."""


class ServedOwner(ServedStages):
    """`owner`, for the front at the other end of a link."""

    def __init__(self, owner: LocalOwner, outlet: Outlet, here: Here, taken: TakenStages | None = None) -> None:
        super().__init__(outlet, taken)
        self.owner = owner
        self.doors: dict[int, ServedDoor] = {}
        self.claims = Claims(self)
        self._here = here
        self._lanes = ServedLanes(owner, self._lane_gone)
        self._attachment.sink = ServedSink(self, None)
        self._receives: dict[int, lease_calls.Receive] = {}  # of those under way, by number
        self._gets: dict[Ask, Consumer] = {}
        self._by_number: dict[int, ServedDoor] = {}  # of each consumer
        self._sealed: dict[bytes, None] = {}
        self._front = b"served %d" % here.next_consumer_id()  # as whom its sessions know it
        self._last_consumer = 0  # the greatest number that one had
        owner.followers.append(self._let_go)

    def dead(self) -> None:
        """The other start is no more: all that it had here ends, and what it held goes back to its place."""
        self._outlet.end(Unavailable("the front has ended"))
        self.owner.followers.remove(self._let_go)
        for door in list(self.doors.values()):
            self._end_door(door)
        if self.taken is not None:
            self.taken.drop()
        if self._sealed:
            self.owner.ask(Unseal(list(self._sealed)), lambda *_: None)
        self.owner.answering.sessions.front_ended(self._front)

    def _let_go(self) -> None:
        """Something has ended here, and perhaps what was sealed: whoever seals it then is another."""
        self._lanes.let_go()
        for log_id in list(self._sealed):
            log = self.owner.store.log(log_id)
            if log is None or not self.owner.seals.is_sealed(log):
                del self._sealed[log_id]

    def _end_door(self, door: ServedDoor) -> None:
        door.closed = True
        door.writable = False
        for lane in self._lanes.timed():
            self.owner.withdraw_all(lane, door)
        for consumer in list(door.consumers.values()):
            self._end_consumer(door, consumer)
        self.doors.pop(door.number)

    # ---- replies

    def _reply(self, frame: bytes) -> None:
        """Nobody waits for it."""
        codec, version, namespace, name, position, count, data = hot_frames.read_reply(frame)
        if self._here.codec(codec) is None:
            raise CorruptData(f"a reply of codec {codec}, which is not known here")
        self._check_records(codec, data, count, position)
        self.owner.reply(words.text_of(namespace), name.decode("utf-8", "surrogateescape"), codec, version, data, position, count)

    # ---- what the owner answers

    def completed(self, call: Call) -> None:
        """See Sink."""
        number = self._calls.pop(call, None)
        if number is None:
            return
        if isinstance(call, Publish):
            if call.error is None and not call.nacked:
                self._tell_taken_soon(number)
            else:
                self._tell_staged(number, call.error, call.nacked)
        elif isinstance(call, lease_calls.Receive):
            self._tell_received(number, call)
        elif isinstance(call, (lease_calls.Send, lease_calls.EndLeases)):
            self._outlet.say(_words_of_change(number, call))
        else:
            assert isinstance(call, Ask)
            self._tell_asked(number, call)

    def _tell_asked(self, number: int, call: Ask) -> None:
        """Of a get or a purge."""
        if self._gets.pop(call, None) is None:
            self._tell(number)(call.error, call.result)
            return
        delivery, left = call.result or (None, 0)
        self._outlet.say(words.Got(number, words.why(call.error), None if delivery is None else self._words_of(delivery), left))

    def _tell(self, number: int) -> Callable[..., None]:
        """Who is called with an answer."""

        def tell(error: NotDone | None, answer: Any = None) -> None:
            self._outlet.say(words.Answer(number, words.why(error), words.plain(None if error is not None else answer)))

        return tell

    def _tell_received(self, number: int, call: lease_calls.Receive) -> None:
        del self._receives[number]
        entries: dict[int, int] = {}  # by identity: records of one entry share it
        octets: list[bytes] = []
        items = []
        for item in call.received:
            entry = entries.setdefault(id(item.data), len(octets))
            if entry == len(octets):
                octets.append(item.data)
            where = (entry, item.base, item.position, item.offset, item.deliveries)
            items.append(words.WordsOfReceived(*where, item.first_received_ms, item.append_time_ms))
        self._outlet.say(words.Received(number, words.why(call.error), octets, items, call.lease_id, call.queue_id))

    # ---- consuming

    def deliver(self, door: ServedDoor, delivery: Delivery) -> int:
        """See Sink: what lies before the records of its entry, and these."""
        end, start, parts = self._cut(delivery)
        from_topic, deliveries, token = delivery.from_topic, delivery.deliveries, delivery.token
        if from_topic:  # which partition of those that it reads
            deliveries = door.places[token][door.consumers[token].reads.giving.id]
        where = (delivery.codec, delivery.codec_version, door.number, start, delivery.count, deliveries, token, delivery.offset)
        what = (*where, delivery.append_time_ms, delivery.redelivered, delivery.counted, delivery.settled, from_topic)
        self._outlet.send(hot_frames.delivered(self._number, what), *parts)
        door.sent(sum([len(part) for part in parts]))
        return end

    def _cut(self, delivery: Delivery) -> tuple[int, int, list[bytes]]:
        """Where the records end; where they begin in what is sent, and that."""
        codec = self._codecs.get(delivery.codec) or self._codec(delivery.codec)
        assert codec is not None
        data, position = delivery.data, delivery.position
        start = codec.start(data)
        end = codec.skip(data, position, delivery.count)
        if position == start and end == len(data):
            return end, start, [data]
        return end, start, [data[:start], data[position:end]]

    def _words_of(self, delivery: Delivery) -> words.WordsOfDelivery:
        _, start, parts = self._cut(delivery)
        more = (delivery.count, delivery.offset, delivery.deliveries, delivery.counted, delivery.redelivered, delivery.append_time_ms)
        return words.WordsOfDelivery(delivery.codec, delivery.codec_version, b"".join(parts), start, *more)

    def wants(self, number: int) -> None:
        """The owner has something for it, and it has no credit."""
        self._outlet.send(hot_frames.wants(self._number, number))

    def gone(self, number: int) -> None:
        """A consumer's queue was deleted."""
        self._outlet.say(words.Gone(number))

    def forget(self, number: int) -> None:
        """A consumer is not known any more."""
        del self._by_number[number]

    def _consume(self, said: words.Consume) -> None:
        start = words.start_of(said.start)
        if said.consumer.is_getter:
            raise CorruptData(f"getter {said.consumer.number} would be sent what there is")
        self.check_one(said.log_ids)
        consumer = self.enter(said.consumer)
        tell = self._tell(said.call)

        def done(error: NotDone | None) -> None:
            if error is not None:
                _door_of(consumer).forget(consumer)
                tell(error)
            elif isinstance(consumer.reads, Queue):
                tell(None)
            else:
                places = consumer.reads.places(consumer)
                tell(None, [places.get(log_id, -1) for log_id in said.log_ids])

        self.read_places(said.consumer, said.log_ids)
        self.owner.consume(consumer, said.log_ids, start, done)

    def read_places(self, consumer: words.WordsOfConsumer, log_ids: list[bytes]) -> None:
        """These may be the partitions that it reads."""
        self.doors[consumer.door].places[consumer.number] = {log_id: place for place, log_id in enumerate(log_ids)}

    def check_one(self, log_ids: list[bytes]) -> None:
        """What is open here of it is a queue, or partitions of one topic. Raises CorruptData."""
        found = []
        for log_id in log_ids if len(log_ids) > 1 else ():
            try:
                target = self.owner.target(log_id)
            except NotDone:
                return  # as the owner will say
            found.append(None if isinstance(target, Queue) else target.topic)
        if found and (found[0] is None or any(one is not found[0] for one in found)):
            raise CorruptData(f"{len(log_ids)} logs are to be read by one consumer that are not of one topic")

    def _claim(self, said: words.Claim) -> None:
        self.claims.claim(self.enter(said.consumer), said)

    def _claimed(self, said: words.Claimed) -> None:
        self.claims.end(said.count)
        self._last_consumer = max(self._last_consumer, said.last)

    def enter(self, said: words.WordsOfConsumer) -> Consumer:
        """One more consumer or getter, through its door. Raises CorruptData."""
        if said.number in self._by_number:
            raise CorruptData(f"consumer {said.number} is there already")
        self._last_consumer = max(self._last_consumer, said.number)
        door = self._by_number[said.number] = self._door(said.door)
        return door.enter(said, self._here.next_consumer_id(), self.owner)

    def _settle(self, frame: bytes) -> None:
        self._settle_all([hot_frames.read_settle(frame)])

    def _settlements(self, frame: bytes) -> None:
        self._settle_all(hot_frames.read_settlements(frame))

    def _settle_all(self, ends: list[hot_frames.End]) -> None:
        self._settled += len(ends)
        self._settle_due = True
        claims, owner = self.claims, self.owner
        for number, first, count, disposition in ends:
            consumer = self._consumer(number)
            if consumer is None or consumer.reads is None:
                continue
            if disposition != ACCEPT or claims.held:
                claims.settle(consumer, first, count, disposition)
            else:
                owner.settle(consumer, first, count, disposition)
            if not consumer.active or consumer.pool.limit:
                _door_of(consumer).credit_returned(consumer)

    def _lend(self, frame: bytes) -> None:
        number, count = hot_frames.read_lend(frame)
        consumer = self._consumer(number)
        if consumer is not None:
            self._check_reads(consumer)
            self.owner.lend(consumer, count)

    def _read(self, frame: bytes) -> None:
        number, size, paused = hot_frames.read_read(frame)
        self._door(number).read(size, paused)

    def _take_back(self, said: words.TakeBack) -> None:
        consumer = self._consumer(said.consumer)
        tell = self._tell(said.call)
        if consumer is None:
            tell(None, 0)
        else:
            self._check_reads(consumer)
            self.owner.take_back(consumer, partial(tell, None))

    def _limit(self, said: words.Limit) -> None:
        consumer = self._consumer(said.consumer)
        if consumer is not None:
            self._check_reads(consumer)
            self.owner.limit(consumer, said.together)

    @staticmethod
    def _check_reads(consumer: Consumer) -> None:
        if consumer.token is None:
            raise CorruptData("a getter has neither credit nor a limit")

    def _cancel(self, said: words.Cancel) -> None:
        consumer = self._consumer(said.consumer)
        if consumer is not None and consumer.reads is not None:
            self.owner.cancel(consumer)
            if consumer.leased == 0:
                _door_of(consumer).forget(consumer)

    def _end(self, said: words.End) -> None:
        consumer = self._consumer(said.consumer)
        if consumer is not None:
            self._end_consumer(_door_of(consumer), consumer)

    def _end_consumer(self, door: ServedDoor, consumer: Consumer) -> None:
        door.forget(consumer)
        for call in [call for call, getter in self._gets.items() if getter is consumer] if consumer.token is None else ():
            del self._gets[call], self._calls[call]
        self.claims.released(consumer)
        self.owner.end(consumer)

    # ---- doors and lanes

    def _lane(self, said: words.LaneIs) -> None:
        self._lanes.put(said)

    def _lanes_end(self, said: words.LanesEnd) -> None:
        self._lanes.drop(said.numbers)

    def _lane_gone(self, number: int) -> None:
        self._outlet.say(words.LaneGone(number))

    def _door_is(self, said: words.DoorIs) -> None:
        if said.number in self.doors or self._here.codec(said.codec) is None:
            raise CorruptData(f"door {said.number}, of codec {said.codec}, is there already or speaks what is not known here")
        self.doors[said.number] = ServedDoor(self, said.number, said.codec)

    def _door_end(self, said: words.DoorEnd) -> None:
        self._end_door(self._door(said.number))

    def _door(self, number: int) -> ServedDoor:
        door = self.doors.get(number)
        if door is None:
            raise CorruptData(f"door {number} is named, and was not registered")
        return door

    def _consumer(self, number: int) -> Consumer | None:
        """One that may have ended here before its front has heard of it. Raises CorruptData: none has been that."""
        if number > self._last_consumer:
            raise CorruptData(f"consumer {number} is named, and none of that number was")
        door = self._by_number.get(number)
        return None if door is None else door.consumers[number]

    # ---- what is asked of queues

    def _get(self, said: words.Get) -> None:
        number = said.getter.number
        getter = (self._consumer(number) if number in self._by_number else None) or self.enter(said.getter)
        if getter.token is not None:
            raise CorruptData(f"consumer {said.getter.number} would get, and is sent what there is")
        call = self._ask_for(said.call, getter.attachment)
        self._gets[call] = getter
        self.owner.get(said.log_id, getter, call)

    def _purge(self, said: words.Purge) -> None:
        call = self._ask_for(said.call, self._attachment)
        self.owner.purge(said.log_id, call)

    def _ask_for(self, number: int, attachment: Attachment) -> Ask:
        call = make_ask(0, None)
        call.attachment = attachment
        self._calls[call] = number
        return call

    def _count(self, said: words.Count) -> None:
        tell = self._tell(said.call)
        self.owner.count(said.log_ids, lambda error, ready, consumers: tell(error, (ready, consumers)))

    def _together(self, said: words.Together) -> None:
        self._do_together(said, said.loads, None)

    def _noted(self, said: words.Noted) -> None:
        note = said.note
        if len(note.by_stage) != len(said.stages) or any(
            sum(count for _, count in runs) not in (0, stage.count) for runs, stage in zip(note.by_stage, said.stages, strict=True)
        ):
            raise CorruptData("numbers are to be remembered of more or fewer records than are published")
        runs = (*note.adds, *note.removes, *(run for one in note.by_stage for run in one))
        if any(first + count > NUMBER_MAX + 1 for first, count in runs):
            raise CorruptData("a number to be remembered is too great")
        for one in note.onward:
            if not is_address(one.address):
                raise CorruptData("records are to go on to an address that is none")
            self._check_records(one.codec, one.data, one.count)
        onward = [Onward(one.places, one.address, one.hidden, one.codec, one.codec_version, one.flags, one.data, one.count) for one in note.onward]
        self._do_together(said, [], Note(note.log_id, note.generation, note.released, note.by_stage, note.adds, note.removes, onward))

    def _do_together(self, said: words.Together | words.Noted, loads: list[Load], note: Note | None) -> None:
        tell = self._tell(said.call)
        ends: list[Settlement] = []
        for number, first, count, disposition in said.settlements:
            consumer = self._consumer(number)
            if consumer is not None and consumer.reads is not None:
                ends += [(consumer, low, high - low, disposition) for low, high in may_end(consumer, first, first + count, disposition)]
        try:
            stages = [self._stage_of(one) for one in said.stages]
        except NotDone as error:
            tell(error)
            return
        self.owner.together(stages, ends, loads, tell, note)
        for consumer, first, count, _ in ends:
            self.claims.forget(consumer, first, count)
            _door_of(consumer).credit_returned(consumer)

    def _stage_of(self, said: words.WordsOfStage) -> tuple[Lane | None, bytes, list[Any], Publish]:
        lane = None if said.lane is None else self._lanes.get(said.lane, False)
        address = said.address if lane is None else lane.address
        call = self._publish(said.codec, said.codec_version, said.flags, address, said.data, said.count, said.body_bytes)
        if any(len(run.indices) < run.count or max(run.indices) >= said.count for run in said.runs):
            raise CorruptData(f"a run of {said.count} records with indices that are none")
        for data, count in [(run.data, run.count) for run in said.runs] if lane is None else [(said.data, said.count)]:
            self._check_records(said.codec, data, count)
        runs = [(run.log_ids, run.hidden, run.data, run.count, run.indices) for run in said.runs]
        return (None if lane is None else self._lanes.live(lane)), said.address, runs, call

    def _ask(self, said: words.Ask) -> None:
        question = asked.question_of(said.question, said.fields)
        tell = self._tell(said.call)
        if isinstance(question, Seal):
            self.owner.ask(question, partial(self._seal_done, question, tell))
            return
        if isinstance(question, (AttachSession, HoldSession)):
            question = question._replace(front=self._front)
        if isinstance(question, Unseal):
            question = Unseal([log_id for log_id in question.log_ids if log_id in self._sealed])
            for log_id in question.log_ids:
                del self._sealed[log_id]
        self.owner.ask(question, tell)

    def _seal_done(self, question: Seal, tell: Callable[..., None], error: NotDone | None, answer: Any) -> None:
        if error is None and self._outlet.is_over:
            self.owner.ask(Unseal(question.log_ids), lambda *_: None)  # it waited for another's, and nobody is left
            return
        if error is None:
            self._sealed.update(dict.fromkeys(question.log_ids))
        tell(error, answer)

    # ---- leases that are timed

    def _send(self, said: words.Send) -> None:
        self._check_records(said.codec, said.data, said.count)
        lists = (said.sizes, said.message_ids, said.delays_ms, said.groups, said.deduplication_ids, said.content_ids)
        if said.count == 0 or any(len(items) != said.count for items in lists if items is not None) or self._here.codec(said.codec) is None:
            raise CorruptData(f"{said.count} messages of codec {said.codec}, of which lists say something of more or fewer")
        terms = (said.codec, said.codec_version, said.flags, said.data, said.count, said.sizes, said.message_ids)
        call = lease_calls.make_send(0, "", *terms)
        call.delays_ms, call.groups = said.delays_ms, said.groups
        call.deduplication_ids, call.content_ids = said.deduplication_ids, said.content_ids
        call.policy_version = said.policy_version
        self._change(said.call, call, said.lane, self.owner.send)

    def _receive(self, said: words.Receive) -> None:
        if self._here.codec(said.codec) is None:
            raise CorruptData(f"messages are to be packed by codec {said.codec}, which is not known here")
        call = lease_calls.make_receive(0, "", said.codec, said.count, said.visibility_ms, said.wait_ms)
        call.attempt_id = said.attempt_id
        call.policy_version = said.policy_version
        self._receives[said.call] = call
        self._timed(said.call, call, self._door(said.door), said.lane, self.owner.receive)

    def _end_leases(self, said: words.EndLeases) -> None:
        if any(len(items) != len(said.offsets) for items in (said.lease_ids, said.visibility_ms) if items is not None):
            raise CorruptData(f"{len(said.offsets)} leases are to end, of which lists say something of more or fewer")
        call = lease_calls.make_end_leases(0, "", said.queue_id, said.offsets, said.lease_ids, said.visibility_ms)
        call.policy_version = said.policy_version
        self._change(said.call, call, said.lane, self.owner.end_leases)

    def _change(self, number: int, call: Any, lane: int, do: Callable[[Lane, Any], bool | None]) -> None:
        """A Send or an EndLeases, once over the starts of this owner: what one before this has done is not done again, and the same is said of it."""
        taken = self.taken
        if taken is not None and number <= taken.known:
            self._outlet.send(self._said_before(taken, number, call))
            return
        if taken is not None and self._row_shard in self._closed:
            do = _refuse_unkept
        self._timed(number, call, self._attachment, lane, do)
        if taken is not None:
            is_plain = call.error is None and isinstance(call, lease_calls.EndLeases) and not any(call.statuses)
            taken.said(number, b"" if is_plain else words.encode(self._number, _words_of_change(number, call))[WORDS_AT:])
            self._fold_due = self._fold_due or call.error is None

    def _said_before(self, taken: TakenStages, number: int, call: Any) -> bytes:
        rest = taken.said_before(number)
        if not rest and isinstance(call, lease_calls.EndLeases):
            return words.encode(self._number, words.LeasesEnded(number, None, [lease_calls.ENDED] * len(call.offsets)))
        if not rest:
            raise CorruptData(f"messages are sent again as {number}, and nobody waits for that any more")
        return bytes((kinds.SENT if isinstance(call, lease_calls.Send) else kinds.LEASES_ENDED, self._number)) + rest

    def _timed(self, number: int, call: Any, attachment: Attachment, lane: int, do: Callable[[Lane, Any], bool | None]) -> None:
        call.attachment = attachment
        self._calls[call] = number
        try:
            if do(self._lanes.live(self._lanes.get(lane, True)), call):
                self.completed(call)
        except NotDone as error:
            fail(call, error)

    def _withdraw(self, said: words.Withdraw) -> None:
        if said.call > self._last_call:
            raise CorruptData(f"call {said.call} is withdrawn before it has come")
        call = self._receives.get(said.call)
        if call is not None and call.timed is not None:
            call.timed.withdraw(call)

    def _withdraw_all(self, said: words.WithdrawAll) -> None:
        door = self._door(said.door)
        lane = self._lanes.get(said.lane, True)
        if lane.live is not None:
            self.owner.withdraw_all(lane.live, door)

    # ---- what arrives

    def heed(self, frame: bytes) -> None:
        """One frame of the front. Raises CorruptData."""
        hot = self._hot.get(frame[0])
        if hot is not None:
            hot(self, frame)
            return
        seldom = self._seldom.get(frame[0])
        if seldom is None:
            raise CorruptData(f"a frame of kind {frame[0]} does not come from a front")
        said = words.decode(frame)
        if frame[0] in _CALLS:
            self._begin(said.call)
        seldom(self, said)

    _hot: ClassVar[dict[int, Callable[[Any, bytes], None]]] = {
        kinds.SETTLEMENTS: _settlements,
        kinds.SETTLE: _settle,
        kinds.LEND: _lend,
        kinds.READ: _read,
        kinds.REPLY: _reply,
        **ServedStages.heeds,
    }
    _seldom: ClassVar[dict[int, Callable[[Any, Any], None]]] = {
        kinds.LANE: _lane,
        kinds.LANES_END: _lanes_end,
        kinds.DOOR: _door_is,
        kinds.DOOR_END: _door_end,
        kinds.CONSUME: _consume,
        kinds.TAKE_BACK: _take_back,
        kinds.LIMIT: _limit,
        kinds.CANCEL: _cancel,
        kinds.END: _end,
        kinds.GET: _get,
        kinds.PURGE: _purge,
        kinds.COUNT: _count,
        kinds.TOGETHER: _together,
        kinds.NOTED: _noted,
        kinds.ASK: _ask,
        kinds.SEND: _send,
        kinds.RECEIVE: _receive,
        kinds.END_LEASES: _end_leases,
        kinds.WITHDRAW: _withdraw,
        kinds.WITHDRAW_ALL: _withdraw_all,
        kinds.CLAIM: _claim,
        kinds.CLAIMED: _claimed,
    }


def _words_of_change(number: int, call: Any) -> words.Sent | words.LeasesEnded:
    """What is said of a Send or an EndLeases: known when it is staged."""
    if isinstance(call, lease_calls.EndLeases):
        return words.LeasesEnded(number, words.why(call.error), call.statuses)
    errors = None if call.errors is None else [words.why(one) for one in call.errors]
    return words.Sent(number, words.why(call.error), call.offsets, call.stored_ids, errors)


def _refuse_unkept(*_: Any) -> None:
    raise Unavailable("what is taken cannot be kept yet")


def _door_of(consumer: Consumer) -> ServedDoor:
    assert isinstance(consumer.attachment, ServedDoor)
    return consumer.attachment
