"""The whole broker over simulated network and disk: what clients were promised holds over power failures, kills and lost connections.

ENTREPOT_BROKER_SEEDS=n runs that many; ENTREPOT_SEED=n only that one.
"""

import os

import pytest

from entrepot.simulation.broker_run import BrokerRun
from entrepot.simulation.disk import SimulatedDisk
from entrepot.simulation.linked_owners import BreakingOwnerTable, LinkedOwnerTable, ReturningOwnerTable
from entrepot.simulation.store_model import Violation
from entrepot.simulation.store_run import Seams
from entrepot.store.local import store

COMPILED = str(store.__file__).endswith(".so")
SEEDS = int(os.environ.get("ENTREPOT_BROKER_SEEDS", "40" if COMPILED else "4"))
LINKED_SEEDS = 10 if COMPILED else 2
ONLY = os.environ.get("ENTREPOT_SEED")
TABLES = (LinkedOwnerTable, BreakingOwnerTable)


def test_promises_hold():
    faults = [0, 0, 0]
    counted = dead = 0
    for seed in range(SEEDS) if ONLY is None else [int(ONLY)]:
        run = BrokerRun(seed)
        try:
            run.run()
        except BaseException as error:
            error.add_note(f"ENTREPOT_SEED={seed} repeats it")
            raise
        assert run.confirms > 100
        assert run.deliveries > 100
        faults = [a + b for a, b in zip(faults, (run.faults.unavailable_count, run.faults.unknown_count, run.faults.late_count), strict=True)]
        counted += len(run.given_of_limit)
        dead += run.dead
    assert ONLY is not None or counted > dead > 0
    assert SEEDS < 20 or ONLY is not None or min(faults) > 100


def test_a_seed_is_a_run():
    assert BrokerRun(3).run() == BrokerRun(3).run()


class LyingDisk(SimulatedDisk):
    """Syncs one commit in twenty, and reports each: the broker confirms and delivers too early."""

    def commit(self, file, position, parts, *, sync, done):
        super().commit(file, position, parts, sync=sync and self._loop.random.random() < 0.05, done=done)


def run_all(seeds):
    for seed in seeds:
        BrokerRun(seed, Seams(disk=LyingDisk)).run()


@pytest.mark.once
def test_confirming_and_delivering_before_the_sync_is_noticed():
    with pytest.raises(Violation):
        run_all(range(30))


def test_promises_hold_where_owners_are_reached_over_links_that_break_and_shards_wander():
    closed = 0
    for seed in range(LINKED_SEEDS):
        run = BrokerRun(seed)
        run.owners = TABLES[seed % 2]
        run.wandering.rate = 1.0
        try:
            run.run()
        except BaseException as error:
            error.add_note(f"seed {seed} repeats it")
            raise
        closed += run.wandering.closed_count
    assert closed > LINKED_SEEDS


def test_promises_hold_where_the_process_of_the_owners_starts_again_and_its_front_lives_on():
    for seed in range(200, 200 + LINKED_SEEDS):
        run = BrokerRun(seed)
        run.owners = ReturningOwnerTable
        run.wandering.rate = 0  # shards stay with their process
        run.run()
