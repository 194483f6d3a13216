"""Last values of addresses: kept with a publish, replaced and taken away in its commit, expired, and copied into queues by pattern and page."""

import random

import pytest
from broker_bench import refused
from hypothesis import given, settings
from hypothesis import strategies as st
from linked_bench import LinkedBench
from retained_bench import RetainedBench

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.port import DONE, PENDING
from entrepot.broker.calls.retained_requests import COPIES_MAX, COPIES_MAX_BYTES, RETAINED_QUEUE, CopyRetained, ForgetCopy, ListCopies, UnfinishedCopy
from entrepot.broker.catalogue.quotas import LastValueLimits
from entrepot.broker.queue import last_value_pages
from entrepot.broker.queue.last_value_pages import AT_WORK_MAX, Wanted, end_of
from entrepot.broker.queue.last_value_rows import decoded, time_prefix, value_prefix
from entrepot.broker.state import LAST_VALUE_PREFIX, prefix_end
from entrepot.protocols.mqtt.topics import filter_of, key_of, matches, topic_of


class LinkedRetainedBench(RetainedBench, LinkedBench):
    """The owners are reached over a link."""


class SmallBench(RetainedBench):
    """With room for little."""

    def __init__(self, seed=1, bench=None, **how):
        super().__init__(seed, bench, **how)
        self.broker.last_value_limits = LastValueLimits(3, 5000)


@pytest.fixture(params=[RetainedBench, LinkedRetainedBench])
def bench(request):
    return request.param()


@pytest.fixture
def me(bench):
    return bench.connect()


def rows_of(bench, prefix):
    return bench.store.scan(bench.queue(RETAINED_QUEUE).log.shard, prefix, prefix_end(prefix), 1 << 20)


def check_rows(bench):
    """Of each row its record lives in the log, and nothing else does; what expires has a row by its time."""
    queue = bench.queue(RETAINED_QUEUE)
    log = queue.log
    values = [decoded(row) for _, row in rows_of(bench, value_prefix(log.id))]
    alive = set(range(log.first_offset, log.next_offset))
    for first, end in log.holes():
        alive -= set(range(first, end))
    assert {value.offset for value in values} == alive
    assert queue.heads.count == len(values)
    assert len(rows_of(bench, time_prefix(log.id))) == sum(value.due_ms > 0 for value in values)


# ---- what is kept


def test_the_last_of_a_run_is_kept_and_all_of_it_is_published(bench, me):
    me.declare()
    me.ask(r.Bind("amq.topic", "q", "queue", "a.b"))
    me.consume("live", auto_settle=True)
    publish = me.retain("a.b", b"1", b"2")
    assert (publish.outcome, publish.nacked, publish.unroutable) == (DONE, None, False)
    bench.run()
    assert me.lives == {"live": [("a.b", b"1"), ("a.b", b"2")]}
    assert me.copied("#") == [("a.b", b"2")]


def test_nobody_is_subscribed(me):
    publish = me.retain("a", b"1")
    assert publish.unroutable
    assert publish.nacked is None
    assert me.copied("#") == [("a", b"1")]


def test_what_is_only_kept_is_not_published(bench, me):
    me.declare()
    me.ask(r.Bind("amq.topic", "q", "queue", "#"))
    me.retain("a", b"1", kept_only=True)
    assert bench.queue().depth() == 0
    assert me.copied("#") == [("a", b"1")]


def test_an_empty_body_takes_it_away(bench, me):
    me.retain("a", b"1")
    me.retain("b", b"2")
    me.retain("a", b"")
    me.retain("never there", b"")
    assert me.copied("#") == [("b", b"2")]
    check_rows(bench)


def test_values_of_a_commit_replace_each_other(bench, me):
    me.retain("first", b"0")
    calls = [me.retaining("a", b"%d" % number) for number in range(5)]
    calls += [me.retaining("b", b"1"), me.retaining("b", b"")]
    bench.loop.run_until(lambda: all(call.outcome == DONE for call in calls))
    bench.run()
    assert me.copied("#") == [("a", b"4"), ("first", b"0")]
    check_rows(bench)


