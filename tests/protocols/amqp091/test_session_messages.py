"""Publishes and their confirms, deliveries and their settlement."""

import pytest
from amqp_wire import ack, bodies, content_header, publish, publish_method, route, settle, short, table
from amqp_wire import frame as raw_frame
from hypothesis import given, settings
from hypothesis import strategies as st
from session_bench import HEADER, Client, closing, complete, frame, parse, refuse

from both_modes import examples
from entrepot.broker.calls.port import ACCEPT, DONE, REFUSED, REJECT, RELEASE, UNAVAILABLE, UNKNOWN
from entrepot.model.entry import HAS_EXPIRY
from entrepot.model.errors import OutcomeUnknown, Reason, Refused, Unavailable
from entrepot.net.unfinished import Unfinished
from entrepot.protocols.amqp091.session import OUTPUT_HIGH_BYTES
from entrepot.protocols.amqp091.states import CLOSED

Q = route(b"", b"q")


@pytest.fixture
def client():
    return Client().open().open_channel()


class Confirms:
    """What the client was told of its publishes: tag -> "ack" or "nack"; a naive reader of basic.ack and basic.nack."""

    def __init__(self):
        self.told = {}
        self.published = 0
        self.returned = 0

    def hear(self, said):
        for _, name, *rest in said:
            if name in ("basic.ack", "basic.nack"):
                tag = rest[0]["delivery_tag"]
                tags = [other for other in range(1, tag) if other not in self.told] if rest[0]["multiple"] else []
                for each in (*tags, tag):
                    assert each not in self.told, f"{each} was answered twice"
                    assert each <= self.published
                    self.told[each] = name[6:]
            elif name == "basic.return":
                self.returned += 1


