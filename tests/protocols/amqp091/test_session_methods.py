"""Every method of an open connection: what is asked of the port, how its answers come back, and in which order."""

import pytest
from amqp_wire import ack, publish, route, settle
from hypothesis import given, settings
from hypothesis import strategies as st
from session_bench import CAPABLE, HEADER, Client, closing, complete, frame, refuse

from both_modes import examples
from entrepot.broker.calls import requests as r
from entrepot.broker.calls.port import UNAVAILABLE, UNKNOWN, Ask
from entrepot.model.errors import OutcomeUnknown, Reason, Unavailable
from entrepot.protocols.amqp091.handlers import DEFERRED_MAX, HANDLERS
from entrepot.protocols.amqp091.handshake import Settings
from entrepot.protocols.amqp091.methods import BY_NAME
from entrepot.protocols.amqp091.outcomes import REASONS

Q = route(b"", b"q")


@pytest.fixture
def client():
    return Client().open().open_channel()


# method, arguments, the request, its result, what comes back
ASKED = [
    ("exchange.declare", {"durable": True}, r.DeclareExchange("e", "direct", durable=True), None, ("exchange.declare_ok", {})),
    ("exchange.declare", {"passive": True, "type": ""}, r.DeclareExchange("e", "", passive=True), None, ("exchange.declare_ok", {})),
    (
        "exchange.declare",
        {"internal": True, "auto_delete": True, "arguments": {"a": 1}},
        r.DeclareExchange("e", "direct", internal=True, auto_delete=True, arguments={"a": 1}),
        None,
        ("exchange.declare_ok", {}),
    ),
    ("exchange.delete", {"if_unused": True}, r.DeleteExchange("e", True), None, ("exchange.delete_ok", {})),
    ("exchange.bind", {"arguments": {"x": "y"}}, r.Bind("s", "d", "exchange", "k", {"x": "y"}), None, ("exchange.bind_ok", {})),
    ("exchange.unbind", {}, r.Bind("s", "d", "exchange", "k", {}, remove=True), None, ("exchange.unbind_ok", {})),
    (
        "queue.declare",
        {"exclusive": True, "arguments": {"x-max-length": 5}},
        r.DeclareQueue("q", exclusive=True, arguments={"x-max-length": 5}),
        ("q", 3, 4),
        ("queue.declare_ok", {"queue": "q", "message_count": 3, "consumer_count": 4}),
    ),
    (
        "queue.declare",
        {"queue": "", "passive": True},
        r.DeclareQueue("", passive=True),
        ("made up", 1 << 40, 0),
        ("queue.declare_ok", {"queue": "made up", "message_count": 0xFFFFFFFF, "consumer_count": 0}),
    ),
    ("queue.delete", {"if_empty": True}, r.DeleteQueue("q", if_empty=True), 5, ("queue.delete_ok", {"message_count": 5})),
    ("queue.purge", {}, r.PurgeQueue("q"), 6, ("queue.purge_ok", {"message_count": 6})),
    ("queue.bind", {}, r.Bind("e", "q", "queue", "k"), None, ("queue.bind_ok", {})),
    ("queue.bind", {"routing_key": ""}, r.Bind("e", "q", "queue", ""), None, ("queue.bind_ok", {})),
    ("queue.unbind", {}, r.Bind("e", "q", "queue", "k", remove=True), None, ("queue.unbind_ok", {})),
    ("basic.qos", {"prefetch_count": 9, "global_qos": True}, r.StreamLimit(9), None, ("basic.qos_ok", {})),
    ("basic.get", {"no_ack": True}, r.Get("q", True), None, ("basic.get_empty", {})),
]


