"""Sessions that outlive connections: they are there again with all they had, one connection has each, they end in time, and their wills come once."""

import pytest
from broker_bench import AllowAll
from kept_session_bench import NS, SessionBench, will_of

from entrepot.broker.calls import requests as r
from entrepot.broker.calls import session_requests as s
from entrepot.broker.calls.port import DONE, REFUSED
from entrepot.broker.calls.shared_requests import JoinShared
from entrepot.broker.sessions import session_table
from entrepot.model.errors import Reason, Refused


@pytest.fixture
def bench():
    return SessionBench()


@pytest.fixture
def me(bench):
    return bench.connect()


@pytest.fixture
def other(bench):
    return bench.connect()


def reason(action, *args, **how):
    with pytest.raises(Refused) as refused:
        action(*args, **how)
    return refused.value.reason


class TestKept:
    def test_is_a_durable_queue(self, bench, me):
        assert not me.open("s")
        assert me.session.queue == "s"
        assert bench.catalogue.maybe_queue(NS, "s").persistent
        assert bench.figure("sessions_kept") == bench.figure("sessions_attached") == 1

    def test_is_there_again_with_its_bindings_and_records(self, bench, me, other):
        me.open()
        me.bind("a.#")
        me.close()
        other.put(b"1", exchange="amq.topic", key="a.b")
        again = bench.connect()
        assert again.open()
        again.consume(queue="s")
        bench.run()
        assert again.bodies() == [b"1"]

    def test_over_a_restart(self, bench, me):
        me.open()
        me.bind()
        me.put(b"1", exchange="amq.topic", key="a.b")
        bench = bench.crash()
        again = bench.connect()
        assert again.open()
        assert again.session.generation > me.session.generation
        again.consume(queue="s")
        bench.run()
        assert again.bodies() == [b"1"]

    def test_clean_it_is_new(self, bench, me, other):
        me.open()
        me.bind()
        me.once(b"1", numbers=[5])
        me.close()
        assert not other.open(clean=True)
        assert bench.queue("s").depth() == 0
        assert other.session.incoming == []
        other.put(b"2", exchange="amq.topic", key="a")
        assert bench.queue("s").depth() == 0
        assert len(bench.rows()) == 1

    def test_clean_and_not_to_be_kept_it_is_gone(self, bench, me, other):
        me.open()
        me.close()
        assert not other.open(clean=True, expiry_s=0)
        assert other.session.queue == ""
        assert not bench.exists("s")
        assert bench.rows() == []

    def test_one_not_to_be_kept_that_is_there_goes_on_until_it_is_left(self, bench, me, other):
        me.open()
        me.close()
        assert other.open(expiry_s=0)
        assert other.session.queue == "s"
        other.leave()
        assert not bench.exists("s")
        assert bench.rows() == []

    def test_its_queue_deleted_nothing_of_it_is_left(self, bench, me, other):
        me.open()
        me.once(b"1", numbers=[5])
        assert reason(other.ask, r.DeleteQueue("s")) is Reason.LOCKED
        me.close()
        bench.run()
        other.ask(r.DeleteQueue("s"))
        assert bench.rows() == []
        assert not other.open()

    def test_removed_while_somebody_has_it(self, bench, me, other):
        me.open()
        bench.decisions.remove_queue(bench.catalogue.maybe_queue(NS, "s"))
        assert bench.rows() == []
        assert reason(me.once, b"2", numbers=[6]) is Reason.TAKEN_OVER
        me.close()
        assert not other.open()

    def test_a_queue_that_is_not_durable_is_none(self, me, other):
        other.declare("s", durable=False)
        assert reason(me.open) is Reason.EXISTS_DIFFERENT

    @pytest.mark.parametrize("how", ["record", "binding", "consumer", "argument", "shared"])
    @pytest.mark.parametrize("expiry_s", [0, 100])
    def test_a_queue_that_is_somebody_elses_stays(self, bench, me, other, how, expiry_s):
        if how == "shared":
            other.declare("member")
            other.ask(JoinShared("s", "a", "member"))
        else:
            other.declare("s", **({"x_max_length": 9} if how == "argument" else {}))
        if how == "record":
            other.put(b"1", key="s")
        elif how == "binding":
            other.bind(queue="s")
        elif how == "consumer":
            other.consume(queue="s")
        log_id = bench.catalogue.maybe_queue(NS, "s").log_id
        for clean in (False, True):
            assert reason(me.open, "s", expiry_s=expiry_s, clean=clean) is Reason.EXISTS_DIFFERENT
        assert bench.catalogue.maybe_queue(NS, "s").log_id == log_id
        assert bench.figure("sessions_attached") == 0

    def test_an_empty_queue_that_nobody_uses_is_what_an_opening_has_left(self, bench, me, other):
        other.declare("s")
        assert not me.open("s")
        assert bench.figure("sessions_kept") == 1

    @pytest.mark.parametrize("name", ["", "x" * 256, "\udc80"])
    def test_names(self, me, name):
        assert reason(me.open, name) is Reason.INVALID