class TestPublishing:
    def test_a_run_is_one_call(self, client):
        client.send(publish(1, route(b"e", b"k"), b"abc", b"\x10\x00\x02") * 5)
        (call,) = client.door.publishes
        assert (call.address, call.count, call.body_bytes, call.flags) == (b"\x01e\x01k", 5, 15, 0)
        assert [call.mandatory, call.confirm, call.scattered] == [False] * 3
        complete(call)
        assert client.hear() == []

    def test_mandatory_and_confirms(self, client):
        client.confirming()
        client.send(publish(1, Q, b"x", bits=1))
        (call,) = client.door.publishes
        assert call.mandatory
        assert call.confirm

    def test_immediate_is_not_supported(self, client):
        client.send(publish(1, Q, b"x", bits=2))
        assert closing(client.hear()) == ("connection.close", 540, (60, 40))

    def test_an_expiration_is_noted(self, client):
        client.send(publish(1, Q, b"x", b"\x01\x00" + short(b"0")))
        assert client.door.publishes[0].flags == HAS_EXPIRY

    @pytest.mark.parametrize(
        ("properties", "text"),
        [
            (b"\x01\x00" + short(b""), "invalid expiration '': no_integer"),
            (b"\x01\x00" + short(b"abc"), "invalid expiration 'abc': no_integer"),
            (b"\x01\x00" + short(b"-1"), "invalid expiration '-1': {value_negative,-1}"),
            (b"\x01\x00" + short(b"1.5"), "invalid expiration '1.5': {leftover_string,\".5\"}"),
            (b"\x01\x00" + short(b"315360000001"), "invalid expiration '315360000001': {value_too_large,315360000001}"),
            (b"\x00\x10" + short(b"bob"), "user_id property set to 'bob' but authenticated user was 'guest'"),
            (b"\x20\x00" + table(short(b"CC") + b"S\x00\x00\x00\x01x"), 'invalid message: {unacceptable_type_in_header,"CC",longstr}'),
            (b"\x20\x00" + table(short(b"BCC") + b"I\x00\x00\x00\x01"), 'invalid message: {unacceptable_type_in_header,"BCC",signedint}'),
            (b"\x10\x00\x00", "invalid message: {delivery_mode_unknown,0}"),
            (b"\x10\x00\x07", "invalid message: {delivery_mode_unknown,7}"),
            (b"\xb0\x00" + short(b"text") + table() + b"\x03", "invalid message: {delivery_mode_unknown,3}"),
        ],
    )
    def test_properties_that_are_refused(self, client, properties, text):
        client.send(publish(1, Q, b"good", b"\x10\x00\x01"), publish(1, Q, b"bad", properties))
        said = client.hear()
        assert closing(said) == ("channel.close", 406, (60, 40))
        assert said[-1][2]["reply_text"] == f"PRECONDITION_FAILED - {text}"
        assert sum(call.count for call in client.door.publishes if b"bad" in call.data) == 0

    @pytest.mark.parametrize("properties", [b"\x10\x00\x01", b"\x10\x00\x02", b"\x00\x10" + short(b"guest"), b"\x01\x00" + short(b"4294967295")])
    def test_properties_that_are_fine(self, client, properties):
        client.send(publish(1, Q, b"good", properties))
        assert client.hear() == []
        assert len(client.door.publishes) == 1

    @pytest.mark.parametrize("name", [b"CC", b"BCC"])
    def test_further_routing_keys_are_noted(self, client, name):
        client.send(publish(1, Q, b"x", b"\x20\x00" + table(short(name) + b"A\x00\x00\x00\x00")))
        assert client.door.publishes[0].scattered

    @pytest.mark.parametrize(("reason", "code"), [(Reason.NOT_FOUND, 404), (Reason.NOT_PERMITTED, 403)])
    @pytest.mark.parametrize("confirming", [False, True])
    def test_its_own_fault_closes_the_channel(self, client, reason, code, confirming):
        if confirming:
            client.confirming()
        client.send(publish(1, Q, b"x"))
        refuse(client.door.publishes[0], reason)
        assert closing(client.hear()) == ("channel.close", code, (60, 40))

    @pytest.mark.parametrize(
        ("outcome", "error", "code"),
        [
            (REFUSED, Refused(Reason.LIMIT, "full"), 406),
            (UNAVAILABLE, Unavailable("later"), 405),
            (UNKNOWN, OutcomeUnknown("?"), 541),
        ],
    )
    def test_without_confirms_a_loss_is_not_silent(self, client, outcome, error, code):
        client.send(publish(1, Q, b"x"))
        complete(client.door.publishes[0], None, outcome, error)
        said = client.hear()
        assert closing(said) == ("channel.close", code, (60, 40))
        if outcome == UNKNOWN:
            assert "not known" in said[-1][2]["reply_text"]


