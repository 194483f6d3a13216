"""Deadlines: put off, stopped, and late because the process stood still."""

import pytest

from entrepot.broker.groups.desk import Deadline
from entrepot.simulation.loop import SimulatedLoop


class Stalling:
    """A scheduler whose process can stand still: timers then run late."""

    def __init__(self):
        self.now_s = 0.0
        self.timers = []

    def time(self):
        return self.now_s

    def call_later(self, delay_s, callback):
        self.timers.append([self.now_s + delay_s, callback])
        return self

    def cancel(self):
        self.timers.clear()

    def pass_time(self, seconds):
        """All at once."""
        self.now_s += seconds
        due = [timer for timer in self.timers if timer[0] <= self.now_s + 1e-9]
        self.timers = [timer for timer in self.timers if timer not in due]
        for _, callback in due:
            callback()


@pytest.fixture
def loop():
    return SimulatedLoop(1)


def test_expires_once(loop):
    expired = []
    deadline = Deadline(loop, lambda: expired.append(loop.time()))
    assert not deadline.is_running
    deadline.put_off(1000)
    assert deadline.is_running
    loop.run_for(5)
    assert expired == [1.0]
    assert not deadline.is_running


def test_put_off_later_and_earlier(loop):
    expired = []
    deadline = Deadline(loop, lambda: expired.append(loop.time()))
    deadline.put_off(1000)
    loop.run_for(0.5)
    deadline.put_off(1000)
    deadline.put_off(3000)
    loop.run_for(2)
    assert expired == []
    deadline.put_off(100)
    loop.run_for(2)
    assert expired == [pytest.approx(2.6)]


def test_stopped(loop):
    deadline = Deadline(loop, lambda: pytest.fail("it was stopped"))
    deadline.put_off(1000)
    deadline.stop()
    loop.run_for(5)
    deadline.stop()


def test_a_process_that_stood_still_hears_others_first():
    clock, expired = Stalling(), []
    heard, silent = (Deadline(clock, lambda name=name: expired.append(name)) for name in ("heard", "silent"))
    heard.put_off(6000)
    silent.put_off(6000)
    clock.pass_time(60)
    assert expired == []
    heard.put_off(6000)
    clock.pass_time(2)
    clock.pass_time(0.5)
    assert expired == ["silent"]
