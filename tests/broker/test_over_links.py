"""An owner in another process, over a real link in one loop: what is on its way when something ends, what a slow connection holds up, what death leaves."""

import gc
import random

import pytest
from broker_bench import CODEC, address_of, record_of
from linked_bench import LinkedBench
from timed_bench import TimedConnection

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.lease_calls import make_end_leases, make_receive, make_send
from entrepot.broker.calls.port import DONE, PENDING, UNAVAILABLE, UNKNOWN, Sink, make_ask, make_publish
from entrepot.broker.calls.questions import Seal
from entrepot.broker.calls.queue_requests import CreateTimedQueue, DeleteTimedQueue, TimedPolicy
from entrepot.broker.front.door import Door
from entrepot.cluster.link import Link
from entrepot.cluster.owners import kinds, remote_stages, words
from entrepot.cluster.owners.crossing import Crossing
from entrepot.cluster.owners.doors import DOOR_WINDOW_BYTES, IDLE_DOORS_MAX, Readers
from entrepot.cluster.owners.remote_owner import RemoteOwner
from entrepot.cluster.owners.served_lanes import ServedLanes
from entrepot.model.errors import CorruptData, Reason, Refused
from entrepot.simulation import linked_owners
from entrepot.simulation.linked_owners import BreakingOwnerTable

TEN = [b"%d" % number for number in range(10)]


@pytest.fixture
def bench():
    return LinkedBench()


@pytest.fixture
def me(bench):
    me = bench.connect()
    me.declare()
    return me


class Asked(Sink):
    """Who stages by itself."""

    closed = False
    codec = CODEC.tag
    writable = True

    def __init__(self):
        self.sink = self

    def completed(self, call):
        pass


def staged(bench, lane, body, confirm=True):
    """On a lane of one's own, as a front whose catalogue does not follow at once."""
    call = make_publish(1, address_of("", "q"), CODEC.tag, 1, 0, record_of(body), 1, len(body))
    call.confirm = confirm
    call.attachment = bench.connect().door
    bench.remote.stage(lane, call)
    bench.run()
    return call


def lane_to(bench, *names):
    return bench.remote.lane(address_of("", "q"), [bench.queue(name).log.id for name in names])


# ---- lanes


def test_a_lane_whose_shard_was_away_leads_there_again(bench, me):
    lane = lane_to(bench, "q")
    assert staged(bench, lane, b"1").outcome == DONE
    back = bench.move(bench.queue().log.shard)
    assert staged(bench, lane, b"2").outcome == UNAVAILABLE
    back()
    assert staged(bench, lane, b"3").outcome == DONE
    assert [me.get()[0] for _ in range(2)] == [b"1", b"3"]
    assert me.get() is None


def test_a_lane_that_is_not_found_again_is_noticed(bench, me, monkeypatch):
    def live(self, lane):
        if lane.live is None and lane.shards is not None:
            raise CorruptData("dropped")
        return found(self, lane)

    found = ServedLanes.live
    monkeypatch.setattr(ServedLanes, "live", live)
    lane = lane_to(bench, "q")
    assert staged(bench, lane, b"1").outcome == DONE
    bench.move(bench.queue().log.shard)()
    with pytest.raises(CorruptData):
        staged(bench, lane, b"3")


def test_what_was_on_its_way_to_a_deleted_queue_goes_to_the_others(bench, me):
    me.declare("other")
    lane = lane_to(bench, "q", "other")
    assert staged(bench, lane, b"1").outcome == DONE
    me.ask(r.DeleteQueue("q"))
    assert staged(bench, lane, b"2").outcome == DONE
    me.declare("q")
    assert staged(bench, lane, b"3").outcome == DONE
    assert [me.get("other")[0] for _ in range(3)] == [b"1", b"2", b"3"]
    assert me.get("q") is None  # another of the same name


def test_lanes_that_nobody_has_are_forgotten_there(bench, me):
    lane = lane_to(bench, "q")
    staged(bench, lane, b"1")
    number = lane.number
    bench.served._lanes.get(number, False)
    del lane
    gc.collect()
    staged(bench, lane_to(bench, "q"), b"2")
    with pytest.raises(CorruptData):
        bench.served._lanes.get(number, False)


