"""Changes of the catalogue: whoever applies them has the same, and what is answered has been applied by everybody."""

import random
from functools import partial

import pytest
from broker_bench import Bench
from memory_state import LogIds, MemoryState
from test_quotas_model import Declaring

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.port import DONE, PENDING
from entrepot.broker.catalogue import kept_definitions
from entrepot.broker.catalogue.catalogue import Catalogue
from entrepot.broker.catalogue.changes import CHANGE_VERSION, Revision, Row, decode_change, difference, encode_change
from entrepot.broker.catalogue.decisions import Decisions
from entrepot.broker.catalogue.kept_definitions import CATALOGUE_SHARD, QUEUE_KEY, gone, named_key, queue_row
from entrepot.broker.catalogue.stream import CatalogueStream
from entrepot.broker.state import DELETE
from entrepot.broker.users.secret_box import SecretBox
from entrepot.broker.users.users import ACCESS_KEY, ACCESS_KEY_KEY, USER_KEY, Users
from entrepot.clock import SystemClock
from entrepot.entropy import SystemEntropy
from entrepot.model.errors import CorruptData, Refused, Unavailable
from entrepot.model.principal import Principal
from entrepot.simulation.following import Follower

NS = "public/default"
HERE = (b"start", 1)
EMPTY = encode_change(Revision(1, 1), [])


def declare(decisions, name, **more):
    flags = {"durable": True, "exclusive": False, "auto_delete": False} | more
    return decisions.declare_queue(NS, name, **flags, arguments={}, connection=HERE)[0]


def rows_of(part):
    return sorted(part.snapshot(), key=lambda row: row.key)


# ---- changes


def test_a_change_comes_back_as_it_was():
    rows = [Row(b"c:q1", {"log_id": b"1" * 16, "arguments": {"x": [1, 2.5, None]}}), Row(b"c:x2", {}, True, False), Row(b"i:n", b"raw")]
    assert decode_change(encode_change(Revision(3, 7), rows)) == (Revision(3, 7), rows)


@pytest.mark.parametrize("data", [b"", b"\xc1", EMPTY[1:], EMPTY.replace(bytes([CHANGE_VERSION] * 2), bytes([1, CHANGE_VERSION + 1]), 1)])
def test_what_is_no_change_is_refused(data):
    with pytest.raises(CorruptData):
        decode_change(data)


# ---- everybody applies


class History:
    """What a catalogue was at each revision."""

    prefixes = ()

    def __init__(self, catalogue):
        self._catalogue = catalogue
        self.seen = {catalogue.revision: rows_of(catalogue)}

    def apply(self, revision, rows):
        self.seen[revision] = rows_of(self._catalogue)

    def rows(self):
        return iter([])


@pytest.mark.parametrize("seed", range(20))
def test_whoever_follows_has_the_same(seed):
    """Followers that join early, amid, and late; at every revision that they have applied, they have what the owner had."""
    run = Declaring(seed)
    chance = random.Random(seed)
    followers = {}
    history = History(run.catalogue)
    run.stream.add(history)
    for number in range(300):
        if chance.random() < 0.02 or number == 0:
            run.stream.join(number, followers.setdefault(number, Follower(Catalogue())))
        try:
            run.step()
        except Refused:
            pass
        run.state.commit()
        for name, follower in followers.items():
            while chance.random() < 0.7 and follower.apply_one():
                assert rows_of(follower.part) == history.seen[follower.revision]
                run.stream.applied(name, follower.revision)
    for follower in followers.values():
        while follower.apply_one():
            pass
        assert rows_of(follower.part) == rows_of(run.catalogue)
        assert follower.part.statistics() == run.catalogue.statistics()
        assert routes(follower.part) == routes(run.catalogue)


def routes(catalogue):
    found = {}
    for name, space in catalogue.namespaces.items():
        for exchange in space.exchanges:
            if not space.exchanges[exchange].internal:
                for key in ("k", "a", "b", "q1", ""):
                    found[name, exchange, key] = sorted((target.is_topic, target.name) for target in space.router.route(exchange, key).targets)
    return found


