"""Seeded runs: everything that dies at one process arrives at the others once, and in order, whatever breaks and dies meanwhile."""

import pytest
from letter_brokers import LettersRun

from entrepot.broker.front.inbox import Inbox
from entrepot.broker.outbox.handover import TAKEN, Answer
from entrepot.broker.outbox.outbox import Outbox
from entrepot.broker.outbox.taken import Taken
from entrepot.cluster.handovers import Handovers
from entrepot.simulation.store_model import Violation
from entrepot.store.local import store

COMPILED = str(store.__file__).endswith(".so")
SEEDS = 3 if COMPILED else 1
MUTATED_SEEDS = 20


@pytest.mark.parametrize("count", [2, 3])
def test_letters_arrive_once(count):
    for seed in range(SEEDS):
        run = LettersRun(seed, count).go()
        assert run.cluster.handed_over > 0
        assert run.dead > 0


def settles_the_source_before_the_target(monkeypatch):
    hand_over = Handovers.hand_over

    def settles_first(self, handover):
        hand_over(self, handover)
        self._broker.scheduler.call_soon(self._broker.outbox.answered, Answer(handover.source, handover.target, handover.sequence, TAKEN))

    monkeypatch.setattr(Handovers, "hand_over", settles_first)


def forgets_what_was_taken(monkeypatch):
    def forgets(self, handover):
        taken = Taken()
        taken.last = handover.sequence - 1
        return taken

    monkeypatch.setattr(Inbox, "_taken", forgets)


def notes_nothing_in_the_targets_commit(monkeypatch):
    take = Taken.take

    def forgets(self, sequence, status):
        return take(Taken(), 0, status)

    monkeypatch.setattr(Taken, "take", forgets)


def sends_nothing_again(monkeypatch):
    monkeypatch.setattr(Outbox, "opened", lambda self, *shards: self.look_again())


def loads_no_intents(monkeypatch):
    monkeypatch.setattr(Outbox, "_read", lambda self, shard, first: b"")


MUTATIONS = {  # and the seed from which on it is looked for
    settles_the_source_before_the_target: 1,
    forgets_what_was_taken: 0,
    notes_nothing_in_the_targets_commit: 0,
    sends_nothing_again: 12,
    loads_no_intents: 0,
}


def runs(first):
    for seed in range(first, first + MUTATED_SEEDS):
        LettersRun(seed, 2, deaths=6).go()


@pytest.mark.skipif(not COMPILED, reason="takes long")
@pytest.mark.parametrize("mutate", MUTATIONS)
def test_what_is_wrong_is_seen(monkeypatch, mutate):
    mutate(monkeypatch)
    with pytest.raises((Violation, AssertionError, TimeoutError)):
        runs(MUTATIONS[mutate])
