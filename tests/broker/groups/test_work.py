"""Long heartbeats are worked off in pieces: others are answered in between, and members that go meanwhile are missed."""

import itertools

import pytest
from group_bench import GroupBench, answer, reason

from entrepot.broker.calls import group_requests as r
from entrepot.broker.calls.port import DONE, PENDING
from entrepot.broker.groups import matched_topics
from entrepot.broker.groups.coordinator import LOOKED_AT_ONCE
from entrepot.broker.groups.work import STEPS, Work, at_once, emptying
from entrepot.broker.users.name_pattern import NamePattern
from entrepot.model.errors import Reason

MANY = 120
SLOW = "(.*a.{250}){8}"  # hundreds of microseconds for each character of a name


@pytest.fixture
def bench():
    return GroupBench()


def loop_of():
    later = []
    work = Work(later.append)

    def turn():
        functions, later[:] = list(later), []
        for function in functions:
            function()
        return bool(functions)

    return work, turn


def counted(done, name, pieces, steps):
    for _ in range(pieces):
        done.append(name)
        yield steps


def test_what_fits_a_turn_is_done_at_once_and_all_share_it():
    work, turn = loop_of()
    done = []
    work.run(counted(done, "short", 3, 10))
    assert done == ["short"] * 3
    work.run(counted(done, "long", 35, STEPS // 10))
    work.run(counted(done, "behind", 1, 1))
    assert 8 <= done.count("long") <= 10
    assert "behind" not in done
    assert turn()
    assert done.count("long") <= 20
    assert turn()
    assert "behind" in done
    assert done.count("long") < 35
    while turn():
        pass
    assert done.count("long") == 35


def test_what_fails_costs_nobody_else_their_turn():
    work, turn = loop_of()
    done = []

    def failing():
        yield STEPS
        raise AssertionError("a bug")

    work.run(failing())
    work.run(counted(done, "behind", 1, 1))
    with pytest.raises(AssertionError):
        turn()
    assert turn()
    assert done == ["behind"]


def test_names_are_looked_at_in_pieces(bench, monkeypatch):
    looked = []

    class Watched:
        def __init__(self, text):
            self.pattern = NamePattern(text)

        def matching(self, name):
            looked.append(name)
            return iter_of(self.pattern.matches(name))

    monkeypatch.setattr(matched_topics, "NamePattern", Watched)
    for number in range(20 * matched_topics.PIECE * 4):
        bench.topics.make(f"t{number}", 1)
    call = bench.consume("a", names=None, regex="t.*")
    assert len(looked) <= STEPS
    other = bench.consume("b", names=["t1"], group="other")
    bench.run()
    assert len(looked) == len(bench.topics.facts)
    assert len(answer(call).assignment) == len(looked)
    assert other.outcome == DONE


def iter_of(value):
    return value
    yield


def test_an_expression_that_is_slow_is_matched_in_pieces():
    pattern = NamePattern(SLOW)
    name = "ab" * 124
    costs = list(pattern.matching(name))
    assert len(costs) == len(name)
    assert max(costs) < STEPS
    assert sum(costs) > STEPS


def joined(bench):
    """A group of members that each read other topics."""
    for number in range(MANY):
        bench.topics.make(f"t{number}", 2)
    for member in range(MANY):
        bench.consume(f"m{member}", names=[f"t{(member + number) % MANY}" for number in range(MANY // 2)])
        bench.run(0.05)
    return bench.coordinator._groups["public/default", "g"]


def settle(bench):
    for _ in range(6):
        for member in bench.describe().members:
            bench.heartbeat(member.member_id, member.member_epoch, owned=member.assigned)
        bench.run(0.2)
    return bench.describe()


def test_a_target_of_many_members_is_made_in_pieces(bench):
    group = joined(bench)
    call = bench.consume("late", names=["t0", "t1"])
    other = bench.consume("b", names=["t1"], group="other")
    assert group._working
    assert call.outcome == other.outcome == PENDING
    bench.run(0.2)
    assert (call.outcome, other.outcome) == (DONE, DONE)
    found = settle(bench)
    assert found.state == "Stable"
    places = [(topic, partition) for member in found.members for topic, partitions in member.assigned.items() for partition in partitions]
    assert len(places) == len(set(places)) == 2 * MANY


def test_members_that_go_while_a_target_is_made(bench):
    group = joined(bench)
    call = bench.consume("late", names=["t0", "t1"])
    assert group._working
    group._fence("m7")
    group._fence("late")
    assert group.epoch > group.assignment_epoch
    bench.run(0.2)
    assert reason(call) is Reason.UNKNOWN_MEMBER
    found = settle(bench)
    assert found.state == "Stable"
    assert len({(topic, partition) for member in found.members for topic, partitions in member.assigned.items() for partition in partitions}) == 2 * MANY


def test_all_members_go_while_a_target_is_made(bench):
    group = joined(bench)
    bench.consume("late", names=["t0", "t1"])
    for member in list(group.members):
        group._fence(member)
    assert not group.is_empty  # until it is done
    bench.run(0.2)
    assert group.is_empty
    assert bench.told(bench.consume("new", names=["t0"]))[1] == {"t0": {0, 1}}


def test_heartbeats_of_a_group_keep_their_order(bench):
    joined(bench)
    bench.consume("late", names=["t0"])
    told = [bench.heartbeat("late", -1), bench.consume("late", names=["t1"])]
    assert [call.outcome for call in told] == [PENDING, PENDING]
    bench.run(0.2)
    assert [answer(call).member_epoch < 0 for call in told] == [True, False]
    group = bench.coordinator._groups["public/default", "g"]
    assert group.members["late"].subscribed_names == ["t1"]


def test_groups_are_listed_in_pieces():
    bench = GroupBench()
    bench.topics.make("t", 1)
    for number in range(2 * STEPS):
        bench.ask(r.CommitOffsets(f"g{number}", -1, "", None, {("t", 0): r.CommittedOffset(1, 3, "")}))
    bench.run()
    asked = []
    may = bench.permissions.may
    bench.permissions.may = lambda principal, action, namespace, name: asked.append(name) or may(principal, action, namespace, name)
    call = bench.ask(r.ListGroups([], []))
    assert STEPS // 8 < len(asked) <= STEPS + LOOKED_AT_ONCE
    bench.get(r.DeleteGroup(f"g{2 * STEPS - 1}"))
    bench.run()
    assert len(answer(call)) == 2 * STEPS - 1  # what went meanwhile is not listed
    assert {row[2:] for row in bench.get(r.ListGroups(["empty"], ["classic"]))} == {("Empty", "classic")}
    assert bench.get(r.ListGroups(["stable"], [])) == []


def test_a_long_table_is_let_go_of_over_turns():
    work, turn = loop_of()
    table = dict.fromkeys(range(10 * STEPS))
    sizes = [len(table)]
    work.run(emptying(table))
    sizes.append(len(table))
    while turn():
        sizes.append(len(table))
    assert table == {}
    assert max(before - after for before, after in itertools.pairwise(sizes)) <= 3 * STEPS


def test_at_once():
    def pieces():
        yield 1
        return "done"

    assert at_once(pieces()) == "done"
