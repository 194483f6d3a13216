"""A session with a scripted port and a client that speaks frames by hand: no sockets, no clock."""

from __future__ import annotations

from types import SimpleNamespace

from entrepot.broker.calls.port import DONE, PENDING, REFUSED, Ask, Attachment, Delivery, Publish, Settle
from entrepot.broker.calls.requests import CloseStream
from entrepot.model.errors import Reason, Refused
from entrepot.model.principal import Principal
from entrepot.net.turns import Turns
from entrepot.protocols.amqp091.handshake import Settings
from entrepot.protocols.amqp091.methods import decode, encode_frame
from entrepot.protocols.amqp091.records import AmqpEntryCodec
from entrepot.protocols.amqp091.session import Session

HEADER = b"AMQP\x00\x00\x09\x01"
CAPABLE = {"capabilities": {"consumer_cancel_notify": True, "connection.blocked": True, "authentication_failure_close": True, "basic.nack": True}}
CODEC = AmqpEntryCodec()

# What reserved and optional arguments are when a test does not say.
DEFAULTS = {
    "connection.start_ok": {"client_properties": CAPABLE, "mechanism": "PLAIN", "response": b"\0guest\0guest", "locale": "en_US"},
    "connection.tune_ok": {"channel_max": 2047, "frame_max": 131072, "heartbeat": 0},
    "connection.open": {"virtual_host": "/"},
    "connection.close": {"reply_code": 200, "reply_text": "bye", "class_id": 0, "method_id": 0},
    "channel.close": {"reply_code": 200, "reply_text": "bye", "class_id": 0, "method_id": 0},
    "channel.flow": {"active": True},
    "access.request": {"realm": "/data", "exclusive": False, "passive": True, "active": True, "write": True, "read": True},
    "confirm.select": {"nowait": False},
    "exchange.declare": {
        "exchange": "e",
        "type": "direct",
        "passive": False,
        "durable": False,
        "auto_delete": False,
        "internal": False,
        "nowait": False,
        "arguments": {},
    },
    "exchange.delete": {"exchange": "e", "if_unused": False, "nowait": False},
    "exchange.bind": {"destination": "d", "source": "s", "routing_key": "k", "nowait": False, "arguments": {}},
    "exchange.unbind": {"destination": "d", "source": "s", "routing_key": "k", "nowait": False, "arguments": {}},
    "queue.declare": {
        "queue": "q",
        "passive": False,
        "durable": False,
        "exclusive": False,
        "auto_delete": False,
        "nowait": False,
        "arguments": {},
    },
    "queue.bind": {"queue": "q", "exchange": "e", "routing_key": "k", "nowait": False, "arguments": {}},
    "queue.unbind": {"queue": "q", "exchange": "e", "routing_key": "k", "arguments": {}},
    "queue.purge": {"queue": "q", "nowait": False},
    "queue.delete": {"queue": "q", "if_unused": False, "if_empty": False, "nowait": False},
    "basic.qos": {"prefetch_size": 0, "prefetch_count": 10, "global_qos": False},
    "basic.consume": {"queue": "q", "consumer_tag": "t", "no_local": False, "no_ack": False, "exclusive": False, "nowait": False, "arguments": {}},
    "basic.cancel": {"consumer_tag": "t", "nowait": False},
    "basic.get": {"queue": "q", "no_ack": False},
    "basic.ack": {"delivery_tag": 1, "multiple": False},
    "basic.nack": {"delivery_tag": 1, "multiple": False, "requeue": True},
    "basic.reject": {"delivery_tag": 1, "requeue": True},
    "basic.recover": {"requeue": True},
    "basic.recover_async": {"requeue": True},
}


def frame(name, channel=1, /, **arguments):
    return encode_frame(channel, name, **{**DEFAULTS.get(name, {}), **arguments})