def test_rows_that_say_nothing_new_change_nothing():
    decisions = Decisions.over(CatalogueStream(MemoryState()), LogIds())
    declare(decisions, "q")
    decisions.declare_topic(NS, "t", partitions=2)
    decisions.declare_exchange(NS, "e", "topic", durable=True, auto_delete=True, internal=False, arguments={"alternate-exchange": "amq.fanout"})
    decisions.bind_queue(NS, "q", "e", "#", {"x": 1}, HERE, "ann")
    heard = []
    decisions.catalogue.on_applied = heard.append
    version = decisions.catalogue.namespace(NS).router.version
    decisions.catalogue.apply(Revision(9, 9), decode_change(encode_change(Revision(9, 9), decisions.catalogue.snapshot()))[1])
    decisions.catalogue.apply(Revision(9, 10), [Row(named_key(QUEUE_KEY, "public/gone", "x"), {}, True)])
    assert heard == []
    assert decisions.catalogue.namespace(NS).router.version == version
    assert list(decisions.catalogue.namespaces) == [NS]


def test_a_binding_whose_end_is_not_there_is_passed_over():
    decisions = Decisions.over(CatalogueStream(MemoryState()), LogIds())
    declare(decisions, "q")
    decisions.bind_queue(NS, "q", "amq.direct", "k", {}, HERE)
    other = Catalogue()
    other.apply(Revision(1, 1), [row for row in decisions.catalogue.snapshot() if not row.key.startswith(QUEUE_KEY)])
    assert other.namespace(NS).bindings == {}


def test_users_follow():
    stream = CatalogueStream(MemoryState())
    users = Users(stream, SystemClock(), SystemEntropy(), iterations=4096)
    other = Follower(Users(CatalogueStream(MemoryState()), SystemClock(), SystemEntropy(), iterations=4096))
    told = []
    other.part.on_changed.append(lambda: told.append(True))
    users.add_user("ann", "secret")
    stream.join("other", other)
    users.set_password("ann", "other")
    users.clear_permission("ann", NS)
    stream.store.commit()
    while other.apply_one():
        pass
    assert other.part.user("ann").verifiers == users.user("ann").verifiers
    assert other.part.user("ann").permission(NS) is None
    assert len(told) == 3  # the snapshot, and two changes
    users.delete_user("ann")
    stream.store.commit()
    other.apply_one()
    assert other.part.maybe_user("ann") is None


def test_other_tags_let_connections_stand_and_another_password_ends_them():
    users = Users(CatalogueStream(MemoryState()), SystemClock(), SystemEntropy(), iterations=4096)
    standing = users.add_user("ann", "secret").standing
    assert users.set_tags("ann", frozenset({"administrator"})).standing == standing
    assert users.set_password("ann", "secret").standing != standing


# ---- revisions


def test_a_revision_grows_with_every_change_and_over_restarts():
    state = MemoryState()
    stream = CatalogueStream(state)
    decisions = Decisions.over(stream, LogIds())
    declare(decisions, "q")
    declare(decisions, "passing", durable=False)
    assert stream.revision == decisions.catalogue.revision == Revision(1, 2)
    state.epoch = 2
    again = Decisions.over(CatalogueStream(state), LogIds(100))
    assert again.catalogue.revision == Revision(2, 0)
    declare(again, "another")
    assert again.catalogue.revision == Revision(2, 1)


def test_without_shard_0_nothing_is_decided_and_nothing_changes():
    state = MemoryState()
    decisions = Decisions.over(CatalogueStream(state), LogIds())
    declare(decisions, "q")
    before = rows_of(decisions.catalogue), dict(state.values), decisions.stream.revision
    state.closed.add(CATALOGUE_SHARD)
    for change in (
        lambda: declare(decisions, "another"),
        lambda: decisions.remove_queue(decisions.catalogue.find_queue(NS, "q", HERE)),
        lambda: decisions.bind_queue(NS, "q", "amq.direct", "k", {}, HERE),
        lambda: decisions.create_namespace("public/new"),
        lambda: decisions.create_topic(NS, "t", 3, {}),
        lambda: decisions.declare_exchange(NS, "e", "direct", durable=True, auto_delete=False, internal=False, arguments={}),
    ):
        with pytest.raises(Unavailable):
            change()
        assert (rows_of(decisions.catalogue), state.values, decisions.stream.revision) == before
    declare(decisions, "mine", durable=False)  # its home is here


