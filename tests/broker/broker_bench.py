"""A whole broker over a simulated loop, disk and clock, driven through its port by connections that write down what they get."""

from __future__ import annotations

import gc

from entrepot.broker.broker import Broker
from entrepot.broker.calls import requests as r
from entrepot.broker.calls.port import ACCEPT, DONE, PENDING, REFUSED, REJECT, RELEASE, Sink, make_ask, make_publish, make_settle
from entrepot.broker.catalogue.decisions import Decisions
from entrepot.broker.catalogue.stream import CatalogueStream
from entrepot.broker.front.owner_table import OwnerTable
from entrepot.broker.state_kinds import default_folds
from entrepot.model.entry import HAS_EXPIRY, Entry, StoredEntry
from entrepot.model.errors import Refused
from entrepot.model.principal import Principal
from entrepot.protocols.amqp091 import rewriting
from entrepot.protocols.amqp091.fields import decode_table
from entrepot.protocols.amqp091.properties import EXPIRATION, PRIORITY
from entrepot.protocols.amqp091.records import AmqpEntryCodec
from entrepot.simulation.disk import SimulatedDisk
from entrepot.simulation.loop import SimulatedClock, SimulatedEntropy, SimulatedLoop
from entrepot.store.local.opening import open_store
from entrepot.store.local.settings import StoreSettings
from entrepot.store.shard_time import ShardTime
from entrepot.store.volatile import MEMORY_SIZE_MAX, VolatileStore

NS = "public/default"
SMALL = StoreSettings(journal_file_size=1 << 20, journal_unsorted_max=64 << 20, cache_size=1 << 16, entry_count_max=64)
CODEC = AmqpEntryCodec()


class AllowAll:
    """Nobody is refused anything."""

    version = 0

    def watch(self, tell):
        pass

    def authorize(self, *asked):
        pass

    def authorize_namespace(self, principal, namespace):
        pass

    def may(self, *asked):
        return True

    def may_some(self, *asked):
        return True


def address_of(exchange, routing_key):
    return bytes((len(exchange),)) + exchange.encode() + bytes((len(routing_key),)) + routing_key.encode()


def record_of(body, ttl_ms=None, headers=None, priority=None):
    """One packed record; `headers` are (name, type octet and value) pairs."""
    values = {} if ttl_ms is None else {EXPIRATION: bytes((len(str(ttl_ms)),)) + str(ttl_ms).encode()}
    if priority is not None:
        values[PRIORITY] = bytes((priority,))
    return rewriting.Parts(values, headers, body).packed()


def longstr_array(*texts):
    items = b"".join(b"S" + len(text).to_bytes(4, "big") + text for text in texts)
    return b"A" + len(items).to_bytes(4, "big") + items


def bytes_at_hand():
    """Of entries in memory, whoever holds them. The collector does not know them: it is asked who has any."""
    gc.collect()
    found = {}
    for holder in gc.get_objects():
        for one in gc.get_referents(holder):
            entry = one.entry if isinstance(one, StoredEntry) else one
            if isinstance(entry, Entry) and entry.data is not None:
                found[id(entry)] = len(entry.data)
    return sum(found.values())


