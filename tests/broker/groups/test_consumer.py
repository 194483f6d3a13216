"""Groups whose coordinator assigns."""

import pytest
from group_bench import GroupBench, answer, reason

from entrepot.broker.calls import group_requests as r
from entrepot.broker.calls.port import DONE, PENDING
from entrepot.broker.groups import matched_topics
from entrepot.broker.groups.coordinator import SUBSCRIBED_MAX
from entrepot.broker.users.name_pattern import NamePattern
from entrepot.model.errors import Reason


@pytest.fixture
def bench():
    made = GroupBench()
    made.t = made.topics.make("t", 4)
    return made


def all_of(bench, group="g"):
    return {member.member_id: member.assigned for member in bench.describe(group).members}


def pair(bench):
    """Two settled members with two partitions each: what each has."""
    bench.consume("a")
    bench.run()
    bench.consume("b")
    _, first = bench.told(bench.heartbeat("a", 1))
    epoch, _ = bench.told(bench.heartbeat("a", 1, owned={bench.t: sorted(first["t"])}))
    _, second = bench.told(bench.heartbeat("b", 2))
    assert (epoch, len(first["t"]), len(second["t"])) == (2, 2, 2)
    assert bench.describe().state == "Stable"
    return first["t"], second["t"]


class TestReconciliation:
    def test_one_member(self, bench):
        call = bench.consume("a")
        assert call.outcome == PENDING  # until it is durable
        assert bench.told(call) == (1, {"t": {0, 1, 2, 3}})
        assert answer(call).heartbeat_interval_ms == 5000
        assert bench.told(bench.heartbeat("a", 1)) == (1, None)
        assert bench.told(bench.heartbeat("a", 1, owned={bench.t: [0, 1, 2, 3]})) == (1, None)
        assert bench.describe().state == "Stable"

    def test_nothing_is_given_before_it_is_given_up(self, bench):
        bench.consume("a")
        assert bench.told(bench.consume("b")) == (2, {})
        assert bench.describe().state == "Reconciling"
        epoch, kept = bench.told(bench.heartbeat("a", 1))
        assert (epoch, len(kept["t"])) == (1, 2)
        assert bench.told(bench.heartbeat("b", 2)) == (2, None)
        assert bench.told(bench.heartbeat("a", 1, owned={bench.t: [0, 1, 2, 3]})) == (1, None)
        assert bench.told(bench.heartbeat("a", 1)) == (1, None)
        assert bench.told(bench.heartbeat("b", 2)) == (2, None)
        assert bench.told(bench.heartbeat("a", 1, owned={bench.t: sorted(kept["t"])}))[0] == 2
        assert bench.told(bench.heartbeat("b", 2)) == (2, {"t": {0, 1, 2, 3} - kept["t"]})
        assert bench.describe().state == "Stable"

    def test_a_member_that_leaves_frees_what_it_has_at_once(self, bench):
        pair(bench)
        assert bench.told(bench.heartbeat("b", -1)) == (-1, None)
        assert bench.told(bench.heartbeat("a", 2)) == (3, {"t": {0, 1, 2, 3}})
        assert reason(bench.heartbeat("b", 2)) is Reason.UNKNOWN_MEMBER
        bench.told(bench.heartbeat("a", -1))
        assert (bench.describe().state, bench.describe().members) == ("Empty", [])

    def test_a_member_whose_session_ends(self, bench):
        pair(bench)
        for _ in range(3):
            bench.run(20)
            call = bench.heartbeat("a", bench.describe().members[0].member_epoch)
        assert bench.told(call) == (3, {"t": {0, 1, 2, 3}})
        assert reason(bench.heartbeat("b", 2)) is Reason.UNKNOWN_MEMBER

    def test_one_that_does_not_give_up_is_fenced(self, bench):
        bench.consume("a", timeout_ms=3000)
        bench.consume("b")
        bench.told(bench.heartbeat("a", 1))
        bench.run(2)
        bench.told(bench.heartbeat("a", 1))
        bench.run(1.1)
        assert reason(bench.heartbeat("a", 1)) is Reason.UNKNOWN_MEMBER
        assert bench.told(bench.heartbeat("b", 2)) == (3, {"t": {0, 1, 2, 3}})

    def test_one_that_gives_up_in_time_is_not(self, bench):
        bench.consume("a", timeout_ms=3000)
        bench.consume("b")
        _, kept = bench.told(bench.heartbeat("a", 1))
        bench.run(2.9)
        bench.told(bench.heartbeat("a", 1, owned={bench.t: sorted(kept["t"])}))
        bench.run(2)
        assert bench.told(bench.heartbeat("a", 2)) == (2, None)

    def test_a_newer_target_while_it_gives_up(self, bench):
        bench.consume("a")
        bench.consume("b")
        _, kept = bench.told(bench.heartbeat("a", 1))
        bench.told(bench.heartbeat("b", -1))
        epoch, back = bench.told(bench.heartbeat("a", 1, owned={bench.t: sorted(kept["t"])}))
        assert (epoch, back) == (3, {"t": {0, 1, 2, 3}})

    def test_many_members_and_few_partitions(self, bench):
        for number in range(6):
            bench.consume(f"m{number}")
        for _ in range(4):
            for member in bench.describe().members:
                bench.told(bench.heartbeat(member.member_id, member.member_epoch, owned=member.assigned))
        assert bench.describe().state == "Stable"
        assert sorted(len(owned) for owned in all_of(bench).values()) == [0, 0, 1, 1, 1, 1]


