"""Direct reply-to at the port: names that come and go leave nothing behind, and answers reach their asker or nobody, in bounded memory."""

import pytest
from broker_bench import NS, Bench, longstr_array, refused

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.port import DONE, PENDING, make_publish
from entrepot.broker.catalogue.routing import CACHE_MAX, REPLY_PREFIX
from entrepot.broker.front.replies import ALL_WAITING_MAX_BYTES, WAITING_MAX_BYTES
from entrepot.model.entry import CODEC_STOMP
from entrepot.model.errors import Reason, Refused
from entrepot.protocols.stomp.records import StompEntryCodec

CLIENTS = 1000


@pytest.fixture
def bench():
    return Bench()


@pytest.fixture
def me(bench):
    me = bench.connect()
    me.declare()
    return me


def asker(bench, stream=1, token="answers"):
    """A connection that takes answers, and their name."""
    connection = bench.connect()
    consumer_id, name = connection.ask(r.ConsumeReplies(token), stream)
    connection.ids[token] = consumer_id
    return connection, name


class TestNothingIsLeft:
    def test_a_thousand_clients_that_come_and_go(self, bench, me):
        router = bench.catalogue.namespace(NS).router
        me.put(b"x")
        route, version, paths = router.route("", "q"), router.version, bench.broker.statistics()["paths_cached"]
        names, usage = set(), bench.catalogue.statistics()
        router.taken_steps()
        for number in range(CLIENTS):
            client, name = asker(bench)
            client.publish(b"ask %d" % number)
            me.publish(b"answer %d" % number, key=name)
            assert client.bodies("answers") == [b"answer %d" % number]
            names.add(name)
            if number % 2:
                client.cancel("answers")
            client.close()
        assert len(names) == CLIENTS
        assert max(map(len, names)) < 100
        assert router.version == version, "others have to find their routes anew"
        assert router.route("", "q") is route
        assert router.taken_steps() == 0
        assert bench.broker.statistics()["paths_cached"] == paths
        assert bench.catalogue.statistics() == usage
        assert list(bench.catalogue.namespace(NS).queues) == ["q"]
        assert router.replies == {}

    def test_answers_to_nobody(self, bench, me):
        """As many as would empty the cache of routes."""
        router = bench.catalogue.namespace(NS).router
        route, paths = router.route("", "q"), bench.broker.statistics()["paths_cached"]
        for number in range(CACHE_MAX + 1):
            me.publish(b"x", key=f"{REPLY_PREFIX}0123456789ab.{number}.gone", confirm=False)
        assert router.route("", "q") is route
        assert bench.broker.statistics()["paths_cached"] == paths

    def test_names_of_other_starts_are_nobodys(self, bench, me):
        _, name = asker(bench)
        assert name.startswith(f"{REPLY_PREFIX}{bench.broker.start_id.hex()}.")
        again = bench.reopen()
        assert again.broker.start_id.hex() != name.split(".")[3]
        assert again.connect().publish(b"x", key=name, mandatory=True).unroutable


class TestAnswers:
    def test_at_once_and_settled(self, bench, me):
        client, name = asker(bench)
        call = me.publish(b"1", b"2", key=name)
        assert (call.outcome, call.unroutable) == (DONE, False), "nothing to wait for"
        assert client.deliveries("answers") == [(b"1", False), (b"2", False)]
        assert client.held == {}

    def test_returned_once_the_asker_is_gone(self, bench, me):
        client, name = asker(bench)
        assert not me.publish(b"x", key=name, mandatory=True).unroutable
        for wrong in (name[:-1], name + "x", REPLY_PREFIX, name.replace(bench.broker.start_id.hex(), "0123456789abcdef")):
            call = me.publish(b"x", key=wrong, mandatory=True)
            assert (call.outcome, call.unroutable) == (DONE, True)
        client.cancel("answers")
        assert me.publish(b"x", key=name, mandatory=True).unroutable
        assert client.bodies("answers") == [b"x"]

    @pytest.mark.parametrize("end", ["cancel", "stream", "close"])
    def test_declaring_tells_whether_it_is_there(self, bench, me, end):
        client, name = asker(bench, stream=5)
        for passive in (False, True):
            assert me.declare(name, passive=passive) == (name, 0, 1)
        assert f"no queue '{name}x' in vhost '/'" in refused(me.declare, f"{name}x", passive=True)
        if end == "cancel":
            client.cancel("answers")
        elif end == "stream":
            client.ask(r.CloseStream(), 5)
        else:
            client.close()
        assert f"no queue '{name}' in vhost '/'" in refused(me.declare, name)

    @pytest.mark.parametrize(
        "ask",
        [lambda name: r.Consume(name, "c"), r.Get, r.PurgeQueue, lambda name: r.Bind("amq.direct", name, "queue", "k", {})],
        ids=["consume", "get", "purge", "bind"],
    )
    def test_it_is_no_queue(self, bench, me, ask):
        _, name = asker(bench)
        assert f"no queue '{name}' in vhost '/'" in refused(me.ask, ask(name))
        assert me.ask(r.DeleteQueue(name)) == 0
        assert me.declare(name, passive=True) == (name, 0, 1)

    def test_further_keys_and_dead_letters_lead_there_too(self, bench, me):
        client, name = asker(bench)
        other, another = asker(bench)
        me.put(b"copied", key="q", headers=[(b"CC", longstr_array(name.encode())), (b"BCC", longstr_array(another.encode()))])
        assert client.bodies("answers") == other.bodies("answers") == [b"copied"]
        assert bench.queue().depth() == 1
        call = me.put(b"alone", key="nowhere", headers=[(b"CC", longstr_array(name.encode()))], mandatory=True)
        assert not call.unroutable
        assert client.bodies("answers") == [b"alone"]
        me.declare("dying", x_dead_letter_exchange="", x_dead_letter_routing_key=name)
        me.put(b"dead", key="dying")
        me.get("dying")
        me.reject("get")
        bench.run()
        assert client.bodies("answers") == [b"dead"]

    def test_with_the_commit_of_a_transaction(self, bench, me):
        client, name = asker(bench)
        publishes = [me.run_of(b"answer", key=name), me.run_of(b"stored")]
        publishes.append(me.run_of(b"to nobody", key=f"{name}x", mandatory=True))
        me.ask(r.CommitTogether(publishes, []))
        assert client.bodies("answers") == [b"answer"]
        assert bench.queue().depth() == 1
        assert publishes[-1].unroutable

    def test_of_another_namespace_nothing_comes(self, bench):
        bench.decisions.create_namespace("other/space")
        client, name = asker(bench)
        stranger = bench.connect()
        stranger.door.close()
        stranger.door = bench.broker.attach(stranger, stranger.principal, "other/space")
        assert stranger.publish(b"x", key=name, mandatory=True).unroutable
        assert client.bodies("answers") == []

    def test_while_nothing_else_is_taken(self, bench, me):
        client, name = asker(bench)
        bench.broker.set_refusing(Refused(Reason.LIMIT, "the disk is nearly full"))
        assert me.publish(b"x").error is not None
        assert me.publish(b"answer", key=name).outcome == DONE
        assert client.bodies("answers") == [b"answer"]