def test_a_late_word_that_a_queue_is_gone(bench, me):
    """Another of its name is there before the front has heard: what goes by the old lane does not come to it."""
    timed = TimedConnection(bench)
    timed.create("t")
    timed.send(b"old", queue="t")
    waiting = timed.start_receive(queue="t", wait_ms=20_000, count=1)
    bench.run()
    assert [message.body for message in timed.messages(waiting)] == [b"old"]
    timed.submit(DeleteTimedQueue("t"))
    timed.submit(CreateTimedQueue("t", TimedPolicy(), frozenset(), {}, {}, ""))
    late = [timed.start_send(b"late", queue="t"), timed.start_receive(queue="t")]
    bench.run()
    for call in late:
        assert call.outcome == UNAVAILABLE or call.error.reason is Reason.NOT_FOUND
    assert bench.queue("t").depth() == 0
    timed.send(b"new", queue="t")
    assert timed.received_bodies(queue="t") == [b"new"]


# ---- what is on its way


@pytest.mark.parametrize("auto_settle", [False, True])
def test_what_is_on_its_way_to_who_cancels_goes_back(auto_settle):
    dropped = sum(goes_back(turns, auto_settle) for turns in range(14))
    assert 0 < dropped < 140


def goes_back(turns, auto_settle):
    """Cancelled so many turns after something was published; how much came to another."""
    bench = LinkedBench()
    me = bench.connect()
    me.declare()
    me.consume("a", limit=0, auto_settle=auto_settle)
    me.publish(*TEN)
    bench.steps(turns)
    me.cancel("a")
    bench.run()
    me.consume("b")
    bench.run()
    held = [body for body, _ in me.got.get("a", [])]
    got = me.deliveries("b")
    assert got == [(body, False) for body in TEN if body not in held]
    return len(got)


def test_what_is_not_given_back_is_noticed(monkeypatch):
    def came(self, number, consumer_id, delivery):
        reader = self.get(consumer_id)
        if reader is not None and reader.consumer.active:
            real(self, number, consumer_id, delivery)

    real = Readers.came
    monkeypatch.setattr(Readers, "came", came)
    with pytest.raises(AssertionError):
        test_what_is_on_its_way_to_who_cancels_goes_back(False)


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_what_waits_for_a_connection_that_does_not_read_goes_back(bench, me, how):
    slow = bench.connect()
    slow.consume("slow")
    slow.door.writable = False
    me.put(*TEN)
    bench.run()
    assert slow.got == {}
    if how == "cancel":
        slow.cancel("slow")
    else:
        slow.close()
    me.consume("b")
    bench.run()
    assert me.bodies("b") == TEN
    assert slow.got == {}


def test_who_settles_nothing_has_no_part_in_a_shared_limit(bench, me):
    me.declare("other")
    me.ask(r.StreamLimit(1))
    me.consume("a")
    me.put(*TEN)
    bench.run()
    assert me.bodies("a") == TEN[:1]
    me.consume("b", "other", auto_settle=True)
    me.put(*TEN, key="other")
    bench.run()
    assert me.bodies("b") == TEN
    assert bench.queue("other").subscription.leased_count == 0


# ---- several in one frame


def kinds_sent(monkeypatch):
    sent = []
    heed = Crossing.heed

    def noting(self, frames):
        sent.extend(frame[0] for frame in frames)
        heed(self, frames)

    monkeypatch.setattr(Crossing, "heed", noting)
    return sent


def test_a_commit_is_answered_and_a_turn_is_settled_by_one_frame(bench, me, monkeypatch):
    others = [me, bench.connect(), bench.connect()]
    for number, other in enumerate(others):
        other.declare(f"q{number}")
        other.consume(queue=f"q{number}")
    sent = kinds_sent(monkeypatch)
    calls = [other.publish(b"x", key=f"q{number}") for number, other in enumerate(others)]
    bench.run()
    assert [call.outcome for call in calls] == [DONE] * 3
    assert sent.count(kinds.TAKEN) == 1
    for other in others:
        assert other.accept() == [b"x"]
    bench.run()
    assert [sent.count(kind) for kind in (kinds.SETTLEMENTS, kinds.SETTLE)] == [1, 0]
    assert [bench.queue(f"q{number}").depth() for number in range(3)] == [0] * 3
    assert bench.remote.under_way_count == 0


def settled_and_closed(bench, me):
    """In one turn: what is left of it."""
    me.put(*TEN)
    me.consume()
    bench.run()
    me.accept(count=4)
    me.close()
    bench.run()
    return bench.queue().depth()


def test_what_is_settled_goes_ahead_of_what_is_said_behind_it(bench, me):
    assert settled_and_closed(bench, me) == 6


def test_settlements_that_are_overtaken_are_noticed(bench, me, monkeypatch):
    monkeypatch.setattr(RemoteOwner, "_say", lambda self, what: self._outlet.say(what))
    assert settled_and_closed(bench, me) == 10


# ---- windows

