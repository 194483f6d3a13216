"""Parting: publishes whose records do not all go the same way: what each owner gets of them, in runs.

That is: targets that differ by record (a headers exchange, or headers that name further routing keys), and topics of several partitions. What is looked
at of a record is looked at by its codec, compiled, for a whole call. Only dead letters and records with further routing keys (CC, BCC) are taken one by
one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeAlias

from entrepot.broker.calls.port import DONE, Publish
from entrepot.broker.catalogue.definitions import QueueDefinition
from entrepot.broker.front.gathering import Part
from entrepot.broker.front.publisher import Path, Publisher, sole_log
from entrepot.broker.front.replies import FarReplies, Replies, ReplyBox
from entrepot.broker.logs.hub import Hub
from entrepot.broker.owners import Owner, Run
from entrepot.model.addresses import pack_address

_TARGETS_PER_STEP = 2  # of a record that goes a way of its own

Reply: TypeAlias = tuple[ReplyBox | FarReplies, bytes, bytes]
"""Who takes it, its entry's prefix, the record."""


class Parting:
    """Of one front. Round robin of topics of several partitions is by run of records.

    `authorize_route`(attachment, route) says, by Refused, where a route reaches a topic by name that the attachment's principal may not write into;
    for a call's own address that was asked when its path was made, for further routing keys it is asked here.
    """

    def __init__(self, hub: Hub, replies: Replies) -> None:
        self._hub = hub
        self._replies = replies
        self.authorize_route: Any = None
        self._found = 0  # targets, of records that were looked at one by one

    def publish(self, publisher: Publisher, path: Path, call: Publish) -> bool:
        """As Publisher.publish(); sets call.returned and call.nacked where records fare differently. Unavailable: nothing was staged."""
        self._found = 0
        if call.scattered:
            return self._one_by_one(publisher, path, call, False)
        return self._send(publisher, call, self._sheaves(path, call))

    def taken_steps(self) -> int:
        """What the last publish() cost besides routing, in steps of net/turns.py."""
        return self._found // _TARGETS_PER_STEP

    def by_owner(self, path: Path, call: Publish) -> tuple[dict[Owner, list[Run]], list[Reply]]:
        """What publish() would give to which owners, and to takers of replies; sets call.returned. Raises as it does."""
        if call.scattered:
            sheaves, replies = self._records(path, call, False)
            return sheaves.runs, replies
        return self._sheaves(path, call).runs, []

    def loads(self, path: Path, call: Publish, looked: Callable[[], None]) -> Iterator[tuple[list[Any], int, int]]:
        """What publish() would bring to which targets: (targets, records, bytes of their bodies), each record once. Refused where that would be.

        looked() is called whenever the router was asked about a record, and may raise: so many may be asked about that it takes long.
        """
        codec = self._hub.codec(call.codec)
        if call.scattered:
            exchange, routing_key = split_address(call.address)
            self._authorize_further(path, call, codec, exchange)
            for record in codec.split(call.data, 0, call.count):
                targets = self._targets(path, call, codec, record, exchange, routing_key)
                looked()
                yield targets, 1, codec.body_bytes(record, 0, 1)
            return
        if not path.by_record:
            yield list(path.route.targets), call.count, call.body_bytes
            return
        for targets, data, indices in self._by_headers(path, call, codec, looked):
            yield targets, len(indices), codec.body_bytes(data, 0, len(indices))

    def publish_dead(self, publisher: Publisher, path: Path, call: Publish) -> None:
        """Publish a dead letter, but not to queues that it came to in a circle. It is one record: where a target is Unavailable nothing was staged."""
        self._one_by_one(publisher, path, call, True)

    @staticmethod
    def _send(publisher: Publisher, call: Publish, sheaves: _Sheaves) -> bool:
        """Give every owner its runs."""
        parts = sheaves.parts(call.address)
        if not parts:
            call.outcome = DONE
            return True
        if len(parts) == 1:
            return parts[0][0](call)
        return publisher.gathering.publish(call, parts)

    # ---- runs

    def _sheaves(self, path: Path, call: Publish) -> _Sheaves:
        """Of what is not scattered."""
        codec = self._hub.codec(call.codec)
        returned: list[int] = []
        sheaves = _Sheaves(path)
        for targets, data, indices in self._groups(path, call, codec):
            if not targets:
                returned.extend(indices)
            sheaves.add(targets, b"", data, indices, codec)
        _note_returned(call, returned)
        return sheaves

    def _groups(self, path: Path, call: Publish, codec: Any) -> list[tuple[list[Any], bytes, Sequence[int]]]:
        if path.by_record:
            return self._by_headers(path, call, codec, _nothing)
        return [(list(path.route.targets), call.data, range(call.count))]

    def _by_headers(self, path: Path, call: Publish, codec: Any, looked: Callable[[], None]) -> list[tuple[list[Any], bytes, Sequence[int]]]:
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
                looked()
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

    # ---- records

    def _one_by_one(self, publisher: Publisher, path: Path, call: Publish, dead: bool) -> bool:
        sheaves, replies = self._records(path, call, dead)
        complete = self._send(publisher, call, sheaves)
        put_replies(call, replies)
        return complete

    def _records(self, path: Path, call: Publish, dead: bool) -> tuple[_Sheaves, list[Reply]]:
        codec = self._hub.codec(call.codec)
        returned: list[int] = []
        replies: list[Reply] = []
        sheaves = _Sheaves(path)
        exchange, routing_key = split_address(call.address)
        if call.scattered and not dead:
            self._authorize_further(path, call, codec, exchange)
        for index, record in enumerate(codec.split(call.data, 0, call.count)):
            targets = self._targets(path, call, codec, record, exchange, routing_key)
            if dead:
                targets = [target for target in targets if not (isinstance(target, QueueDefinition) and codec.is_cycle(record, target.name))]
            if not targets:
                returned.append(index)
            hidden = b""
            if call.scattered:
                record, hidden = codec.without_hidden_keys(record)
            for box in [target for target in targets if isinstance(target, (ReplyBox, FarReplies))]:
                targets.remove(box)
                prefix: bytes = codec.hiding_prefix(call.address, hidden) if hidden else codec.prefix(call.address)
                replies.append((box, prefix, record))
            sheaves.add(targets, hidden, record, (index,), codec)
        _note_returned(call, returned)
        return sheaves, replies

    def _authorize_further(self, path: Path, call: Publish, codec: Any, exchange: str) -> None:
        """Refused if a further routing key of any record reaches a topic that may not be written into; nothing is staged yet."""
        if self.authorize_route is not None:
            keys = {key for record in codec.split(call.data, 0, call.count) for key in codec.further_keys(record, 0)}
            for key in keys:
                self.authorize_route(call.attachment, path.router.route(exchange, key))

    def _targets(self, path: Path, call: Publish, codec: Any, record: bytes, exchange: str, routing_key: str) -> list[Any]:
        """The queues and topics that one record goes to, and takers of replies, each once."""
        keys = [routing_key]
        if call.scattered:
            keys += codec.further_keys(record, 0)
        found: dict[int | str, Any] = {}
        for key in keys:
            route = path.route if key == routing_key else path.router.route(exchange, key)
            definitions = route.targets
            if route.needs_headers and path.sender is not None:
                definitions = path.sender(codec.headers(record, 0))
            elif route.needs_headers:
                definitions = path.router.route_with_headers(exchange, key, codec.headers(record, 0))
            for definition in definitions:
                found[id(definition)] = definition
            if route.to_reply and (taker := self._replies.taker(path.router, key)) is not None:
                found[key] = taker
        self._found += len(found)
        targets = list(found.values())
        if call.without is not None:
            targets = [target for target in targets if not (isinstance(target, QueueDefinition) and target.name in call.without)]
        return targets


