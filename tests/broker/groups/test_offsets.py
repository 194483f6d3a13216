"""Committed offsets: checked, kept, expired."""

import pytest
from group_bench import GroupBench, answer, reason, subscription

from entrepot.broker.calls import group_requests as r
from entrepot.broker.calls.port import PENDING
from entrepot.broker.groups import classic_member
from entrepot.broker.groups.subscribed_topics import topics_end
from entrepot.model.errors import Reason

DAY_S = 86_400


@pytest.fixture
def bench():
    made = GroupBench()
    made.topics.make("t", 4)
    made.topics.make("u", 2)
    return made


def commit(offsets, group="g", generation=-1, member="", instance=None):
    return r.CommitOffsets(group, generation, member, instance, {place: r.CommittedOffset(offset, 3, f"m{offset}") for place, offset in offsets.items()})


def fetched(bench, partitions=None, group="g"):
    return {place: committed.offset for place, committed in bench.get(r.FetchOffsets(group, partitions)).items()}


class TestCommit:
    def test_from_outside(self, bench):
        assert bench.get(commit({("t", 0): 5, ("t", 3): 6, ("u", 1): 7})) == {}
        assert fetched(bench) == {("t", 0): 5, ("t", 3): 6, ("u", 1): 7}
        assert fetched(bench, [("t", 0), ("t", 1), ("nowhere", 0)]) == {("t", 0): 5, ("t", 1): -1, ("nowhere", 0): -1}
        committed = bench.get(r.FetchOffsets("g", None))["t", 3]
        assert (committed.leader_epoch, committed.metadata) == (3, "m6")
        assert fetched(bench, group="none") == {}
        assert fetched(bench, [("t", 0)], group="none") == {("t", 0): -1}
        assert bench.get(r.ListGroups()) == [("g", "", "Empty", "classic")]

    def test_answered_when_it_is_durable_and_seen_only_then(self, bench):
        call = bench.ask(commit({("t", 0): 5}))
        look = bench.ask(r.FetchOffsets("g", None))
        assert (call.outcome, look.outcome) == (PENDING, PENDING)
        bench.restart()
        assert fetched(bench) == {}
        assert bench.get(commit({("t", 0): 6})) == {}
        bench.restart()
        assert fetched(bench) == {("t", 0): 6}
        kept = bench.get(r.FetchOffsets("g", None))["t", 0]
        assert (kept.leader_epoch, kept.metadata) == (3, "m6")

    def test_what_cannot_be_is_refused_alone(self, bench):
        bench.permissions.denied.add("u")
        request = commit({("t", 0): 1, ("t", 4): 2, ("t", -1): 2, ("none", 0): 3, ("u", 0): 4, ("t", 1): 5})
        request.offsets["t", 1].metadata = "x" * 4097
        refused = bench.get(request)
        assert {place: error.reason for place, error in refused.items()} == {
            ("t", 4): Reason.NOT_FOUND,
            ("t", -1): Reason.NOT_FOUND,
            ("none", 0): Reason.NOT_FOUND,
            ("u", 0): Reason.NOT_PERMITTED,
            ("t", 1): Reason.TOO_LARGE,
        }
        assert fetched(bench) == {("t", 0): 1}
        assert bench.get(r.FetchOffsets("g", [("u", 0)]))["u", 0].reason is Reason.NOT_PERMITTED

    def test_by_members(self, bench):
        first, second = bench.form(2, instances=["a", None])
        assert bench.get(commit({("t", 0): 1}, generation=1, member=second.member_id)) == {}
        assert bench.get(commit({("t", 0): 2}, generation=1, member=first.member_id, instance="a")) == {}
        refusals = [
            ({"generation": 2, "member": second.member_id}, Reason.STALE_MEMBER),
            ({"generation": -1, "member": second.member_id}, Reason.STALE_MEMBER),
            ({"generation": 1, "member": "other"}, Reason.UNKNOWN_MEMBER),
            ({"generation": 1, "member": second.member_id, "instance": "a"}, Reason.FENCED_INSTANCE),
            ({"generation": 1, "member": second.member_id, "instance": "b"}, Reason.UNKNOWN_MEMBER),
            ({}, Reason.UNKNOWN_MEMBER),
            ({"group": "other", "generation": 1, "member": "x"}, Reason.NOT_FOUND),
        ]
        for how, why in refusals:
            assert bench.reason(commit({("t", 0): 9}, **how)) is why, how
        assert fetched(bench) == {("t", 0): 2}

    @pytest.mark.parametrize(("member", "instance"), [("x", None), ("", "a"), ("x", "a")])
    def test_from_outside_whatever_the_member_calls_itself(self, bench, member, instance):
        assert bench.get(commit({("t", 0): 3}, member=member, instance=instance)) == {}
        assert bench.get(commit({("t", 1): 4}, member="other")) == {}
        assert fetched(bench) == {("t", 0): 3, ("t", 1): 4}

    @pytest.mark.parametrize("offsets", [{("none", 0): 1}, {("t", 9): 1}, {}])
    def test_without_a_topic_that_is_there_the_group_is_not_asked(self, bench, offsets):
        refused = bench.get(commit(offsets, generation=7, member="x"))
        assert {place: error.reason for place, error in refused.items()} == dict.fromkeys(offsets, Reason.NOT_FOUND)
        assert bench.get(r.ListGroups()) == []

    def test_during_a_rebalance(self, bench):
        (first,) = bench.form(1)
        bench.join()
        assert bench.get(commit({("t", 0): 1}, generation=1, member=first.member_id)) == {}
        again = bench.join(first.member_id)
        bench.run()
        assert bench.reason(commit({("t", 0): 2}, generation=2, member=answer(again).member_id)) is Reason.REBALANCING

    def test_committing_is_a_sign_of_life(self, bench):
        (first,) = bench.form(1, session_ms=1000)
        for offset in range(5):
            bench.run(0.9)
            assert bench.get(commit({("t", 0): offset}, generation=1, member=first.member_id)) == {}


