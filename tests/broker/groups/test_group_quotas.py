"""What there may be of groups, their members and offsets, in all and of one user; that what is gone frees its place, and that a restart counts the same."""

from dataclasses import replace

from group_bench import GroupBench, answer, reason

from entrepot.broker.calls import group_requests as r
from entrepot.broker.catalogue.quotas import GROUPS, MEMBERS, METADATA, OFFSETS, QuotaLimits
from entrepot.broker.groups import classic
from entrepot.broker.groups.consumer import PARTITION_BYTES, PATTERNS_MAX
from entrepot.broker.groups.consumer_member import TOPIC_BYTES
from entrepot.model.errors import Reason

SMALL = QuotaLimits(groups=10, total_group_members=10, offsets=10, metadata_bytes=10_000)


def full(kind: str, user: str) -> str:
    return f"user '{user}' has 8 {kind} already, and 8 is the limit of one user"


def user(bench: GroupBench, name: str) -> GroupBench:
    bench.door.principal = replace(bench.door.principal, name=name)
    return bench


def test_groups_of_one_user():
    bench = GroupBench(SMALL)
    for number in range(8):
        user(bench, "me").form(1, group=f"g{number}")
    assert str(bench.join(group="more").error) == full("groups", "me")
    assert reason(bench.consume("m", group="more")) is Reason.LIMIT
    user(bench, "you").form(1, group="more")
    bench.restart()
    assert (bench.quotas.used(GROUPS), bench.quotas.used_by(GROUPS, "me"), bench.quotas.used_by(MEMBERS, "me")) == (9, 8, 8)
    assert reason(user(bench, "me").join(group="other")) is Reason.LIMIT


def test_members_of_one_user():
    bench = GroupBench(replace(SMALL, total_group_members=4))
    user(bench, "me").form(3)
    pending = bench.join(group="h", require_known_member_id=True)
    assert reason(pending) is Reason.MEMBER_ID_REQUIRED
    assert bench.quotas.used(MEMBERS) == 4
    assert reason(bench.join(group="h")) is Reason.LIMIT
    bench.get(r.LeaveGroup("h", [(pending.result, None, "")]))
    assert bench.quotas.used(MEMBERS) == 3


def test_what_members_say_counts_in_bytes():
    bench = GroupBench(SMALL)
    (first,) = user(bench, "me").form(1, protocols=[("range", b"m" * 3000)])
    held = bench.quotas.used(METADATA)
    assert held == 3005 + len("for ") + 2 * len(first.member_id) + len("client" + "host")
    assert reason(bench.join(group="h", protocols=[("range", b"m" * 5000)])) is Reason.LIMIT
    again = bench.join(member=first.member_id, protocols=[("range", b"m" * 7000)])
    bench.run()
    sync = bench.sync(answer(again), {first.member_id: b"a" * 6000})
    assert reason(sync) is Reason.LIMIT
    bench.get(r.LeaveGroup("g", [(first.member_id, None, "")]))
    assert bench.quotas.used(METADATA) == 0


def test_subscriptions_count_in_bytes():
    bench = GroupBench(SMALL)
    bench.topics.make("t", 1)
    names = ["t" * 800 + str(number) for number in range(8)]
    assert bench.told(user(bench, "me").consume("m", names=names)) is not None
    held = bench.quotas.used(METADATA)
    assert held == sum(map(len, names)) + len("m" + "client" + "host") + 8 * TOPIC_BYTES
    assert reason(bench.consume("n", names=names)) is Reason.LIMIT
    assert bench.quotas.used(MEMBERS) == 1
    bench.restart()
    assert (bench.quotas.used(METADATA), bench.quotas.used(MEMBERS)) == (held, 1)
    bench.told(bench.heartbeat("m", -1))
    assert (bench.quotas.used(METADATA), bench.quotas.used(MEMBERS)) == (0, 0)


