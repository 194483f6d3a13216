"""What there may be in all, and of one user; that what is gone frees its place, and that a restart counts the same."""

import pytest
from broker_bench import Bench, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_state import LogIds, MemoryState

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.queue_requests import TimedPolicy
from entrepot.broker.catalogue.decisions import Decisions
from entrepot.broker.catalogue.quotas import (
    BINDINGS,
    CONSUMERS,
    EXCHANGES,
    MEMBERS,
    METADATA,
    PARTITIONS,
    QUEUES,
    TOPICS,
    Account,
    QuotaLimits,
    Quotas,
)
from entrepot.broker.catalogue.stream import CatalogueStream
from entrepot.broker.catalogue.timed_definition import TimedDefinition
from entrepot.model.errors import Reason, Refused

NS = "public/default"
HERE = (b"start", 1)  # a connection
SMALL = QuotaLimits(exchanges=10, queues=10, topics=10, total_partitions=10, bindings=10, groups=10, total_group_members=10, offsets=10, metadata_bytes=1000)


def full(kind: str, user: str) -> str:
    return f"user '{user}' has 8 {kind} already, and 8 is the limit of one user"


class Declared:
    """One user's way to a catalogue."""

    def __init__(self, decisions: Decisions, user: str) -> None:
        self.decisions = decisions
        self.user = user

    def queue(self, name: str, **more: object) -> object:
        more = {"durable": True, "exclusive": False, "auto_delete": False, "arguments": {}, "connection": 1} | more
        return self.decisions.declare_queue(NS, self.user + name, maker=self.user, **more)[0]

    def exchange(self, name: str, arguments: dict[str, object] | None = None) -> object:
        return self.decisions.declare_exchange(
            NS, self.user + name, "direct", durable=True, auto_delete=False, internal=False, arguments=arguments or {}, maker=self.user
        )

    def topic(self, name: str, partitions: int = 1) -> object:
        return self.decisions.create_topic(NS, self.user + name, partitions, {}, maker=self.user)

    def binding(self, key: str) -> None:
        self.decisions.bind_queue(NS, "shared", "amq.direct", key, {}, HERE, self.user)


@pytest.fixture
def state() -> MemoryState:
    return MemoryState()


@pytest.fixture
def decisions(state: MemoryState) -> Decisions:
    made = Decisions.over(CatalogueStream(state), LogIds(), SMALL)
    made.declare_queue(NS, "shared", durable=True, exclusive=False, auto_delete=False, arguments={}, connection=HERE)
    return made


KINDS = {
    QUEUES: lambda user, name: user.queue(name),
    EXCHANGES: lambda user, name: user.exchange(name),
    TOPICS: lambda user, name: user.topic(name),
    BINDINGS: lambda user, name: user.binding(name),
}


@pytest.mark.parametrize("kind", KINDS)
def test_one_user_leaves_some_for_others(state, decisions, kind):
    mine, yours = Declared(decisions, "me"), Declared(decisions, "you")
    for number in range(8):
        KINDS[kind](mine, f"{number}")
    with pytest.raises(Refused) as refused:
        KINDS[kind](mine, "more")
    assert (refused.value.reason, str(refused.value)) == (Reason.LIMIT, full(kind, "me"))
    KINDS[kind](yours, "one")
    after = Decisions.over(CatalogueStream(state), LogIds(1000), SMALL)
    assert after.catalogue.statistics() == decisions.catalogue.statistics()
    with pytest.raises(Refused, match="is the limit of one user"):
        KINDS[kind](Declared(after, "me"), "more")


def test_partitions_count_each(decisions):
    mine, yours = Declared(decisions, "me"), Declared(decisions, "you")
    topic = mine.topic("a", 6)
    with pytest.raises(Refused, match="user 'me' has 6 partitions already, and 8 is the limit of one user"):
        mine.topic("b", 3)
    with pytest.raises(Refused, match="is the limit of one user"):
        decisions.create_topic(NS, "b", 3, {}, maker="me", check_only=True)
    decisions.add_partitions(topic, 8)
    with pytest.raises(Refused, match="is the limit of one user"):
        decisions.add_partitions(topic, 9)
    yours.topic("a", 2)
    with pytest.raises(Refused, match="there are 10 partitions already, and 10 is the limit"):
        yours.topic("b", 1)
    decisions.remove_queue(topic)
    assert decisions.catalogue.quotas.used(PARTITIONS) == 2
    yours.topic("b", 6)


def test_arguments_count_in_bytes(decisions):
    mine = Declared(decisions, "me")
    large = {"x": "y" * 500}
    mine.exchange("a", large)
    with pytest.raises(Refused, match="bytes of arguments and metadata already, and 800 is the limit of one user"):
        mine.exchange("b", large)
    with pytest.raises(Refused, match="bytes of arguments"):
        mine.queue("b", arguments={"x-dead-letter-routing-key": "y" * 200, "x-dead-letter-exchange": "z" * 200})
    with pytest.raises(Refused, match="bytes of arguments"):
        decisions.bind_queue(NS, "shared", "amq.headers", "", large, HERE, "me")
    decisions.delete_exchange(NS, "mea")
    assert decisions.catalogue.quotas.used(METADATA) == 0


