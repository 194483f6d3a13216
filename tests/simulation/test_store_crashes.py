"""The store over the simulated disk: nothing durable is lost and nothing invented, under many seeds; and each known mistake would be noticed.

ENTREPOT_SEEDS=1000 runs that many (the default is 1,000 compiled, 100 interpreted); ENTREPOT_SEED=n runs only seed n, to look at what it found.
"""

import os

import pytest

from entrepot.simulation.disk import Crashed, SimulatedDisk
from entrepot.simulation.loop import SimulatedEntropy
from entrepot.simulation.store_model import Violation
from entrepot.simulation.store_run import COMMITS_MIN, Seams, StoreRun
from entrepot.store.local import opening, store
from entrepot.store.local.maintenance import Maintenance
from entrepot.store.local.ring import JournalRing

COMPILED = str(store.__file__).endswith(".so")
SEEDS = int(os.environ.get("ENTREPOT_SEEDS", "1000" if COMPILED else "100"))
ONLY = os.environ.get("ENTREPOT_SEED")
MUTATION_SEEDS = 200


@pytest.mark.parametrize("first", range(0, SEEDS, 100) if ONLY is None else [int(ONLY)])
def test_nothing_durable_is_lost_and_nothing_invented(first):
    for seed in range(first, min(first + 100, SEEDS)) if ONLY is None else [first]:
        run = StoreRun(seed)
        try:
            run.run()
        except BaseException as error:
            error.add_note(f"seed {seed}, downs so far {run.downs}; ENTREPOT_SEED={seed} repeats it")
            raise
        assert run.commits >= COMMITS_MIN >= 200
        assert len(run.downs) == 4


def test_a_seed_is_a_run():
    assert StoreRun(11).run() == StoreRun(11).run()
    assert StoreRun(11).run() != StoreRun(12).run()


@pytest.mark.parametrize("commits", [1, 3])
def test_names_that_a_killed_process_left_are_made_durable(commits):
    """A kill leaves created and renamed files that a power failure may still take back: the next process works on them."""
    for seed in range(60):
        run = StoreRun(seed)
        run.open()
        run.disk.crash_after = 1 + seed % 12
        until_crashed(run)
        run.loop.forget_all()
        run.disk.kill()
        run.open()
        run.work(run.commits + commits)
        run.loop.forget_all()
        run.lost_power = True
        run.disk.crash()
        run.open()


def until_crashed(run):
    while True:
        try:
            run.act()
        except Crashed:
            return


def noticed(seams=None):
    """The first seed under which the mistake is noticed; None if under none."""
    for seed in range(MUTATION_SEEDS):
        try:
            StoreRun(seed, seams).run()
        except Violation:
            return seed
        except AssertionError:
            continue  # the mistake made a mess, but not one that shows it
    return None


class LyingDisk(SimulatedDisk):
    """Reports a commit before it is synced."""

    def commit(self, file, position, parts, *, sync, done):
        super().commit(file, position, parts, sync=sync, done=lambda *_: None)
        self._loop.call_later(20e-6, done, 20e-6, None)


class ForgetfulDisk(SimulatedDisk):
    """Does not sync its directory."""

    def sync_directory(self):
        self.operation("sync_directory")


class OneSalt(SimulatedEntropy):
    """Every life of a journal file has the same salt."""

    def octets(self, count):
        return b"s" * count


@pytest.mark.once
def test_confirm_before_sync_is_noticed():
    assert noticed(Seams(disk=LyingDisk)) is not None


@pytest.mark.once
def test_deliver_before_sync_is_noticed():
    assert noticed(Seams(delivers_staged=True)) is not None


@pytest.mark.once
def test_skipping_the_directory_sync_is_noticed():
    assert noticed(Seams(disk=ForgetfulDisk)) is not None


@pytest.mark.once
def test_an_old_salt_is_noticed():
    assert noticed(Seams(entropy=OneSalt)) is not None


@pytest.mark.once
def test_appending_after_the_cut_is_noticed(monkeypatch):
    settle = opening._Opening._settle
    monkeypatch.setattr(opening._Opening, "_settle", lambda self, pending, synced: settle(self, pending, 1 << 62))  # leaves all where it lies
    monkeypatch.setattr(JournalRing, "seal_current", lambda self: None)
    assert noticed() is not None


@pytest.mark.once
def test_reusing_a_file_early_is_noticed(monkeypatch):
    save = Maintenance._save

    def save_and_reuse(self):
        save(self)  # begins to; it is durable later
        self._store.ring.ready[:0] = [(source.name, source.file) for source in self._sources]

    monkeypatch.setattr(Maintenance, "_save", save_and_reuse)
    monkeypatch.setattr(JournalRing, "retire", lambda self, life, **_: self.lives.pop(life))
    assert noticed() is not None


@pytest.mark.once
def test_reusing_a_file_that_a_segment_refers_to_is_noticed(monkeypatch):
    retire = JournalRing.retire
    monkeypatch.setattr(JournalRing, "retire", lambda self, life, **_: retire(self, life))
    assert noticed() is not None