def test_ids_count_in_bytes():
    bench = GroupBench(SMALL)
    long = "i" * 1000
    pending = user(bench, "me").ask(r.JoinGroup("g", "", None, long, "host", 10_000, 60_000, "consumer", [("range", b"")], True))
    assert reason(pending) is Reason.MEMBER_ID_REQUIRED
    assert bench.quotas.used(METADATA) == len(pending.result) > 1000
    bench.get(r.LeaveGroup("g", [(pending.result, None, "")]))
    assert bench.quotas.used(METADATA) == 0
    bench.topics.make("t", 1)
    for number in range(3):
        bench.told(bench.consume(f"{number}" + long, group=f"g{number}", instance=long, rack=long[:500]))
    assert reason(bench.consume("3" + long, group="g3", instance=long, rack=long[:500])) is Reason.LIMIT
    for number in range(3):
        bench.told(bench.heartbeat(f"{number}" + long, -1, group=f"g{number}"))
    assert bench.quotas.used(METADATA) == 0


def test_what_groups_know_of_topics_and_their_owners_counts_in_bytes():
    bench = GroupBench(SMALL)
    for number in range(10):
        bench.topics.make(f"t{number}", 5)
    assert bench.told(user(bench, "me").consume("m", names=None, regex="t.*"))[1]
    held = bench.quotas.used(METADATA)
    assert held == len("m" + "client" + "host" + "t.*") + 20 * TOPIC_BYTES + 50 * PARTITION_BYTES
    bench.restart()
    assert bench.quotas.used(METADATA) == held
    bench.topics.grow("t0", 15)
    bench.told(user(bench, "me").consume("m", names=None, regex="t.*"))  # what it reads already is never taken from it
    assert bench.quotas.used(METADATA) == held + 10 * PARTITION_BYTES
    assert reason(user(bench, "me").consume("n", group="h")) is Reason.LIMIT
    bench.told(user(bench, "you").consume("n", group="h", names=["t1"]))
    bench.told(bench.heartbeat("n", -1, group="h"))
    bench.told(bench.heartbeat("m", -1))
    assert bench.quotas.used(METADATA) == 0


def test_a_set_of_topics_of_a_member_alone_counts():
    bench = GroupBench(SMALL)
    for number in range(10):
        bench.topics.make(f"t{number}", 1)
    bench.told(bench.consume("m", names=["other"], regex="t.*"))
    assert bench.quotas.used(METADATA) == len("m" + "client" + "host" + "t.*" + "other") + (11 + 11 + 10) * TOPIC_BYTES + 10 * PARTITION_BYTES
    bench.told(bench.heartbeat("m", 1, names=[]))
    bench.told(bench.heartbeat("m", -1))
    assert bench.quotas.used(METADATA) == 0


def test_expressions_of_a_group_have_a_limit():
    bench = GroupBench()
    bench.topics.make("t", 1)
    for number in range(PATTERNS_MAX):
        bench.told(bench.consume(f"{number}", names=None, regex=f"t|{number}"))
    assert reason(bench.consume("more", names=None, regex="t|more")) is Reason.LIMIT
    bench.told(bench.consume("more", names=None, regex="t|0"))
    bench.told(bench.heartbeat("more", -1))
    bench.told(bench.heartbeat("1", -1))
    bench.told(bench.consume("more", names=None, regex="t|more"))


def test_a_static_member_comes_back_where_there_is_no_room_for_more():
    bench = GroupBench(replace(SMALL, total_group_members=2))
    first, _ = user(bench, "me").form(2, instances=["a", "b"], protocols=[("range", b"m" * 3500)])
    assert reason(bench.join(group="g", instance="c")) is Reason.LIMIT
    again = bench.join(instance="a", protocols=[("range", b"m" * 3500)])
    bench.run()
    assert answer(again).member_id != first.member_id
    assert (bench.quotas.used(MEMBERS), bench.quotas.used_by(MEMBERS, "me")) == (2, 2)


