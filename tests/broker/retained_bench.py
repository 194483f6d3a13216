"""A broker whose connections keep last values, and copy them into queues, in MQTT's entries."""

from __future__ import annotations

from broker_bench import Bench, Connection, address_of, bytes_at_hand

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.port import PENDING, make_ask, make_publish
from entrepot.broker.calls.retained_requests import RETAINED_QUEUE, CopyRetained, PublishRetained
from entrepot.broker.queue.last_value_rows import decoded, time_prefix, value_prefix
from entrepot.broker.state import prefix_end
from entrepot.model.entry import HAS_EXPIRY
from entrepot.protocols.mqtt.packing import KEPT, expiry_of, flags_of, pack_record, payload_of, properties_of
from entrepot.protocols.mqtt.records import MqttEntryCodec
from entrepot.protocols.mqtt.user_properties import items

CODEC = MqttEntryCodec()


class RetainedBench(Bench):
    codecs = (MqttEntryCodec,)

    def connect(self):
        return RetainedConnection(self)

    @property
    def values(self):
        return self.queue(RETAINED_QUEUE).heads

    def held_bytes(self):
        """Of records that somebody holds, whoever it is: entries in memory, but for the store's cache, which is bounded."""
        return bytes_at_hand()


class RetainedConnection(Connection):
    """`copies`: by consumer (key, payload, expiry, identifiers) of what was delivered marked as copies; `lives`: (key, payload) of the rest."""

    def __init__(self, bench, principal=None):
        super().__init__(bench, principal)
        self.door.codec = CODEC.tag
        self.copies = {}
        self.lives = {}

    def deliver(self, delivery):
        position = delivery.position
        address = CODEC.address(delivery.data)
        key = address[2 + address[0] :].decode()
        for index in range(delivery.count):
            if not delivery.settled:
                self.held.setdefault(delivery.token, []).append((b"", delivery.consumer_id, delivery.offset + index))
            payload = payload_of(delivery.data, position)
            if flags_of(delivery.data, position) & KEPT:
                identifiers = [value for kind, value, _ in items(properties_of(delivery.data, position)) if kind == 0x0B]
                self.copies.setdefault(delivery.token, []).append((key, payload, expiry_of(delivery.data, position), identifiers))
            else:
                self.lives.setdefault(delivery.token, []).append((key, payload))
            position = CODEC.skip(delivery.data, position, 1)
        return position

    def retaining(self, key, *payloads, expiry_s=-1, confirm=True, exchange="amq.topic", kept_only=False):
        """A call that keeps the last of a run, submitted."""
        data = b"".join(pack_record(1, expiry_s, b"", payload) for payload in payloads)
        flags = 0 if expiry_s < 0 else HAS_EXPIRY
        publish = make_publish(1, address_of(exchange, key), CODEC.tag, 1, flags, data, len(payloads), sum(map(len, payloads)))
        publish.confirm = confirm
        call = make_ask(1, PublishRetained(publish, kept_only))
        self.door.submit(call)
        return call

    def retain(self, key, *payloads, **how):
        """The same, and wait until it is answered; the Publish."""
        call = self.retaining(key, *payloads, **how)
        self.bench.loop.run_until(lambda: call.outcome != PENDING, 60)
        if call.error is not None:
            raise call.error
        return call.request.publish

    def copy(self, pattern, queue="q", **how):
        """All pages: how many there were of each."""
        after, counts = b"", []
        while after is not None:
            count, after = self.ask(CopyRetained(pattern, queue, after=after, **how))
            counts.append(count)
        return counts

    def accept_copies(self, name="c"):
        """Settle all that was delivered, and let what is ready come."""
        self.bench.run(0.05)
        self.accept(name)

    def copied(self, pattern, **how):
        """Keys and payloads that a pattern finds, as they come out of a queue that is made for it, and goes."""
        self.declare("copied", exclusive=True, durable=False)
        self.copy(pattern, "copied", **how)
        self.consume("copied", "copied", auto_settle=True)
        self.bench.run()
        self.ask(r.DeleteQueue("copied"))
        return [(key, payload) for key, payload, *_ in self.copies.pop("copied", [])]


def rows_of(bench, prefix):
    return bench.store.scan(bench.queue(RETAINED_QUEUE).log.shard, prefix, prefix_end(prefix), 1 << 20)


def check_rows(bench):
    """Of each row its record lives in the log, and nothing else does; what expires has a row by its time."""
    queue = bench.queue(RETAINED_QUEUE)
    log = queue.log
    values = [decoded(row) for _, row in rows_of(bench, value_prefix(log.id))]
    alive = set(range(log.first_offset, log.next_offset))
    for first, end in log.holes():
        alive -= set(range(first, end))
    assert {value.offset for value in values} == alive
    assert queue.heads.count == len(values)
    assert len(rows_of(bench, time_prefix(log.id))) == sum(value.due_ms > 0 for value in values)