class TestConfirms:
    @pytest.mark.parametrize(
        ("outcome", "error", "expected"),
        [
            (DONE, None, "basic.ack"),
            (REFUSED, Refused(Reason.FULL, "full"), "basic.nack"),
            (REFUSED, Refused(Reason.LIMIT, "disk"), "basic.nack"),
            (UNAVAILABLE, Unavailable("later"), "basic.nack"),
        ],
    )
    def test_the_outcomes(self, client, outcome, error, expected):
        client.confirming()
        client.send(publish(1, Q, b"x") * 3)
        complete(client.door.publishes[0], None, outcome, error)
        assert client.hear() == [(1, expected, {"delivery_tag": 3, "multiple": True, **({"requeue": False} if "nack" in expected else {})})]

    def test_what_is_not_known_is_neither(self, client):
        client.confirming()
        for _ in range(3):
            client.send(publish(1, Q, b"x"), frame("access.request"))
        client.hear()
        first, second, third = client.door.publishes
        complete(third)
        complete(second, None, UNKNOWN, OutcomeUnknown("?"))
        assert client.hear() == []
        complete(first)
        said = client.hear()
        assert said[0] == (1, "basic.ack", {"delivery_tag": 1, "multiple": True})
        assert closing(said) == ("channel.close", 541, (60, 40))
        assert len(said) == 2

    def test_some_of_a_run(self, client):
        client.confirming()
        client.send(publish(1, Q, b"x") * 5)
        call = client.door.publishes[0]
        call.nacked = [1, 4]
        complete(call)
        told = Confirms()
        told.published = 5
        told.hear(client.hear())
        assert told.told == {1: "ack", 2: "nack", 3: "ack", 4: "ack", 5: "nack"}

    def test_returns_come_before_their_confirms(self, client):
        client.confirming()
        client.send(publish(1, route(b"e", b"k"), b"abc", b"\x10\x00\x02", bits=1) * 2)
        call = client.door.publishes[0]
        call.unroutable = True
        complete(call)
        said = client.hear()
        assert [line[1] for line in said] == ["basic.return", "content", "basic.return", "content", "basic.ack"]
        assert said[0][2] == {"reply_code": 312, "reply_text": "NO_ROUTE", "exchange": "e", "routing_key": "k"}
        assert said[1] == (1, "content", b"\x10\x00\x02", b"abc")

    def test_only_some_are_returned(self, client):
        client.send(publish(1, Q, b"a", bits=1), publish(1, Q, b"bb", bits=1), publish(1, Q, b"ccc", bits=1))
        call = client.door.publishes[0]
        assert call.count == 3
        call.returned = [0, 2]
        complete(call)
        assert [line[3] for line in client.hear() if line[1] == "content"] == [b"a", b"ccc"]

    def test_what_is_not_mandatory_is_not_returned(self, client):
        client.confirming()
        client.send(publish(1, Q, b"a"))
        client.door.publishes[0].unroutable = True
        complete(client.door.publishes[0])
        assert client.names() == ["basic.ack"]

    def test_counting_begins_with_the_mode(self, client):
        client.send(publish(1, Q, b"before"))
        client.confirming()
        client.send(publish(1, Q, b"after"))
        complete(client.door.publishes[0])
        assert client.hear() == []
        complete(client.door.publishes[1])
        assert client.hear()[0][2]["delivery_tag"] == 1

    def test_a_channel_closed_meanwhile_hears_nothing(self, client):
        client.confirming()
        client.send(publish(1, Q, b"x"))
        client.say("channel.close")
        complete(client.door.publishes[0])
        client.open_channel()
        assert client.hear() == []

    @settings(max_examples=examples(120), deadline=None)
    @given(st.data())
    def test_any_order_of_completions(self, data):
        client = Client().open().open_channel().confirming()
        told = Confirms()
        runs = data.draw(st.lists(st.integers(1, 5), max_size=25))
        for size in runs:
            client.send(publish(1, Q, b"x", bits=data.draw(st.integers(0, 1))) * size, frame("access.request"))
        client.hear()
        told.published = sum(runs)
        fates = {}
        returns = 0
        first = 1
        for call in client.door.publishes:
            fate = data.draw(st.sampled_from(["done", "full", "some", "unroutable"]))
            nacked = sorted(data.draw(st.sets(st.integers(0, call.count - 1), min_size=1))) if fate == "some" else []
            fates[id(call)] = (fate, nacked)
            for index in range(call.count):
                fates[first + index] = "nack" if fate == "full" or index in nacked else "ack"
            if fate == "unroutable" and call.mandatory:
                returns += call.count
            first += call.count
        while client.door.pending:
            call = data.draw(st.sampled_from(client.door.pending))
            fate, nacked = fates[id(call)]
            if fate == "full":
                refuse(call, Reason.FULL)
            else:
                call.nacked = nacked or None
                call.unroutable = fate == "unroutable"
                complete(call)
            told.hear(client.hear())
            answered = len(told.told)
            assert set(told.told) == set(range(1, answered + 1))  # in order
        assert told.told == {tag: fates[tag] for tag in range(1, told.published + 1)}
        assert told.returned == returns
        assert client.session.channels[1].unconfirmed == []