def test_what_cannot_be_encoded_changes_nothing():
    state = MemoryState()
    stream = CatalogueStream(state)
    decisions = Decisions.over(stream, LogIds())
    queue = declare(decisions, "q")
    before = rows_of(decisions.catalogue), dict(state.values), stream.revision
    with pytest.raises(OverflowError):
        stream.commit([gone(queue_row(queue)), Row(named_key(QUEUE_KEY, NS, "other"), {"log_id": 1 << 70})])
    assert (rows_of(decisions.catalogue), state.values, stream.revision) == before


def test_shard_0_comes_back_as_others_have_left_it():
    state = MemoryState()
    decisions = Decisions.over(CatalogueStream(state), LogIds())
    for name in ("stays", "goes", "changes"):
        declare(decisions, name)
    mine = declare(decisions, "mine", durable=False)
    decisions.bind_queue(NS, "goes", "amq.direct", "k", {}, HERE)
    state.epoch = 2
    elsewhere = Decisions.over(CatalogueStream(state), LogIds(100))
    for name in ("goes", "changes"):
        elsewhere.remove_queue(elsewhere.catalogue.find_queue(NS, name, HERE))
    changed = declare(elsewhere, "changes").log_id
    declare(elsewhere, "new")
    stays = decisions.catalogue.find_queue(NS, "stays", HERE)
    heard = []
    decisions.catalogue.on_applied = heard.append
    decisions.stream.reload()
    queues = decisions.catalogue.namespace(NS).queues
    assert sorted(queues) == ["changes", "mine", "new", "stays"]
    assert (queues["stays"], queues["mine"], queues["changes"].log_id) == (stays, mine, changed)
    assert decisions.catalogue.namespace(NS).bindings == {}
    assert decisions.stream.revision == decisions.catalogue.revision == Revision(2, 0)
    (applied,) = heard
    assert sorted(one.name for one in applied.removed) == ["changes", "goes"]
    assert sorted(one.name for one in applied.made) == ["changes", "new"]


@pytest.mark.parametrize("seed", range(10))
def test_difference_makes_one_of_the_other(seed):
    one, other = Declaring(seed), Declaring(seed + 1000)
    for run in (one, other):
        for _ in range(150):
            try:
                run.step()
            except Refused:
                pass
    here, there = one.catalogue, other.catalogue
    here.apply(Revision(5, 5), difference(Catalogue.prefixes, here.snapshot(), there.snapshot()))
    assert rows_of(here) == rows_of(there)
    assert here.statistics() == there.statistics()


def bound_to(decisions, made):
    """Something that `made` makes, and what is bound to it or by it; what there is, and who else has it, from the same state."""
    made(decisions)
    declare(decisions, "end")
    bindings = decisions.catalogue.namespace(NS).bindings
    for source, destination in (("amq.direct", "it"), ("it", "end"), ("it", "it")):
        try:
            decisions.bind(NS, source, found(decisions, destination), "k", {}, "ann")
        except Refused:  # only exchanges lead on
            continue
    return bindings


def found(decisions, name):
    space = decisions.catalogue.namespace(NS)
    return space.exchanges.get(name) or space.queues.get(name) or space.topics[name]


def declare_exchange(decisions, kind="topic", **arguments):
    return decisions.declare_exchange(NS, "it", kind, durable=True, auto_delete=False, internal=False, arguments=arguments)


MADE = {
    "queue": lambda decisions: declare(decisions, "it"),
    "topic": lambda decisions: decisions.declare_topic(NS, "it"),
    "exchange": lambda decisions: declare_exchange(decisions, "fanout" if decisions.stream.revision.epoch == 1 else "topic"),
}


@pytest.mark.parametrize("kind", MADE)
def test_what_others_made_again_has_what_they_bound_to_it_again(kind):
    state = MemoryState()
    decisions = Decisions.over(CatalogueStream(state), LogIds())
    before = set(bound_to(decisions, MADE[kind]))
    follower = Follower(Catalogue())
    decisions.stream.join("one", follower)
    state.commit()
    follower.apply_one()
    decisions.stream.leave("one")
    state.epoch = 2
    elsewhere = Decisions.over(CatalogueStream(state), LogIds(100))
    if kind == "exchange":
        elsewhere.delete_exchange(NS, "it")
    else:
        elsewhere.remove_queue(found(elsewhere, "it"))
    assert not set(elsewhere.catalogue.namespace(NS).bindings)
    assert set(bound_to(elsewhere, MADE[kind])) == before
    decisions.stream.reload()
    elsewhere.stream.join("one", follower)
    state.commit()
    follower.apply_one()
    for catalogue in (decisions.catalogue, follower.part):
        assert set(catalogue.namespace(NS).bindings) == before
        assert rows_of(catalogue) == rows_of(elsewhere.catalogue)
        assert routes(catalogue) == routes(elsewhere.catalogue)
        assert catalogue.statistics() == elsewhere.catalogue.statistics()


