"""What memory is taken by what waits in many queues: a queue's, and none for each message; and what is left of it when it was read, or is gone."""

import gc
from contextlib import contextmanager
from dataclasses import replace

import pytest
from broker_bench import SMALL, Bench, bytes_at_hand

from entrepot.broker.calls import requests as r
from entrepot.broker.queue.queue import Queue
from entrepot.model.entry import make_entry, stored_entry

QUEUES, MESSAGES = 100, 20_000
SETTINGS = replace(SMALL, index_rows_max=4096)
BODY = bytes(100)
ROW_BYTES = 24


@contextmanager
def uncollected():
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def names(count=QUEUES):
    return [f"q{number}" for number in range(count)]


def fill(bench, me, messages, count=QUEUES):
    """Singly, to each queue in turn: so each is an entry of its own."""
    for _ in range(messages // count):
        for name in names(count):
            me.publish(BODY, key=name, confirm=False)
        bench.run(0.01)
    bench.run(2)


def waiting(bench):
    """How many wait, and the bytes that the store has in memory for them."""
    rows = sum(log.rows.count for log in bench.store.logs())
    return sum(bench.queue(name).ready() for name in names()), bench.store.statistics()["cached_bytes"] + rows * ROW_BYTES


@pytest.fixture
def bench():
    return Bench(settings=SETTINGS)


@pytest.fixture
def me(bench):
    return bench.connect()


def test_what_waits_for_nobody_takes_no_memory_by_the_message(bench, me):
    for name in names():
        me.declare(name)
    fill(bench, me, MESSAGES // 2)
    fill(bench, me, MESSAGES // 2)
    count, size = waiting(bench)
    assert count == MESSAGES
    assert size < MESSAGES * 10
    assert bytes_at_hand() < MESSAGES * 5
    again = bench.reopen()
    count, size = waiting(again)
    assert count == MESSAGES
    assert size < MESSAGES * 10


class TestRead:
    """From the disk, where a stretch has all that a queue has."""

    MESSAGES = 4000

    @pytest.fixture
    def bench(self):
        bench = Bench(settings=SETTINGS)
        me = bench.connect()
        for name in names():
            me.declare(name)
        fill(bench, me, self.MESSAGES)
        return bench.reopen()

    def test_to_the_end(self, bench, me):
        for name in names():
            me.consume(name, name, auto_settle=True)
        bench.run(5)
        assert all(len(me.bodies(name)) == self.MESSAGES // QUEUES for name in names())
        me.done.clear()
        assert bytes_at_hand() < 10_000
        assert bench.broker.hub.located_bytes == 0

    def test_a_little_by_one_who_leaves(self, bench, me):
        for name in names():
            me.consume(name, name, limit=3)
        bench.run(5)
        assert all(len(me.bodies(name)) == 3 for name in names())
        assert bytes_at_hand() > self.MESSAGES * len(BODY) // 2
        me.close()
        bench.run()
        me.done.clear()
        assert bytes_at_hand() < 10_000

    def test_one_who_leaves_before_it_is_read(self, bench, me):
        for name in names():
            me.submit(r.Consume(name, name, limit=3))
        bench.run(0.002)
        me.close()
        bench.run(5)
        me.done.clear()
        me.got.clear()
        me.held.clear()
        assert bytes_at_hand() < 10_000

    def test_a_little_by_gets(self, bench, me):
        bench.broker.hub.located_max_bytes = 100_000
        for name in names():
            assert me.get(name)[0] == BODY
            bench.run(0.01)
        assert bytes_at_hand() < 50_000
        for name in names():  # and they go on where they were
            assert me.get(name, auto_settle=True)[0] == BODY
        assert sum(bench.queue(name).ready() for name in names()) == self.MESSAGES - 2 * QUEUES


def test_a_queue_that_is_deleted_is_gone_without_the_collector(bench, me):
    """There are programs that make one for each request; the collector looks at what is old once in a blue moon."""
    me.declare("other")
    with uncollected():
        for name in names(10):
            me.declare(name, durable=name != "q1")
            me.consume("c", name, limit=3)
            bench.run(0.01)
            me.ask(r.DeleteQueue(name))
        bench.run()
        assert sum(isinstance(one, Queue) and one.ended for one in gc.get_objects()) == 0


def test_entries_are_not_the_collectors():
    entry = make_entry(2, 1, 0, b"", b"x", 1)
    stored = stored_entry(0, entry)
    is_compiled = not hasattr(entry, "__dict__") and "built-in" in repr(make_entry)
    assert [gc.is_tracked(entry), gc.is_tracked(stored)] == [not is_compiled] * 2
