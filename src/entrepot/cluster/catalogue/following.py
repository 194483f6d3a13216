"""Following: the side of a process that has not shard 0: it applies what the decider sends, and has it decide what it is asked itself.

    Decides -> it joins, with what it is home of; then a Snapshot is put together of its pieces, and applied, as each Change, and said to be
    every BEAT_S a Heartbeat; only within LEASE_S of one that was answered may the front answer by its catalogue (Decider.check())
    a call that only the decider can carry out -> Request; its Answer completes it

What takes long is applied over turns of the loop; what comes behind it waits. What differs much from a snapshot is not as anybody has had it until all is
applied: the front answers nothing in that time.
A link that breaks is no end of what was asked: its answer comes over the next connection. When the decider's start is dead, nobody knows what became of it:
what may be done twice as well as once is asked again of who decides next, the rest is *unknown*.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from entrepot.broker.broker import Broker
from entrepot.broker.calls.port import DONE, Ask, fail
from entrepot.broker.calls.questions import Seal, Unseal
from entrepot.broker.calls.requests import DeclareQueue, DeleteQueue
from entrepot.broker.catalogue.changes import NO_REVISION, Revision, Row, decode_change, encode_change
from entrepot.broker.catalogue.decisions import made_up_name
from entrepot.broker.catalogue.definitions import Home, QueueDefinition
from entrepot.broker.catalogue.snapshots import Arriving, Pieces
from entrepot.broker.front.door import Door
from entrepot.broker.front.held_calls import NOT_HEARD_OF, CatalogueAway
from entrepot.broker.queue.queue import Queue
from entrepot.cluster.catalogue import frames as f
from entrepot.cluster.catalogue.announcing import announced
from entrepot.cluster.catalogue.asking import looks_gone, may_be_repeated, pack_result, request_fields, result_of
from entrepot.cluster.catalogue.leases import BEAT_S, FrontLease
from entrepot.cluster.link import Link
from entrepot.model.errors import CorruptData, NotDone, OutcomeUnknown, Unavailable

ASKED_MAX = 10_000  # calls that wait for the decider's answer
REPEATED_S = 30.0  # for how long something is asked again when who decides has ended
NAME_CHANCE = 16  # octets of a name that is made up
BEATS_MAX = 4  # heartbeats that wait at the link until they have come there

_WRONG = (KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError, RecursionError, msgspec.MsgspecError, NotDone)

Answered = Callable[[NotDone | None, bytes], None]


class _Asked:
    """What waits for an answer: for the connection `home`. `link`: where it was asked last. `timer`: since it was lost.

    `frame`: it may be asked again; where `is_gone` tells that what it takes away is not there any more, it was done, and is answered by `done`.
    """

    __slots__ = ("answered", "done", "frame", "home", "is_gone", "link", "timer")

    def __init__(self, answered: Answered, home: Home | None, link: Link) -> None:
        self.answered = answered
        self.home = home
        self.link: Link | None = link
        self.frame: tuple[bytes, ...] | None = None
        self.is_gone: Callable[[], bool] | None = None
        self.done = b""
        self.timer: Any = None


class Following:
    """Of one process. `link`: with who decides; None: nobody is known."""

    is_known = True

    def __init__(self, broker: Broker, lease: FrontLease) -> None:
        self._broker = broker
        self._stream = broker.decisions.stream
        self._making = broker.topic_operations.making
        self._lease = lease
        self.link: Link | None = None
        self.epoch = 0  # of shard 0, as who decides has said
        self.on_corrupt: Callable[[Link, str], None] | None = None  # what came is found to be wrong in a later turn; None: told with the next frame
        self._has_begun = False  # its snapshot is here: changes before it are none of ours
        self._arriving: Arriving | None = None  # a snapshot, as far as it has come
        self._applying: Pieces | None = None  # what takes long,
        self._waiting: deque[f.Frame] = deque()  # and what came behind it
        self._corrupt: CorruptData | None = None
        self._number = 0
        self._beats: deque[int] = deque()  # heartbeats that have not come there, by their places in the link
        self._asked: dict[int, _Asked] = {}
        self._unsure: set[Home] = set()  # connections of which nobody knows whether something is exclusive to them
        self._made_timed: set[bytes] = set()  # queues, by the ids of their logs, of which that is asked
        self._ended: set[Home] = set()  # connections whose exclusive queues are still to go
        self._timer: Any = None
        self._expiry: Any = None
        self._is_over = True  # the time for which it may answer, and that has been heeded

    # ---- its life

    def begin(self) -> None:
        """Somebody else decides from now on, or will."""
        self._broker.decider = self
        self._broker.sides.ask_for_timed = self.make_timed
        self._stream.elsewhere = "the catalogue is decided in another process"
        self._beat()

    def end(self) -> None:
        """Shard 0 opens here: this process decides."""
        self._broker.decider = None
        self._broker.sides.ask_for_timed = None
        for timer in (self._timer, self._expiry):
            if timer is not None:
                timer.cancel()
        self._lost()
        for number in list(self._asked):
            self._give_up(number)
        self._broker.held.release()

    def dead(self, link: Link) -> None:
        """The start at the other end of a link is dead."""
        if self.link is link:
            self._lost()

    def _lost(self) -> None:
        """Nobody decides, as far as is known; what was asked may have been done."""
        self._stop_applying()
        self.link = None
        self._has_begun = False
        self._arriving = None
        self._beats.clear()
        self._lease.forget()
        for number, asked in list(self._asked.items()):
            asked.link = None
            if asked.frame is None or asked.home in self._ended:  # asked again it would come behind the end of who has asked
                self._give_up(number)
            elif asked.timer is None:
                asked.timer = self._broker.scheduler.call_later(REPEATED_S, self._give_up, number)

    def _give_up(self, number: int) -> None:
        """What became of it is not known, and nobody asks again."""
        asked = self._take(number)
        if asked is None:
            return
        if asked.home is not None and asked.home not in self._ended:
            self._unsure.add(asked.home)
        asked.answered(OutcomeUnknown("the process that decides the catalogue has ended"), b"")

    def _take(self, number: int) -> _Asked | None:
        asked = self._asked.pop(number, None)
        if asked is not None and asked.timer is not None:
            asked.timer.cancel()
        return asked

    def _ask_again(self) -> None:
        """Who decides is known, and has been joined: what the one before has not answered."""
        link = self.link
        if link is None or not self._has_begun:
            return
        for number, asked in list(self._asked.items()):
            if asked.link is not None or asked.frame is None:
                continue
            if asked.is_gone is not None and asked.is_gone():
                self._take(number)
                asked.answered(None, asked.done)
            elif not link.is_full:
                asked.link = link
                link.send(*asked.frame)

    def _is_early(self, asked: _Asked, error: NotDone | None) -> bool:
        """Whether something that was asked before is *unavailable* now, so that it is still not known what became of it: it is asked once more."""
        if asked.timer is None or not isinstance(error, Unavailable):
            return False
        asked.link = None
        self._broker.scheduler.call_later(BEAT_S, self._ask_again)
        return True

    def _beat(self) -> None:
        self._timer = self._broker.scheduler.call_later(BEAT_S, self._beat)
        self._say_beat()

    def _say_beat(self) -> None:
        """Not while something is applied: what the front goes by then is nobody's."""
        link = self.link
        if link is None or link.is_full or self._applying is not None:
            return
        while self._beats and self._beats[0] <= link.acknowledged:
            self._beats.popleft()
        if len(self._beats) < BEATS_MAX:
            link.send(*f.encode(f.Heartbeat(self._lease.beat(), self.epoch, *self._stream.revision)))
            self._beats.append(link.sent)

    # ---- what comes

    def frame(self, link: Link, frame: f.Frame) -> None:
        """Of who decides. Raises CorruptData, also where what it says cannot be applied."""
        if isinstance(frame, f.Decides):
            self._join(link, frame.epoch)
        elif link is not self.link:
            return  # it does not decide any more
        elif self._applying is not None:
            self._waiting.append(frame)
        else:
            self._heed(link, frame)
        if self._corrupt is not None and self.on_corrupt is None:
            error, self._corrupt = self._corrupt, None
            raise error

    def _heed(self, link: Link, frame: f.Frame) -> None:
        """Behind all that came before. Raises CorruptData."""
        if isinstance(frame, f.Snapshot):
            self._piece(frame)
        elif isinstance(frame, f.Change):
            self._change(*decode_change(frame.change))
        elif isinstance(frame, f.Heard):
            self._heard(frame)
        elif isinstance(frame, f.Answer):
            self._answer(link, frame)
        else:
            raise CorruptData(f"a {type(frame).__name__} comes from who decides")

    def _answer(self, link: Link, frame: f.Answer) -> None:
        asked, error = self._asked.get(frame.number), f.heard(frame.error)
        if asked is None or asked.link is not link:
            raise CorruptData(f"'{link.name}' answers {frame.number}, which was not asked")
        if not self._is_early(asked, error):
            self._take(frame.number)
            asked.answered(error, frame.result)

    def _join(self, link: Link, epoch: int) -> None:
        if epoch < self.epoch:
            return
        if self.link is not None and link is not self.link:
            self._lost()
        self._stop_applying()
        if epoch > self.epoch:  # it may not know yet what other processes are home of
            self._lease.end()
            self.wake()
        self.link = link
        self.epoch = epoch
        self._has_begun = False
        start_id = self._broker.start_id
        rows = announced(self._broker.catalogue, start_id, self._ended)
        link.send(*f.encode(f.Join(epoch, start_id, encode_change(NO_REVISION, rows))))

    # ---- what is applied

    def _piece(self, frame: f.Snapshot) -> None:
        """Of a snapshot."""
        revision, rows = decode_change(frame.change)
        if frame.number == 0:
            self._has_begun = False
            self._arriving = Arriving()
        if self._arriving is None:
            raise CorruptData(f"piece {frame.number} of a snapshot that has not begun")
        self._arriving.piece(frame.number, revision, rows)
        if frame.is_last:
            arrived, self._arriving = self._arriving, None
            self._apply(arrived.revision, self._stream.take_in(arrived, self._slice), True)

    def _slice(self, rows: list[Row], apply: Callable[[], None]) -> Pieces:
        """Of what differs much: from the first one on the front has no catalogue to answer by."""
        self._lease.end()
        self.wake()
        return self._making.ahead(rows, apply)

    def _change(self, revision: Revision, rows: list[Row]) -> None:
        """What was decided next."""
        if self._arriving is not None:
            self._arriving.change(revision, rows)
        elif self._has_begun:
            if revision <= self._stream.revision:
                raise CorruptData(f"revision {revision} comes behind {self._stream.revision}")
            self._apply(revision, self._making.ahead(rows, partial(self._stream.take, revision, rows)), False)

    def _apply(self, revision: Revision, pieces: Pieces, is_whole: bool) -> None:
        """Now, or over turns of the loop."""
        self._applying = pieces
        self._broker.desk.work.run(self._pieces(revision, pieces, is_whole))

    def _pieces(self, revision: Revision, pieces: Pieces, is_whole: bool) -> Pieces:
        link = self.link
        assert link is not None
        try:
            yield from pieces
        except _WRONG as error:
            self._applying = None
            self._is_corrupt(link, CorruptData(f"revision {revision} of the catalogue cannot be applied: {error!r}"))
            return
        except Exception as error:
            self._applying = None
            if self.on_corrupt is None:
                raise
            self.on_corrupt(link, f"revision {revision} of the catalogue cannot be applied: {error!r}")
            return
        if self._applying is not pieces:
            return  # it was left off
        self._applying = None
        self._has_begun = True
        link.send(*f.encode(f.Applied(*revision)))
        if is_whole:
            self._broker.operations.decide_again()
            self._say_beat()
            self._ask_again()
        self._broker.held.release()  # what waits for the home of a queue waits no longer where that queue is gone
        self._go_on(link)

    def _go_on(self, link: Link) -> None:
        """What has come meanwhile."""
        try:
            while self._waiting and self._applying is None and self.link is link:
                self._heed(link, self._waiting.popleft())
        except CorruptData as error:
            self._is_corrupt(link, error)

    def _is_corrupt(self, link: Link, error: CorruptData) -> None:
        self._waiting.clear()
        if self.on_corrupt is None:
            self._corrupt = error
        else:
            self.on_corrupt(link, str(error))

    def _stop_applying(self) -> None:
        """Another snapshot comes, or nobody decides: what came behind what is not applied yet is only heeded where it is an answer."""
        applying, self._applying = self._applying, None
        waiting, self._waiting = self._waiting, deque()
        if applying is not None:
            applying.close()
        link = self.link
        for frame in waiting:
            if isinstance(frame, f.Answer) and link is not None:
                self._answer(link, frame)

    def _heard(self, frame: f.Heard) -> None:
        if frame.epoch != self.epoch:
            return
        self._lease.answered(frame.number)
        self._is_over &= not self._lease.may_answer
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry = self._broker.scheduler.call_later(self._lease.left_s, self.wake)
        if self._lease.may_answer and self._has_begun:
            self._broker.held.release()

    def wake(self) -> None:
        """Time may have passed: once the front may not answer any more, what it had found by the catalogue it has to find anew.

        To be called before what came while this process stood still is read; otherwise a timer does.
        """
        if not self._is_over and not self._lease.may_answer:
            self._is_over = True
            self._broker.shard_moves.forget_found()

    # ---- what is asked: see operations.parts.Decider

    def check(self) -> None:
        """See Decider."""
        if not self._lease.may_answer:
            raise CatalogueAway(NOT_HEARD_OF)

    def ask(self, door: Door, call: Ask) -> None:
        """See Decider."""
        self.check()
        request = self._with_name(call.request)
        tags = sorted(door.principal.tags)
        who = (door.principal.name, tags, door.principal.mechanism)
        fields = request_fields(request)
        number = self._next(partial(self._complete, call), door.home)
        try:
            frame = f.encode(f.Request(number, type(request).__name__, *who, door.namespace, *door.home, door.by_policy, fields))
        except UnicodeEncodeError:
            del self._asked[number]
            raise Unavailable("who asks has a name that cannot be told") from None
        assert self.link is not None
        asked = self._asked[number]
        asked.is_gone = looks_gone(request, self._broker.catalogue, door.namespace)
        if asked.is_gone is not None:
            asked.done = pack_result(request, 0 if isinstance(request, DeleteQueue) else None)
        if asked.is_gone is not None or may_be_repeated(request):
            asked.frame = tuple(frame)
        self.link.send(*frame)

    def _with_name(self, request: Any) -> Any:
        """A queue whose name is made up has the same when that is asked a second time."""
        if isinstance(request, DeclareQueue) and not request.name:
            return msgspec.structs.replace(request, made_up=made_up_name(self._broker.entropy.octets(NAME_CHANCE)))
        return request

    def _next(self, answered: Answered, home: Home | None = None) -> int:
        """The number of something that is asked. Raises Unavailable."""
        if self.link is None:
            raise CatalogueAway(NOT_HEARD_OF)
        if self.link.is_full or len(self._asked) >= ASKED_MAX:
            raise Unavailable("who decides the catalogue cannot be reached")
        self._number += 1
        self._asked[self._number] = _Asked(answered, home, self.link)
        return self._number

    @staticmethod
    def _complete(call: Ask, error: NotDone | None, result: bytes) -> None:
        if error is None:
            try:
                call.result = result_of(call.request, result)
            except CorruptData:
                fail(call, OutcomeUnknown("it was done, and its result cannot be read"))
                raise
            call.outcome = DONE
            if not call.attachment.closed:
                call.attachment.sink.completed(call)
        else:
            fail(call, error)

    def ended(self, door: Door) -> None:
        """See Decider. What it has asked for may still be on its way: the decider hears of its end behind that."""
        home = door.home
        for number, asked in list(self._asked.items()):
            if asked.home == home and asked.link is None:
                self._give_up(number)  # its end must not come before what it asked
        if home in self._unsure or self._broker.catalogue.exclusive_queues(home) or any(asked.home == home for asked in self._asked.values()):
            self._unsure.discard(home)
            self._ended.add(home)
            self._end_home(home)

    def _end_home(self, home: Home) -> None:
        if home not in self._ended:
            return
        if self.link is None or self.link.is_full:
            self._broker.scheduler.call_later(BEAT_S, self._end_home, home)
            return
        number = self._next(partial(self._has_ended, home))
        self.link.send(*f.encode(f.EndHome(number, *home)))

    def _has_ended(self, home: Home, error: NotDone | None, _: bytes) -> None:
        if error is None:
            self._ended.discard(home)
        else:
            self._broker.scheduler.call_later(BEAT_S, self._end_home, home)

    def remove_unused(self, definition: QueueDefinition) -> None:
        """See Decider. Sealed, it takes no consumer until it is known whether it goes."""
        try:
            owner = self._broker.owners.owner(definition)
        except Unavailable:
            self._stays(definition)
            return
        owner.ask(Seal([definition.log_id], True, False), partial(self._sealed, definition))

    def _sealed(self, definition: QueueDefinition, error: NotDone | None, _: Any) -> None:
        if error is not None:  # somebody reads it again, mostly
            self._stays(definition)
            return
        try:
            number = self._next(partial(self._removed, definition))
        except Unavailable as why:
            self._removed(definition, why, b"")
            return
        assert self.link is not None
        self.link.send(*f.encode(f.RemoveUnused(number, definition.namespace, definition.name, definition.log_id)))

    def _removed(self, definition: QueueDefinition, error: NotDone | None, _: bytes) -> None:
        """Answered: if it does not go, it goes on, and is tried again."""
        if error is None:
            return
        try:
            owner = self._broker.owners.owner(definition)
        except Unavailable:
            return
        owner.ask(Unseal([definition.log_id]), _unheard)
        self._stays(definition)

    def _stays(self, definition: QueueDefinition) -> None:
        queue = definition.runtime
        if isinstance(queue, Queue) and not queue.ended:
            self._broker.live.unused.stays(queue)

    def make_timed(self, definition: QueueDefinition) -> None:
        """See Decider. Nobody waits for it: who is told *unavailable* tries again."""
        log_id = definition.log_id
        if log_id not in self._made_timed:
            number = self._next(lambda *_: self._made_timed.discard(log_id))
            assert self.link is not None
            self._made_timed.add(log_id)
            self.link.send(*f.encode(f.MakeTimed(number, definition.namespace, definition.name, log_id)))


def _unheard(error: NotDone | None, answer: Any) -> None:
    """It goes on, or is not there."""