def test_a_value_that_does_not_equal_itself_is_no_difference():
    decisions = Decisions.over(CatalogueStream(MemoryState()), LogIds())
    exchange = declare_exchange(decisions, x=float("nan"))
    declare(decisions, "q")
    decisions.bind_queue(NS, "q", "it", "k", {"y": float("nan")}, HERE)
    decisions.stream.reload()
    assert decisions.catalogue.find_exchange(NS, "it") is exchange
    assert len(exchange.bindings_out) == 1


def test_whoever_finds_nothing_changed_is_as_far_all_the_same():
    state = MemoryState()
    decisions = Decisions.over(CatalogueStream(state), LogIds())
    done = []
    decisions.catalogue.when(Revision(1, 7), lambda: done.append(True))  # of something that others made, and deleted
    state.epoch = 2
    decisions.stream.reload()
    assert decisions.catalogue.revision == Revision(2, 0)
    assert done


def test_a_binding_goes_without_a_look_at_its_arguments(monkeypatch):
    """There may be two hundred of them in a turn of the loop, of a hundred kilobytes each."""
    decisions = Decisions.over(CatalogueStream(MemoryState()), LogIds())
    queue = declare(decisions, "q")
    for key, arguments in (("a", {}), ("b", {"x": [1] * 1000}), ("c", {"\udce9": "\udce9"})):
        decisions.bind_queue(NS, "q", "amq.direct", key, arguments, HERE)
    follower = Follower(Catalogue())
    decisions.stream.join("one", follower)
    decisions.stream.store.commit()
    follower.apply_one()
    with monkeypatch.context() as patches:
        for name in ("from_plain", "to_plain"):
            patches.setattr(kept_definitions, name, None)
        decisions.thin_out(queue, 3)
    decisions.stream.store.commit()
    assert len(follower.part.namespace(NS).bindings) == 3
    follower.apply_one()
    assert not follower.part.namespace(NS).bindings
    assert not decisions.catalogue.namespace(NS).bindings


def test_users_who_are_told_of_again_stay_who_they_are():
    users = Users(CatalogueStream(MemoryState()), SystemClock(), SystemEntropy(), lambda: SecretBox(bytes(32), SystemEntropy()), iterations=4096)
    users.add_user("ann", "secret")
    access_key, _ = users.add_access_key("ann")
    check = users.begin_plain("ann", "secret", True)
    signed = Principal("ann", frozenset(), ACCESS_KEY, access_key.standing)
    told = []
    users.on_changed.append(lambda: told.append(True))
    rows = [*users.snapshot(), Row(USER_KEY + b"nobody", {}, True), Row(USER_KEY + b"guest", {}, True), Row(ACCESS_KEY_KEY + b"none", {}, True)]
    users.apply(Revision(2, 0), decode_change(encode_change(Revision(2, 0), rows))[1])
    assert users.is_current(users.finish_plain(check, check.run()))
    assert users.is_current(signed)
    assert told == []
    users.apply(Revision(2, 1), [Row(ACCESS_KEY_KEY + access_key.id.encode(), {"user": "ann", "sealed": b"another"})])
    assert not users.is_current(signed)
    assert told


# ---- the barrier


class BarrierBench(Bench):
    def follow(self, name):
        follower = Follower(Catalogue())
        self.decisions.stream.join(name, follower)
        return follower


@pytest.fixture
def bench():
    return BarrierBench()


def declaring(bench, name="q"):
    connection = bench.connect()
    call = connection.submit(r.DeclareQueue(name, durable=True, exclusive=False, auto_delete=False, arguments={}))
    bench.run()
    return call


def test_alone_an_answer_waits_for_the_disk_only(bench):
    assert declaring(bench).outcome == DONE