class TestDeliveries:
    def test_a_slice(self, client):
        token = client.consume()
        delivery, position = client.deliver(token, 10, [b"a", b"", b"ccc"], key=(b"e", b"k"))
        assert position == len(delivery.data)
        said = client.hear()
        assert [line[2] for line in said if line[1] == "basic.deliver"] == [
            {"consumer_tag": "t", "delivery_tag": tag, "redelivered": False, "exchange": "e", "routing_key": "k"} for tag in (1, 2, 3)
        ]
        assert [line[3] for line in said if line[1] == "content"] == [b"a", b"", b"ccc"]

    def test_what_the_templates_depend_on(self, client):
        first, second = client.consume(1, "one"), client.consume(2, "two")
        client.open_channel(9)
        third = client.consume(3, "three", 9)
        for token, key, redelivered in [
            (first, (b"", b"q"), False),
            (first, (b"e", b"k"), False),
            (second, (b"", b"q"), True),
            (second, (b"", b"q"), False),
            (third, (b"", b"q"), False),
            (first, (b"", b"q"), False),
        ]:
            client.deliver(token, 0, [b"x"], key=key, redelivered=redelivered)
            said = client.hear()[0]
            assert (said[0], said[2]["consumer_tag"]) == ((9, "three") if token is third else (1, "one" if token is first else "two"))
            assert (said[2]["exchange"].encode(), said[2]["routing_key"].encode(), said[2]["redelivered"]) == (*key, redelivered)

    def test_large_bodies_keep_to_the_frame_size(self):
        client = Client()
        client.send(HEADER, frame("connection.start_ok", 0), frame("connection.tune_ok", 0, frame_max=4096), frame("connection.open", 0))
        client.hear()
        client.open_channel()
        token = client.consume()
        body = bytes(range(256)) * 100
        client.deliver(token, 0, [body])
        octets = client.octets()
        sizes = []
        position = 0
        while position < len(octets):
            sizes.append(int.from_bytes(octets[position + 3 : position + 7], "big") + 8)
            position += sizes[-1]
        assert max(sizes) == 4096
        assert body[:4088] in octets

    def test_from_a_stream(self, client):
        token = client.consume()
        client.deliver(token, 77, [b"a", b"b"], from_topic=True)
        contents = [line for line in client.hear() if line[1] == "content"]
        assert [content[2] for content in contents] == [
            b"\x20\x00" + table(short(b"x-stream-offset") + b"l" + offset.to_bytes(8, "big")) for offset in (77, 78)
        ]

    def test_settled_in_every_way(self, client):
        token = client.consume(7)
        client.deliver(token, 100, [b"x"] * 10)
        client.hear()
        client.send(ack(1, 2), ack(1, 1))
        client.send(settle(1, 90, 4, 1), settle(1, 90, 5, 0))
        client.send(settle(1, 120, 6, 1), settle(1, 120, 8, 3))
        client.send(ack(1, 0, True))
        assert client.door.settles == [
            (7, 101, 1, ACCEPT),
            (7, 100, 1, ACCEPT),
            (7, 103, 1, RELEASE),
            (7, 104, 1, REJECT),
            (7, 102, 1, REJECT),
            (7, 105, 1, REJECT),
            (7, 106, 2, RELEASE),
            (7, 108, 2, ACCEPT),
        ]
        assert client.hear() == []

    def test_recover_names_what_is_out(self, client):
        token = client.consume(7)
        client.deliver(token, 100, [b"x"] * 5)
        client.hear()
        client.send(ack(1, 2), settle(1, 90, 4), frame("basic.recover"))
        assert client.door.requests[-1].ranges == [(7, 100, 1), (7, 102, 1), (7, 104, 1)]
        assert client.names() == ["basic.recover_ok"]
        complete(client.door.pending[-1])
        client.send(ack(1, 1))
        assert closing(client.hear()) == ("channel.close", 406, (60, 80))

    @pytest.mark.parametrize(
        ("octets", "method"),
        [
            *((octets, 80) for octets in (ack(1, 0), ack(1, 3), ack(1, 3, True), ack(1, 2**64 - 1), ack(1, 2**64 - 1, True))),
            *[(settle(1, 90, 9), 90), (settle(1, 90, 2) + settle(1, 90, 3), 90), (settle(1, 120, 9), 120), (settle(1, 120, 9, 1), 120)],
        ],
    )
    def test_unknown_tags(self, client, octets, method):
        token = client.consume()
        client.deliver(token, 0, [b"a", b"b"])
        client.hear()
        client.send(octets)
        name, code, culprit = closing(client.hear())
        assert (name, code, culprit) == ("channel.close", 406, (60, method))

    def test_twice(self, client):
        token = client.consume()
        client.deliver(token, 0, [b"a", b"b", b"c"])
        client.hear()
        client.send(ack(1, 2))
        said = client.send(ack(1, 2)).hear()
        assert said[-1][2]["reply_text"] == "PRECONDITION_FAILED - unknown delivery tag 2"

    def test_nothing_outstanding(self, client):
        client.send(ack(1, 0, True))
        assert client.hear() == []
        assert closing(client.send(ack(1, 1, True)).hear())[1] == 406

    def test_what_was_sent_settled_has_tags_that_cannot_be(self, client):
        token = client.consume(no_ack=True)
        client.deliver(token, 0, [b"a", b"b"], settled=True)
        assert [line[2]["delivery_tag"] for line in client.hear() if line[1] == "basic.deliver"] == [1, 2]
        assert closing(client.send(ack(1, 1)).hear())[1] == 406

    def test_a_peer_that_does_not_read_gets_no_more(self, client):
        token = client.consume()
        while client.door.writable:
            client.deliver(token, 0, [bytes(10_000)] * 10)
        assert OUTPUT_HIGH_BYTES < client.session.output.size < OUTPUT_HIGH_BYTES + 200_000
        client.octets()
        assert client.door.writable
        assert client.door.resumed == 1

    def test_the_socket_has_its_say_too(self, client):
        client.session.writable(False)
        assert not client.door.writable
        client.session.writable(True)
        assert client.door.writable
        Client().session.writable(False)  # before the connection is open there is nobody to tell

    def test_settling_on_a_channel_that_closes_is_dropped(self, client):
        token = client.consume()
        client.deliver(token, 0, [b"a"])
        client.send(frame("queue.purge"))
        refuse(client.door.pending[0])
        client.send(ack(1, 1))
        assert client.door.settles == []
        assert client.door.ended_streams == [1]

    @pytest.mark.parametrize("ours", [True, False])
    def test_what_comes_for_a_channel_that_is_closed_is_not_for_the_next_of_its_number(self, client, ours):
        token = client.consume()
        if ours:
            client.send(frame("queue.purge"))
            refuse(client.door.pending[0])
            client.say("channel.close_ok")
        else:
            client.say("channel.close")
        client.open_channel()
        assert client.deliver(token, 0, [b"a"])[1] == -1
        assert client.hear() == []
        client.deliver(client.consume(), 1, [b"b"])
        assert [said[2]["delivery_tag"] for said in client.hear() if said[1] == "basic.deliver"] == [1]