class Door(Attachment):
    """One attachment of the scripted port: `asked` are the calls in order; `answer` completes them at once unless it is None."""

    def __init__(self, sink):
        self.sink = sink
        self.namespace = ""
        self.principal = None
        self.writable = True
        self.closed = False
        self.spent = 0
        self.asked = []
        self.answer = None
        self.resumed = 0
        self.closings = 0
        self.headers = False  # whether all addresses lead where headers say
        self.elsewhere = {}  # the other process that has a queue
        self.bound = False  # to this process
        self.owing = False

    def by_headers(self, address):
        return self.headers

    def wait_for_catalogue(self):
        pass

    def submit(self, call):
        call.attachment = self
        self.asked.append(call)
        if isinstance(call, Ask) and isinstance(call.request, CloseStream):
            complete(call)
        elif isinstance(call, Settle):
            call.outcome = DONE
        elif self.answer is not None:
            self.answer(call)

    def resume(self):
        self.writable = True
        self.resumed += 1

    def close(self):
        self.closed = True
        self.closings += 1

    # what tests look at

    @property
    def requests(self):
        return [call.request for call in self.asked if isinstance(call, Ask) and not isinstance(call.request, CloseStream)]

    @property
    def pending(self):
        return [call for call in self.asked if call.outcome == PENDING]

    @property
    def publishes(self):
        return [call for call in self.asked if isinstance(call, Publish)]

    @property
    def settles(self):
        return [(call.consumer_id, call.first, call.count, call.disposition) for call in self.asked if isinstance(call, Settle)]

    @property
    def ended_streams(self):
        return [call.stream for call in self.asked if isinstance(call, Ask) and isinstance(call.request, CloseStream)]


def complete(call, result=None, outcome=DONE, error=None):
    call.result = result
    call.outcome = outcome
    call.error = error
    call.attachment.sink.completed(call)


def refuse(call, reason=Reason.NOT_FOUND, text="no"):
    complete(call, outcome=REFUSED, error=Refused(reason, text))


class Port:
    def __init__(self):
        self.doors = []
        self.refusal = None

    def process_of(self, door, queue):
        return door.elsewhere.get(queue, "")

    def may_leave(self, door, process):
        return not door.bound

    def owes(self, door):
        return door.owing

    def attach(self, sink, principal, namespace):
        if self.refusal is not None:
            raise self.refusal
        self.doors.append(Door(sink))
        self.doors[-1].namespace = namespace
        return self.doors[-1]


class Authenticator:
    """guest with guest; `held` keeps the answers back."""

    def __init__(self):
        self.held = None
        self.asked = []

    def credential_of(self, principal):
        return None if principal.name == "going" else principal.name.encode()

    def who_has(self, name, mechanism, credential):
        return Principal(name) if credential == name.encode() and name != "gone" else None

    def plain(self, user, password, peer, done):
        self.asked.append((user, password))
        principal = Principal("guest") if (user, password) == ("guest", "guest") else None
        if self.held is None:
            done(principal)
        else:
            self.held.append(lambda: done(principal))


