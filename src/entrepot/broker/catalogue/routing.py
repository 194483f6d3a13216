"""Routing: exchange, routing key and headers -> the queues and topics a message goes to.

    exchange's own match -> exchanges bound to it, each once (cycles end) -> its alternate where it matched nothing
    -> queues and topics, each once; a topic reached sends on, one hop, what its subject in `amq.topic` matches

Destinations are QueueDefinition and TopicDefinition, opaque here, and ExchangeRoutes. Every binding has its makers, the names of the users who
made it: what a topic sends on passes only those bindings of which a maker may read that topic. One Router serves a namespace; its caches are
dropped when anything changes, users too, which `version` tells everybody else who caches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import cython

from entrepot.broker.catalogue.matching import HeadersIndex, TopicTrie
from entrepot.model.errors import Reason, Refused

if not cython.compiled:
    from entrepot.broker.catalogue.matching import add_carried, count_down, count_up

DIRECT, FANOUT, TOPIC, HEADERS = 1, 2, 3, 4

KINDS = {"direct": DIRECT, "fanout": FANOUT, "topic": TOPIC, "headers": HEADERS}

REPLY_PREFIX = "amq.rabbitmq.reply-to."
"""Of the default exchange: names of consumers of replies (front/replies.py)."""

CACHE_MAX = 16_384
"""Routes a Router remembers; one more empties its cache. A routing key of more than KEY_OCTETS is looked up each time."""

KEY_OCTETS = 256

_WALKED_PER_STEP = 16  # nodes of patterns, or headers, looked at
_DIRECT, _FANOUT, _TOPIC, _HEADERS = DIRECT, FANOUT, TOPIC, HEADERS


class Route:
    """Where one (exchange, routing key) leads.

    With `needs_headers` the answer depends on each message's headers: `targets` is empty, ask Router.route_with_headers(). `named` are the
    topics that are reached by their name or subject and by no binding: nobody but the publisher answers for what is written into them.
    `to_reply`: to the consumer of replies that the routing key names, which Router.replies knows if it is there.
    """

    __slots__ = ("named", "needs_headers", "targets", "to_reply")

    targets: tuple[Any, ...]
    needs_headers: bool
    named: tuple[Any, ...]
    to_reply: bool


def make_route(targets: tuple[Any, ...], needs_headers: bool, named: tuple[Any, ...] = (), to_reply: bool = False) -> Route:
    """A Route."""
    route = Route.__new__(Route)
    route.to_reply = to_reply
    route.named = named
    route.targets = targets
    route.needs_headers = needs_headers
    return route


_REPLY = make_route((), False, (), True)
_REPLY_PREFIX = REPLY_PREFIX
_ANY_HEADERS: Mapping[str, Any] = {}  # match what any message could, by its headers


class ExchangeRoutes:
    """One exchange's bindings, arranged for matching."""

    __slots__ = ("alternate", "by_headers", "by_key", "kind", "name", "subjects", "trie", "walked")

    def __init__(self, name: str, kind: int, alternate: str | None) -> None:
        self.name = name
        self.kind = kind
        self.alternate = alternate
        self.by_key: dict[str, dict[Any, tuple[tuple[str, ...], ...]]] = {}  # direct: routing key -> destinations; fanout: all under ""
        self.trie = TopicTrie()
        self.by_headers = HeadersIndex()
        self.subjects: dict[str, dict[Any, bool]] = {}  # amq.topic: subject -> topics
        self.walked = 0  # nodes, or headers, looked at by the last match, at most

    def add(self, identity: Any, routing_key: str, arguments: Mapping[str, Any], destination: Any, makers: tuple[str, ...] = ()) -> None:
        """Take in a binding that is not there yet."""
        if self.kind == _TOPIC:
            self.trie.add(routing_key, destination, makers)
        elif self.kind == _HEADERS:
            self.by_headers.add(identity, arguments, destination, makers)
        else:
            count_up(self.by_key.setdefault(routing_key if self.kind == _DIRECT else "", {}), destination, makers)

    def remove(self, identity: Any, routing_key: str, destination: Any, makers: tuple[str, ...] = ()) -> None:
        """Drop a binding that is there, as it was added."""
        if self.kind == _TOPIC:
            self.trie.remove(routing_key, destination, makers)
        elif self.kind == _HEADERS:
            self.by_headers.remove(identity, destination, makers)
        else:
            key = routing_key if self.kind == _DIRECT else ""
            destinations = self.by_key[key]
            count_down(destinations, destination, makers)
            if not destinations:
                del self.by_key[key]

    def add_subject(self, subject: str, topic: Any) -> None:
        """A topic receives what is published under its subject."""
        self.subjects.setdefault(subject, {})[topic] = True

    def remove_subject(self, subject: str, topic: Any) -> None:
        """It no longer does."""
        topics = self.subjects[subject]
        del topics[topic]
        if not topics:
            del self.subjects[subject]

    def match(
        self, routing_key: str, headers: Mapping[str, Any] | None, found: dict[Any, bool], carries: Callable[[tuple[str, ...]], bool] | None = None
    ) -> bool:
        """Add what is bound here and matches to `found`; whether headers were needed and not given. `carries`: see TopicTrie.match()."""
        if self.kind == _TOPIC:
            self.trie.match(routing_key, found, carries)
            self.walked = self.trie.walked
            return False
        if self.kind == _DIRECT or self.kind == _FANOUT:
            destinations = self.by_key.get(routing_key if self.kind == _DIRECT else "")
            if destinations is not None:
                add_carried(destinations, found, carries)
            return False
        if headers is None:
            return self.by_headers.count() > 0
        if headers is _ANY_HEADERS:
            self.by_headers.match_any(found, carries)
        else:
            self.by_headers.match(headers, found, carries)
        self.walked = self.by_headers.walked
        return False