def script(client):
    """Everything at once, answered as it is asked."""

    def answer(call):
        if not hasattr(call, "request"):
            call.nacked = [0] if call.count % 3 == 0 else None
            complete(call)
            return
        name = type(call.request).__name__
        complete(call, {"DeclareQueue": ("q", 1, 2), "Consume": 5, "PurgeQueue": 7, "DeleteQueue": 8}.get(name))

    client.port_answer = answer
    return [
        HEADER,
        frame("connection.start_ok", 0),
        frame("connection.tune_ok", 0, frame_max=4096),
        frame("connection.open", 0),
        frame("channel.open"),
        frame("channel.open", 2),
        frame("confirm.select"),
        frame("queue.declare"),
        frame("basic.consume", 2),
        publish(1, Q, b"abc") * 7,
        publish(1, route(b"e", b"k"), bytes(9000), b"\x10\x00\x02", 1, 4088),
        publish_method(2, Q) + content_header(2, 6) + bodies(2, b"abc") + raw_frame(8, 0, b"") + bodies(2, b"def"),
        frame("basic.get", 2),
        ack(2, 0, True),
        frame("queue.purge"),
        settle(2, 120, 5, 0),
        frame("channel.close_ok", 2),
        frame("channel.open", 2),
        frame("queue.delete"),
        frame("connection.close", 0),
    ]


