"""Sessions that are opened while their connections end, many are, or they may not be kept."""

import pytest
from kept_session_bench import SessionBench

from entrepot.broker.calls.port import DONE, PENDING, REFUSED
from entrepot.model.errors import Reason, Refused
from entrepot.model.principal import Principal


@pytest.fixture
def bench():
    return SessionBench()


@pytest.fixture
def me(bench):
    return bench.connect()


@pytest.fixture
def other(bench):
    return bench.connect()


def test_a_connection_that_ends_amid_opening_leaves_it(bench):
    me = bench.connect()
    call = me.try_open()
    me.close()
    bench.run()
    assert call.outcome in (PENDING, DONE)
    assert bench.figure("sessions_attached") == 0
    assert not bench.connect().open() or bench.exists("s")


def test_many_connect_and_go(bench):
    for turn in range(3):
        for number in range(10):
            one = bench.connect(Principal("x"))
            assert one.open(f"s{number}") == (turn > 0)
            one.close()
    bench.run()
    assert bench.figure("sessions_kept") == 10
    assert bench.figure("sessions_attached") == 0
    assert len(bench.rows()) == 10


def test_refused_quota_leaves_nobody_attached(bench, me, other, monkeypatch):
    def refuse(*_):
        raise Refused(Reason.LIMIT, "no more")

    monkeypatch.setattr(bench.catalogue.quotas, "check", refuse)
    call = me.try_open()
    bench.run()
    assert call.outcome == REFUSED
    assert bench.figure("sessions_attached") == 0
    monkeypatch.undo()
    assert not other.open()
