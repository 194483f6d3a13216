"""SessionTable: the sessions of one owner: who is attached, under which generation, what is kept of them, and when they and their wills are due.

    attach -> (CHANGE_CATALOGUE -> attach again) -> attached -> detach, or taken over by another attach
                                                    detached -> its will is due, published -> it has ended, its queue goes

A generation is greater than all before it, over restarts, too: whatever names one that is over is refused. Of a session that is attached to nobody the times
are the shard's, and rows. One that was attached when the process ended, or its shard came here, is given CLAIM_S: who has it says so, or it counts as lost.
What a will leads to in this process is published in the commit that takes it out of its row, so it is there once; elsewhere once at least.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from heapq import heapify, heappop, heappush
from typing import Any

from entrepot.broker.calls.questions import CHANGE_CATALOGUE, NEW, PRESENT, AttachSession, DetachSession, HoldSession, Note, Onward, Place, SessionAttached
from entrepot.broker.logs.hub import Hub
from entrepot.broker.outbox.handover import Target
from entrepot.broker.outbox.intents import Packed
from entrepot.broker.owners import Done
from entrepot.broker.queue.queue import Queue
from entrepot.broker.sessions.attached import NEVER_MS, Attached, Kept, parted, taken_over
from entrepot.broker.sessions.late_wills import LateWill, LateWills, Publish
from entrepot.broker.sessions.session_state import (
    INCOMING,
    KINDS,
    LATE_WILL,
    RELEASED,
    SESSION,
    SESSION_PREFIX,
    SessionRow,
    gone,
    key_of,
    numbers_delta,
    numbers_of,
    parts_of,
    row_delta,
    row_of,
)
from entrepot.broker.state import prefix_end
from entrepot.model.errors import NotDone, Reason, Refused, Unavailable
from entrepot.store.interface import Log, Store

CLAIM_S = 2.0  # for which a session that was attached when its shard came here is kept for whom it was attached to
AGAIN_MS = 1000  # until it is tried again to publish a will, or to remove a queue
GENERATION_SHIFT = 12  # generations are milliseconds, shifted by so many bits, or one more than the last
SCAN_LIMIT = 256
DUE_MAX = 256  # sessions looked at in a turn
DUE_SPARE = 1024  # items of the heap that hold no more, besides as many as there are sessions


class SessionTable:
    """Over one store. shard_of(namespace, name); may_remove(): whether the catalogue may be asked now; remove(queue) asks for it; publish: see Publish;

    target_of(namespace, place): where that is, None: nowhere any more.
    """

    def __init__(
        self,
        hub: Hub,
        store: Store,
        shard_of: Callable[[str, str], int],
        may_remove: Callable[[], bool],
        remove: Callable[[Queue], None],
        publish: Publish,
        target_of: Callable[[str, Place], Target | None],
    ) -> None:
        self._hub = hub
        self._store = store
        self._shard_of = shard_of
        self._may_remove = may_remove
        self._remove = remove
        self._target_of = target_of
        self._publish = publish
        self._attached: dict[tuple[str, str], Attached] = {}
        self._kept: dict[bytes, Kept] = {}  # by the id of the queue's log
        self._by_name: dict[tuple[str, str], Kept] = {}
        self._due: list[tuple[int, bytes]] = []  # a heap; an item holds while it is its session's due_ms
        self._timer: Any = None
        self._timer_ms = NEVER_MS
        self._late = LateWills(store, publish, self._arm)
        self._generation = 0
        self._ended_count = 0  # sessions that were kept, and have ended by themselves

    def statistics(self) -> dict[str, float]:
        """Figures for metrics: sessions that a connection has, and that are kept; counters of those that have ended in time, and of wills."""
        return {
            "sessions_attached": len(self._attached),
            "sessions_kept": len(self._kept),
            "sessions_expired_total": self._ended_count,
            "wills_published_total": self._late.published_count,
            "wills_dropped_total": self._late.dropped_count,
        }

    # ---- shards come and go

    def load(self, shards: Iterable[int]) -> None:
        """What is kept in shards whose queues are alive again."""
        for shard in shards:
            first, end = SESSION_PREFIX, prefix_end(SESSION_PREFIX)
            while True:
                found = self._store.scan(shard, first, end, SCAN_LIMIT)
                for key, value in found:
                    self._load(shard, key, value)
                if len(found) < SCAN_LIMIT:
                    break
                first = found[-1][0] + b"\0"
        self._arm()

    def _load(self, shard: int, key: bytes, value: bytes) -> None:
        log_id, kind = parts_of(key)
        if kind[:1] == LATE_WILL:
            self._late.load(shard, key, value)
            return
        log = self._store.log(log_id)
        if log is None or not isinstance(log.owner, Queue):
            self._store.fold(shard, key, gone(kind))
            return
        if kind != SESSION:
            return
        row = row_of(key, value)
        self._store.shard_time(shard).not_before(row.ended_ms)
        kept = self._keep(log.owner, row)
        self._generation = max(self._generation, row.generation)
        if row.ended_ms < 0:
            self._hub.scheduler.call_later(CLAIM_S, self._unclaimed, log_id, row.generation)
        else:
            self._look_at(kept, min(kept.will_ms(), kept.end_ms()))

    def _unclaimed(self, log_id: bytes, generation: int) -> None:
        """Nobody has said that it has it: its connection was lost."""
        kept = self._kept.get(log_id)
        if kept is None or kept.attached is not None or kept.generation != generation or kept.ended_ms >= 0:
            return
        if self._hub.held:
            self._hub.scheduler.call_later(CLAIM_S, self._unclaimed, log_id, generation)
            return
        self._leave(kept, -1, False)

    def unload(self, shard: int) -> None:
        """It closes: whoever has a session there claims it of who opens it."""
        for kept in [kept for kept in self._kept.values() if kept.queue.log.shard == shard]:
            self._forget(kept)
        self._late.unload(shard)
        away = Unavailable("the session is on its way to another owner")
        for key in [key for key, one in self._attached.items() if one.shard == shard]:
            one = self._attached.pop(key)
            one.lost(away)
            for _, done in one.waiting:
                done(away.again(), None)

    def front_ended(self, front: bytes) -> None:
        """A start is no more: its connections are lost."""
        for key in [key for key, one in self._attached.items() if one.front == front]:
            self._detach(key, self._attached[key], -1, False)

    def queue_removed(self, log: Log) -> None:
        """A queue is no more: so is what is kept of its session, in the same commit."""
        kept = self._kept.get(log.id)
        if kept is None:
            return
        for kind in KINDS:
            self._store.fold(log.shard, key_of(log.id, kind), gone(kind))
        self._forget(kept)

    def _keep(self, queue: Queue, row: SessionRow) -> Kept:
        kept = Kept(queue.log.id, queue, row)
        self._kept[kept.log_id] = kept
        self._by_name[queue.definition.namespace, queue.name] = kept
        return kept

    def _forget(self, kept: Kept) -> None:
        key = (kept.queue.definition.namespace, kept.queue.name)
        self._kept.pop(kept.log_id, None)
        if self._by_name.get(key) is kept:
            del self._by_name[key]
        if kept.attached is not None:
            kept.attached.kept = None
            kept.attached = None

    def is_attached(self, log: Log) -> bool:
        """Whether a connection has the session whose queue lies there."""
        kept = self._kept.get(log.id)
        return kept is not None and kept.attached is not None

    # ---- attaching

    def attach(self, asked: AttachSession, done: Done) -> None:
        """See AttachSession. Raises a NotDone."""
        key = (asked.namespace, asked.name)
        now = self._attached.get(key)
        if asked.generation:
            if now is None or now.generation != asked.generation or not now.opening:
                raise taken_over(asked.name)
            self._settle(key, now, asked, done)
            return
        if now is not None and now.opening:
            now.waiting.append((asked, done))
            return
        kept = self._known(asked)
        if now is not None and now.user != asked.user and not asked.takes_any:
            raise Refused(Reason.NOT_PERMITTED, f"session '{asked.name}' is another user's")
        self._generation = max(self._generation + 1, self._now_ms(self._shard_of(*key)) << GENERATION_SHIFT)
        me = Attached(asked.front, asked.user, self._generation, self._shard_of(*key))
        ends = asked.clean or (kept is not None and kept.over)
        if now is not None:
            self._take_over(now, ends, asked.namespace)
        elif kept is not None:
            is_due = kept.delay_s == 0 if kept.ended_ms < 0 else self._now_ms(kept.queue.log.shard) >= kept.will_ms()  # < 0: nobody has claimed it
            self._end_will(kept, ends or is_due)
        self._attached[key] = me
        if kept is not None and not ends:
            self._have(me, kept, asked, PRESENT, done)
        elif not asked.log_id and asked.expiry_s == 0:
            me.will = asked.will
            done(None, (me.generation, NEW, [], []))
        else:
            me.opening = True
            if kept is not None:
                kept.over = True
                kept.due_ms = NEVER_MS
            done(None, (me.generation, CHANGE_CATALOGUE, [], []))

    def _known(self, asked: AttachSession) -> Kept | None:
        """What is kept of it; None: nothing. Unavailable, where its queue is another, or not alive here; Refused: it is somebody else's."""
        kept = self._by_name.get((asked.namespace, asked.name))
        if kept is not None and kept.log_id != asked.log_id:
            raise Unavailable(f"the queue of session '{asked.name}' is another by now")
        if asked.log_id:
            queue = self._queue(asked)
            if kept is None and _is_used(queue):
                raise Refused(Reason.EXISTS_DIFFERENT, f"queue '{asked.name}' is there already, and is no session's")
        return kept

    def _queue(self, asked: AttachSession) -> Queue:
        log = self._store.log(asked.log_id)
        if log is None or not isinstance(log.owner, Queue) or log.shard in self._store.closed:
            raise Unavailable(f"the queue of session '{asked.name}' is not open here")
        return log.owner

    def _settle(self, key: tuple[str, str], me: Attached, asked: AttachSession, done: Done) -> None:
        """The catalogue is as it is to be: it has its queue, new, or is to have none."""
        if not asked.log_id:
            me.will = asked.will
            self._opened(me)
            done(None, (me.generation, NEW, [], []))
            return
        queue = self._queue(asked)
        kept = self._kept.get(asked.log_id)
        if kept is None:
            kept = self._keep(queue, SessionRow(me.generation, asked.expiry_s, -1, asked.will))
        self._opened(me)
        self._have(me, kept, asked, NEW, done)

    def _opened(self, me: Attached) -> None:
        """Whoever wanted it meanwhile has his turn."""
        me.opening = False
        waiting, me.waiting = me.waiting, []
        for asked, done in waiting:
            self._hub.scheduler.call_soon(self._again, asked, done)

    def _again(self, asked: AttachSession, done: Done) -> None:
        try:
            self.attach(asked, done)
        except NotDone as error:
            done(error, None)

    def _have(self, me: Attached, kept: Kept, asked: AttachSession, status: int, done: Done) -> None:
        """It is attached: noted in its row."""
        row = SessionRow(me.generation, asked.expiry_s, -1, asked.will)
        me.kept = kept
        kept.attached = me
        kept.over = False
        kept.due_ms = NEVER_MS
        kept.be(row)
        self._fold(kept, SESSION, row_delta(row))
        numbers = [numbers_of(self._store.get(kept.queue.log.shard, key_of(kept.log_id, kind))) for kind in (INCOMING, RELEASED)]
        answer: SessionAttached = (me.generation, status, numbers[0], numbers[1]) if status == PRESENT else (me.generation, status, [], [])
        self._when_durable(partial(done, None, answer))

    def _take_over(self, former: Attached, ends: bool, namespace: str) -> None:
        """Whoever had it has lost it, and hears so; a front in this process ends what it consumed there itself."""
        kept, former.kept = former.kept, None
        former.lost(None)
        if kept is not None:
            kept.attached = None
            for consumer in list(kept.queue.consumers):
                kept.queue.release_all(consumer)
                kept.queue.remove_consumer(consumer)
                if not consumer.burying:  # else its front frees it
                    door: Any = consumer.attachment
                    door.gone(consumer)
            self._end_will(kept, ends or kept.delay_s == 0)
        elif former.will is not None:
            self._late.add(LateWill(former.shard, b"", namespace, former.will))

    def hold(self, asked: HoldSession, done: Done) -> None:
        """See HoldSession."""
        key = (asked.namespace, asked.name)
        now = self._attached.get(key)
        if now is None:
            now = self._claim(key, asked)
        if now is None or now.generation != asked.generation:
            done(None, None)
            return
        now.lost(None)
        now.hold = done

    def _claim(self, key: tuple[str, str], asked: HoldSession) -> Attached | None:
        """Who asks had it of another owner, or of a start before; None: not any more."""
        kept = self._by_name.get(key)
        if asked.log_id:
            if kept is None or kept.log_id != asked.log_id or kept.generation != asked.generation or kept.ended_ms >= 0:
                return None
        elif asked.generation <= (0 if kept is None else kept.generation):
            return None
        me = self._attached[key] = Attached(asked.front, asked.user, asked.generation, self._shard_of(*key))
        me.will = asked.will
        if asked.log_id and kept is not None:
            me.kept = kept
            kept.attached = me
        return me

    # ---- what it remembers

    def check(self, note: Note) -> None:
        """Raises Refused, TAKEN_OVER, where the session is another's by now."""
        kept = self._kept.get(note.log_id)
        if kept is None or kept.attached is None or kept.attached.generation != note.generation:
            raise taken_over("" if kept is None else kept.queue.name)
        if note.onward and not self._hub.outbox.may_carry(sum(len(one.data) for one in note.onward)):
            raise Unavailable("too much is on its way to other owners")

    def note(self, note: Note, nacked: list[list[int]]) -> list[tuple[int, int]]:
        """Have it remember, in the open commit; `nacked`: of each stage. Which numbers it does not remember, for their records were nacked."""
        kept = self._kept[note.log_id]
        adds = list(note.adds)
        left_out: list[tuple[int, int]] = []
        for runs, indices in zip(note.by_stage, nacked, strict=True):
            if indices:
                without, dropped = parted(runs, indices)
                adds += without
                left_out += dropped
            else:
                adds += runs
        kind = RELEASED if note.released else INCOMING
        if adds:
            self._fold(kept, kind, numbers_delta(adds, True))
        if note.removes:
            self._fold(kept, kind, numbers_delta(note.removes, False))
        for one in note.onward:
            self._send_on(kept, one)
        return left_out

    def _send_on(self, kept: Kept, onward: Onward) -> None:
        """To those of its places that are still there."""
        namespace = kept.queue.definition.namespace
        targets = [target for place in onward.places if (target := self._target_of(namespace, place)) is not None]
        if targets:
            packed = Packed(onward.address, onward.hidden, onward.flags, onward.data, onward.count, onward.codec, onward.codec_version)
            self._hub.outbox.carry(kept.queue.log.shard, targets, packed)

    # ---- detaching

    def detach(self, asked: DetachSession, done: Done) -> None:
        """See DetachSession. Raises Refused."""
        key = (asked.namespace, asked.name)
        now = self._attached.get(key)
        if now is None or now.generation != asked.generation:
            raise taken_over(asked.name)
        self._detach(key, now, asked.expiry_s, asked.drop_will)
        self._when_durable(partial(done, None, None))

    def _detach(self, key: tuple[str, str], now: Attached, expiry_s: int, drop_will: bool) -> None:
        del self._attached[key]
        now.lost(None)
        if now.kept is not None:
            kept, now.kept = now.kept, None
            kept.attached = None
            self._leave(kept, expiry_s, drop_will)
        elif now.will is not None and not drop_will:
            self._late.add(LateWill(now.shard, b"", key[0], now.will))
        if now.opening:
            self._opened(now)
            over = self._by_name.get(key)
            if over is not None and over.attached is None and over.over:
                self._look_at(over, self._now_ms(over.queue.log.shard))
                self._arm()

    def _leave(self, kept: Kept, expiry_s: int, drop_will: bool) -> None:
        """Nobody is attached to it any more: its times begin."""
        row = self._row(kept)
        row.ended_ms = self._now_ms(kept.queue.log.shard)
        if expiry_s >= 0:
            row.expiry_s = expiry_s
        if drop_will:
            row.will = None
        kept.be(row)
        self._fold(kept, SESSION, row_delta(row))
        self._come_to(kept)
        self._arm()

    # ---- what is due

    def _come_to(self, kept: Kept) -> None:
        """See what is due of a session that nobody is attached to, and have it done; when to look again."""
        now_ms = self._now_ms(kept.queue.log.shard)
        if now_ms >= kept.will_ms():
            self._end_will(kept, True)
        if now_ms < kept.end_ms():
            self._look_at(kept, min(kept.will_ms(), kept.end_ms()))
            return
        if not kept.over:
            kept.over = True
            self._ended_count += 1
        if self._may_remove():
            self._remove(kept.queue)
        if self._kept.get(kept.log_id) is kept:
            self._look_at(kept, now_ms + AGAIN_MS)

    def _look_at(self, kept: Kept, due_ms: int) -> None:
        kept.due_ms = due_ms
        if due_ms < NEVER_MS:
            heappush(self._due, (due_ms, kept.log_id))
        if len(self._due) > 2 * len(self._kept) + DUE_SPARE:  # sessions that come and go leave some behind
            self._due = [(one.due_ms, one.log_id) for one in self._kept.values() if one.due_ms < NEVER_MS]
            heapify(self._due)

    def _arm(self) -> None:
        """Have the timer go off when the next is due."""
        while self._due:
            due_ms, log_id = self._due[0]
            kept = self._kept.get(log_id)
            if kept is not None and kept.due_ms == due_ms and kept.attached is None:
                break
            heappop(self._due)
        due_ms = self._due[0][0] if self._due else NEVER_MS
        if self._late.waiting:
            due_ms = min(due_ms, self._now_ms(None) + AGAIN_MS)
        if due_ms >= self._timer_ms:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_ms = due_ms
        self._timer = self._hub.scheduler.call_later(max(0.0, (due_ms - self._now_ms(None)) / 1000), self._ring)

    def _ring(self) -> None:
        self._timer, self._timer_ms = None, NEVER_MS
        self._late.again()
        now_ms = self._now_ms(None)
        left = DUE_MAX
        while left and self._due and self._due[0][0] <= now_ms:
            due_ms, log_id = heappop(self._due)
            kept = self._kept.get(log_id)
            if kept is not None and kept.due_ms == due_ms and kept.attached is None:
                self._come_to(kept)
                left -= 1
        self._arm()

    # ---- wills

    def _end_will(self, kept: Kept, publishes: bool) -> None:
        """Its will, if it has one, is published now, or never."""
        if kept.delay_s < 0:
            return
        row = self._row(kept)
        will, row.will = row.will, None
        if publishes and will is not None:
            key = key_of(kept.log_id, LATE_WILL + kept.generation.to_bytes(8, "big"))
            self._late.add(LateWill(kept.queue.log.shard, key, kept.queue.definition.namespace, will))
        kept.be(row)
        self._fold(kept, SESSION, row_delta(row))

    # ---- shared

    def _row(self, kept: Kept) -> SessionRow:
        key = key_of(kept.log_id, SESSION)
        value = self._store.get(kept.queue.log.shard, key)
        assert value is not None, key
        return row_of(key, value)

    def _fold(self, kept: Kept, kind: bytes, delta: bytes) -> None:
        self._store.fold(kept.queue.log.shard, key_of(kept.log_id, kind), delta)

    def _now_ms(self, shard: int | None) -> int:
        return (self._store.time if shard is None else self._store.shard_time(shard)).now_ms()

    def _when_durable(self, do: Callable[[], None]) -> None:
        self._store.urgent()
        self._store.group().calls.append(do)


def _is_used(queue: Queue) -> bool:
    """Whether it is more than what an opening that was cut off has left, which nobody loses anything by: a queue without a session's row."""
    definition = queue.definition
    is_ours = definition.policy.kept_bytes is not None or not definition.arguments
    return bool(not is_ours or definition.policy.shared or definition.bindings_in or queue.consumers or queue.depth())