class TestDelete:
    def test_of_topics_that_nobody_reads(self, bench):
        (first,) = bench.form(1, protocols=[("range", subscription("t"))])
        bench.get(commit({("t", 0): 1, ("u", 0): 2, ("u", 1): 3}, generation=1, member=first.member_id))
        result = bench.get(r.DeleteOffsets("g", [("t", 0), ("u", 0), ("none", 0)]))
        assert result["t", 0].reason is Reason.IN_USE
        assert result["u", 0] is None
        assert result["none", 0].reason is Reason.NOT_FOUND
        assert fetched(bench) == {("t", 0): 1, ("u", 1): 3}
        assert bench.reason(r.DeleteOffsets("none", [])) is Reason.NOT_FOUND

    def test_what_members_say_is_taken_apart_once_whatever_is_asked(self, bench, monkeypatch):
        taken_apart = []
        monkeypatch.setattr(classic_member, "topics_end", lambda metadata: taken_apart.append(metadata) or topics_end(metadata))
        for number in range(40):
            bench.topics.make(f"other{number}", 1)
        bench.form(3, protocols=[("range", subscription("x" * 300, "t", user_data=subscription("u")))])
        for topic, expected in [("t", Reason.IN_USE), ("u", None), *((f"other{number}", None) for number in range(40))]:
            error = bench.get(r.DeleteOffsets("g", [(topic, 0)]))[topic, 0]
            assert (error and error.reason) == expected, topic
        assert len(taken_apart) == 3

    @pytest.mark.parametrize("metadata", [b"", b"\0\1\0\0\0\1\0\5t", b"\0\1\0\0\0\2\0\1x", b"\0\1\xff\xff\xff\xff", subscription(*["x"] * 4001)])
    def test_who_cannot_be_understood_reads_all(self, bench, metadata):
        bench.form(1, protocols=[("range", metadata)])
        assert bench.get(r.DeleteOffsets("g", [("u", 0)]))["u", 0].reason is Reason.IN_USE

    def test_groups_of_another_type_must_be_empty(self, bench):
        bench.form(1, kind="connect")
        assert bench.reason(r.DeleteOffsets("g", [("t", 0)])) is Reason.NOT_EMPTY

    def test_with_their_topic(self, bench):
        bench.get(commit({("t", 0): 1, ("u", 0): 2}))
        bench.coordinator.topic_deleted("public/default", "t")
        bench.coordinator.topic_deleted("public/other", "u")
        assert fetched(bench) == {("u", 0): 2}
        bench.restart()
        assert fetched(bench) == {("u", 0): 2}

    def test_with_their_group(self, bench):
        bench.get(commit({("t", 0): 1}))
        bench.get(r.DeleteGroup("g"))
        assert fetched(bench) == {}
        bench.restart()
        assert fetched(bench) == {}
        assert bench.get(r.ListGroups()) == []


