"""What a session asks waits in its order while its owner is away, as long as it is certain that it was not done."""

import pytest

from entrepot.broker.calls.port import DONE, PENDING, REFUSED, UNAVAILABLE, UNKNOWN, Attachment, Sink, make_ask
from entrepot.broker.operations import stalls as of_stalls
from entrepot.broker.operations.stalls import WAITING_S, Stalls
from entrepot.model.errors import OutcomeUnknown, Reason, Refused, Unavailable
from entrepot.simulation.loop import SimulatedLoop


class Door:
    waits = True


class Session:
    name = "s"

    def __init__(self):
        self.door = Door()
        self.stalled = None


class Heard(Sink):
    def __init__(self):
        self.calls = []

    def completed(self, call):
        self.calls.append(call)


class Bench:
    """An owner that is `away`, or answers `later`."""

    def __init__(self):
        self.loop = SimulatedLoop(1)
        self.session = Session()
        self.is_there = True
        self.stalls = Stalls(self.loop, lambda _: self.is_there)
        self.sink = Heard()
        self.away = False
        self.error = None
        self.later = None
        self.done = []

    def ask(self, name):
        call = make_ask(1, name)
        call.attachment = Attachment()
        call.attachment.sink = self.sink
        call.attachment.closed = False
        self.stalls.begin(self.session, call, lambda done: self.attempt(name, done))
        return call

    def attempt(self, name, done):
        if self.away:
            raise Unavailable("away")
        if self.later is not None:
            self.later.append(done)
            return
        self.done.append(name)
        done(self.error, name)

    def names(self):
        return [call.request for call in self.sink.calls]


@pytest.fixture
def bench():
    return Bench()


def test_what_can_be_done_is_done_at_once(bench):
    call = bench.ask("a")
    assert (call.outcome, call.result, bench.session.stalled) == (DONE, "a", None)


def test_they_wait_and_are_done_in_order(bench):
    bench.away = True
    calls = [bench.ask(name) for name in "abc"]
    bench.loop.run_for(3)
    assert [call.outcome for call in calls] == [PENDING] * 3
    bench.away = False
    late = bench.ask("d")
    assert late.outcome == PENDING
    bench.loop.run_for(1)
    assert bench.done == bench.names() == list("abcd")
    assert bench.session.stalled is None
    bench.ask("e")
    assert bench.done[-1] == "e"


def test_what_was_asked_before_goes_before(bench):
    bench.later = []
    bench.ask("a")
    bench.ask("b")
    first, second = bench.later
    bench.later = None
    bench.away = True
    first(Unavailable("it has ended"), None)
    bench.ask("c")
    second(Unavailable("it has ended"), None)
    bench.away = False
    bench.loop.run_for(1)
    assert bench.done == list("abc")


@pytest.mark.parametrize(("error", "outcome"), [(OutcomeUnknown("?"), UNKNOWN), (Refused(Reason.LIMIT, "no"), REFUSED)])
def test_what_is_not_certain_or_refused_is_told(bench, error, outcome):
    bench.error = error
    assert bench.ask("a").outcome == outcome
    assert bench.session.stalled is None


def test_of_those_that_wait_one_is_refused_and_the_others_go_on(bench):
    bench.away = True
    calls = [bench.ask(name) for name in "ab"]
    bench.away, bench.error = False, Refused(Reason.LIMIT, "no")
    bench.loop.run_for(1)
    assert [call.outcome for call in calls] == [REFUSED, REFUSED]
    assert bench.session.stalled is None


def test_who_does_not_wait_is_told_at_once(bench):
    bench.session.door.waits = False
    bench.away = True
    assert bench.ask("a").outcome == UNAVAILABLE


def test_not_for_ever(bench):
    bench.away = True
    call = bench.ask("a")
    bench.loop.run_for(WAITING_S - 1)
    assert call.outcome == PENDING
    bench.loop.run_for(2)
    assert call.outcome == UNAVAILABLE
    assert bench.session.stalled is None


def test_not_too_many(bench, monkeypatch):
    monkeypatch.setattr(of_stalls, "STALLED_MAX", 2)
    bench.away = True
    assert [bench.ask(name).outcome for name in "abc"] == [PENDING, PENDING, UNAVAILABLE]


def test_of_a_session_that_is_lost_they_are_refused(bench):
    bench.away = True
    calls = [bench.ask(name) for name in "ab"]
    bench.is_there = False
    bench.loop.run_for(1)
    assert [call.error.reason for call in calls] == [Reason.TAKEN_OVER] * 2
    assert bench.session.stalled is None
