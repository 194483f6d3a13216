"""Groups whose members agree among themselves."""

import pytest
from group_bench import GroupBench, answer, reason, subscription

from entrepot.broker.calls import group_requests as r
from entrepot.broker.calls.port import DONE, PENDING
from entrepot.broker.catalogue.quotas import QuotaLimits
from entrepot.model.errors import Reason


@pytest.fixture
def bench():
    return GroupBench()


class TestJoin:
    def test_a_first_generation(self, bench):
        first, second = bench.join(), bench.join(protocols=[("range", b"n"), ("other", b"")])
        assert (first.outcome, second.outcome) == (PENDING, PENDING)
        assert bench.describe().state == "PreparingRebalance"
        bench.run()
        led, following = answer(first), answer(second)
        assert led.generation == following.generation == 1
        assert led.leader == following.leader == led.member_id != following.member_id
        assert led.member_id.startswith("client-")
        assert led.protocol == "range"
        assert led.members == [(led.member_id, None, b"m"), (following.member_id, None, b"n")]
        assert following.members == []
        assert bench.describe().state == "CompletingRebalance"
        waits = bench.sync(following)
        assert waits.outcome == PENDING
        assert bench.get(r.Heartbeat("g", 1, following.member_id, None)) is None
        leads = bench.sync(led, {led.member_id: b"1", following.member_id: b"2"})
        assert leads.outcome == PENDING  # until it is durable
        bench.run()
        assert answer(leads) == ("consumer", "range", b"1")
        assert answer(waits) == ("consumer", "range", b"2")
        described = bench.describe()
        assert (described.state, described.protocol, [member.assignment for member in described.members]) == ("Stable", "range", [b"1", b"2"])
        again = bench.sync(following)
        bench.run()
        assert answer(again)[2] == b"2"

    def test_the_initial_delay_gathers_and_is_extended_while_members_come(self):
        bench = GroupBench(initial_rebalance_delay_ms=100)
        calls = [bench.join(rebalance_ms=250)]
        for _ in range(2):
            bench.run(0.08)
            calls.append(bench.join(rebalance_ms=250))
        bench.run(0.08)
        assert [call.outcome for call in calls] == [PENDING] * 3
        bench.run(0.02)  # the rebalance timeout is the bound
        assert {answer(call).generation for call in calls} == {1}

    def test_a_member_id_is_required(self, bench):
        call = bench.join(require_known_member_id=True)
        assert reason(call) is Reason.MEMBER_ID_REQUIRED
        member_id = call.result
        assert bench.describe().state == "Empty"
        came = bench.join(member_id)
        bench.run()
        assert answer(came).member_id == member_id

    def test_a_pending_member_that_does_not_come_is_forgotten(self, bench):
        call = bench.join(require_known_member_id=True, session_ms=1000)
        bench.run(1.1)
        assert reason(bench.join(call.result)) is Reason.UNKNOWN_MEMBER

    def test_a_rebalance_waits_for_pending_members(self, bench):
        (first,) = bench.form(1)
        pending = bench.join(require_known_member_id=True).result
        again = bench.join(first.member_id)
        bench.run()
        assert again.outcome == PENDING
        bench.ask(r.LeaveGroup("g", [(pending, None, None)]))
        bench.run()
        assert answer(again).generation == 2

    def test_a_second_member_makes_everybody_join_again(self, bench):
        (first,) = bench.form(1)
        second = bench.join()
        assert reason(bench.beat(first)) is Reason.REBALANCING
        assert reason(bench.sync(first)) is Reason.REBALANCING
        again = bench.join(first.member_id)
        bench.run()
        assert answer(again).generation == answer(second).generation == 2
        assert answer(again).leader == first.member_id

    def test_who_does_not_join_again_in_time_is_out(self, bench):
        first, second = bench.form(2, rebalance_ms=1000)
        again = bench.join(first.member_id, rebalance_ms=1000, protocols=[("range", b"other")])
        bench.run(0.9)
        assert again.outcome == PENDING
        bench.run(0.2)
        assert [member for member, _, _ in answer(again).members] == [first.member_id]
        assert reason(bench.join(second.member_id)) is Reason.UNKNOWN_MEMBER

    def test_the_same_metadata_again(self, bench):
        first, second = bench.form(2)
        same = bench.join(second.member_id)
        bench.run()
        assert answer(same) == second
        leading = bench.join(first.member_id)
        bench.run()
        assert leading.outcome == PENDING  # a leader wants to assign anew
        assert bench.describe().state == "PreparingRebalance"

    def test_the_same_metadata_again_before_it_is_complete(self, bench):
        call = bench.join()
        bench.run()
        again = bench.join(answer(call).member_id)
        bench.run()
        assert answer(again) == answer(call)

    def test_asking_twice_answers_the_first(self, bench):
        first, second = bench.form(2)
        one = bench.join(first.member_id)
        two = bench.join(first.member_id)
        assert reason(one) is Reason.REBALANCING
        bench.join(second.member_id)
        bench.run()
        assert answer(two).generation == 2

    def test_votes(self, bench):
        calls = [
            bench.join(protocols=[("a", b""), ("b", b""), ("c", b"")]),
            bench.join(protocols=[("b", b""), ("a", b"")]),
            bench.join(protocols=[("c", b""), ("b", b""), ("a", b"")]),
        ]
        bench.run()
        assert {answer(call).protocol for call in calls} == {"b"}

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ({"protocols": [("unknown", b"")]}, Reason.INCONSISTENT_GROUP),
            ({"protocols": []}, Reason.INCONSISTENT_GROUP),
            ({"kind": "connect"}, Reason.INCONSISTENT_GROUP),
            ({"kind": ""}, Reason.INCONSISTENT_GROUP),
            ({"member": "unheard-of"}, Reason.UNKNOWN_MEMBER),
            ({"session_ms": 0}, Reason.INVALID_SESSION_TIMEOUT),
            ({"session_ms": 1_800_001}, Reason.INVALID_SESSION_TIMEOUT),
            ({"group": ""}, Reason.INVALID_GROUP),
            ({"instance": "x" * 1025}, Reason.INVALID),
            ({"kind": "x" * 1025}, Reason.INVALID),
            ({"group": "x" * 256}, Reason.INVALID_GROUP),
            ({"protocols": [("range", bytes(1 << 20))]}, Reason.INVALID),
            ({"member": "unheard-of", "group": "nowhere"}, Reason.UNKNOWN_MEMBER),
        ],
    )
    def test_refusals(self, bench, change, why):
        bench.form(1)
        assert reason(bench.join(**change)) is why
        assert bench.describe().state == "Stable"

    def test_limits(self):
        bench = GroupBench(QuotaLimits(groups=1), members_max=2)
        bench.form(2)
        assert reason(bench.join()) is Reason.LIMIT
        assert reason(bench.join(group="other")) is Reason.LIMIT

    def test_a_refused_first_member_leaves_no_group(self, bench):
        assert reason(bench.join(protocols=[])) is Reason.INCONSISTENT_GROUP
        assert bench.get(r.ListGroups()) == []

    def test_permission(self, bench):
        bench.permissions.denied.add("g")
        assert reason(bench.join()) is Reason.NOT_PERMITTED
        assert bench.reason(r.DescribeGroup("g")) is Reason.NOT_PERMITTED


