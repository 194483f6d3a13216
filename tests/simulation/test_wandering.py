"""Wandering shards: under traffic of AMQP, Kafka and SQS, with crashes between, random shards close and open again, and every promise still holds.

A fifth of the seeds each is AMQP's, Kafka's, SQS's, AMQP's transactions', and of what is made and deleted. ENTREPOT_WANDERING_SEEDS=n runs that many;
ENTREPOT_SEED=n only that one. The long version runs 20,000.
"""

import os

import pytest

from entrepot.broker.calls.port import ACCEPT, RELEASE, make_settle
from entrepot.broker.groups.offsets import GroupOffsets
from entrepot.broker.operations.together import Together
from entrepot.broker.operations.topic_operations import TopicOperations
from entrepot.broker.queue.away import AwayQueue
from entrepot.broker.queue.queue import Queue
from entrepot.broker.shard_moves import ShardMoves
from entrepot.broker.timed.moves import MoveTasks
from entrepot.simulation.broker_run import BrokerRun
from entrepot.simulation.kafka_run import KafkaRun
from entrepot.simulation.making_run import MakingRun
from entrepot.simulation.store_model import Violation
from entrepot.simulation.timed_run import TimedRun
from entrepot.simulation.transacted_run import TransactedRun
from entrepot.store.local import store

COMPILED = str(store.__file__).endswith(".so")
SEEDS = int(os.environ.get("ENTREPOT_WANDERING_SEEDS", "200" if COMPILED else "9"))
ONLY = os.environ.get("ENTREPOT_SEED")
RUNS = (BrokerRun, KafkaRun, TimedRun, TransactedRun, MakingRun)


def wander(seed, mutate=lambda _run: None):
    """One run in which shards do wander; how often one closed."""
    run = RUNS[seed % len(RUNS)](seed)
    run.wandering.rate = 1.0
    mutate(run)
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


def caught(message=None, kinds=(0, 1, 2), seeds=150):
    """Some of the runs notice it."""
    with pytest.raises(Violation, match=message):
        run_kinds(kinds, seeds)


# ---- stale references, put back


def test_doors_and_caches_that_do_not_forget_what_they_found(monkeypatch):
    monkeypatch.setattr(ShardMoves, "_forget_found", lambda _: None)
    caught("is still known to")


def test_the_tasks_of_a_queue_that_left(monkeypatch):
    monkeypatch.setattr(MoveTasks, "leave", lambda *_: None)
    kept = []
    opened = MoveTasks.open
    monkeypatch.setattr(MoveTasks, "open", lambda self, timed: (kept.append(timed), opened(self, timed))[1])
    caught("TimedQueue .* is still known to", kinds=(2,))


def test_a_queue_that_somebody_keeps(monkeypatch):
    left = AwayQueue.leave
    kept = []

    def leave(self, queue, holders):
        left(self, queue, holders)
        kept.append(queue)

    monkeypatch.setattr(AwayQueue, "leave", leave)
    caught("Queue .* is still known to", kinds=(0,))


# ---- what must not be lost on the way


def test_settlements_that_came_while_the_queue_was_away(monkeypatch):
    monkeypatch.setattr(AwayQueue, "settle", lambda *_: None)
    caught("are held, though all were accepted", kinds=(0,))


def test_what_consumers_held_when_the_queue_left(monkeypatch):
    left = AwayQueue.leave

    def leave(self, queue, holders):
        left(self, queue, holders)
        for consumer, first, end in self._held:
            consumer.freed(end - first)
        self._held = []

    monkeypatch.setattr(AwayQueue, "leave", leave)
    caught(kinds=(0,))


def test_transactions_that_keep_a_settlement_for_a_queue_that_is_away(monkeypatch):
    monkeypatch.setattr(Together, "_check_settlements", lambda *_: None)
    caught("accepted in a transaction that was done, and delivered again", kinds=(3,))


def test_leases_of_a_queue_that_is_away_that_are_settled_where_they_are_to_be_released(monkeypatch):
    def release(self, door, call, request):
        for consumer_id, first, count in request.ranges:
            consumer = door.consumers.get(consumer_id)
            disposition = RELEASE if consumer is not None and isinstance(consumer.owner, Queue) else ACCEPT
            door.submit(make_settle(call.stream, consumer_id, first, count, disposition))
        return None, None

    monkeypatch.setattr(Together, "_release", release)
    caught("are lost", kinds=(3,))


# ---- what is half done


def test_offsets_that_are_told_on_though_their_shard_has_closed(monkeypatch):
    closed = GroupOffsets.close

    def close(self):
        closed(self)
        self.closed = False

    monkeypatch.setattr(GroupOffsets, "close", close)
    caught("group. is 0, and must be one of", kinds=(4,))


def test_topics_that_are_made_in_closed_shards(monkeypatch):
    monkeypatch.setattr(TopicOperations, "_check_open", lambda *_: None)
    with pytest.raises((Violation, AttributeError, AssertionError)):
        run_kinds((4,), 150)