def _nothing() -> None:
    pass


class _Sheaves:
    """The runs of one call, bound up by owner. All owners are known before the first is given any: Unavailable, and nothing was."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.runs: dict[Owner, list[Run]] = {}

    def add(self, targets: list[Any], hidden: bytes, data: bytes, indices: Sequence[int], codec: Any) -> None:
        """One more run, behind those before."""
        path = self._path
        log_ids: dict[Owner, list[bytes]] = {}
        spread = []
        for target in targets:
            log_id = sole_log(target)
            if log_id is None:
                spread.append(target)
            else:
                log_ids.setdefault(path.owner(target), []).append(log_id)
        for owner, ids in log_ids.items():
            self.runs.setdefault(owner, []).append((ids, hidden, data, len(indices), indices))
        for topic in spread:
            owners = path.owners_of_partitions(topic)
            for number, records, count in codec.by_partition(data, len(indices), len(topic.partitions), path.next_turn() % len(topic.partitions)):
                owner = owners[number]
                if owner is None:
                    owner = owners[number] = path.owner(topic, number)
                runs = self.runs.get(owner)
                if runs is None:
                    runs = self.runs[owner] = []
                runs.append(([topic.partitions[number]], hidden, records, count, indices))

    def parts(self, address: bytes) -> list[Part]:
        """What each owner is asked, and which records that concerns."""
        if len(self.runs) == 1:  # whom nobody asks what is missing
            return [(partial(owner.stage_runs, address, runs), ()) for owner, runs in self.runs.items()]
        return [
            (partial(owner.stage_runs, address, runs), sorted({index for run in runs for index in run[4]})) for owner, runs in self._path.in_order(self.runs)
        ]


def put_replies(call: Publish, replies: list[Reply]) -> None:
    """Hand over what of a call goes to takers of replies."""
    for box, prefix, record in replies:
        box.put(prefix + record, len(prefix), 1, call.codec)


def _note_returned(call: Publish, returned: list[int]) -> None:
    call.returned = sorted(returned) if 0 < len(returned) < call.count else None
    call.unroutable = len(returned) == call.count


def split_address(address: bytes) -> tuple[str, str]:
    """The exchange's name and the routing key of an address (port.Publish)."""
    size = address[0]
    return address[1 : 1 + size].decode("utf-8", "surrogateescape"), address[2 + size :].decode("utf-8", "surrogateescape")


def make_address(exchange: str, routing_key: str) -> bytes:
    """The address of an exchange's name and a routing key."""
    return pack_address(exchange.encode("utf-8", "surrogateescape"), routing_key.encode("utf-8", "surrogateescape"))