class TestSessions:
    def test_heartbeats_keep_it(self, bench):
        (first,) = bench.form(1, session_ms=1000)
        for _ in range(5):
            bench.run(0.9)
            assert answer(bench.beat(first)) is None
        bench.run(1.1)
        assert reason(bench.beat(first)) is Reason.UNKNOWN_MEMBER
        described = bench.describe()
        assert (described.state, described.epoch, described.members) == ("Empty", 2, [])

    def test_one_that_goes_silent_makes_the_others_join_again(self, bench):
        first, second = bench.form(2, session_ms=1000)
        bench.run(0.6)
        bench.beat(first)
        bench.run(0.6)
        assert reason(bench.beat(first)) is Reason.REBALANCING
        again = bench.join(first.member_id, session_ms=1000)
        bench.run()
        assert len(answer(again).members) == 1
        assert reason(bench.beat(second)) is Reason.UNKNOWN_MEMBER

    def test_waiting_for_a_generation_is_no_silence(self, bench):
        first, second = bench.form(2, session_ms=1000, rebalance_ms=30_000)
        again = bench.join(first.member_id, session_ms=1000, rebalance_ms=30_000)
        for _ in range(8):
            bench.run(0.5)
            assert reason(bench.beat(second)) is Reason.REBALANCING
        assert again.outcome == PENDING
        bench.join(second.member_id, session_ms=1000)
        bench.run()
        assert len(answer(again).members) == 2

    def test_a_leader_that_does_not_sync_is_out(self, bench):
        calls = [bench.join(rebalance_ms=2000, session_ms=60_000) for _ in range(2)]
        bench.run()
        leader, other = (answer(call) for call in calls)
        waits = bench.sync(other)
        bench.run(2.1)
        assert reason(waits) is Reason.REBALANCING
        again = bench.join(other.member_id, rebalance_ms=2000)
        bench.run()
        assert answer(again).leader == other.member_id
        assert reason(bench.beat(leader)) is Reason.UNKNOWN_MEMBER

    def test_time_to_sync_is_over_only_for_those_who_have_not(self, bench):
        first, second = bench.form(2, rebalance_ms=1000, session_ms=60_000)
        bench.run(2)
        assert answer(bench.beat(first)) is None
        assert answer(bench.beat(second)) is None

    def test_generations(self, bench):
        (first,) = bench.form(1)
        assert bench.reason(r.Heartbeat("g", 7, first.member_id, None)) is Reason.STALE_MEMBER
        assert reason(bench.sync(first, generation=7)) is Reason.STALE_MEMBER
        assert bench.reason(r.Heartbeat("none", 1, first.member_id, None)) is Reason.UNKNOWN_MEMBER
        assert bench.reason(r.SyncGroup("g", 1, first.member_id, None, "consumer", "other", {})) is Reason.INCONSISTENT_GROUP
        assert bench.reason(r.SyncGroup("g", 1, first.member_id, None, "connect", "range", {})) is Reason.INCONSISTENT_GROUP

    def test_leaving(self, bench):
        first, second = bench.form(2)
        assert bench.get(r.LeaveGroup("g", [(second.member_id, None, None)])) == [None]
        assert reason(bench.beat(first)) is Reason.REBALANCING
        (refused,) = bench.get(r.LeaveGroup("g", [(second.member_id, None, None)]))
        assert refused.reason is Reason.UNKNOWN_MEMBER
        assert bench.get(r.LeaveGroup("g", [(first.member_id, None, None)])) == [None]
        assert bench.describe().state == "Empty"
        assert bench.get(r.LeaveGroup("none", [("x", None, None)]))[0].reason is Reason.UNKNOWN_MEMBER