class TestEpochs:
    def test_wrong_ones(self, bench):
        bench.consume("a")
        bench.run()
        assert reason(bench.heartbeat("a", 2)) is Reason.FENCED_MEMBER
        assert reason(bench.heartbeat("other", 1)) is Reason.UNKNOWN_MEMBER
        assert reason(bench.heartbeat("a", 1, group="none")) is Reason.UNKNOWN_MEMBER
        assert reason(bench.heartbeat("other", -1)) is Reason.UNKNOWN_MEMBER

    def test_a_lost_answer(self, bench):
        first, _ = pair(bench)
        bench.told(bench.heartbeat("b", -1))
        bench.told(bench.heartbeat("a", 2))  # its answer is lost
        assert reason(bench.heartbeat("a", 2)) is Reason.FENCED_MEMBER
        assert reason(bench.heartbeat("a", 1, owned={})) is Reason.FENCED_MEMBER
        assert bench.told(bench.heartbeat("a", 2, owned={bench.t: sorted(first)})) == (3, {"t": {0, 1, 2, 3}})

    def test_joining_again(self, bench):
        bench.consume("a")
        assert bench.told(bench.consume("a")) == (1, {"t": {0, 1, 2, 3}})
        bench.consume("b")
        bench.told(bench.heartbeat("a", 1))
        epoch, had = bench.told(bench.consume("a"))  # it has nothing: so it has given up everything
        assert (epoch, len(had["t"])) == (2, 2)
        assert len(bench.told(bench.heartbeat("b", 2))[1]["t"]) == 2

    def test_a_made_up_member_id(self, bench):
        call = bench.consume("")
        bench.run()
        assert len(answer(call).member_id) == 36
        assert list(all_of(bench)) == [answer(call).member_id]

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ({"epoch": -3}, Reason.INVALID),
            ({"epoch": 0, "names": ["t"], "timeout_ms": 1}, Reason.INVALID),
            ({"epoch": 0, "names": ["t"], "owned": {b"x" * 16: [1]}, "timeout_ms": 1}, Reason.INVALID),
            ({"epoch": 0, "names": ["t"], "owned": {}}, Reason.INVALID),
            ({"epoch": 0, "owned": {}, "timeout_ms": 1}, Reason.INVALID),
            ({"epoch": 1, "member": ""}, Reason.INVALID),
            ({"epoch": 1, "instance": ""}, Reason.INVALID),
            ({"epoch": 1, "rack": ""}, Reason.INVALID),
            ({"epoch": 1, "rack": "x" * 1025}, Reason.INVALID),
            ({"epoch": 0, "member": "x" * 1025, "names": ["t"], "owned": {}, "timeout_ms": 1}, Reason.INVALID),
            ({"epoch": -2}, Reason.INVALID),
            ({"epoch": 1, "assignor": "none"}, Reason.UNSUPPORTED_ASSIGNOR),
            ({"epoch": 1, "regex": "("}, Reason.INVALID_PATTERN),
            ({"epoch": 1, "names": ["secret"]}, Reason.NOT_PERMITTED),
            ({"epoch": 1, "names": ["x" * (1 << 20), "y"]}, Reason.INVALID),
            ({"epoch": 0, "member": "b", "names": ["t"], "owned": {}, "timeout_ms": 1}, Reason.LIMIT),
        ],
    )
    def test_refusals(self, change, why):
        bench = GroupBench(members_max=1)
        bench.topics.make("t", 4)
        bench.permissions.denied.add("secret")
        bench.consume("a")
        bench.run()
        change = dict(change)
        assert reason(bench.heartbeat(change.pop("member", "a"), change.pop("epoch"), **change)) is why
        assert bench.told(bench.heartbeat("a", 1)) == (1, None)

    def test_a_refused_first_member_leaves_no_group(self, bench):
        assert reason(bench.heartbeat("a", 0)) is Reason.INVALID
        assert bench.get(r.ListGroups()) == []


