"""DeadRoutes: where dead letters go, and their publishing in one commit with their end where all of that is open in this process.

What goes anywhere else goes by intents (outbox/), but for what has no durable place that an intent could name: that is sent directly, as well as can be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from entrepot.broker.calls.port import DONE, Attachment, Call, Sink, make_publish
from entrepot.broker.catalogue.routing import KEY_OCTETS
from entrepot.broker.front.owners_here import OwnersHere
from entrepot.broker.front.parting import split_address
from entrepot.broker.front.publisher import Path, Publisher
from entrepot.broker.logs.hub import Hub
from entrepot.broker.outbox.handover import Target
from entrepot.broker.users.authorization import Action, ResourceKind
from entrepot.model.errors import OutcomeUnknown, Refused
from entrepot.model.principal import GUEST, Principal

PATHS_MAX = 4096  # kept; one more empties the table


class _Unheard(Sink):
    """Nobody waits for what is sent directly; what comes of it is counted."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def completed(self, call: Call) -> None:
        """See Sink."""
        if call.outcome != DONE:
            self._hub.dead_letters_dropped_count += 1


class DeadRoutes:
    """Of one broker. `path`(namespace, address, exchange, routing key) gives a Path to wherever things are. `paths`: those to what is here, until routes
    change or shards move.
    """

    def __init__(
        self,
        hub: Hub,
        catalogue: Any,
        publisher: Publisher,
        path: Callable[[str, bytes, str, str], Path],
        may: Callable[..., None],
    ) -> None:
        self._hub = hub
        self._catalogue = catalogue
        self._publisher = publisher
        self._path = path
        self._authorize = may
        self._here = OwnersHere(publisher.owners)
        self.paths: dict[tuple[str, bytes], Path] = {}
        self._unheard = Attachment()
        self._unheard.sink = _Unheard(hub)
        self._unheard.closed = False
        self._turn = 0  # of topics' partitions

    def publish(self, namespace: str, address: bytes, tag: int, flags: int, record: bytes, maker: str = "") -> None:
        """Publish one dead-lettered record of the codec `tag`. Where its exchange is gone, or nothing matches, it is dropped, as RabbitMQ does.

        So it is where it would reach a topic by its name or subject that `maker`, the queue's, may not write into. Unavailable: some of it is not open in
        this process, and nothing was staged.
        """
        self._publish(self._path_here, namespace, address, tag, flags, record, maker)

    def send(self, namespace: str, address: bytes, tag: int, flags: int, record: bytes, maker: str = "") -> None:
        """The same wherever it goes, over links, too: it is there once, unless its owner ends before it is durable. NotDone: nothing was sent, try again."""
        try:
            self._publish(self._path, namespace, address, tag, flags, record, maker)
        except OutcomeUnknown:  # it is at some of its targets: not again
            self._hub.dead_letters_dropped_count += 1

    def _path_here(self, namespace: str, address: bytes, exchange: str, routing_key: str) -> Path:
        key = (namespace, address)
        path = self.paths.get(key)
        router = self._catalogue.namespace(namespace).router
        if path is None or path.version != router.version or path.router is not router:
            path = Path(address, exchange, router.route(exchange, routing_key), router, self._here)
            if path.to_reply or len(address) > 2 * KEY_OCTETS:
                return path
            if len(self.paths) >= PATHS_MAX:
                self.paths = {}
            self.paths[key] = path
        return path

    def _publish(self, find: Callable[[str, bytes, str, str], Path], namespace: str, address: bytes, tag: int, flags: int, record: bytes, maker: str) -> None:
        exchange, routing_key = split_address(address)
        codec = self._hub.codec(tag)
        further = codec.further_keys(record, 0)
        try:
            path = find(namespace, address, exchange, routing_key)
            for route in (path.route, *(path.router.route(exchange, key) for key in further)):
                self._check(namespace, route, maker)
        except Refused:
            return
        call = make_publish(0, address, tag, codec.version, flags, record, 1, codec.body_bytes(record, 0, 1))
        call.attachment = self._unheard
        call.scattered = bool(further)
        if path.plain and not call.scattered and not any(codec.is_cycle(record, queue.name) for queue in path.route.targets if not queue.is_topic):
            self._publisher.publish(path, call)
        else:
            self._publisher.parting.publish_dead(self._publisher, path, call)

    def targets(self, namespace: str, address: bytes, tag: int, record: bytes, maker: str) -> tuple[Target, ...]:
        """Where publish() would bring it, wherever that is open; a topic's partition is chosen now. Consumers of direct replies are left out."""
        exchange, routing_key = split_address(address)
        codec = self._hub.codec(tag)
        further = codec.further_keys(record, 0)
        found: dict[Any, bool] = {}
        try:
            router = self._catalogue.namespace(namespace).router
            for key in (routing_key, *further):
                route = router.route(exchange, key)
                self._check(namespace, route, maker)
                targets = router.route_with_headers(exchange, key, codec.headers(record, 0)) if route.needs_headers else route.targets
                found.update(dict.fromkeys(targets, True))
        except Refused:
            return ()
        return tuple(self._place(definition, codec, record) for definition in found if definition.is_topic or not codec.is_cycle(record, definition.name))

    def next_turn(self) -> None:
        """What has no key goes to the next partition from now on."""
        self._turn += 1

    def _check(self, namespace: str, route: Any, maker: str) -> None:
        for topic in route.named:
            self._authorize(Principal(maker or GUEST), Action.WRITE, namespace, ResourceKind.TOPIC, topic.name)

    def _place(self, definition: Any, codec: Any, record: bytes) -> Target:
        """The shard and the log that one record goes to."""
        place = self._publisher.owners.place
        if not definition.is_topic:
            return place(definition), definition.log_id
        count = len(definition.partitions)
        ((number, _, _),) = codec.by_partition(record, 1, count, self._turn % count)
        return place(definition, number), definition.partitions[number]