def test_an_answer_waits_until_everybody_has_applied_it(bench):
    one, other = bench.follow("one"), bench.follow("other")
    bench.run()
    call = declaring(bench)
    assert call.outcome == PENDING
    for name, follower in (("one", one), ("other", other)):
        assert call.outcome == PENDING
        while follower.apply_one():
            bench.decisions.stream.applied(name, follower.revision)
        assert "q" in follower.part.namespace(NS).queues
    assert call.outcome == DONE


def test_what_is_sent_on_is_durable(bench):
    follower = bench.follow("one")
    bench.run()
    connection = bench.connect()
    connection.submit(r.DeclareQueue("q", durable=True, exclusive=False, auto_delete=False, arguments={}))
    sent = len(follower.waiting)
    group = bench.store.group()
    while not group.durable:
        assert len(follower.waiting) == sent
        assert bench.loop.step()
    assert len(follower.waiting) == sent + 1


def test_who_has_left_is_not_waited_for(bench):
    bench.follow("one")
    bench.run()
    call = declaring(bench)
    assert call.outcome == PENDING
    bench.decisions.stream.leave("one")
    assert call.outcome == DONE


def test_who_joins_is_waited_for_from_before_its_snapshot_is_cut(bench):
    follower = bench.follow("one")
    call = declaring(bench)  # its snapshot is on the way
    assert call.outcome == PENDING
    while follower.apply_one():
        bench.decisions.stream.applied("one", follower.revision)
    assert call.outcome == DONE
    assert "q" in follower.part.namespace(NS).queues


def test_what_is_not_kept_is_followed_too(bench):
    follower = bench.follow("one")
    connection = bench.connect()
    call = connection.submit(r.DeclareQueue("mine", durable=False, exclusive=True, auto_delete=False, arguments={}))
    exchange = connection.submit(r.DeclareExchange("e", "topic", durable=False, auto_delete=False, internal=False, arguments={}))
    bench.run()
    assert (call.outcome, exchange.outcome) == (PENDING, PENDING)
    while follower.apply_one():
        bench.decisions.stream.applied("one", follower.revision)
    bench.run()
    assert (call.outcome, exchange.outcome) == (DONE, DONE)
    assert follower.part.namespace(NS).queues["mine"].exclusive_to == connection.door.home
    connection.close()
    bench.run()
    while follower.apply_one():
        pass
    assert "mine" not in follower.part.namespace(NS).queues


def test_members_are_told_of_what_others_decided_when_shard_0_comes_back(bench):
    follower = bench.follow("one")
    connection = bench.connect()
    connection.submit(r.DeclareQueue("q", durable=True, exclusive=False, auto_delete=False, arguments={}))
    bench.run()
    row = queue_row(bench.catalogue.namespace(NS).queues["q"])
    follow(bench, follower)
    bench.broker.shard_moves.close(CATALOGUE_SHARD, lambda: None)
    bench.run()
    bench.store.closed.clear()
    bench.store.fold(CATALOGUE_SHARD, row.key, DELETE)  # by somebody else
    bench.store.closed.add(CATALOGUE_SHARD)
    bench.store.epoch += 1
    bench.broker.shard_moves.open(CATALOGUE_SHARD, bench.store.epoch, lambda: None)
    bench.run()
    call = connection.submit(r.Bind("amq.direct", "q", remove=True))  # changes nothing
    bench.run()
    assert call.outcome == PENDING
    follow(bench, follower)
    assert call.outcome == DONE
    assert follower.revision == bench.catalogue.revision == Revision(bench.store.epoch, 0)
    assert follower.part.namespace(NS).queues == {}


def follow(bench, follower):
    while follower.apply_one():
        bench.decisions.stream.applied("one", follower.revision)


def test_what_is_kept_and_goes_with_what_is_not_is_gone_before_that_is_said(bench):
    connection = bench.connect()
    connection.ask(r.DeclareExchange("e", "direct", durable=True, auto_delete=True, internal=False, arguments={}))
    connection.declare("passing", durable=False)
    connection.ask(r.Bind("e", "passing"))
    call = connection.submit(r.DeleteQueue("passing"))
    assert "e" not in bench.catalogue.namespace(NS).exchanges
    assert call.outcome == PENDING
    bench.run()
    assert call.outcome == DONE
    connection.declare("passing", durable=False)
    assert connection.submit(r.DeleteQueue("passing")).outcome == DONE  # nothing to wait for


