"""Events of a connection take turns: what is beyond the budget comes later, in its order, and before whatever came after it."""

import re

import pytest
from amqp_wire import entry, publish, route, table
from session_bench import Client, complete, frame

from entrepot.broker.calls.port import Publish
from entrepot.net.turns import TURN_STEPS
from entrepot.protocols.amqp091.session import CONTROL_STEPS, HEADERS_RUN, PIECE_STEPS


class TestTurns:
    """What arrives beyond a turn's budget of steps has a later turn (net/turns.py)."""

    def patient(self):
        """A client who says himself when the loop's turns are."""
        client = Client().open().open_channel()
        client.holds = True
        client.door.asked.clear()
        return client

    def names(self, client):
        return [request.name for request in client.door.requests]

    def test_a_flood_of_methods_takes_turns_and_keeps_its_order(self):
        client = self.patient()
        client.door.answer = lambda call: complete(call, ("q", 0, 0))
        asked = [f"q{number}" for number in range(1000)]
        client.send(b"".join(frame("queue.declare", queue=name, nowait=True) for name in asked))
        counts = [len(self.names(client))]
        assert client.session.paused
        client.send(frame("queue.declare", queue="last", nowait=True))
        while client.turn():
            counts.append(len(self.names(client)))
        assert self.names(client) == [*asked, "last"]
        assert max(after - before for before, after in zip([0, *counts], counts, strict=False)) <= (TURN_STEPS + PIECE_STEPS) // CONTROL_STEPS
        assert not client.session.paused

    def test_what_the_broker_says_a_publish_has_cost_counts(self):
        client = self.patient()

        def costly(call):
            call.attachment.spent += TURN_STEPS // 2

        client.door.answer = costly
        client.send(b"".join(publish(1, route(b"", str(number).encode()), b"x") for number in range(6)))
        counts = [len(client.door.publishes)]
        while client.turn():
            counts.append(len(client.door.publishes))
        assert counts[-1] == 6
        assert max(after - before for before, after in zip([0, *counts], counts, strict=False)) <= 2

    def test_what_fails_by_a_bug_in_a_later_turn_ends_its_connection(self):
        client = self.patient()

        def failing(call):
            call.attachment.spent += TURN_STEPS
            if len(client.door.publishes) > 3:
                raise AssertionError("a bug")

        client.door.answer = failing
        client.send(b"".join(publish(1, route(b"", str(number).encode()), b"x") for number in range(6)))
        while len(client.door.publishes) < 3:
            client.turn()
        with pytest.raises(AssertionError):
            client.turn()
        assert client.session.closing
        before = len(client.door.publishes)
        while client.turn():
            pass
        assert len(client.door.publishes) == before

    WITH_HEADERS = b"\x20\x00" + table(entry(b"h", b"I", bytes(4)))

    def numbered(self, count):
        return b"".join(publish(1, route(b"e", b"k"), b"%03d" % number, self.WITH_HEADERS) for number in range(count))

    def patient_by_headers(self):
        """A patient client, whose publishes go where headers say and cost a turn each."""

        def slow(call):
            if isinstance(call, Publish):
                call.attachment.spent += TURN_STEPS

        client = self.patient()
        client.door.headers = True
        client.door.answer = slow
        return client

    def test_messages_with_headers_come_in_long_runs(self):
        client = self.patient()
        client.send(self.numbered(200))
        while client.turn():
            pass
        assert max(call.count for call in client.door.publishes) > 50

    @pytest.mark.parametrize("held", [False, True], ids=["at once", "behind an answer"])
    def test_where_headers_say_the_way_they_come_in_short_runs_which_take_turns(self, held):
        client = self.patient_by_headers()
        client.send((frame("queue.purge", queue="q") if held else b"") + self.numbered(21))
        if held:
            assert client.door.publishes == []
            complete(client.door.asked[-1], 0)
        turns = 0
        while client.turn():
            turns += 1
        publishes = client.door.publishes
        assert {call.count for call in publishes} <= {1, HEADERS_RUN - 1, HEADERS_RUN}
        assert turns >= len(publishes) - 1 >= 5
        assert [call.body_bytes for call in publishes] == [3 * call.count for call in publishes]
        bodies = [data for call in publishes for data in re.findall(rb"\x00\x00\x00\x03.{%d}(\d\d\d)" % len(self.WITH_HEADERS), call.data, re.DOTALL)]
        assert bodies == [b"%03d" % number for number in range(21)]

    def test_what_waited_for_an_answer_comes_before_the_end_of_the_connection(self):
        """The client has its answer, and closes, while what it sent before is still in its turns."""
        client = self.patient_by_headers()
        client.send(frame("queue.purge", queue="q") + self.numbered(40))
        complete(client.door.asked[-1], 0)
        assert client.names()[-1] == "queue.purge_ok"
        client.send(frame("connection.close", 0, reply_code=200, reply_text="", class_id=0, method_id=0))
        assert sum(call.count for call in client.door.publishes) < 40
        while client.turn():
            pass
        assert sum(call.count for call in client.door.publishes) == 40
        assert client.names()[-1] == "connection.close_ok"
        assert client.session.deferred_count == 0

    def test_messages_with_further_routing_keys_come_in_short_runs(self):
        client = self.patient()
        keys = b"\x20\x00" + table(entry(b"CC", b"A", (6).to_bytes(4, "big") + b"S\0\0\0\1z"))
        client.send(publish(1, route(b"e", b"k"), b"x", keys) * 21)
        while client.turn():
            pass
        assert [call.count for call in client.door.publishes] == [HEADERS_RUN] * 5 + [1]
        assert all(call.scattered for call in client.door.publishes)

    def test_who_has_gone_is_left_alone(self):
        client = self.patient()
        client.door.answer = lambda call: complete(call, ("q", 0, 0))
        client.send(frame("queue.declare", queue="q", nowait=True) * 1000)
        client.session.lost("gone")
        before = len(client.door.requests)
        while client.turn():
            pass
        assert len(client.door.requests) == before