@pytest.mark.parametrize(("name", "arguments", "request_", "result", "answer"), ASKED)
class TestAsked:
    def test_answered_when_it_completes(self, client, name, arguments, request_, result, answer):
        assert client.say(name, **arguments) == []
        assert client.door.requests == [request_]
        complete(client.door.pending[0], result)
        assert client.hear() == [(1, *answer)]
        assert client.session.deferred_count == 0

    def test_answered_at_once(self, client, name, arguments, request_, result, answer):
        client.door.answer = lambda call: complete(call, result)
        assert client.say(name, **arguments) == [(1, *answer)]

    def test_not_waited_for(self, client, name, arguments, request_, result, answer):
        client.door.answer = lambda call: complete(call, result)
        try:
            said = client.say(name, nowait=True, **arguments)
        except TypeError:
            return  # it has no no-wait
        assert said == []
        assert len(client.door.requests) == 1

    @pytest.mark.parametrize("reason", list(Reason))
    def test_refused(self, client, name, arguments, request_, result, answer, reason):
        client.send(frame(name, **arguments))
        refuse(client.door.pending[0], reason, "because")
        said = client.hear()
        kind, code, culprit = closing(said)
        expected = 503 if reason is Reason.NOT_SUPPORTED and name.startswith("exchange") else int(REASONS[reason])
        assert code == expected
        assert kind == ("channel.close" if code in (403, 404, 405, 406) else "connection.close")
        assert culprit == HANDLED[name]
        assert said[-1][2]["reply_text"].endswith(" - because")
        assert len(client.notes) == 1

    @pytest.mark.parametrize(
        ("outcome", "error", "code", "word"), [(UNAVAILABLE, Unavailable("x"), 405, "try again"), (UNKNOWN, OutcomeUnknown("x"), 541, "not known")]
    )
    def test_neither_done_nor_refused(self, client, name, arguments, request_, result, answer, outcome, error, code, word):
        client.send(frame(name, **arguments))
        complete(client.door.pending[0], None, outcome, error)
        said = client.hear()
        assert closing(said) == ("channel.close", code, HANDLED[name])
        assert word in said[-1][2]["reply_text"]
        assert len(said) == 1
        client.say("channel.close_ok")
        client.open_channel()  # the connection has lost nothing


HANDLED = {name: (BY_NAME[name].class_id, BY_NAME[name].method_id) for name in HANDLERS}


def test_every_handler_is_tested_here():
    tested = {line[0] for line in ASKED}
    others = {"channel.close", "channel.close_ok", "channel.flow", "access.request", "confirm.select", "basic.consume", "basic.cancel", "basic.cancel_ok"}
    assert tested | others | {"basic.recover", "basic.recover_async"} == set(HANDLERS)


