"""One session, and three workers: taken over from another one, kept over the death of its owner, lost with the worker of its connection."""

from collections import Counter

import pytest

from entrepot.broker.calls import requests as r
from entrepot.broker.calls import session_requests as s
from entrepot.broker.calls.port import DONE, PENDING, REFUSED, UNKNOWN, Sink, make_ask, make_publish
from entrepot.broker.front.parting import make_address
from entrepot.model.errors import Reason
from entrepot.model.principal import Principal
from entrepot.protocols.amqp091 import rewriting
from entrepot.simulation.letters_run import NAMESPACE, bodies_of
from entrepot.simulation.sessions_run import SessionsRun
from entrepot.simulation.workers import COUNT, Workers


class Peer(Sink):
    """A connection at one of them."""

    def __init__(self, group, worker):
        self.group = group
        self.worker = worker
        self.lost = []
        self.got = []
        self.ended = []
        self.session = None
        self.door = worker.broker.attach(self, Principal("me"), NAMESPACE)

    def completed(self, call):
        pass

    def throttle(self, blocked, reason):
        pass

    def elsewhere(self, process):
        pass

    def taken_over(self, number):
        self.lost.append(number)

    def cancelled(self, token):
        self.ended.append(token)

    def deliver(self, delivery):
        self.got += [delivery.offset + index for index in range(delivery.count)]
        return -1

    def submit(self, request):
        call = make_ask(1, request)
        self.worker.process.arrive(self.door.submit, call)
        return call

    def ask(self, request):
        call = self.submit(request)
        self.group.loop.run_until(lambda: call.outcome != PENDING, 60)
        if call.outcome != DONE:
            raise call.error
        return call.result

    def open(self, name, expiry_s=100, **how):
        self.session = self.ask(s.OpenSession(name, expiry_s=expiry_s, **how))
        return self.session.present

    def once(self, numbers, key="x"):
        codec = self.group.codecs[0]
        data = b"".join(rewriting.Parts({}, None, b"%d" % number).packed() for number in numbers)
        call = make_publish(1, make_address("amq.topic", key), codec.tag, codec.version, 0, data, len(numbers), len(numbers))
        return self.submit(s.PublishOnce(self.session.number, [call], [(number, 1) for number in numbers]))


@pytest.fixture
def group():
    run = SessionsRun(1)
    group = Workers.under(run, None)
    group.skew_ms, group.drift = 0, 0.0
    group.start()
    return group


def name_at(number, what="s"):
    """Of a queue, or session, that a worker owns."""
    return next(f"{what}-{index}" for index in range(100) if Workers.shard("queue", NAMESPACE, f"{what}-{index}") % COUNT == number)


def will_of(group, body):
    codec = group.codecs[0]
    return s.Will(make_address("amq.topic", "will"), codec.tag, codec.version, 0, rewriting.Parts({}, None, body).packed(), len(body))


def heard(group, queue):
    group.loop.run_for(3)
    worker = group.all[Workers.shard("queue", NAMESPACE, queue) % COUNT]
    return Counter(bodies_of(worker.broker, group.loop, queue))


@pytest.mark.parametrize("owner", range(COUNT))
def test_taken_over_from_another_worker(group, owner):
    name = name_at(owner)
    me, other = Peer(group, group.all[1]), Peer(group, group.all[2])
    assert not me.open(name)
    me.ask(r.Bind("amq.topic", name, "queue", "#"))
    me.ask(r.Consume(name, "c", exclusive=True))
    first = me.once([7, 8])
    group.loop.run_until(lambda: len(me.got) == 2, 60)
    assert first.outcome == DONE
    assert other.open(name)
    assert other.session.incoming == [(7, 2)]
    group.loop.run_for(0.1)
    assert me.lost == [me.session.number]
    late = me.once([9])
    other.ask(r.Consume(name, "c", exclusive=True))
    group.loop.run_for(0.5)
    assert other.got == me.got
    assert (late.outcome, late.error.reason) == (REFUSED, Reason.TAKEN_OVER)
    assert other.lost == []


