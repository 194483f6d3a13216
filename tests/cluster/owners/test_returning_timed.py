"""Queues with timed leases whose owner's process dies and starts again: calls wait for it, each is done once, and a Receive answers in its time."""

import pytest
from returning_bench import DURABLE
from returning_timed import Client, TimedRun, bodies_of, held_of, timed_bench

from entrepot.broker.calls.lease_calls import ENDED, FOREIGN, make_withdraw
from entrepot.broker.calls.port import DONE, PENDING, UNAVAILABLE, UNKNOWN
from entrepot.cluster.owners import remote_timed, sent_calls, words
from entrepot.cluster.owners.taken_stages import TakenStages
from entrepot.model.errors import CorruptData, Unavailable

SEEDS = 20
TURN_S = 0.0002  # an answer takes some ms


@pytest.fixture
def bench():
    return timed_bench()


@pytest.fixture
def client(bench):
    return Client(bench, bench.fronts[0])


@pytest.fixture
def held(bench, client):
    """A message that is leased."""
    client.send(b"held")
    call = client.receive(wait_ms=1000)
    bench.run()
    return held_of(call)


@pytest.mark.parametrize("queue", ["t", "fifo"])
def test_what_was_sent_and_not_answered_is_there_once(bench, client, queue):
    for turns in range(30):
        call = client.send(b"%d" % turns, b"x", queue=queue)
        bench.run(turns * TURN_S)
        bench.restart()
        assert (call.outcome, call.offsets, call.stored_ids) == (DONE, [2 * turns, 2 * turns + 1], call.message_ids)
    assert bench.queue(queue).log.next_offset == 60


def test_answers_that_have_not_come_are_kept(bench, client):
    for turns in range(30):
        calls = [client.send(b"x") for _ in range(3 * remote_timed.WAITS_STEP)]
        bench.run(turns * TURN_S)
        taken = bench.owners.crossings["front0"].served[DURABLE].taken
        waiting = [number for number, _, _ in bench.fronts[0].remote._sent_calls.again()]
        assert {number for number in waiting if number <= taken.last} <= set(taken.answers)
        bench.restart()
        assert {call.outcome for call in calls} == {DONE}
    assert bench.queue("t").log.next_offset == 30 * len(calls)


def test_a_lease_ends_once(bench, client):
    """Made visible at once, another has it before the same may be asked a second time."""
    for turns in range(30):
        client.send(b"%d" % turns)
        bench.run()
        held = held_of(client_receives(bench, client))
        call = client.end(held, 0)
        bench.run(turns * TURN_S)
        bench.restart()
        assert (call.outcome, call.statuses) == (DONE, [ENDED])
        again = held_of(client_receives(bench, client))
        assert again[0][0] == held[0][0]
        delete = client.end(again)
        bench.run(turns * TURN_S)
        bench.restart()
        assert (delete.outcome, delete.statuses) == (DONE, [ENDED])


def client_receives(bench, client):
    call = client.receive(wait_ms=1000)
    bench.run()
    return call


def test_what_is_asked_meanwhile_waits(bench, client, held):
    bench.die()
    calls = [client.send(b"new"), client.end(held, 700_000), client.end(held), client.receive(count=2, wait_ms=5000)]
    bench.run()
    assert {call.outcome for call in calls} == {PENDING}
    bench.come_back()
    bench.run()
    assert {call.outcome for call in calls} == {DONE}
    assert [call.statuses for call in calls[1:3]] == [[ENDED], [ENDED]]
    assert bodies_of(calls[3]) == [b"new"]
    assert bench.fronts[0].remote.under_way_count == 0


def test_what_a_handle_is_not_is_said_again(bench, client, held):
    call = client.end([*held, (99, bytes(16))])
    bench.run(3 * TURN_S)
    bench.restart()
    assert call.statuses == [ENDED, FOREIGN]