class TestSubscriptions:
    def test_other_topics(self, bench):
        bench.topics.make("u", 2)
        bench.consume("a")
        bench.run()
        assert bench.told(bench.heartbeat("a", 1, names=["t", "u"])) == (2, {"t": {0, 1, 2, 3}, "u": {0, 1}})
        assert bench.told(bench.heartbeat("a", 2, names=["u", "t"])) == (2, None)
        assert bench.told(bench.heartbeat("a", 2, names=["u"])) == (2, {"u": {0, 1}})
        u = bench.topics.facts["u"].id
        assert bench.told(bench.heartbeat("a", 2, owned={u: [0, 1]})) == (3, None)

    def test_topics_made_grown_and_deleted(self, bench):
        bench.consume("a", names=["t", "later"])
        bench.run()
        bench.topics.make("unrelated", 1)
        assert bench.told(bench.heartbeat("a", 1)) == (1, None)
        later = bench.topics.make("later", 1)
        assert bench.told(bench.heartbeat("a", 1)) == (2, {"t": {0, 1, 2, 3}, "later": {0}})
        bench.topics.grow("later", 3)
        assert bench.told(bench.heartbeat("a", 2)) == (3, {"t": {0, 1, 2, 3}, "later": {0, 1, 2}})
        bench.topics.delete("t")
        assert bench.told(bench.heartbeat("a", 3)) == (3, {"later": {0, 1, 2}})
        assert bench.told(bench.heartbeat("a", 3, owned={later: [0, 1, 2]}))[0] == 4
        bench.topics.make("t", 1)
        assert bench.told(bench.heartbeat("a", 4)) == (5, {"t": {0}, "later": {0, 1, 2}})

    def test_by_expression(self, bench):
        bench.topics.make("secret.t", 1)
        bench.topics.make("app.one", 1)
        bench.permissions.denied.add("secret.t")
        assert bench.told(bench.consume("a", names=None, regex="(app|secret)\\..*")) == (1, {"app.one": {0}})
        bench.topics.make("app.two", 1)
        assert bench.told(bench.heartbeat("a", 1)) == (2, {"app.one": {0}, "app.two": {0}})
        assert bench.told(bench.heartbeat("a", 2, regex="", names=["t"]))[1] == {}
        assert bench.told(bench.heartbeat("a", 2, owned={})) == (3, {"t": {0, 1, 2, 3}})

    def test_by_expression_only_new_topics_are_looked_at(self, bench, monkeypatch):
        looked = []

        class Watched:
            def __init__(self, text):
                self.pattern = NamePattern(text)

            def matching(self, name):
                looked.append(name)
                return self.pattern.matching(name)

        monkeypatch.setattr(matched_topics, "NamePattern", Watched)
        for member in ("a", "b", "c"):
            bench.told(bench.consume(member, names=None, regex="t.*"))
        assert looked == ["t"]
        looked.clear()
        bench.topics.make("t2", 3)
        bench.topics.make("u2", 3)
        bench.told(bench.heartbeat("c", 3))
        assert sorted(set(looked)) == ["t2", "u2"]
        assert set().union(*bench.coordinator._groups["public/default", "g"]._readers) == {"t", "t2"}

    def test_by_expression_permissions_change(self, bench):
        bench.permissions.denied.add("t2")
        bench.topics.make("t2", 1)
        assert bench.told(bench.consume("a", names=None, regex="t.*"))[1] == {"t": {0, 1, 2, 3}}
        bench.permissions.denied.clear()
        bench.permissions.version += 1
        bench.topics.make("unrelated", 1)
        assert bench.told(bench.heartbeat("a", 1))[1] == {"t": {0, 1, 2, 3}, "t2": {0}}

    def test_assignors(self, bench):
        bench.topics.make("u", 4)
        bench.consume("a", names=["t", "u"], assignor="range")
        bench.consume("b", names=["t", "u"], assignor="range")
        bench.told(bench.heartbeat("a", 1))
        _, kept = bench.told(bench.heartbeat("a", 1, owned={}, names=["t", "u"], timeout_ms=1))
        assert kept == {"t": {0, 1}, "u": {0, 1}}
        assert bench.told(bench.heartbeat("b", 2))[1] == {"t": {2, 3}, "u": {2, 3}}
        assert bench.describe().assignor == "range"

    def test_who_reads_what_decides_whether_offsets_may_be_deleted(self, bench):
        bench.topics.make("u", 1)
        bench.consume("a")
        bench.run()
        result = bench.get(r.DeleteOffsets("g", [("t", 0), ("u", 0)]))
        assert result["t", 0].reason is Reason.IN_USE
        assert result["u", 0] is None


