"""Seeded runs: what a topic's subject leads to is sent on to every process, once and in the partition's order, whatever breaks and dies meanwhile."""

import pytest
from subject_brokers import SubjectsRun

from entrepot.broker.front import subject_hop
from entrepot.broker.front.inbox import Inbox
from entrepot.broker.outbox.outbox import Outbox
from entrepot.broker.outbox.taken import Taken
from entrepot.broker.state import SUBJECT_PREFIX
from entrepot.simulation.store_model import Violation
from entrepot.store.local import store

COMPILED = str(store.__file__).endswith(".so")
SEEDS = 3 if COMPILED else 1
MUTATED_SEEDS = 10


@pytest.mark.parametrize("count", [2, 3])
def test_all_of_it_arrives_once_and_in_order(count):
    for seed in range(SEEDS):
        run = SubjectsRun(seed, count).go()
        assert run.written > 0
        assert run.cluster.handed_over > 0
        assert run.behind > 0


def forgets_what_was_taken(monkeypatch):
    def forgets(self, handover):
        taken = Taken()
        taken.last = handover.sequence - 1
        return taken

    monkeypatch.setattr(Inbox, "_taken", forgets)


def loads_no_intents(monkeypatch):
    monkeypatch.setattr(Outbox, "_read", lambda self, shard, first: b"")


def keeps_no_position(monkeypatch):
    staged = subject_hop.stage_position

    def stage_position(store, log, position):
        if store.get(log.shard, SUBJECT_PREFIX + log.id) is None:
            staged(store, log, position)

    monkeypatch.setattr(subject_hop, "stage_position", stage_position)


def moves_on_before_it_is_handed_over(monkeypatch):
    def stage(self, queue, kind, first, count, targets, **how):
        pass

    monkeypatch.setattr(Outbox, "stage", stage)


MUTATIONS = [forgets_what_was_taken, loads_no_intents, keeps_no_position, moves_on_before_it_is_handed_over]


def runs():
    for seed in range(MUTATED_SEEDS):
        SubjectsRun(seed, 2, deaths=6).go()


@pytest.mark.skipif(not COMPILED, reason="takes long")
@pytest.mark.parametrize("mutate", MUTATIONS)
def test_what_is_wrong_is_seen(monkeypatch, mutate):
    mutate(monkeypatch)
    with pytest.raises((Violation, AssertionError, TimeoutError, KeyError)):
        runs()
