"""Publisher: has every owner stage what is published to its queues and topics.

A Path is a cached route with a lane at each owner behind it. What goes whole where its address leads is one stage an owner, and nothing is
gathered where that is one. Records that fare differently, or go to partitions of their own, are sorted by Parting first.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from entrepot.broker.calls.port import DONE, Publish
from entrepot.broker.catalogue.definitions import QueueDefinition, TopicDefinition
from entrepot.broker.catalogue.shards import HOME
from entrepot.broker.front.gathering import Gathering, Part
from entrepot.broker.front.owner_table import Definition, OwnerTable
from entrepot.broker.front.owners_here import OwnersHere
from entrepot.broker.front.replies import Replies
from entrepot.broker.owner.local_owner import local_lane
from entrepot.broker.owners import Lane, Owner, Run
from entrepot.store.interface import Log

_DONE = DONE


class Path:
    """A resolved address: valid while `version` is the router's.

    `plain`: every record goes to every target. `by_record`: ask the router for each record's headers. `to_reply`: to the consumer of replies that
    each call's address names, whatever this one's does. `choosy`: some queue may refuse records, or counts their octets. `lanes`: one an owner, for what
    goes whole; `lane`: the only one. `spread`: topics of several partitions, whose records each go to one. `whole`: a batch may be put as it is
    into `durable_logs` and `volatile_logs`, with `prefix` for `codec`. Unavailable: some target is not open anywhere.
    """

    __slots__ = (
        "_owners",
        "_partitions",
        "_table",
        "_turn",
        "address",
        "by_record",
        "choosy",
        "codec",
        "durable_logs",
        "exchange",
        "lane",
        "lanes",
        "log_count",
        "plain",
        "prefix",
        "route",
        "router",
        "sender",
        "spread",
        "to_reply",
        "version",
        "volatile_logs",
        "whole",
    )

    def __init__(self, address: bytes, exchange: str, route: Any, router: Any, table: OwnerTable | OwnersHere) -> None:
        self.address = address
        self.exchange = exchange
        self.route = route
        self.router = router
        self.version = router.version
        self.by_record = route.needs_headers
        self.sender: Any = None  # of the way on of a topic's subject: (headers) -> targets of a record that has them (subject_hop.py)
        self.codec = 0
        self.prefix = b""
        self.durable_logs: list[Log] = []
        self.volatile_logs: list[Log] = []
        self.to_reply = route.to_reply
        self.lanes: list[Lane] = []
        self.lane: Lane | None = None
        self.log_count = 0
        self.choosy = False
        self.spread: list[Definition] = []
        self._table = table
        self._turn = 0
        self._owners: dict[Definition, Owner] = {}
        self._partitions: dict[Definition, list[Owner | None]] = {}
        self.whole = False
        self._register(route.targets)
        self.plain = not route.needs_headers and not route.to_reply and not self.spread
        self.whole = self.plain and not self.choosy and self._find_logs()

    def _find_logs(self) -> bool:
        """Whether all owners are of this process: their logs, then."""
        for lane in self.lanes:
            if lane.owner is self._table.home:
                self.volatile_logs = local_lane(lane).logs
            elif lane.owner is self._table.durable:
                self.durable_logs = local_lane(lane).logs
            else:
                return False
        return True

    def owner(self, definition: Definition, partition: int = 0) -> Owner:
        """See OwnerTable.owner(): of a queue, or a topic of one partition, remembered for as long as the path is valid."""
        if partition:
            return self._table.owner(definition, partition)
        owner = self._owners.get(definition)
        if owner is None:
            owner = self._owners[definition] = self._table.owner(definition)
        return owner

    def owners_of_partitions(self, topic: TopicDefinition) -> list[Owner | None]:
        """Those of a topic's partitions, by number, as far as they were asked for: whoever asks owner() puts the answer here."""
        owners = self._partitions.get(topic)
        if owners is None:
            owners = self._partitions[topic] = [None] * len(topic.partitions)
        return owners

    def whole_owner(self, definition: Definition) -> Owner:
        """As owner(); of a topic of several partitions the first's. Unavailable, where one of them is not open anywhere."""
        if isinstance(definition, TopicDefinition) and len(definition.partitions) > 1:
            owners = self.owners_of_partitions(definition)
            if None in owners:
                owners[:] = [self.owner(definition, number) if owner is None else owner for number, owner in enumerate(owners)]
        return self.owner(definition)

    def next_turn(self) -> int:
        """Where the next run without keys begins that goes to one of several partitions: they have their turns."""
        self._turn += 1
        return self._turn

    def in_order(self, runs: dict[Owner, list[Run]]) -> list[tuple[Owner, list[Run]]]:
        """See OwnerTable.in_order()."""
        return self._table.in_order(runs)

    def _register(self, targets: Any) -> None:
        table = self._table
        by_owner: dict[Owner, list[bytes]] = {}
        by_place: dict[int | bytes, list[bytes]] = {}  # the same lists: by shard, and by home of what has none
        for definition in targets:  # there may be tens of thousands
            log_id = sole_log(definition)
            if log_id is None:
                self.spread.append(definition)
                continue
            log_ids = None if definition.shard is None else by_place.get(_place_of(definition))
            if log_ids is None:
                log_ids = by_owner.setdefault(table.owner(definition), [])
                by_place[_place_of(definition)] = log_ids
            log_ids.append(log_id)
            if definition.may_refuse:
                self.choosy = True
        self.log_count = sum(map(len, by_owner.values()))
        self.lanes = [owner.lane(self.address, log_ids) for owner, log_ids in self._table.in_order(by_owner)]
        if len(self.lanes) == 1:
            self.lane = self.lanes[0]