class TestNotKept:
    def test_has_no_queue_and_no_row(self, bench, me):
        assert not me.open(expiry_s=0)
        assert me.session.queue == ""
        assert not bench.exists("s")
        assert bench.rows() == []
        me.close()
        bench.run()
        assert bench.figure("sessions_attached") == 0

    def test_is_taken_over(self, bench, me, other):
        me.open(expiry_s=0)
        assert not other.open(expiry_s=0)
        assert me.lost == [me.session.number]
        assert other.lost == []

    def test_remembers_nothing_and_publishes(self, bench, me, other):
        bench.listen("x")
        me.open(expiry_s=0)
        assert me.once(b"1", numbers=[5]) == []
        me.release_incoming(5)
        assert bench.heard() == [b"1"]


class TestTakenOver:
    def test_who_had_it_is_told_and_what_he_held_goes_back_in_order(self, bench, me, other):
        me.open()
        me.bind()
        me.put(b"1", b"2", b"3", exchange="amq.topic", key="a")
        me.consume(queue="s", limit=2, exclusive=True)
        bench.run()
        assert me.bodies() == [b"1", b"2"]
        assert other.open()
        assert me.lost == [me.session.number]
        assert me.ended == []
        other.consume(queue="s", exclusive=True)
        bench.run()
        assert other.deliveries() == [(b"1", True), (b"2", True), (b"3", False)]
        me.accept()
        bench.run()
        assert other.bodies() == []
        assert bench.queue("s").subscription.leased_count == 3

    def test_who_had_it_changes_nothing_any_more(self, bench, me, other):
        me.open()
        other.open()
        number = me.session.number
        for request in (
            s.CloseSession(number),
            s.ReleaseIncoming(number, [(1, 1)]),
            s.ReleaseOutgoing(number, [], [(1, 1)]),
            s.CompleteOutgoing(number, [(1, 1)]),
        ):
            assert reason(me.ask, request) is Reason.TAKEN_OVER
        assert reason(me.once, b"1", numbers=[5]) is Reason.TAKEN_OVER
        me.close()
        bench.run()
        assert bench.figure("sessions_attached") == 1
        other.leave()

    def test_another_ones_number_is_none(self, me, other):
        me.open()
        assert reason(other.ask, s.CloseSession(me.session.number)) is Reason.TAKEN_OVER

    def test_one_connection_with_itself(self, bench, me):
        me.open()
        first = me.session.number
        assert me.open()
        assert me.lost == [first]

    def test_all_at_once_one_has_it(self, bench):
        crowd = [bench.connect() for _ in range(5)]
        calls = [one.try_open() for one in crowd]
        bench.run()
        assert {call.outcome for call in calls} <= {DONE, REFUSED}
        assert {call.error.reason for call in calls if call.outcome == REFUSED} <= {Reason.TAKEN_OVER}
        assert sum(len(one.lost) for one in crowd) == len([call for call in calls if call.outcome == DONE]) - 1
        assert bench.figure("sessions_attached") == 1

    def test_two_names_are_two_sessions(self, bench, me, other):
        me.open("a")
        other.open("b")
        assert me.lost == other.lost == []