class TestStaticMembers:
    def test_away_and_back(self, bench):
        bench.consume("a", instance="one")
        bench.run()
        assert bench.told(bench.heartbeat("a", -2, instance="one")) == (-2, None)
        bench.told(bench.consume("b"))
        assert bench.told(bench.heartbeat("b", 2)) == (2, None)  # what is the other's stays so
        assert reason(bench.heartbeat("a", 1, instance="one")) is Reason.FENCED_MEMBER
        epoch, had = bench.told(bench.consume("c", instance="one"))
        assert (epoch, len(had["t"])) == (2, 2)
        assert len(bench.told(bench.heartbeat("b", 2))[1]["t"]) == 2
        assert reason(bench.heartbeat("a", 2, instance="one")) is Reason.FENCED_INSTANCE

    def test_back_without_a_rebalance(self, bench):
        pair(bench)
        bench.told(bench.heartbeat("a", -1))
        bench.told(bench.consume("a", instance="one"))
        epoch = bench.describe().epoch
        bench.run(1)
        assert bench.told(bench.heartbeat("a", -2, instance="one")) == (-2, None)
        assert bench.told(bench.consume("x", instance="one"))[0] == epoch
        assert bench.describe().epoch == epoch

    def test_away_and_back_under_its_own_id(self, bench):
        bench.consume("a", instance="one")
        bench.told(bench.heartbeat("a", -2, instance="one"))
        assert bench.told(bench.consume("a", instance="one")) == (1, {"t": {0, 1, 2, 3}})

    def test_away_for_too_long(self, bench):
        bench.consume("a", instance="one")
        bench.consume("b")
        bench.told(bench.heartbeat("a", -2, instance="one"))
        for _ in range(5):
            bench.run(10)
            call = bench.heartbeat("b", bench.describe().members[-1].member_epoch)
        assert bench.told(call) == (3, {"t": {0, 1, 2, 3}})

    def test_still_there(self, bench):
        bench.consume("a", instance="one")
        bench.run()
        assert reason(bench.consume("b", instance="one")) is Reason.UNRELEASED_INSTANCE
        assert reason(bench.heartbeat("a", 1, instance="two")) is Reason.UNKNOWN_MEMBER
        assert reason(bench.consume("a")) is Reason.INVALID
        assert bench.told(bench.consume("a", instance="one"))[0] == 1

    def test_leaving_for_good(self, bench):
        bench.consume("a", instance="one")
        bench.told(bench.heartbeat("a", -1, instance="one"))
        assert bench.describe().members == []
        assert bench.told(bench.consume("b", instance="one"))[1] == {"t": {0, 1, 2, 3}}


class TestOffsets:
    def test_by_members(self, bench):
        bench.consume("a")
        bench.run()
        offsets = {("t", 0): r.CommittedOffset(5)}
        assert bench.get(r.CommitOffsets("g", 1, "a", None, dict(offsets))) == {}
        assert bench.reason(r.CommitOffsets("g", 2, "a", None, dict(offsets))) is Reason.STALE_EPOCH
        assert bench.reason(r.CommitOffsets("g", 0, "a", None, dict(offsets))) is Reason.STALE_EPOCH
        assert bench.reason(r.CommitOffsets("g", 1, "b", None, dict(offsets))) is Reason.UNKNOWN_MEMBER
        assert bench.reason(r.CommitOffsets("g", -1, "", None, dict(offsets))) is Reason.UNKNOWN_MEMBER
        assert bench.get(r.FetchOffsets("g", None, "a", 1))["t", 0].offset == 5
        assert bench.reason(r.FetchOffsets("g", None, "a", 2)) is Reason.STALE_EPOCH
        assert bench.reason(r.FetchOffsets("g", None, "b", 1)) is Reason.UNKNOWN_MEMBER
        assert bench.get(r.FetchOffsets("g", None))["t", 0].offset == 5
        bench.told(bench.heartbeat("a", -1))
        assert bench.get(r.CommitOffsets("g", -1, "", None, dict(offsets))) == {}


