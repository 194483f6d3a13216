"""What there may be of groups, their members and offsets, in all and of one user; that what is gone frees its place, and that a restart counts the same."""

from dataclasses import replace

from group_bench import GroupBench, answer, reason

from entrepot.broker import group_requests as r
from entrepot.broker.quotas import GROUPS, MEMBERS, METADATA, OFFSETS, QuotaLimits
from entrepot.model.errors import Reason

SMALL = QuotaLimits(groups=10, total_group_members=10, offsets=10, metadata_bytes=1000)


def full(kind: str, user: str) -> str:
    return f"user '{user}' has 8 {kind} already, and 8 is the limit of one user"


def user(bench: GroupBench, name: str) -> GroupBench:
    bench.link.principal = replace(bench.link.principal, name=name)
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
    (first,) = user(bench, "me").form(1, protocols=[("range", b"m" * 300)])
    held = bench.quotas.used(METADATA)
    assert held == 305 + len(b"for " + first.member_id.encode())
    assert reason(bench.join(group="h", protocols=[("range", b"m" * 500)])) is Reason.LIMIT
    again = bench.join(member=first.member_id, protocols=[("range", b"m" * 700)])
    bench.run()
    sync = bench.sync(answer(again), {first.member_id: b"a" * 600})
    assert reason(sync) is Reason.LIMIT
    bench.get(r.LeaveGroup("g", [(first.member_id, None, "")]))
    assert bench.quotas.used(METADATA) == 0


def test_subscriptions_count_in_bytes():
    bench = GroupBench(SMALL)
    bench.topics.make("t", 1)
    names = ["t" * 90 + str(number) for number in range(8)]
    assert bench.told(user(bench, "me").consume("m", names=names)) is not None
    held = bench.quotas.used(METADATA)
    assert held == sum(map(len, names))
    assert reason(bench.consume("n", names=names)) is Reason.LIMIT
    assert bench.quotas.used(MEMBERS) == 1
    bench.restart()
    assert (bench.quotas.used(METADATA), bench.quotas.used(MEMBERS)) == (held, 1)
    bench.told(bench.heartbeat("m", -1))
    assert (bench.quotas.used(METADATA), bench.quotas.used(MEMBERS)) == (0, 0)


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