class TestEnds:
    def test_in_time(self, bench, me):
        me.open(expiry_s=10)
        me.close()
        bench.run(9.5)
        assert bench.exists("s")
        bench.run(1)
        assert not bench.exists("s")
        assert bench.rows() == []
        assert bench.figure("sessions_kept") == 0
        assert bench.figure("sessions_expired_total") == 1

    def test_not_while_somebody_has_it(self, bench, me, other):
        me.open(expiry_s=10)
        bench.run(60)
        me.close()
        bench.run(9)
        assert other.open(expiry_s=10)
        bench.run(60)
        assert bench.exists("s")

    def test_never(self, bench, me):
        me.open(expiry_s=s.FOREVER_S)
        me.close()
        bench.run(10_000)
        assert bench.exists("s")

    def test_as_it_is_said_when_it_is_left(self, bench, me):
        me.open(expiry_s=s.FOREVER_S)
        me.leave(expiry_s=5)
        bench.run(6)
        assert not bench.exists("s")

    def test_the_time_counts_while_nothing_runs(self, bench, me, other):
        me.open(expiry_s=1000)
        other.open("t", expiry_s=5000)
        me.close()
        other.close()
        bench.run()
        bench = bench.crash()
        bench.run(600)
        bench = bench.crash()
        bench.run(500)
        assert not bench.exists("s")
        assert bench.exists("t")

    def test_whose_connection_went_with_the_process_counts_from_the_start(self, bench, me):
        me.open(expiry_s=100)
        bench.run(500)
        bench = bench.crash()
        bench.run(90)
        assert bench.exists("s")
        bench.run(20)
        assert not bench.exists("s")

    def test_coming_and_going_leaves_nothing(self, bench, monkeypatch):
        monkeypatch.setattr(session_table, "DUE_SPARE", 4)
        for turn in range(30):
            one = bench.connect()
            one.open(expiry_s=100 - turn)
            one.close()
            assert len(bench.broker.owners.durable.answering.sessions._due) <= 6
        bench.run(70)
        assert bench.exists("s")
        bench.run(3)
        assert not bench.exists("s")

    def test_of_many_each_in_its_time(self, bench):
        for number in range(20):
            one = bench.connect()
            one.open(f"s{number}", expiry_s=20 - number)
            one.close()
        for passed in range(21):
            bench.run(1)
            assert bench.figure("sessions_kept") in (20 - passed - 1, 20 - passed)