class TestKinds:
    def test_an_empty_group_becomes_one_of_the_other_kind(self, bench):
        (first,) = bench.form(1)
        bench.get(r.CommitOffsets("g", 1, first.member_id, None, {("t", 0): r.CommittedOffset(5)}))
        assert reason(bench.consume("a")) is Reason.INCONSISTENT_GROUP
        bench.get(r.LeaveGroup("g", [(first.member_id, None, None)]))
        assert bench.told(bench.consume("a"))[0] == 3  # generations and epochs go on
        assert bench.get(r.ListGroups()) == [("g", "consumer", "Stable", "consumer")]
        assert reason(bench.join()) is Reason.INCONSISTENT_GROUP
        assert reason(bench.beat(first)) is Reason.UNKNOWN_MEMBER
        bench.told(bench.heartbeat("a", -1))
        bench.restart()
        (again,) = bench.form(1)
        assert again.generation == 5
        assert bench.get(r.FetchOffsets("g", None))["t", 0].offset == 5
        bench.restart()
        assert bench.describe().kind == "classic"

    def test_delete(self, bench):
        bench.consume("a")
        bench.run()
        assert bench.reason(r.DeleteGroup("g")) is Reason.NOT_EMPTY
        bench.told(bench.heartbeat("a", -1))
        assert bench.get(r.DeleteGroup("g")) is None
        bench.restart()
        assert bench.get(r.ListGroups()) == []


class TestRestart:
    def test_nobody_is_fenced(self, bench):
        pair(bench)
        before = bench.describe()
        bench.restart()
        after = bench.describe()
        assert (after.epoch, after.assignment_epoch, after.state) == (before.epoch, before.assignment_epoch, "Stable")
        assert after.members == before.members
        assert bench.told(bench.heartbeat("a", 2)) == (2, None)
        assert bench.told(bench.heartbeat("b", 2)) == (2, None)
        bench.run(46)
        assert bench.describe().members == []

    def test_amid_a_reconciliation(self, bench):
        bench.consume("a", timeout_ms=60_000)
        bench.consume("b")
        _, kept = bench.told(bench.heartbeat("a", 1))
        bench.restart()
        assert bench.told(bench.heartbeat("b", 2))[0] in (2, 3)
        assert all_of(bench)["b"] == {}
        bench.told(bench.heartbeat("a", 1, owned={bench.t: sorted(kept["t"])}))
        bench.told(bench.heartbeat("b", bench.describe().members[1].member_epoch))
        assert bench.describe().state == "Stable"
        assert sorted(partition for owned in all_of(bench).values() for partition in owned[bench.t]) == [0, 1, 2, 3]

    def test_a_topic_that_changed_since_the_last_heartbeat(self, bench):
        pair(bench)
        bench.topics.grow("t", 6)
        bench.restart()
        given = bench.told(bench.heartbeat("a", 2))[1]
        assert len(given["t"]) == 3
        assert bench.describe().epoch == 3

    def test_a_static_member_that_is_away(self, bench):
        bench.consume("a", instance="one")
        bench.told(bench.heartbeat("a", -2, instance="one"))
        bench.restart()
        assert bench.told(bench.consume("b", instance="one"))[1] == {"t": {0, 1, 2, 3}}

    def test_nothing_durable_nothing_answered(self, bench):
        call = bench.consume("a")
        bench.restart()
        bench.run()
        assert call.outcome != DONE
        assert reason(bench.heartbeat("a", 1)) is Reason.UNKNOWN_MEMBER

    def test_the_time_to_give_up_starts_again(self, bench):
        bench.consume("a", timeout_ms=3000)
        bench.consume("b")
        bench.told(bench.heartbeat("a", 1))
        bench.restart()
        bench.run(3.1)
        assert list(all_of(bench)) == ["b"]


def test_a_heartbeat_that_says_nothing_writes_nothing(bench):
    bench.consume("a")
    bench.run()
    folds = bench.store.fold_count
    call = bench.heartbeat("a", 1)
    assert call.outcome == DONE  # at once
    assert bench.store.fold_count == folds


@pytest.mark.once
def test_a_thousand_members(bench):
    bench.topics.make("wide", 1000)
    for number in range(1000):
        bench.consume(f"m{number}", names=["wide"])
    bench.run()
    for _ in range(3):
        for member in bench.describe().members:
            bench.heartbeat(member.member_id, member.member_epoch, owned=member.assigned)
        bench.run()
    assert bench.describe().state == "Stable"
    assert {len(member.assigned) for member in bench.describe().members} == {1}


def test_a_member_names_so_many_topics(bench):
    names = [f"t{number}" for number in range(SUBSCRIBED_MAX + 1)]
    assert reason(bench.consume("a", names)) is Reason.INVALID
    assert bench.consume("a", names[1:]).outcome == PENDING