def test_exchanges_are_apart(me):
    me.ask(r.DeclareExchange("t", "topic"))
    me.retain("a", b"1", exchange="t")
    me.retain("a", b"2")
    assert me.copied("#", exchange="t") == [("a", b"1")]
    assert me.copied("#") == [("a", b"2")]


def test_a_restart_changes_nothing():
    bench = RetainedBench()
    me = bench.connect()
    for number in range(10):
        me.retain(f"a.{number % 4}", b"%d" % number)
    before = me.copied("#")
    for how in ("reopen", "start_again"):
        bench = getattr(bench, how)()
        assert bench.connect().copied("#") == before == [("a.0", b"8"), ("a.1", b"9"), ("a.2", b"6"), ("a.3", b"7")]
        check_rows(bench)


def test_too_many_and_too_much_are_not_kept():
    bench = SmallBench()
    me = bench.connect()
    for key in ("a", "b", "c"):
        assert me.retain(key, b"1").nacked is None
    assert me.retain("d", b"x", b"1").nacked == [1]
    assert me.retain("a", b"2").nacked is None  # as many as before
    assert me.retain("b", b"x" * 5000).nacked == [0]
    assert me.copied("#") == [("a", b"2"), ("b", b"1"), ("c", b"1")]
    me.retain("a", b"")
    assert me.retain("d", b"1").nacked is None
    check_rows(bench)


def test_the_queue_is_the_brokers_own(bench, me):
    me.retain("a", b"1")
    me.declare()
    for request in (
        r.Consume(RETAINED_QUEUE, "c"),
        r.Get(RETAINED_QUEUE),
        r.PurgeQueue(RETAINED_QUEUE),
        r.Browse(RETAINED_QUEUE),
        r.DeleteQueue(RETAINED_QUEUE),
        r.Bind("amq.topic", RETAINED_QUEUE, "queue", "#"),
        r.DeclareQueue("another", durable=True, arguments={"x-last-value": True}),
    ):
        assert "own" in refused(me.ask, request)
    assert me.copied("#") == [("a", b"1")]


def test_a_client_has_declared_a_queue_of_that_name(me):
    me.declare(RETAINED_QUEUE)
    assert "client" in refused(me.retain, "a", b"1")


def test_a_deleted_queue_leaves_no_rows():
    bench = RetainedBench()
    me = bench.connect()
    for number in range(2000):
        me.retaining(f"k{number}", b"x", expiry_s=60 if number % 2 else -1)
    bench.run(5)
    shard = bench.queue(RETAINED_QUEUE).log.shard
    bench.decisions.remove_queue(bench.catalogue.maybe_queue("public/default", RETAINED_QUEUE))
    bench.run()
    assert bench.store.scan(shard, LAST_VALUE_PREFIX, prefix_end(LAST_VALUE_PREFIX), 10) == []
    assert me.copied("#") == []
    me.retain("a", b"1")
    assert me.copied("#") == [("a", b"1")]


@pytest.mark.parametrize("how", ["a crash amid it", "its shard is closed"])
def test_what_a_deletion_leaves_goes_when_the_shard_opens(how):
    bench = LinkedRetainedBench() if how == "its shard is closed" else RetainedBench()
    me = bench.connect()
    for number in range(3000):
        me.retaining(f"k{number}", b"x", expiry_s=60 if number % 2 else -1)
    bench.run(5)
    queue = bench.queue(RETAINED_QUEUE)
    shard = queue.log.shard
    definition = bench.catalogue.maybe_queue("public/default", RETAINED_QUEUE)
    if how == "its shard is closed":
        back = bench.move(shard)
        bench.decisions.remove_queue(definition)
        bench.run()
        back()
    else:
        bench.decisions.remove_queue(definition)
        durable = []
        bench.store.urgent()
        bench.store.group().calls.append(lambda: durable.append(True))
        bench.loop.run_until(lambda: bool(durable))
        bench.disk.crash()
        bench = bench.start_again()
        assert bench.store.scan(shard, LAST_VALUE_PREFIX, prefix_end(LAST_VALUE_PREFIX), 1)  # some are left
    bench.run()
    assert bench.store.scan(shard, LAST_VALUE_PREFIX, prefix_end(LAST_VALUE_PREFIX), 1) == []