class TestChannels:
    def test_open_and_close(self, client):
        client.open_channel(2)
        streams = [channel.stream for channel in client.session.channels.values()]
        assert len(set(streams)) == 2
        assert client.say("channel.close", 2) == [(2, "channel.close_ok", {})]
        assert client.door.ended_streams == [streams[1]]
        client.open_channel(2)
        assert client.session.channels[2].stream not in streams

    def test_numbers(self):
        client = Client()
        client.send(HEADER, frame("connection.start_ok", 0), frame("connection.tune_ok", 0, channel_max=3), frame("connection.open", 0))
        client.hear()
        for number in (3, 65_535, 4):
            client.open_channel(number)
        client.say("channel.close", 4)
        client.open_channel(40_000)
        assert closing(client.say("channel.open", 4)) == ("connection.close", 530, (0, 0))

    @pytest.mark.parametrize("octets", [frame("queue.declare", 5), publish(5, Q, b"x"), ack(5, 1), frame("channel.close", 5)])
    def test_never_opened(self, client, octets):
        client.send(octets)
        assert closing(client.hear())[:2] == ("connection.close", 504)

    def test_flow(self, client):
        assert client.say("channel.flow") == [(1, "channel.flow_ok", {"active": True})]
        assert closing(client.say("channel.flow", active=False)) == ("connection.close", 540, (20, 20))

    def test_access(self, client):
        assert client.say("access.request") == [(1, "access.request_ok", {"ticket": 1})]

    @pytest.mark.parametrize("name", ["channel.close_ok", "basic.cancel_ok"])
    def test_answers_to_nothing_are_ignored(self, client, name):
        assert client.say(name, **({"consumer_tag": "t"} if name == "basic.cancel_ok" else {})) == []
        assert not client.session.closing

    def test_after_our_close_all_is_dropped_until_its_answer(self, client):
        client.send(frame("queue.purge"))
        refuse(client.door.pending[0])
        assert closing(client.hear()) == ("channel.close", 404, (50, 30))
        before = len(client.door.asked)
        client.send(frame("queue.declare"), publish(1, Q, b"x"), ack(1, 7), frame("channel.flow", active=False))
        assert client.hear() == []
        assert len(client.door.asked) == before
        assert client.say("channel.close") == [(1, "channel.close_ok", {})]
        assert client.say("channel.close_ok") == []
        client.open_channel()

    @pytest.mark.parametrize(
        ("name", "code"),
        [("tx.select_ok", 503), ("tx.commit_ok", 503), ("tx.rollback_ok", 503), ("queue.declare_ok", 503), ("basic.qos_ok", 503), ("basic.get_empty", 503)],
    )
    def test_not_for_us(self, client, name, code):
        arguments = {"queue": "q", "message_count": 0, "consumer_count": 0} if name == "queue.declare_ok" else {}
        said = client.say(name, **arguments)
        assert closing(said) == ("connection.close", code, (BY_NAME[name].class_id, BY_NAME[name].method_id))

    @pytest.mark.parametrize("octets", [b"\x00\x32\x03\xe7", b"\x03\xe7\x00\x0a", b"\xff\xff\xff\xff"])
    def test_unknown_methods(self, client, octets):
        client.send(b"\x01\x00\x01\x00\x00\x00\x04" + octets + b"\xce")
        assert closing(client.hear())[:2] == ("connection.close", 540)

    @pytest.mark.parametrize("cut", range(4, 17))
    def test_arguments_cut_short(self, client, cut):
        whole = frame("queue.declare")[7:-1]
        payload = whole[:cut] if cut < len(whole) else whole + b"x"
        client.send(b"\x01\x00\x01" + len(payload).to_bytes(4, "big") + payload + b"\xce")
        name, code, culprit = closing(client.hear())
        assert (name, code, culprit) == ("connection.close", 501, (50, 10))

    def test_channel_methods_on_channel_0(self, client):
        assert closing(client.say("queue.declare", 0)) == ("connection.close", 504, (50, 10))

    def test_connection_methods_once_open(self, client):
        assert closing(client.say("connection.open", 0)) == ("connection.close", 503, (10, 40))

    def test_what_a_channel_said_last_is_what_an_empty_name_means(self, client):
        client.door.answer = lambda call: complete(call, ("mine", 0, 0))
        client.say("queue.declare", queue="")
        client.door.answer = lambda call: complete(call, 0)
        for name in ("queue.purge", "queue.delete"):
            client.say(name, queue="")
            assert client.door.requests[-1].name == "mine"
        client.door.answer = lambda call: complete(call, None)
        client.say("queue.bind", queue="", routing_key="")
        assert client.door.requests[-1] == r.Bind("e", "mine", "queue", "mine")
        client.say("basic.get", queue="")
        assert client.door.requests[-1] == r.Get("mine")
        client.open_channel(2)
        said = client.say("queue.purge", 2, queue="")
        assert closing(said) == ("channel.close", 404, (50, 30))
        assert said[-1][2]["reply_text"] == "NOT_FOUND - no previously declared queue"