@pytest.mark.parametrize("expiry_s", [0, 100])
def test_kept_over_the_death_of_its_owner(group, expiry_s):
    name, wills = name_at(0), name_at(2, "wills")
    me = Peer(group, group.all[1])
    me.ask(r.DeclareQueue(wills, durable=True))
    me.ask(r.Bind("amq.topic", wills, "queue", "will"))
    me.open(name, expiry_s, will=will_of(group, b"w"))
    group.kill(group.all[0], power=True, down_s=0.5)
    group.loop.run_for(5)
    group.settle()
    group.loop.run_for(5)
    assert me.lost == []
    if expiry_s:
        call = me.once([7])
        group.loop.run_until(lambda: call.outcome != PENDING, 60)
        assert call.outcome == DONE
    assert heard(group, wills) == Counter()
    other = Peer(group, group.all[2])
    assert other.open(name, 100) == bool(expiry_s)
    group.loop.run_for(0.5)
    assert me.lost == [me.session.number]
    assert heard(group, wills) == Counter([b"w"])


@pytest.mark.parametrize("expiry_s", [0, 100])
def test_lost_with_the_worker_of_its_connection(group, expiry_s):
    name, wills = name_at(0), name_at(2, "wills")
    me, other = Peer(group, group.all[1]), Peer(group, group.all[0])
    other.ask(r.DeclareQueue(wills, durable=True))
    other.ask(r.Bind("amq.topic", wills, "queue", "will"))
    me.open(name, expiry_s, will=will_of(group, b"w"))
    group.kill(group.all[1], power=False, down_s=1.0)
    assert heard(group, wills) == Counter([b"w"])
    assert other.open(name) == bool(expiry_s)


def test_its_time_ends_where_it_is_owned(group):
    name = name_at(2)
    me = Peer(group, group.all[1])
    me.open(name, 3)
    me.door.close()
    group.loop.run_for(2)
    assert name in group.all[0].broker.catalogue.namespace(NAMESPACE).queues
    group.loop.run_for(3)
    for worker in group.all:
        assert name not in worker.broker.catalogue.namespace(NAMESPACE).queues
        assert worker.broker.statistics()["sessions_kept"] == 0


def test_a_clean_start_from_another_worker(group):
    name = name_at(2)
    me, other = Peer(group, group.all[1]), Peer(group, group.all[0])
    me.open(name)
    me.ask(r.Bind("amq.topic", name, "queue", "#"))
    assert not other.open(name, clean=True)
    group.loop.run_for(0.1)
    assert me.lost == [me.session.number]
    definition = group.all[1].broker.catalogue.namespace(NAMESPACE).queues[name]
    assert not definition.bindings_in


def test_what_goes_to_an_owner_that_is_away_waits_for_nobody(group):
    name, far = name_at(0), name_at(2, "far")
    me = Peer(group, group.all[0])
    me.ask(r.DeclareQueue(far, durable=True))
    me.ask(r.Bind("amq.topic", far, "queue", "x"))
    me.open(name)
    first = me.once([1])
    group.loop.run_until(lambda: first.outcome != PENDING, 60)
    group.kill(group.all[2], power=True, down_s=10.0)
    call = me.once([2])
    group.loop.run_until(lambda: call.outcome != PENDING, 1)
    assert call.outcome == DONE
    group.loop.run_for(20)
    group.settle()
    assert heard(group, far) == Counter([b"1", b"2"])


def test_an_opening_that_was_asked_for_is_not_asked_for_again_of_an_owner_that_returns(group):
    """Somebody else may have the session since, and its will has come."""
    name, wills = name_at(0), name_at(2, "wills")
    me, other, last = Peer(group, group.all[1]), Peer(group, group.all[2]), Peer(group, group.all[2])
    other.ask(r.DeclareQueue(wills, durable=True))
    other.ask(r.Bind("amq.topic", wills, "queue", "will"))
    other.open(name)
    other.door.close()
    owner, front = group.all[0], group.all[1]
    group.loop.run_until(lambda: owner.broker.statistics()["sessions_attached"] == 0, 60)
    call = me.submit(s.OpenSession(name, expiry_s=100, will=will_of(group, b"w")))
    group.loop.run_until(lambda: owner.broker.statistics()["sessions_attached"] == 1, 60)
    front.stop()
    assert last.open(name)
    group.kill(owner, power=False, down_s=0.5)
    front.go_on()
    group.loop.run_for(5)
    group.settle()
    assert call.outcome == UNKNOWN
    assert last.lost == []
    assert heard(group, wills) == Counter([b"w"])


def test_an_opening_that_nobody_could_be_asked_for_waits_for_its_owner(group):
    name = name_at(0)
    me = Peer(group, group.all[1])
    assert not me.open(name)
    me.door.close()
    group.loop.run_for(0.1)
    group.kill(group.all[0], power=False, down_s=1.0)
    group.loop.run_for(0.2)
    assert Peer(group, group.all[2]).open(name)
