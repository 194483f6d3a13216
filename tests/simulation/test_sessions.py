"""Sessions over a simulated disk: exactly once both ways, sessions that stay, and wills, over crashes, lost connections, take-overs and shards that move.

ENTREPOT_SESSIONS_SEEDS=n runs that many; ENTREPOT_SEED=n only that one. The long version runs 1,000.
"""

import os

import pytest

from entrepot.broker.front.inbox import Inbox
from entrepot.broker.owner import answering
from entrepot.broker.owner.together import do_together
from entrepot.broker.sessions import session_table
from entrepot.broker.sessions.late_wills import LateWills
from entrepot.broker.sessions.session_state import RELEASED
from entrepot.broker.sessions.session_table import SessionTable
from entrepot.cluster.owners import asked
from entrepot.simulation.linked_owners import BreakingOwnerTable, LinkedOwnerTable
from entrepot.simulation.sessions_run import SessionsRun
from entrepot.simulation.store_model import Violation
from entrepot.simulation.workers_sessions_run import WorkersSessionsRun
from entrepot.store.local import store

COMPILED = str(store.__file__).endswith(".so")
SEEDS = int(os.environ.get("ENTREPOT_SESSIONS_SEEDS", "50" if COMPILED else "4"))
LINKED_SEEDS = 12 if COMPILED else 2
WORKERS_SEEDS = 16 if COMPILED else 2
NOTICED = 40  # seeds, of which one notices what is broken
ONLY = os.environ.get("ENTREPOT_SEED")


def run_seeds(seeds, owners=None, kind=SessionsRun):
    totals = [0, 0, 0]
    for seed in seeds if ONLY is None else [int(ONLY)]:
        run = kind(seed)
        if owners is not None:
            run.owners = owners
        try:
            run.run()
        except BaseException as error:
            error.add_note(f"ENTREPOT_SEED={seed} repeats it")
            raise
        totals = [a + b for a, b in zip(totals, (run.repeated, run.resumed, run.taken_over), strict=True)]
    return totals


def test_promises_hold():
    totals = run_seeds(range(SEEDS))
    assert SEEDS < 20 or ONLY is not None or min(totals) > SEEDS


@pytest.mark.parametrize("owners", [LinkedOwnerTable, BreakingOwnerTable])
def test_promises_hold_over_links(owners):
    run_seeds(range(LINKED_SEEDS), owners)


def test_promises_hold_over_three_workers():
    run_seeds(range(WORKERS_SEEDS), kind=WorkersSessionsRun)


@pytest.mark.parametrize(
    ("kind", "owners", "seed"),
    [
        *((WorkersSessionsRun, None, seed) for seed in (37, 158, 172, 366)),  # a session was opened a second time, for an owner that returned
        (SessionsRun, LinkedOwnerTable, 104),  # a client published before it was told that its session is open
    ],
)
def test_seeds_that_failed(kind, owners, seed):
    run_seeds([seed], owners, kind)


@pytest.mark.long
def test_promises_hold_over_three_workers_for_five_hundred_seeds():
    run_seeds(range(500), kind=WorkersSessionsRun)


@pytest.mark.long
def test_promises_hold_for_a_thousand_seeds():
    run_seeds(range(1000))


@pytest.mark.long
@pytest.mark.parametrize("owners", [LinkedOwnerTable, BreakingOwnerTable])
def test_promises_hold_over_links_for_three_hundred_seeds(owners):
    run_seeds(range(300), owners)


def test_a_seed_is_a_run():
    assert SessionsRun(3).run() == SessionsRun(3).run()


# ---- what these must notice


def caught(*messages, kind=SessionsRun, seeds=range(NOTICED)):
    for seed in seeds:
        try:
            kind(seed).run()
        except Violation as violation:
            assert any(message in str(violation) for message in messages), violation  # noqa: PT017 - which of them it is
            return
    pytest.fail(f"no run ends with {messages}")


@pytest.mark.once
def test_numbers_that_are_remembered_a_commit_later(monkeypatch):
    def later(owner, stages, settlements, loads, note=None, sessions=None):
        if note is None or not note.by_stage:
            return do_together(owner, stages, settlements, loads, note, sessions)
        sessions.check(note)
        do_together(owner, stages, settlements, loads)
        owner.hub.scheduler.call_later(0.02, note_late, sessions, note)
        return []

    def note_late(sessions, note):
        if note.log_id in sessions._kept:
            sessions.note(note, [[] for _ in note.by_stage])

    monkeypatch.setattr(answering, "do_together", later)
    caught(" again", " times")


@pytest.mark.once
def test_numbers_that_are_not_released(monkeypatch):
    note = SessionTable.note
    monkeypatch.setattr(SessionTable, "note", lambda self, said, nacked: note(self, said._replace(removes=[]), nacked))
    caught("does not come to its end", " times", " again")


@pytest.mark.once
def test_released_numbers_that_are_forgotten(monkeypatch):
    numbers_of = session_table.numbers_of
    key_of = session_table.key_of
    kinds = []

    def key(log_id, kind):
        kinds.append(kind)
        return key_of(log_id, kind)

    monkeypatch.setattr(session_table, "key_of", key)
    monkeypatch.setattr(session_table, "numbers_of", lambda value: [] if kinds[-1] == RELEASED else numbers_of(value))
    caught("does not come to its end")


@pytest.mark.once
def test_what_is_carried_and_taken_again(monkeypatch):
    def hand_over(self, handover):
        if self.is_open(handover.target):
            self._answer_when_durable(handover, self._take(handover))

    monkeypatch.setattr(Inbox, "hand_over", hand_over)
    caught(" times", " again", kind=WorkersSessionsRun)


@pytest.mark.once
def test_wills_that_stay(monkeypatch):
    monkeypatch.setattr(LateWills, "_forget", lambda *_: None)
    caught("will")


@pytest.mark.once
def test_wills_of_who_is_back(monkeypatch):
    end_will = SessionTable._end_will
    monkeypatch.setattr(SessionTable, "_end_will", lambda self, kept, publishes: end_will(self, kept, True))
    caught("will")


@pytest.mark.once
def test_wills_that_wait_for_a_worker_that_is_dead(monkeypatch):
    monkeypatch.setattr(SessionTable, "front_ended", lambda *_: None)
    caught("will", kind=WorkersSessionsRun)


@pytest.mark.once
def test_openings_that_are_asked_for_again_of_an_owner_that_returns(monkeypatch):
    monkeypatch.setattr(asked, "ONCE", frozenset())
    caught("will", kind=WorkersSessionsRun, seeds=(195, 234, 262))  # about one of 45 notices


@pytest.mark.once
def test_released_numbers_that_are_forgotten_by_workers(monkeypatch):
    """What was received, and is taken over at once at another worker, would come twice."""
    note = SessionTable.note
    monkeypatch.setattr(SessionTable, "note", lambda self, said, nacked: note(self, said._replace(adds=[]) if said.released else said, nacked))
    caught("does not come to its end", " times", " again", kind=WorkersSessionsRun)
