"""The first moments of a start: who waits for whom, and what is not removed meanwhile."""

import pytest
from broker_bench import CODEC
from returning_bench import DURABLE, ReturningBench

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.port import ACCEPT, DONE, PENDING, RELEASE
from entrepot.cluster.owners import words
from entrepot.cluster.owners.remote_stages import GO_ON_BYTES, HELD_FROM_BYTES, KEPT_MAX_BYTES
from entrepot.cluster.owners.settlements import SentSettlements
from entrepot.cluster.owners.taken_stages import PART, REFUSED, TakenStages
from entrepot.model.errors import CorruptData, Unavailable


@pytest.fixture
def bench():
    return ReturningBench(fronts=2)


@pytest.fixture
def fronts(bench):
    return bench.fronts


def test_it_is_over_when_all_have_claimed(bench, fronts):
    bench.die()
    bench.come_back(linked=False)
    for front in fronts:
        assert bench.owners.broker.hub.held
        bench.link(front)
        bench.run(0.1)
    assert not bench.owners.broker.hub.held


def test_it_is_over_when_who_is_missing_is_dead(bench, fronts):
    bench.die()
    bench.come_back(linked=False)
    bench.link(fronts[0])
    bench.run(0.1)
    assert bench.owners.broker.hub.held
    bench.front_dies(fronts[1])
    assert not bench.owners.broker.hub.held


def test_it_is_over_after_a_while(bench, fronts):
    bench.die()
    bench.come_back(linked=False)
    bench.run(1.9)
    assert bench.owners.broker.hub.held
    bench.run(0.2)
    assert not bench.owners.broker.hub.held


@pytest.mark.parametrize(("ends_at", "claims_until"), [(2.0, 0.0), (4.0, 1.5), (6.0, 3.0), (10.0, 99.0)])
def test_it_goes_on_for_as_long_as_claims_come(bench, fronts, ends_at, claims_until):
    bench.die()
    bench.come_back(linked=False)
    bench.cut = True
    bench.link(fronts[0])
    crossing = bench.owners.crossings[fronts[0].name]
    bench.run(0.1)
    at, number = 0.1, 0
    while bench.owners.broker.hub.held:
        if at < claims_until:
            number += 1
            say(bench, *[words.DoorIs(1, CODEC.tag)][number > 1 :], claim(bench, consumer=consumer(number)))
        bench.run(0.1)
        at += 0.1
    assert crossing.claim_count == number
    assert abs(at - ends_at) < 0.2


def test_what_is_asked_waits_for_the_claims_of_others(bench, fronts):
    one, two = fronts
    one.publish(one.lane("q"), b"0")
    getter = one.consumer(None)
    held = one.get("q", getter)
    bench.run()
    assert held.outcome == DONE
    bench.die()
    other = two.get("q", two.consumer(None))
    bench.come_back(linked=False)
    bench.link(two)
    bench.run(1.0)
    assert other.outcome == PENDING
    bench.link(one)
    bench.run()
    assert (other.outcome, other.result) == (DONE, None)
    one.remote.settle(getter, 0, 1, ACCEPT)
    bench.run()
    assert bench.queue().depth() == 0


@pytest.mark.parametrize("arguments", [{"x_expires": 500}, {"auto_delete": True}])
def test_a_queue_whose_consumer_claims_it_stays(arguments):
    bench = ReturningBench(queues={"q": arguments})
    (front,) = bench.fronts
    consumer, _ = front.consume("q")
    bench.run()
    bench.die()
    bench.come_back(linked=False)
    bench.run(1.5)
    bench.link(front)
    bench.run(3.0)
    front.publish(front.lane("q"), b"x")
    bench.run()
    assert [body for body, *_ in front.got["c"]] == [b"x"]
    front.remote.end(consumer)
    bench.run(3.0)
    assert not bench.owners.catalogue.maybe_queue("public/default", "q")


def test_a_queue_that_is_gone_meanwhile(bench, fronts):
    front = fronts[0]
    door = front.door()
    consumer, _ = front.consume("q", door=door)
    bench.run()
    bench.die()
    bench.come_back(linked=False)
    bench.owners.connect().ask(r.DeleteQueue("q"))
    bench.link(front)
    bench.run()
    assert door.lost == [consumer]
    front.remote.end(consumer)
    bench.run()


def test_an_exclusive_consumer_keeps_its_queue(bench, fronts):
    one, two = fronts
    one.consume("q", exclusive=True)
    bench.run()
    bench.die()
    _, answers = two.consume("q", "other")
    bench.come_back(linked=False)
    bench.link(two)
    bench.link(one)
    bench.run()
    assert "exclusive use" in str(answers[0])


