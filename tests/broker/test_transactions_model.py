"""Interleaved transactions over two partitions and a queue against a model, through kills and power failures, markers lost or not.

After every crash the state that came back must be the model's after some step that was not durable yet at worst; what readers were
shown must be committed, and durably so. `pytest -m long` runs many more.
"""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transaction_bench import LOGS, QUEUE, Bench

from both_modes import examples
from entrepot.broker.transactions.coordinator import Phase
from entrepot.broker.transactions.log_transactions import NOT_ENDED

MARKER = b""


class Model:
    """What was asked for, without any of the how."""

    def __init__(self):
        self.logs = [[] for _ in LOGS]  # (transaction id or None, record or MARKER) by offset
        self.phases = {}  # of those that have not ended
        self.members = {}  # transaction id -> numbers of logs that have to end it
        self.outcome = {}  # transaction id -> committed
        self.settled = set()  # offsets of the queue's log
        self.pending = {}  # offset -> transaction id

    def end(self, number, id_):
        if any(owner == id_ and record != MARKER for owner, record in self.logs[number]) and (id_, MARKER) not in self.logs[number]:
            self.logs[number].append((id_, MARKER))
        if number == QUEUE:
            for offset in [offset for offset, owner in self.pending.items() if owner == id_]:
                del self.pending[offset]
                if self.outcome[id_]:
                    self.settled.add(offset)

    def visible(self, number):
        """(offset, record) of what may be read."""
        found = []
        for offset, (owner, record) in enumerate(self.logs[number]):
            if owner is not None and (owner, MARKER) not in self.logs[number]:
                break
            if record != MARKER and (owner is None or self.outcome[owner]):
                found.append((offset, record))
        return found

    def is_open_in_some_log(self, id_):
        return any(id_ in self.open_in(number) for number in range(len(self.logs))) or id_ in self.pending.values()

    def open_in(self, number):
        log = self.logs[number]
        return sorted({id_ for id_, _ in log if id_ is not None and (id_, MARKER) not in log})

    def fits(self, ends, open_, pending, phases, gone):
        """Whether that is what a store brought back; markers and what was aborted may be gone from the queue, or not yet."""
        if ends != [len(log) for log in self.logs] or open_ != [self.open_in(number) for number in range(len(self.logs))]:
            return False
        skipped = {offset for offset, (id_, record) in enumerate(self.logs[QUEUE]) if record == MARKER or (id_ is not None and not self.outcome.get(id_, True))}
        return pending == self.pending and phases == self.phases and gone - skipped == self.settled - skipped

    def deliverable(self):
        return [(offset, record) for offset, record in self.visible(QUEUE) if offset not in self.settled and offset not in self.pending]