class TestWills:
    @pytest.fixture(autouse=True)
    def heard(self, bench):
        bench.listen()

    @pytest.mark.parametrize("expiry_s", [0, 100])
    def test_comes_when_the_connection_is_lost(self, bench, me, expiry_s):
        me.open(expiry_s=expiry_s, will=will_of(b"w"))
        assert bench.heard() == []
        me.close()
        assert bench.heard() == [b"w"]

    @pytest.mark.parametrize("expiry_s", [0, 100])
    def test_not_when_it_is_left(self, bench, me, expiry_s):
        me.open(expiry_s=expiry_s, will=will_of(b"w"))
        me.leave()
        me.close()
        bench.run(200)
        assert bench.heard() == []

    @pytest.mark.parametrize("expiry_s", [0, 100])
    def test_or_all_the_same(self, bench, me, expiry_s):
        me.open(expiry_s=expiry_s, will=will_of(b"w"))
        me.leave(drop_will=False)
        assert bench.heard() == [b"w"]

    def test_delayed(self, bench, me):
        me.open(will=will_of(b"w", delay_s=10))
        me.close()
        bench.run(9)
        assert bench.heard() == []
        bench.run(1)
        assert bench.heard() == [b"w"]

    def test_not_if_the_client_is_back_in_time(self, bench, me, other):
        me.open(will=will_of(b"w", delay_s=10))
        me.close()
        bench.run(9)
        assert other.open()
        other.close()
        bench.run(50)
        assert bench.heard() == []

    def test_the_one_of_the_last_connection(self, bench, me, other):
        me.open(will=will_of(b"w", delay_s=10))
        me.close()
        other.open(will=will_of(b"v", delay_s=10))
        other.close()
        bench.run(11)
        assert bench.heard() == [b"v"]

    def test_at_the_end_of_the_session_if_that_is_sooner(self, bench, me):
        me.open(expiry_s=5, will=will_of(b"w", delay_s=10))
        me.close()
        bench.run(5.5)
        assert bench.heard() == [b"w"]
        bench.run(10)
        assert bench.heard() == []

    def test_at_once_if_that_ends_at_once(self, bench, me):
        me.open(expiry_s=0, will=will_of(b"w", delay_s=10))
        me.close()
        assert bench.heard() == [b"w"]

    @pytest.mark.parametrize(
        ("delay_s", "clean", "expiry_s", "comes"), [(0, False, 100, True), (10, False, 100, False), (10, True, 100, True), (10, False, 0, True)]
    )
    def test_taken_over(self, bench, me, other, delay_s, clean, expiry_s, comes):
        me.open(expiry_s=expiry_s, will=will_of(b"w", delay_s=delay_s))
        other.open(clean=clean)
        assert bench.heard() == [b"w"] * comes
        bench.run(50)
        assert bench.heard() == []

    def test_delayed_and_dropped_with_the_session(self, bench, me, other):
        me.open(will=will_of(b"w", delay_s=10))
        me.close()
        other.open(clean=True)
        assert bench.heard() == [b"w"]

    def test_of_who_went_with_the_process(self, bench, me):
        me.open(will=will_of(b"w"))
        bench = bench.crash()
        bench.run(5)
        assert bench.heard() == [b"w"]
        bench = bench.crash()
        bench.run(5)
        assert bench.heard() == []

    def test_delayed_over_a_restart(self, bench, me, other):
        me.open(will=will_of(b"w", delay_s=50))
        other.open("t", will=will_of(b"v", delay_s=50))
        me.close()
        bench.run(20)
        bench = bench.crash()
        bench.run(29)
        assert bench.heard() == []
        bench.run(2)
        assert bench.heard() == [b"w"]
        bench.run(25)
        assert bench.heard() == [b"v"]

    def test_retained(self, bench, me, other):
        will = will_of(b"w")
        will.retained = True
        me.open(will=will)
        me.close()
        assert bench.heard() == [b"w"]
        assert bench.queue("entrepot.retained").depth() == 1

    def test_where_there_is_no_room_it_waits(self, bench, me):
        me.open(will=will_of(b"w"))
        bench.broker.set_refusing(Refused(Reason.LIMIT, "full"))
        me.close()
        bench.run(5)
        bench.broker.set_refusing(None)
        bench.run(2)
        assert bench.heard() == [b"w"]

    def test_where_its_exchange_is_gone_it_is_dropped(self, bench, me, other):
        other.ask(r.DeclareExchange("e", "topic"))
        will = will_of(b"w")
        will.address = b"\x01e" + will.address[10:]
        me.open(expiry_s=10, will=will)
        other.ask(r.DeleteExchange("e"))
        me.close()
        bench.run(12)
        assert bench.figure("wills_dropped_total") == 1
        assert not bench.exists("s")


class TestPermissions:
    class Some(AllowAll):
        """`allowed`: what this one may."""

        def __init__(self):
            self.denied = set()

        def authorize(self, principal, action, namespace, kind, name):
            if (action.name, name) in self.denied:
                raise Refused(Reason.NOT_PERMITTED, "no")

    @pytest.fixture
    def bench(self, monkeypatch):
        monkeypatch.setattr(SessionBench, "authorizer", self.Some())
        return SessionBench()

    def test_to_make_its_queue(self, bench, me):
        bench.authorizer.denied = {("CONFIGURE", "s")}
        assert reason(me.open) is Reason.NOT_PERMITTED
        assert not me.open(expiry_s=0)

    def test_to_clear_what_another_has(self, bench, me, other):
        me.open()
        bench.authorizer.denied = {("CONFIGURE", "s")}
        assert reason(other.open, expiry_s=0, clean=True) is Reason.NOT_PERMITTED
        assert me.lost == []

    def test_of_its_will_when_it_is_opened(self, bench, me):
        bench.listen()
        bench.authorizer.denied = {("WRITE", "amq.topic")}
        assert reason(me.open, will=will_of(b"w")) is Reason.NOT_PERMITTED
        bench.authorizer.denied = set()
        me.open(will=will_of(b"w"))
        bench.authorizer.denied = {("WRITE", "amq.topic")}
        me.close()
        assert bench.heard() == [b"w"]


