"""MakingRun: queues, topics and groups' offsets are made, enlarged, asked for and deleted while shards close and open, and machines fail.

What must hold: what was said to be done is so, also after a crash; what was said to be unavailable has changed nothing; what nobody knows is one or the
other, as a whole. Everything that a group has committed is told, or nothing.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from entrepot.broker.calls.group_requests import CommitOffsets, CommittedOffset, DeleteGroup, DeleteOffsets, FetchOffsets
from entrepot.broker.calls.port import DONE, PENDING, REFUSED, UNKNOWN, Ask, Call, Sink, make_ask
from entrepot.broker.calls.queue_requests import CreateTimedQueue, DeleteTimedQueue, TimedPolicy
from entrepot.broker.calls.requests import DeclareQueue, DeleteQueue
from entrepot.broker.calls.topic_requests import CreatePartitions, CreateTopic, DeleteTopic, DescribeTopics, TopicDescription
from entrepot.broker.catalogue.quotas import QuotaLimits
from entrepot.broker.catalogue.shards import CATALOGUE
from entrepot.broker.groups.work import STEPS
from entrepot.model.errors import Reason, Unavailable
from entrepot.model.principal import Principal
from entrepot.protocols.kafka.records import KafkaEntryCodec
from entrepot.simulation.crashing_run import CrashingRun
from entrepot.simulation.store_model import Violation
from entrepot.simulation.store_run import Seams

NAMESPACE = "public/default"
QUEUES = ("queue1", "queue2", "queue3")
TIMED = ("timed1", "timed2")
TOPICS = ("topic1", "topic2", "topic3")
GROUPS = ("group1", "group2")
PARTITIONS_MAX = 5
OFFSETS_OF = "topic0"  # always there: what groups commit is of its partitions
OFFSETS = 700
ACTIONS = 100  # between two crashes
_ABSENT = 0


class MakingRun(CrashingRun):
    """One seed's run. A thing's state is how many partitions it has (a queue: 1, offsets: how many), 0 where it is not there."""

    actions = ACTIONS
    limits = QuotaLimits(10, 100, 100, 100, 2 * OFFSETS, 100)

    def __init__(self, seed: int, seams: Seams | None = None) -> None:
        super().__init__(seed, seams)
        self.codecs.append(KafkaEntryCodec())
        self.may_be: dict[str, set[int]] = {name: {_ABSENT} for name in (*QUEUES, *TIMED, *TOPICS, *GROUPS)}
        self.client: _Client | None = None
        self.group_shards: list[int] = []  # they close amid what is asked, too, as the catalogue's does
        self.outcomes: Counter[int] = Counter()
        self.looks = 0
        self.partial: set[str] = set()  # groups that have any part of their offsets: they were being deleted, over turns of the loop

    # ---- the broker

    def start(self) -> None:
        """See CrashingRun."""
        self.broker = self.recovered()
        shards = self.broker.shards
        # What is not there yet is to be made in a closed shard, too.
        made = {shards.shard("queue", NAMESPACE, name) for name in (*QUEUES, *TIMED)}
        made |= {shards.shard("topic", NAMESPACE, name, number) for name in TOPICS for number in range(PARTITIONS_MAX)}
        self.group_shards = [shards.shard("group", NAMESPACE, name) for name in GROUPS]
        self.wandering.also = sorted({CATALOGUE} | made | set(self.group_shards))
        self.client = _Client(self)
        rate, self.faults.rate = self.faults.rate, 0.0
        call = self.client.ask(CreateTopic(OFFSETS_OF, OFFSETS, {}))
        self.loop.run_until(lambda: call.outcome != PENDING, 60)
        self.faults.rate = rate

    def act(self) -> None:
        """See CrashingRun."""
        client = self.client
        assert client is not None
        if client.is_free():
            if self.chance.random() < 0.3:
                self.busy()
            self._begin(client)
            if self.chance.random() < 0.05:
                self.wandering.close(self.chance.choice([CATALOGUE, *self.group_shards]))
        self.loop.run_for(self.chance.choice((1e-5, 1e-3, 1e-2)))
        self.check_store()

    def drain(self) -> None:
        """See CrashingRun: all is looked at."""
        self.wandering.come_home()
        client = self.client
        assert client is not None
        self.loop.run_until(client.is_free, 60)
        self.loop.run_for(1)
        for name in self.may_be:
            client.look(name)
            self.loop.run_until(client.is_free, 60)
            if len(self.may_be[name]) != 1 and name not in self.partial:
                raise Violation(f"what {name} is, nobody says")
            self.check_store()

    def conclude(self) -> None:
        """See CrashingRun: what there is in memory is what is kept."""
        before = self._there()
        self.loop.run_for(1)
        self.loop.forget_all()
        self.disk.kill()
        self.broker = self.recovered()
        if self._there() != before:
            raise Violation("after a restart there is something else than before")

    def _there(self) -> tuple[Any, ...]:
        space = self.broker.catalogue.namespace(NAMESPACE)
        return set(space.queues), {name: list(topic.partitions) for name, topic in space.topics.items()}, self.broker.catalogue.statistics()

    def _begin(self, client: _Client) -> None:
        chance = self.chance
        name = chance.choice(list(self.may_be))
        what = chance.random()
        if what < 0.3:
            client.look(name)
        elif name in GROUPS:
            client.change_offsets(name)
        elif name in TOPICS:
            client.change_topic(name)
        else:
            client.change_queue(name)

    def becomes(self, name: str, outcome: int, state: int) -> None:
        """Something was to be made so: what it may be now."""
        if outcome == DONE:
            self.may_be[name] = {state}
        elif outcome == UNKNOWN:
            self.may_be[name] = self.may_be[name] | {state}

    def is_so(self, name: str, state: int) -> None:
        """Somebody was told what it is."""
        self.looks += 1
        if name in self.partial:
            self.partial.discard(name)
        elif state not in self.may_be[name]:
            raise Violation(f"{name} is {state}, and must be one of {sorted(self.may_be[name])}")
        self.may_be[name] = {state}

    def busy(self) -> None:
        """Others have work of groups to do, so that what is asked for now begins in a later turn."""
        self.broker.desk.work.run(STEPS for _ in range(self.chance.choice((1, 3))))


class _Client(Sink):
    """One connection, that asks for one thing after the other. What a crash leaves unanswered is unknown."""

    def __init__(self, run: MakingRun) -> None:
        self.run = run
        self._call: Call | None = None
        self._then: Any = None
        self.door: Any = run.broker.attach(self, Principal("me"), NAMESPACE)

    def is_free(self) -> bool:
        """Whether everything is answered."""
        return self._call is None

    def ask(self, request: Any, then: Any = None) -> Ask:
        """then(call) once it has its outcome."""
        call = make_ask(0, request)
        self._call, self._then = call, then
        self.door.submit(call)
        return call

    # ---- what it does

    def change(self, name: str, request: Any, state: int, *, also: Reason | None = None, over_turns: bool = False) -> None:
        """Have something be so; refused with `also` where it is already, or is not there. `over_turns`: a part of it may be done."""
        run = self.run
        was_partial = name in run.partial
        if over_turns:
            run.partial.add(name)
        before = run.may_be[name]
        run.may_be[name] = before | {state}  # as long as there is no answer

        def then(call: Ask) -> None:
            run.may_be[name] = before
            run.becomes(name, call.outcome, state)
            if call.outcome == DONE or (call.outcome != UNKNOWN and not was_partial):
                run.partial.discard(name)
            if call.outcome == DONE and isinstance(request, CommitOffsets) and call.result:
                raise Violation(f"of what {name} commits, {len(call.result)} are refused")
            if call.outcome == REFUSED and getattr(call.error, "reason", None) is not also:
                raise Violation(f"{request} was refused: {call.error}")

        self.ask(request, then)

    def change_queue(self, name: str) -> None:
        """Make, or delete."""
        is_made = self.run.chance.random() < 0.6
        if name in QUEUES:
            self.change(name, DeclareQueue(name, durable=True) if is_made else DeleteQueue(name), int(is_made))
        elif is_made:
            self.change(name, CreateTimedQueue(name, TimedPolicy(), frozenset(), {}, {}), 1)
        else:
            self.change(name, DeleteTimedQueue(name), _ABSENT, also=Reason.NOT_FOUND)

    def change_topic(self, name: str) -> None:
        """Make it, enlarge it, or delete it."""
        chance = self.run.chance
        count = chance.randint(1, PARTITIONS_MAX)
        what = chance.random()
        known = self.run.may_be[name]
        if what < 0.5:
            self.change(name, CreateTopic(name, count, {}), count, also=Reason.EXISTS_DIFFERENT)
        elif what < 0.7 and len(known) == 1 and 0 < max(known) < PARTITIONS_MAX:
            self.change(name, CreatePartitions(name, max(known) + 1), max(known) + 1)
        else:
            self.change(name, DeleteTopic(name), _ABSENT, also=Reason.NOT_FOUND)

    def change_offsets(self, name: str) -> None:
        """Commit very many offsets, or forget them, all at once or some."""
        what = self.run.chance.random()
        if what < 0.5:
            offsets = {(OFFSETS_OF, number): CommittedOffset(number) for number in range(OFFSETS)}
            self.change(name, CommitOffsets(name, -1, "", None, offsets), OFFSETS)
        elif what < 0.7 or self.run.faults.rate > 0:  # which may be late, or lose an answer: a group would be deleted while others do more with it
            self.change(name, DeleteOffsets(name, [(OFFSETS_OF, number) for number in range(OFFSETS)]), _ABSENT, also=Reason.NOT_FOUND)
        else:
            self.change(name, DeleteGroup(name), _ABSENT, also=Reason.NOT_FOUND, over_turns=True)

    def look(self, name: str) -> None:
        """Be told what there is."""
        if name in GROUPS:
            self.ask(FetchOffsets(name, None), lambda call: self._offsets_told(name, call))
        elif name in TOPICS:
            self.ask(DescribeTopics([name]), lambda call: self._topic_told(name, call))
        else:
            self.ask(DeclareQueue(name, passive=True), lambda call: self._queue_told(name, call))

    def _offsets_told(self, name: str, call: Ask) -> None:
        if call.outcome == DONE:
            self.run.is_so(name, sum(committed.offset >= 0 for committed in call.result.values()))

    def _topic_told(self, name: str, call: Ask) -> None:
        if call.outcome != DONE:
            return
        (found,) = call.result
        if isinstance(found, TopicDescription):
            self.run.is_so(name, found.partition_count)
        elif not isinstance(found, Unavailable):
            self.run.is_so(name, _ABSENT)

    def _queue_told(self, name: str, call: Ask) -> None:
        if call.outcome == DONE:
            self.run.is_so(name, 1)
        elif call.outcome == REFUSED:
            self.run.is_so(name, _ABSENT)

    # ---- what it is told

    def completed(self, call: Call) -> None:
        """See Sink."""
        self.run.outcomes[call.outcome] += 1
        self.run.loop.note(type(getattr(call, "request", None)).__name__, call.outcome)
        then, self._then, self._call = self._then, None, None
        if then is not None:
            then(call)

    def throttle(self, blocked: bool, reason: str) -> None:
        """See Sink."""
