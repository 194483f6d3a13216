"""WorkersRetainedRun: last values over three workers that are killed, stand still and lose their links, wherever they are published and looked at.

Of each key the values come from one client at a time, in order. Whoever asks for all of them is told, of each key, the last that was confirmed before he asked,
or one that was published after that; nothing, where that took it away. At the end all workers tell the same.
"""

from __future__ import annotations

from typing import Any

from entrepot.broker.calls import requests as r
from entrepot.broker.calls.port import DONE, UNAVAILABLE, Delivery, make_ask, make_publish
from entrepot.broker.calls.retained_requests import CopyRetained, PublishRetained
from entrepot.broker.front.parting import make_address
from entrepot.model.errors import NotDone
from entrepot.protocols.mqtt.packing import pack_record, payload_of
from entrepot.protocols.mqtt.records import MqttEntryCodec
from entrepot.simulation.store_model import Violation
from entrepot.simulation.store_run import Seams
from entrepot.simulation.workers_port_run import Peer, Steps, WorkersPortRun

KEYS = tuple(f"k.{number}" for number in range(6))
PUBLISHERS = 3  # of which each has every third key
TAKES_AWAY = 0.2
DRAIN_S = 40.0


class Value:
    """One that was published, as the run's so manieth thing. `done`: it was confirmed."""

    def __init__(self, payload: bytes, number: int = 0) -> None:
        self.payload = payload
        self.number = number
        self.done = False


class WorkersRetainedRun(WorkersPortRun):
    """One seed's run."""

    def __init__(self, seed: int, seams: Seams | None = None) -> None:
        super().__init__(seed, seams)
        self.values_codec = MqttEntryCodec()
        self.codecs.append(self.values_codec)
        self.values: dict[str, list[Value]] = {key: [] for key in KEYS}
        self.publishers: list[Publisher | None] = [None] * PUBLISHERS
        self.looks: list[Look] = []
        # what came of it
        self.confirmed = 0
        self.looked = 0
        self.certain = 0  # values of which there was only one that could be

    def prepare(self) -> None:
        """Nothing is there: the queue of values is made by the first that publishes."""

    def act(self) -> None:
        """Somebody publishes, or looks."""
        number = self.chance.randrange(PUBLISHERS)
        publisher = self.publishers[number]
        if publisher is None:
            self.publishers[number] = Publisher(self, number)
        elif self.chance.random() < 0.7:
            for _ in range(self.chance.choice((1, 1, 3))):
                publisher.publish()
        elif self.chance.random() < 0.9:
            Look(self)
        elif not publisher.waits:  # what it has published may else come behind what it publishes elsewhere
            publisher.close()

    def possible(self, key: str) -> list[Value]:
        """What may be there now, if nothing more comes: the last that was confirmed, and what came after it."""
        values = self.values[key]
        last = max((index for index, value in enumerate(values) if value.done), default=-1)
        return values[last:] if last >= 0 else [Value(b""), *values]

    def drain(self) -> None:
        """All is answered, and looked at, from each worker."""
        self.loop.run_for(DRAIN_S)
        for publisher in self.publishers:
            if publisher is not None and publisher.waits:
                raise Violation(f"{publisher.waits} values are neither confirmed nor refused")
        for look in list(self.looks):
            look.close()
        self.last_looks = [Look(self) for _ in range(5)]
        self.loop.run_for(DRAIN_S)

    def conclude(self) -> None:
        """See CrashingRun."""
        if not all(look.is_done for look in self.last_looks):
            raise Violation("who asks for the values at the end is not told all of them")
        found = self.last_looks[0].found
        if any(look.found != found for look in self.last_looks):
            raise Violation("not all are told the same")


class Publisher(Peer):
    """Who publishes some of the keys, until its connection is lost."""

    def __init__(self, run: WorkersRetainedRun, number: int) -> None:
        super().__init__(run, run.values_codec.tag)
        self.run = run
        self.number = number
        self.waits = 0

    def publish(self) -> None:
        """A value, or that there is none."""
        run, codec = self.run, self.run.values_codec
        key = run.chance.choice(KEYS[self.number :: PUBLISHERS])
        run.serial += 1
        payload = b"" if run.chance.random() < TAKES_AWAY else b"%06d" % run.serial + b"." * run.chance.choice((0, 0, 300))
        value = Value(payload, run.serial)
        run.values[key].append(value)
        data = pack_record(1, -1, b"", payload)
        publish = make_publish(1, make_address("amq.topic", key), codec.tag, codec.version, 0, data, 1, len(payload))
        publish.confirm = True
        self.waits += 1
        self.submit(make_ask(1, PublishRetained(publish)), lambda call: self._answered_of(key, value, call))

    def _answered_of(self, key: str, value: Value, call: Any) -> None:
        self.waits -= 1
        if call.outcome == DONE and not call.request.publish.nacked:
            value.done = True
            self.run.confirmed += 1
        elif call.outcome == UNAVAILABLE:
            self.run.values[key].remove(value)

    def lost(self) -> None:
        """See Peer."""
        self.run.publishers[self.number] = None


class Look(Peer):
    """Who asks for all values, and compares."""

    def __init__(self, run: WorkersRetainedRun) -> None:
        super().__init__(run, run.values_codec.tag)
        self.run = run
        self.found: dict[str, bytes] = {}
        self.copied = -1  # how many are to come, when that is known
        self.came = 0
        self.begun = 0  # what the run had counted when it asked
        self.allowed: dict[str, list[Value]] = {}
        self.is_done = False
        run.looks.append(self)
        run.serial += 1
        self.begin(self._steps(f"look-{run.serial}"))

    def _steps(self, queue: str) -> Steps:
        try:
            yield r.DeclareQueue(queue, durable=False, exclusive=True)
            yield r.Consume(queue, "c", auto_settle=True)
            run = self.run
            self.allowed = {key: run.possible(key) for key in KEYS}
            self.begun = run.serial
            copied, after = 0, b""
            limit = run.chance.choice((1, 2, 256))
            while after is not None:
                count, after = yield CopyRetained("k.#", queue, after=after, limit=limit)
                copied += count
            self.copied = copied
            self._compare()
        except NotDone:
            self.close()

    def deliver(self, delivery: Delivery) -> int:
        """See Sink."""
        codec = self.run.values_codec
        position = delivery.position
        address = codec.address(delivery.data)
        key = address[2 + address[0] :].decode()
        for _ in range(delivery.count):
            if key in self.found:
                self.run.violated(f"{key} is told twice")
            self.found[key] = bytes(payload_of(delivery.data, position))
            self.came += 1
            position = codec.skip(delivery.data, position, 1)
        self._compare()
        return -1

    def _compare(self) -> None:
        """When all of it has come."""
        if self.came != self.copied or self.is_done:
            return
        run = self.run
        self.is_done = True
        run.looked += 1
        for key in KEYS:
            since = [value for value in run.values[key] if value.number > self.begun]
            allowed = {value.payload for value in (*self.allowed[key], *since)}
            run.certain += len(allowed) == 1
            told = self.found.get(key, b"")
            if told not in allowed:
                self.run.violated(f"{key} is said to be {told!r}, and may be {sorted(allowed)}")
        run.loop.call_soon(self.close)

    def lost(self) -> None:
        """See Peer."""
        self.run.looks.remove(self)