# ---- who is waited for


def test_who_is_left_out_is_sent_everything_and_not_waited_for():
    state = MemoryState()
    decisions = Decisions.over(CatalogueStream(state), LogIds())
    follower = Follower(Catalogue())
    decisions.stream.join("one", follower)
    answered = []
    for name in ("q1", "q2"):
        declare(decisions, name)
        decisions.stream.ticket().calls.append(partial(answered.append, name))
        state.commit()
    assert answered == []
    decisions.stream.leave_out("one")
    assert answered == ["q1", "q2"]
    assert decisions.stream.let_through == decisions.stream.revision
    while follower.apply_one():
        pass
    decisions.stream.applied("one", follower.revision)
    assert rows_of(follower.part) == rows_of(decisions.catalogue)
    decisions.stream.count_in("one")
    declare(decisions, "q3")
    decisions.stream.ticket().calls.append(partial(answered.append, "q3"))
    state.commit()
    assert answered == ["q1", "q2"]
    assert decisions.stream.applied_by("one") >= decisions.stream.let_through
    follower.apply_one()
    decisions.stream.applied("one", follower.revision)
    assert answered == ["q1", "q2", "q3"]


def test_what_was_answered_before_somebody_joins_he_has_to_have():
    state = MemoryState()
    decisions = Decisions.over(CatalogueStream(state), LogIds())
    declare(decisions, "q")
    state.commit()
    decisions.stream.join("one", Follower(Catalogue()))
    assert decisions.stream.let_through == decisions.stream.revision


def test_a_process_that_follows_decides_nothing_and_is_as_it_is_told():
    decisions = Decisions.over(CatalogueStream(MemoryState()), LogIds())
    declare(decisions, "q")
    decisions.bind_queue(NS, "q", "amq.direct", "k", {}, HERE)
    other = Decisions.over(CatalogueStream(MemoryState()), LogIds(100))
    declare(other, "was here")
    other.stream.follow()
    assert list(other.catalogue.queues()) == []
    assert other.catalogue.revision == Revision(0, 0)
    for durable in (True, False):
        with pytest.raises(Unavailable):
            declare(other, "x", durable=durable)
    other.stream.restart(Revision(1, 2), decisions.catalogue.snapshot())
    assert rows_of(other.catalogue) == rows_of(decisions.catalogue)
    declare(decisions, "q2")
    other.stream.take(Revision(1, 3), [queue_row(decisions.catalogue.namespace(NS).queues["q2"])])
    assert rows_of(other.catalogue) == rows_of(decisions.catalogue)
    assert other.stream.revision == other.catalogue.revision == Revision(1, 3)


def test_what_does_not_survive_says_where_it_lives():
    decisions = Decisions.over(CatalogueStream(MemoryState()), LogIds())
    homes = {
        name: declare(decisions, name, durable=durable, exclusive=exclusive).home
        for name, durable, exclusive in (("kept", True, False), ("passing", False, False), ("own", True, True))
    }
    assert homes == {"kept": b"", "passing": HERE[0], "own": HERE[0]}
    for name, durable, home in (("kept", True, b""), ("passing", False, b"start")):
        exchange = decisions.declare_exchange(NS, name, "direct", durable=durable, auto_delete=False, internal=False, arguments={}, home=b"start")
        assert exchange.home == home
    other = Catalogue()
    other.apply(Revision(1, 9), decode_change(encode_change(Revision(1, 9), decisions.catalogue.snapshot()))[1])
    assert {queue.name: queue.home for queue in other.queues()} == homes
    assert other.namespace(NS).exchanges["passing"].home == b"start"


def test_the_decoys_key_follows():
    users = Users(CatalogueStream(MemoryState()), SystemClock(), SystemEntropy(), iterations=4096)
    users.load()
    other = Follower(Users(CatalogueStream(MemoryState()), SystemClock(), SystemEntropy(), iterations=4096))
    other.restart(encode_change(Revision(1, 1), users.snapshot()))
    other.apply_one()
    assert other.part.scram_verifier("nobody", "SCRAM-SHA-256", True).salt == users.scram_verifier("nobody", "SCRAM-SHA-256", True).salt
