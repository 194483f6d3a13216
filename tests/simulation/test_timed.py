"""Queues with timed leases over a simulated disk: order, exclusion, deduplication, leases and counts hold over crashes, kills and lost connections.

ENTREPOT_TIMED_SEEDS=n runs that many; ENTREPOT_SEED=n only that one. The long version runs 1,000.
"""

import os

import pytest

from entrepot.simulation.disk import SimulatedDisk
from entrepot.simulation.framed_owner import FramedOwnerTable
from entrepot.simulation.store_model import Violation
from entrepot.simulation.store_run import Seams
from entrepot.simulation.timed_run import TimedRun
from entrepot.store.local import store

COMPILED = str(store.__file__).endswith(".so")
SEEDS = int(os.environ.get("ENTREPOT_TIMED_SEEDS", "30" if COMPILED else "3"))
FRAMED_SEEDS = 10 if COMPILED else 2
ONLY = os.environ.get("ENTREPOT_SEED")


def run_seeds(seeds):
    deaths = 0
    faults = [0, 0, 0]
    for seed in seeds if ONLY is None else [int(ONLY)]:
        run = TimedRun(seed)
        try:
            run.run()
        except BaseException as error:
            error.add_note(f"ENTREPOT_SEED={seed} repeats it")
            raise
        assert run.confirms > 50
        assert run.receives > 50
        deaths += run.deaths
        faults = [a + b for a, b in zip(faults, (run.faults.unavailable_count, run.faults.unknown_count, run.faults.late_count), strict=True)]
    assert SEEDS < 20 or ONLY is not None or min(faults) > 0
    return deaths


def test_promises_hold():
    assert run_seeds(range(SEEDS)) > 0


@pytest.mark.long
def test_promises_hold_for_a_thousand_seeds():
    run_seeds(range(1000))


def test_a_seed_is_a_run():
    assert TimedRun(3).run() == TimedRun(3).run()


class LyingDisk(SimulatedDisk):
    """Syncs one commit in twenty, and reports each: leases and settlements are answered too early."""

    def commit(self, file, position, parts, *, sync, done):
        super().commit(file, position, parts, sync=sync and self._loop.random.random() < 0.05, done=done)


def run_all(seeds):
    for seed in seeds:
        TimedRun(seed, Seams(disk=LyingDisk)).run()


def test_answering_before_the_sync_is_noticed():
    with pytest.raises(Violation):
        run_all(range(30))


def test_a_door_that_says_unavailable_of_what_is_done_is_noticed():
    def run_all(seeds):
        for seed in seeds:
            run = TimedRun(seed)
            run.faults.lies = True
            run.run()

    with pytest.raises(Violation, match="nobody sent"):
        run_all(range(30))


def test_promises_hold_where_owners_are_reached_by_octets_and_shards_wander():
    closed = 0
    for seed in range(FRAMED_SEEDS):
        run = TimedRun(seed)
        run.owners = FramedOwnerTable
        run.wandering.rate = 1.0
        try:
            run.run()
        except BaseException as error:
            error.add_note(f"seed {seed} repeats it")
            raise
        closed += run.wandering.closed_count
    assert closed > FRAMED_SEEDS
