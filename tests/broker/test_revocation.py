"""A change of users counts for whoever is connected: doors end, consumers are cancelled, what waits is answered, publishers are asked again."""

import pytest
from crossing_bench import Client
from test_subject_permissions import FREE, NS, Bench

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.partition_calls import make_read_part
from entrepot.broker.calls.port import PENDING, REFUSED
from entrepot.broker.front.revocation import TURN_MAX
from entrepot.broker.users.users import Permission, PlainCheck
from entrepot.model.errors import Reason, Refused
from entrepot.model.principal import Principal


class Doors(Bench):
    def log_in(self, name, password="secret"):
        found = self.users.begin_plain(name, password, True)
        return self.users.finish_plain(found, found.run()) if isinstance(found, PlainCheck) else found

    def enter(self, name, password="secret"):

        return Client(self, self.log_in(name, password))


@pytest.fixture
def bench():
    bench = Doors()
    bench.users.add_user("ann", "secret")
    bench.permit("bob")
    return bench


@pytest.fixture
def bob(bench):
    return bench.enter("bob")


CHANGES = {
    "deleted": lambda users: users.delete_user("bob"),
    "made again": lambda users: (users.delete_user("bob"), users.add_user("bob", "secret")),
    "another password": lambda users: users.set_password("bob", "other"),
    "namespace forbidden": lambda users: users.clear_permission("bob", NS),
    "namespace forbidden, all others permitted": lambda users: (users.set_permission("bob", "*", Permission()), users.clear_permission("bob", NS)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_connection_ends_and_lets_go_of_what_it_holds(bench, bob, change):
    ann = bench.enter("ann")
    bob.declare("mine-q")
    bob.declare("mine-own", exclusive=True, durable=False)
    bob.put(b"1", b"2", key="mine-q")
    bob.consume(queue="mine-q", limit=1)
    bench.run()
    assert bob.bodies() == [b"1"]
    CHANGES[change](bench.users)
    assert bob.revoked_for
    assert bob.door.closed
    assert ann.revoked_for is None
    assert bench.catalogue.maybe_queue(NS, "mine-own") is None
    assert bob.publish(b"3", key="mine-q").outcome == PENDING  # nobody listens
    bench.run()
    assert bob.bodies() == []
    assert [ann.get("mine-q", auto_settle=True)[0] for _ in range(2)] == [b"1", b"2"]
    assert ann.get("mine-q") is None
    assert bench.broker.statistics()["attachments_revoked_total"] == 1


@pytest.mark.parametrize("change", CHANGES)
def test_so_does_a_login_that_is_half_way(bench, change):
    principal = bench.log_in("bob")
    CHANGES[change](bench.users)
    with pytest.raises(Refused) as caught:
        bench.broker.attach(None, principal, NS)
    assert caught.value.reason is Reason.NOT_PERMITTED


def test_what_does_not_concern_it_leaves_a_connection_alone(bench, bob):
    bench.users.set_permission("bob", NS, Permission(FREE, FREE, ".*"))
    bench.users.set_tags("bob", frozenset({"administrator"}))
    bench.users.add_user("eve", "secret")
    assert bob.revoked_for is None
    assert bob.door.principal.tags == {"administrator"}
    bench.users.set_tags("bob", frozenset())
    assert bob.door.principal.tags == frozenset()


def test_who_showed_nothing_is_not_let_in_once_there_is_a_user():
    bench = Doors()

    guest = Client(bench, bench.users.anonymous(True))
    known = bench.enter("guest", "guest")
    bench.users.add_user("ann", "secret")
    assert guest.revoked_for
    assert known.revoked_for is None
    bench.users.delete_user("guest")
    assert known.revoked_for


def test_many_connections_have_their_turns():
    bench = Doors()
    bench.users.add_user("bob", "secret")
    principal = bench.log_in("bob")

    bobs = [Client(bench, principal) for _ in range(2 * TURN_MAX + 1)]
    bench.users.set_tags("bob", frozenset())
    bench.users.delete_user("bob")  # before those of the first change had theirs
    assert sum(bob.revoked_for is not None for bob in bobs) <= TURN_MAX
    bench.run()
    assert all(bob.revoked_for for bob in bobs)


def test_consumers_of_what_may_not_be_read_any_more_are_cancelled(bench, bob):
    bench.users.set_permission("bob", NS, Permission())
    bob.declare("q")
    bob.declare("s", x_queue_type="stream")
    bob.declare("mine-q")
    bob.put(b"1", b"2", key="q")
    for queue, start in (("q", None), ("s", "first"), ("mine-q", None)):
        bob.consume(queue, queue, limit=1, start=start)
    bob.ask(r.ConsumeReplies("replies"))
    bench.run()
    bench.permit("bob", write=".*")
    assert sorted(bob.ended) == ["q", "s"]
    for queue in ("q", "s", "mine-q"):
        bob.put(b"3", key=queue)
    bob.accept("q")  # what it holds it may still settle
    bench.run()
    assert bob.bodies("q") == [b"1"]
    assert bob.bodies("s") == []
    assert bob.bodies("mine-q") == [b"3"]
    ann = bench.enter("ann")
    assert [ann.get("q", auto_settle=True)[0] for _ in range(2)] == [b"2", b"3"]
    assert bench.broker.statistics()["consumers_revoked_total"] == 2


def test_a_read_that_waits_is_answered_and_brings_nothing_of_what_was_taken_away(bench, bob):
    bench.users.set_permission("bob", NS, Permission())
    for name in ("t", "u", "mine-t"):
        bob.topic(name)
    parts = [make_read_part(name, 0, 0, 1 << 20) for name in ("t", "u", "mine-t")]
    bob.write(b"x", topic="t")
    bob.write(b"x", topic="mine-t")
    call = bob.ask_read(parts, min_bytes=1 << 19, wait_ms=60_000)
    bench.run()
    assert call.outcome == PENDING
    bench.permit("bob")
    assert call.outcome != PENDING
    assert [part.error and part.error.reason for part in parts] == [Reason.NOT_PERMITTED, Reason.NOT_PERMITTED, None]
    assert [len(part.data) for part in parts] == [0, 0, 1]
    bob.wait(bob.ask_read(parts, min_bytes=1, wait_ms=50))
    assert [part.error and part.error.reason for part in parts] == [Reason.NOT_PERMITTED, Reason.NOT_PERMITTED, None]
    bench.permit("bob", read=".*")
    bob.wait(bob.ask_read(parts, min_bytes=1, wait_ms=50))
    assert [len(part.data) for part in parts] == [1, 0, 1]


def test_publishers_are_asked_again(bench, bob):
    bench.users.set_permission("bob", NS, Permission())
    bob.ask(r.DeclareExchange("x"))
    assert bob.put(b"1", exchange="x", key="k").error is None
    bench.permit("bob")
    call = bob.put(b"2", exchange="x", key="k")
    assert call.outcome == REFUSED
    assert str(call.error) == "access to exchange 'x' in vhost '/' refused for user 'bob'"


def test_an_access_key_that_is_deleted_ends_what_it_began(bench):
    first, _ = bench.users.add_access_key("bob")
    second, _ = bench.users.add_access_key("bob")

    bobs = [Client(bench, Principal("bob", frozenset(), "access-key", key.standing)) for key in (first, second)]
    bench.users.set_password("bob", "other")
    assert [bob.revoked_for for bob in bobs] == [None, None]
    bench.users.delete_access_key(first.id)
    assert bobs[0].revoked_for
    assert bobs[1].revoked_for is None