class Run:
    def __init__(self, seed):
        self.bench = Bench(seed, self.shown)
        self.model = Model()
        self.serial = 0
        self.owners = {}  # record -> transaction id
        self.ended = {}  # (log, transaction id) -> the group with its end
        self.history = [(None, Model())]

    def shown(self, record):
        """A consumer gets a record: it belongs to no transaction, or to one whose commit is durable."""
        owner = self.owners[record]
        if owner is not None:
            assert self.model.outcome[owner]
            assert any(id_ == owner and (group is None or group.durable) for (_, id_), group in self.ended.items())

    def done(self):
        self.history.append((self.bench.store.group(), copy.deepcopy(self.model)))

    def pick(self, which, phases=(Phase.OPEN,)):
        ids = sorted(id_ for id_, phase in self.model.phases.items() if phase in phases)
        return ids[which % len(ids)] if ids else None

    def transaction(self, id_):
        return self.bench.coordinator.transactions[id_]

    # ---- steps

    def begin(self, *_):
        if len(self.model.phases) < 4:
            id_ = self.bench.coordinator.begin(b"").id
            assert id_ not in self.model.outcome
            self.model.phases[id_] = Phase.OPEN
            self.model.members[id_] = set()
            self.done()

    def publish(self, which, logs, count):
        id_ = self.pick(which)
        self._publish(id_, logs, count)

    def publish_plain(self, _, logs, count):
        self._publish(None, logs, count)

    def _publish(self, id_, logs, count):
        records = []
        for _ in range(count):
            self.serial += 1
            records.append(b"%d" % self.serial)
            self.owners[records[-1]] = id_
        self.bench.publish(logs, *records, transaction=None if id_ is None else self.transaction(id_))
        for number in logs:
            self.model.logs[number] += [(id_, record) for record in records]
            if id_ is not None:
                self.model.members[id_].add(number)
        self.done()

    def settle(self, which, logs, count):
        """The consumer settles of what it holds, in a transaction or not."""
        held = self.bench.queue.subscription.leased_by(self.bench.consumer.id)
        if not held:
            return
        first, end = held[which % len(held)]
        count = min(count, end - first)
        id_ = self.pick(which) if 0 in logs else None
        if id_ is None:
            self.bench.queue.settle(self.bench.consumer, first, count)
            self.model.settled.update(range(first, first + count))
        else:
            assert self.bench.settle_in(self.transaction(id_), first, count) == count
            self.model.pending.update(dict.fromkeys(range(first, first + count), id_))
            self.model.members[id_].add(QUEUE)
        self.done()

    def prepare(self, which, *_):
        id_ = self.pick(which)
        if id_ is not None:
            self.bench.coordinator.prepare(self.transaction(id_))
            self.model.phases[id_] = Phase.PREPARED
            self.done()

    def decide(self, which, logs, _):
        id_ = self.pick(which, (Phase.OPEN, Phase.PREPARED))
        if id_ is not None:
            committed = 1 not in logs
            self.bench.coordinator.decide(self.transaction(id_), committed)
            self.model.outcome[id_] = committed
            self.model.phases[id_] = Phase.COMMITTING if committed else Phase.ABORTING
            self.forget_if_over(id_)
            self.done()

    def tell(self, which, logs, count):
        """Some participants end it; the coordinator may not hear of the last one."""
        id_ = self.pick(which, (Phase.COMMITTING, Phase.ABORTING))
        if id_ is None:
            return
        transaction = self.transaction(id_)
        for participant in list(transaction.waiting)[:count]:
            number = LOGS.index(participant.id)
            self.bench.transactions.end([participant.id], id_, transaction.is_committed)
            self.model.end(number, id_)
            self.ended.setdefault((number, id_), self.bench.store.group())  # told again, it has ended already
            if 2 in logs:
                self.bench.coordinator.participant_ended(transaction, participant)
        self.forget_if_over(id_)
        self.done()

    def finish(self, which, logs, _):
        """Decided and told everybody in one commit."""
        id_ = self.pick(which, (Phase.OPEN, Phase.PREPARED))
        if id_ is not None:
            committed = 1 not in logs
            self.model.outcome[id_] = committed
            self.bench.end(self.transaction(id_), committed)
            for number in self.model.members[id_]:
                self.model.end(number, id_)
                self.ended[number, id_] = self.bench.store.group()
            del self.model.phases[id_]
            self.done()

    def forget_if_over(self, id_):
        if id_ not in self.bench.coordinator.transactions:
            assert not self.model.is_open_in_some_log(id_)
            del self.model.phases[id_]

    def wait(self, which, *_):
        self.bench.settle_down(which / 2000)

    def sort(self, *_):
        self.bench.settle_down(0.5)

    def kill(self, *_):
        self.down(False)

    def power(self, *_):
        self.down(True)

    def down(self, power):
        durable = max(number for number, (group, _) in enumerate(self.history) if group is None or group.durable)
        self.bench.down(power)
        self.bench.open()
        possible = [after for _, after in self.history[durable:]]
        came_back = self.came_back()
        fitting = [after for after in possible if after.fits(*came_back)]
        assert fitting, (came_back, [vars(after) for after in possible])
        self.model = copy.deepcopy(fitting[0])
        self.ended = {(number, id_): None for number, log in enumerate(self.model.logs) for id_, record in log if record == MARKER}
        self.history = [(None, copy.deepcopy(self.model))]

    def came_back(self):
        """What the store brought back, in the model's words."""
        open_ = []
        pending = {}
        for log in self.bench.logs:
            found = self.bench.hub.transactions.get(log.id)
            open_.append([] if found is None else sorted(id_ for id_, one in found.open.items() if one.marker == NOT_ENDED))
            if found is not None:
                pending.update({offset: id_ for id_, ranges in found.pending.items() for first, end in ranges for offset in range(first, end)})
        queue = self.bench.logs[QUEUE]
        gone = set(range(queue.first_offset)) | {offset for first, end in queue.holes() for offset in range(first, end)}
        phases = {id_: found.phase for id_, found in self.bench.coordinator.transactions.items()}
        return [log.next_offset for log in self.bench.logs], open_, pending, phases, gone

    # ---- in the end

    def check(self):
        self.bench.settle_down()
        for number in range(QUEUE):
            assert self.bench.read(number) == self.model.visible(number)
        held = {offset for first, end in self.bench.queue.subscription.leased_by(self.bench.consumer.id) for offset in range(first, end)}
        assert sorted(held) == [offset for offset, _ in self.model.deliverable()]
        latest = dict(self.bench.delivered)
        assert [(offset, latest[offset]) for offset in sorted(held)] == self.model.deliverable()


NAMES = ["begin", "publish", "publish", "publish_plain", "settle", "prepare", "decide", "tell", "tell", "finish", "wait", "wait", "sort", "kill", "power"]
some_logs = st.lists(st.integers(0, 2), min_size=1, max_size=3, unique=True)
step = st.tuples(st.sampled_from(NAMES), st.integers(0, 7), some_logs, st.integers(1, 3))


def work(seed, steps):
    run = Run(seed)
    for name, *words in steps:
        getattr(run, name)(*words)
    run.check()
    run.power()
    run.check()


@settings(max_examples=examples(40), deadline=None)  # short runs reach little: many steps, and few of them
@given(seed=st.integers(0, 10_000), steps=st.lists(step, min_size=50, max_size=100))
def test_transactions_keep_what_they_promise(seed, steps):
    work(seed, steps)


@pytest.mark.long
@settings(max_examples=2000, deadline=None)
@given(seed=st.integers(0, 10_000), steps=st.lists(step, min_size=50, max_size=200))
def test_transactions_keep_what_they_promise_for_long(seed, steps):
    work(seed, steps)