def test_it_does_not_wait_for_ever(bench, client, held):
    sent = [client.send(b"1"), client.end(held)]
    bench.die()
    later = [client.send(b"2"), client.end(held), client.receive(wait_ms=20_000)]
    bench.fronts[0].crossing.give_up()
    assert [call.outcome for call in (*sent, *later)] == [UNKNOWN, UNKNOWN, UNAVAILABLE, UNAVAILABLE, UNAVAILABLE]
    assert bench.fronts[0].remote.under_way_count == 0
    with pytest.raises(Unavailable):
        client.send(b"3")


def test_there_is_room_for_so_much(bench, client, monkeypatch):
    monkeypatch.setattr(sent_calls, "CALLS_MAX", 2)
    monkeypatch.setattr(remote_timed, "CALLS_MAX", 2)
    bench.die()
    for ask in (lambda: client.send(b"x"), client.receive):
        ask()
        ask()
        with pytest.raises(Unavailable):
            ask()
    monkeypatch.setattr(sent_calls, "CALLS_MAX", 100)
    monkeypatch.setattr(sent_calls, "CALLS_MAX_BYTES", 10_000)
    client.send(bytes(10_000))
    with pytest.raises(Unavailable):
        client.send(b"x")


class TestReceives:
    @pytest.mark.parametrize(("wait_ms", "after_s"), [(2000, 2.0), (0, 5.0), (-1, 5.0)])
    @pytest.mark.parametrize("was_sent", [True, False])
    def test_it_is_over_in_its_time(self, bench, client, wait_ms, after_s, was_sent):
        calls = []
        if not was_sent:
            bench.die()
        bench.cut = True  # what is sent does not come
        calls.append(client.receive(wait_ms=wait_ms))
        if was_sent:
            bench.die()
        bench.cut = False
        bench.run(after_s - 0.1)
        assert calls[0].outcome == PENDING
        bench.run(0.3)
        assert (calls[0].outcome, calls[0].received, calls[0].timed) == (DONE, [], None)
        bench.come_back()
        bench.run()
        assert bench.fronts[0].remote.under_way_count == 0

    def test_what_is_left_of_its_time_goes_on(self, bench, client):
        bench.die()
        call = client.receive(wait_ms=4000)
        bench.run(2)
        bench.come_back()
        bench.run(1.7)
        assert call.outcome == PENDING
        bench.run(0.5)
        assert (call.outcome, call.received) == (DONE, [])

    def test_one_that_waited_is_given_what_comes_later(self, bench, client):
        call = client.receive(wait_ms=5000)
        bench.run(1)
        bench.restart()
        client.send(b"x")
        bench.run()
        assert bodies_of(call) == [b"x"]

    def test_an_owner_that_comes_back_and_is_held_up(self, bench, client):
        """It answers empty all the same, and what is given to it then goes back."""
        client.send(b"x")
        bench.run()
        bench.die()
        call = client.receive(wait_ms=1000)
        bench.come_back(linked=False)
        bench.cut = True
        bench.link(bench.fronts[0])
        bench.run(2.2)
        assert (call.outcome, call.received) == (DONE, [])
        bench.cut = False
        bench.wires["front0"].wake(0)
        bench.run()
        assert bodies_of(client_receives(bench, client)) == [b"x"]
        assert bench.fronts[0].remote.under_way_count == 0

    def test_an_answer_behind_its_time_goes_back(self, bench, client):
        client.send(b"x")
        bench.run()
        bench.die()
        call = client.receive(wait_ms=1000)
        bench.come_back()
        leases = bench.queue("t").timed.leases
        bench.loop.run_until(lambda: leases.held == 1, 1)
        bench.cut = True
        bench.run(2.2)
        assert (call.outcome, call.received) == (DONE, [])
        assert leases.held == 1
        bench.cut = False
        for index in (0, 1):
            bench.wires["front0"].wake(index)
        bench.run()
        assert leases.held == 0
        assert bodies_of(client_receives(bench, client)) == [b"x"]

    def test_who_gives_it_up_has_it_ended(self, bench, client):
        bench.die()
        call, other = client.receive(wait_ms=5000), client.receive(wait_ms=5000)
        call.timed.withdraw(call)
        assert make_withdraw(1, call).receive.outcome == DONE
        remote = bench.fronts[0].remote
        remote.withdraw_all(remote.timed(bench.log_id("t")), client.door)
        assert other.outcome == DONE
        assert remote.under_way_count == 0
        bench.come_back()
        bench.run()

    def test_a_connection_that_ends_meanwhile(self, bench, client):
        call = client.receive(wait_ms=5000)
        bench.run()
        client.door.closed = True
        bench.restart()
        assert call.outcome == PENDING
        assert bench.fronts[0].remote.under_way_count == 0
        assert not bench.owners.crossings["front0"].served[DURABLE].doors