class TestStaticMembers:
    def test_it_comes_back_without_a_rebalance(self, bench):
        leader, member = bench.form(2, instances=["a", "b"])
        back = bench.join(instance="b")
        bench.run()
        result = answer(back)
        assert (result.generation, result.leader, result.members) == (1, leader.member_id, [])
        assert result.member_id != member.member_id
        assert result.member_id.startswith("b-")
        call = bench.sync(result, instance="b")
        bench.run()
        assert answer(call)[2] == b"for " + member.member_id.encode()
        assert reason(bench.beat(member, instance="b")) is Reason.FENCED_INSTANCE
        assert reason(bench.sync(member, instance="b")) is Reason.FENCED_INSTANCE
        assert answer(bench.beat(leader, instance="a")) is None

    def test_a_leader_that_comes_back_does_not_assign(self, bench):
        bench.form(2, instances=["a", "b"])
        back = bench.join(instance="a", can_skip_assignment=True)
        bench.run()
        result = answer(back)
        assert result.skip_assignment
        assert result.leader == result.member_id
        assert len(result.members) == 2
        older = bench.join(instance="a")
        bench.run()
        assert answer(older).leader == result.member_id != answer(older).member_id
        assert answer(older).members == []

    def test_other_topics_need_a_rebalance_and_other_data_does_not(self, bench):
        first = [("range", subscription("t"))]
        bench.form(2, instances=["a", "b"], protocols=first)
        same = bench.join(instance="b", protocols=[("range", subscription("t", user_data=b"owns nothing now"))])
        bench.run()
        assert answer(same).generation == 1
        other = bench.join(instance="b", protocols=[("range", subscription("t", "u"))])
        bench.run()
        assert other.outcome == PENDING
        assert bench.describe().state == "PreparingRebalance"

    def test_it_keeps_its_place_while_it_is_away(self, bench):
        leader, member = bench.form(2, instances=["a", "b"], rebalance_ms=1000, session_ms=5000)
        call = bench.join(leader.member_id, instance="a", rebalance_ms=1000, session_ms=5000)
        bench.run(1.1)
        assert [one[1] for one in answer(call).members] == ["a", "b"]
        bench.agree([answer(call)])
        bench.run(4)
        assert [one.instance_id for one in bench.describe().members] == ["a"]
        assert reason(bench.beat(member)) is Reason.UNKNOWN_MEMBER

    def test_one_that_was_away_for_a_generation_comes_back_as_a_new_one(self, bench):
        leader, member = bench.form(2, instances=["a", "b"], rebalance_ms=1000, session_ms=60_000)
        call = bench.join(leader.member_id, instance="a", rebalance_ms=1000, session_ms=60_000)
        bench.run(1.1)
        bench.agree([answer(call)])
        bench.restart()
        assert bench.reason(r.Heartbeat("g", 1, member.member_id, "b")) is Reason.STALE_MEMBER
        assert reason(bench.join(member.member_id, instance="b")) is Reason.UNKNOWN_MEMBER
        back = bench.join(instance="b", session_ms=60_000)
        bench.run()
        assert answer(back).generation == 2
        again = bench.join(answer(back).member_id, instance="b", session_ms=60_000)
        bench.run()
        assert answer(again).generation == 2

    def test_taken_over_while_it_waits(self, bench):
        bench.form(1, instances=["a"])
        bench.join(instance="b")
        second = bench.join(instance="b")
        calls = [call for call in bench.door.sink.calls if call.outcome != DONE]
        assert [reason(call) for call in calls] == [Reason.FENCED_INSTANCE]
        assert second.outcome == PENDING

    def test_removed_by_its_instance_id(self, bench):
        bench.form(2, instances=["a", "b"])
        gone, unheard = bench.get(r.LeaveGroup("g", [("", "b", None), ("", "c", None)]))
        assert gone is None
        assert unheard.reason is Reason.UNKNOWN_MEMBER
        assert [one.instance_id for one in bench.describe().members] == ["a"]


