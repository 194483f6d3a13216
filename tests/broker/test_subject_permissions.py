"""Who may read a topic by its subject, and write into it by its name: bindings carry what their makers may read, publishers ask for the topic."""

import pytest
from broker_bench import longstr_array, refused
from crossing_bench import Bench as AcrossBench
from crossing_bench import Client

from entrepot.broker.calls import requests as r
from entrepot.broker.catalogue.stream import CatalogueStream
from entrepot.broker.users.authorization import Authorizer
from entrepot.broker.users.secret_box import SecretBox
from entrepot.broker.users.users import Permission, Users
from entrepot.model.principal import Principal

NS = "public/default"
FREE = "(mine|amq).*"  # what bob and eve may use


class Bench(AcrossBench):
    """ann may do everything, bob and eve what is called mine-* and the system exchanges."""

    users = None

    @property
    def authorizer(self):
        self.users = Users(CatalogueStream(self.store), self.clock, self.entropy, lambda: SecretBox(b"k" * 32, self.entropy), iterations=4096)
        self.users.load()
        return Authorizer(self.users)

    def permit(self, name, read=FREE, write=FREE):
        if self.users.maybe_user(name) is None:
            self.users.add_user(name, "secret", (NS,))
        self.users.set_permission(name, NS, Permission(FREE, write, read))

    def connect(self, name="ann"):
        return Client(self, Principal(name))


@pytest.fixture
def bench():
    bench = Bench()
    bench.users.add_user("ann", "secret")
    bench.permit("bob")
    bench.permit("eve")
    return bench


@pytest.fixture
def ann(bench):
    return bench.connect()


@pytest.fixture
def bob(bench):
    return bench.connect("bob")


def waiting(client, queue="mine-q"):
    """All bodies in the queue."""
    found = []
    while (got := client.get(queue, auto_settle=True)) is not None:
        found.append(got[0])
    return found


@pytest.mark.parametrize("key", ["orders.eu", "orders.*", "orders.#", "#", "*.*", "#.eu"])
@pytest.mark.parametrize("topic_first", [True, False])
def test_a_binding_carries_no_topic_that_its_maker_may_not_read(bench, ann, bob, key, topic_first):
    bob.declare("mine-q")
    if topic_first:
        ann.topic("orders.eu")
    if topic_first and key == "orders.eu":
        assert refused(bob.bind, "mine-q", key) == "access to topic 'orders.eu' in vhost '/' refused for user 'bob'"
    else:
        bob.bind("mine-q", key)
    if not topic_first:
        ann.topic("orders.eu")
    ann.write(b"by kafka", topic="orders.eu")
    ann.put(b"by amqp", key="orders.eu")
    assert waiting(bob) == []
    bench.permit("bob", read="(mine|amq|orders).*")
    bob.bind("mine-q", key)
    ann.write(b"later", topic="orders.eu")
    assert waiting(bob) == [b"later"]


@pytest.mark.parametrize("kind", ["topic", "direct", "fanout", "headers"])
def test_nor_do_bindings_between_exchanges_on_any_part_of_the_way(bench, ann, bob, kind):
    ann.topic("orders")
    bob.declare("mine-q")
    bob.ask(r.DeclareExchange("mine-x", kind))
    bob.ask(r.Bind("amq.topic", "mine-x", "exchange", "#"))
    bob.ask(r.Bind("mine-x", "mine-q", routing_key="orders"))
    ann.write(b"first", topic="orders")
    ann.ask(r.Bind("amq.topic", "mine-x", "exchange", "#"))  # ann's too from now on: she may hand the topic to the exchange, but not to bob's queue
    ann.write(b"second", topic="orders")
    assert waiting(bob) == []
    ann.ask(r.Bind("mine-x", "mine-q", routing_key="orders"))
    ann.write(b"third", topic="orders")
    assert waiting(bob) == [b"third"]


def test_a_binding_by_an_exchange_asks_for_the_subject_too(ann, bob):
    ann.topic("orders")
    bob.ask(r.DeclareExchange("mine-x", "fanout"))
    assert "access to topic 'orders'" in refused(bob.ask, r.Bind("amq.topic", "mine-x", "exchange", "orders"))


def test_what_is_published_to_the_exchange_itself_is_for_whoever_may_read_the_exchange(ann, bob):
    ann.topic("orders")
    bob.declare("mine-q")
    bob.bind("mine-q", "#")
    ann.put(b"x", exchange="amq.topic", key="orders")
    assert waiting(bob) == [b"x"]
    assert ann.values(topic="orders") == [b"x"]


def test_a_binding_loses_what_its_maker_loses(bench, ann, bob):
    bench.permit("bob", read="(mine|amq|orders).*")
    ann.topic("orders")
    bob.declare("mine-q")
    bob.bind("mine-q", "orders")
    ann.write(b"before", topic="orders")
    ann.put(b"before too", key="orders")
    bench.permit("bob")
    ann.write(b"after", topic="orders")
    ann.put(b"after too", key="orders")
    assert waiting(bob) == [b"before", b"before too"]
    bench.users.delete_user("bob")
    ann.write(b"gone", topic="orders")
    assert waiting(ann) == []