class TestConsumers:
    def test_asked_for(self, client):
        client.say("basic.qos", prefetch_count=33)
        client.send(frame("basic.consume", no_ack=True, exclusive=True, arguments={"x-priority": 5, "x-stream-offset": "first"}))
        (request,) = client.door.requests
        assert (request.queue, request.limit, request.auto_settle, request.exclusive, request.priority, request.start) == ("q", 33, True, True, 5, "first")
        complete(client.door.pending[0], 17)
        assert client.hear() == [(1, "basic.consume_ok", {"consumer_tag": "t"})]

    @pytest.mark.parametrize(("asked", "allowed", "given"), [(0, 5, 5), (3, 5, 3), (9, 5, 5), (9, 0, 9), (0, 0, 0)])
    def test_no_more_than_the_broker_allows(self, asked, allowed, given):
        client = Client(Settings(consumer_prefetch_max=allowed)).open().open_channel()
        client.say("basic.qos", prefetch_count=asked)
        client.send(frame("basic.consume"))
        assert client.door.requests[-1].limit == given

    def test_tags_are_made_up_and_not_used_twice(self, client):
        client.door.answer = lambda call: complete(call, 1)
        tags = {client.say("basic.consume", consumer_tag="")[0][2]["consumer_tag"] for _ in range(5)}
        assert len(tags) == 5
        assert all(tag.startswith("amq.ctag-") for tag in tags)
        said = client.say("basic.consume", consumer_tag=tags.pop())
        assert closing(said) == ("connection.close", 530, (60, 20))

    def test_one_tag_on_two_channels(self, client):
        client.open_channel(2)
        assert client.consume(1, number=1) is not client.consume(2, number=2)

    @pytest.mark.parametrize("value", ["5", True, 1.5])
    def test_priorities_are_numbers(self, client, value):
        assert closing(client.say("basic.consume", arguments={"x-priority": value})) == ("channel.close", 406, (60, 20))

    def test_prefetch_in_bytes_is_not_supported(self, client):
        assert closing(client.say("basic.qos", prefetch_size=10)) == ("connection.close", 540, (60, 10))

    def test_cancelled_by_the_client(self, client):
        client.consume(7)
        client.send(frame("basic.cancel"))
        assert client.door.requests[-1] == r.Cancel(7)
        complete(client.door.pending[0])
        assert client.hear() == [(1, "basic.cancel_ok", {"consumer_tag": "t"})]
        assert client.say("basic.cancel") == [(1, "basic.cancel_ok", {"consumer_tag": "t"})]  # unknown by now: still answered
        assert client.say("basic.cancel", nowait=True) == []

    @pytest.mark.parametrize("capable", [True, False])
    def test_cancelled_by_the_broker(self, capable):
        client = Client().open(client_properties=CAPABLE if capable else {}).open_channel()
        token = client.consume(7)
        client.session.cancelled(token)
        assert client.hear() == ([(1, "basic.cancel", {"consumer_tag": "t", "nowait": True})] if capable else [])
        client.consume(8)

    def test_recover_forgets_the_tags(self, client):
        token = client.consume(7)
        client.deliver(token, 0, [b"a", b"b"])
        client.hear()
        client.door.answer = lambda call: complete(call)
        assert client.say("basic.recover") == [(1, "basic.recover_ok", {})]
        assert client.say("basic.recover_async") == []
        assert closing(client.say("basic.ack", delivery_tag=1)) == ("channel.close", 406, (60, 80))

    def test_recover_is_answered_before_anything_is_delivered_again(self, client):
        """What a client is sent before the answer it has given back; what is sent after it, it holds."""
        token = client.consume(7)
        client.deliver(token, 0, [b"a", b"b"])
        client.hear()
        client.door.answer = lambda _: client.deliver(token, 0, [b"a", b"b"], redelivered=True)  # the owner has done it, and its answer is on its way
        assert [said[1] for said in client.say("basic.recover")] == ["basic.recover_ok", "basic.deliver", "content", "basic.deliver", "content"]
        client.send(ack(1, 4, True))
        assert client.door.settles == [(7, 0, 2, 0)]
        complete(client.door.pending[0])
        assert client.hear() == []

    def test_recover_with_nothing_out(self, client):
        assert client.say("basic.recover") == [(1, "basic.recover_ok", {})]
        assert client.door.requests == []

    @pytest.mark.parametrize(("outcome", "error"), [(UNAVAILABLE, Unavailable("x")), (UNKNOWN, OutcomeUnknown("x"))])
    def test_recover_that_is_not_done_closes_the_channel(self, client, outcome, error):
        """Which gives back what it held. A transaction may be under way: nobody may take this for "certainly not"."""
        token = client.consume(7)
        client.say("tx.select")
        client.deliver(token, 0, [b"a"])
        client.send(frame("basic.recover"), publish(1, Q, b"x"), frame("tx.commit"))
        client.hear()
        release, *others = client.door.pending
        assert type(others[-1].request) is r.CommitTogether
        complete(release, None, outcome, error)
        assert closing(client.hear()) == ("channel.close", 541, (60, 110))
        assert client.door.ended_streams == [release.stream]

    def test_recover_to_the_same_consumer_is_not_supported(self, client):
        assert closing(client.say("basic.recover", requeue=False)) == ("connection.close", 540, (60, 110))

    def test_got(self, client):
        delivery, _ = client.deliver(None, 40, [b"one"], consumer_id=9, key=(b"e", b"k"))
        client.door.answer = lambda call: complete(call, (delivery, 12))
        got, content = client.say("basic.get")
        assert got[2] == {"delivery_tag": 1, "redelivered": False, "exchange": "e", "routing_key": "k", "message_count": 12}
        assert content == (1, "content", b"\x00\x00", b"one")
        client.door.answer = None
        client.send(ack(1, 1))
        assert client.door.settles == [(9, 40, 1, 0)]


