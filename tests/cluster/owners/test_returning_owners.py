"""The process of the owners dies and starts again, and its fronts live on: nothing is lost, nothing comes twice, who holds something goes on holding it."""

import pytest
from broker_bench import address_of
from returning_bench import ReturningBench

from entrepot.broker.calls.port import ACCEPT, DONE, PENDING, REJECT, RELEASE, UNAVAILABLE, UNKNOWN
from entrepot.broker.calls.topic_requests import CreateTopic, DeleteTopic
from entrepot.broker.topic.stream_start import FIRST, LAST, NEXT, TIME
from entrepot.cluster.owners.taken_stages import TakenStages

LETTERS = {"q": {"x_queue_type": "quorum", "x_delivery_limit": 1, "x_dead_letter_exchange": "", "x_dead_letter_routing_key": "dead"}, "dead": {}}


@pytest.fixture
def bench():
    return ReturningBench()


@pytest.fixture
def front(bench):
    return bench.fronts[0]


def bodies(front, token="c"):
    return [body for body, _, _ in front.got.pop(token, [])]


class TestPublishes:
    def test_what_was_sent_and_not_answered_is_taken_once(self, bench, front):
        lane = front.lane("q")
        for turns in range(40):
            call = front.publish(lane, b"%d" % turns)
            for _ in range(turns):
                bench.loop.step()
            bench.restart()
            assert call.outcome == DONE
        front.consume("q", limit=0)
        bench.run()
        assert bodies(front) == [b"%d" % number for number in range(40)]

    @pytest.mark.parametrize("confirm", [True, False])
    def test_what_is_published_meanwhile_waits(self, bench, front, confirm):
        lane = front.lane("q")
        bench.die()
        call = front.publish(lane, b"x", confirm=confirm)
        assert call.outcome == (PENDING if confirm else DONE)
        bench.come_back()
        bench.run()
        assert call.outcome == DONE
        assert bench.queue().depth() == 1
        assert front.remote.under_way_count == 0

    def test_what_was_refused_stays_so(self, bench):
        bench = ReturningBench(queues={"q": {"x_max_length": 2, "x_overflow": "reject-publish"}, "other": {}})
        front = bench.fronts[0]
        lanes = [front.lane("q"), front.lane("q", "other")]
        first = front.publish(lanes[0], b"1", b"2")
        bench.run()
        calls = [front.publish(lanes[0], b"3"), front.publish(lanes[1], b"4")]
        for _ in range(2):
            bench.loop.step()
        bench.restart()
        assert first.outcome == DONE
        assert [(call.outcome, call.nacked) for call in calls] == [(DONE, [0]), (DONE, [0])]
        assert [bench.queue(name).depth() for name in ("q", "other")] == [2, 1]

    def test_given_up(self, bench, front):
        lane = front.lane("q")
        sent = [front.publish(lane, b"x"), front.publish(lane, b"y", confirm=False)]
        bench.die()
        later = front.publish(lane, b"z")
        front.crossing.give_up()
        assert [call.outcome for call in (*sent, later)] == [UNKNOWN, UNKNOWN, UNAVAILABLE]
        bench.come_back()
        bench.run()
        call = front.publish(lane, b"z")
        bench.run()
        assert call.outcome == DONE

    def test_the_row_of_a_dead_front_goes(self, bench, front):
        front.publish(front.lane("q"), b"x")
        bench.run()
        assert bench.owners.store.scan(0, b"f:", b"f;", 10)
        bench.front_dies(front)
        assert not bench.owners.store.scan(0, b"f:", b"f;", 10)
        again = TakenStages(bench.owners.store, 0, "x", bytes(16))
        again.last = 7
        again.stage()
        other = TakenStages(bench.owners.store, 0, "y", b"2" * 16)
        other.stage()
        assert len(bench.owners.store.scan(0, b"f:", b"f;", 10)) == 2
        later = TakenStages(bench.owners.store, 0, "x", b"1" * 16)
        assert later.known == 0
        later.stage()
        assert [key[2:3] for key, _ in bench.owners.store.scan(0, b"f:", b"f;", 10)] == [b"1", b"2"]