class Router:
    """Routes of one namespace.

    `where` is how error texts name the `namespace` ("vhost '/'"). The dicts are shared with the catalogue, which calls changed() after
    every change of them. `replies` are the consumers of replies by their names: none of them is a route, or changes one.
    `may_carry`(topic's name, makers): whether a binding of theirs carries what that topic sends on; None: all do.
    """

    def __init__(self, where: str, queues: dict[str, Any], topics: dict[str, Any]) -> None:
        self.where = where
        self.namespace = ""
        self.version = 1
        self.exchanges: dict[str, ExchangeRoutes] = {}
        self.internal: dict[str, bool] = {}
        self.subject_exchange: ExchangeRoutes | None = None  # amq.topic
        self.may_carry: Callable[[str, tuple[str, ...]], bool] | None = None
        self.replies: dict[str, Any] = {}
        self._queues = queues
        self._topics = topics
        self._cache: dict[Any, Route] = {}
        self._walked = 0

    def taken_steps(self) -> int:
        """What routing has cost since it was asked last, in steps of net/turns.py."""
        steps = self._walked // _WALKED_PER_STEP
        self._walked -= steps * _WALKED_PER_STEP
        return steps

    def changed(self) -> None:
        """Something that routes go by has changed: forget them."""
        self.version += 1
        if self._cache:
            self._cache = {}

    def route(self, exchange: str, routing_key: str) -> Route:
        """Where a publish goes. Raises Refused: NOT_FOUND where there is no such exchange, NOT_PERMITTED where it is internal."""
        if exchange == "" and routing_key.startswith(_REPLY_PREFIX):
            return _REPLY
        key = (exchange, routing_key)
        route = self._cache.get(key)
        if route is None:
            route = self._resolve(exchange, routing_key, None)
            if len(routing_key) > KEY_OCTETS:
                return route
            if len(self._cache) >= CACHE_MAX:
                self._cache = {}
            self._cache[key] = route
        return route

    def route_with_headers(self, exchange: str, routing_key: str, headers: Mapping[str, Any]) -> tuple[Any, ...]:
        """Where one message goes, by its headers too; errors as route(). Not cached."""
        return self._resolve(exchange, routing_key, headers).targets

    def route_keys(self, exchange: str, routing_keys: list[str], headers: Mapping[str, Any]) -> tuple[Any, ...]:
        """Where a message with several routing keys goes (its own, then CC and BCC), each target once; errors as route()."""
        targets: dict[Any, bool] = {}
        for routing_key in routing_keys:
            for target in self.route_with_headers(exchange, routing_key, headers):
                targets[target] = True
        return tuple(targets)

    def route_subject(self, topic: Any) -> Route:
        """What is published straight into `topic` goes to it, and on to what its subject matches in amq.topic."""
        route = self._cache.get(topic)
        if route is None:
            targets = {topic: True}
            needs_headers = self._send_on(targets, [topic], None)
            route = make_route(() if needs_headers else tuple(targets), needs_headers)
            self._cache[topic] = route
        return route

    def subject_targets(self, topic: Any, headers: Mapping[str, Any]) -> tuple[Any, ...]:
        """Where one message that was published straight into `topic` goes on to, by its headers too, without the topic itself. Not cached."""
        targets: dict[Any, bool] = {}
        self._send_on(targets, [topic], headers)
        targets.pop(topic, None)
        return tuple(targets)

    def subject_candidates(self, topic: Any) -> tuple[Any, ...]:
        """All that a message published straight into `topic` may go on to, whatever its headers. Not cached."""
        return self.subject_targets(topic, _ANY_HEADERS)

    def _resolve(self, exchange: str, routing_key: str, headers: Mapping[str, Any] | None) -> Route:
        targets: dict[Any, bool] = {}
        if exchange == "":
            needs_headers = False
            self._default(routing_key, targets)
        else:
            start = self.exchanges.get(exchange)
            if start is None:
                raise Refused(Reason.NOT_FOUND, f"no exchange '{exchange}' in {self.where}")
            if exchange in self.internal:
                raise Refused(Reason.NOT_PERMITTED, f"cannot publish to internal exchange '{exchange}' in {self.where}")
            needs_headers = self._expand(start, routing_key, headers, targets, True, None)
        sending = [target for target in targets if target.is_topic]
        if sending and self._send_on(targets, sending, headers):
            needs_headers = True
        if exchange != "" and self.subject_exchange is not None:
            self._by_subject(exchange, routing_key, targets)
        named = tuple([target for target in targets if target.is_topic and not targets[target]])
        return make_route(() if needs_headers else tuple(targets), needs_headers, named)

    # `targets` below: a target -> whether a binding led to it, and not its name or subject alone

    def _default(self, routing_key: str, targets: dict[Any, bool]) -> None:
        """The default exchange: the queue of that name, else the topic."""
        target = self._queues.get(routing_key)
        if target is None:
            target = self._topics.get(routing_key)
        if target is not None:
            targets.setdefault(target, False)

    def _by_subject(self, exchange: str, routing_key: str, targets: dict[Any, bool]) -> None:
        """amq.topic reaches topics by their subject; those do not send on, their subject's matches being this message's already."""
        subjects = self.subject_exchange
        if subjects is not None and exchange == subjects.name:
            destinations = subjects.subjects.get(routing_key)
            if destinations is not None:
                for destination in destinations:
                    targets.setdefault(destination, False)

    def _send_on(self, targets: dict[Any, bool], topics: list[Any], headers: Mapping[str, Any] | None) -> bool:
        """Add what the subjects of `topics` match in amq.topic, one hop, by bindings of who may read them; whether headers were needed and not given."""
        needs_headers = False
        if self.subject_exchange is not None and self.subject_exchange.trie.count:
            for topic in topics:
                carries = None if self.may_carry is None else partial(self.may_carry, topic.name)
                if topic.subject and self._expand(self.subject_exchange, topic.subject, headers, targets, False, carries):
                    needs_headers = True
        return needs_headers

    def _expand(
        self,
        start: ExchangeRoutes,
        routing_key: str,
        headers: Mapping[str, Any] | None,
        targets: dict[Any, bool],
        alternates: bool,
        carries: Callable[[tuple[str, ...]], bool] | None,
    ) -> bool:
        """Follow exchanges from `start`, each once, by bindings that carry, adding targets; whether headers were needed and not given."""
        needs_headers = False
        visited = {start: True}
        waiting = [start]
        for routes in waiting:  # grows while it is walked
            found: dict[Any, bool] = {}
            if routes.match(routing_key, headers, found, carries):
                needs_headers = True
            self._walked += routes.walked + len(found)
            if not found and alternates and routes.alternate is not None and not self._has_subject(routes, routing_key):
                if routes.alternate == "":
                    self._default(routing_key, targets)
                else:
                    alternate = self.exchanges.get(routes.alternate)
                    if alternate is not None:
                        found[alternate] = True
            for destination in found:
                if isinstance(destination, ExchangeRoutes):
                    if destination not in visited:
                        visited[destination] = True
                        waiting.append(destination)
                else:
                    targets[destination] = True
        return needs_headers

    def _has_subject(self, routes: ExchangeRoutes, routing_key: str) -> bool:
        return routes is self.subject_exchange and routing_key in routes.subjects
