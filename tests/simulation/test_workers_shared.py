"""Last values and shared subscriptions over three workers, from a seed: kills, power failures, links that break, and processes that stand still.

ENTREPOT_SHARED_SEEDS=n runs that many of each; the long version runs 500.
"""

import os

import pytest

from entrepot.broker.calls.port import DONE, Attachment, Sink, make_publish
from entrepot.broker.catalogue.shared import Shared
from entrepot.broker.operations.retaining import Retaining
from entrepot.cluster.catalogue.deciding import Deciding
from entrepot.cluster.owners.served_owner import ServedOwner
from entrepot.simulation.store_model import Violation
from entrepot.simulation.workers_retained_run import WorkersRetainedRun
from entrepot.simulation.workers_shared_run import LOOSE, WorkersSharedRun
from entrepot.store.local import store

COMPILED = str(store.__file__).endswith(".so")
SEEDS = int(os.environ.get("ENTREPOT_SHARED_SEEDS", "8" if COMPILED else "2"))
RUNS = (WorkersRetainedRun, WorkersSharedRun)
NOTICED = 40  # seeds, of which one notices what is broken


def run_seeds(kind, seeds):
    runs = []
    for seed in seeds:
        run = kind(seed)
        try:
            run.run()
        except BaseException as error:
            error.add_note(f"{kind.__name__}({seed}) repeats it")
            raise
        runs.append(run)
    return runs


def test_last_values_are_there():
    runs = run_seeds(WorkersRetainedRun, range(SEEDS))
    if SEEDS >= 8:
        assert sum(run.confirmed for run in runs) > 100 * SEEDS
        assert sum(run.looked for run in runs) > 20 * SEEDS
        assert sum(run.certain for run in runs) > 100 * SEEDS


def test_who_shares_has_each_message_once():
    runs = run_seeds(WorkersSharedRun, [*range(SEEDS), 1430])  # there one takes what its owner never hears of, for its worker stands still
    if SEEDS >= 8:
        assert sum(run.shared for run in runs) > 100 * SEEDS
        assert sum(run.left for run in runs) > SEEDS
        assert sum(run.groups[LOOSE].gone_count for run in runs) > 0


@pytest.mark.long
@pytest.mark.parametrize("kind", RUNS)
def test_five_hundred_seeds(kind):
    run_seeds(kind, range(1000, 1500))


@pytest.mark.parametrize("kind", RUNS)
def test_a_seed_is_a_run(kind):
    assert kind(2).run() == kind(2).run()


# ---- what must be caught


def caught(kind, message):
    for seed in range(NOTICED):
        run = kind(seed)
        run.trouble = 0.05
        try:
            run.run()
        except Violation as violation:
            assert message in str(violation), violation  # noqa: PT017 - which of them it is
            return
    pytest.fail(f"no run ends with '{message}'")


@pytest.mark.once
def test_values_that_are_confirmed_before_they_are_kept(monkeypatch):
    stage = Retaining._stage

    def at_once(self, definition, part):
        unheard = make_publish(part.stream, part.address, part.codec, part.codec_version, part.flags, part.data, part.count, part.body_bytes)
        unheard.attachment = Attachment()
        unheard.attachment.sink, unheard.attachment.closed = Sink(), True
        stage(self, definition, unheard)
        part.outcome = DONE
        return True

    monkeypatch.setattr(Retaining, "_stage", at_once)
    caught(WorkersRetainedRun, "is said to be")


@pytest.mark.once
def test_values_that_are_not_taken_away(monkeypatch):
    stage = Retaining._stage

    def kept(self, definition, part):
        if part.body_bytes:
            return stage(self, definition, part)
        part.outcome = DONE
        return True

    monkeypatch.setattr(Retaining, "_stage", kept)
    caught(WorkersRetainedRun, "is said to be")


@pytest.mark.once
def test_a_group_that_goes_with_one_of_its_members(monkeypatch):
    leave = Shared.leave

    def last(self, namespace, name, member):
        leave(self, namespace, name, member)
        if name in self._decisions.catalogue.namespace(namespace).exchanges:
            self._decisions.delete_exchange(namespace, name)

    monkeypatch.setattr(Shared, "leave", last)
    caught(WorkersSharedRun, "is told that it is gone")


@pytest.mark.once
def test_groups_that_are_swept_before_their_members_are_known(monkeypatch):
    monkeypatch.setattr(Deciding, "_all_are_here", lambda self: True)
    caught(WorkersSharedRun, "is told that it is gone")


@pytest.mark.once
def test_what_members_held_that_died_with_their_worker(monkeypatch):
    monkeypatch.setattr(ServedOwner, "dead", lambda self: None)
    caught(WorkersSharedRun, "are lost")