def test_two_makers_of_one_binding_each_count_and_are_remembered(bench, ann, bob):
    ann.topic("orders")
    bob.declare("mine-q")
    bob.bind("mine-q", "#")
    ann.bind("mine-q", "#")
    ann.write(b"x", topic="orders")
    assert waiting(bob) == [b"x"]
    again = bench.reopen()
    (binding,) = again.catalogue.namespace(NS).bindings.values()
    assert binding.makers == ("bob", "ann")
    ann, bob = again.connect(), again.connect("bob")
    ann.write(b"y", topic="orders")
    assert waiting(bob) == [b"y"]
    again.users.delete_user("ann")
    bob.bench.connect("eve").bind("mine-q", "#")
    again.users.add_user("ann", "secret")
    again.connect().write(b"z", topic="orders")
    assert waiting(bob) == [b"z"]  # makers are kept by name
    bob.ask(r.Bind("amq.topic", "mine-q", routing_key="#", remove=True))
    again.connect().write(b"unbound", topic="orders")
    assert waiting(bob) == []


@pytest.mark.parametrize("guest", [True, False])
def test_a_binding_of_whom_nobody_knows_is_held_to_be_guests(bench, ann, guest):
    ann.declare("mine-q")
    ann.topic("orders")
    queue = bench.catalogue.maybe_queue(NS, "mine-q")
    bench.decisions.bind(NS, "amq.topic", queue, "orders", {})
    if not guest:
        bench.users.delete_user("guest")
    ann.write(b"x", topic="orders")
    assert waiting(ann) == ([b"x"] if guest else [])


class TestWriting:
    @pytest.mark.parametrize("exchange", ["", "amq.topic"])
    def test_a_topic_that_is_reached_by_name_or_subject_is_asked_for(self, bench, ann, bob, exchange):
        ann.topic("orders")
        call = bob.put(b"x", exchange=exchange, key="orders")
        assert str(call.error) == "access to topic 'orders' in vhost '/' refused for user 'bob'"
        ann.put(b"y", exchange=exchange, key="orders")
        bench.permit("bob", write="(mine|amq|orders).*")
        assert bob.put(b"z", exchange=exchange, key="orders").error is None
        bench.permit("bob")
        assert "refused for user 'bob'" in str(bob.put(b"late", exchange=exchange, key="orders").error)
        ann.consume(queue="orders", start="first", limit=10)
        bench.run()
        assert ann.bodies() == [b"y", b"z"]

    @pytest.mark.parametrize("exchange", ["", "amq.topic"])
    @pytest.mark.parametrize("header", [b"CC", b"BCC"])
    def test_so_is_one_of_further_routing_keys_and_nothing_is_published_then(self, bench, ann, bob, exchange, header):
        ann.topic("orders")
        bob.declare("mine-q")
        bob.bind("mine-q", "mine-q")
        call = bob.publish(b"x", exchange=exchange, key="mine-q", headers=[(header, longstr_array(b"orders"))])
        bench.run()
        assert "access to topic 'orders'" in str(call.error)
        assert waiting(bob) == []

    @pytest.mark.parametrize("header", [b"CC", b"BCC"])
    def test_nor_is_anything_else_of_one_commit(self, ann, bob, header):
        ann.topic("orders")
        bob.declare("mine-q")
        publishes = [bob.run_of(b"x", key="mine-q"), bob.run_of(b"y", key="mine-q", headers=[(header, longstr_array(b"orders"))])]
        assert "access to topic 'orders'" in refused(bob.ask, r.CommitTogether(publishes, []))
        assert waiting(bob) == []

    def test_so_is_one_behind_an_alternate_exchange(self, ann, bob):
        ann.topic("orders")
        bob.ask(r.DeclareExchange("mine-x", "direct", arguments={"alternate-exchange": ""}))
        assert "access to topic 'orders'" in str(bob.put(b"x", exchange="mine-x", key="orders").error)

    def test_a_queue_of_that_name_is_the_queue(self, ann, bob):
        ann.topic("mine-q")
        bob.declare("mine-q")
        assert bob.put(b"x", key="mine-q").error is None
        assert waiting(bob) == [b"x"]

    def test_a_binding_was_agreed_to_by_its_maker(self, bench, ann, bob):
        ann.topic("orders")
        ann.ask(r.Bind("amq.direct", "orders", routing_key="k"))
        assert bob.put(b"x", exchange="amq.direct", key="k").error is None
        ann.consume(queue="orders", start="first", limit=10)
        bench.run()
        assert ann.bodies() == [b"x"]

    @pytest.mark.parametrize("exchange", ["", "amq.topic"])
    def test_dead_letters_go_into_no_topic_that_their_queues_maker_may_not_write(self, bench, ann, bob, exchange):
        ann.topic("orders")
        for maker in (bob, ann):
            bench.permit("bob", read=".*", write=".*" if maker is ann else FREE)
            name = f"mine-{maker.principal.name}"
            maker.declare(name, x_dead_letter_exchange=exchange, x_dead_letter_routing_key="orders", x_message_ttl=1)
            maker.put(name.encode(), key=name)
            bench.run(1)
        ann.consume(queue="orders", start="first", limit=10)
        bench.run()
        assert ann.bodies() == [b"mine-ann"]
