"""Sessions whose clients are away, or are other users': what waits is bounded, and who may have one."""

import pytest
from broker_bench import AllowAll
from kept_session_bench import EXCHANGE, NS, SessionBench

from entrepot.broker.calls import requests as r
from entrepot.model.errors import Reason, Refused
from entrepot.model.principal import Principal


@pytest.fixture
def bench():
    return SessionBench()


@pytest.fixture
def me(bench):
    return bench.connect()


@pytest.fixture
def other(bench):
    return bench.connect()


def reason(action, *args, **how):
    with pytest.raises(Refused) as refused:
        action(*args, **how)
    return refused.value.reason


class TestLimits:
    """What waits for who is away; `kept`: arguments that a session's queue is made with."""

    @staticmethod
    def kept(count, size=1 << 30):
        return {"arguments": {"x-max-length": count, "x-kept-bytes": size}}

    def test_the_oldest_go(self, bench, me, other):
        me.open(**self.kept(3))
        me.bind()
        me.close()
        for number in range(5):
            other.put(b"%d" % number, key="x", exchange=EXCHANGE)
        bench.run()
        assert bench.figure("kept_dropped_total") == 2
        other.open()
        assert [got[0] for got in iter(lambda: other.get("s", True), None)] == [b"2", b"3", b"4"]

    def test_by_size(self, bench, me, other):
        told = []
        bench.broker.dropped.journal = told.append
        me.open(**self.kept(1000, 200_000))
        me.bind()
        me.close()
        for number in range(8):
            other.put(b"%d" % number * 50_000, key="x", exchange=EXCHANGE)
            bench.run()
        left = [got[0][:1] for got in iter(lambda: other.get("s", True), None)]
        assert left == [b"5", b"6", b"7"]
        assert len(told) == 1
        assert "'s'" in told[0]

    def test_what_was_under_way_is_spared(self, bench, me, other):
        me.open(**self.kept(2))
        me.bind()
        me.consume(queue="s")
        for number in range(2):
            other.put(b"%d" % number, key="x", exchange=EXCHANGE)
        bench.run()
        me.close()
        for number in range(2, 7):
            other.put(b"%d" % number, key="x", exchange=EXCHANGE)
        bench.run()
        assert [got[0] for got in iter(lambda: other.get("s", True), None)] == [b"0", b"1", b"5", b"6"]

    def test_over_a_restart(self, bench, me, other):
        me.open(**self.kept(2))
        me.bind()
        for number in range(2):
            other.put(b"%d" % number, key="x", exchange=EXCHANGE)
        bench.run()
        bench.crash()
        again = bench.connect()
        for number in range(2, 5):
            again.put(b"%d" % number, key="x", exchange=EXCHANGE)
        bench.run()
        assert [got[0] for got in iter(lambda: again.get("s", True), None)] == [b"3", b"4"]

    def test_what_an_opening_has_left_is_made_anew(self, bench, me, other):
        me.ask(r.DeclareQueue("s", durable=True, arguments=self.kept(7)["arguments"]))
        assert not other.open(**self.kept(9))
        assert bench.catalogue.maybe_queue(NS, "s").arguments["x-max-length"] == 9


class TestUsers:
    """A session that is not kept, and another user's connection."""

    class Named(AllowAll):
        def may(self, principal, action, namespace, name):
            return (principal.name, action.name, name) not in self.denied

        def __init__(self):
            self.denied = {("eve", "CONFIGURE", "s")}

    @pytest.fixture
    def bench(self, monkeypatch):
        monkeypatch.setattr(SessionBench, "authorizer", self.Named())
        return SessionBench()

    @pytest.mark.parametrize("name", ["eve", "bob"])
    def test_who_may_not_configure_it_does_not_take_it(self, bench, name):
        alice, other = bench.connect(Principal("alice")), bench.connect(Principal(name))
        alice.open(expiry_s=0)
        if name == "eve":
            assert reason(other.open, expiry_s=0) is Reason.NOT_PERMITTED
            assert alice.lost == []
        else:
            other.open(expiry_s=0)
            assert alice.lost == [alice.session.number]

    def test_its_own_user_takes_it(self, bench):
        first, second = bench.connect(Principal("eve")), bench.connect(Principal("eve"))
        first.open(expiry_s=0)
        second.open(expiry_s=0)
        assert first.lost == [first.session.number]

    def test_who_may_read_its_exchange_no_more_gets_a_new_one(self, bench):
        me = bench.connect(Principal("bob"))
        me.open()
        me.bind()
        me.put(b"1", key="x", exchange=EXCHANGE)
        bench.run()
        me.close()
        bench.authorizer.denied.add(("bob", "READ", EXCHANGE))
        again = bench.connect(Principal("bob"))
        assert not again.open()
        assert again.get("s", True) is None


def test_names_of_sessions_are_reserved(bench, me):
    bench.decisions.reserved_queues, bench.decisions.reserved_exchanges = ("mqtt.",), ("mqtt.share.",)
    for name in ("mqtt.c", "mqtt.share.g/f"):
        assert reason(me.declare, name) is Reason.NOT_PERMITTED
    assert reason(me.ask, r.DeclareExchange("mqtt.share.g/f", "direct")) is Reason.NOT_PERMITTED
    me.open("mqtt.c")
    me.declare("mqtt.c")