class TestRow:
    def test_answers_are_kept_for_as_long_as_somebody_waits(self, bench, client):
        for number in range(100):
            client.send(b"%d" % number)
            bench.run(0.01)
        taken = bench.owners.crossings["front0"].served[DURABLE].taken
        assert 0 < len(taken.answers) <= 2 * remote_timed.WAITS_STEP

    def test_a_delete_that_is_done_needs_no_answer(self, bench, client, held):
        taken = bench.owners.crossings["front0"].served[DURABLE].taken
        before = len(taken.answers)
        client.end(held)
        bench.run()
        assert len(taken.answers) == before

    def test_what_never_was_a_send_is_none(self, bench, client):
        store = bench.owners.store
        taken = TakenStages(store, 0, "x", bytes(16))
        taken.refused(1, b"why")
        taken.said(2, b"words")
        taken.said(3, b"")
        taken.stage()
        again = TakenStages(store, 0, "x", bytes(16))
        assert (again.known, again.said_before(2), again.said_before(3), again.answer_to_stage(1)) == (3, b"words", b"", (True, b"why"))
        with pytest.raises(CorruptData):
            again.said_before(1)
        with pytest.raises(CorruptData):
            again.answer_to_stage(2)

    def test_messages_again_of_which_nothing_is_known(self, bench, client):
        client.send(b"x")
        bench.run()
        bench.restart()
        crossing = bench.owners.crossings["front0"]
        crossing.served[DURABLE].taken.answers.clear()
        said = words.Send(1, 1, 9, 1, 0, b"", 0, [], [], None, None, None, None, 0)
        with pytest.raises(CorruptData):
            crossing.served[DURABLE]._said_before(crossing.served[DURABLE].taken, 1, said)


# ---- seeded


def runs(count, actions=40):
    starts = 0
    for seed in range(count):
        starts += TimedRun(seed).run(actions).bench.owners.starts
    return starts


def test_promises_hold():
    assert runs(SEEDS) > 2 * SEEDS


@pytest.mark.long
def test_promises_hold_for_long():
    for seed in range(1000, 2000):
        TimedRun(seed).run(150)


def is_noticed(count=30, actions=60):
    with pytest.raises((AssertionError, CorruptData)):
        runs(count, actions)


def test_sequences_that_are_forgotten(monkeypatch):
    def known(self, *where):
        real(self, *where)
        self.known = 0

    real = TakenStages.__init__
    monkeypatch.setattr(TakenStages, "__init__", known)
    is_noticed()


def test_answers_that_are_forgotten(monkeypatch):
    monkeypatch.setattr(TakenStages, "said", lambda self, number, rest: setattr(self, "last", number))
    is_noticed()


def test_a_row_that_is_not_kept(monkeypatch):
    monkeypatch.setattr(TakenStages, "stage", lambda self: None)
    is_noticed()


def test_a_row_behind_its_commit(monkeypatch):
    real = TakenStages.stage
    monkeypatch.setattr(TakenStages, "stage", lambda self: self._store.scheduler.call_later(0.0004, real, self))
    is_noticed()


def test_calls_that_are_not_sent_again(monkeypatch):
    monkeypatch.setattr(sent_calls.SentCalls, "again", lambda self: [])
    is_noticed()


def test_receives_that_are_not_asked_again(monkeypatch):
    monkeypatch.setattr(remote_timed.RemoteTimed, "_receive_again", lambda *_: None)
    monkeypatch.setattr(remote_timed.RemoteTimed, "_watch", lambda *_: None)
    is_noticed()