def run(octets, cuts):
    client = Client()
    script(client)
    attach = client.port.attach

    def attached(sink, principal, namespace):
        door = attach(sink, principal, namespace)
        door.answer = client.port_answer
        return door

    client.port.attach = attached
    for first, last in zip([0, *cuts], [*cuts, len(octets)], strict=True):
        client.send(octets[first:last])
    client.octets()
    published = b"".join(call.data for call in client.door.publishes)
    asked = [type(call.request).__name__ for call in client.door.asked if hasattr(call, "request")]
    return client, published, asked


@settings(max_examples=examples(60), deadline=None)
@given(st.data())
def test_any_split_of_the_bytes_gives_the_same(data):
    octets = b"".join(script(Client()))
    whole, published, asked = run(octets, [])
    cuts = sorted(data.draw(st.sets(st.integers(1, len(octets) - 1), max_size=60)))
    cut, published_cut, asked_cut = run(octets, cuts)
    assert published_cut == published
    assert asked_cut == asked
    assert cut.session.state == whole.session.state == CLOSED
    assert cut.notes == whole.notes

    # Confirms may be joined differently: what they say is the same.
    for tag in (1, 2):
        mine, theirs = ([line for line in parse(client.raw) if line[0] == tag and line[1] not in ("basic.ack", "basic.nack")] for client in (whole, cut))
        assert mine == theirs


def test_byte_by_byte():
    octets = b"".join(script(Client()))
    _, published, asked = run(octets, [])
    assert run(octets, list(range(1, len(octets))))[1:] == (published, asked)


@settings(max_examples=examples(150), deadline=None)
@given(st.data())
def test_rubbish_never_raises(data):
    """Damage anywhere in a good conversation is answered in AMQP's way or ends the connection."""
    octets = bytearray(b"".join(script(Client())))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(8, len(octets) - 1))
        what = data.draw(st.sampled_from(["flip", "cut", "insert"]))
        if what == "flip":
            octets[at] ^= data.draw(st.integers(1, 255))
        elif what == "cut":
            del octets[at : at + data.draw(st.integers(1, 40))]
        else:
            octets[at:at] = data.draw(st.binary(min_size=1, max_size=12))
        if len(octets) <= 9:
            break
    client = Client()
    script(client)
    attach = client.port.attach

    def attached(sink, principal, namespace):
        door = attach(sink, principal, namespace)
        door.answer = client.port_answer
        return door

    client.port.attach = attached
    client.send(bytes(octets))
    client.octets()
    client.session.deadline_reached(1.0)
    client.session.lost("end")


class TestUnfinished:
    """All connections together hold so much of messages that are not whole."""

    def opened(self, shared):
        client = Client(unfinished=shared)
        client.open().open_channel()
        return client

    def begin(self, client, size, whole):
        """A message in body frames of 100,000 bytes, up to `size` of `whole` bytes."""
        client.send(publish_method(1, route(b"", b"q")), content_header(1, whole))
        self.go_on(client, size)

    def go_on(self, client, size):
        for _ in range(size // 100_000):
            client.send(bodies(1, bytes(100_000)))

    def test_the_connection_that_has_waited_longest_is_closed(self):
        shared = Unfinished(1_200_000)
        slow, busy, last = (self.opened(shared) for _ in range(3))
        self.begin(slow, 500_000, 600_000)
        self.begin(busy, 500_000, 600_000)
        self.go_on(busy, 100_000)
        self.begin(busy, 500_000, 600_000)
        assert shared.held_bytes > 600_000
        self.begin(last, 700_000, 800_000)
        assert closing(slow.hear())[:2] == ("connection.close", 506)
        assert slow.session.closing
        for client, size in ((busy, 600_000), (last, 800_000)):
            self.go_on(client, 100_000)
            assert client.door.publishes[-1].body_bytes == size
        assert shared.held_bytes < 100_000
        assert shared.ended_count == 1

    def test_a_message_over_the_limit_closes_its_own_connection(self):
        shared = Unfinished(500_000)
        client = self.opened(shared)
        self.begin(client, 1_000_000, 1_000_000)
        assert closing(client.hear())[:2] == ("connection.close", 506)
        assert client.session.closing
        assert shared.held_bytes == 0