class TestHeld:
    """A channel whose client waits for an answer; what it has sent on is done in its order."""

    def test_a_pipeline(self, client):
        client.send(
            frame("queue.declare", queue=""), frame("queue.bind", queue=""), frame("basic.consume", queue=""), publish(1, Q, b"x"), frame("queue.declare")
        )
        assert [type(request) for request in client.door.requests] == [r.DeclareQueue]
        complete(client.door.pending[0], ("made", 0, 0))
        assert client.names() == ["queue.declare_ok"]
        assert client.door.requests[-1].destination == "made"
        complete(client.door.pending[0])
        assert client.names() == ["queue.bind_ok"]
        assert client.door.publishes == []
        complete(client.door.pending[0], 1)
        assert client.names() == ["basic.consume_ok"]
        (call,) = client.door.publishes
        assert call.data.endswith(b"x")
        assert type(client.door.requests[-1]) is r.DeclareQueue
        assert client.session.deferred_count == 0

    @pytest.mark.parametrize("settlement", [ack(1, 0, True), settle(1, 120, 0, 1)], ids=["ack", "nack"])
    @pytest.mark.parametrize("out", [0, 2])
    def test_what_is_settled_all_at_once_is_what_was_out_when_the_client_said_so(self, client, out, settlement):
        """What is delivered until it has its turn the client has not seen: it may settle it later, or lose it."""
        token = client.consume(7)
        if out:
            client.deliver(token, 0, [b"x"] * out)
        client.send(frame("queue.declare"), frame("queue.purge"), settlement)
        client.deliver(token, out, [b"y"] * 3)
        complete(client.door.pending[0], ("q", 0, 0))
        client.deliver(token, out + 3, [b"y"])
        complete(client.door.pending[0], 0)
        assert [(first, count) for _, first, count, _ in client.door.settles] == ([(0, out)] if out else [])
        client.send(ack(1, 0, True))
        assert client.door.settles[-1] == (7, out, 4, 0)
        assert closing(client.say("basic.ack", delivery_tag=1)) == ("channel.close", 406, (60, 80))

    def test_other_channels_go_on(self, client):
        client.open_channel(2)
        client.send(frame("queue.declare", 1), frame("queue.purge", 2))
        complete(client.door.pending[1], 3)
        assert client.hear() == [(2, "queue.purge_ok", {"message_count": 3})]

    @settings(max_examples=examples(60), deadline=None)
    @given(st.data())
    def test_answers_keep_the_order_of_each_channel(self, data):
        client = Client().open()
        sent = {}
        for number in (1, 2, 3):
            client.open_channel(number).confirming(number)
        names = {"queue.declare": "queue.declare_ok", "queue.bind": "queue.bind_ok", "queue.purge": "queue.purge_ok", "basic.get": "basic.get_empty"}
        results = {"queue.declare": ("q", 0, 0), "queue.bind": None, "queue.purge": 0, "basic.get": None}
        octets = []
        for number, name in data.draw(st.lists(st.tuples(st.integers(1, 3), st.sampled_from([*names, "basic.publish"])), max_size=40)):
            octets.append(publish(number, Q, b"x") if name == "basic.publish" else frame(name, number))
            sent.setdefault(number, []).append("basic.ack" if name == "basic.publish" else names[name])
        client.send(*octets)
        heard = {}
        while client.door.pending:
            call = data.draw(st.sampled_from(client.door.pending))
            if isinstance(call, Ask):
                kind = {r.DeclareQueue: "queue.declare", r.Bind: "queue.bind", r.PurgeQueue: "queue.purge", r.Get: "basic.get"}[type(call.request)]
                complete(call, results[kind])
            else:
                complete(call)
            for said in client.hear():
                heard.setdefault(said[0], []).append(said[1])
        for number, expected in sent.items():
            answers = [name for name in heard.get(number, []) if name != "basic.ack"]
            assert answers == [name for name in expected if name != "basic.ack"]
            assert client.session.channels[number].confirmed_tag == expected.count("basic.ack")
        assert client.session.deferred_count == 0
        assert not client.session.paused

    def test_what_is_held_is_bounded(self, client):
        client.send(frame("queue.declare"))
        for _ in range(DEFERRED_MAX - 1):
            client.send(frame("queue.purge"))
        assert not client.session.paused
        client.send(frame("queue.purge"))
        assert client.session.paused
        client.door.answer = lambda call: complete(call, 0)
        complete(client.door.pending[0], ("q", 0, 0))
        assert not client.session.paused
        assert client.names() == ["queue.declare_ok"] + ["queue.purge_ok"] * DEFERRED_MAX

    def test_an_error_in_the_middle_drops_the_rest(self, client):
        client.send(frame("queue.declare"), frame("queue.purge"), publish(1, Q, b"x"), ack(1, 5))
        complete(client.door.pending[0], ("q", 0, 0))
        refuse(client.door.pending[0])
        assert client.names() == ["queue.declare_ok", "channel.close"]
        assert client.door.publishes == []
        assert client.session.deferred_count == 0

    def test_closing_with_an_answer_outstanding_waits_its_turn(self, client):
        client.send(frame("queue.declare"), frame("channel.close"))
        assert client.hear() == []
        complete(client.door.pending[0], ("q", 0, 0))
        assert client.names() == ["queue.declare_ok", "channel.close_ok"]
        client.open_channel()

    def test_connection_close_with_an_answer_outstanding(self, client):
        client.send(*[frame("queue.declare")] * (DEFERRED_MAX + 10))
        client.send(frame("connection.close", 0))
        assert client.names() == ["connection.close_ok"]
        complete(client.door.pending[0], ("q", 0, 0))
        assert client.octets() == b""

    def test_our_close_is_answered_even_if_much_was_held(self, client):
        client.send(*[frame("queue.declare")] * (DEFERRED_MAX + 10))
        assert client.session.paused
        client.session.shut_down("bye")
        assert not client.session.paused
        client.session.throttle(True, "")
        assert not client.session.paused
        client.send(frame("connection.close_ok", 0))
        assert client.session.closing

    def test_a_message_that_is_too_large_waits_its_turn(self):
        client = Client(Settings(message_size_max=10)).open().open_channel()
        client.send(frame("queue.declare"), publish(1, Q, b"12345678901"), publish(1, Q, b"dropped"))
        assert client.hear() == []
        complete(client.door.pending[0], ("q", 0, 0))
        said = client.hear()
        assert said[0][1] == "queue.declare_ok"
        assert closing(said) == ("channel.close", 406, (60, 40))
        assert client.door.publishes == []


