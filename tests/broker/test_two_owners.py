"""A front over two owners, each with half of the shards in a store and on a disk of its own: what is published to both is done when both have it."""

import pytest
from broker_bench import CODEC, NS, Bench, address_of, record_of
from owners_bench import OwnersBench

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.port import DONE, PENDING, REFUSED, UNAVAILABLE, UNKNOWN, Publish, Sink, fail, make_publish
from entrepot.broker.calls.topic_requests import CreateTopic
from entrepot.broker.front.gathering import Gathering
from entrepot.broker.front.owner_table import OwnerTable
from entrepot.cluster.owners import remote_stages
from entrepot.model.errors import OutcomeUnknown, Reason, Refused, Unavailable
from entrepot.simulation.linked_owners import LinkedOwnerTable


@pytest.fixture(params=[OwnerTable, LinkedOwnerTable])
def bench(request):
    return OwnersBench(request.param)


@pytest.fixture
def me(bench):
    return bench.connect()


@pytest.fixture
def pair(bench, me):
    """The names of two queues, each at one owner, and both bound to amq.fanout."""
    names = [next(bench.names(odd)) for odd in (0, 1)]
    for name in names:
        me.declare(name)
        me.ask(r.Bind("amq.fanout", name, "queue"))
    return names


def depths(bench, names):
    return [bench.queue(name).depth() for name in names]


def test_each_owner_has_its_own(bench, me, pair):
    logs = [bench.queue(name).log for name in pair]
    assert [store.log(log.id) is log for store in bench.stores for log in logs] == [True, False, False, True]
    assert me.put(b"x", exchange="amq.fanout").nacked is None
    assert [me.get(name)[0] for name in pair] == [b"x", b"x"]


@pytest.mark.parametrize("slow", [0, 1])
def test_confirmed_when_the_last_has_it(bench, me, pair, slow):
    bench.disks[slow].commit_s = (5.0, 5.0)
    for name in pair:
        me.consume(name, name)
    bench.run()
    call = me.publish(b"x", exchange="amq.fanout")
    bench.run(1.0)
    assert call.outcome == PENDING
    assert [me.bodies(name) for name in pair] == ([[], [b"x"]] if slow == 0 else [[b"x"], []])
    bench.run(20.0)
    assert call.outcome == DONE
    assert me.bodies(pair[slow]) == [b"x"]


def test_what_any_of_them_nacks(bench, me):
    names = [next(bench.names(odd)) for odd in (0, 1)]
    for name, length in zip(names, (1, 3), strict=True):
        me.declare(name, x_overflow="reject-publish", x_max_length=length)
        me.ask(r.Bind("amq.fanout", name, "queue"))
    assert me.put(*[b"%d" % number for number in range(5)], exchange="amq.fanout").nacked == [1, 2, 3, 4]
    assert depths(bench, names) == [1, 3]


def test_by_headers_each_to_its_own(bench, me):
    names = [next(bench.names(odd)) for odd in (0, 1)]
    me.ask(r.DeclareExchange("h", "headers"))
    for name, length in zip(names, (2, 1), strict=True):
        me.declare(name, x_overflow="reject-publish", x_max_length=length)
        for value in (name, "both"):
            me.ask(r.Bind("h", name, "queue", "", {"x-match": "all", "to": value}))
    to = [names[0], names[1], "both", "none", names[0], names[1]]
    records = [record_of(b"%d" % number, headers=[(b"to", b"S" + len(value).to_bytes(4, "big") + value.encode())]) for number, value in enumerate(to)]
    data = b"".join(records)
    call = make_publish(1, address_of("h", ""), CODEC.tag, 1, 0, data, len(to), CODEC.body_bytes(data, 0, len(to)))
    call.confirm = call.mandatory = True
    me.door.submit(call)
    bench.loop.run_until(lambda: call.outcome != PENDING, 60)
    assert (call.outcome, call.returned, call.nacked) == (DONE, [3], [2, 4, 5])
    assert depths(bench, names) == [2, 1]