class TestNumbers:
    def test_of_what_is_published_come_back(self, bench, me, other):
        me.open()
        assert me.once(b"1", b"2", b"3", numbers=[7, 8, 2]) == []
        assert other.open()
        assert other.session.incoming == [(2, 1), (7, 2)]
        other.release_incoming(7)
        assert me.bench.connect().open()

    def test_released_they_are_forgotten(self, bench, me):
        me.open()
        me.once(b"1", b"2", numbers=[65535, 1])
        me.release_incoming(65535)
        bench = bench.crash()
        again = bench.connect()
        again.open()
        assert again.session.incoming == [(1, 1)]
        again.release_incoming(1)
        assert len(bench.rows()) == 1

    def test_those_of_what_leads_nowhere_too(self, bench, me, other):
        me.open()
        call = me.submit_once(b"1", numbers=[3])
        bench.run()
        assert call.request.publishes[0].unroutable
        assert other.open()
        assert other.session.incoming == [(3, 1)]

    def test_but_not_those_of_what_is_nacked(self, bench, me, other):
        other.declare("q", x_max_length=2, x_overflow="reject-publish")
        other.ask(r.Bind("amq.topic", "q", "queue", "x"))
        me.open()
        call = me.wait_for(me.submit_once(b"1", b"2", b"3", b"4", numbers=[10, 11, 20, 21]))
        assert call.result == [(20, 2)]
        assert call.request.publishes[0].nacked == [2, 3]
        other.open()
        assert other.session.incoming == [(10, 2)]

    def test_nor_where_that_is_in_memory(self, bench, me, other):
        other.declare("q", durable=False, x_max_length=2, x_overflow="reject-publish")
        other.ask(r.Bind("amq.topic", "q", "queue", "x"))
        bench.listen("x")
        me.open()
        call = me.wait_for(me.submit_once(b"1", b"2", b"3", numbers=[10, 11, 12]))
        assert call.result == [(12, 1)]
        assert call.request.publishes[0].nacked == [2]
        other.open()
        assert other.session.incoming == [(10, 2)]

    def test_refused_nothing_is_done(self, bench, me, other):
        me.open()
        run = me.run_of(b"1", exchange="nowhere")
        assert reason(me.ask, s.PublishOnce(me.session.number, [me.run_of(b"0", key="s"), run], [(1, 2)])) is Reason.NOT_FOUND
        assert bench.queue("s").depth() == 0
        other.open()
        assert other.session.incoming == []

    def test_of_several_publishes(self, bench, me, other):
        bench.listen("x")
        me.open()
        runs = [me.run_of(b"1", b"2", key="x", exchange="amq.topic"), me.run_of(b"3", key="none", exchange="amq.topic")]
        assert me.ask(s.PublishOnce(me.session.number, runs, [(1, 3)])) == []
        assert [run.unroutable for run in runs] == [False, True]
        assert bench.heard() == [b"1", b"2"]
        other.open()
        assert other.session.incoming == [(1, 3)]

    def test_of_what_was_delivered_and_settled(self, bench, me, other):
        me.open()
        me.bind()
        me.put(b"1", b"2", b"3", exchange="amq.topic", key="a")
        me.consume(queue="s")
        bench.run()
        me.release_outgoing(1, 2, count=2)
        other.open()
        assert other.session.released == [(1, 2)]
        other.complete(1)
        other.consume(queue="s")
        bench.run()
        assert other.bodies() == [b"3"]
        again = bench.connect()
        again.open()
        assert again.session.released == [(2, 1)]

    def test_over_a_restart(self, bench, me):
        me.open()
        me.bind()
        me.put(b"1", b"2", exchange="amq.topic", key="a")
        me.consume(queue="s")
        bench.run()
        me.release_outgoing(1, count=1)
        bench = bench.crash()
        again = bench.connect()
        again.open()
        assert again.session.released == [(1, 1)]
        again.consume(queue="s")
        bench.run()
        assert again.bodies() == [b"2"]