class TestThrottle:
    def test_without_a_reason_reading_stops(self, client):
        client.session.throttle(True, "")
        assert client.session.paused
        client.session.throttle(False, "")
        assert not client.session.paused
        assert client.hear() == []

    def test_with_a_reason_the_client_is_told_once(self, client):
        client.session.throttle(True, "disk " + "é" * 200)
        client.session.throttle(True, "disk")
        ((_, name, arguments),) = client.hear()
        assert name == "connection.blocked"
        assert arguments["reason"].startswith("disk éé")
        assert not client.session.paused
        client.session.throttle(False, "disk")
        client.session.throttle(False, "disk")
        assert client.names() == ["connection.unblocked"]

    @pytest.mark.parametrize("first", ["", "disk"])
    def test_both_at_once(self, client, first):
        client.session.throttle(True, "")
        client.session.throttle(True, "disk")
        client.session.throttle(False, first)
        assert client.session.paused == (first != "")
        client.session.throttle(False, "disk" if first == "" else "")
        assert not client.session.paused
        assert client.names() == ["connection.blocked", "connection.unblocked"]

    def test_a_client_that_does_not_understand_is_not_told(self):
        client = Client().open(client_properties={})
        client.session.throttle(True, "disk")
        client.session.throttle(False, "disk")
        assert client.hear() == []

    def test_a_client_that_comes_meanwhile_is_told_when_it_is_open(self):
        client = Client()
        attach = client.port.attach

        def full(sink, principal, namespace):
            door = attach(sink, principal, namespace)
            sink.throttle(True, "disk")
            return door

        client.port.attach = full
        client.send(HEADER, frame("connection.start_ok", 0), frame("connection.tune_ok", 0), frame("connection.open", 0))
        assert client.names() == ["connection.start", "connection.tune", "connection.open_ok", "connection.blocked"]


def test_update_secret(client):
    assert client.say("connection.update_secret", 0, new_secret=b"x", reason="") == [(0, "connection.update_secret_ok", {})]


def test_error_texts_with_odd_strings_are_still_sent(client):
    client.send(frame("queue.declare"))
    refuse(client.door.pending[0], Reason.INVALID, "bad \udcff " + "é" * 300)
    said = client.hear()
    assert closing(said)[1] == 406
    assert len(said[-1][2]["reply_text"].encode()) <= 255
