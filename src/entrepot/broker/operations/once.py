"""Once: one PublishOnce on its way: records, and that a session has them, in one commit of its owner.

What goes to other owners the session's owner has in that commit, too, and sends on from there, once (outbox/). But where all are of this process each does its
part in the same turn: what is durable is one commit then, and the rest goes with the process.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from entrepot.broker.calls.port import DONE, Ask, Attachment, Call, Publish, Sink, make_publish
from entrepot.broker.calls.questions import Note, Onward
from entrepot.broker.calls.session_requests import NUMBER_MAX, PublishOnce, Runs
from entrepot.broker.catalogue.definitions import TopicDefinition
from entrepot.broker.front.door import Door
from entrepot.broker.front.owner_table import Definition
from entrepot.broker.front.parting import put_replies
from entrepot.broker.front.publisher import Path
from entrepot.broker.operations.parts import BrokerParts
from entrepot.broker.owner.local_owner import LocalOwner
from entrepot.broker.owners import Done, Owner, Stage
from entrepot.broker.sessions.attached import parted
from entrepot.model.errors import NotDone, OutcomeUnknown
from entrepot.model.ranges import RangeSet


class _Share:
    """What one owner is to do: stages, and of which publish each is."""

    __slots__ = ("indices", "stages")

    def __init__(self) -> None:
        self.stages: list[Stage] = []
        self.indices: list[int] = []


class _Part(Sink):
    """What one of the others does of one publish; it says what it nacks. What one in this process nacks is known at once."""

    def __init__(self, once: Once, index: int, is_here: bool) -> None:
        self._once = once
        self._index = index
        self._is_here = is_here

    def begin(self, owner: Owner, stage: Stage) -> None:
        """Have it done."""
        lane, address, runs, call = stage
        call.confirm = True
        call.attachment = Attachment()
        call.attachment.sink = self
        call.attachment.closed = False
        try:
            done = owner.stage(lane, call) if lane is not None else owner.stage_runs(address, runs, call)
        except NotDone as error:
            call.error = error
            done = True
        if done:
            self.completed(call)
        elif self._is_here:
            self._once.nacks(self._index, call)

    def completed(self, call: Call) -> None:
        """See Sink."""
        assert isinstance(call, Publish)
        self._once.put(self._index, call, self._is_here)

    def throttle(self, blocked: bool, reason: str) -> None:
        """Its connection waits for it."""


class Once:
    """Of one call, whose session has that owner, queue and generation; b"": it is not kept, and remembers nothing. ended(why not, or None, result)."""

    def __init__(self, broker: BrokerParts, door: Door, call: Ask, owner: Owner, log_id: bytes, generation: int, ended: Done) -> None:
        self._broker = broker
        self._ended = ended
        self._door = door
        self._owner = owner
        self._log_id = log_id
        self._generation = generation
        self._request: PublishOnce = call.request
        self._shares: dict[Owner, _Share] = {}
        self._others: list[tuple[Owner, _Share]] = []
        self._replies: list[Callable[[], Any]] = []  # what goes to takers of replies
        self._nacked: list[set[int]] = [set() for _ in self._request.publishes]
        self._onward: list[Onward] = []
        self._left_out = RangeSet()
        self._left = 1  # parts that are not answered, the session's owner's one of them
        self._elsewhere = 1  # of those, in other processes; and one as long as they are being asked
        self._is_asked = False  # the session's owner is, or would have been
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
        if self._log_id and not all(isinstance(owner, LocalOwner) for owner in (self._owner, *self._shares)):
            self._carry_others(paths)
        self._do_others()
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

    def _carry_others(self, paths: list[Path]) -> None:
        """What is for others goes on from the session's owner."""
        places = [_places_of(path) for path in paths]
        for owner, share in self._others:
            for index, (lane, _, runs, call) in zip(share.indices, share.stages, strict=True):
                known = places[index]
                if lane is not None:
                    ids = [log_id for log_id, definition in known.items() if paths[index].owner(definition[0]) is owner]
                    runs = [(ids, b"", call.data, call.count, ())]
                for log_ids, hidden, data, count, *_ in runs:
                    where = [(log_id, *known[log_id][1]) for log_id in log_ids if log_id in known]
                    self._onward.append(Onward(where, call.address, hidden, call.codec, call.codec_version, call.flags, data, count))
        self._others = []

    # ---- owner by owner

    def _do_others(self) -> None:
        """Those in this process do their part at once; if there are some elsewhere, the session's own waits until they have done theirs."""
        for owner, share in self._others:
            is_here = isinstance(owner, LocalOwner)
            for index, stage in zip(share.indices, share.stages, strict=True):
                if self._error is None:
                    self._left += 1
                    self._elsewhere += not is_here
                    _Part(self, index, is_here).begin(owner, stage)
        self._elsewhere -= 1
        self._go_on()

    def nacks(self, index: int, call: Publish) -> None:
        """What is known of a part already."""
        self._nacked[index].update(call.nacked or ())

    def put(self, index: int, call: Publish, is_here: bool) -> None:
        """A part is done, or is not."""
        self._nacked[index].update(call.nacked or ())
        self._error = self._error or call.error
        self._done_count += call.error is None
        self._left -= 1
        if not is_here:
            self._elsewhere -= 1
            self._go_on()
        elif self._is_asked:
            self._end()

    def _go_on(self) -> None:
        if self._elsewhere or self._is_asked:
            return
        self._is_asked = True
        if self._error is None:
            self._do_own()
        else:
            self._answered(None)

    def _do_own(self) -> None:
        share = self._shares.get(self._owner) or _Share()
        if not self._log_id:
            self._owner.together(share.stages, [], [], self._own_answered)
            return
        by_stage: list[Runs] = [[] for _ in share.stages]
        adds: Runs = []
        nacked: Runs = []
        for index, runs in enumerate(self._by_publish()):
            nacked += parted(runs, self._nacked[index])[1] if self._nacked[index] else []
            if index in share.indices:
                by_stage[share.indices.index(index)] = runs
            else:
                adds += runs
        self._leave_out(nacked)
        note = Note(self._log_id, self._generation, False, by_stage, adds, nacked, self._onward)
        self._owner.together(share.stages, [], [], self._own_answered, note)

    def _left_out_of(self, runs: Runs) -> set[int]:
        """Indices of records of a publish, by their numbers."""
        if self._left_out.next_present(0) > NUMBER_MAX:
            return set()
        numbers = [number for first, count in runs for number in range(first, first + count)]
        return {index for index, number in enumerate(numbers) if self._left_out.contains(number)}

    def _leave_out(self, runs: Runs) -> None:
        for first, count in runs:
            self._left_out.add(first, first + count)

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
        if error is None:
            self._done_count += 1
            self._leave_out(left_out or [])
        self._answered(error)

    def _answered(self, error: NotDone | None) -> None:
        self._error = self._error or error
        self._left -= 1
        self._end()

    def _end(self) -> None:
        """If that was the last."""
        if self._left:
            return
        if self._error is not None:
            self._ended(OutcomeUnknown(f"it is at some of its targets only: {self._error}") if self._done_count else self._error, None)
            return
        for reply in self._replies:
            reply()
        publisher = self._broker.publisher
        for publish, runs, nacked in zip(self._request.publishes, self._by_publish(), self._nacked, strict=True):
            publisher.published_count += publish.count
            publisher.published_bytes += publish.body_bytes
            publish.nacked = sorted(nacked | self._left_out_of(runs)) or None
            publish.outcome = DONE
        self._ended(None, [(first, end - first) for first, end in self._left_out])


def _places_of(path: Path) -> dict[bytes, tuple[Definition, tuple[str, int]]]:
    """Of the logs that an address may lead to: whose they are, and its name, and which partition (-1: a queue's)."""
    found: dict[bytes, tuple[Definition, tuple[str, int]]] = {}
    for definition in path.route.targets:
        if isinstance(definition, TopicDefinition):
            found.update((log_id, (definition, (definition.name, number))) for number, log_id in enumerate(definition.partitions))
        else:
            found[definition.log_id] = (definition, (definition.name, -1))
    return found


def _copy(publish: Publish) -> Publish:
    """For one owner, to say what it nacks."""
    return make_publish(publish.stream, publish.address, publish.codec, publish.codec_version, publish.flags, publish.data, publish.count, publish.body_bytes)
