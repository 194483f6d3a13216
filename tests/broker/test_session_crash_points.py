"""A crash at every turn of the loop, so after every commit, of what a session publishes, settles and leaves: all is there, or nothing, and wills once."""

import pytest
from kept_session_bench import SessionBench, will_of

from entrepot.broker.calls import requests as r
from entrepot.broker.calls import session_requests as s
from entrepot.broker.calls.port import DONE, make_settle

TURNS = 60  # more than any of these needs to come to rest


class Publishing:
    """Two records, for a queue of another shard and for its own."""

    def prepare(self, bench, me):
        me.declare("q")
        me.ask(r.Bind("amq.topic", "q", "queue", "x"))
        me.open(expiry_s=s.FOREVER_S)
        me.bind()

    def act(self, bench, me):
        return me.submit_once(b"1", b"2", numbers=[7, 8])

    def check(self, bench, me, call):
        there = me.session.incoming == [(7, 2)]
        assert there or me.session.incoming == []
        assert there or call.outcome != DONE
        for name in ("q", "s"):
            assert bench.queue(name).depth() == 2 * there, name


class Settling:
    """What it was given it has, and its numbers are released."""

    def prepare(self, bench, me):
        me.open(expiry_s=s.FOREVER_S)
        me.bind()
        me.put(b"1", b"2", exchange="amq.topic", key="x")
        me.consume(queue="s")
        bench.run()

    def act(self, bench, me):
        held = me.held["c"]
        settles = [make_settle(1, consumer_id, offset, 1, 0) for _, consumer_id, offset in held]
        return me.submit(s.ReleaseOutgoing(me.session.number, settles, [(1, 2)]))

    def check(self, bench, me, call):
        there = me.session.released == [(1, 2)]
        assert there or me.session.released == []
        assert there or call.outcome != DONE
        assert bench.queue("s").depth() == (0 if there else 2)


class Releasing:
    """Its numbers are free again."""

    def prepare(self, bench, me):
        me.open(expiry_s=s.FOREVER_S)
        me.once(b"1", b"2", numbers=[7, 8])

    def act(self, bench, me):
        return me.submit(s.ReleaseIncoming(me.session.number, [(7, 1)]))

    def check(self, bench, me, call):
        assert me.session.incoming in ([(7, 2)], [(8, 1)])
        assert me.session.incoming == [(8, 1)] or call.outcome != DONE


class Lost:
    """Its will comes once, whatever else."""

    delay_s = 0

    def prepare(self, bench, me):
        bench.listen()
        me.open(expiry_s=s.FOREVER_S, will=will_of(b"w", delay_s=self.delay_s))

    def act(self, bench, me):
        me.close()

    def check(self, bench, me, call):
        assert bench.heard() == [b"w"]


class LostFor(Lost):
    """The same, if nobody is back in time."""

    delay_s = 1

    def check(self, bench, me, call):
        bench.run(10)
        assert len(bench.heard()) <= 1  # `me` may have been in time


class Left(Lost):
    """It comes not, if it was said so in time."""

    def act(self, bench, me):
        return me.submit(s.CloseSession(me.session.number))

    def check(self, bench, me, call):
        assert bench.heard() in ([], [b"w"] * (call.outcome != DONE))


class Cleared:
    """A clean start: there is nothing of before, or all of it."""

    def prepare(self, bench, me):
        me.open(expiry_s=s.FOREVER_S)
        me.bind()
        me.once(b"1", numbers=[7])

    def act(self, bench, me):
        return bench.connect().try_open(clean=True)

    def check(self, bench, me, call):
        there = me.session.incoming == [(7, 1)]
        assert there or me.session.incoming == []
        assert not there or call.outcome != DONE
        assert bench.queue("s").depth() == there
        assert bool(bench.catalogue.namespace("public/default").queues["s"].bindings_in) == there


def crash_after(story, how, count):
    """Whether all was said and done by then."""
    bench = SessionBench()
    me = bench.connect()
    story.prepare(bench, me)
    call = story.act(bench, me)
    for _ in range(count):
        bench.loop.step()
    at_rest = call is None or call.outcome == DONE
    bench = bench.crash(how)
    me = bench.connect()
    assert me.open()
    story.check(bench, me, call)
    return at_rest and count > 12


@pytest.mark.parametrize("how", ["kill", "crash"])
@pytest.mark.parametrize("story", [Publishing(), Settling(), Releasing(), Lost(), LostFor(), Left(), Cleared()], ids=lambda story: type(story).__name__)
def test_at_every_turn(story, how):
    for count in range(TURNS):
        if crash_after(story, how, count):
            break
    else:
        pytest.fail("it does not come to rest")
