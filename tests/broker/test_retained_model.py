"""Last values against a dictionary, over crashes; and many of them, of which little is in memory."""

import random

import pytest
from retained_bench import RetainedBench, check_rows

from entrepot.broker.calls.port import DONE
from entrepot.broker.calls.retained_requests import RETAINED_QUEUE, CopyRetained

STEPS = 60


class Model:
    """What there may be: a dictionary, and after a crash those that were there after each of the calls of which nothing was heard."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.bench = RetainedBench(seed)
        self.me = self.bench.connect()
        self.known = {}  # key -> payload, as all calls leave it
        self.open = []  # calls in order, with what they did
        self.count = 0

    def run(self):
        for _ in range(STEPS):
            self.chance.choice([self.retain, self.retain, self.retain, self.remove, self.wait, self.look, self.restart, self.crash])()
        self.wait()
        self.look()
        check_rows(self.bench)

    def _begin(self, key, payload):
        self.open.append((self.me.retaining(key, payload, expiry_s=self.chance.choice([-1, 4_000_000_000])), key, payload))

    def retain(self):
        self.count += 1
        self._begin(f"{self.chance.choice('ab')}.{self.chance.randrange(4)}", b"%d" % self.count)

    def remove(self):
        self._begin(f"{self.chance.choice('ab')}.{self.chance.randrange(4)}", b"")

    def _apply(self, calls):
        for _, key, payload in calls:
            self.known.pop(key, None)
            if payload:
                self.known[key] = payload

    def wait(self):
        self.bench.loop.run_until(lambda: all(call.outcome == DONE for call, *_ in self.open), 60)
        self._apply(self.open)
        self.open = []

    def look(self):
        self.wait()
        assert dict(self.me.copied("#")) == self.known
        assert dict(self.me.copied("a.*")) == {key: payload for key, payload in self.known.items() if key[0] == "a"}

    def restart(self):
        self.wait()
        self.bench = self.bench.reopen()
        self.me = self.bench.connect()

    def crash(self):
        for _ in range(self.chance.randrange(30)):
            self.bench.loop.step()
        heard = next((index for index, (call, *_) in enumerate(self.open) if call.outcome != DONE), len(self.open))
        self.bench.disk.crash()
        self.bench = self.bench.start_again()
        self.me = self.bench.connect()
        if self.bench.exists(RETAINED_QUEUE):
            check_rows(self.bench)
        found = dict(self.me.copied("#"))
        self._apply(self.open[:heard])
        left = self.open[heard:]
        self.open = []
        while self.known != found:
            assert left, (self.known, found)
            self._apply(left[:1])
            del left[:1]


@pytest.mark.parametrize("seed", range(20))
def test_crashes_leave_what_some_of_the_calls_had_done(seed):
    Model(seed).run()


@pytest.mark.long
def test_a_thousand_crashing_runs():
    for seed in range(1000, 2000):
        Model(seed).run()


# ---- many


def many(count):
    """All of them reach a queue a page at a time; how much of the log's bytes was in memory at the most, besides the cache."""
    bench = RetainedBench()
    me = bench.connect()
    for first in range(0, count, 1000):
        calls = [me.retaining(f"home.{number % 97}.{number}", b"x" * 100) for number in range(first, min(first + 1000, count))]
        bench.loop.run_until(lambda calls=calls: all(call.outcome == DONE for call in calls), 600)
    bench = bench.reopen()
    me = bench.connect()
    me.declare()
    me.consume("c", limit=512)
    after, copied, most = b"", 0, 0
    while after is not None:
        number, after = me.ask(CopyRetained("home.#", "q", after=after))
        copied += number
        me.accept_copies()
        if copied % 8 == 0:
            most = max(most, bench.held_bytes())
    bench.run()
    me.accept_copies()
    assert copied == count
    assert len({key for key, *_ in me.copies["c"]}) == count
    return most


@pytest.mark.once
def test_three_thousand_come_a_page_at_a_time():
    assert many(3000) < 1 << 20


@pytest.mark.long
def test_a_hundred_thousand_need_no_more():
    assert many(100_000) < 1 << 20
