"""A crash at every turn of the loop, so after every commit, of what goes by an intent: nothing is lost, nothing comes twice, and it comes to rest."""

import pytest
from away_bench import AwayBench
from timed_bench import TimedConnection

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.queue_requests import ListMoves, StartMove
from entrepot.broker.front.inbox import Inbox
from entrepot.broker.outbox.outbox import Outbox
from entrepot.broker.outbox.taken import Taken
from entrepot.broker.state import DELETE
from entrepot.broker.subscription.consumer import BROKER_ID

TURNS = 120  # more than any of these needs to come to rest
BODIES = [b"a", b"b", b"c"]


class Letters:
    """A queue whose consumer rejects all; its route leads to queues here and elsewhere."""

    targets = ("here", "away")

    def prepare(self, bench):
        me = TimedConnection(bench)
        for name in self.targets:
            me.declare(name)
        me.declare("q", x_dead_letter_exchange="graves")
        me.ask(r.DeclareExchange("graves", "fanout", durable=True))
        for name in self.targets:
            me.ask(r.Bind("graves", name, "queue", ""))
        me.put(*BODIES)
        me.consume()
        bench.run()
        bench.close_shard_of("away")
        me.reject()

    def check(self, bench):
        for name in self.targets:
            assert sorted(bench.bodies("q") + bench.bodies(name)) == BODIES, name
            assert bench.bodies(name) == BODIES[: len(bench.bodies(name))]


class Redrive:
    """A queue whose messages are received too often."""

    def prepare(self, bench):
        door = TimedConnection(bench)
        door.create("away")
        door.create(dead_letter_queue="away", receive_max=1, visibility_ms=1_000)
        door.send(*BODIES)
        door.receive()
        bench.run(1.1)
        bench.close_shard_of("away")
        door.start_receive()

    def check(self, bench):
        assert sorted(bench.bodies("q") + bench.bodies("away")) == BODIES
        door = TimedConnection(bench)
        assert {message.deliveries for message in door.receive(queue="away")} <= {2}


class Move:
    """A task that moves what has died."""

    def prepare(self, bench):
        Redrive.prepare(self, bench)
        door = TimedConnection(bench)
        bench.open_shard_of("away")
        bench.run()
        door.create("new")
        bench.close_shard_of("new")
        door.ask(StartMove("away", "new"))

    def check(self, bench):
        assert sorted(bench.bodies("away") + bench.bodies("new")) == BODIES
        (task,) = TimedConnection(bench).ask(ListMoves("away"))
        assert task.moved == len(bench.bodies("new"))
        assert task.status == "COMPLETED" if task.moved == 3 else "RUNNING"


def turns(bench, count):
    for _ in range(count):
        bench.loop.step()


def crashed(bench, how):
    getattr(bench.disk, how)()
    bench = bench.start_again()
    bench.run(3)
    assert bench.figure("intents") == 0
    return bench


def crash_while_noted(story, how, count):
    """Crash `count` turns after the death, while the target is away."""
    bench = AwayBench()
    story.prepare(bench)
    turns(bench, count)
    noted = bench.figure("intents")
    story.check(crashed(bench, how))
    return noted


def crash_while_handed_over(story, how, count):
    """Crash `count` turns after the target's shard opens; whether it had come to rest."""
    bench = AwayBench()
    story.prepare(bench)
    bench.run()
    assert bench.figure("intents") > 0
    (shard,) = bench.store.closed
    bench.broker.shard_moves.open(shard, bench.store.epoch, lambda: None)
    turns(bench, count)
    at_rest = bench.figure("intents") == 0
    story.check(crashed(bench, how))
    return at_rest


@pytest.mark.parametrize("how", ["kill", "crash"])
@pytest.mark.parametrize("story", [Letters(), Redrive(), Move()], ids=lambda story: type(story).__name__)
def test_at_every_turn(story, how):
    assert [bool(crash_while_noted(story, how, count)) for count in range(12)].count(True) > 2
    for count in range(TURNS):
        if crash_while_handed_over(story, how, count):
            break
    else:
        pytest.fail("it does not come to rest")
    assert count > 3


# ---- what these must notice


def notices(story=Letters):
    with pytest.raises(AssertionError):
        test_at_every_turn(story(), "kill")


@pytest.mark.once
def test_a_source_that_settles_before_its_target(monkeypatch):
    durable = Outbox._durable

    def mutated(self, intent):
        queue = self._sources[intent.log_id].queue
        queue.subscription.settle(BROKER_ID, intent.first, intent.count)
        queue.discard_settled()
        self._store_of(intent.shard).fold(intent.shard, intent.key(), DELETE)
        durable(self, intent)

    monkeypatch.setattr(Outbox, "_durable", mutated)
    notices()


@pytest.mark.once
def test_a_target_that_forgets_what_it_has_taken(monkeypatch):
    def forgetful(_self, handover):
        taken = Taken()
        taken.last = handover.sequence - 1
        return taken

    monkeypatch.setattr(Inbox, "_taken", forgetful)
    notices()


def test_nobody_is_given_what_is_on_its_way():
    bench = AwayBench()
    Letters().prepare(bench)
    bench.run()
    bench.disk.kill()
    bench = bench.start_again()
    me = TimedConnection(bench)
    me.consume()
    bench.run()
    assert me.bodies() == []
    assert bench.bodies("away") == BODIES


@pytest.mark.once
def test_intents_that_are_loaded_after_their_records_were_given_to_somebody(monkeypatch):
    opened = Outbox.open
    monkeypatch.setattr(Outbox, "open", lambda self, shards: self._hub.scheduler.call_later(0.01, opened, self, list(shards)))
    with pytest.raises(AssertionError):
        test_nobody_is_given_what_is_on_its_way()