def test_much_that_is_not_durable(bench, fronts):
    front = fronts[0]
    bench.die()
    lane = front.lane("q")
    for _ in range(KEPT_MAX_BYTES // (1 << 20)):
        call = front.publish(lane, bytes(1 << 20))
        assert call.outcome == PENDING
    with pytest.raises(Unavailable):
        front.publish(lane, b"x")


class TestWhoPublishesMuch:
    """He is held until the owner has taken most of it, has returned, or is not waited for any more."""

    @pytest.fixture
    def front(self, fronts):
        return fronts[0]

    @pytest.fixture(autouse=True)
    def doors(self, front):
        return front.door(), front.door()

    @staticmethod
    def fill(front, door, size=HELD_FROM_BYTES, confirm=True):
        lane = front.lane("q")
        for _ in range(size // (1 << 20)):
            front.publish(lane, bytes(1 << 20), door=door, confirm=confirm)

    @pytest.mark.parametrize("confirm", [True, False])
    def test_until_most_is_taken(self, bench, front, doors, confirm):
        bench.cut = True
        one, two = doors
        self.fill(front, one, HELD_FROM_BYTES - (1 << 20), confirm)
        assert one.holds == []
        self.fill(front, one, 3 << 20, confirm)
        self.fill(front, two, 1 << 20, confirm)
        assert (one.holds, two.holds) == ([True], [True])
        bench.cut = False
        bench.wires[front.name].wake(0)
        bench.run()
        assert (one.holds, two.holds) == ([True, False], [True, False])
        self.fill(front, one, GO_ON_BYTES, confirm)
        assert one.holds == [True, False]

    def test_until_it_has_returned(self, bench, front, doors):
        self.fill(front, doors[0])
        bench.die()
        assert doors[0].holds == [True]
        bench.come_back()
        bench.run(1)
        assert doors[0].holds == [True, False]

    def test_until_it_is_given_up(self, bench, front, doors):
        bench.die()
        self.fill(front, doors[0])
        assert doors[0].holds == [True]
        front.crossing.give_up()
        assert doors[0].holds == [True, False]

    def test_until_it_is_away(self, bench, front, doors):
        bench.cut = True
        self.fill(front, doors[0])
        front.crossing.away("it cannot be reached")
        assert doors[0].holds == [True, False]
        with pytest.raises(Unavailable):
            self.fill(front, doors[0], 1 << 20)


def test_of_settlements_that_end_nothing_for_good_nothing_is_kept():
    sent = SentSettlements()
    sent.put(1, [(5, 6)], ACCEPT)
    for _ in range(1000):
        sent.put(1, [], RELEASE)
    sent.put(2, [(7, 8)], ACCEPT)
    assert len(sent) == 2
    sent.durable(1001)
    assert sent.unsaid() == {2: [(7, 8)]}
    with pytest.raises(CorruptData):
        sent.durable(1003)
    sent.durable(1002)
    assert len(sent) == 0


# ---- what a front says wrongly


def say(bench, *said):
    """To an owner, as if its front did."""
    crossing = bench.owners.crossings["front0"]
    crossing.heed_claims()
    crossing.heed([words.encode(DURABLE, one) for one in said])


def consumer(number=7, is_getter=False):
    return words.WordsOfConsumer(1, number, 1, 0, 5, False, False, 0, is_getter, False, False, True)


def claim(bench, **how):
    fields = {
        "consumer": consumer(),
        "log_ids": [bench.log_id("q")],
        "reads": True,
        "was_given": False,
        "credit": 0,
        "ranges": [],
        "positions": None,
        "leased": 0,
        "start": words.words_of_start(None),
    }
    return words.Claim(**{**fields, **how})


@pytest.mark.parametrize(
    "wrong",
    [
        {"ranges": [(3, 3)]},
        {"ranges": [(5, 2)]},
        {"positions": [0]},
        {"positions": [0, 1]},
        {"consumer": consumer(is_getter=True)},
    ],
)
def test_claims_that_cannot_be(bench, wrong):
    bench.die()
    bench.come_back(linked=False)
    bench.link(bench.fronts[0])
    with pytest.raises(CorruptData):
        say(bench, words.DoorIs(1, CODEC.tag), claim(bench, **wrong))


def test_claims_of_much_that_is_not_there(bench):
    bench.die()
    bench.come_back(linked=False)
    bench.link(bench.fronts[0])
    everything = [(0, (1 << 63) - 1), (1, 5)]
    say(bench, words.DoorIs(1, CODEC.tag), claim(bench, ranges=everything), claim(bench, consumer=consumer(8), log_ids=[bytes(16)], ranges=everything))
    assert bench.queue().subscription.leased_count == 0
    assert len(bench.queue().consumers) == 1


def test_a_claim_behind_the_last(bench):
    with pytest.raises(CorruptData):
        say(bench, words.DoorIs(1, CODEC.tag), claim(bench))
    with pytest.raises(CorruptData):
        say(bench, words.Claimed(0, 0))


def test_a_row_that_cannot_be_read(bench):
    store = bench.owners.store
    for value in (b"", b"\1\1", b"\1\2" + bytes(8) + b"\0", b"\1\1" + bytes(8) + b"\0x"):
        store.fold(0, b"f:" + bytes(16), b"\1" + value)
        with pytest.raises(CorruptData):
            TakenStages(store, 0, "x", bytes(16))


def test_what_is_kept_is_what_was_taken(bench):
    store = bench.owners.store
    taken = TakenStages(store, 0, "näme", bytes(16))
    taken.refused(3, b"why")
    taken.took_part(5, b"\1\0\0\0")
    taken.last = 9
    taken.stage()
    again = TakenStages(store, 0, "näme", bytes(16))
    assert (again.known, again.answers) == (9, {3: (REFUSED, b"why"), 5: (PART, b"\1\0\0\0")})
    again.waits_from(4)
    assert list(again.answers) == [5]
