"""Three workers as one broker, from a seed: what clients were promised holds over kills, power failures, links that break and processes that stand still.

ENTREPOT_WORKERS_SEEDS=n runs that many of each; the long version runs 20,000 of all together.
"""

import os

import pytest

from entrepot.broker.catalogue.stream import CatalogueStream
from entrepot.cluster import member as of_members
from entrepot.cluster.catalogue.following import Following
from entrepot.cluster.link import Link
from entrepot.cluster.member import Member
from entrepot.cluster.owners.crossing import Crossing
from entrepot.simulation.loop import Stuck
from entrepot.simulation.store_model import Violation
from entrepot.simulation.workers_kafka_run import WorkersKafkaRun
from entrepot.simulation.workers_run import WorkersRun
from entrepot.simulation.workers_timed_run import WorkersTimedRun
from entrepot.store.local import store

COMPILED = str(store.__file__).endswith(".so")
SEEDS = int(os.environ.get("ENTREPOT_WORKERS_SEEDS", "34" if COMPILED else "2"))
RUNS = (WorkersRun, WorkersTimedRun, WorkersKafkaRun)
LONG = 20_000
STOPPED_SEEDS = 10


def run_one(kind, seed):
    run = kind(seed)
    try:
        run.run()
    except BaseException as error:
        error.add_note(f"{kind.__name__}({seed}) repeats it")
        raise
    return run.workers


@pytest.mark.parametrize("kind", RUNS)
def test_promises_hold(kind):
    workers = [run_one(kind, seed) for seed in range(SEEDS)]
    if SEEDS >= 30:
        assert sum(one.kill_count for one in workers) > SEEDS
        assert sum(one.broken_count for one in workers) > SEEDS
        assert sum(one.stopped_count for one in workers) > SEEDS / 2


@pytest.mark.long
@pytest.mark.parametrize("kind", RUNS)
def test_promises_hold_over_twenty_thousand(kind):
    for seed in range(1000, 1000 + LONG // len(RUNS) + 1):
        run_one(kind, seed)


def test_a_seed_is_a_run():
    assert WorkersRun(2).run() == WorkersRun(2).run()


# ---- what must be caught


def is_caught(kind, seeds):
    for seed in seeds:
        run = kind(seed)
        run.trouble = 0.05
        try:
            run.run()
        except (Violation, Stuck, AssertionError):
            return True
    return False


@pytest.mark.once
def test_an_answer_before_the_barrier_is_caught(monkeypatch):
    def ticket(stream):
        return stream._store.group()

    monkeypatch.setattr(CatalogueStream, "ticket", ticket)
    assert is_caught(WorkersRun, range(60))


def past_a_lease():
    for seed in range(STOPPED_SEEDS):
        WorkersRun(seed).run_past_a_lease()


def test_what_a_worker_that_stood_still_routes_by_an_old_catalogue_is_not_confirmed():
    past_a_lease()


def past_an_owners_lease():
    for seed in range(STOPPED_SEEDS):
        WorkersRun(seed).run_past_an_owners_lease()


def test_what_comes_to_an_owner_whose_catalogue_is_behind_waits_for_that():
    past_an_owners_lease()


@pytest.mark.once
def test_owners_that_do_not_wait_for_their_catalogue_are_caught(monkeypatch):
    monkeypatch.setattr(Crossing, "_routed", lambda *_: None)
    with pytest.raises(Violation, match="is refused"):
        past_an_owners_lease()


def test_a_worker_that_was_given_up_takes_what_comes_to_it_when_it_is_back():
    for seed in range(STOPPED_SEEDS):
        WorkersRun(seed).run_past_the_wait()


@pytest.mark.once
def test_a_front_that_always_answers_is_caught(monkeypatch):
    monkeypatch.setattr(Following, "check", lambda self: None)
    monkeypatch.setattr(Following, "wake", lambda self: None)
    with pytest.raises(Violation, match="lost"):
        past_a_lease()


@pytest.mark.once
def test_paths_that_are_kept_past_the_lease_are_caught(monkeypatch):
    monkeypatch.setattr(Following, "wake", lambda self: None)
    with pytest.raises(Violation, match="lost"):
        past_a_lease()


@pytest.mark.once
def test_leases_that_are_released_when_a_link_breaks_are_caught(monkeypatch):
    def ended(member, session, reason):
        link = session.link
        if link is not None and member.sessions.get(link.name) is session:
            for served in member._owners.crossings[link.name].served:
                for door in list(served.doors.values()):
                    for consumer in list(door.consumers.values()):
                        served.owner.end(consumer)
        right(member, session, reason)

    right = Member.ended
    monkeypatch.setattr(Member, "ended", ended)
    assert is_caught(WorkersRun, range(60))


@pytest.mark.once
def test_what_a_link_carries_twice_is_caught(monkeypatch):
    class Thrice(Link):
        def resume(self, received):
            super().resume(max(0, received - 3) if self.acknowledged <= received - 3 else received)

    monkeypatch.setattr(of_members, "Link", Thrice)
    assert is_caught(WorkersRun, range(60))
