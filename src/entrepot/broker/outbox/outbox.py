"""Outbox: a source's own log as the place where records wait for owners that are elsewhere (cluster.md section 3.2). Nothing is copied.

    stage()      an intent is folded into the source's shard; its records are the broker's, and nobody is given them
    durable      each target's owner is sent what is for it, in the order of the sequences
    answered()   the last of them has answered: the records are settled and the intent is dropped, in one commit

After a crash, or when the shard opens elsewhere, load() reads what was on its way by turns, and open() has the broker hold
all of it again before anybody is given anything, and sends it again. Its owner takes nothing twice (taken.py). Sending goes by turns, some records in each.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol

from entrepot.broker.logs.cursor import GAP, LATER, Cursor
from entrepot.broker.logs.hub import Hub
from entrepot.broker.logs.log_owner import LogOwner
from entrepot.broker.outbox.handover import CARRIED, LETTER, MOVE, NOT_NOW, OUT_OF_TURN, SUBJECT, TAKEN, Answer, Handover, Owners, Target
from entrepot.broker.outbox.intents import (
    INTENTS,
    INTENTS_END,
    Intent,
    Packed,
    Part,
    by_shard,
    carried_log,
    decoded,
    is_carried,
    sequence_key,
    sequence_of,
    sequence_value,
)
from entrepot.broker.outbox.lane import Lane
from entrepot.broker.state import DELETE, set_value
from entrepot.broker.subscription.consumer import BROKER_ID
from entrepot.store.interface import Log, Store

RECORDS_PER_TICK = 256  # sent, of all sources
INTENTS_MAX = 1024  # of one source that are not settled
BYTES_MAX = 32 << 20  # of all of them, as they are kept; what is loaded is loaded
RETRY_S = 1.0  # until what an owner would not take now is sent again
LOADED_PER_TICK = 256  # intents of a shard that opens


class Sender(Protocol):
    """Of one kind of intents: packs them, and is told of their end."""

    def pack(self, queue: Any, cursor: Cursor, first: int, count: int, intent: Intent) -> Packed:
        """Records [first, +count) of the entry that the cursor has found."""

    def ended(self, queue: Any, intent: Intent, taken: bool) -> None:
        """They are settled, or (not taken, and no LETTER) ready again, a partition's neither; what is staged is in the same commit."""


class _Source:
    """A queue, or a partition, with intents. `queue`, `cursor`: None before its shard is open."""

    __slots__ = ("cursor", "intents", "outstanding", "queue", "shard")

    def __init__(self, shard: int) -> None:
        self.shard = shard
        self.queue: Any = None
        self.cursor: Any = None
        self.intents: dict[int, Intent] = {}  # by their first offset
        self.outstanding: Counter[int] = Counter()  # by target shard: intents that its owner has not answered