class Publisher:
    """Of one front. `store` and `volatile` are those of its own process. `parting` is the Parting for what is not plain.

    Counters: records, and bytes of their bodies.
    """

    __slots__ = ("gathering", "owners", "parting", "published_bytes", "published_count", "replies", "store", "volatile")

    def __init__(self, parting: Any, replies: Replies, owners: OwnerTable) -> None:
        self.parting = parting
        self.owners = owners
        self.store = owners.durable.store
        self.volatile = owners.home.store
        self.replies = replies
        self.gathering = Gathering()
        self.published_count = 0
        self.published_bytes = 0

    def publish(self, path: Path, call: Publish) -> bool:
        """Have it staged. True: it is complete already (nothing to wait for); False: it completes when the last owner has it durable."""
        self.published_count += call.count
        self.published_bytes += call.body_bytes
        if not path.plain or call.scattered:
            if path.to_reply and not call.scattered:
                call.outcome = _DONE
                return self.replies.answer(path.router, call)
            return bool(self.parting.publish(self, path, call))
        lane = path.lane
        if lane is not None:
            return lane.owner.stage(lane, call)
        if not path.lanes:
            call.unroutable = True
            call.outcome = _DONE
            return True
        return self.stage_all(path.lanes, call)

    def stage_all(self, lanes: list[Lane], call: Publish) -> bool:
        """At several owners."""
        everything = range(call.count)
        parts: list[Part] = [(partial(lane.owner.stage, lane), everything) for lane in lanes]
        return self.gathering.publish(call, parts)


def _place_of(definition: Definition) -> int | bytes:
    """What two have in common that are in one process for as long as a path is valid: a shard, or a home."""
    assert definition.shard is not None
    return definition.home if definition.shard == HOME and isinstance(definition, QueueDefinition) else definition.shard


def sole_log(definition: Definition) -> bytes | None:
    """The id of the one log that what is published to a queue or topic lies in; None: in one of several."""
    if isinstance(definition, TopicDefinition):
        return definition.partitions[0] if len(definition.partitions) == 1 else None
    return definition.log_id