class TestConsumers:
    def test_what_is_held_stays_held_and_tags_stay_valid(self, bench, front):
        front.publish(front.lane("q"), *[b"%d" % number for number in range(10)])
        consumer, answers = front.consume("q", limit=4)
        bench.run()
        assert answers == [None]
        held = front.got["c"][:]
        assert len(held) == 4
        other, _ = front.consume("q", "other", limit=100)
        bench.run()
        assert bodies(front, "other") == [b"4", b"5", b"6", b"7", b"8", b"9"]
        bench.restart()
        assert (bodies(front), bodies(front, "other")) == ([body for body, *_ in held], [])
        assert bench.queue().subscription.leased_count == 10
        front.remote.settle(consumer, held[0][1], 4, ACCEPT)
        front.remote.settle(other, 4, 6, RELEASE)
        bench.run()
        front.remote.settle(other, 4, 6, ACCEPT)
        assert bench.queue().subscription.leased_count == 6
        assert bench.queue().subscription.floor == 4

    @pytest.mark.parametrize("turns", range(12))
    @pytest.mark.parametrize("disposition", [ACCEPT, REJECT])
    def test_what_was_settled_does_not_come_again(self, bench, front, turns, disposition):
        front.publish(front.lane("q"), b"0", b"1", b"2")
        consumer, _ = front.consume("q", limit=3)
        bench.run()
        bodies(front)
        front.remote.settle(consumer, 1, 1, disposition)
        for _ in range(turns):
            bench.loop.step()
        bench.restart()
        front.remote.end(consumer)
        front.consume("q", "other")
        bench.run()
        assert bodies(front, "other") == [b"0", b"2"]
        assert bodies(front) == []

    def test_who_cancelled_and_settled_the_last(self, bench, front):
        front.publish(front.lane("q"), b"0", b"1")
        consumer, _ = front.consume("q")
        bench.run()
        front.remote.cancel(consumer)
        front.remote.settle(consumer, 0, 1, ACCEPT)
        front.remote.settle(consumer, 1, 1, ACCEPT)
        bench.restart()
        front.consume("q", "other")
        bench.run()
        assert bodies(front, "other") == []
        assert bench.queue().subscription.leased_count == 0
        assert bench.queue().depth() == 0

    def test_what_is_settled_meanwhile(self, bench, front):
        front.publish(front.lane("q"), b"0", b"1", b"2")
        consumer, _ = front.consume("q", limit=2)
        bench.run()
        bench.die()
        front.remote.settle(consumer, 0, 1, ACCEPT)
        bench.come_back()
        bench.run()
        assert bodies(front) == [b"0", b"1", b"2"]
        assert (bench.queue().subscription.floor, bench.queue().subscription.leased_count) == (1, 2)

    def test_a_consume_and_a_get_under_way_are_asked_again(self, bench, front):
        front.publish(front.lane("q"), b"0", b"1")
        bench.run()
        getter = front.consumer(None)
        call = front.get("q", getter)
        _, answers = front.consume("q")
        bench.restart()
        assert (answers, call.outcome, call.result[0].offset) == ([None], DONE, 0)
        assert bodies(front) == [b"1"]

    def test_what_a_getter_holds(self, bench, front):
        front.publish(front.lane("q"), b"0", b"1")
        bench.run()
        getter = front.consumer(None)
        call = front.get("q", getter)
        bench.run()
        assert call.result[0].offset == 0
        bench.restart()
        front.consume("q")
        bench.run()
        assert bodies(front) == [b"1"]
        front.remote.settle(getter, 0, 1, RELEASE)
        bench.run()
        assert bodies(front) == [b"0"]

    def test_the_active_one_stays_active(self):
        bench = ReturningBench(fronts=2, queues={"q": {"x_single_active_consumer": True}})
        one, two = bench.fronts
        active, _ = two.consume("q", "active")
        bench.run()
        one.consume("q", "waits")
        lane = one.lane("q")
        one.publish(lane, b"0")
        bench.run()
        bench.restart()
        one.publish(lane, b"1")
        bench.run()
        assert (bodies(two, "active"), bodies(one, "waits")) == ([b"0", b"1"], [])
        two.remote.cancel(active)
        one.publish(lane, b"2")
        bench.run()
        assert bodies(one, "waits") == [b"2"]

    def test_who_was_active_and_claims_too_late_is_behind_who_is_now(self):
        bench = ReturningBench(fronts=2, queues={"q": {"x_single_active_consumer": True}})
        one, two = bench.fronts
        one.consume("q", "was")
        lane = two.lane("q")
        two.publish(lane, b"0")
        bench.run()
        two.consume("q", "is")
        bench.run()
        bench.die()
        bench.come_back(linked=False)
        bench.link(two)
        bench.run(3.0)
        assert bodies(two, "is") == [b"0"]
        bench.link(one)
        bench.run()
        bodies(one, "was")
        two.publish(lane, b"1")
        bench.run()
        assert (bodies(one, "was"), bodies(two, "is")) == ([], [b"1"])

    def test_a_claim_is_no_delivery(self):
        bench = ReturningBench(queues={"q": {"x_queue_type": "quorum", "x_delivery_limit": 2}})
        front = bench.fronts[0]
        front.publish(front.lane("q"), b"0")
        consumer, _ = front.consume("q", limit=1)
        bench.run()
        for _ in range(3):
            bench.restart()
        assert bodies(front) == [b"0"]
        for _ in range(2):
            front.remote.settle(consumer, 0, 1, RELEASE)
            bench.run()
            assert bodies(front) == [b"0"]
            bench.restart()
        front.remote.settle(consumer, 0, 1, RELEASE)
        bench.run()
        assert bodies(front) == []
        assert bench.queue().depth() == 0

    def test_lent_credit(self, bench, front):
        consumer = front.consumer("c")
        consumer.lent = True
        front.remote.consume(consumer, [bench.log_id("q")], None, lambda _: None)
        front.remote.lend(consumer, 3)
        front.publish(front.lane("q"), b"0", b"1")
        bench.run()
        bench.restart()
        front.publish(front.lane("q"), b"2", b"3")
        bench.run()
        assert bodies(front) == [b"0", b"1", b"2"]
        assert (consumer.credit, front.wanting[-1]) == (0, consumer)

    def test_a_connection_that_does_not_read(self, bench, front):
        door = front.door()
        consumer, _ = front.consume("q", door=door)
        bench.run()
        door.writable = False
        front.publish(front.lane("q"), bytes(400_000), b"1")
        bench.run()
        bench.restart()
        assert bodies(front) == []
        door.writable = True
        front.remote.credit(consumer)
        bench.run()
        assert [len(body) for body in bodies(front)] == [400_000, 1]
        for _ in range(5):
            front.publish(front.lane("q"), bytes(400_000))
            bench.run()
        assert len(bodies(front)) == 5

    def test_nobody_is_given_anything_before_the_claims(self):
        bench = ReturningBench(fronts=2)
        one, two = bench.fronts
        one.publish(one.lane("q"), b"0")
        one.consume("q")
        bench.run()
        two.consume("q", "other")
        bench.run()
        bench.die()
        bench.come_back(linked=False)
        bench.link(two)
        bench.run(1.0)
        bench.link(one)
        bench.run()
        assert (bodies(one), bodies(two, "other")) == ([b"0"], [])

    def test_a_claim_that_comes_too_late(self):
        bench = ReturningBench(fronts=2)
        one, two = bench.fronts
        one.publish(one.lane("q"), b"0")
        consumer, _ = one.consume("q")
        bench.run()
        two.consume("q", "other")
        bench.run()
        bench.die()
        bench.come_back(linked=False)
        bench.link(two)
        bench.run(3.0)
        assert bodies(two, "other") == [b"0"]
        bench.link(one)
        bench.run()
        one.remote.settle(consumer, 0, 1, ACCEPT)
        bench.run()
        assert (bench.queue().subscription.leased_count, bodies(one)) == (1, [b"0"])

    @pytest.mark.parametrize("disposition", [REJECT, RELEASE])
    def test_what_another_has_by_now_is_not_ended_by_who_claims_it_too_late(self, disposition):
        bench = ReturningBench(fronts=2, queues=LETTERS)
        one, two = bench.fronts
        one.publish(one.lane("q"), b"0", b"1")
        late, _ = one.consume("q")
        bench.run()
        two.consume("q", "other")
        bench.run()
        bench.die()
        bench.come_back(linked=False)
        bench.link(two)
        bench.run(3.0)
        assert bodies(two, "other") == [b"0", b"1"]
        bench.link(one)
        bench.run()
        one.remote.settle(late, 0, 1, disposition)
        one.remote.settle(late, 1, 1, disposition)
        bench.run()
        assert (bench.queue("dead").depth(), bench.queue().subscription.leased_count) == (0, 2)

    def test_a_claim_that_is_given_back_is_delivered_once_more(self):
        bench = ReturningBench(queues=LETTERS)
        front = bench.fronts[0]
        front.publish(front.lane("q"), b"0", b"1", b"2")
        consumer, _ = front.consume("q")
        bench.run()
        bench.restart()
        bodies(front)
        front.remote.settle(consumer, 0, 3, RELEASE)
        bench.run()
        assert (sorted(bodies(front)), bench.queue("dead").depth()) == ([b"0", b"1", b"2"], 0)
        front.remote.settle(consumer, 0, 3, RELEASE)
        bench.run()
        assert (bodies(front), bench.queue("dead").depth()) == ([], 3)

    def test_a_front_that_dies_too(self):
        bench = ReturningBench(fronts=2)
        one, two = bench.fronts
        one.publish(one.lane("q"), b"0")
        one.consume("q")
        bench.run()
        two.consume("q", "other")
        bench.die()
        bench.front_dies(one)
        bench.come_back()
        bench.run()
        assert bodies(two, "other") == [b"0"]