def test_what_a_queue_is_given_later_counts(decisions):
    queue = Declared(decisions, "me").queue("a")
    small = TimedDefinition(TimedPolicy(), tags={"a": "b"})
    large = TimedDefinition(TimedPolicy(), access_policy="p" * 900)
    decisions.check_room(queue, small)
    decisions.change_timed(queue, small)
    assert decisions.catalogue.quotas.used_by(METADATA, "me") == 2
    with pytest.raises(Refused, match="user 'me' has 2 bytes"):
        decisions.check_room(queue, large)
    decisions.remove_queue(queue)
    assert (decisions.catalogue.quotas.used(QUEUES), decisions.catalogue.quotas.used(METADATA)) == (1, 0)


def test_a_binding_that_is_there_takes_no_place(decisions):
    mine, yours = Declared(decisions, "me"), Declared(decisions, "you")
    for number in range(8):
        mine.binding(f"{number}")
    mine.binding("0")
    yours.binding("0")
    assert decisions.catalogue.quotas.used_by(BINDINGS, "you") == 0
    decisions.unbind_queue(NS, "shared", "amq.direct", "0", {}, HERE)
    mine.binding("8")


# ---- consumers


@pytest.fixture
def bench() -> Bench:
    return Bench()


def with_consumers(bench: Bench, most: int) -> None:
    """No more than these may be had."""
    bench.catalogue.quotas = Quotas(QuotaLimits(consumers=most, share_percent=100))


WRONG = {
    "a partition that is not there": {"arguments": {"x-stream-partition": 1}},
    "a partition that is none": {"arguments": {"x-stream-partition": "x"}},
    "a start that is none": {"start": "sometime"},
    "acknowledged by itself": {"auto_settle": True},
    "without a prefetch": {"limit": 0},
}


@pytest.mark.parametrize("why", WRONG)
def test_a_consumer_that_is_refused_takes_no_place(bench, why):
    me = bench.connect()
    me.declare("s", x_queue_type="stream")
    how = {"limit": 10, **WRONG[why]}
    assert refused(me.consume, "c", "s", **how)
    assert bench.catalogue.quotas.used(CONSUMERS) == 0
    me.consume("d", "s", limit=10)
    me.cancel("d")
    assert bench.catalogue.quotas.used_by(CONSUMERS, "me") == 0


def test_a_consumer_of_replies_is_a_consumer_and_no_queue(bench):
    with_consumers(bench, 1)
    me = bench.connect()
    me.ask(r.ConsumeReplies("replies"))
    assert bench.catalogue.quotas.used_by(QUEUES, "me") == 0
    assert bench.catalogue.quotas.used_by(CONSUMERS, "me") == 1
    for _ in range(3):
        assert "is the limit" in refused(me.ask, r.ConsumeReplies("more"))
    assert len(bench.catalogue.namespace(NS).router.replies) == 1
    me.door.close()
    assert bench.catalogue.namespace(NS).router.replies == {}
    assert (bench.catalogue.quotas.used(QUEUES), bench.catalogue.quotas.used(CONSUMERS)) == (0, 0)


def test_a_queue_still_expires_after_a_consumer_that_is_refused(bench):
    with_consumers(bench, 0)
    me = bench.connect()
    me.declare("q", x_expires=1000)
    assert "is the limit" in refused(me.consume, "c", "q")
    bench.run(2)
    assert not bench.exists("q")


# ---- the model

STEPS = st.lists(
    st.tuples(st.sampled_from(["take", "give"]), st.sampled_from(["", "a", "b"]), st.sampled_from([QUEUES, METADATA]), st.integers(0, 400)), max_size=60
)


@given(STEPS)
@settings(deadline=None)
def test_nobody_has_more_than_a_share_and_all_have_no_more_than_there_is(steps):
    quotas = Quotas(SMALL)
    held: dict[tuple[str, str], int] = {}
    for what, who, kind, count in steps:
        if what == "give":
            count = min(count, held.get((who, kind), 0))
            quotas.give_back(who, {kind: count})
            held[who, kind] = held.get((who, kind), 0) - count
            continue
        try:
            quotas.take(who, {kind: count})
        except Refused:
            continue
        held[who, kind] = held.get((who, kind), 0) + count
    for kind, most in ((QUEUES, 10), (METADATA, 1000)):
        mine = {who: count for (who, found), count in held.items() if found == kind}
        assert quotas.used(kind) == sum(mine.values()) <= most
        assert all(quotas.used_by(kind, who) == count <= most * 8 // 10 for who, count in mine.items() if who)


def test_an_account_is_closed_with_all_it_held():
    quotas = Quotas(SMALL)
    account = Account(quotas, "")
    account.take({MEMBERS: 2, METADATA: 7})
    account.move_to("a")
    account.count({MEMBERS: -1})
    assert (quotas.used_by(MEMBERS, "a"), quotas.used_by(METADATA, "a")) == (1, 7)
    account.close()
    assert (quotas.used(MEMBERS), quotas.used(METADATA)) == (0, 0)
