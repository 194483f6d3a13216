"""Wandering shards: under traffic of AMQP, Kafka and SQS, with crashes between, random shards close and open again, and every promise still holds.

A sixth of the seeds each is AMQP's, Kafka's, SQS's, AMQP's transactions', of what is made and deleted, and of topics whose subjects lead to
queues; a third as many again are of what dies and goes on to queues in other shards. ENTREPOT_WANDERING_SEEDS=n runs that many; ENTREPOT_SEED=n
only that one. The long version runs 20,000.
"""

import os

import pytest

from entrepot.broker.calls.port import ACCEPT, RELEASE, make_settle
from entrepot.broker.calls.requests import Release
from entrepot.broker.catalogue.definitions import QueueDefinition
from entrepot.broker.front.inbox import Inbox
from entrepot.broker.front.subjects import Subjects
from entrepot.broker.groups.offsets import GroupOffsets
from entrepot.broker.operations.together import Together, _Commit
from entrepot.broker.operations.topic_operations import TopicOperations
from entrepot.broker.outbox.outbox import Outbox
from entrepot.broker.outbox.taken import Taken
from entrepot.broker.owner import together as owner_together
from entrepot.broker.queue.away import AwayQueue
from entrepot.broker.queue.queue import Queue
from entrepot.broker.shard_moves import ShardMoves
from entrepot.broker.state import DELETE
from entrepot.broker.subscription.consumer import BROKER_ID
from entrepot.broker.timed.moves import MoveTasks
from entrepot.protocols.amqp091 import handlers
from entrepot.simulation.broker_run import BrokerRun
from entrepot.simulation.kafka_run import KafkaRun
from entrepot.simulation.letters_run import LettersRun
from entrepot.simulation.making_run import MakingRun
from entrepot.simulation.store_model import Violation
from entrepot.simulation.subject_run import SubjectRun
from entrepot.simulation.timed_run import TimedRun
from entrepot.simulation.transacted_run import TransactedRun
from entrepot.store.local import store

COMPILED = str(store.__file__).endswith(".so")
SEEDS = int(os.environ.get("ENTREPOT_WANDERING_SEEDS", "200" if COMPILED else "12"))
ONLY = os.environ.get("ENTREPOT_SEED")
RUNS = (BrokerRun, KafkaRun, TimedRun, TransactedRun, MakingRun, SubjectRun)


def wander(seed, mutate=lambda _run: None):
    """One run in which shards do wander; how often one closed."""
    run = RUNS[seed % len(RUNS)](seed)
    run.wandering.rate = 1.0
    mutate(run)
    return closings_of(run)


def closings_of(run):
    seed = run.loop.seed
    try:
        run.run()
    except BaseException as error:
        error.add_note(f"ENTREPOT_SEED={seed} repeats it")
        raise
    return run.wandering.closed_count


def run_seeds(count):
    seeds = range(count) if ONLY is None else [int(ONLY)]
    assert sum(map(wander, seeds)) > 2 * len(seeds)


def test_promises_hold():
    run_seeds(SEEDS)


@pytest.mark.long
def test_promises_hold_for_twenty_thousand_seeds():
    run_seeds(20_000)


def run_kinds(kinds, seeds):
    for seed in range(seeds):
        if seed % len(RUNS) in kinds:
            wander(seed)


def caught(message=None, kinds=(0, 1, 2), seeds=600):
    """Some of the runs notice it."""
    with pytest.raises(Violation, match=message):
        run_kinds(kinds, seeds)


# ---- stale references, put back


@pytest.mark.once
def test_doors_and_caches_that_do_not_forget_what_they_found(monkeypatch):
    monkeypatch.setattr(ShardMoves, "forget_found", lambda _: None)
    caught("is still known to")


@pytest.mark.once
def test_the_tasks_of_a_queue_that_left(monkeypatch):
    monkeypatch.setattr(MoveTasks, "leave", lambda *_: None)
    kept = []
    opened = MoveTasks.open
    monkeypatch.setattr(MoveTasks, "open", lambda self, timed: (kept.append(timed), opened(self, timed))[1])
    caught("TimedQueue .* is still known to", kinds=(2,))


@pytest.mark.once
def test_a_queue_that_somebody_keeps(monkeypatch):
    left = AwayQueue.leave
    kept = []

    def leave(self, queue, holders):
        left(self, queue, holders)
        kept.append(queue)

    monkeypatch.setattr(AwayQueue, "leave", leave)
    caught("Queue .* is still known to", kinds=(0,))


# ---- what must not be lost on the way


@pytest.mark.once
def test_what_a_topics_subject_owes_to_a_queue_that_is_away(monkeypatch):
    monkeypatch.setattr(Subjects, "_fall_behind", lambda *_: _Nobody())
    caught("are not there", kinds=(5,))


class _Nobody:
    def appended(self, *_):
        """It is forgotten."""


@pytest.mark.once
def test_what_a_partition_owed_when_it_left(monkeypatch):
    monkeypatch.setattr(Subjects, "load", lambda *_: None)
    caught("are not there", kinds=(5,))


@pytest.mark.once
def test_settlements_that_came_while_the_queue_was_away(monkeypatch):
    monkeypatch.setattr(AwayQueue, "settle", lambda *_: None)
    caught("are held, though all were accepted", kinds=(0,))