class TestTopics:
    @pytest.fixture
    def bench(self):
        return ReturningBench(topics=[CreateTopic("t", 3)])

    @pytest.fixture
    def lanes(self, bench, front):
        return [front.remote.lane(address_of("", "t"), [log_id]) for log_id in bench.log_ids_of("t")]

    def read(self, bench, front, start, token="c", partitions=slice(None), **how):
        consumer = front.consumer(token, is_topic=True, **how)
        answers = []
        front.remote.consume(consumer, bench.log_ids_of("t")[partitions], start, answers.append)
        bench.run()
        assert answers == [None]
        return consumer

    @pytest.mark.parametrize("auto_settle", [False, True])
    def test_it_goes_on_in_each_partition_where_it_was(self, bench, front, lanes, auto_settle):
        consumer = self.read(bench, front, FIRST, limit=4, auto_settle=auto_settle)
        for number in range(30):
            front.publish(lanes[number % 3], b"%02d" % number)
        got = []
        for turns in range(12):
            for _ in range(turns):
                bench.loop.step()
            bench.restart()
            new = front.got.pop("c", [])
            got += [body for body, *_ in new]
            if not auto_settle:
                assert consumer.leased == len(new) <= 4
                if new:
                    front.remote.settle(consumer, 0, len(new), ACCEPT)
        bench.run()
        assert sorted(got) == [b"%02d" % number for number in range(30)]

    def test_what_is_not_settled_takes_its_credit(self, bench, front, lanes):
        consumer = self.read(bench, front, FIRST, limit=3)
        front.publish(lanes[0], *[b"%d" % number for number in range(9)])
        bench.run()
        assert len(bodies(front)) == 3
        front.remote.settle(consumer, 0, 1, ACCEPT)
        bench.restart()
        assert len(bodies(front)) == 1
        bench.restart()
        assert bodies(front) == []
        front.remote.settle(consumer, 0, 3, ACCEPT)
        bench.run()
        assert bodies(front) == [b"4", b"5", b"6"]

    @pytest.mark.parametrize("start", [NEXT, LAST, 1, (TIME, 0)])
    def test_who_was_given_nothing_begins_where_it_was_to(self, bench, front, lanes, start):
        """What comes between is not passed over."""
        front.publish(lanes[0], b"0")
        front.publish(lanes[0], b"1")
        bench.run()
        door = front.door()
        door.writable = False
        self.read(bench, front, start, door=door, partitions=slice(1))
        bench.cut = True
        bench.die()
        bench.cut = False
        me = front.publish(lanes[0], b"2")
        bench.come_back()
        bench.run()
        assert me.outcome == DONE
        door.writable = True
        for reader in front.remote._readers.everyone():
            front.remote.credit(reader.consumer)
        bench.run()
        expected = {NEXT: [b"2"], 1: [b"1", b"2"]}.get(start, [b"0", b"1", b"2"])
        assert bodies(front) == expected

    def test_a_topic_that_is_gone_meanwhile(self, bench, front, lanes):
        door = front.door()
        consumer = self.read(bench, front, FIRST, door=door)
        bench.owners.die(False)
        front.crossing.dead(returns=True)
        bench.owners.start()
        bench.owners.connect().ask(DeleteTopic("t"))
        bench.link(front)
        bench.run()
        assert door.lost == [consumer]
