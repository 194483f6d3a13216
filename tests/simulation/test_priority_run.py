"""A queue with priorities over a simulated disk: the highest that is ready first, what is given back in its place, nothing lost or twice over crashes.

ENTREPOT_PRIORITY_SEEDS=n runs that many; ENTREPOT_SEED=n only that one. The long version runs 500.
"""

import os

import pytest
from test_broker import LyingDisk

from entrepot.protocols.amqp091.records import AmqpEntryCodec
from entrepot.simulation.priority_run import PriorityRun
from entrepot.simulation.store_model import Violation
from entrepot.simulation.store_run import Seams
from entrepot.store.local import store

COMPILED = str(store.__file__).endswith(".so")
SEEDS = int(os.environ.get("ENTREPOT_PRIORITY_SEEDS", "15" if COMPILED else "2"))
NOTICED = 20  # seeds, of which one notices what is broken
ONLY = os.environ.get("ENTREPOT_SEED")


def run_seeds(seeds):
    moved = given_back = ordered = 0
    for seed in seeds if ONLY is None else [int(ONLY)]:
        run = PriorityRun(seed)
        try:
            run.run()
        except BaseException as error:
            error.add_note(f"ENTREPOT_SEED={seed} repeats it")
            raise
        ordered += run.ordered
        given_back += run.given_back
        moved += run.wandering.closed_count
    return ordered, given_back, moved


def test_promises_hold():
    ordered, given_back, moved = run_seeds(range(SEEDS))
    assert SEEDS < 10 or ONLY is not None or (ordered > 100 * SEEDS and given_back > 10 * SEEDS and moved > SEEDS)


@pytest.mark.long
def test_promises_hold_for_five_hundred_seeds():
    run_seeds(range(1000, 1500))


def caught(message, codec=None, seams=None):
    for seed in range(NOTICED):
        run = PriorityRun(seed, seams)
        if codec is not None:
            run.codec = codec()
            run.codecs = [run.codec]
        try:
            run.run()
        except Violation as violation:
            assert message in str(violation), violation  # noqa: PT017 - which of them it is
            return
    pytest.fail(f"no run ends with '{message}'")


@pytest.mark.once
def test_messages_that_are_not_sorted():
    class Unsorted(AmqpEntryCodec):
        def by_priority(self, data, count, top):
            return [(0, data, count)]

    caught("comes before", Unsorted)


@pytest.mark.once
def test_priorities_upside_down():
    class Reversed(AmqpEntryCodec):
        def by_priority(self, data, count, top):
            return [(top - number, records, many) for number, records, many in super().by_priority(data, count, top)]

    caught("comes before", Reversed)


@pytest.mark.once
def test_confirming_before_the_sync():
    caught("", seams=Seams(disk=LyingDisk))