def test_a_group_that_was_refused_all_is_none():
    bench = GroupBench(SMALL)
    bench.topics.make("t", 1)
    too_large = r.CommittedOffset(5, -1, "x" * 5000)
    assert reason(user(bench, "me").consume("m", names=None, regex="t", rack="r" * 9000)) is Reason.INVALID
    assert reason(bench.consume("m", names=["t" * 9000])) is Reason.LIMIT
    assert reason(bench.join(protocols=[("range", b"m" * 9000)])) is Reason.LIMIT
    assert list(bench.get(r.CommitOffsets("g", -1, "", None, {("t", 0): too_large}))) == [("t", 0)]
    assert bench.get(r.ListGroups()) == []
    assert bench.quotas.used(GROUPS) == 0
    user(bench, "you").form(1)
    assert bench.quotas.used_by(GROUPS, "you") == 1
    bench.restart()
    assert (bench.quotas.used_by(GROUPS, "you"), bench.quotas.used(GROUPS)) == (1, 1)


def test_offsets_of_one_user():
    bench = GroupBench(SMALL)
    bench.topics.make("t", 20)
    offsets = {("t", partition): r.CommittedOffset(5, -1, "x" * 10) for partition in range(12)}
    refused = user(bench, "me").get(r.CommitOffsets("g", -1, "", None, offsets))
    assert {place: str(error) for place, error in refused.items()} == {("t", partition): full("committed offsets", "me") for partition in range(8, 12)}
    assert bench.quotas.used(METADATA) == 80
    bench.restart()
    assert (bench.quotas.used(OFFSETS), bench.quotas.used_by(OFFSETS, "me")) == (8, 8)
    assert bench.get(r.CommitOffsets("g", -1, "", None, {("t", 0): r.CommittedOffset(6, -1, "")})) == {}
    assert bench.quotas.used(METADATA) == 70
    bench.get(r.DeleteGroup("g"))
    assert (bench.quotas.used(OFFSETS), bench.quotas.used(GROUPS), bench.quotas.used(METADATA)) == (0, 0, 0)
    bench.restart()
    assert bench.quotas.used(GROUPS) == 0


def test_members_that_agree_among_themselves_are_so_many(monkeypatch):
    monkeypatch.setattr(classic, "MEMBERS_MAX", 2)
    bench = GroupBench(members_max=3)
    bench.form(2)
    refused = bench.join()
    assert reason(refused) is Reason.LIMIT
    assert "has 2 members" in str(refused.error)
    for number in range(3):
        bench.consume(f"m{number}", group="assigned")
    bench.run()
    assert len(bench.coordinator.maybe_group("public/default", "assigned")[0].members) == 3


def test_what_all_members_of_a_group_say_and_are_assigned_has_a_limit(monkeypatch):
    monkeypatch.setattr(classic, "BYTES_MAX", 10_000)
    bench = GroupBench()
    first, second = bench.form(2, protocols=[("range", b"m" * 3000)])
    refused = bench.join(protocols=[("range", b"m" * 5000)])
    assert reason(refused) is Reason.LIMIT
    assert "10000 are allowed" in str(refused.error)
    assert reason(bench.join(member=second.member_id, protocols=[("range", b"m" * 8000)])) is Reason.LIMIT
    again = bench.join(member=first.member_id, protocols=[("range", b"m" * 100)])
    bench.join(member=second.member_id, protocols=[("range", b"m" * 100)])
    bench.run()
    leader = answer(again)
    assert reason(bench.sync(leader, {first.member_id: b"a" * 6000, second.member_id: b"a" * 6000})) is Reason.LIMIT
    bench.sync(leader, {first.member_id: b"a" * 4000, second.member_id: b"a" * 4000})
    bench.get(r.LeaveGroup("g", [(member.member_id, None, "") for member in (first, second)]))
    bench.form(3, protocols=[("range", b"m" * 3000)])