# ---- time


def test_what_expires_goes_by_itself(bench, me):
    me.retain("a", b"1", expiry_s=5)
    me.retain("b", b"2", expiry_s=3)
    me.retain("c", b"3")
    me.retain("d", b"4", expiry_s=3)
    me.retain("d", b"5")
    bench.run(3.5)
    assert me.copied("#") == [("a", b"1"), ("c", b"3"), ("d", b"5")]
    bench.run(2)
    check_rows(bench)
    assert me.copied("#") == [("c", b"3"), ("d", b"5")]


def test_it_expires_while_the_broker_is_down():
    bench = RetainedBench()
    bench.connect().retain("a", b"1", expiry_s=5)
    closed = []
    bench.broker.stop()
    bench.store.close(lambda: closed.append(True))
    bench.loop.run_until(lambda: bool(closed))
    bench.disk.close()
    bench.loop.forget_all()
    bench.run(10)
    bench = bench.start_again()
    bench.run(0.1)
    assert bench.values.count == 0
    assert bench.connect().copied("#") == []
    check_rows(bench)


def test_many_that_expire_at_once_go_over_turns(bench, me):
    for number in range(600):
        me.retaining(f"k{number}", b"x", expiry_s=2)
    bench.run(4)
    assert bench.values.count == 0
    check_rows(bench)


# ---- copies


def test_a_copy_says_what_it_is(bench, me):
    me.retain("a", b"1", expiry_s=60)
    bench.run(10)
    me.declare()
    assert me.copy("#", identifier=300) == [1]
    me.consume("c", auto_settle=True)
    bench.run()
    ((key, payload, expiry_s, identifiers),) = me.copies["c"]
    assert (key, payload, identifiers) == ("a", b"1", [b"\xac\x02"])
    assert 48 <= expiry_s <= 50


def test_copies_are_the_queues_own_and_survive_with_it():
    bench = RetainedBench()
    me = bench.connect()
    me.retain("a", b"1")
    me.declare()
    me.copy("#")
    me.retain("a", b"")
    bench = bench.start_again()
    me = bench.connect()
    me.consume("c", auto_settle=True)
    bench.run()
    assert [(key, payload) for key, payload, *_ in me.copies["c"]] == [("a", b"1")]


def test_a_record_of_another_protocol_is_copied_too(bench, me):
    me.retain("a", b"1")
    other = bench.connect()
    other.door.codec = 2
    other.declare("amqp")
    assert other.copy("#", "amqp") == [1]
    assert bench.queue("amqp").depth() == 1


def test_pages_end_at_their_limit_and_go_on_behind_it(me):
    keys = [f"k.{number:03d}" for number in range(25)]
    for key in keys:
        me.retaining(key, b"x")
    me.declare()
    assert me.copy("k.#", limit=10) == [10, 10, 5]
    assert me.copy("k.*", limit=1)[:25] == [1] * 25
    me.retain("k", b"0")
    assert me.copy("k.#", limit=1)[:26] == [1] * 26