class Outbox(LogOwner):
    """Of one broker, which sets `owners` and `senders` before it opens. The hub dispatches it as it does queues. store_of(shard): where that is kept."""

    owners: Owners

    def __init__(self, hub: Hub, store_of: Callable[[int], Store]) -> None:
        self.dirty = False
        self.senders: dict[int, Sender] = {}
        self.loading: set[int] = set()  # shards that are about to open: nothing that is in them is there yet
        self._loads: dict[int, object] = {}  # of those what is read now
        self.loaded_per_tick = LOADED_PER_TICK
        self._hub = hub
        self._store_of = store_of
        self._sources: dict[bytes, _Source] = {}  # by the log's id; nobody without intents
        self._lanes: dict[tuple[int, int], Lane] = {}  # by source and target shard; none that is empty
        self._ready: dict[Lane, None] = {}  # those that may have something to send
        self._late: dict[Lane, None] = {}  # those that try again after a while
        self._timer: Any = None
        self._bytes = 0
        self._intent_count = 0
        self._full_count = 0
        self._sent_count = 0
        self._settled_count = 0

    # ---- what a source asks

    def is_outstanding(self, log: Log, shards: Iterable[int]) -> bool:
        """Whether something of the log is on its way to one of these shards: what went there directly would overtake it."""
        source = self._sources.get(log.id)
        return source is not None and any(source.outstanding[shard] for shard in shards)

    def has_any(self, log: Log) -> bool:
        """Whether anything of the log is on its way."""
        return log.id in self._sources

    def first_of(self, log: Log, end: int) -> int:
        """The first record of the log below `end` that is on its way, else `end`."""
        source = self._sources.get(log.id)
        return end if source is None else min(end, min(source.intents))

    def is_moving(self, log: Log) -> bool:
        """Whether something of the log is on its way, and all that it waits for are open."""
        source = self._sources.get(log.id)
        return source is not None and all(self.owners.is_open(shard) for shard, count in source.outstanding.items() if count)

    def has_kind(self, log: Log, kind: int) -> bool:
        """Whether an intent of that kind is not settled."""
        source = self._sources.get(log.id)
        return source is not None and any(intent.kind == kind for intent in source.intents.values())

    def has_room(self, log: Log) -> bool:
        """Whether stage() may be called: what is not durable has no intents, and there are only so many."""
        if log.volatile:
            return False
        source = self._sources.get(log.id)
        if self._bytes >= BYTES_MAX or (source is not None and len(source.intents) >= INTENTS_MAX):
            self._full_count += 1
            return False
        return True

    def stage(
        self,
        queue: Any,
        kind: int,
        first: int,
        count: int,
        targets: Sequence[Target],
        *,
        reason: str = "",
        task: bytes = b"",
        carried: Sequence[tuple[int, int]] = (),
    ) -> None:
        """Records [first, +count) of one entry, which the broker holds with this commit (a partition's it need not), go to these logs."""
        log = queue.log
        source = self._stage(Intent(log.shard, log.id, first, count, kind, reason, task, carried), targets)
        if len(source.intents) == 1:
            self._attach(source, queue)

    def may_carry(self, size: int) -> bool:
        """Whether carry() may be called with so many octets."""
        return self._bytes + size <= BYTES_MAX

    def carry(self, shard: int, targets: Sequence[Target], packed: Packed) -> None:
        """Records that lie in no log, and are kept with the intent in that shard, go to these logs."""
        log_id = carried_log(shard)
        source = self._sources.get(log_id)
        first = 0 if source is None else max(source.intents) + 1
        intent = Intent(shard, log_id, first, packed.count, CARRIED, "", b"", ())
        intent.packed = packed
        self._stage(intent, targets)

    def _stage(self, intent: Intent, targets: Sequence[Target]) -> _Source:
        store = self._store_of(intent.shard)
        for shard, logs in by_shard(targets).items():
            lane = self._lane(intent.shard, shard)
            lane.last += 1
            store.fold(intent.shard, sequence_key(shard), set_value(sequence_value(lane.last)))
            intent.parts.append(Part(intent, shard, lane.last, logs))
        store.fold(intent.shard, intent.key(), set_value(intent.value()))
        source = self._enter(intent)
        self._intent_count += 1
        self._when_durable(intent.shard, partial(self._durable, intent))
        return source

    # ---- life

    def opening(self, shard: int) -> None:
        """It is about to open: nothing that is in it is there before open()."""
        self.loading.add(shard)

    def load(self, shard: int, done: Callable[[], None]) -> None:
        """Of a shard that opens: read what is on its way from there, some in each turn; then done(), and open() finds it read."""
        load = self._loads[shard] = object()
        self._load_some(shard, load, INTENTS, done)

    def open(self, shards: Iterable[int]) -> None:
        """Of shards that open, whose queues are made: before anything is dispatched, the broker holds what is on its way."""
        opening = set(shards)
        for shard in opening - self.loading:
            first = INTENTS
            while first:
                first = self._read(shard, first)
        self.loading -= opening
        for log_id, source in list(self._sources.items()):
            if source.shard in opening and not is_carried(log_id):
                log = self._store_of(source.shard).log(log_id)
                if log is None or log.owner is None:  # no definition names it any more
                    self._drop(log_id, source)
                    continue
                self._attach(source, log.owner)
                for intent in source.intents.values():
                    if intent.kind != SUBJECT:
                        source.queue.subscription.hold(BROKER_ID, intent.first, intent.count)
        for lane in self._lanes.values():
            if lane.source in opening:
                lane.sort()
                self._make_ready(lane)

    def close(self, shard: int) -> None:
        """It closes: what is on its way from there is sent by whoever opens it."""
        self._loads.pop(shard, None)
        for log_id, source in list(self._sources.items()):
            if source.shard == shard:
                self._forget(log_id, source)
        for key in [key for key in self._lanes if key[0] == shard]:
            lane = self._lanes.pop(key)
            self._ready.pop(lane, None)
            self._late.pop(lane, None)

    def opened(self, *shards: int) -> None:
        """Their owner may be asked again: whatever it has not answered goes there once more."""
        targets = frozenset(shards)
        for lane in self._lanes.values():
            if lane.target in targets:
                lane.go_back()
                self._make_ready(lane)

    def look_again(self) -> None:
        """Owners that were not to be sent more for a while may be by now."""
        for lane in self._lanes.values():
            self._make_ready(lane)

    def forget(self, log: Log) -> None:
        """The queue is deleted, and what was to be sent of it."""
        source = self._sources.get(log.id)
        if source is not None:
            self._drop(log.id, source)
            for lane in self._lanes.values():
                if lane.source == log.shard:
                    self._make_ready(lane)  # a gap is behind it now

    # ---- sending

    def on_durable(self, log: Log) -> None:
        """Nothing: it owns no log."""

    def dispatch(self) -> None:
        """One slice of work."""
        budget = RECORDS_PER_TICK
        lanes, self._ready = self._ready, {}
        for lane in lanes:
            if lane.is_empty():
                self._lanes.pop((lane.source, lane.target), None)
                continue
            while budget > 0 and lane.source not in self.loading and self.owners.is_open(lane.target):
                part = lane.next()
                if part is None or not self._send(lane, part):
                    break
                budget -= part.intent.count
            if budget <= 0:
                self._make_ready(lane)

    def answered(self, answer: Answer) -> None:
        """What an owner says of a handover. Of what nobody waits for any more it says nothing new."""
        lane = self._lanes.get((answer.source, answer.target))
        part = None if lane is None else lane.waiting(answer.sequence)
        if lane is None or part is None or part.intent.dropped:
            return
        if answer.status in (NOT_NOW, OUT_OF_TURN):
            lane.go_back()
            self._late[lane] = None
            if self._timer is None:
                self._timer = self._hub.scheduler.call_later(RETRY_S, self._try_again)
            return
        part.status = answer.status
        intent = part.intent
        source = self._sources[intent.log_id]
        source.outstanding[part.shard] -= 1
        if intent.is_answered():
            self._end(source, intent)
        else:
            self._store_of(intent.shard).fold(intent.shard, intent.key(), set_value(intent.value()))
        self._when_durable(intent.shard, partial(self._free, lane, part))

    def statistics(self) -> dict[str, float]:
        """Figures for metrics: `intents` and `intent_bytes` are outstanding; `intents_full_total`: how often a source had to wait for room."""
        return {
            "intents": sum(len(source.intents) for source in self._sources.values()),
            "intent_bytes": self._bytes,
            "intents_total": self._intent_count,
            "intents_settled_total": self._settled_count,
            "intents_full_total": self._full_count,
            "handovers_sent_total": self._sent_count,
        }

    # ---- below

    def _durable(self, intent: Intent) -> None:
        intent.durable = True
        for part in intent.parts:
            lane = self._lanes.get((intent.shard, part.shard))
            if lane is not None:
                self._make_ready(lane)

    def _send(self, lane: Lane, part: Part) -> bool:
        """Hand it over; False: its records are being fetched."""
        intent = part.intent
        source = self._sources[intent.log_id]
        found = self._packed(source, intent)
        if found is None:
            return False
        packed, tag, carried = found
        handover = Handover(
            source=lane.source,
            target=lane.target,
            sequence=part.sequence,
            first_waited=lane.first_waited(),
            kind=LETTER if intent.kind == CARRIED else intent.kind,
            logs=part.logs,
            address=packed.address,
            hidden=packed.hidden,
            tag=tag,
            version=packed.version or self._hub.codec(tag).version,
            flags=packed.flags,
            data=packed.data,
            count=packed.count,
            carried=carried,
        )
        lane.sent()
        self._sent_count += 1
        self.owners.hand_over(handover)
        return True

    def _packed(self, source: _Source, intent: Intent) -> tuple[Packed, int, tuple[tuple[int, int], ...]] | None:
        """All records of an intent that are there, the tag of their codec, and what is carried of them; None: some are being fetched."""
        if intent.packed is not None:
            return intent.packed, intent.packed.tag, ()
        sender = self.senders[intent.kind]
        whole = Packed(b"", b"", 0, b"", 0)
        tag = 0
        carried: tuple[tuple[int, int], ...] = ()
        position, end = intent.first, intent.first + intent.count
        while position < end:
            found = source.cursor.locate(position)
            if found == LATER:
                return None
            if found == GAP:
                position = source.cursor.gap_end
                continue
            count = min(end, source.cursor.end) - position
            piece = sender.pack(source.queue, source.cursor, position, count, intent)
            tag = source.cursor.tag
            whole = Packed(piece.address, piece.hidden, whole.flags | piece.flags, whole.data + piece.data, whole.count + piece.count)
            carried += intent.carried[position - intent.first : position - intent.first + count]
            position += count
        return whole, tag or self._hub.record_tag, carried

    def _end(self, source: _Source, intent: Intent) -> None:
        """All of its owners have answered."""
        if intent.kind == CARRIED:
            self._drop_intent(source, intent)
            return
        queue = source.queue
        taken = any(part.status == TAKEN for part in intent.parts)
        if intent.kind == SUBJECT:
            pass  # they stay where they are, whoever has them now
        elif taken or intent.kind == LETTER:
            queue.subscription.settle(BROKER_ID, intent.first, intent.count)
            queue.discard_settled()
        else:
            queue.subscription.release(BROKER_ID, intent.first, intent.count, False)
        if taken and intent.kind not in (MOVE, SUBJECT):
            self._hub.dead_lettered_count += intent.count
        self._drop_intent(source, intent)
        self.senders[intent.kind].ended(queue, intent, taken)
        self._hub.mark_dirty(queue)

    def _drop_intent(self, source: _Source, intent: Intent) -> None:
        self._store_of(intent.shard).fold(intent.shard, intent.key(), DELETE)
        self._settled_count += 1
        self._bytes -= intent.size
        del source.intents[intent.first]
        if not source.intents:
            self._forget(intent.log_id, source)

    def _free(self, lane: Lane, part: Part) -> None:
        """Nobody asks for that answer any more."""
        part.freed = True
        if self._lanes.get((lane.source, lane.target)) is lane:
            self._make_ready(lane)

    def _load_some(self, shard: int, load: object, first: bytes, done: Callable[[], None]) -> None:
        if self._loads.get(shard) is not load:  # it has closed meanwhile
            return
        behind = self._read(shard, first)
        if behind:
            self._hub.scheduler.call_soon(self._load_some, shard, load, behind, done)
        else:
            del self._loads[shard]
            done()

    def _read(self, shard: int, first: bytes) -> bytes:
        """Take in some of what is kept, from the key `first` on; the key to go on at, b"" at the end."""
        found = self._store_of(shard).scan(shard, first, INTENTS_END, self.loaded_per_tick)
        for key, value in found:
            self._enter(decoded(shard, key, value))
        return found[len(found) - 1][0] + b"\0" if len(found) == self.loaded_per_tick else b""

    def _enter(self, intent: Intent) -> _Source:
        source = self._sources.get(intent.log_id)
        if source is None:
            source = self._sources[intent.log_id] = _Source(intent.shard)
        source.intents[intent.first] = intent
        self._bytes += intent.size
        for part in intent.parts:
            if not part.status:
                source.outstanding[part.shard] += 1
                self._lane(intent.shard, part.shard).add(part)
        return source

    def _attach(self, source: _Source, queue: Any) -> None:
        source.queue = queue
        source.cursor = Cursor(self._hub, queue.log, partial(self._loaded, source.shard))

    def _drop(self, log_id: bytes, source: _Source) -> None:
        """Nothing of it goes anywhere."""
        for intent in source.intents.values():
            self._store_of(source.shard).fold(source.shard, intent.key(), DELETE)
        self._forget(log_id, source)

    def _forget(self, log_id: bytes, source: _Source) -> None:
        """It is a source no more."""
        for intent in source.intents.values():
            intent.dropped = True
            self._bytes -= intent.size
        if source.cursor is not None:
            source.cursor.close()
        del self._sources[log_id]

    def _lane(self, source: int, target: int) -> Lane:
        lane = self._lanes.get((source, target))
        if lane is None:
            lane = self._lanes[source, target] = Lane(source, target, sequence_of(self._store_of(source).get(source, sequence_key(target))))
        return lane

    def _loaded(self, shard: int) -> None:
        """Records of a source in that shard are in memory now."""
        for lane in self._lanes.values():
            if lane.source == shard:
                self._make_ready(lane)

    def _make_ready(self, lane: Lane) -> None:
        self._ready[lane] = None
        self._hub.mark_dirty(self)

    def _try_again(self) -> None:
        self._timer = None
        lanes, self._late = self._late, {}
        for lane in lanes:
            self._make_ready(lane)

    def _when_durable(self, shard: int, call: partial[None]) -> None:
        store = self._store_of(shard)
        store.group().calls.append(call)
        store.urgent()
