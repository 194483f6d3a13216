"""Answering: what an owner says to the questions of fronts (calls/questions.py), of the queues and partitions of its store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple
from functools import partial
from typing import Any, TypeAlias

from entrepot.broker.calls.questions import (
    COPIES_LISTED_MAX,
    AskCopies,
    AskPartitions,
    AskQueues,
    AttachSession,
    BrowseQueue,
    CancelMove,
    CheckTogether,
    DetachSession,
    FindMove,
    FindReplies,
    HoldSession,
    ListMoves,
    Load,
    Note,
    NoteCopy,
    PartitionFigures,
    PurgeTimed,
    QueueFigures,
    ReadLastValues,
    Seal,
    StartMove,
    Unseal,
)
from entrepot.broker.owner.local_owner import LocalOwner
from entrepot.broker.owner.timed_sides import TimedSides
from entrepot.broker.owner.together import check, do_together
from entrepot.broker.owners import Done, Settlement, Stage
from entrepot.broker.queue.browsing import Browsing
from entrepot.broker.queue.last_value_rows import copy_key, copy_of, copy_prefix, copy_value
from entrepot.broker.queue.last_values import LastValues
from entrepot.broker.queue.parts import parts_of
from entrepot.broker.queue.queue import Queue
from entrepot.broker.sessions.session_table import SessionTable
from entrepot.broker.state import DELETE, prefix_end, set_value
from entrepot.broker.timed.timed_queue import TimedQueue
from entrepot.broker.topic.partition import Partition
from entrepot.model.errors import NotDone, Reason, Refused

PURGE_INTERVAL_MS = 60_000  # between two purges of a queue with timed leases, as SQS

_LATER: Any = object()
"""done() is called when it is so far."""


class Answering:
    """Of one owner. `replies`: the Replies of its process (front/replies.py). `sessions`: of it; where that keeps nothing, there are none."""

    def __init__(self, owner: LocalOwner, sides: TimedSides, replies: Any, sessions: SessionTable) -> None:
        self.replies = replies
        self.sessions = sessions
        self._owner = owner
        self._sides = sides

    def ask(self, question: Any, done: Done) -> None:
        """See Owner.ask()."""
        try:
            answer = _ANSWERS[type(question)](self, question, done)
        except NotDone as error:
            done(error, None)
            return
        if answer is not _LATER:
            done(None, answer)

    # ---- figures

    def queues(self, question: AskQueues, done: Done) -> list[QueueFigures | None]:
        """See AskQueues."""
        return [self._queue_figures(log_id) for log_id in question.log_ids]

    def _queue_figures(self, log_id: bytes) -> QueueFigures | None:
        log = self._owner.store.log(log_id)
        if log is None or not isinstance(log.owner, Queue):
            return None
        queue = log.owner
        parts = parts_of(queue)
        delayed = 0 if queue.timed is None else queue.timed.delayed_count()
        leased = sum([part.subscription.leased_count for part in parts]) - delayed
        return queue.ready(), leased, delayed, queue.depth(), len(queue.consumers), sum([part.log.bytes_alive for part in parts])

    def partitions(self, question: AskPartitions, done: Done) -> list[PartitionFigures | None]:
        """See AskPartitions."""
        return [self._partition_figures(log_id) for log_id in question.log_ids]

    def _partition_figures(self, log_id: bytes) -> PartitionFigures | None:
        log = self._owner.store.log(log_id)
        if log is None or not isinstance(log.owner, Partition):
            return None
        topic: Any = log.owner.topic
        return log.first_offset, log.durable_offset, log.bytes_alive, topic.consumer_count()

    def browse(self, question: BrowseQueue, done: Done) -> Any:
        """See BrowseQueue."""
        Browsing(self._owner.queue(question.log_id), question, done).begin()
        return _LATER

    # ---- deletes

    def seal(self, question: Seal, done: Done) -> Any:
        """See Seal."""
        self._owner.seals.seal(question, done)
        return _LATER

    def unseal(self, question: Unseal, done: Done) -> None:
        """See Unseal."""
        self._owner.seals.unseal(question)

    # ---- transactions

    def check_together(self, question: CheckTogether, done: Done) -> None:
        """See CheckTogether."""
        check(self._owner, question.publishes, question.loads)

    def together(self, stages: list[Stage], settlements: list[Settlement], loads: list[Load], done: Done, note: Note | None) -> None:
        """See Owner.together()."""
        try:
            answer = do_together(self._owner, stages, settlements, loads, note, None if note is None else self.sessions)
        except NotDone as error:
            done(error, None)
        else:
            self._when_durable(done, answer)

    # ---- sessions

    def attach_session(self, question: AttachSession, done: Done) -> Any:
        """See AttachSession."""
        self.sessions.attach(question, done)
        return _LATER

    def hold_session(self, question: HoldSession, done: Done) -> Any:
        """See HoldSession."""
        self.sessions.hold(question, done)
        return _LATER

    def detach_session(self, question: DetachSession, done: Done) -> Any:
        """See DetachSession."""
        self.sessions.detach(question, done)
        return _LATER

    # ---- queues whose leases are timed

    def purge(self, question: PurgeTimed, done: Done) -> Any:
        """See PurgeTimed."""
        timed = self._timed(question.log_id)
        now_ms = timed.now_ms()
        if timed.purged_ms and now_ms - timed.purged_ms < PURGE_INTERVAL_MS:
            raise Refused(Reason.IN_USE, f"queue '{timed.queue.name}' was purged less than {PURGE_INTERVAL_MS // 1000} seconds ago")
        timed.purged_ms = now_ms
        return self._purge(timed, done)

    def _purge(self, timed: TimedQueue, done: Done) -> Any:
        if timed.ended:
            done(timed.queue.gone.again(), None)
        elif timed.queue.has_staged():
            timed.queue.wait(partial(self._purge, timed, done))
        else:
            timed.purge()
            self._when_durable(done, None)
        return _LATER

    def start_move(self, question: StartMove, done: Done) -> Any:
        """See StartMove."""
        timed = self._timed(question.log_id)
        if timed.move is not None:
            raise Refused(Reason.IN_USE, f"a task moves from queue '{timed.queue.name}' already")
        task = self._sides.moves.start(timed, question.destination, question.per_second_max)
        return self._when_durable(done, astuple(task))

    def find_move(self, question: FindMove, done: Done) -> bytes | None:
        """See FindMove."""
        for log_id in self._sides.moves.running(question.task_id):
            log = self._owner.store.log(log_id)
            if log is not None and isinstance(log.owner, Queue):
                return log_id
        return None

    def cancel_move(self, question: CancelMove, done: Done) -> Any:
        """See CancelMove."""
        timed = self._timed(question.log_id)
        if timed.move is None or timed.move.task_id != question.task_id:
            raise Refused(Reason.NOT_FOUND, "no such task runs")
        return self._when_durable(done, astuple(self._sides.moves.cancel(timed)))

    def list_moves(self, question: ListMoves, done: Done) -> list[tuple[Any, ...]]:
        """See ListMoves."""
        return [astuple(task) for task in self._sides.moves.tasks(self._timed(question.log_id))[: question.limit]]

    def find_replies(self, question: FindReplies, done: Done) -> bool:
        """See FindReplies."""
        return bool(self.replies.has(question.namespace, question.name.decode("utf-8", "surrogateescape")))

    # ---- last values

    def read_last_values(self, question: ReadLastValues, done: Done) -> Any:
        """See ReadLastValues."""
        queue = self._owner.queue(question.log_id)
        if not isinstance(queue.heads, LastValues) or self._owner.hub.maybe_codec(question.codec) is None:
            raise Refused(Reason.NOT_SUPPORTED, f"queue '{queue.name}' keeps no last values, or none of codec {question.codec}")
        queue.heads.pages.read(question, done)
        return _LATER

    def note_copy(self, question: NoteCopy, done: Done) -> Any:
        """See NoteCopy."""
        log = self._owner.queue(question.log_id).log
        if log.volatile:
            return None
        key = copy_key(log.id, question.exchange, question.pattern)
        delta = DELETE if question.after is None else set_value(copy_value(question.identifier, question.after))
        self._owner.store.fold(log.shard, key, delta)
        return self._when_durable(done, None)

    def copies(self, question: AskCopies, done: Done) -> list[tuple[bytes, bytes, int, bytes]]:
        """See AskCopies."""
        log = self._owner.queue(question.log_id).log
        prefix = copy_prefix(log.id)
        rows = [] if log.volatile else self._owner.store.scan(log.shard, prefix, prefix_end(prefix), COPIES_LISTED_MAX)
        return [copy_of(log.id, key, row) for key, row in rows]

    # ---- shared

    def _timed(self, log_id: bytes) -> TimedQueue:
        return self._sides.timed_of(self._owner.queue(log_id).definition)

    def _when_durable(self, done: Done, answer: Any) -> Any:
        """Behind what is staged."""
        store = self._owner.store
        store.urgent()
        store.group().calls.append(partial(done, None, answer))
        return _LATER


_Answer: TypeAlias = Callable[[Answering, Any, Done], Any]

_ANSWERS: dict[type, _Answer] = {
    AskQueues: Answering.queues,
    AskPartitions: Answering.partitions,
    BrowseQueue: Answering.browse,
    PurgeTimed: Answering.purge,
    StartMove: Answering.start_move,
    FindMove: Answering.find_move,
    FindReplies: Answering.find_replies,
    CancelMove: Answering.cancel_move,
    Seal: Answering.seal,
    Unseal: Answering.unseal,
    CheckTogether: Answering.check_together,
    ListMoves: Answering.list_moves,
    AttachSession: Answering.attach_session,
    HoldSession: Answering.hold_session,
    DetachSession: Answering.detach_session,
    ReadLastValues: Answering.read_last_values,
    NoteCopy: Answering.note_copy,
    AskCopies: Answering.copies,
}