def test_pages_end_at_their_bytes(me):
    for number in range(5):
        me.retain(f"k{number}", b"x" * (COPIES_MAX_BYTES // 2 - 100))
    me.declare()
    assert me.copy("#") == [2, 2, 1]


def test_a_page_without_a_match_says_where_to_go_on(monkeypatch, me):
    monkeypatch.setattr(last_value_pages, "ROWS_PER_TURN", 8)
    monkeypatch.setattr(last_value_pages, "ROWS_MAX", 16)
    for number in range(40):
        me.retaining(f"k.{number:02d}", b"x")
    me.retain("k.99.z", b"y")
    me.declare()
    counts = me.copy("k.*.z")
    assert sum(counts) == 1
    assert len(counts) > 2


def test_what_is_not_there_cannot_be_copied_into(me):
    assert "no queue" in refused(me.ask, CopyRetained("#", "nowhere"))
    me.declare("s", x_queue_type="stream")
    assert "stream" in refused(me.ask, CopyRetained("#", "s"))


def keep_many(me, count=30):
    for number in range(count):
        me.retaining(f"k.{number:03d}", b"x")


def test_what_is_left_to_be_copied_is_noted(bench, me):
    keep_many(me)
    me.declare("kept")
    me.declare("loose", durable=False)
    for name in ("kept", "loose"):
        assert me.ask(CopyRetained("k.#", name, 7, limit=10, noted=True)) == (10, b"k.009")
    assert me.ask(ListCopies("kept")) == [UnfinishedCopy("amq.topic", "k.#", 7, b"k.009")]
    assert me.ask(ListCopies("loose")) == []
    assert me.ask(CopyRetained("k.#", "kept", 7, b"k.009", 10, noted=True)) == (10, b"k.019")
    assert me.ask(ListCopies("kept")) == [UnfinishedCopy("amq.topic", "k.#", 7, b"k.019")]
    assert me.ask(CopyRetained("k.#", "kept", 7, b"k.019", 20, noted=True)) == (10, None)
    assert me.ask(ListCopies("kept")) == []
    assert me.ask(CopyRetained("k.#", "kept", noted=True)) == (30, None)
    assert me.ask(ListCopies("kept")) == []


def test_a_note_can_be_forgotten_and_goes_with_its_queue(bench, me):
    keep_many(me)
    me.declare("kept")
    for pattern in ("k.*", "#"):
        me.ask(CopyRetained(pattern, "kept", limit=10, noted=True))
    me.ask(ForgetCopy("kept", "k.*"))
    assert [one.pattern for one in me.ask(ListCopies("kept"))] == ["#"]
    log = bench.queue("kept").log
    me.ask(r.DeleteQueue("kept"))
    bench.run()
    assert bench.store.scan(log.shard, LAST_VALUE_PREFIX + log.id, LAST_VALUE_PREFIX + log.id + b"\xff", 1) == []


@pytest.mark.parametrize("seed", range(8))
def test_a_crash_amid_copying_loses_nothing(seed):
    bench = RetainedBench(seed)
    me = bench.connect()
    keep_many(me)
    me.declare("kept")
    bench.run()
    call = me.submit(CopyRetained("k.#", "kept", limit=10, noted=True))
    for _ in range(seed * 3):
        bench.loop.step()
    bench.disk.crash()
    heard = call.outcome
    bench = bench.start_again()
    me = bench.connect()
    left = me.ask(ListCopies("kept"))
    assert left or heard == PENDING
    after = left[0].after if left else b""
    assert bench.queue("kept").depth() == (10 if left else 0)
    while after is not None:
        _, after = me.ask(CopyRetained("k.#", "kept", after=after, limit=10, noted=True))
    me.consume("c", "kept", auto_settle=True)
    bench.run()
    assert [key for key, *_ in me.copies["c"]] == [f"k.{number:03d}" for number in range(30)]


def test_a_page_of_a_connection_that_has_ended_is_copied_where_it_is_noted():
    bench = RetainedBench()
    keep_many(bench.connect())
    bench.run(5)
    bench = bench.reopen()
    me, other = bench.connect(), bench.connect()
    other.declare("kept")
    other.declare("too")
    for name, noted in (("kept", True), ("too", False)):
        assert me.submit(CopyRetained("k.#", name, limit=10, noted=noted)).outcome == PENDING
    me.close()
    bench.run()
    assert [bench.queue(name).depth() for name in ("kept", "too")] == [10, 0]
    assert [one.after for one in other.ask(ListCopies("kept"))] == [b"k.009"]


def test_a_full_queue_takes_what_fits(me):
    for number in range(5):
        me.retain(f"k{number}", b"x")
    me.declare(x_max_length=3, x_overflow="reject-publish")
    assert me.copy("#") == [3]


def test_a_value_that_is_not_durable_yet_is_waited_for(bench, me):
    me.declare()
    me.retain("a", b"0")
    me.retaining("a", b"1", confirm=False)
    me.retaining("b", b"1", confirm=False)
    call = me.submit(CopyRetained("#", "q"))
    bench.loop.run_until(lambda: call.outcome != PENDING)
    assert call.result == (2, None)


def test_what_is_replaced_while_it_is_read_comes_as_it_is_then():
    bench = RetainedBench()
    me = bench.connect()
    for number in range(200):
        me.retaining(f"k{number:03d}", b"x" * 2000)  # more than the cache has
    bench.run(5)
    bench = bench.reopen()
    me = bench.connect()
    me.declare()
    call = me.submit(CopyRetained("#", "q", limit=100))
    assert call.outcome == PENDING  # the disk is asked
    me.retain("k000", b"new")
    me.retain("k001", b"")
    bench.loop.run_until(lambda: call.outcome != PENDING)
    me.consume("c", auto_settle=True)
    bench.run()
    copies = {key: payload for key, payload, *_ in me.copies["c"]}
    assert copies["k000"] == b"new"
    assert "k001" not in copies
    assert len(copies) == call.result[0] == 99


def test_many_who_ask_at_once_take_turns():
    bench = RetainedBench()
    me = bench.connect()
    for number in range(300):
        me.retaining(f"k{number:03d}", b"x" * 500)
    bench.run(5)
    bench = bench.reopen()
    others = [bench.connect() for _ in range(20)]
    for index, other in enumerate(others):
        other.declare(f"q{index}")
    calls = [other.submit(CopyRetained("#", f"q{index}")) for index, other in enumerate(others)]
    pages = bench.values.pages
    assert len(pages._at_work) == AT_WORK_MAX
    bench.loop.run_until(lambda: all(call.outcome != PENDING for call in calls), 60)
    assert [call.result[0] for call in calls] == [COPIES_MAX] * 20
    assert not pages._at_work


# ---- patterns

WORDS = st.sampled_from(["a", "b", "ab", "", "$x", "*", "#", "a-"])
KEYS = st.lists(WORDS, max_size=4).map(".".join)


@given(st.lists(KEYS, max_size=12, unique=True), KEYS)
@settings(max_examples=200, deadline=None)
def test_ranges_hold_all_that_matches(keys, pattern):
    wanted = Wanted(pattern)
    for key in (key.encode() for key in keys):
        inside = any(key == first if end is None else first <= key and (not end or key < end) for first, end in wanted.ranges)
        if wanted.matches(key):
            assert inside


@given(
    st.lists(st.sampled_from(["a", "b", "ab", "", "$x"]), min_size=1, max_size=4),
    st.lists(st.sampled_from(["a", "b", "", "+", "$x"]), min_size=1),
    st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_what_a_pattern_finds_is_what_its_filter_does(levels, filters, many):
    topic = "/".join(levels).encode()
    topic_filter = "/".join([*filters, *(["#"] if many else [])]).encode()
    if topic and topic_filter:
        pattern = key_of(topic_filter).decode()
        assert filter_of(pattern.encode()) == topic_filter
        assert topic_of(key_of(topic)) == topic
        assert Wanted(pattern).matches(key_of(topic)) == matches(topic_filter, topic)


def test_the_end_of_a_prefix():
    assert end_of(b"a.") == b"a/"
    assert end_of(b"a\xff\xff") == b"b"
    assert end_of(b"\xff") == end_of(b"") == b""


# ---- a model

STEPS = 60


class Model:
    """What there may be: a dictionary, and after a crash those that were there after each of the calls of which nothing was heard."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.bench = RetainedBench(seed)
        self.me = self.bench.connect()
        self.known = {}  # key -> payload, as all calls leave it
        self.open = []  # calls in order, with what they did
        self.count = 0

    def run(self):
        for _ in range(STEPS):
            self.chance.choice([self.retain, self.retain, self.retain, self.remove, self.wait, self.look, self.restart, self.crash])()
        self.wait()
        self.look()
        check_rows(self.bench)

    def _begin(self, key, payload):
        self.open.append((self.me.retaining(key, payload, expiry_s=self.chance.choice([-1, 4_000_000_000])), key, payload))

    def retain(self):
        self.count += 1
        self._begin(f"{self.chance.choice('ab')}.{self.chance.randrange(4)}", b"%d" % self.count)

    def remove(self):
        self._begin(f"{self.chance.choice('ab')}.{self.chance.randrange(4)}", b"")

    def _apply(self, calls):
        for _, key, payload in calls:
            self.known.pop(key, None)
            if payload:
                self.known[key] = payload

    def wait(self):
        self.bench.loop.run_until(lambda: all(call.outcome == DONE for call, *_ in self.open), 60)
        self._apply(self.open)
        self.open = []

    def look(self):
        self.wait()
        assert dict(self.me.copied("#")) == self.known
        assert dict(self.me.copied("a.*")) == {key: payload for key, payload in self.known.items() if key[0] == "a"}

    def restart(self):
        self.wait()
        self.bench = self.bench.reopen()
        self.me = self.bench.connect()

    def crash(self):
        for _ in range(self.chance.randrange(30)):
            self.bench.loop.step()
        heard = next((index for index, (call, *_) in enumerate(self.open) if call.outcome != DONE), len(self.open))
        self.bench.disk.crash()
        self.bench = self.bench.start_again()
        self.me = self.bench.connect()
        if self.bench.exists(RETAINED_QUEUE):
            check_rows(self.bench)
        found = dict(self.me.copied("#"))
        self._apply(self.open[:heard])
        left = self.open[heard:]
        self.open = []
        while self.known != found:
            assert left, (self.known, found)
            self._apply(left[:1])
            del left[:1]


@pytest.mark.parametrize("seed", range(20))
def test_crashes_leave_what_some_of_the_calls_had_done(seed):
    Model(seed).run()


@pytest.mark.long
def test_a_thousand_crashing_runs():
    for seed in range(1000, 2000):
        Model(seed).run()


# ---- many


def many(count):
    """All of them reach a queue a page at a time; how much of the log's bytes was in memory at the most, besides the cache."""
    bench = RetainedBench()
    me = bench.connect()
    for first in range(0, count, 1000):
        calls = [me.retaining(f"home.{number % 97}.{number}", b"x" * 100) for number in range(first, min(first + 1000, count))]
        bench.loop.run_until(lambda calls=calls: all(call.outcome == DONE for call in calls), 600)
    bench = bench.reopen()
    me = bench.connect()
    me.declare()
    me.consume("c", limit=512)
    after, copied, most = b"", 0, 0
    while after is not None:
        number, after = me.ask(CopyRetained("home.#", "q", after=after))
        copied += number
        me.accept_copies()
        if copied % 8 == 0:
            most = max(most, bench.held_bytes())
    bench.run()
    me.accept_copies()
    assert copied == count
    assert len({key for key, *_ in me.copies["c"]}) == count
    return most


def test_three_thousand_come_a_page_at_a_time():
    assert many(3000) < 1 << 20


@pytest.mark.long
def test_a_hundred_thousand_need_no_more():
    assert many(100_000) < 1 << 20
