"""Subjects: what Kafka's producers append arrives in the queues that a topic's subject leads to, exactly once and in order, over power failures and kills.

ENTREPOT_SUBJECT_SEEDS=n runs that many; ENTREPOT_SEED=n only that one. The long version runs 1,000. test_wandering.py has the same with shards that move.
"""

import os
from collections import Counter
from contextlib import suppress

import pytest

from both_modes import examples
from entrepot.broker.front import subject_hop
from entrepot.broker.front.subjects import Subjects
from entrepot.broker.state import SUBJECT_PREFIX
from entrepot.model.errors import Unavailable
from entrepot.simulation.store_model import Violation
from entrepot.simulation.subject_run import AT_TIMES, FULL, SubjectRun

ENOUGH = 12  # seeds in which everything happens
SEEDS = int(os.environ.get("ENTREPOT_SUBJECT_SEEDS", examples(ENOUGH)))
ONLY = os.environ.get("ENTREPOT_SEED")


def run_seeds(seeds):
    """Violation if something does not hold; how often each kind of thing happened."""
    counts = Counter()
    for seed in seeds if ONLY is None else [int(ONLY)]:
        run = SubjectRun(seed)
        try:
            run.run()
        except BaseException as error:
            error.add_note(f"ENTREPOT_SEED={seed} repeats it")
            raise
        counts.update({name: len(bodies) for name, bodies in run.arrived.items()})
        counts["behind"] += run.behind
        counts["duplicates"] += run.duplicates
    return counts


def test_promises_hold():
    counts = run_seeds(range(SEEDS))
    if ONLY is None and SEEDS >= ENOUGH:
        assert counts["all"] > 500 * SEEDS
        assert min(counts[name] for name in ("red", FULL, AT_TIMES, "behind", "duplicates")) > 0, counts


@pytest.mark.long
def test_promises_hold_for_a_thousand_seeds():
    run_seeds(range(1000))


def test_a_seed_is_a_run():
    assert SubjectRun(5).run() == SubjectRun(5).run()


# ---- mutations that must be caught


def caught(message):
    with pytest.raises(Violation, match=message):
        run_seeds(range(40))


@pytest.mark.once
def test_positions_that_are_not_loaded(monkeypatch):
    monkeypatch.setattr(Subjects, "load", lambda *_: None)
    caught("are not there")


@pytest.mark.once
def test_a_position_that_is_settled_before_its_records(monkeypatch):
    publish = subject_hop.publish_records

    def at_last(*how):
        with suppress(Unavailable):
            publish(*how)

    def later(publisher, *how):
        publisher.owners.home.hub.scheduler.call_later(0.003, at_last, publisher, *how)

    monkeypatch.setattr(subject_hop, "publish_records", later)
    caught("are not there|not in order")


@pytest.mark.once
def test_records_that_are_sent_in_a_commit_without_their_position(monkeypatch):
    stage = subject_hop.stage_position

    def begin_alone(store, log, position):
        if store.get(log.shard, SUBJECT_PREFIX + log.id) is None:
            stage(store, log, position)

    monkeypatch.setattr(subject_hop, "stage_position", begin_alone)
    caught("twice")


@pytest.mark.once
def test_what_does_not_wait_behind_those_before_it(monkeypatch):
    send = Subjects.send_on

    def at_once(subjects, path, partition, *batch):
        if partition.hop is None or not subjects._is_sent_at_once(path, *batch):
            send(subjects, path, partition, *batch)

    monkeypatch.setattr(Subjects, "send_on", at_once)
    caught("not in order")
