"""Queues with timed leases over a simulated disk: order, exclusion, deduplication, leases and counts hold over crashes, kills and lost connections.

ENTREPOT_TIMED_SEEDS=n runs that many; ENTREPOT_SEED=n only that one. The long version runs 1,000.
"""

import os

import pytest

from entrepot.broker.calls.lease_calls import EndLeases, make_end_leases
from entrepot.simulation.disk import SimulatedDisk
from entrepot.simulation.faulty_doors import FaultyDoor
from entrepot.simulation.linked_owners import BreakingOwnerTable, LinkedOwnerTable
from entrepot.simulation.store_model import Violation
from entrepot.simulation.store_run import Seams
from entrepot.simulation.timed_model import TimedMessage
from entrepot.simulation.timed_run import TimedRun
from entrepot.store.local import store

COMPILED = str(store.__file__).endswith(".so")
SEEDS = int(os.environ.get("ENTREPOT_TIMED_SEEDS", "30" if COMPILED else "3"))
LINKED_SEEDS = 10 if COMPILED else 2
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


@pytest.mark.once
def test_answering_before_the_sync_is_noticed():
    with pytest.raises(Violation):
        run_all(range(30))


@pytest.mark.once
def test_a_door_that_says_unavailable_of_what_is_done_is_noticed():
    def run_all(seeds):
        for seed in seeds:
            run = TimedRun(seed)
            run.faults.lies = True
            run.run()

    with pytest.raises(Violation, match="nobody sent"):
        run_all(range(30))


@pytest.mark.once
def test_a_lease_that_is_shorter_than_was_said_is_noticed(monkeypatch):
    """Only by changes of deadlines that were answered, with no other asked for behind them."""
    arrive = FaultyDoor._arrive

    def shorter(self, call):
        if isinstance(call, EndLeases) and call.visibility_ms is not None:
            call.visibility_ms = [time_ms // 2 for time_ms in call.visibility_ms]
        arrive(self, call)

    monkeypatch.setattr(FaultyDoor, "_arrive", shorter)
    with pytest.raises(Violation, match="came while it was leased"):
        run_seeds(range(30))


# ---- what is known of a lease whose deadline is changed


@pytest.fixture
def leased():
    message = TimedMessage(b"body", "q", b"", 0, 1)
    message.leased((b"", 7, b"first"), 1_000)
    return message


def asks(message, until_ms):
    call = make_end_leases(1, "q", b"", [7], [b"first"], [0])
    message.changing(call, until_ms)
    return call


def test_a_shorter_deadline_may_hold_as_soon_as_it_is_asked_for(leased):
    asks(leased, 5_000)
    assert leased.held_until_ms == 1_000
    asks(leased, 400)
    assert leased.held_until_ms == 400


def test_a_longer_deadline_holds_when_it_is_answered_unless_another_was_asked_for(leased):
    longer = asks(leased, 5_000)
    shorter = asks(leased, 400)
    leased.changed(longer, True)
    assert leased.held_until_ms == 400
    leased.changed(shorter, False)
    assert leased.held_until_ms == 5_000


def test_the_deadline_that_was_asked_for_last_holds_whichever_is_answered_last(leased):
    longer = asks(leased, 5_000)
    shorter = asks(leased, 400)
    leased.changed(shorter, True)
    leased.changed(longer, True)
    assert leased.held_until_ms == 400
    longest = asks(leased, 9_000)
    leased.changed(longest, True)
    assert leased.held_until_ms == 9_000


def test_a_deadline_that_is_said_not_to_be_made_shortens_nothing(leased):
    leased.changed(asks(leased, 400), False)
    assert leased.held_until_ms == 1_000


def test_a_new_lease_has_its_own_deadline(leased):
    earlier = asks(leased, 400)
    leased.leased((b"", 7, b"second"), 2_000)
    leased.changed(earlier, True)
    assert leased.held_until_ms == 2_000


# ---- owners elsewhere


def test_promises_hold_where_owners_are_reached_over_links_that_break_and_shards_wander():
    closed = 0
    for seed in range(LINKED_SEEDS):
        run = TimedRun(seed)
        run.owners = (LinkedOwnerTable, BreakingOwnerTable)[seed % 2]
        run.wandering.rate = 1.0
        try:
            run.run()
        except BaseException as error:
            error.add_note(f"seed {seed} repeats it")
            raise
        closed += run.wandering.closed_count
    assert closed > LINKED_SEEDS