def test_a_topic_whose_partitions_are_at_both(bench, me):
    me.ask(CreateTopic("t", 8))
    topic = bench.catalogue.namespace(NS).topics["t"].runtime
    assert {log.shard % 2 for log in topic.logs} == {0, 1}
    for number in range(40):
        assert me.put(b"%d" % number, key="t", headers=[(b"x-key", b"S\0\0\0\x02%02d" % number)]).outcome == DONE
    bench.run()
    ends = [log.durable_offset for log in topic.logs]
    assert sum(ends) == 40
    assert min(ends) > 0
    me.consume("reader", "t", limit=100, start="first")
    bench.run()
    assert sorted(map(int, me.bodies("reader"))) == list(range(40))


def test_one_that_is_not_there(bench, me, pair):
    closed = []
    shard = bench.queue(pair[1]).log.shard
    bench.broker.shard_moves.close(shard, lambda: closed.append(True))
    bench.loop.run_until(lambda: bool(closed))
    call = me.publish(b"x", exchange="amq.fanout")
    assert call.outcome == UNAVAILABLE
    assert bench.queue(pair[0]).depth() == 0
    bench.broker.shard_moves.open(shard, 2, lambda: closed.append(True))
    bench.loop.run_until(lambda: len(closed) == 2)
    assert me.put(b"x", exchange="amq.fanout").outcome == DONE
    assert depths(bench, pair) == [1, 1]


def test_volatile_and_durable_are_two_owners(bench, me, pair):
    me.declare("passing", durable=False)
    me.ask(r.Bind("amq.fanout", "passing", "queue"))
    bench.disk.commit_s = (5.0, 5.0)
    call = me.publish(b"x", exchange="amq.fanout")
    bench.run(1.0)
    assert call.outcome == PENDING
    bench.run(10.0)
    assert call.outcome == DONE
    assert [me.get(name)[0] for name in (*pair, "passing")] == [b"x"] * 3


class Asked(Sink):
    """Who published."""

    closed = False

    def __init__(self):
        self.sink = self
        self.told = []

    def completed(self, call):
        self.told.append(call)


class Scripted:
    """An owner that answers when and as it is told."""

    def __init__(self, at_once=None):
        self.at_once = at_once
        self.got = []

    def stage(self, part):
        self.got.append(part)
        if isinstance(self.at_once, Exception):
            raise self.at_once
        if self.at_once is not None:
            part.outcome, part.nacked = DONE, self.at_once
            return True
        return False

    def answer(self, error=None, nacked=None):
        (part,) = self.got
        if error is not None:
            fail(part, error)
            return
        part.outcome, part.nacked = DONE, nacked
        part.attachment.sink.completed(part)


FULL, AWAY, LOST = Refused(Reason.LIMIT, "full"), Unavailable("away"), OutcomeUnknown("lost")


