"""ServedStages: what a front in another process publishes at an owner of this one. Durable: what is told to be taken is so, and the next start knows it."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any, ClassVar

from entrepot.broker.calls.port import Attachment, Call, Publish, make_publish
from entrepot.broker.logs.entry_codec import EntryCodec
from entrepot.broker.owner.local_owner import LocalOwner
from entrepot.cluster.owners import hot_frames, kinds, words
from entrepot.cluster.owners.outlet import Outlet
from entrepot.cluster.owners.served_lanes import ServedLanes
from entrepot.cluster.owners.taken_stages import TakenStages
from entrepot.model.errors import CorruptData, NotDone, Unavailable
from entrepot.store.interface import Scheduler


class Durable:
    """Hung on a group: when that is durable, the front hears up to where what it has sent is, with what is delivered then."""

    __slots__ = ("_outlet", "_scheduler", "group", "passed", "settled")

    def __init__(self, group: Any, outlet: Outlet, scheduler: Scheduler) -> None:
        self.group = group
        self.passed = self.settled = 0
        self._outlet = outlet
        self._scheduler = scheduler

    def __call__(self) -> None:
        """It is durable."""
        self._scheduler.call_soon(self._tell)

    def _tell(self) -> None:
        owner = self._outlet.owner
        if self.passed:
            self._outlet.send(hot_frames.passed(owner, self.passed))
        if self.settled:
            self._outlet.send(hot_frames.settled(owner, self.settled))


class ServedStages:
    """Of a ServedOwner. `taken`: what is kept of them over this start; None: nothing."""

    owner: LocalOwner
    _here: Any

    def __init__(self, outlet: Outlet, taken: TakenStages | None) -> None:
        self.taken = taken
        self._known = 0 if taken is None else taken.known
        self._row_shard = 0 if taken is None else taken.shard
        self._closed: AbstractSet[int] = frozenset() if taken is None else taken.closed
        self._outlet = outlet
        self._number = outlet.owner
        self._codecs: dict[int, EntryCodec] = {}  # those that were asked for
        self._taken_whole: list[int] = []  # stages that somebody waits for: to be told so
        self._lanes: ServedLanes
        self._attachment = Attachment()
        self._attachment.closed = False
        self._calls: dict[Call, int] = {}  # under way
        self._last_call = 0
        self._passed = 0  # the last publish of which nobody waits
        self._fold_due = False  # what was taken is to be kept
        self._settled = 0  # settlements over this link
        self._settle_due = False  # the front is to hear of some
        self._durable: Durable | None = None  # of the open group

    def completed(self, call: Call) -> None:
        """See Sink."""
        raise NotImplementedError

    def _begin(self, number: int) -> None:
        """A call of that number. Raises CorruptData."""
        if number <= self._last_call:
            raise CorruptData(f"call {number} comes after {self._last_call}")
        self._last_call = number

    def _stage(self, frame: bytes) -> None:
        staged, data = hot_frames.read_stage(frame)
        codec, version, flags, heard, number, count, call_number, body_bytes = staged
        if self._begin_stage(call_number, heard):
            lane = self._lanes.get(number, False)
            call = self._publish(codec, version, flags, lane.address, data, count, body_bytes)
            self._check_records(codec, data, count)
            try:
                live = lane.live or self._lanes.live(lane)
            except NotDone as error:
                self._refuse(call_number, error)
                return
            self._carry_out(call, call_number, heard, self.owner.stage, live)

    def _stage_runs(self, frame: bytes) -> None:
        staged, address, runs = hot_frames.read_stage_runs(frame)
        codec, version, flags, heard, _, count, call_number, body_bytes = staged
        if self._begin_stage(call_number, heard):
            call = self._publish(codec, version, flags, address, b"", count, body_bytes)
            for _, _, data, in_run, _ in runs:
                self._check_records(codec, data, in_run)
            self._carry_out(call, call_number, heard, self.owner.stage_runs, address, runs)

    def _begin_stage(self, number: int, heard: bool) -> bool:
        """A stage of that number; False: it is not to be carried out, and answered. Raises CorruptData."""
        self._begin(number)
        if number <= self._known or self._row_shard in self._closed:
            self._answer_known(number, heard)
            return False
        return True

    def _publish(self, codec: int, version: int, flags: int, address: bytes, data: bytes, count: int, body_bytes: int) -> Publish:
        if self._codec(codec) is None:
            raise CorruptData(f"records of codec {codec}, which is not known here")
        call = make_publish(0, address, codec, version, flags, data, count, body_bytes)
        call.attachment = self._attachment
        return call

    def _codec(self, tag: int) -> EntryCodec | None:
        """That one; None: there is none."""
        codec = self._codecs.get(tag)
        if codec is None:
            codec = self._here.codec(tag)
            if codec is not None:
                self._codecs[tag] = codec
        return codec

    def _check_records(self, tag: int, data: bytes, count: int, position: int = 0) -> None:
        """They are as many as is said: else nobody could read what lies in the log. `position`: behind an entry's prefix."""
        codec = self._codec(tag)
        if codec is None or not codec.by_record:
            return
        try:
            end = codec.skip(data, position, count) if not position or codec.start(data) == position else -1
        except (IndexError, ValueError, OverflowError):
            end = -1
        if end != len(data):
            raise CorruptData(f"{count} records are said to be in {len(data)} bytes, and are not")

    def _answer_known(self, number: int, heard: bool) -> None:
        """A start before this one has taken it, and answers so; or nothing can be taken now."""
        taken = self.taken
        assert taken is not None
        if number > taken.known:
            self._refuse(number, Unavailable("what is taken cannot be kept yet"))
            return
        answer = taken.answer_to_stage(number)
        if answer is not None:
            self._outlet.send(hot_frames.answered_again(self._number, number, *answer))
        elif heard:
            self._tell_taken_soon(number)
        else:
            self._passed = number

    def _carry_out(self, call: Publish, number: int, heard: bool, stage: Callable[..., bool], *where: Any) -> None:
        """`stage`: the owner's, of `where` and the call."""
        call.confirm = heard
        if heard:
            self._calls[call] = number
        try:
            complete = stage(*where, call)
        except NotDone as error:
            self._calls.pop(call, None)
            self._refuse(number, error)
            return
        taken = self.taken
        if taken is not None:
            taken.last = number
            if heard and call.nacked:
                taken.took_part(number, hot_frames.indices(call.nacked))
            self._fold_due = True  # what was rejected may have become a letter
        if not heard:
            self._passed = number
        elif complete:
            self.completed(call)

    def _refuse(self, number: int, error: NotDone) -> None:
        """Nothing of a stage is taken."""
        why = words.why(error)
        assert why is not None
        packed = words.packed(why)
        if self.taken is not None:
            self.taken.refused(number, packed)
        self._outlet.send(hot_frames.answered(self._number, number, None, packed))

    def _tell_staged(self, number: int, error: NotDone | None, nacked: list[int] | None) -> None:
        """A stage that somebody waits for has failed, or not all of it is taken."""
        self._tell_taken()
        why = words.why(error)
        self._outlet.send(hot_frames.answered(self._number, number, nacked, b"" if why is None else words.packed(why)))

    def _tell_taken_soon(self, number: int) -> None:
        """With all that become durable in the same commit: behind it, and with what is delivered then."""
        taken = self._taken_whole
        taken.append(number)
        if len(taken) == 1:
            self._here.scheduler.call_soon(self._tell_taken)

    def _tell_taken(self) -> None:
        if self._taken_whole:
            taken, self._taken_whole = self._taken_whole, []
            self._outlet.send(hot_frames.taken(self._number, taken))

    def _waits_from(self, frame: bytes) -> None:
        _, number = hot_frames.read_number(frame)
        if self.taken is not None:
            self.taken.waits_from(number)

    def flush(self) -> None:
        """Behind the frames that came together: what is to be kept, and told, of all of them."""
        if self._fold_due:
            self._fold_due = False
            assert self.taken is not None
            self.taken.stage()
        if self.taken is not None:
            if self._passed or self._settle_due:
                self._tell_when_durable()
        elif self._passed:
            passed, self._passed = self._passed, 0
            self._outlet.send(hot_frames.passed(self._number, passed))

    def _tell_when_durable(self) -> None:
        store = self.owner.store
        group = store.group()
        durable = self._durable
        if durable is None or durable.group is not group:
            durable = self._durable = Durable(group, self._outlet, self._here.scheduler)
            group.calls.append(durable)
        if self._passed:
            durable.passed, self._passed = self._passed, 0
            store.urgent()
        durable.settled = self._settled
        self._settle_due = False

    heeds: ClassVar[dict[int, Callable[[Any, bytes], None]]] = {
        kinds.STAGE: _stage,
        kinds.STAGE_RUNS: _stage_runs,
        kinds.WAITS_FROM: _waits_from,
    }
