"""Once: one PublishOnce on its way: records, and that a session has them, in one commit of its owner.

Where some of it goes to other owners they do their part first. What one in this process keeps in memory alone goes with the process, so nothing comes twice
there; what one elsewhere keeps may: should the session's owner end before its own part is durable, its client sends all of it again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from entrepot.broker.calls.port import DONE, Ask, Publish, fail, make_publish
from entrepot.broker.calls.questions import Note
from entrepot.broker.calls.session_requests import PublishOnce, Runs
from entrepot.broker.front.door import Door
from entrepot.broker.front.parting import put_replies
from entrepot.broker.front.publisher import Path
from entrepot.broker.operations.parts import BrokerParts
from entrepot.broker.owner.local_owner import LocalOwner
from entrepot.broker.owners import Owner, Stage
from entrepot.broker.sessions.session_table import parted
from entrepot.model.errors import NotDone, OutcomeUnknown


class _Share:
    """What one owner is to do: stages, and of which publish each is."""

    __slots__ = ("indices", "stages")

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self.indices: list[int] = []


class Once:
    """Of one call, whose session has that owner, queue and generation; b"": it is not kept, and remembers nothing."""

    def __init__(self, broker: BrokerParts, door: Door, call: Ask, owner: Owner, log_id: bytes, generation: int) -> None:
        self._broker = broker
        self._door = door
        self._call = call
        self._owner = owner
        self._log_id = log_id
        self._generation = generation
        self._request: PublishOnce = call.request
        self._shares: dict[Owner, _Share] = {}
        self._others: list[tuple[Owner, _Share]] = []
        self._replies: list[Callable[[], Any]] = []  # what goes to takers of replies
        self._nacked: list[set[int]] = [set() for _ in self._request.publishes]
        self._left_out: Runs = []
        self._left = 1  # owners that have not answered, the session's one of them
        self._done_count = 0
        self._error: NotDone | None = None

    def begin(self) -> None:
        """Raises a NotDone: nothing is done."""
        broker, door = self._broker, self._door
        if broker.refusing is not None:
            raise broker.refusing.with_traceback(None)
        paths: list[Path] = [broker.path_for(door, publish.address) for publish in self._request.publishes]
        for index, (path, publish) in enumerate(zip(paths, self._request.publishes, strict=True)):
            publish.attachment = door
            publish.unroutable = False
            self._share_out(index, path, publish)
            door.spent += path.router.taken_steps() + broker.publisher.parting.taken_steps()
        self._others = [(owner, share) for owner, share in broker.owners.in_order(self._shares) if owner is not self._owner]
        self._go_on(None, None)
        door.publishes = True
        broker.check_pressure()

    def _share_out(self, index: int, path: Path, publish: Publish) -> None:
        """As Publisher.publish() would."""
        publisher = self._broker.publisher
        if path.plain and not publish.scattered:
            publish.unroutable = not path.lanes
            for lane in path.lanes:
                self._put(lane.owner, index, (lane, b"", [], _copy(publish)))
        elif path.to_reply and not publish.scattered:
            self._replies.append(partial(publisher.replies.answer, path.router, publish))
        else:
            for target in path.spread:
                path.whole_owner(target)  # one of whose partitions is on its way
            runs, replies = publisher.parting.by_owner(path, publish)
            for owner, of_owner in runs.items():
                self._put(owner, index, (None, publish.address, of_owner, _copy(publish)))
            if replies:
                self._replies.append(partial(put_replies, publish, replies))

    def _put(self, owner: Owner, index: int, stage: Stage) -> None:
        share = self._shares.setdefault(owner, _Share())
        share.stages.append(stage)
        share.indices.append(index)

    # ---- owner by owner

    def _go_on(self, error: NotDone | None, _: Any) -> None:
        """The others, one after the other; those in this process wait for nobody."""
        if error is not None:
            self._answered(error, None)
            return
        while self._others:
            owner, share = self._others.pop(0)
            if not isinstance(owner, LocalOwner):
                owner.together(share.stages, [], [], self._of_another)
                return
            self._left += 1
            owner.together(share.stages, [], [], self._answered)
            if self._error is not None:
                self._answered(self._error, None)
                return
            for index, (*_, call) in zip(share.indices, share.stages, strict=True):
                self._nacked[index].update(call.nacked or ())
        self._do_own()

    def _of_another(self, error: NotDone | None, answer: Any) -> None:
        if error is None:
            self._done_count += 1
        self._go_on(error, answer)

    def _do_own(self) -> None:
        share = self._shares.get(self._owner) or _Share()
        if not self._log_id:
            self._owner.together(share.stages, [], [], self._answered)
            return
        by_stage: list[Runs] = [[] for _ in share.stages]
        adds: Runs = []
        for index, runs in enumerate(self._by_publish()):
            kept, dropped = parted(runs, self._nacked[index]) if self._nacked[index] else (runs, [])
            self._left_out += dropped
            if index in share.indices and not dropped:
                by_stage[share.indices.index(index)] = kept
            else:
                adds += kept
        note = Note(self._log_id, self._generation, False, by_stage, adds, [])
        self._owner.together(share.stages, [], [], self._own_answered, note)

    def _by_publish(self) -> list[Runs]:
        """The numbers of each."""
        runs = list(self._request.numbers)
        found: list[Runs] = []
        for publish in self._request.publishes:
            left = publish.count
            mine: Runs = []
            while left:
                first, count = runs.pop(0)
                taken = min(count, left)
                mine.append((first, taken))
                if taken < count:
                    runs.insert(0, (first + taken, count - taken))
                left -= taken
            found.append(mine)
        return found

    def _own_answered(self, error: NotDone | None, left_out: Runs | None) -> None:
        self._left_out += [(first, count) for first, count in left_out or ()]
        self._answered(error, None)

    def _answered(self, error: NotDone | None, _: Any) -> None:
        if error is None:
            self._done_count += 1
        else:
            self._error = self._error or error
        self._left -= 1
        if self._left:
            return
        call = self._call
        if self._error is not None:
            fail(call, OutcomeUnknown(f"it is at some of its targets only: {self._error}") if self._done_count else self._error)
            return
        for reply in self._replies:
            reply()
        publisher = self._broker.publisher
        for publish in self._request.publishes:
            publisher.published_count += publish.count
            publisher.published_bytes += publish.body_bytes
            publish.outcome = DONE
        call.result = self._left_out
        call.outcome = DONE
        if not self._door.closed:
            self._door.sink.completed(call)


def _copy(publish: Publish) -> Publish:
    """For one owner, to say what it nacks."""
    return make_publish(publish.stream, publish.address, publish.codec, publish.codec_version, publish.flags, publish.data, publish.count, publish.body_bytes)
