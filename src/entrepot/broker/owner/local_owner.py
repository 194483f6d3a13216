"""LocalOwner: the owner of the open shards of one store of this process, called directly.

A Lane of its own holds the live logs behind the ids that it was registered for. Neighbouring runs of one lane join one entry as long as it is
the last of each of its logs, so order within a log is that of the calls. Lanes with a queue that may refuse something go through Admission.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from entrepot.broker.calls.lease_calls import EndLeases, Receive, Send
from entrepot.broker.calls.port import ACCEPT, DONE, RELEASE, UNSENT, Ask, Attachment, Publish, fail
from entrepot.broker.calls.questions import Load, Note
from entrepot.broker.logs.growing import Growing
from entrepot.broker.logs.hub import Hub
from entrepot.broker.owner.admission import Admission
from entrepot.broker.owner.levelling import Target, level_lanes
from entrepot.broker.owners import Done, Lane, Owner, Run, Settlement, Stage
from entrepot.broker.queue.away import AwayQueue
from entrepot.broker.queue.queue import Queue
from entrepot.broker.subscription.consumer import Consumer
from entrepot.broker.timed.sending import Sending
from entrepot.broker.timed.timed_queue import TimedQueue
from entrepot.broker.topic.partition import Partition
from entrepot.model.entry import HAS_EXPIRY, TRANSIENT, Entry, make_entry
from entrepot.model.errors import NotDone, Reason, Refused, Unavailable
from entrepot.model.names import vhost_of
from entrepot.store.interface import Log, Store

_DONE, _ACCEPT, _RELEASE, _UNSENT = DONE, ACCEPT, RELEASE, UNSENT
_HAS_EXPIRY, _TRANSIENT = HAS_EXPIRY, TRANSIENT
_GROWN_PREFIX = 600  # octets: of two short strings, and what stands before


class LocalLane(Lane):
    """`simple`: no target refuses anything, counts what it holds, or sorts it. `levels`: where all that the one target does is to sort."""

    __slots__ = ("address", "codec", "entry", "levels", "logs", "prefix", "queues", "simple", "targets")

    def __init__(self, owner: Owner, address: bytes, targets: list[Target]) -> None:
        self.owner = owner
        self.address = address
        self.targets = targets
        self.logs: list[Log] = []
        self.queues: list[Queue] = []
        self.simple = True
        self.codec = 0
        self.prefix = b""
        self.entry: Entry | None = None  # that may still grow
        self._aim(targets)
        self.levels = None if self.simple else level_lanes(targets, partial(LocalLane, owner, address))

    def _aim(self, targets: list[Target]) -> None:
        for target in targets:  # there may be tens of thousands
            if isinstance(target, Queue):
                queue = target
                self.logs.append(queue.log)
                self.queues.append(queue)
                if queue.choosy:
                    self.simple = False
            else:
                self.logs.append(target.log)

    def let_go(self) -> None:
        """See Growing."""
        self.entry = None


class TimedLane(Lane):
    """Of one queue whose leases are timed."""

    __slots__ = ("sending", "timed")

    def __init__(self, owner: Owner, timed: TimedQueue) -> None:
        self.owner = owner
        self.timed = timed
        self.sending: Sending = timed.sending


class LocalOwner(Owner):
    """Over one store; its volatile logs, too, are in shards that never move."""

    __slots__ = ("admission", "answering", "followers", "growing", "hub", "sealed", "seals", "store", "unused")

    def __init__(self, hub: Hub, store: Store) -> None:
        self.hub = hub
        self.store = store
        self.growing = Growing(store)
        self.admission = Admission(hub, store, self.growing)
        self.unused: Any = None  # the UnusedQueues; the broker sets it
        self.answering: Any = None  # the Answering; it sets that, too
        self.seals: Any = None  # the Seals; and these
        self.sealed = 0  # of how many logs
        self.followers: list[Callable[[], None]] = []  # who keeps lanes for another process, and is told when something ends

    # ---- what fronts ask

    def lane(self, address: bytes, log_ids: list[bytes]) -> Lane:
        """See Owner."""
        targets = [self.target(log_id) for log_id in log_ids]
        lane = LocalLane(self, address, targets)
        if self.sealed:
            self.seals.check(lane.logs)
        return lane

    def stage(self, lane: Lane, call: Publish) -> bool:
        """See Owner."""
        local = local_lane(lane)
        if self.sealed:
            self.seals.check(local.logs)
        if call.count == 1 and local.levels is not None:
            local = local_lane(local.levels.of(self.hub.codec(call.codec), call))
        elif not local.simple:
            nacked: list[int] = []
            prefix = self.hub.codec(call.codec).prefix(local.address)
            staged = self.admission.stage(call, prefix, local.targets, call.data, call.count, range(call.count), nacked)
            self.store.urgent()
            return self._answer(call, staged, nacked)
        if local.codec != call.codec:
            local.codec = call.codec
            local.prefix = self.hub.codec(call.codec).prefix(local.address)
            local.entry = None
        if call.flags & _HAS_EXPIRY:
            for queue in local.queues:
                queue.note_expiry()
        entry = local.entry
        if entry is None or (entry.flags ^ call.flags) & _TRANSIENT or not self.store.extend(local.logs, entry, call.data, call.count):
            entry = make_entry(call.codec, call.codec_version, call.flags, local.prefix, call.data, call.count)
            self.store.append(local.logs, entry)
            if len(local.prefix) <= _GROWN_PREFIX:  # of a long address each Publish is an entry, for its readers may say it with each record
                self.growing.note(local)
                local.entry = entry
        else:
            entry.flags |= call.flags
        self.store.urgent()
        if not call.confirm:
            call.outcome = _DONE
            return True
        self.store.group().calls.append(call)
        return False

    def stage_runs(self, address: bytes, runs: list[Run], call: Publish) -> bool:
        """See Owner."""
        known = [[self.target(log_id) for log_id in run[0]] for run in runs]  # all of them, before the first is staged
        if self.sealed:
            self.seals.check([target.log for targets in known for target in targets])
        codec = self.hub.codec(call.codec)
        plain: bytes = codec.prefix(address)
        nacked: list[int] = []
        staged = False
        whole = self.store.whole
        try:
            for targets, run in zip(known, runs, strict=True):
                _, hidden, data, count, indices = run
                simple = True
                for target in targets:
                    if isinstance(target, Queue):
                        queue = target
                        if queue.choosy or call.flags & _HAS_EXPIRY:
                            simple = False
                            break
                prefix = codec.hiding_prefix(address, hidden) if hidden else plain
                if simple:
                    self.store.append([target.log for target in targets], make_entry(call.codec, call.codec_version, call.flags, prefix, data, count))
                    staged = True
                elif self.admission.stage(call, prefix, targets, data, count, indices, nacked):
                    staged = True
                self.store.whole = whole or staged  # what has begun is not refused
        finally:
            self.store.whole = whole
        if staged:
            self.store.urgent()
        return self._answer(call, staged, nacked)

    # ---- consuming

    def consume(self, consumer: Consumer, log_ids: list[bytes], start: Any, done: Callable[[NotDone | None], None]) -> None:
        """See Owner."""
        try:
            self._consume(consumer, [self.target(log_id) for log_id in log_ids], start)
        except NotDone as error:
            done(error)
        else:
            done(None)

    def _consume(self, consumer: Consumer, targets: list[Any], start: Any) -> None:
        self.seals.check([target.log for target in targets])
        target = targets[0]
        if isinstance(target, Queue):
            shared = target.consumers or target.single_active
            if (target.consumers and target.consumers[0].exclusive) or (consumer.exclusive and shared):  # who is exclusive is alone
                raise Refused(Reason.NOT_PERMITTED, f"queue '{target.name}' in vhost '{vhost_of(target.definition.namespace)}' in exclusive use")
            self.unused.used(target)
            consumer.reads = target
            target.add_consumer(consumer)
            return
        topic = target.topic
        consumer.reads = topic
        topic.add_consumer(consumer, targets, start)

    def settle(self, consumer: Consumer, first: int, count: int, disposition: int) -> None:
        """See Owner."""
        reads = consumer.reads
        if not isinstance(reads, Queue):
            if isinstance(reads, AwayQueue):
                reads.settle(consumer, first, count, disposition)
            else:
                reads.settle(consumer, first, count)
            return
        queue = reads
        if queue.ended:
            consumer.freed(count)
        elif disposition == _ACCEPT:
            queue.settle(consumer, first, count)
        elif disposition == _RELEASE:
            queue.release(consumer, first, count, True)
        elif disposition == _UNSENT:
            queue.release(consumer, first, count, False)
        else:
            queue.bury(consumer, first, count, "rejected")

    def credit(self, consumer: Consumer) -> None:
        """See Owner."""
        self.hub.mark_dirty(consumer.reads)

    def lend(self, consumer: Consumer, count: int) -> None:
        """See Owner."""
        consumer.borrowed(count)
        self.hub.mark_dirty(consumer.reads)

    def take_back(self, consumer: Consumer, done: Callable[[int], None]) -> None:
        """See Owner."""
        consumer.lent = True
        if consumer.reads is not None:
            self.hub.mark_dirty(consumer.reads)
        self.hub.scheduler.call_soon(self._take_back, consumer, done)

    def _take_back(self, consumer: Consumer, done: Callable[[int], None]) -> None:
        """Behind the dispatch that was asked for: else two that lend each other the same credit would both have had it for nothing."""
        reads = consumer.reads
        if isinstance(reads, Queue) and consumer.credit and consumer.active and not reads.ended and reads.is_waiting():
            # The disk is asked for what this credit is for.
            reads.wait(partial(self.hub.scheduler.call_soon, self._take_back, consumer, done))
            return
        count = consumer.credit
        consumer.returned(count)
        done(count)

    def limit(self, consumer: Consumer, together: int) -> None:
        """See Owner."""
        consumer.returned(consumer.credit)
        consumer.lent = consumer.asked = False
        consumer.pool.limit = together
        self.hub.mark_dirty(consumer.reads)

    def cancel(self, consumer: Consumer) -> None:
        """See Owner."""
        consumer.reads.remove_consumer(consumer)

    def end(self, consumer: Consumer) -> None:
        """See Owner."""
        reads = consumer.reads
        was_active, getter = consumer.active, consumer.token is None
        consumer.active = False
        if reads is None:
            return  # a getter that could get nothing
        if isinstance(reads, Queue) and reads.ended:
            return
        reads.release_all(consumer)
        if was_active and not getter:
            reads.remove_consumer(consumer)

    def get(self, log_id: bytes, getter: Consumer, call: Ask) -> None:
        """See Owner."""
        try:
            queue = self.queue(log_id)
        except NotDone as error:
            fail(call, error)
            return
        self.unused.touch(queue)
        getter.reads = queue
        self._take_one(call, queue, getter)

    def purge(self, log_id: bytes, call: Ask) -> None:
        """See Owner."""
        try:
            self._purge(call, self.queue(log_id))
        except NotDone as error:
            fail(call, error)

    def count(self, log_ids: list[bytes], done: Callable[[NotDone | None, int, int], None]) -> None:
        """See Owner."""
        ready = consumers = 0
        try:
            targets = [self.target(log_id) for log_id in log_ids]
        except NotDone as error:
            done(error, 0, 0)
            return
        for target in targets:
            if isinstance(target, Queue):
                self.unused.touch(target)
                ready += target.depth()
                consumers += len(target.consumers)
            else:
                topic: Any = target.topic
                ready += target.log.next_offset - target.log.first_offset
                consumers = topic.consumer_count()
        done(None, ready, consumers)

    def _take_one(self, call: Ask, queue: Queue, getter: Consumer) -> None:
        if not getter.active or call.attachment.closed:
            return  # nobody is there to hold it
        if not queue.ended and not queue.drop_overflow():
            queue.wait(partial(self._take_one, call, queue, getter))
            return
        while not queue.ended and queue.ready() > 0 and queue.expire_head():
            pass
        if queue.ended:
            if isinstance(queue.gone, Unavailable):
                fail(call, queue.gone.again())
            else:
                self._complete(call, None)
            return
        delivery = queue.take_one(getter) if queue.ready() > 0 else None
        if delivery is not None:
            self._complete(call, (delivery, queue.ready()))
        elif queue.is_waiting() or queue.has_staged():
            # What its own channel published before must be found, so this waits until it may be seen.
            queue.wait(partial(self._take_one, call, queue, getter))
        else:
            self._complete(call, None)

    def _purge(self, call: Ask, queue: Queue) -> None:
        if queue.has_staged() and not queue.ended:
            queue.wait(partial(self._purge, call, queue))
        elif isinstance(queue.gone, Unavailable):
            fail(call, queue.gone.again())
        elif queue.ended:
            self._complete(call, 0)
        else:
            call.result = queue.purge()
            if queue.log.volatile:
                self._complete(call, call.result)
            else:
                self.store.urgent()
                self.store.group().calls.append(call)

    @staticmethod
    def _complete(call: Ask, result: Any) -> None:
        call.result = result
        call.outcome = _DONE
        call.attachment.sink.completed(call)

    # ---- leases that are timed

    def timed(self, log_id: bytes) -> Lane:
        """See Owner."""
        queue = self.queue(log_id)
        if queue.timed is None:
            raise Unavailable(f"queue '{queue.name}' has no timed leases here yet")
        return TimedLane(self, queue.timed)

    def holds(self, lane: Lane) -> bool:
        """See Owner."""
        return not timed_lane(lane).timed.ended

    def send(self, lane: Lane, call: Send) -> bool:
        """See Owner."""
        local = timed_lane(lane)
        if self.sealed:
            self.seals.check([local.timed.log])
        if local.timed.ended or local.timed.policy_version != call.policy_version:
            raise _why_not(local.timed)
        return local.sending.send(call)

    def receive(self, lane: Lane, call: Receive) -> None:
        """See Owner."""
        timed = timed_lane(lane).timed
        if timed.ended or timed.policy_version != call.policy_version:
            raise _why_not(timed)
        timed.receive(call)

    def end_leases(self, lane: Lane, call: EndLeases) -> None:
        """See Owner."""
        timed = timed_lane(lane).timed
        if timed.ended or timed.policy_version != call.policy_version:
            raise _why_not(timed)
        timed.end_leases(call)

    def withdraw_all(self, lane: Lane, attachment: Attachment) -> None:
        """See Owner."""
        timed_lane(lane).timed.withdraw_all(attachment)

    # ---- whatever is asked seldom

    def reply(self, namespace: str, name: str, codec: int, version: int, data: bytes, position: int, count: int) -> bool:
        """See Owner."""
        self.answering.replies.take(namespace, name, codec, version, data, position, count)
        return True

    def together(self, stages: list[Stage], settlements: list[Settlement], loads: list[Load], done: Done, note: Note | None = None) -> None:
        """See Owner."""
        self.answering.together(stages, settlements, loads, done, note)

    def ask(self, question: Any, done: Done) -> None:
        """See Owner."""
        self.answering.ask(question, done)

    # ---- for its own process

    def let_go(self) -> None:
        """Keep no entry that may still grow, and no lane."""
        self.growing.let_go()
        self.ended()

    def ended(self) -> None:
        """A queue or partition has ended here: deleted, or its shard closes."""
        for told in self.followers:
            told()

    def shards_of(self, log_ids: list[bytes]) -> list[int]:
        """In which shards logs are that are open here. Unavailable: one is not."""
        return [self.target(log_id).log.shard for log_id in log_ids]

    def left_of(self, log_ids: list[bytes], shards: list[int]) -> list[bytes]:
        """Those of logs of these shards that are not deleted; what is not open here is kept, for somebody else may have it."""
        return [log_id for log_id, shard in zip(log_ids, shards, strict=True) if shard in self.store.closed or not self._is_deleted(log_id)]

    def _is_deleted(self, log_id: bytes) -> bool:
        log = self.store.log(log_id)
        return log is None or (isinstance(log.owner, Partition) and log.owner.rules.closed)

    def why_gone(self, lane: Lane) -> NotDone:
        """Why a lane of timed() that does not hold does not."""
        return _why_not(timed_lane(lane).timed)

    def target(self, log_id: bytes) -> Target:
        """The live queue or partition over a log. Unavailable: it is not open here."""
        log = self.store.log(log_id)
        target = None if log is None else log.owner
        if isinstance(target, Queue) or (isinstance(target, Partition) and not target.rules.closed):
            return target
        raise Unavailable("what it leads to is on its way to another owner")

    def queue(self, log_id: bytes) -> Queue:
        """The live queue over a log. Unavailable: none is open here."""
        queue = self.target(log_id)
        if not isinstance(queue, Queue):
            raise Unavailable("what it leads to is no queue here")
        return queue

    def _answer(self, call: Publish, staged: bool, nacked: list[int]) -> bool:
        call.nacked = sorted(nacked) or None
        if not staged or not call.confirm:
            call.outcome = _DONE
            return True
        self.store.group().calls.append(call)
        return False


def local_lane(lane: Lane) -> LocalLane:
    """A lane that a LocalOwner has made."""
    assert isinstance(lane, LocalLane)
    return lane


def timed_lane(lane: Lane) -> TimedLane:
    """One of a queue whose leases are timed."""
    assert isinstance(lane, TimedLane)
    return lane


def _why_not(timed: TimedQueue) -> NotDone:
    """Of one that has ended, or has another policy than the call was checked against."""
    gone: NotDone | None = timed.queue.gone
    return timed.policy_changed() if gone is None else gone.again()