class Bench:
    """`disk` of another bench: what its broker left there, after a crash (its loop does not run any more)."""

    codecs = ()  # classes of further ones
    topic_defaults = None
    memory_size_max = MEMORY_SIZE_MAX
    authorizer = AllowAll()
    owners = OwnerTable

    def __init__(self, seed=1, bench=None, settings=SMALL):
        self.settings = settings
        self.loop = SimulatedLoop(seed) if bench is None else bench.loop
        self.clock = SimulatedClock(self.loop)
        self.entropy = SimulatedEntropy(self.loop)
        self.disk = SimulatedDisk(self.loop) if bench is None else bench.disk
        self.failed = []
        self.fold = default_folds().fold
        self.store = open_store(self.disk, scheduler=self.loop, clock=self.clock, entropy=self.entropy, fold=self.fold, settings=settings)
        self.volatile = VolatileStore(self.loop, ShardTime(self.clock), self.fold, memory_size_max=self.memory_size_max)
        self.decisions = Decisions.over(CatalogueStream(self.store), lambda: self.entropy.octets(16))
        self.catalogue = self.decisions.catalogue
        self.broker = Broker(
            scheduler=self.loop,
            clock=self.clock,
            entropy=self.entropy,
            store=self.store,
            volatile=self.volatile,
            decisions=self.decisions,
            authorizer=self.authorizer,
            on_failed=self.failed.append,
            topic_defaults=self.topic_defaults,
            owners=self.owners,
        )
        self.broker.register(CODEC)
        for codec in self.codecs:
            self.broker.register(codec())
        self.broker.open()

    def reopen(self):
        """Stop in good order, and start again on the same disk."""
        closed = []
        self.broker.stop()
        self.store.close(lambda: closed.append(True))
        self.loop.run_until(lambda: bool(closed))
        self.disk.close()
        return self.start_again()

    def start_again(self):
        """The process is gone, and another one starts on the same disk."""
        self.loop.forget_all()
        return type(self)(bench=self, settings=self.settings)

    def connect(self):
        return Connection(self)

    def run(self, seconds=0.3):
        """Let what is under way come to its end."""
        self.loop.run_for(seconds)

    def queue(self, name="q"):
        return self.catalogue.namespace(NS).queues[name].runtime

    def exists(self, name):
        return name in self.catalogue.namespace(NS).queues


