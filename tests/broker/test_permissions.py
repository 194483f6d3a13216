"""What a principal may not do through the port leaves nothing behind."""

import pytest
from stream_bench import NS, SMALL

from entrepot.broker.broker import Broker
from entrepot.broker.calls import requests
from entrepot.broker.calls.port import DONE, REFUSED, Sink, make_ask
from entrepot.broker.calls.topic_requests import AllowedActions
from entrepot.broker.catalogue.decisions import Decisions
from entrepot.broker.catalogue.routing import REPLY_PREFIX
from entrepot.broker.catalogue.stream import CatalogueStream
from entrepot.broker.state_kinds import default_folds
from entrepot.broker.users.authorization import Authorizer
from entrepot.broker.users.users import Permission, Users
from entrepot.model.principal import Principal
from entrepot.simulation.disk import SimulatedDisk
from entrepot.simulation.loop import SimulatedClock, SimulatedEntropy, SimulatedLoop
from entrepot.store.local.opening import open_store


class Quiet(Sink):
    def completed(self, call):
        pass

    def throttle(self, blocked, reason):
        pass


class Bench:
    def __init__(self):
        self.loop = SimulatedLoop(1)
        clock, entropy = SimulatedClock(self.loop), SimulatedEntropy(self.loop)
        store = open_store(SimulatedDisk(self.loop), scheduler=self.loop, clock=clock, entropy=entropy, fold=default_folds().fold, settings=SMALL)
        users = Users(CatalogueStream(store), clock, entropy, iterations=4096)
        users.add_user("ann", "secret", (NS,))
        users.set_permission("ann", NS, Permission("a.*|amq\\.gen-.*", "b.*", "c.*"))
        self.store = store
        self.users = users
        self.decisions = Decisions.over(CatalogueStream(store), lambda: entropy.octets(16))
        self.catalogue = self.decisions.catalogue
        self.broker = Broker(
            scheduler=self.loop,
            clock=clock,
            entropy=entropy,
            store=store,
            volatile=store,
            decisions=self.decisions,
            authorizer=Authorizer(users),
            on_failed=lambda error: pytest.fail(str(error)),
        )
        self.broker.open()
        self.door = self.broker.attach(Quiet(), Principal("ann"), NS)

    def ask(self, request):
        call = make_ask(1, request)
        self.door.submit(call)
        self.loop.run_for(0.5)
        return call


@pytest.fixture
def bench():
    return Bench()


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (requests.DeclareQueue("q"), "access to queue 'q' in vhost '/' refused for user 'ann'"),
        (requests.DeclareQueue("aq", durable=True, arguments={"x-dead-letter-exchange": "b"}), "access to queue 'aq' in vhost '/' refused for user 'ann'"),
        (requests.DeclareQueue("ac", durable=True, arguments={"x-dead-letter-exchange": "b"}), "access to queue 'ac' in vhost '/' refused for user 'ann'"),
        (requests.DeclareExchange("x"), "access to exchange 'x' in vhost '/' refused for user 'ann'"),
        (requests.DeclareExchange("ax", arguments={"alternate-exchange": "b"}), "access to exchange 'ax' in vhost '/' refused for user 'ann'"),
        (requests.Bind("amq.direct", "a"), "access to queue 'a' in vhost '/' refused for user 'ann'"),
        (requests.Get("a"), "access to queue 'a' in vhost '/' refused for user 'ann'"),
        (requests.PurgeQueue("a"), "access to queue 'a' in vhost '/' refused for user 'ann'"),
        (requests.DeleteQueue("q"), "access to queue 'q' in vhost '/' refused for user 'ann'"),
        (requests.DeleteExchange("x"), "access to exchange 'x' in vhost '/' refused for user 'ann'"),
        (requests.Consume("a", "token"), "access to queue 'a' in vhost '/' refused for user 'ann'"),
    ],
)
def test_what_is_refused_leaves_nothing_behind(bench, request_, text):
    call = bench.ask(request_)
    assert call.outcome == REFUSED
    assert str(call.error) == text
    assert bench.catalogue.statistics() == {"namespaces": 1, "exchanges": 0, "queues": 0, "topics": 0, "partitions": 0, "bindings": 0}
    assert bench.store.scan(0, b"c:q", b"c:r", 10) == []


def test_a_name_made_up_needs_permission_too(bench):
    call = bench.ask(requests.DeclareQueue("", exclusive=True))
    assert call.outcome == DONE  # its pattern has such names
    assert call.result[0].startswith("amq.gen-")
    assert bench.ask(requests.DeleteQueue(call.result[0])).outcome == DONE


def test_what_is_permitted_goes_through(bench):
    assert bench.ask(requests.DeclareQueue("a", durable=True)).outcome == DONE
    assert bench.ask(requests.DeclareQueue("nowhere", passive=True)).outcome == REFUSED
    assert bench.ask(requests.DeclareQueue("a", passive=True)).outcome == DONE


def test_a_name_with_line_ends_is_matched_as_any_other(bench):
    bench.users.set_permission("ann", NS, Permission("a.*z", "", ""))
    assert bench.ask(requests.DeclareQueue("a\n\rz")).outcome == DONE
    assert bench.ask(requests.DeclareQueue("a\nz\n")).outcome == REFUSED


def test_answers_need_no_permission(bench):
    call = bench.ask(requests.ConsumeReplies("token"))
    assert call.outcome == DONE
    consumer_id, name = call.result
    assert name.startswith(REPLY_PREFIX)
    assert bench.ask(requests.DeclareQueue(name)).result == (name, 0, 1)
    bench.ask(requests.Cancel(consumer_id))
    assert bench.ask(requests.DeclareQueue(name)).outcome == REFUSED
    assert bench.catalogue.statistics()["queues"] == 0


def test_what_somebody_may_do_is_told(bench):
    call = bench.ask(AllowedActions(["a", "b", "c", "abc", "x", None]))
    assert call.result == [{"configure"}, {"write"}, {"read"}, {"configure"}, set(), {"configure", "write", "read"}]
    bench.users.set_permission("ann", NS, Permission("", "^$", ".*"))
    assert bench.ask(AllowedActions(["a", None])).result == [{"read"}, {"read"}]
