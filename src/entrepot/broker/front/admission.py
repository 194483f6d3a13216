"""Admission: publishes that need a look at each record, or at each target.

That is: targets that differ by record (a headers exchange, or headers that name further routing keys), targets that may refuse
(a queue with a length limit that rejects), and topics of several partitions. What is looked at of a record is looked at by its codec, compiled, for
a whole call; here are the runs of records that fare alike. Only dead letters and records with further routing keys (CC, BCC) are taken one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from entrepot.broker.calls.port import DONE, Publish
from entrepot.broker.front.publisher import Path, Publisher
from entrepot.broker.front.replies import ReplyBox
from entrepot.broker.queue.queue import Queue
from entrepot.model.entry import HAS_EXPIRY, make_entry
from entrepot.store.interface import Log


class Admission:
    """Stages what Publisher cannot stage as a whole.

    `authorize_route`(attachment, route) says, by Refused, where a route reaches a topic by name that the attachment's principal may not write into;
    for a call's own address that was asked when its path was made, for further routing keys it is asked here.
    """

    def __init__(self) -> None:
        self.authorize_route: Any = None

    def publish(self, publisher: Publisher, path: Path, call: Publish) -> bool:
        """As Publisher.publish(); sets call.returned and call.nacked where records fare differently. Unavailable: nothing was staged."""
        if publisher.store.closed:  # a target may not be here: look at all of them before the first is staged
            for _ in self.loads(path, call, publisher.hub.codec(call.codec)):
                pass
        if call.scattered:
            return self._one_by_one(publisher, path, call, False)
        codec = publisher.hub.codec(call.codec)
        if path.by_record:
            groups = self._by_headers(path, call, codec)
        else:
            groups = [([*path.queues, *path.topics], call.data, range(call.count))]
        returned: list[int] = []
        nacked: list[int] = []
        staged = durable = False
        for targets, data, indices in groups:
            if not targets:
                returned.extend(indices)
            for accepted, run, count in self._admitted(call, codec, targets, data, indices, nacked):
                staged = True
                durable = self._stage(publisher, call, run, count, codec.body_bytes(run, 0, count), accepted) or durable
        return self._answer(publisher, call, returned, nacked, staged, durable)

    def loads(self, path: Path, call: Publish, codec: Any) -> Iterator[tuple[list[Any], int, int]]:
        """What publish() would bring to which targets: (targets, records, bytes of their bodies), each record once. Refused where that would be."""
        if call.scattered:
            exchange, routing_key = split_address(call.address)
            self._authorize_further(path, call, codec, exchange)
            for record in codec.split(call.data, 0, call.count):
                yield self._targets(path, call, codec, record, exchange, routing_key), 1, codec.body_bytes(record, 0, 1)
            return
        if not path.by_record:
            yield [*path.queues, *path.topics], call.count, call.body_bytes
            return
        for targets, data, indices in self._by_headers(path, call, codec):
            yield targets, len(indices), codec.body_bytes(data, 0, len(indices))

    def publish_dead(self, publisher: Publisher, path: Path, call: Publish) -> None:
        """Publish a dead letter, but not to queues that it came to in a circle. It is one record: where a target is Unavailable nothing was staged."""
        self._one_by_one(publisher, path, call, True)

    def append_dead(self, publisher: Publisher, call: Publish, queues: list[Any], hidden: bytes) -> None:
        """Stage dead letters of another owner's at their queues here; those that are full refuse what they have no room for. Refused: nothing was staged."""
        codec = publisher.hub.codec(call.codec)
        for accepted, run, count in self._admitted(call, codec, queues, call.data, range(call.count), [], hidden):
            self._stage(publisher, call, run, count, codec.body_bytes(run, 0, count), accepted, hidden)

    @staticmethod
    def _answer(publisher: Publisher, call: Publish, returned: list[int], nacked: list[int], staged: bool, durable: bool) -> bool:
        call.returned = sorted(returned) if 0 < len(returned) < call.count else None
        call.unroutable = len(returned) == call.count
        call.nacked = sorted(nacked) or None
        if not staged or not call.confirm:
            call.outcome = DONE
            return True
        (publisher.store if durable else publisher.volatile).group().calls.append(call)
        return False

    # ---- runs

    def _by_headers(self, path: Path, call: Publish, codec: Any) -> list[tuple[list[Any], bytes, Sequence[int]]]:
        """The call's records in groups that go to the same targets: (targets, records, their indices). Each target gets its records in their order."""
        found: dict[bytes, tuple[int, ...]] = {}  # by what decides: which targets
        by_id: dict[int, Any] = {}
        exchange, routing_key = split_address(call.address)
        runs: list[tuple[tuple[int, ...], int, int, int, int]] = []
        index = 0
        for alike, position, end, count in codec.header_runs(call.data, call.count):
            key = found.get(alike)
            if key is None:
                targets = self._targets(path, call, codec, call.data[position:end], exchange, routing_key)
                by_id.update((id(target), target) for target in targets)
                key = found[alike] = tuple(id(target) for target in targets)
            runs.append((key, position, end, index, count))
            index += count
        keys = set(found.values())
        groups: list[tuple[list[Any], list[bytes], list[int]]] = []
        group_of: dict[tuple[int, ...], tuple[list[Any], list[bytes], list[int]]] = {}
        if sum(map(len, keys)) != len(by_id):
            last: tuple[int, ...] | None = None  # some target is in two groups: neighbours alone may be joined
            for key, position, end, first, count in runs:
                if key != last:
                    groups.append(([by_id[target] for target in key], [], []))
                    last = key
                groups[-1][1].append(call.data[position:end])
                groups[-1][2].extend(range(first, first + count))
        else:
            for key, position, end, first, count in runs:
                group = group_of.get(key)
                if group is None:
                    group = group_of[key] = ([by_id[target] for target in key], [], [])
                    groups.append(group)
                group[1].append(call.data[position:end])
                group[2].extend(range(first, first + count))
        return [(targets, b"".join(pieces), indices) for targets, pieces, indices in groups]

    def _admitted(
        self, call: Publish, codec: Any, targets: list[Any], data: bytes, indices: Sequence[int], nacked: list[int], hidden: bytes = b""
    ) -> Any:  # an iterator of (targets, records, count)
        """Runs of the records with the targets that take them; the caller stages each before the next. Adds to `nacked` what some target refuses."""
        choosy = [target for target in targets if isinstance(target, Queue) and target.rejects_when_full]
        if not choosy:
            if targets:
                yield targets, data, len(indices)
            return
        at = position = 0
        while at < len(indices):
            run, refusing = self._alike(choosy, codec, data, position, len(indices) - at)
            end = codec.skip(data, position, run)
            records = data if run == len(indices) else data[position:end]
            accepted = [target for target in targets if target not in refusing]
            if refusing:
                nacked.extend(indices[at : at + run])
                self._dead_letter(call, codec, records, run, refusing, hidden)
            if accepted:
                yield accepted, records, run
            at += run
            position = end

    @staticmethod
    def _alike(choosy: list[Queue], codec: Any, data: bytes, position: int, left: int) -> tuple[int, list[Queue]]:
        """How many of the next `left` records the same queues refuse, and which queues."""
        run = left
        refusing = []
        for queue in choosy:
            room = left if queue.length_max < 0 else max(0, min(left, queue.length_max - queue.depth()))
            if not room:
                refusing.append(queue)
                continue
            if queue.bytes_max >= 0:
                bytes_left = queue.bytes_max - queue.ready_bytes
                room = codec.fitting_count(data, position, room, bytes_left)
                if not room:
                    refusing.append(queue)
                    run = min(run, codec.larger_count(data, position, left, bytes_left))
                    continue
            run = min(run, room)
        return run, refusing

    @staticmethod
    def _stage(publisher: Publisher, call: Publish, data: bytes, count: int, body_bytes: int, targets: list[Any], hidden: bytes = b"") -> bool:
        """Append `count` records at each target; whether any of them is durable. Refused: nothing was staged (volatile logs alone may refuse)."""
        durable_logs: list[Log] = []
        volatile_logs: list[Log] = []
        spread = []
        for target in targets:
            if isinstance(target, Queue):
                (volatile_logs if target.log.volatile else durable_logs).append(target.log)
            elif len(target.logs) == 1:
                durable_logs.append(target.logs[0])
            else:
                spread.append(target)
        prefix = _prefix(publisher.hub.codec(call.codec), call.address, hidden)
        for store, logs in ((publisher.volatile, volatile_logs), (publisher.store, durable_logs)):
            if logs:
                store.append(logs, make_entry(call.codec, call.codec_version, call.flags, prefix, data, count))
                store.urgent()
        for target in targets:
            if isinstance(target, Queue):
                if call.flags & HAS_EXPIRY:
                    target.note_expiry()
                target.note_appended(body_bytes)
        codec = publisher.hub.codec(call.codec)
        for topic in spread:
            for number, records, many in codec.by_partition(data, count, len(topic.logs), topic.next_partition()):
                publisher.store.append([topic.logs[number]], make_entry(call.codec, call.codec_version, call.flags, prefix, records, many))
        if spread:
            publisher.store.urgent()
        return bool(spread or durable_logs)

    # ---- records

    def _one_by_one(self, publisher: Publisher, path: Path, call: Publish, dead: bool) -> bool:
        codec = publisher.hub.codec(call.codec)
        durable = staged = False
        returned: list[int] = []
        nacked: list[int] = []
        exchange, routing_key = split_address(call.address)
        if call.scattered and not dead:
            self._authorize_further(path, call, codec, exchange)
        for index, record in enumerate(codec.split(call.data, 0, call.count)):
            targets = self._targets(path, call, codec, record, exchange, routing_key)
            if dead:
                targets = [target for target in targets if not (isinstance(target, Queue) and codec.is_cycle(record, target.name))]
            if not targets:
                returned.append(index)
            hidden = b""
            if call.scattered:
                record, hidden = codec.without_hidden_keys(record)
            if boxes := [target for target in targets if isinstance(target, ReplyBox)]:
                targets = [target for target in targets if not isinstance(target, ReplyBox)]
                prefix = _prefix(codec, call.address, hidden)
                for box in boxes:
                    box.put(prefix + record, len(prefix), 1, call.codec)
            for accepted, run, count in self._admitted(call, codec, targets, record, (index,), nacked, hidden):
                staged = True
                durable = self._stage(publisher, call, run, count, codec.body_bytes(run, 0, 1), accepted, hidden) or durable
        return self._answer(publisher, call, returned, nacked, staged, durable)

    def _authorize_further(self, path: Path, call: Publish, codec: Any, exchange: str) -> None:
        """Refused if a further routing key of any record reaches a topic that may not be written into; nothing is staged yet."""
        if self.authorize_route is not None:
            keys = {key for record in codec.split(call.data, 0, call.count) for key in codec.further_keys(record, 0)}
            for key in keys:
                self.authorize_route(call.attachment, path.router.route(exchange, key))

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
                definitions = path.sender(codec.headers(record, 0))
            elif route.needs_headers:
                definitions = path.router.route_with_headers(exchange, key, codec.headers(record, 0))
            for definition in definitions:
                found[id(definition)] = definition.here()
            if route.to_reply and (box := path.router.replies.get(key)) is not None:
                found[id(box)] = box
        return list(found.values())

    @staticmethod
    def _dead_letter(call: Publish, codec: Any, data: bytes, count: int, refusing: list[Queue], hidden: bytes) -> None:
        """reject-publish-dlx: what a full queue refuses goes to its dead-letter exchange."""
        to = [queue.dead_letters for queue in refusing if queue.rejects_to_dead_letters and queue.dead_letters is not None]
        if not to:
            return
        for record in codec.split(data, 0, count):
            entry = make_entry(call.codec, call.codec_version, call.flags, _prefix(codec, call.address, hidden), record, 1)
            entry.seal()
            for dead_letters in to:
                dead_letters.publish_refused(entry, record)


def _prefix(codec: Any, address: bytes, hidden: bytes) -> bytes:
    prefix: bytes = codec.hiding_prefix(address, hidden) if hidden else codec.prefix(address)
    return prefix


def split_address(address: bytes) -> tuple[str, str]:
    """The exchange's name and the routing key of an address (port.Publish)."""
    size = address[0]
    return address[1 : 1 + size].decode("utf-8", "surrogateescape"), address[2 + size :].decode("utf-8", "surrogateescape")


def make_address(exchange: str, routing_key: str) -> bytes:
    """The address of an exchange's name and a routing key."""
    name = exchange.encode("utf-8", "surrogateescape")
    key = routing_key.encode("utf-8", "surrogateescape")
    return bytes([len(name)]) + name + bytes([len(key)]) + key