BIG = bytes(DOOR_WINDOW_BYTES // 4)


def test_a_slow_connection_holds_up_nobody_else(bench, me):
    slow = bench.connect()
    me.declare("other")
    slow.consume("slow", limit=0)
    slow.door.writable = False
    me.consume("b", "other")
    for _ in range(12):
        me.put(BIG)
        me.put(b"x", key="other")
    bench.run()
    assert len(me.bodies("b")) == 12
    assert bench.queue().subscription.leased_count < 6
    assert slow.got == {}
    slow.door.resume()
    bench.run()
    assert [len(body) for body in slow.bodies("slow")] == [len(BIG)] * 12
    assert (bench.queue().subscription.leased_count, bench.queue().subscription.ready_count) == (12, 0)


def test_much_goes_through_one_window(bench, me):
    me.consume("c", auto_settle=True)
    for number in range(20):
        me.put(b"%02d" % number + BIG)
    bench.run()
    assert [int(body[:2]) for body in me.bodies("c")] == list(range(20))


def test_a_window_that_is_never_opened_again_is_noticed(bench, me, monkeypatch):
    monkeypatch.setattr(Readers, "_say_read", lambda *_: None)
    with pytest.raises(AssertionError):
        test_much_goes_through_one_window(bench, me)


def test_a_connection_that_reads_again_with_another_consumer(bench, me):
    slow = bench.connect()
    slow.consume("a")
    slow.door.writable = False
    me.put(*TEN)
    bench.run()
    slow.cancel("a")
    slow.door.resume()
    slow.consume("b")
    bench.run()
    assert slow.bodies("b") == TEN


def test_doors_through_which_nothing_goes_are_forgotten(bench, me):
    me.get()
    for _ in range(IDLE_DOORS_MAX + 5):
        other = bench.connect()
        other.consume("c")
        other.cancel("c")
    bench.run()
    assert len(bench.served.doors) <= IDLE_DOORS_MAX + 1
    other = bench.connect()
    other.consume("c")
    before = len(bench.served.doors)
    other.close()
    bench.run()
    assert len(bench.served.doors) == before - 1


# ---- full, away, dead


def test_a_link_that_is_full_takes_only_what_is_bounded_otherwise(bench, me, monkeypatch):
    """It may be full of what is delivered there: who publishes the other way waits, and is not told to try again."""
    bench.table.wire.break_off(1000.0)
    bench.table.front.link.held_max = 1000
    sent = [me.publish(bytes(2000)), me.publish(b"x")]
    got = me.submit(r.Get("q"))
    assert [call.outcome for call in (*sent, got)] == [PENDING] * 3
    assert me.submit(r.PurgeQueue("q")).outcome == UNAVAILABLE
    monkeypatch.setattr(remote_stages, "KEPT_MAX_BYTES", 1000)
    assert me.publish(b"z").outcome == UNAVAILABLE
    bench.run(1001)
    assert [call.outcome for call in (*sent, got)] == [DONE] * 3
    assert me.put(b"y").outcome == DONE
    assert bench.queue().depth() == 2


def test_an_owner_that_is_away_for_long(bench, me):
    bench.table.wire.break_off(1000.0)
    sent = me.publish(b"x")
    bench.table.front.away("no connection")
    refused = me.publish(b"y")
    assert (sent.outcome, refused.outcome, str(refused.error)) == (PENDING, UNAVAILABLE, "no connection")
    bench.run(1001)
    bench.table.front.back()
    assert (sent.outcome, me.put(b"z").outcome) == (DONE, DONE)


def test_what_a_dead_owner_leaves(bench, me):
    me.consume("c", limit=3)
    me.put(*TEN)
    bench.run()
    bench.table.wire.break_off(1e6)
    publish = me.publish(b"x")
    quiet = me.publish(b"x", confirm=False)
    get = me.submit(r.Get("q"))
    purge = me.submit(r.PurgeQueue("q"))
    passive = make_ask(1, r.DeclareQueue("q", True, True, False, False, {}))
    me.door.submit(passive)
    bench.table.front.dead()
    assert (publish.outcome, quiet.outcome, purge.outcome) == (UNKNOWN, UNKNOWN, UNKNOWN)
    assert (get.outcome, passive.outcome) == (UNAVAILABLE, UNAVAILABLE)
    assert me.ended == ["c"]
    assert me.publish(b"y").outcome == UNAVAILABLE
    assert bench.remote.under_way_count == 0
    me.accept("c")
    me.close()


def test_what_a_dead_front_leaves(bench, me):
    me.consume("c", limit=3)
    me.put(*TEN)
    assert me.get()[0] == b"3"
    bench.remote.ask(Seal([bench.queue().log.id], False, False), lambda *_: None)
    bench.run()
    bench.table.wire.break_off(1.0)
    bench.run(2.0)
    queue = bench.queue()
    assert (queue.subscription.leased_count, bench.table.durable.sealed) == (4, 1)  # a connection that breaks releases nothing
    bench.table.served.dead()
    assert (queue.subscription.leased_count, queue.depth(), len(queue.consumers)) == (0, 10, 0)
    assert bench.table.durable.sealed == 0
    assert bench.table.durable.followers == []
    assert bench.served.doors == {}


# ---- connections that break


class Counted(LinkedBench):
    owners = BreakingOwnerTable


def exchanged(seed, publishes=120):
    """Two who publish, take, cancel and begin again, over connections that break; how many broke."""
    chance = random.Random(seed)
    bench = Counted(seed)
    me = bench.connect()
    me.declare()
    put, taken = [], []
    consuming = False
    for number in range(publishes):
        body = b"%d" % number
        call = me.publish(body)
        bench.run(chance.choice((1e-6, 1e-4, 0.01)))
        put.append((body, call))
        if chance.random() < 0.3:
            if consuming:
                me.cancel("c")
            else:
                me.consume("c", limit=chance.choice((1, 5, 50)))
            consuming = not consuming
        taken += me.accept("c", chance.choice((0, 1, 100)))
    bench.run(5)
    assert [call.outcome for _, call in put] == [DONE] * publishes
    if not consuming:
        me.consume("c", limit=50)
    for _ in range(2 * publishes):
        bench.run(0.2)
        got = me.accept("c")
        taken += got
        if len(taken) >= publishes:
            break
    bench.run(2)
    assert sorted(map(int, taken + [body for body, *_ in me.held["c"]])) == list(range(publishes))
    assert len(taken) == publishes
    assert bench.queue().depth() == 0
    return bench.table.wire.broken_count


def test_nothing_is_lost_and_nothing_comes_twice():
    assert sum(exchanged(seed) for seed in range(12)) > 20


def test_a_frame_that_is_heeded_twice_is_noticed(monkeypatch):
    """Of a link that goes on one frame too early after a break."""

    class Twice(Link):
        def resume(self, received):
            super().resume(max(self.acknowledged, received - 1))

    monkeypatch.setattr(linked_owners, "Link", Twice)
    with pytest.raises((AssertionError, CorruptData)):
        test_nothing_is_lost_and_nothing_comes_twice()


# ---- lanes of queues with timed leases


def delete_and_create(timed, name="t"):
    timed.submit(DeleteTimedQueue(name))
    timed.submit(CreateTimedQueue(name, TimedPolicy(), frozenset(), {}, {}, ""))


def test_a_timed_lane_that_is_registered_while_its_shard_is_away(bench):
    timed = TimedConnection(bench)
    timed.create("t")
    bench.table.wire.break_off(0.5)
    lane = bench.remote.timed(bench.queue("t").log.id)
    first = timed.start_send(b"early", queue="t")
    back = bench.move(bench.queue("t").log.shard)
    bench.run(1)
    assert first.outcome == UNAVAILABLE
    back()
    timed.send(b"one", queue="t")
    assert lane.stands
    delete_and_create(timed)
    bench.run()
    assert not lane.stands
    timed.send(b"two", queue="t")
    assert timed.received_bodies(queue="t") == [b"two"]


def test_a_timed_lane_whose_queue_has_ended_takes_nothing(bench):
    timed = TimedConnection(bench)
    timed.create("t")
    owner = bench.table.durable
    lane = owner.timed(bench.queue("t").log.id)
    timed.submit(DeleteTimedQueue("t"))
    bench.run()
    send = make_send(1, "t", CODEC.tag, 1, 0, record_of(b"x"), 1, [1], [bytes(16)])
    calls = ((owner.send, send), (owner.receive, make_receive(1, "t", CODEC.tag, 1, -1, 0)), (owner.end_leases, make_end_leases(1, "t", b"", [], [], None)))
    for ask, call in calls:
        with pytest.raises(Refused, match="deleted"):
            ask(lane, call)


def test_a_timed_lane_of_a_queue_that_has_no_timed_leases_yet(bench, me):
    call = make_receive(1, "q", CODEC.tag, 1, -1, 0)
    call.attachment = me.door
    bench.remote.receive(bench.remote.timed(bench.queue().log.id), call)
    bench.run()
    assert call.outcome == UNAVAILABLE


def test_only_what_is_plain_goes_over(bench, me):
    door = me.door
    assert isinstance(door, Door)
    assert words.plain((1, b"x", [None, ("y", True)]))
    for live in (bench.queue(), bench.queue().definition, door, bench.table.home, lane_to(bench, "q")):
        with pytest.raises(TypeError):
            words.plain(live)
