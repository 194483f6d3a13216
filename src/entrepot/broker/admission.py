"""Admission: publishes that need a look at each record, or at each target.

That is: targets that differ by record (a headers exchange, or headers that name further routing keys), targets that may refuse
(a queue with a length limit that rejects), and topics of several partitions. Interpreted: none of these is the bulk path.
"""

from __future__ import annotations

from typing import Any

from entrepot.broker.key_hash import key_hash
from entrepot.broker.port import DONE, Publish
from entrepot.broker.publisher import Path, Publisher
from entrepot.broker.queue import Queue
from entrepot.model.entry import HAS_EXPIRY, make_entry
from entrepot.store.interface import Log


class Admission:
    """Stages what Publisher cannot stage as a whole."""

    def publish(self, publisher: Publisher, path: Path, call: Publish) -> bool:
        """As Publisher.publish(); sets call.returned and call.nacked where records fare differently."""
        return self._publish(publisher, path, call, False)

    def publish_dead(self, publisher: Publisher, path: Path, call: Publish) -> None:
        """Publish a dead letter, but not to queues that it came to in a circle."""
        self._publish(publisher, path, call, True)

    def _publish(self, publisher: Publisher, path: Path, call: Publish, dead: bool) -> bool:
        codec = publisher.hub.codec(call.codec)
        if not (dead or call.scattered or path.by_record or any(queue.rejects_when_full for queue in path.queues)):
            return self._spread(publisher, path, call, codec)
        records = codec.split(call.data, 0, call.count)
        durable = False
        staged = False
        returned: list[int] = []
        nacked: list[int] = []
        exchange, routing_key = split_address(call.address)
        for index, record in enumerate(records):
            targets = self._targets(path, call, codec, record, exchange, routing_key)
            if dead:
                targets = [target for target in targets if not (isinstance(target, Queue) and codec.is_cycle(record, target.name))]
            if not targets:
                returned.append(index)
                continue
            if call.scattered:
                record = codec.without_hidden_keys(record)
            body_bytes = codec.body_bytes(record, 0, 1)
            accepted = [target for target in targets if not self._refuses(target, body_bytes)]
            if len(accepted) < len(targets):
                nacked.append(index)
                self._dead_letter(call, codec, record, targets, accepted)
            if accepted:
                staged = True
                durable = self._stage(publisher, call, record, body_bytes, accepted) or durable
        call.returned = returned if len(returned) < call.count else None
        call.unroutable = len(returned) == call.count
        call.nacked = nacked or None
        if not staged or not call.confirm:
            call.outcome = DONE
            return True
        (publisher.store if durable else publisher.volatile).group().calls.append(call)
        return False

    def _spread(self, publisher: Publisher, path: Path, call: Publish, codec: Any) -> bool:
        """Every record goes to every target, and nobody refuses: a run is one entry, and in topics of several partitions one in each that it has keys of."""
        prefix = codec.prefix(path.address)
        for queue in path.queues:
            if call.flags & HAS_EXPIRY:
                queue.note_expiry()
            queue.note_appended(call.body_bytes)
        spread = [topic for topic in path.topics if len(topic.logs) > 1]
        for store, logs in ((publisher.store, path.durable_logs), (publisher.volatile, path.volatile_logs)):
            if logs:
                store.append(logs, make_entry(call.codec, call.codec_version, call.flags, prefix, call.data, call.count))
                store.urgent()
        if spread:
            records = codec.split(call.data, 0, call.count)
            hashes = [-1 if (key := codec.key(record, 0)) is None else key_hash(key) for record in records]
            for topic in spread:
                keyless = topic.next_log()
                runs: dict[Log, list[bytes]] = {}
                for hashed, record in zip(hashes, records, strict=True):
                    runs.setdefault(keyless if hashed < 0 else topic.log_of_key(hashed), []).append(record)
                for log, run in runs.items():
                    publisher.store.append([log], make_entry(call.codec, call.codec_version, call.flags, prefix, b"".join(run), len(run)))
            publisher.store.urgent()
        durable = bool(spread or path.durable_logs)
        if not call.confirm or not (durable or path.volatile_logs):
            call.unroutable = not (durable or path.volatile_logs)
            call.outcome = DONE
            return True
        (publisher.store if durable else publisher.volatile).group().calls.append(call)
        return False

    def _targets(self, path: Path, call: Publish, codec: Any, record: bytes, exchange: str, routing_key: str) -> list[Any]:
        """The live targets of one record, each once."""
        keys = [routing_key]
        if call.scattered:
            keys += codec.further_keys(record, 0)
        found: dict[int, Any] = {}
        for key in keys:
            route = path.route if key == routing_key else path.router.route(exchange, key)
            definitions = route.targets
            if route.needs_headers and path.sender is not None:
                definitions = path.router.subject_targets(path.sender, codec.headers(record, 0))
            elif route.needs_headers:
                definitions = path.router.route_with_headers(exchange, key, codec.headers(record, 0))
            for definition in definitions:
                found[id(definition)] = definition.runtime
        return list(found.values())

    @staticmethod
    def _dead_letter(call: Publish, codec: Any, record: bytes, targets: list[Any], accepted: list[Any]) -> None:
        """reject-publish-dlx: what a full queue refuses goes to its dead-letter exchange."""
        entry = make_entry(call.codec, call.codec_version, call.flags, codec.prefix(call.address), record, 1)
        entry.seal()
        for target in targets:
            if target not in accepted and target.rejects_to_dead_letters and target.dead_letters is not None:
                target.dead_letters.publish_refused(entry, record)

    @staticmethod
    def _refuses(target: Any, body_bytes: int) -> bool:
        return isinstance(target, Queue) and target.rejects_when_full and target.is_full(1, body_bytes)

    @staticmethod
    def _stage(publisher: Publisher, call: Publish, record: bytes, body_bytes: int, targets: list[Any]) -> bool:
        """Append one record at each target; whether any of them is durable."""
        durable_logs: list[Log] = []
        volatile_logs: list[Log] = []
        codec = publisher.hub.codec(call.codec)
        for target in targets:
            if isinstance(target, Queue):
                if call.flags & HAS_EXPIRY:
                    target.note_expiry()
                target.note_appended(body_bytes)
                (volatile_logs if target.log.volatile else durable_logs).append(target.log)
            else:
                key = codec.key(record, 0)
                durable_logs.append(target.next_log() if key is None else target.log_of_key(key_hash(key)))
        for store, logs in ((publisher.store, durable_logs), (publisher.volatile, volatile_logs)):
            if logs:
                store.append(logs, make_entry(call.codec, call.codec_version, call.flags, codec.prefix(call.address), record, 1))
                store.urgent()
        return bool(durable_logs)


def split_address(address: bytes) -> tuple[str, str]:
    """The exchange's name and the routing key of an address (port.Publish)."""
    size = address[0]
    return address[1 : 1 + size].decode("utf-8", "surrogateescape"), address[2 + size :].decode("utf-8", "surrogateescape")


def make_address(exchange: str, routing_key: str) -> bytes:
    """The address of an exchange's name and a routing key."""
    name = exchange.encode("utf-8", "surrogateescape")
    key = routing_key.encode("utf-8", "surrogateescape")
    return bytes([len(name)]) + name + bytes([len(key)]) + key