def test_an_answer_of_another_protocol_is_translated(bench, me):
    bench.broker.register(StompEntryCodec())
    client, name = asker(bench)
    headers = b"destination:/reply-queue/x\n"
    record = len(headers).to_bytes(4, "big") + (6).to_bytes(4, "big") + b"\0" + headers + b"answer"
    call = make_publish(1, b"\0" + bytes([len(name)]) + name.encode(), CODEC_STOMP, 1, 0, record, 1, 6)
    me.door.submit(call)
    bench.run()
    assert client.bodies("answers") == [b"answer"]
    assert bench.broker.statistics()["replies_dropped_total"] == 0


class TestAnAskerThatDoesNotRead:
    def test_answers_wait_and_keep_their_order(self, bench, me):
        client, name = asker(bench)
        me.publish(b"0", key=name)
        client.door.writable = False
        for number in range(1, 4):
            me.publish(b"%d" % number, key=name)
        assert client.bodies("answers") == [b"0"]
        client.door.resume()
        me.publish(b"4", key=name)  # what waits is sent at the end of the tick
        bench.run()
        assert client.bodies("answers") == [b"1", b"2", b"3", b"4"]
        assert bench.broker.statistics()["replies_waiting_bytes"] == 0

    def test_beyond_its_room_they_are_dropped_and_counted(self, bench, me):
        client, name = asker(bench)
        client.door.writable = False
        body = b"." * 100_000
        calls = [me.publish(body, key=name, mandatory=True) for _ in range(60)]
        assert {call.outcome for call in calls} == {DONE}
        statistics = bench.broker.statistics()
        assert 0 < statistics["replies_waiting_bytes"] <= WAITING_MAX_BYTES
        dropped = statistics["replies_dropped_total"]
        client.door.resume()
        bench.run()
        assert len(client.bodies("answers")) == 60 - dropped == WAITING_MAX_BYTES // 100_400
        me.publish(b"again", key=name)
        assert client.bodies("answers") == [b"again"]

    def test_small_ones_are_counted_with_what_they_take_besides(self, bench, me):
        client, name = asker(bench)
        client.door.writable = False
        for _ in range(WAITING_MAX_BYTES // 256):
            me.publish(b"", key=name)
        assert bench.broker.statistics()["replies_dropped_total"] > 0

    def test_all_together_have_their_limit(self, bench, me):
        clients = []
        for _ in range(ALL_WAITING_MAX_BYTES // WAITING_MAX_BYTES + 2):
            client, name = asker(bench)
            client.door.writable = False
            clients.append(client)
            for _ in range(3):
                me.publish(b"." * 1_300_000, key=name)
        statistics = bench.broker.statistics()
        assert statistics["replies_waiting_bytes"] <= ALL_WAITING_MAX_BYTES
        assert statistics["replies_dropped_total"] > 0
        for client in clients:
            client.close()
        assert bench.broker.statistics()["replies_waiting_bytes"] == 0


def test_who_may_not_write_to_the_default_exchange_answers_nobody(bench):
    """And a change of that counts at once."""

    class Guard(type(bench.authorizer)):
        denied = False

        def authorize(self, *asked):
            if self.denied:
                raise Refused(Reason.NOT_PERMITTED, "no")

    bench.broker.authorizer = guard = Guard()
    client, name = asker(bench)
    me = bench.connect()
    assert me.publish(b"1", key=name).outcome == DONE
    guard.denied = True
    bench.catalogue.routes_changed()
    call = me.publish(b"2", key=name)
    assert isinstance(call.error, Refused)
    assert client.bodies("answers") == [b"1"]
    assert call.outcome != PENDING
