"""Seeded runs of fronts whose owners' process dies at any moment and comes back; and ways of doing it wrongly, which they notice."""

import pytest
from returning_run import Run

from entrepot.cluster.owners import remote_owner
from entrepot.cluster.owners.claims import claim_of
from entrepot.cluster.owners.settlements import SentSettlements
from entrepot.cluster.owners.taken_stages import TakenStages
from entrepot.model.errors import CorruptData

SEEDS = 60


def runs(count, actions=40, **how):
    starts = 0
    for seed in range(count):
        starts += Run(seed, **how).run(actions).bench.owners.starts
    return starts


def test_promises_hold():
    assert runs(SEEDS) > 2 * SEEDS


@pytest.mark.long
def test_promises_hold_for_long():
    for seed in range(1000, 2500):
        Run(seed).run(200)


def is_noticed(count=40, **how):
    with pytest.raises((AssertionError, CorruptData)):
        runs(count, 120, **how)


def test_sequences_that_are_forgotten(monkeypatch):
    def known(self, *where):
        real(self, *where)
        self.known = 0

    real = TakenStages.__init__
    monkeypatch.setattr(TakenStages, "__init__", known)
    is_noticed()


def test_answers_that_are_forgotten(monkeypatch):
    def read(self, value):
        real(self, value)
        self.answers.clear()

    real = TakenStages._read
    monkeypatch.setattr(TakenStages, "_read", read)
    is_noticed(100)


def test_a_row_behind_its_commit(monkeypatch):
    real = TakenStages.stage
    monkeypatch.setattr(TakenStages, "stage", lambda self: self._store.scheduler.call_later(0.0004, real, self))
    is_noticed()


def test_leases_that_end_with_the_start(monkeypatch):
    def claim(reader, unsaid):
        said = claim_of(reader, unsaid)
        if said is not None:
            said.ranges = []
        return said

    monkeypatch.setattr(remote_owner, "claim_of", claim)
    is_noticed()


def test_what_was_settled_is_not_claimed(monkeypatch):
    monkeypatch.setattr(remote_owner, "claim_of", lambda reader, _: claim_of(reader, []))
    is_noticed()


def test_what_was_settled_is_not_settled_again(monkeypatch):
    def begin(self):
        real(self)
        return []

    real = SentSettlements.begin
    monkeypatch.setattr(SentSettlements, "begin", begin)
    is_noticed()


def test_somebody_is_given_something_before_the_claims():
    is_noticed(holds=False)
