"""Consumer groups of both protocols in trouble, under virtual time.

ENTREPOT_GROUP_SEEDS=n runs that many of each protocol; ENTREPOT_SEED=n only that one.
"""

import os

import pytest

from both_modes import examples
from entrepot.broker.groups.classic import ClassicGroup
from entrepot.broker.groups.consumer import ConsumerGroup
from entrepot.broker.groups.consumer_member import ConsumerMember
from entrepot.broker.groups.desk import Desk
from entrepot.simulation.group_run import CONSUMER, COOPERATIVE, EAGER, GroupRun
from entrepot.simulation.store_model import Violation

SEEDS = int(os.environ.get("ENTREPOT_GROUP_SEEDS", examples(200)))
ONLY = os.environ.get("ENTREPOT_SEED")


@pytest.mark.parametrize("protocol", [EAGER, COOPERATIVE, CONSUMER])
def test_rebalances_end(protocol):
    count = SEEDS
    generations = restarts = 0
    for seed in range(count) if ONLY is None else [int(ONLY)]:
        run = GroupRun(seed, protocol)
        try:
            run.run()
        except BaseException as error:
            error.add_note(f"ENTREPOT_SEED={seed} with protocol {protocol} repeats it")
            raise
        generations += run.rebalances
        restarts += run.restarts
    if ONLY is None:
        assert generations > 5 * count
        assert restarts > count


@pytest.mark.parametrize("protocol", [EAGER, COOPERATIVE, CONSUMER])
def test_a_seed_is_a_run(protocol):
    assert GroupRun(3, protocol).run() == GroupRun(3, protocol).run()


def run_all(protocol, seeds=range(60)):
    for seed in seeds:
        GroupRun(seed, protocol).run()


@pytest.mark.once
@pytest.mark.parametrize(
    ("protocol", "kind", "method", "instead"),
    [
        pytest.param(CONSUMER, ConsumerMember, "owns_one_of", lambda *_: False, id="partitions are given away before they are given up"),
        pytest.param(CONSUMER, ConsumerGroup, "check_fetch", lambda *_: None, id="whoever commits is believed"),
        pytest.param(CONSUMER, ConsumerGroup, "_fence", lambda *_: None, id="nobody is missed, by the coordinator"),
        pytest.param(CONSUMER, ConsumerGroup, "_keep_member", lambda *_: None, id="members are not kept"),
        pytest.param(EAGER, ClassicGroup, "_check_generation", lambda *_: None, id="generations are not looked at"),
        pytest.param(EAGER, ClassicGroup, "_session_is_over", lambda *_: None, id="nobody is missed, by the members"),
        pytest.param(EAGER, ClassicGroup, "restore", lambda *_: None, id="generations are not kept"),
        pytest.param(EAGER, Desk, "answer_when_durable", Desk.answer, id="answered before it is durable"),
    ],
)
def test_what_is_wrong_is_noticed(monkeypatch, protocol, kind, method, instead):
    monkeypatch.setattr(kind, method, instead)
    with pytest.raises((Violation, AssertionError)):
        run_all(protocol)
