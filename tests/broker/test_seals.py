"""A queue that is about to be deleted takes nothing more, until the catalogue has removed it or it stays."""

import pytest
from broker_bench import NS, refused
from timed_bench import TimedBench

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.port import DONE, PENDING, UNAVAILABLE
from entrepot.broker.calls.questions import Seal, Unseal
from entrepot.broker.calls.topic_requests import CreateTopic
from entrepot.model.errors import Reason, Refused


@pytest.fixture
def bench():
    return TimedBench()


@pytest.fixture
def me(bench):
    return bench.connect()


class Asked:
    """A question to the owner of a queue."""

    def __init__(self, bench, name, question):
        definition = bench.catalogue.maybe_queue(NS, name)
        self.answers = []
        ids = definition.partitions if definition.is_topic else [definition.log_id]
        bench.broker.owners.owner(definition).ask(question(ids), lambda *answer: self.answers.append(answer))
        bench.run()


def sealed(bench, name="q", if_unused=False, if_empty=False):
    return Asked(bench, name, lambda ids: Seal(ids, if_unused, if_empty)).answers


def unsealed(bench, name="q"):
    assert Asked(bench, name, Unseal).answers == [(None, None)]


@pytest.fixture(params=[True, False])
def q(request, me):
    """A queue, durable or not."""
    me.declare("q", durable=request.param)


@pytest.mark.usefixtures("q")
class TestSealed:
    def test_says_what_is_in_it(self, bench, me):
        me.put(b"1", b"2")
        me.consume("c", limit=1)
        bench.run()
        assert sealed(bench) == [(None, (1, 1))]

    def test_nothing_is_published_to_it(self, bench, me):
        assert me.put(b"before").outcome == DONE
        sealed(bench)
        assert me.put(b"x").outcome == UNAVAILABLE
        unsealed(bench)
        assert me.put(b"after").outcome == DONE
        assert [me.get()[0] for _ in range(2)] == [b"before", b"after"]

    def test_nothing_in_runs_either(self, bench, me):
        me.ask(r.DeclareExchange("h", "headers"))
        me.ask(r.Bind("h", "q", "queue", "", {"x-match": "any", "to": "q"}))
        headers = [(b"to", b"S\0\0\0\1q")]
        sealed(bench)
        assert me.put(b"x", exchange="h", key="", headers=headers).outcome == UNAVAILABLE
        unsealed(bench)
        assert me.put(b"x", exchange="h", key="", headers=headers).outcome == DONE

    def test_nothing_of_a_transaction(self, bench, me):
        me.declare("other")
        sealed(bench)
        call = me.submit(r.CommitTogether([me.run_of(b"x", key="other"), me.run_of(b"x")], []))
        bench.run()
        assert call.outcome == UNAVAILABLE
        assert bench.queue("other").depth() == 0

    def test_nobody_begins_to_read_it(self, bench, me):
        sealed(bench)
        call = me.submit(r.Consume("q", "c"))
        bench.run()
        assert call.outcome == UNAVAILABLE
        unsealed(bench)
        me.consume("c")

    def test_nothing_is_sent_to_it(self, bench, me):
        me.send(b"x")
        sealed(bench)
        call = me.start_send(b"y")
        bench.run()
        assert call.outcome == UNAVAILABLE
        unsealed(bench)
        me.send(b"z")
        assert me.received_bodies() == [b"x", b"z"]

    def test_refused_it_is_not(self, bench, me):
        me.put(b"x")
        ((error, answer),) = sealed(bench, if_empty=True)
        assert (error.reason, answer) == (Reason.NOT_EMPTY, None)
        me.consume("c")
        ((error, answer),) = sealed(bench, if_unused=True)
        assert (error.reason, answer) == (Reason.IN_USE, None)
        assert me.put(b"x").outcome == DONE


def test_a_letter_waits_until_its_queue_stays(bench, me):
    me.declare("dead")
    me.declare("q", x_dead_letter_exchange="", x_dead_letter_routing_key="dead")
    me.put(b"x")
    me.consume("c")
    bench.run()
    sealed(bench, "dead")
    me.reject("c")
    bench.run(5.0)
    assert bench.queue("dead").depth() == 0
    unsealed(bench, "dead")
    bench.run(5.0)
    assert me.get("dead")[0] == b"x"


def test_what_is_moved_waits_too(bench, me):
    me.create("dead")
    me.create("q", dead_letter_queue="dead", receive_max=1, visibility_ms=1000)
    me.send(b"x")
    me.receive()
    sealed(bench, "dead")
    bench.run(2.0)
    me.receive()
    bench.run(5.0)
    assert bench.queue("dead").depth() == 0
    unsealed(bench, "dead")
    bench.run(5.0)
    assert me.received_bodies(queue="dead") == [b"x"]


def test_a_stream_is_sealed_too(bench, me):
    me.ask(CreateTopic("t", 2))
    me.put(b"x", key="t")
    assert sealed(bench, "t") == [(None, (1, 0))]
    assert me.put(b"x", key="t").outcome == UNAVAILABLE
    unsealed(bench, "t")
    assert me.put(b"x", key="t").outcome == DONE


def test_its_shard_that_closes_ends_it(bench, me):
    me.declare("q")
    sealed(bench)
    shard = bench.queue().log.shard
    done = []
    bench.broker.shard_moves.close(shard, lambda: done.append("closed"))
    bench.run()
    bench.broker.shard_moves.open(shard, 2, lambda: done.append("open"))
    bench.run()
    assert done == ["closed", "open"]
    assert me.put(b"x").outcome == DONE


def test_a_second_waits_for_the_first(bench, me):
    me.declare("q")
    sealed(bench)
    again = Asked(bench, "q", lambda ids: Seal(ids, False, False))
    assert again.answers == []
    unsealed(bench)
    bench.run()
    assert again.answers == [(None, (0, 0))]


def test_deleted_by_two_at_a_time(bench, me):
    other = bench.connect()
    me.declare("q")
    me.put(b"1", b"2")
    calls = [one.submit(r.DeleteQueue("q")) for one in (me, other)]
    bench.run()
    assert [(call.outcome, call.result) for call in calls] == [(DONE, 2), (DONE, 0)]
    assert not bench.exists("q")


def test_what_comes_while_an_empty_queue_is_deleted_is_not_lost(bench, me):
    """Whatever comes first: the message is refused, or the delete."""
    for number in range(10):
        me.declare("q")
        call = me.submit(r.DeleteQueue("q", if_empty=True))
        for _ in range(number):
            bench.loop.step()
        published = me.publish(b"x", mandatory=True)
        bench.run()
        taken = published.outcome == DONE and not published.unroutable
        assert taken == (call.outcome != DONE)
        assert taken == bench.exists("q")
        if taken:
            me.ask(r.DeleteQueue("q"))


def test_a_catalogue_that_is_elsewhere_leaves_it_as_it_was(bench, me):
    me.declare("q")
    definition = bench.catalogue.namespace(NS).queues["q"]
    commit = bench.decisions.stream.commit

    def refuse(rows):
        raise Refused(Reason.LIMIT, "not now")

    bench.decisions.stream.commit = refuse
    assert refused(me.ask, r.DeleteQueue("q")) == "not now"
    bench.decisions.stream.commit = commit
    bench.run()
    assert bench.catalogue.namespace(NS).queues["q"] is definition
    assert me.put(b"x").outcome == DONE


def test_a_delete_under_way_ends_with_its_answer(bench, me):
    me.declare("q")
    call = me.submit(r.DeleteQueue("q"))
    assert call.outcome == PENDING
    me.close()
    bench.run()
    assert not bench.exists("q")