class TestExpiry:
    def test_a_week_after_the_last_member(self, bench):
        (first,) = bench.form(1, session_ms=1_800_000)
        bench.get(commit({("t", 0): 1}, generation=1, member=first.member_id))
        for _ in range(8 * 48):  # it is read for longer than a week
            bench.run(1799)
            answer(bench.beat(first))
        bench.get(r.LeaveGroup("g", [(first.member_id, None, None)]))
        bench.run(6 * DAY_S)
        assert fetched(bench) == {("t", 0): 1}
        bench.restart()
        bench.run(0.9 * DAY_S)
        assert fetched(bench) == {("t", 0): 1}
        bench.run(0.2 * DAY_S)
        assert fetched(bench) == {}
        assert bench.get(r.ListGroups()) == []
        bench.restart()
        assert bench.get(r.ListGroups()) == []

    def test_from_outside_by_their_own_time(self, bench):
        bench.get(commit({("t", 0): 1, ("t", 1): 1}))
        bench.run(4 * DAY_S)
        bench.get(commit({("t", 1): 2}))
        bench.run(4 * DAY_S)
        assert fetched(bench) == {("t", 1): 2}

    def test_many_groups_in_slices(self, bench):
        for number in range(600):
            bench.ask(commit({("t", 0): 1}, group=f"g{number}"))
        bench.run()
        bench.run(7 * DAY_S + 700)
        assert bench.get(r.ListGroups()) == []
        assert bench.coordinator.statistics() == {"groups": 0, "group_members": 0, "group_rebalances_total": 0, "offsets": 0, "offsets_committed_total": 600}

    def test_an_idle_group_without_offsets_goes_at_the_next_look(self, bench):
        (first,) = bench.form(1)
        bench.get(r.LeaveGroup("g", [(first.member_id, None, None)]))
        bench.run(601)
        assert bench.get(r.ListGroups()) == []


def test_one_fold_a_partition(bench):
    bench.topics.make("wide", 1000)
    bench.get(commit({("wide", 0): 1}))  # a group that is made keeps its maker, too
    folds = bench.store.fold_count
    bench.get(commit({("wide", partition): 1 for partition in range(1000)}))
    assert bench.store.fold_count - folds == 1000


def test_reasons_of_calls_come_with_calls(bench):
    assert reason(bench.ask(r.FetchOffsets("x" * 256, None))) is Reason.INVALID_GROUP


def test_the_empty_name_has_offsets_and_no_members(bench):
    assert bench.get(commit({("t", 0): 1}, group="")) == {}
    assert bench.reason(commit({("t", 0): 2}, group="", generation=2, member="x")) is Reason.UNKNOWN_MEMBER
    bench.restart()
    assert {place: found.offset for place, found in bench.get(r.FetchOffsets("", None)).items()} == {("t", 0): 1}
    assert bench.get(r.DescribeGroup("")).state == "Empty"
    for request in (r.LeaveGroup("", [("x", None, None)]), r.Heartbeat("", 0, "x", None), r.DeleteOffsets("", [("t", 0)])):
        assert bench.reason(request) is Reason.INVALID_GROUP, request
    assert bench.get(r.DeleteGroup("")) is None
    assert bench.reason(r.DeleteGroup("")) is Reason.NOT_FOUND