@pytest.mark.once
def test_what_consumers_held_when_the_queue_left(monkeypatch):
    left = AwayQueue.leave

    def leave(self, queue, holders):
        left(self, queue, holders)
        for consumer, first, end in self._held:
            consumer.freed(end - first)
        self._held = []

    monkeypatch.setattr(AwayQueue, "leave", leave)
    caught(kinds=(0,))


@pytest.mark.once
def test_transactions_that_keep_a_settlement_for_a_queue_that_is_away(monkeypatch):
    def share_out(self):
        for settlement in self._request.settlements:
            consumer = self._door.consumers.get(settlement.consumer_id)
            if consumer is not None and isinstance(consumer.source, QueueDefinition):
                self._share_of(consumer.owner).settlements.append((consumer, settlement.first, settlement.count, settlement.disposition))
                self._consumers.append(consumer)

    monkeypatch.setattr(_Commit, "_share_out_settlements", share_out)
    monkeypatch.setattr(owner_together, "check_settlements", lambda _: None)
    caught("accepted in a transaction that was done, and delivered again", kinds=(3,))


@pytest.mark.once
def test_leases_of_a_queue_that_is_away_that_are_settled_where_they_are_to_be_released(monkeypatch):
    def release(self, door, call, request):
        for consumer_id, first, count in request.ranges:
            consumer = door.consumers.get(consumer_id)
            disposition = RELEASE if consumer is not None and isinstance(consumer.reads, Queue) else ACCEPT
            door.submit(make_settle(call.stream, consumer_id, first, count, disposition))
        return None, None

    monkeypatch.setattr(Together, "_release", release)
    caught("are lost", kinds=(3,))


@pytest.mark.once
def test_recover_that_is_answered_when_all_is_given_back(monkeypatch):
    """Not before: then it may be delivered before the answer, and the client takes it for given back."""

    def recover(session, channel, frame):
        ranges = [(span.consumer_id, span.offset, span.count) for span in channel.settle_through(0)]
        handlers.ask(session, channel, frame, Release(ranges), lambda *_: handlers.send(session, channel.number, "basic.recover_ok"))

    on_control = handlers.on_control
    monkeypatch.setattr(handlers, "on_control", lambda session, event, table: on_control(session, event, table | {"basic.recover": recover}))
    caught("is delivered again before the client knows", kinds=(3,))


# ---- what is half done


@pytest.mark.once
def test_offsets_that_are_told_on_though_their_shard_has_closed(monkeypatch):
    closed = GroupOffsets.close

    def close(self):
        closed(self)
        self.closed = False

    monkeypatch.setattr(GroupOffsets, "close", close)
    caught("group. is 0, and must be one of", kinds=(4,))


def test_topics_that_are_made_in_closed_shards_are_whole_when_they_open(monkeypatch):
    """Nobody may ask for that here, but others may have made them."""
    monkeypatch.setattr(TopicOperations, "_check_open", lambda *_: None)
    run_kinds((4,), 100)


# ---- dead letters and moves whose targets are away


def run_letters(seeds):
    """Runs with dead-letter targets that wander; how many intents they made."""
    intents = 0
    for seed in seeds if ONLY is None else [int(ONLY)]:
        run = LettersRun(seed)
        run.wandering.rate = 2.0
        closings_of(run)
        intents += run.apart
    return intents


def test_what_dies_arrives_once_and_in_order():
    seeds = range(SEEDS // 3)
    assert run_letters(seeds) > len(seeds)


@pytest.mark.long
def test_what_dies_arrives_once_and_in_order_for_seven_thousand_seeds():
    run_letters(range(7_000))


def letters_caught(message):
    """Some run ends with it; others may stumble over what was broken before they come so far."""
    for seed in range(90):
        try:
            run_letters([seed])
        except Violation as violation:
            if message in str(violation):
                return
        except KeyError:
            pass
    pytest.fail(f"no run notices that anything {message}")


@pytest.mark.once
def test_a_source_that_settles_before_its_target(monkeypatch):
    durable = Outbox._durable

    def mutated(self, intent):
        durable(self, intent)
        source = self._sources.get(intent.log_id)
        if source is not None and not intent.dropped:
            source.queue.subscription.settle(BROKER_ID, intent.first, intent.count)
            source.queue.discard_settled()
            self._store_of(intent.shard).fold(intent.shard, intent.key(), DELETE)

    monkeypatch.setattr(Outbox, "_durable", mutated)
    letters_caught("it is lost")


@pytest.mark.once
def test_a_target_that_forgets_what_it_has_taken(monkeypatch):
    def forgetful(_self, handover):
        taken = Taken()
        taken.last = handover.sequence - 1
        return taken

    monkeypatch.setattr(Inbox, "_taken", forgetful)
    letters_caught("is 2 times in")


@pytest.mark.once
def test_intents_that_are_loaded_after_their_records_were_given_to_somebody(monkeypatch):
    opened = Outbox.open

    def late(self, shards):
        shards = list(shards)
        self._hub.scheduler.call_later(0.01, lambda: opened(self, [shard for shard in shards if shard not in self._store_of(shard).closed]))

    monkeypatch.setattr(Outbox, "open", late)
    letters_caught("is 2 times in")


@pytest.mark.once
def test_letters_that_overtake_what_is_on_its_way(monkeypatch):
    monkeypatch.setattr(Outbox, "is_outstanding", lambda *_: False)
    letters_caught("is not in order")
