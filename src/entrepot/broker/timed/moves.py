"""MoveTasks: tasks that move what lies in a dead-letter queue somewhere else, or back to where it came from. At most one a source at a time.

Each record goes in one commit: appended there, settled here, and counted; where its target is not open here by an intent (outbox/), and is counted in
the commit that settles it. A task is kept as state (docs/formats/move-tasks.md), so that one that runs goes on after a restart, and the last of each
source are listed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import msgspec

from entrepot.broker.calls.queue_requests import MoveTask
from entrepot.broker.logs.cursor import GAP, LATER, Cursor
from entrepot.broker.logs.log_owner import LogOwner
from entrepot.broker.outbox.handover import MOVE
from entrepot.broker.outbox.intents import Intent, Packed
from entrepot.broker.state import DELETE, MOVE_PREFIX, set_value
from entrepot.broker.subscription.consumer import BROKER_ID
from entrepot.broker.timed.redrive import Elsewhere, packed
from entrepot.broker.timed.timed_queue import TimedQueue
from entrepot.broker.timed.transfer import leaving, transfer
from entrepot.entropy import Entropy
from entrepot.model.errors import CorruptData, Unavailable
from entrepot.store.interface import Log

TASKS_MAX = 10  # remembered of a source
RECORDS_PER_TICK = 256
WAIT_S = 0.1  # how long a limited task rests
RETRY_S = 1.0  # while appends are refused, or a target has no room

RUNNING = "RUNNING"
COMPLETED = "COMPLETED"
CANCELLED = "CANCELLED"
FAILED = "FAILED"

VERSION = 1
READER_MIN = 1


@dataclass(frozen=True, slots=True)
class _Kept:
    """A task and where it ends: records from `end` on came later, and stay."""

    task: MoveTask
    end: int


class MoveTasks:
    """Of all queues. Tasks of a source are kept under its log's id. It is the outbox's Sender of what they move."""

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._kept: dict[bytes, dict[bytes, _Kept]] = {}  # log id -> task id -> task, the oldest first

    def open(self, timed: TimedQueue) -> None:
        """Take in the tasks of a queue; one that ran goes on."""
        if timed.log.volatile:
            return
        prefix = MOVE_PREFIX + timed.id
        found = [_decoded(key, value) for key, value in timed.store.scan(timed.log.shard, prefix, prefix + b"\xff" * 17, 4 * TASKS_MAX)]
        for kept in sorted(found, key=lambda one: one.task.started_ms):
            self._kept.setdefault(timed.id, {})[kept.task.task_id] = kept
            if kept.task.status == RUNNING:
                timed.move = _Run(self, timed, kept)

    def leave(self, timed: TimedQueue) -> None:
        """The source ends here; its tasks go on wherever it is open next."""
        self._kept.pop(timed.id, None)

    def new_id(self) -> bytes:
        """For what is moved: it is a new message."""
        octets: bytes = self._entropy.octets(16)
        return octets

    def start(self, timed: TimedQueue, destination: str, per_second_max: int) -> MoveTask:
        """A new task; the caller has checked that none runs."""
        task = MoveTask(self._entropy.octets(16), timed.queue.name, destination, RUNNING, per_second_max, 0, timed.sub.ready_count, timed.now_ms())
        kept = _Kept(task, timed.log.next_offset)
        self.keep(timed, kept)
        tasks = self._kept[timed.id]
        while len(tasks) > TASKS_MAX:
            oldest = next(iter(tasks))
            del tasks[oldest]
            timed.store.fold(timed.log.shard, MOVE_PREFIX + timed.id + oldest, DELETE)
        timed.move = _Run(self, timed, kept)
        return task

    def cancel(self, timed: TimedQueue) -> MoveTask:
        """End the one that runs."""
        task: MoveTask = timed.move.end(CANCELLED)
        return task

    def tasks(self, timed: TimedQueue) -> list[MoveTask]:
        """The last ones of a source, newest first."""
        return [kept.task for kept in reversed(self._kept.get(timed.id, {}).values())]

    def running(self, task_id: bytes) -> list[bytes]:
        """The ids of the logs that a task of this id moves from now: one or none."""
        return [log_id for log_id, tasks in self._kept.items() if task_id in tasks and tasks[task_id].task.status == RUNNING]

    def kept(self, timed: TimedQueue, task_id: bytes) -> _Kept:
        """One that is remembered."""
        return self._kept[timed.id][task_id]

    def moved(self, timed: TimedQueue, task_id: bytes, count: int) -> None:
        """So many more are there."""
        kept = self.kept(timed, task_id)
        self.keep(timed, replace(kept, task=replace(kept.task, moved=kept.task.moved + count)))

    def keep(self, timed: TimedQueue, kept: _Kept) -> None:
        """Stage the task as it is now."""
        self._kept.setdefault(timed.id, {})[kept.task.task_id] = kept
        value = msgspec.msgpack.encode([VERSION, READER_MIN, {**asdict(kept.task), "end": kept.end}])
        timed.store.fold(timed.log.shard, MOVE_PREFIX + timed.id + kept.task.task_id, set_value(value))

    def pack(self, queue: Any, cursor: Cursor, first: int, count: int, intent: Intent) -> Packed:
        """See Sender."""
        return packed([leaving(queue.timed, cursor, first + n, "", False, self.new_id()) for n in range(count)])

    def ended(self, queue: Any, intent: Intent, taken: bool) -> None:
        """See Sender. What has not been taken is in its place again, and the task finds out why."""
        timed: TimedQueue = queue.timed
        if not taken:
            timed.returned(intent.first, intent.count)
        elif intent.task in self._kept.get(timed.id, {}):
            self.moved(timed, intent.task, intent.count)
        if timed.move is not None:
            timed.hub.mark_dirty(timed.move)

    def forget(self, timed: TimedQueue) -> None:
        """The source is deleted, and its tasks with it."""
        for task_id in self._kept.pop(timed.id, {}):
            timed.store.fold(timed.log.shard, MOVE_PREFIX + timed.id + task_id, DELETE)


class _Run(LogOwner):
    """One task at work. The hub dispatches it as it does queues."""

    def __init__(self, tasks: MoveTasks, timed: TimedQueue, kept: _Kept) -> None:
        self.dirty = False
        self.task_id = kept.task.task_id
        self._end = kept.end
        self._tasks = tasks
        self._timed = timed
        self._cursor = Cursor(timed.hub, timed.log, partial(timed.hub.mark_dirty, self))
        self._timer: Any = None
        self._begun_s = timed.hub.scheduler.time()
        self._begun = 0  # records, in this life of the broker
        self._closed = False
        timed.hub.mark_dirty(self)

    def on_durable(self, log: Log) -> None:
        """Nothing: the queue is the log's owner."""

    def dispatch(self) -> None:
        """One slice of work."""
        timed = self._timed
        if self._closed or self._timer is not None:
            return
        if timed.hub.refusing:
            self._rest(RETRY_S)
            return
        task = self.task
        left = RECORDS_PER_TICK
        if task.per_second_max:
            elapsed_s = timed.hub.scheduler.time() - self._begun_s
            left = min(left, int(elapsed_s * task.per_second_max) + 1 - self._begun)
            if left <= 0:
                self._rest(WAIT_S)
                return
        moved = begun = 0
        status = RUNNING
        failure = ""
        outbox = timed.hub.outbox
        while begun < left:
            offset = timed.sub.next_ready(timed.sub.floor)
            if offset >= self._end:
                is_over = timed.log.durable_offset >= self._end and not outbox.has_kind(timed.log, MOVE)
                status = COMPLETED if is_over else RUNNING
                break
            found = self._cursor.locate(offset)
            if found == LATER:
                break
            if found == GAP:
                timed.sub.drop(offset, self._cursor.gap_end - offset)
                timed.queue.discard_settled()
                continue
            name = task.destination or timed.hub.codec(self._cursor.tag).source_of(self._cursor.data(), self._cursor.position_of(offset))
            target, apart = self._target(name)
            if apart is not None:
                home = apart.dead_letter_queue
            elif target is not None:
                home = target.definition.policy.dead_letter_queue
            else:
                status = FAILED
                failure = f"queue '{name}' has priorities, or does not exist" if name else "it is not known where a message came from"
                break
            if not task.destination and home != timed.queue.name:
                status = FAILED
                failure = f"queue '{name}' has another dead-letter queue"
                break
            if target is None:
                assert apart is not None
                if not outbox.has_room(timed.log):
                    self._rest(RETRY_S)
                    break
                timed.sub.take_range(BROKER_ID, offset, 1)
                outbox.stage(timed.queue, MOVE, offset, 1, (apart.target,), task=self.task_id)
            elif target.store.is_full():  # in memory alone: it may have no room where the disk has
                self._rest(RETRY_S)
                break
            else:
                timed.sub.take_range(BROKER_ID, offset, 1)
                transfer(timed, target, self._cursor, offset, "", self._tasks.new_id())
                timed.sub.settle(BROKER_ID, offset, 1)
                timed.queue.discard_settled()
                moved += 1
            begun += 1
        self._begun += begun
        if moved:
            self._tasks.moved(timed, self.task_id, moved)
            timed.store.urgent()
            timed.hub.mark_dirty(timed.queue)
        if status != RUNNING:
            self.end(status, failure)
        elif self._timer is not None:
            return
        elif begun:
            timed.hub.mark_dirty(self)
        elif offset >= self._end:
            self._rest(WAIT_S)

    @property
    def task(self) -> MoveTask:
        """As it is now."""
        return self._tasks.kept(self._timed, self.task_id).task

    def _target(self, name: str) -> tuple[TimedQueue | None, Elsewhere | None]:
        """The live queue that what is in `name` goes to directly, or else where that is; neither: there is none."""
        timed = self._timed
        if not name:
            return None, None
        try:
            target = timed.find(name)
        except Unavailable:
            return None, timed.find.elsewhere(name)
        if target is not None and timed.hub.outbox.has_any(timed.log):
            apart = timed.find.elsewhere(name)
            if timed.hub.outbox.is_outstanding(timed.log, (apart.target[0],)):
                return None, apart
        return target, None

    def end(self, status: str, failure: str = "") -> MoveTask:
        """It is over; what is on its way is counted when it is there."""
        self.close()
        self._timed.move = None
        task = replace(self.task, status=status, failure=failure)
        self._tasks.keep(self._timed, _Kept(task, self._end))
        self._timed.store.urgent()
        return task

    def close(self) -> None:
        """No more work in this life of the broker."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._cursor.close()

    def _rest(self, seconds: float) -> None:
        self._timer = self._timed.hub.scheduler.call_later(seconds, self._rested)

    def _rested(self) -> None:
        self._timer = None
        if not self._closed:
            self._timed.hub.mark_dirty(self)


def _decoded(key: bytes, value: bytes) -> _Kept:
    try:
        _, reader_min, fields = msgspec.msgpack.decode(value)
    except (msgspec.DecodeError, ValueError, TypeError) as error:
        raise CorruptData(f"move task {key!r} does not decode: {error}") from None
    if reader_min > VERSION:
        raise CorruptData(f"move task {key!r} needs a reader of version {reader_min}; this one is {VERSION}")
    end = fields.pop("end")
    known = set(MoveTask.__dataclass_fields__)
    return _Kept(MoveTask(**{name: one for name, one in fields.items() if name in known}), end)