class Client:
    """The peer of one session. `said` are the frames received so far as (channel, name, arguments) or (channel, "content", properties, body)."""

    def __init__(self, settings=None, unfinished=None):
        self.port = Port()
        self.authenticator = Authenticator()
        self.wakes = 0
        self.notes = []
        self.looks = []
        self.later = []
        self.holds = False  # who sends says when the loop's turns are
        self.session = Session(self.port, self.authenticator, settings or Settings(), "peer", self._wake, self._note, Turns(self.later.append), unfinished)
        self.raw = b""

    def turn(self):
        """A turn of the loop; whether there was anything to do."""
        due, self.later[:] = self.later[:], []
        for function in due:
            function()
        return bool(due)

    def _note(self, text, look=""):
        self.notes.append(text)
        self.looks.append(look)

    def _wake(self):
        self.wakes += 1

    @property
    def door(self):
        return self.port.doors[-1]

    def send(self, *parts):
        data = b"".join(parts)
        position = 0
        while position < len(data):
            view = memoryview(self.session.get_buffer(-1))
            step = min(len(view), len(data) - position)
            view[:step] = data[position : position + step]
            position += step
            self.session.buffer_updated(step)
        while not self.holds and self.turn():
            pass
        return self

    def say(self, name, channel=1, /, **arguments):
        """Send one method; what comes back."""
        self.send(frame(name, channel, **arguments))
        return self.hear()

    def octets(self):
        """What the session has to send, as the network takes it."""
        octets = b"".join(self.session.output.take())
        if octets:
            self.session.flushed()
        self.raw += octets
        return octets

    def hear(self):
        """The frames that have come since the last time."""
        return parse(self.octets())

    def names(self):
        return [said[1] for said in self.hear()]

    # ways to a connection

    def greet(self):
        self.send(HEADER)
        return self.hear()

    def open(self, heartbeat=0, **start):
        """A connection with nothing said about it."""
        self.send(HEADER, frame("connection.start_ok", 0, **start))
        self.send(frame("connection.tune_ok", 0, heartbeat=heartbeat), frame("connection.open", 0))
        assert self.names() == ["connection.start", "connection.tune", "connection.open_ok"]
        return self

    def open_channel(self, number=1):
        assert [said[1] for said in self.say("channel.open", number)] == ["channel.open_ok"]
        return self

    def confirming(self, number=1):
        assert [said[1] for said in self.say("confirm.select", number)] == ["confirm.select_ok"]
        return self

    def consume(self, consumer_id=7, tag="t", number=1, **arguments):
        """A consumer, answered; its token."""
        before = len(self.door.asked)
        self.send(frame("basic.consume", number, consumer_tag=tag, **arguments))
        call = self.door.asked[before]
        complete(call, consumer_id)
        assert [said[1] for said in self.hear()] == ["basic.consume_ok"]
        return call.request.token

    def deliver(self, token, offset, bodies, consumer_id=7, redelivered=False, settled=False, key=(b"", b"q"), from_topic=False):
        """As the port does it."""
        entry = entry_of(bodies, key)
        delivery = Delivery.__new__(Delivery)
        delivery.append_time_ms = 0
        delivery.consumer_id = consumer_id
        delivery.token = token
        delivery.codec = CODEC.tag
        delivery.codec_version = 1
        delivery.data = entry
        delivery.position = CODEC.start(entry)
        delivery.count = len(bodies)
        delivery.offset = offset
        delivery.deliveries = int(redelivered)
        delivery.redelivered = redelivered
        delivery.counted = False
        delivery.settled = settled
        delivery.from_topic = from_topic
        return delivery, self.session.deliver(delivery) if token is not None else -1


def entry_of(bodies, key=(b"", b"q")):
    exchange, routing_key = key
    address = bytes((len(exchange),)) + exchange + bytes((len(routing_key),)) + routing_key
    return CODEC.prefix(address) + b"".join(b"\x00\x00\x00\x02" + len(body).to_bytes(4, "big") + b"\x00\x00" + body for body in bodies)


def parse(octets):
    """Frames: methods by name with their arguments, contents joined; heartbeats as such."""
    if octets == HEADER:
        return [(0, "header", {})]
    said = []
    position = 0
    unfinished = {}
    while position < len(octets):
        kind = octets[position]
        channel = int.from_bytes(octets[position + 1 : position + 3], "big")
        size = int.from_bytes(octets[position + 3 : position + 7], "big")
        payload = octets[position + 7 : position + 7 + size]
        assert octets[position + 7 + size] == 0xCE
        position += size + 8
        if kind == 1:
            assert channel not in unfinished, "a method inside a content"
            method = decode(payload)
            said.append((channel, method.method.name, method.arguments))
        elif kind == 2:
            unfinished[channel] = SimpleNamespace(left=int.from_bytes(payload[4:12], "big"), properties=payload[12:], body=b"")
        elif kind == 3:
            unfinished[channel].body += payload
            unfinished[channel].left -= len(payload)
        else:
            assert (kind, channel, payload) == (8, 0, b"")
            said.append((0, "heartbeat", {}))
        content = unfinished.get(channel)
        if content is not None and content.left == 0:
            del unfinished[channel]
            said.append((channel, "content", content.properties, content.body))
    assert not unfinished
    return said


def closing(said):
    """(name, reply code, culprit) of the last thing said, a channel.close or connection.close."""
    channel, name, arguments = said[-1]
    assert name in ("channel.close", "connection.close"), said
    assert (channel == 0) == (name == "connection.close")
    return name, arguments["reply_code"], (arguments["class_id"], arguments["method_id"])
