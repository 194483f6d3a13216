"""Kafka's clients and the whole broker over simulated network and disk: offsets, order, sequences and committed offsets hold over power failures, kills,
lost connections and doors that delay, refuse and lose answers.

ENTREPOT_KAFKA_SEEDS=n runs that many; ENTREPOT_SEED=n only that one. The long version runs 1,000.
"""

import os
from collections import Counter
from types import SimpleNamespace

import pytest

from both_modes import examples
from entrepot.broker.broker import Broker
from entrepot.broker.groups.desk import Desk
from entrepot.broker.groups.offsets import GroupOffsets
from entrepot.simulation.disk import SimulatedDisk
from entrepot.simulation.kafka_actors import AGAIN, NO_COORDINATOR, OUT_OF_ORDER, OUT_OF_RANGE, Follower
from entrepot.simulation.kafka_run import KafkaRun
from entrepot.simulation.store_model import Violation
from entrepot.simulation.store_run import Seams

ENOUGH = 16  # seeds in which everything happens
SEEDS = int(os.environ.get("ENTREPOT_KAFKA_SEEDS", examples(ENOUGH)))
ONLY = os.environ.get("ENTREPOT_SEED")
COUNTS = ("acks", "reads", "retries", "duplicates", "committed_count", "lookups", "session_fetches", "deletions", "resets", "drops", "power_failures", "kills")
FAULTS = ("unavailable_count", "unknown_count", "late_count")


def run_seeds(seeds):
    """Violation if something does not hold; how often each kind of thing happened."""
    counts = Counter()
    for seed in seeds if ONLY is None else [int(ONLY)]:
        run = KafkaRun(seed)
        try:
            run.run()
        except BaseException as error:
            error.add_note(f"ENTREPOT_SEED={seed} repeats it")
            raise
        counts.update({name: getattr(run, name) for name in COUNTS})
        counts.update({name: getattr(run.faults, name) for name in FAULTS})
        counts.update(run.codes)
    return counts


def test_promises_hold():
    counts = run_seeds(range(SEEDS))
    if ONLY is None and SEEDS >= ENOUGH:
        assert counts["acks"] > 100 * SEEDS
        assert counts["reads"] > 300 * SEEDS
        assert min(counts[name] for name in (*COUNTS, *FAULTS)) > 0, counts
        assert min(counts[code] for code in (*AGAIN[1:], NO_COORDINATOR, OUT_OF_ORDER, OUT_OF_RANGE)) > 0, counts


@pytest.mark.long
def test_promises_hold_for_a_thousand_seeds():
    run_seeds(range(1000))


def test_a_seed_is_a_run():
    assert KafkaRun(3).run() == KafkaRun(3).run()


def test_who_reads_to_the_end_is_held_up_by_nothing_else():
    """What is committed in a group is told when the disk has written what was under way, which may be long, and always something new."""
    run = KafkaRun(0)
    reader = Follower(run, "topic0", None, only_reads=True)
    reader.id, reader.positions = bytes(16), dict.fromkeys(reader.places, 0)
    asked = []
    reader.connection = SimpleNamespace(
        ready=True, waiting_count=0, fetch=lambda *_, **__: asked.append("fetch"), committed=lambda *_: asked.append("committed")
    )
    for _ in range(50):
        reader.step()
    assert asked == ["fetch"] * 50


# ---- what it must notice


class LyingDisk(SimulatedDisk):
    """Syncs one commit in twenty, and reports each: batches are acknowledged, and read, too early."""

    def commit(self, file, position, parts, *, sync, done):
        super().commit(file, position, parts, sync=sync and self._loop.random.random() < 0.05, done=done)


def run_all(seams=None, *, lies=False):
    for seed in range(30):
        run = KafkaRun(seed, seams)
        run.faults.lies = lies
        run.run()


@pytest.mark.once
def test_answering_before_the_sync_is_noticed():
    with pytest.raises(Violation):
        run_all(Seams(disk=LyingDisk))


@pytest.mark.once
def test_a_door_that_says_unavailable_of_what_is_done_is_noticed():
    with pytest.raises(Violation, match=r"may be there|was said not to be appended"):
        run_all(lies=True)


@pytest.mark.once
def test_producers_that_are_forgotten_at_recovery_are_noticed(monkeypatch):
    opened = Broker.open

    def opened_without_them(self):
        producers, self.producers = self.producers, SimpleNamespace(load=lambda _: None)
        try:
            opened(self)
        finally:
            self.producers = producers

    monkeypatch.setattr(Broker, "open", opened_without_them)
    with pytest.raises(Violation, match="of producer"):
        run_all()


@pytest.mark.once
@pytest.mark.parametrize(
    ("kind", "method", "instead"),
    [
        pytest.param(GroupOffsets, "restore", lambda *_: None, id="offsets are not kept"),
        pytest.param(Desk, "answer_when_durable", Desk.answer, id="answered before they are durable"),
    ],
)
def test_offsets_of_a_group_that_are_lost_are_noticed(monkeypatch, kind, method, instead):
    monkeypatch.setattr(kind, method, instead)
    with pytest.raises(Violation, match="group"):
        run_all()