class Connection(Sink):
    """A connection with streams, of `principal`.

    `got` are (body, redelivered) per consumer's name, in order; `told` (body, how often it was delivered before); `held` are unsettled ones as
    (body, consumer id, offset).
    """

    principal = Principal("me")

    def __init__(self, bench, principal=None):
        self.bench = bench
        self.principal = principal or self.principal
        self.got = {}
        self.told = {}
        self.held = {}
        self.done = []
        self.ended = []
        self.blocked = []
        self.ids = {}
        self.headers = []
        self.revoked_for = None
        self.door = bench.broker.attach(self, self.principal, NS)

    # ---- what the port says

    def completed(self, call):
        assert call.outcome != PENDING
        self.done.append(call)

    def deliver(self, delivery):
        position = delivery.position
        assert delivery.count > 0
        for index in range(delivery.count):
            self._take(delivery, position, delivery.offset + index, delivery.token)
            position = CODEC.skip(delivery.data, position, 1)
        return position

    def _take(self, delivery, position, offset, name):
        parts = rewriting.take_apart(CODEC.split(delivery.data, position, 1)[0])
        parts.body = bytes(parts.body)
        self.got.setdefault(name, []).append((parts.body, delivery.redelivered))
        self.told.setdefault(name, []).append((parts.body, delivery.deliveries))
        assert not delivery.counted or delivery.redelivered
        address = CODEC.address(delivery.data)
        self.headers.append((address[2 + address[0] :], {key.decode(): value for key, value in parts.headers or []}, EXPIRATION in parts.values))
        if not delivery.settled:
            self.held.setdefault(name, []).append((parts.body, delivery.consumer_id, offset))

    def cancelled(self, token):
        self.ended.append(token)

    def revoked(self, reason):
        self.revoked_for = reason

    def throttle(self, blocked, reason):
        self.blocked.append((blocked, reason))

    # ---- what the test says

    def ask(self, request, stream=1):
        """The result; Refused is raised. Time passes until it is there."""
        call = make_ask(stream, request)
        self.door.submit(call)
        self.bench.loop.run_until(lambda: call.outcome != PENDING, 60)
        if call.outcome == REFUSED:
            raise call.error
        assert call.outcome == DONE
        return call.result

    def submit(self, request, stream=1):
        call = make_ask(stream, request)
        self.door.submit(call)
        return call

    def declare(self, name="q", durable=True, exclusive=False, auto_delete=False, passive=False, **arguments):
        arguments = {key.replace("_", "-"): value for key, value in arguments.items()}
        return self.ask(r.DeclareQueue(name, passive, durable, exclusive, auto_delete, arguments))

    def publish(self, *bodies, confirm=True, **how):
        """One run; its call."""
        call = self.run_of(*bodies, confirm=confirm, **how)
        self.door.submit(call)
        return call

    def run_of(self, *bodies, key="q", exchange="", ttl_ms=None, headers=None, confirm=False, mandatory=False, priorities=None):
        """One run as a call that nobody has submitted; `priorities`: of each."""
        data = b"".join(record_of(body, ttl_ms, headers, priority) for body, priority in zip(bodies, priorities or [None] * len(bodies), strict=True))
        flags = 0 if ttl_ms is None else HAS_EXPIRY
        call = make_publish(1, address_of(exchange, key), CODEC.tag, 1, flags, data, len(bodies), sum(map(len, bodies)))
        call.confirm = confirm
        call.mandatory = mandatory
        call.scattered = any(name in (b"CC", b"BCC") for name, _ in headers or [])
        return call

    def put(self, *bodies, **how):
        """publish(), and wait until it is durable."""
        call = self.publish(*bodies, **how)
        self.bench.loop.run_until(lambda: call.outcome != PENDING, 60)
        return call

    def consume(self, name="c", queue="q", stream=1, **how):
        self.ids[name] = self.ask(r.Consume(queue, name, **how), stream)
        return self

    def give_all_back(self):
        """Release whatever is held, neighbours together."""
        ranges = []
        for consumer_id, offset in sorted((consumer_id, offset) for held in self.held.values() for _, consumer_id, offset in held):
            if ranges and ranges[-1][0] == consumer_id and ranges[-1][1] + ranges[-1][2] == offset:
                ranges[-1] = (consumer_id, ranges[-1][1], ranges[-1][2] + 1)
            else:
                ranges.append((consumer_id, offset, 1))
        self.held.clear()
        self.ask(r.Release(ranges))

    def cancel(self, name):
        self.ask(r.Cancel(self.ids[name]))

    def bodies(self, name="c"):
        """What this consumer got since the last time."""
        return [body for body, _ in self.got.pop(name, [])]

    def deliveries(self, name="c"):
        return self.got.pop(name, [])

    def settle(self, disposition, name="c", count=None, index=0):
        """Settle `count` of what the consumer holds, from the `index`th on."""
        held = self.held.get(name, [])
        chosen = held[index:] if count is None else held[index : index + count]
        self.held[name] = held[:index] + held[index + len(chosen) :]
        for _, consumer_id, offset in chosen:
            self.door.submit(make_settle(1, consumer_id, offset, 1, disposition))
        return [body for body, _, _ in chosen]

    def accept(self, *args, **how):
        return self.settle(ACCEPT, *args, **how)

    def release(self, *args, **how):
        return self.settle(RELEASE, *args, **how)

    def reject(self, *args, **how):
        return self.settle(REJECT, *args, **how)

    def get(self, queue="q", auto_settle=False, stream=1):
        """(body, redelivered, how many are left), or None."""
        result = self.ask(r.Get(queue, auto_settle), stream)
        if result is None:
            return None
        delivery, left = result
        self._take(delivery, delivery.position, delivery.offset, "get")
        return (*self.got["get"].pop(), left)

    def close(self):
        self.door.close()


def refused(action, *args, **how):
    try:
        action(*args, **how)
    except Refused as error:
        return str(error)
    raise AssertionError("not refused")


def table_of(value):
    """A header that is a table array, as dictionaries."""
    octets = b"\x01x" + value
    return decode_table(len(octets).to_bytes(4, "big") + octets, 0)[0]["x"]
