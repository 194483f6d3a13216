"""RemoteStages: what a front publishes at an owner in another process.

A stage is under way until it is answered, or, where nobody waits for it, said to be taken, which of a durable owner means durable: till then its frame is kept
and goes again to the owner's next start. Who publishes much more than comes there is held.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import msgspec

from entrepot.broker.calls.port import DONE, Attachment, Publish
from entrepot.broker.owners import Lane, Run
from entrepot.cluster.link_frames import FRAME_MAX_BYTES
from entrepot.cluster.owners import hot_frames, kinds, words
from entrepot.cluster.owners.lanes import RemoteLane
from entrepot.cluster.owners.remote_timed import RemoteTimed
from entrepot.cluster.owners.sent_stages import SentStages
from entrepot.cluster.owners.waiting import refuse
from entrepot.model.errors import CorruptData, NotDone, Reason, Refused, Unavailable
from entrepot.store.interface import Scheduler

WAITS_STEP = 64  # calls, from one word to the next on which answers need not be kept
KEPT_MAX_BYTES = 64 << 20  # of publishes that are not known to be durable; beyond it nothing new is begun
HELD_FROM_BYTES = 16 << 20  # of them; from there on who publishes waits: the rest is for what of his is on its way already
GO_ON_BYTES = 8 << 20  # below it he goes on

_WHY = msgspec.msgpack.Decoder(words.Why)


class RemoteStages(RemoteTimed):
    """Of a RemoteOwner, whose parts these are."""

    def __init__(self, scheduler: Scheduler, survives: bool, number: int) -> None:
        super().__init__(scheduler, survives)
        self._number = number
        self._stages = SentStages()
        self._held: dict[Attachment, None] = {}  # publishers that wait

    def lane(self, address: bytes, log_ids: list[bytes]) -> Lane:
        """See Owner."""
        return self._lanes.make(address, log_ids)

    def stage(self, lane: Lane, call: Publish) -> bool:
        """See Owner."""
        if self._outlet.away is not None or self._stages.size > KEPT_MAX_BYTES:
            self._check_room()
        assert isinstance(lane, RemoteLane)
        lane_number = lane.number if lane.at is self._lanes.start else self._lanes.number(lane)
        number = self._waiting.next()
        staged = (call.codec, call.codec_version, call.flags, call.confirm, lane_number, call.count, number, call.body_bytes)
        head, data = hot_frames.stage(self._number, staged), call.data
        return self._under_way(number, call, lane, (head, data), len(head) + len(data))

    def stage_runs(self, address: bytes, runs: list[Run], call: Publish) -> bool:
        """See Owner."""
        self._check_room()
        number = self._waiting.next()
        staged = (call.codec, call.codec_version, call.flags, call.confirm, len(runs), call.count, number, call.body_bytes)
        frame = tuple(hot_frames.stage_runs(self._number, staged, address, runs))
        return self._under_way(number, call, None, frame, sum(map(len, frame)))

    def owes(self, attachment: Attachment) -> bool:
        """Whether something that was published there is under way."""
        return self._stages.has_of(attachment)

    def _check_room(self) -> None:
        """Raises Unavailable: nothing more may be published."""
        if not self._returning:
            self._outlet.check_there()
        if self._stages.size > KEPT_MAX_BYTES:
            raise Unavailable("much that was published before is not durable yet")

    def _under_way(self, number: int, call: Publish, lane: Lane | None, frame: tuple[bytes, ...], size: int) -> bool:
        stages = self._stages
        if self._returning:
            if size > FRAME_MAX_BYTES:
                raise Refused(Reason.TOO_LARGE, f"a frame is at most of {FRAME_MAX_BYTES} bytes")
        else:
            if stages.last_except > self._told_waits and number >= self._told_waits + WAITS_STEP:
                self._say_waits(number, WAITS_STEP)
            self._send(*frame)
        stages.put(number, call, lane, frame if self._survives else (), size)
        if stages.size > HELD_FROM_BYTES:
            self._hold(call.attachment)
        if call.confirm:
            return False
        call.outcome = DONE
        return True

    def _hold(self, publisher: Attachment | None) -> None:
        if publisher is not None and publisher not in self._held:
            self._held[publisher] = None
            publisher.hold()

    def _let_go(self) -> None:
        """Who was held goes on."""
        held, self._held = self._held, {}
        for publisher in held:
            publisher.let_go()

    def _taken_in(self) -> None:
        """Perhaps little is left that waits."""
        if self._held and self._stages.size < GO_ON_BYTES:
            self._let_go()

    def _answered(self, frame: bytes) -> None:
        number, nacked, error = hot_frames.read_answered(frame)
        call = self._stages.get(number)
        why = _error(error) if error else None
        if why is None and (not call.confirm or max(nacked or (), default=0) >= call.count):
            raise CorruptData(f"of a publish of {call.count} records {len(nacked or ())} are said to be nowhere, or nobody waits for it")
        self._stages.take(number)
        if nacked or why is not None:
            self._stages.last_except = max(number, self._stages.last_except)
        self._taken_in()
        if why is not None:
            refuse(call, why)
        else:
            call.nacked = nacked
            call.outcome = DONE
            call.attachment.sink.completed(call)

    def _all_taken(self, frame: bytes) -> None:
        stages = self._stages
        numbers = hot_frames.read_taken(frame)
        stages.check_whole(numbers)
        for number in numbers:
            call = stages.take_heard(number)
            call.nacked = None
            call.outcome = DONE
            call.attachment.sink.completed(call)
        self._taken_in()

    def _passed(self, frame: bytes) -> None:
        _, number = hot_frames.read_number(frame)
        self._waiting.check(number)
        self._stages.passed(number)
        self._taken_in()

    hot: ClassVar[dict[int, Callable[[Any, bytes], None]]] = {
        kinds.ANSWERED: _answered,
        kinds.TAKEN: _all_taken,
        kinds.PASSED: _passed,
    }


def _error(raw: bytes) -> NotDone:
    error = words.error_of(words.read(msgspec.Raw(raw), _WHY))
    assert error is not None
    return error
