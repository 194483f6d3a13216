"""What the other end of a link says that it cannot, or that is damaged: it ends that link, nothing else, and loses no call."""

import contextlib
import itertools
import random

import pytest
from broker_bench import CODEC, address_of, record_of
from linked_bench import LinkedBench
from timed_bench import TimedConnection

from entrepot.broker.calls import requests as r
from entrepot.broker.calls import session_requests as s
from entrepot.broker.calls.lease_calls import make_end_leases
from entrepot.broker.calls.port import PENDING, UNAVAILABLE, UNKNOWN, Settle
from entrepot.broker.calls.questions import Seal, Unseal
from entrepot.cluster.owners import hot_frames, kinds, words
from entrepot.cluster.owners.waiting import Waiting
from entrepot.model.errors import CorruptData
from entrepot.simulation.loop import SimulatedLoop
from entrepot.store.local import store

TEN = [b"%d" % number for number in range(10)]


@pytest.fixture
def bench():
    return LinkedBench()


@pytest.fixture
def me(bench):
    me = bench.connect()
    me.declare()
    return me


# ---- who says what is none


def waiting(bench):
    """Numbers of what is under way, by class."""
    publishes = [(number, call) for number, call, *_ in bench.remote._stages.all()]
    changes = [(number, call) for number, (call, *_) in bench.remote._sent_calls._calls.items()]
    return {type(who).__name__: number for number, who in [*bench.remote._waiting._calls.items(), *publishes, *changes]}


NO_ANSWERS = {
    "a publish's error that is none": lambda at: hot_frames.answered(2, at["Publish"], None, b"\0junk"),
    "records that are none": lambda at: hot_frames.answered(2, at["Publish"], [1]),
    "another kind": lambda at: words.encode(2, words.Answer(at["Publish"], None, words.plain(None))),
    "a get's": lambda at: hot_frames.answered(2, at["Getting"], None),
    "fewer than none": lambda at: words.encode(2, words.Answer(at["Asked"], None, words.plain(-5))),
    "another type": lambda at: words.encode(2, words.Answer(at["Asked"], None, words.plain("x"))),
    "an error that is none": lambda at: words.encode(2, words.Answer(at["Asked"], words.Why("Fenced", b""), words.plain(None))),
    "a record that is none": lambda at: words.encode(2, words.Got(at["Getting"], None, words.WordsOfDelivery(6, 1, b"", 0, 1, 0, 0, False, False, 0), 0)),
    "no statuses": lambda at: words.encode(2, words.LeasesEnded(at["EndLeases"], None, [])),
    "no offsets": lambda at: words.encode(2, words.Sent(at["Send"], None, [], [], None)),
    "more than asked for": lambda at: words.encode(
        2, words.Received(at["Receiving"], None, [b"x"], [words.WordsOfReceived(0, 0, 0, 0, 1, 0, 0)] * 11, b"", b"")
    ),
    "of what was not asked": lambda at: words.encode(2, words.Got(9001, None, None, 0)),
    "taken, and not asked": lambda at: hot_frames.taken(2, [at["Publish"] - 1, 9001]),
    "taken twice": lambda at: hot_frames.taken(2, [at["Publish"] - 1] * 2),
    "taken, of which nobody waits": lambda at: hot_frames.taken(2, [at["Publish"] - 1, at["Publish"]]),
    "passed, and not asked": lambda at: hot_frames.passed(2, 9001),
}