class TestRestart:
    def test_a_stable_group_goes_on(self, bench):
        first, second = bench.form(2, instances=["a", None])
        bench.restart()
        described = bench.describe()
        assert (described.state, described.epoch, len(described.members)) == ("Stable", 1, 2)
        assert answer(bench.beat(first, instance="a")) is None
        assert answer(bench.beat(second)) is None
        call = bench.sync(second)
        bench.run()
        assert answer(call)[2] == b"for " + second.member_id.encode()
        bench.run(11)
        assert bench.describe().state == "Empty"

    def test_generations_only_grow(self, bench):
        (first,) = bench.form(1)
        again = bench.join(first.member_id)
        bench.run()
        assert answer(again).generation == 2  # given out, never complete
        bench.restart()
        assert reason(bench.sync(answer(again))) is Reason.STALE_MEMBER
        call = bench.join(first.member_id, protocols=[("range", b"changed")])
        bench.run()
        assert answer(call).generation == 3

    def test_nothing_durable_nothing_answered(self, bench):
        call = bench.join()
        bench.loop.step()
        bench.loop.step()
        bench.restart()
        bench.run()
        assert call.outcome == PENDING
        assert bench.get(r.ListGroups()) == []

    def test_a_deleted_group_is_gone(self, bench):
        (first,) = bench.form(1)
        assert bench.reason(r.DeleteGroup("g")) is Reason.NOT_EMPTY
        bench.get(r.LeaveGroup("g", [(first.member_id, None, None)]))
        assert bench.get(r.DeleteGroup("g")) is None
        assert bench.reason(r.DeleteGroup("g")) is Reason.NOT_FOUND
        bench.restart()
        assert bench.get(r.ListGroups()) == []


class TestLooking:
    def test_lists(self, bench):
        bench.form(1)
        bench.form(1, group="h", kind="connect")
        bench.permissions.denied.add("secret")
        assert bench.get(r.ListGroups()) == [("g", "consumer", "Stable", "classic"), ("h", "connect", "Stable", "classic")]
        assert bench.get(r.ListGroups(states=["stable"], kinds=["Classic"])) == bench.get(r.ListGroups())
        assert bench.get(r.ListGroups(states=["Empty"])) == []
        assert bench.get(r.ListGroups(kinds=["consumer"])) == []

    def test_describe(self, bench):
        (first,) = bench.form(1)
        described = bench.describe()
        assert (described.kind, described.protocol_type) == ("classic", "consumer")
        (member,) = described.members
        assert (member.member_id, member.client_id, member.client_host, member.metadata) == (first.member_id, "client", "host", b"m")
        assert bench.reason(r.DescribeGroup("none")) is Reason.NOT_FOUND


def test_a_thousand_members(bench):
    members = bench.form(1000)
    assert len(bench.describe().members) == 1000
    for member in members:
        answer(bench.beat(member))