class TestGathering:
    def published(self, *owners, confirm=True):
        """(the call, whether it was complete at once, the gathering)."""
        call = make_publish(1, address_of("", "q"), CODEC.tag, 1, 0, b"", 4, 0)
        call.confirm = confirm
        asked = Asked()
        call.attachment = self.attachment = bench_attachment(asked)
        self.told = asked.told
        gathering = Gathering()
        return call, gathering.publish(call, [(owner.stage, range(4)) for owner in owners]), gathering

    def test_nothing_is_told_before_the_last(self):
        first, last = Scripted(), Scripted()
        call, complete, gathering = self.published(first, last)
        assert not complete
        last.answer(nacked=[1])
        assert (call.outcome, self.told) == (PENDING, [])
        first.answer(nacked=[3])
        assert (call.outcome, call.nacked, self.told) == (DONE, [1, 3], [call])
        assert gathering.waiting == {}

    @pytest.mark.parametrize(
        ("answers", "outcome", "nacked"),
        [
            ([None, None], DONE, None),
            ([None, AWAY], DONE, [0, 1, 2, 3]),  # somebody has it, and somebody has not
            ([FULL, None], DONE, [0, 1, 2, 3]),
            ([AWAY, AWAY], UNAVAILABLE, None),
            ([FULL, FULL], REFUSED, None),
            ([None, LOST], UNKNOWN, None),
            ([AWAY, LOST], UNKNOWN, None),
        ],
    )
    def test_of_several_answers(self, answers, outcome, nacked):
        owners = [Scripted(), Scripted()]
        call, _, _ = self.published(*owners)
        for owner, answer in zip(owners, answers, strict=True):
            owner.answer(answer)
        assert (call.outcome, call.nacked) == (outcome, nacked)
        assert outcome != DONE or call.error is (AWAY if AWAY in answers else None)
        assert self.told == [call]

    @pytest.mark.parametrize("error", [FULL, AWAY])
    def test_the_first_that_refuses_at_once_keeps_it_from_the_others(self, error):
        last = Scripted()
        with pytest.raises(type(error)):
            self.published(Scripted(error), last)
        assert last.got == []

    def test_a_later_one_that_refuses_at_once(self):
        first, last = Scripted(), Scripted()
        call, complete, _ = self.published(first, Scripted(AWAY), last)
        assert (complete, last.got) == (False, [])
        first.answer()
        assert (call.outcome, call.nacked, call.error) == (DONE, [0, 1, 2, 3], AWAY)

    def test_all_answer_at_once(self):
        call, complete, _ = self.published(Scripted([0]), Scripted([0, 1]))
        assert (complete, call.outcome, call.nacked, self.told) == (True, DONE, [0, 1], [])

    def test_nobody_waits(self):
        first, last = Scripted(), Scripted()
        call, complete, _ = self.published(first, last, confirm=False)
        assert (complete, call.outcome) == (True, DONE)
        first.answer()
        last.answer()
        assert self.told == []

    def test_nobody_waits_but_a_part_is_refused_later(self):
        first, last = Scripted(), Scripted()
        call, _, _ = self.published(first, last, confirm=False)
        first.answer()
        last.answer(AWAY)
        assert (call.outcome, self.told) == (UNKNOWN, [call])  # some of it is there

    def test_nobody_waits_but_a_part_is_refused_at_once(self):
        first = Scripted()
        with pytest.raises(OutcomeUnknown):
            self.published(first, Scripted(AWAY), confirm=False)
        first.answer()
        assert self.told == []  # whoever published was told by what was raised


def bench_attachment(sink):
    connection = Bench().connect()
    connection.door.sink = sink
    return connection.door


def test_a_part_is_the_call_again():
    got = Scripted()
    call = make_publish(7, address_of("e", "k"), CODEC.tag, 1, 5, b"data", 3, 9)
    call.confirm = True
    Gathering().publish(call, [(got.stage, range(3)), (Scripted().stage, range(3))])
    (part,) = got.got
    assert isinstance(part, Publish)
    fields = ("stream", "address", "codec", "codec_version", "flags", "data", "count", "body_bytes", "confirm")
    assert [getattr(part, name) for name in fields] == [getattr(call, name) for name in fields]


class TestWhoPublishesMuch:
    """Over links, he is held while an owner has much that is not durable; what holds all publishers does not let him go, nor the other way round."""

    @pytest.fixture
    def bench(self, monkeypatch):
        monkeypatch.setattr(remote_stages, "HELD_FROM_BYTES", 5000)
        monkeypatch.setattr(remote_stages, "GO_ON_BYTES", 2000)
        return OwnersBench(LinkedOwnerTable)

    @pytest.fixture
    def slow(self, bench, me, pair):
        for disk in bench.disks:
            disk.commit_s = (5.0, 5.0)

    @pytest.mark.parametrize("confirm", [True, False])
    def test_until_all_owners_have_most_of_it(self, bench, me, slow, confirm):
        other = bench.connect()
        me.publish(bytes(6000), exchange="amq.fanout", confirm=confirm)
        bench.run(1.0)
        assert (me.blocked, other.blocked, list(bench.broker.holding.values())) == ([(True, "")], [], [2])
        bench.run(20.0)
        assert (me.blocked, bench.broker.holding) == ([(True, ""), (False, "")], {})

    def test_beside_what_holds_everybody(self, bench, me, slow):
        me.publish(bytes(6000), exchange="amq.fanout")
        bench.broker.store_pressure(True)
        bench.broker.store_pressure(False)
        assert me.blocked == [(True, ""), (True, "")]
        bench.broker.store_pressure(True)
        bench.run(20.0)
        assert me.blocked[3:] == []
        bench.broker.store_pressure(False)
        assert me.blocked[3:] == [(False, "")]

    def test_who_has_gone_meanwhile(self, bench, me, slow):
        me.publish(bytes(6000), exchange="amq.fanout")
        me.close()
        assert bench.broker.holding == {}
        bench.run(20.0)
        assert me.blocked == [(True, "")]