@pytest.mark.parametrize("make", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_an_answer_that_is_none_loses_no_call(bench, me, make):
    timed = TimedConnection(bench)
    timed.create("t")
    timed.send(b"x", queue="t")
    held = timed.receive(1, queue="t")
    bench.table.wire.break_off(1e9)
    calls = [me.publish(b"x"), me.publish(b"quiet", confirm=False), me.submit(r.Get("q")), me.submit(r.PurgeQueue("q"))]
    calls += [timed.start_send(b"y", queue="t"), timed.start_receive(queue="t")]
    end = make_end_leases(1, "t", held[0].queue_id, [held[0].offset], [held[0].lease_id], None)
    timed.door.submit(end)
    frame = bytearray(make(waiting(bench)))
    frame[1] = bench.served._number
    with pytest.raises(CorruptData):
        bench.table.front.heed([bytes(frame)])
    bench.table.front.dead()
    assert all(call.outcome in (UNKNOWN, UNAVAILABLE) for call in [*calls, end])
    assert bench.remote.under_way_count == 0


def test_a_call_that_is_taken_before_its_answer_is_read_is_noticed(bench, me, monkeypatch):
    def get(self, number, kind):
        who = real(self, number, kind)
        self.take(number)
        return who

    real = Waiting.get
    monkeypatch.setattr(Waiting, "get", get)
    with pytest.raises(AssertionError):
        test_an_answer_that_is_none_loses_no_call(bench, me, NO_ANSWERS["another type"])


def test_whatever_fails_amid_a_frame_is_the_other_end(bench, me, monkeypatch):
    said = []
    bench.table.served._journal = said.append
    monkeypatch.setattr(hot_frames, "read_settle", lambda _: [][0])
    with pytest.raises(CorruptData) as raised:
        bench.table.served.heed([hot_frames.settle(bench.served._number, 1, 0, 1, 0)])
    assert isinstance(raised.value.__cause__, IndexError)
    assert "list index out of range" in said[0]


def test_a_dead_owner_does_not_come_back(bench, me):
    bench.table.front.dead()
    bench.table.front.back()
    assert me.publish(b"x").outcome == UNAVAILABLE
    bench.table.front.away("away")
    assert str(me.publish(b"x").error) == "the owner has ended"


def consumer_words(number, is_getter=False, lent=False):
    return words.WordsOfConsumer(901, number, 1, 0, 5, False, False, 0, is_getter, is_getter, lent, True)


def noted(log_id, by_stage=(), adds=(), onward=()):
    return words.Noted(9001, [], [], words.WordsOfNote(log_id, 1, False, list(by_stage), list(adds), [], list(onward)))


NOWHERE = words.words_of_start(None)


@pytest.mark.parametrize(
    "make",
    [
        lambda log_id: [words.Consume(9001, consumer_words(1 << 50, is_getter=True), [log_id], NOWHERE)],
        lambda log_id: [words.Consume(9001, consumer_words(1 << 50), [log_id], words.WordsOfStart("junk", 0))],
        lambda log_id: [words.Count(9001, [log_id]), words.Count(9001, [log_id])],
        lambda log_id: [words.Count(9001, [log_id]), words.Purge(9000, log_id)],
        lambda log_id: [words.Withdraw(9001)],
        lambda log_id: [words.Get(9001, consumer_words(1 << 50, is_getter=True), log_id), words.TakeBack(9002, 1 << 50)],
        lambda log_id: [words.TakeBack(9001, 1 << 50)],
        lambda log_id: [words.Limit(1 << 50, 1)],
        lambda log_id: [words.Ask(9001, "Seal", words.plain(([], False, False)))],
        lambda log_id: [words.Ask(9001, "CheckTogether", words.plain(([(log_id, -1, 0)], True)))],
        lambda log_id: [words.Ask(9001, "ListMoves", words.plain((log_id, 1 << 40)))],
        lambda log_id: [words.Ask(9001, "StartMove", words.plain((log_id, "x", -1)))],
        lambda log_id: [words.Ask(9001, "AttachSession", words.plain((b"", "n", "s", log_id, False, -1, None, 0, "u", True)))],
        lambda log_id: [words.Ask(9001, "AttachSession", words.plain((b"", "n", "s", b"x", False, 0, None, 0, "u", True)))],
        lambda log_id: [words.Ask(9001, "AttachSession", words.plain((b"", "n", "s", log_id, False, 0, (b"\x05a", 1, 1, 0, b"", 0, 0, False), 0, "u", True)))],
        lambda log_id: [words.Ask(9001, "DetachSession", words.plain(("n", "s", 0, -1, False)))],
        lambda log_id: [noted(log_id, by_stage=[[(1, 1)]])],
        lambda log_id: [noted(log_id, adds=[(65535, 2)])],
        lambda log_id: [noted(log_id, onward=[words.WordsOfOnward([], b"", b"", CODEC.tag, 1, 0, b"", 1)])],
    ],
)
def test_what_no_front_says(bench, me, make):
    frames = [words.encode(bench.served._number, said) for said in (words.DoorIs(901, CODEC.tag), *make(bench.queue().log.id))]
    bench.table.front.heed = lambda frames: None
    bench.table.served.heed(frames[:-1])
    with pytest.raises(CorruptData):
        bench.table.served.heed(frames[-1:])
    bench.table.served.dead()
    assert (bench.queue().consumers, bench.queue().subscription.leased_count) == ([], 0)


def test_a_loan_to_nobody(bench, me):
    with pytest.raises(CorruptData):
        bench.table.served.heed([hot_frames.lend(bench.served._number, 1 << 50, 5)])


def lent_consumer(bench, me):
    """One that has 3 of credit, as its front has it."""
    me.consume("c", limit=5)
    bench.run()
    reader = next(iter(bench.remote._readers.everyone()))
    reader.consumer.lent = True
    bench.remote.lend(reader.consumer, 3)
    bench.table.wire.break_off(1e9)
    return reader


def test_more_is_delivered_than_was_lent(bench, me):
    reader = lent_consumer(bench, me)
    what = (CODEC.tag, 1, reader.door.number, 0, 4, 0, reader.consumer.id, 0, 0, False, False, False, False)
    with pytest.raises(CorruptData, match="that is lent 3"):
        bench.table.front.heed([hot_frames.delivered(bench.served._number, what) + bytes(100)])


@pytest.mark.parametrize("since", [0, 2])
def test_what_is_taken_back_is_what_was_lent(bench, me, since):
    for count in range(8):
        bench = LinkedBench()
        me = bench.connect()
        me.declare()
        reader = lent_consumer(bench, me)
        done = []
        bench.remote.take_back(reader.consumer, done.append)
        if since:
            bench.remote.lend(reader.consumer, since)
        frame = words.encode(bench.served._number, words.Answer(waiting(bench)["Asked"], None, words.plain(count)))
        if 3 <= count <= 3 + since:
            bench.table.front.heed([frame])
            assert done == [count]
        else:
            with pytest.raises(CorruptData):
                bench.table.front.heed([frame])
            bench.table.front.dead()
            assert len(done) == 1


def test_a_limit_on_its_way_to_who_is_asked_for_credit(bench, me):
    """What its owner answers then counts for nothing, and it is not lent anything afterwards."""
    reader = lent_consumer(bench, me)
    done = []
    bench.remote.take_back(reader.consumer, done.append)
    bench.remote.limit(reader.consumer, 5)
    bench.table.front.heed([words.encode(bench.served._number, words.Answer(waiting(bench)["Asked"], None, words.plain(3)))])
    assert (done, reader.consumer.lent, reader.consumer.credit) == ([0], False, 0)


def test_seals_of_what_is_gone_are_forgotten(bench, me):
    for number in range(5):
        me.declare(f"d{number}")
        me.ask(r.DeleteQueue(f"d{number}"))
    assert bench.served._sealed == {}


def test_a_seal_that_ended_with_a_move_is_not_lifted_from_another(bench, me):
    ids = [bench.queue().log.id]
    owner = bench.table.durable
    bench.remote.ask(Seal(ids, False, False), lambda *_: None)
    bench.run()
    assert owner.sealed == 1
    bench.move(bench.queue().log.shard)()
    owner.ask(Seal(ids, False, False), lambda *_: None)
    assert owner.sealed == 1
    bench.remote.ask(Unseal(ids), lambda *_: None)
    bench.run()
    assert owner.sealed == 1
    bench.table.served.dead()
    assert owner.sealed == 1


# ---- damage


class Noting:
    """A door that knows what was asked of it."""

    def __init__(self, door, calls):
        self._door = door
        self._calls = calls

    def __getattr__(self, name):
        return getattr(self._door, name)

    def submit(self, call):
        self._calls.append(call)
        self._door.submit(call)


def converse(bench, calls):
    """Something of nearly each kind."""
    me, timed = bench.connect(), TimedConnection(bench)
    me.door, timed.door = Noting(me.door, calls), Noting(timed.door, calls)
    me.declare()
    me.declare("o", durable=False)
    me.ask(r.DeclareExchange("h", "headers"))
    me.ask(r.Bind("h", "q", "queue", "", {"x-match": "any", "to": "q"}))
    me.consume("c", limit=3)
    me.put(*TEN)
    me.put(b"x", exchange="h", key="", headers=[(b"to", b"S\0\0\0\1q")])
    me.publish(b"quiet", confirm=False)
    me.declare("full", x_max_length=0, x_overflow="reject-publish")
    me.put(b"too much", key="full")
    me.accept("c", 2)
    me.cancel("c")
    me.ask(r.StreamLimit(4))
    for name, queue in (("l1", "q"), ("l2", "o")):
        me.consume(name, queue, limit=5)
    me.put(b"1", b"2", key="o")
    bench.run(0.2)
    for name in ("l1", "l2"):
        me.accept(name)
        bench.run(0.2)
    me.cancel("l2")
    me.ask(r.StreamLimit(5))
    bench.run(0.1)
    me.cancel("l1")
    me.ask(r.CommitTogether([me.run_of(b"y")], []))
    session = me.ask(s.OpenSession("s", expiry_s=100, will=s.Will(address_of("", "q"), CODEC.tag, 1, 0, record_of(b"w"), 1)))
    me.ask(r.DeclareExchange("f", "fanout"))
    for name in ("q", "o", "s"):
        me.ask(r.Bind("f", name, "queue", ""))
    me.ask(s.PublishOnce(session.number, [me.run_of(b"1", b"2", exchange="f")], [(7, 2)]))
    me.ask(s.ReleaseOutgoing(session.number, [], [(1, 3)]))
    me.ask(s.CompleteOutgoing(session.number, [(2, 1)]))
    me.get()
    me.get(auto_settle=True)
    me.ask(r.PurgeQueue("q"))
    me.declare()
    timed.create("t")
    timed.send(b"a", b"b", queue="t")
    timed.end(timed.receive(1, queue="t"), queue="t")
    timed.receive(queue="t")
    timed.withdraw(timed.start_receive(queue="t", wait_ms=500))
    timed.start_receive(queue="t", wait_ms=500)
    bench.run(0.1)
    me.consume("d", auto_settle=True, stream=2)
    me.ask(r.DeleteQueue("o"))
    bench.run(1)
    me.close()
    timed.close()
    bench.run(1)


def watch(bench, side, change):
    """Each frame that comes there is heeded as change(frame) has it; anything but CorruptData is kept, and the link ends."""
    crossing = getattr(bench.table, side)
    real, wrong = crossing.heed, []

    def heed(frames):
        for frame in frames:
            try:
                real([change(frame)])
            except CorruptData:
                raise
            except Exception as error:
                wrong.append(error)
                raise

    crossing.heed = heed
    return wrong


def conversation(side):
    """The frames that come there."""
    bench, heard = LinkedBench(), []
    watch(bench, side, lambda frame: heard.append(frame) or frame)
    calls = []
    converse(bench, calls)
    assert [call for call in calls if is_pending(call)] == []
    return heard


def is_pending(call):
    return call.outcome == PENDING and not call.attachment.closed and not isinstance(call, Settle)


HEARD = {side: conversation(side) for side in ("served", "front")}


def test_what_is_damaged_is_nearly_everything():
    heard = {frame[0] for frames in HEARD.values() for frame in frames}
    assert heard >= {kinds.STAGE, kinds.STAGE_RUNS, kinds.SETTLE, kinds.SETTLEMENTS}
    assert heard >= {kinds.LEND, kinds.CONSUME, kinds.TAKE_BACK, kinds.LIMIT, kinds.CANCEL, kinds.END, kinds.GET}
    assert heard >= {kinds.PURGE, kinds.COUNT, kinds.TOGETHER, kinds.NOTED, kinds.ASK, kinds.SEND, kinds.RECEIVE, kinds.END_LEASES, kinds.WITHDRAW}
    assert heard >= {kinds.TAKEN, kinds.ANSWERED, kinds.DELIVERED, kinds.WANTS, kinds.PASSED, kinds.ANSWER, kinds.GOT}
    assert heard >= {kinds.SENT, kinds.RECEIVED, kinds.LEASES_ENDED}


def damaged(frame, chance):
    found = bytearray(frame)
    how = chance.random()
    if how < 0.15:
        del found[chance.randrange(len(found)) :]
    elif how < 0.5:
        found[chance.randrange(min(len(found), 80))] ^= 1 << chance.randrange(8)
    else:
        found[chance.randrange(min(len(found), 80))] = chance.choice((0, 1, 0x7F, 0xFF, 0xC2, 0xC3, chance.randrange(256)))
    return bytes(found)


class Endless(BaseException):
    pass


def bounded(step, count=30_000):
    """A loop that does not go on for ever."""
    left = iter(range(count))

    def bounded_step(self):
        if next(left, None) is None:
            raise Endless
        return step(self)

    return bounded_step


@pytest.mark.parametrize("side", ["served", "front"])
@pytest.mark.parametrize("seed", range(60 if str(store.__file__).endswith(".so") else 10))
def test_a_damaged_frame_ends_a_link_and_nothing_else(side, seed, monkeypatch):
    chance = random.Random(seed)
    at, left = chance.randrange(len(HEARD[side])), itertools.count()
    monkeypatch.setattr(SimulatedLoop, "step", bounded(SimulatedLoop.step))
    bench, calls = LinkedBench(), []
    wrong = watch(bench, side, lambda frame: damaged(frame, chance) if next(left) == at else frame)
    with contextlib.suppress(Exception):  # the conversation is another one, or ends
        converse(bench, calls)
    assert next(left) > at
    assert wrong == []
    for crossing in (bench.table.front, bench.table.served):
        crossing.heed = lambda frames: None
    bench.die()
    bench.run(6)
    assert [call for call in calls if is_pending(call)] == []
    assert bench.queue().consumers == []
