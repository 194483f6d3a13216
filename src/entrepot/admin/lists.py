"""Lists: the rows of a broker's objects, as iterators whose every step is bounded work, so that who asks for many takes turns.

A step gives a row, or None: looked at something, nothing to show; or a Waiting: it goes on when owners in other processes have answered. What there is when
a list begins is noted by name, but for queues, which are listed in the order of their names; what is gone when its turn comes is left out, so that no step
minds what others do between two of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeAlias

from entrepot.admin import requests
from entrepot.admin.figures import AT_ONCE, Figures, Waiting
from entrepot.broker.catalogue.namespace import SYSTEM_EXCHANGES
from entrepot.broker.groups.offsets import GroupOffsets
from entrepot.broker.owners import Owner
from entrepot.model.errors import Reason, Refused

if TYPE_CHECKING:
    from entrepot.broker.catalogue.namespace import Namespace
    from entrepot.net.network import Network
    from entrepot.node import Node

TEXT_MAX = 256  # characters shown of what a client says of itself
CHANNELS_PER_STEP = 64

NAMES_PER_STEP = 1000

NOT_HERE = (None, (0, 0, 0, 0))  # what can be said of a partition that is on its way

Steps: TypeAlias = Iterator[requests.Row | Waiting | None]
Names: TypeAlias = "Callable[[Namespace], Iterator[Any]]"


class Lists:
    """Over one node, and its sockets where it has any."""

    def __init__(self, node: Node, network: Network | None) -> None:
        self._node = node
        self._catalogue = node.catalogue
        self._network = network
        self._figures = Figures(node.broker.owners, node.broker.scheduler)

    def steps(self, request: requests.ListRequest) -> Steps:
        """The rows of a list. Raises Refused at once, and no step does."""
        return _LISTS[type(request)](self, request)

    def queues(self, request: requests.ListQueues) -> Steps:
        """See ListQueues."""
        return self._in_bulk(self._of_namespaces(request, lambda space: _in_order(space, request.prefix), lambda space: space.queues, _itself))

    def _in_bulk(self, found: Iterator[Any]) -> Steps:
        """The rows of queues that are found one by one."""
        some: list[Any] = []
        for definition in found:
            if definition is None:
                yield None
                continue
            some.append(definition)
            if len(some) == AT_ONCE:
                yield from self._queues(some)
                some = []
        yield from self._queues(some)

    def _queues(self, definitions: list[Any]) -> Steps:
        figures = yield from self._figures.of_queues(definitions)
        for definition in definitions:
            of_queue = figures.get(definition.log_id)  # of one whose owner cannot be asked now nothing can be said
            if of_queue is None and not self._is_there(definition):
                yield None
                continue
            _, leased, delayed, depth, consumers, size = of_queue or (0, 0, 0, 0, 0, 0)
            yield requests.QueueRow(
                definition.namespace,
                definition.name,
                definition.policy.queue_type,
                definition.durable,
                definition.auto_delete,
                definition.exclusive_to is not None,
                depth,
                leased,
                delayed,
                consumers,
                size,
                of_queue is not None,
            )

    def _is_there(self, definition: Any) -> bool:
        """Whether it has not been deleted meanwhile."""
        space = self._catalogue.namespaces.get(definition.namespace)
        return space is not None and space.queues.get(definition.name) is definition

    def topics(self, request: requests.ListTopics) -> Steps:
        """See ListTopics."""
        return self._of_namespaces(request, lambda space: _noted(space.topics), lambda space: space.topics, self._topic)

    def _topic(self, definition: Any) -> Steps:
        offsets: list[tuple[int, int]] = []
        size = 0
        consumers: dict[Owner | None, int] = {}
        for numbers in _in_pieces(range(len(definition.partitions))):
            figures = yield from self._figures.of_partitions(definition, numbers)
            for number in numbers:
                owner, (first, end, octets, consumers_there) = figures.get(number, NOT_HERE)
                offsets.append((first, end))
                size += octets
                consumers[owner] = max(consumers.get(owner, 0), consumers_there)  # of one owner; each counts its own
            if len(numbers) == AT_ONCE:
                yield None
        yield requests.TopicRow(
            definition.namespace,
            definition.name,
            "stream" if definition.is_stream else "topic",
            len(offsets),
            sum(end - first for first, end in offsets),
            size,
            sum(consumers.values()),
            offsets,
        )

    def groups(self, request: requests.ListGroups) -> Steps:
        """See ListGroups."""
        self._check_namespace(request.namespace)
        return self._groups(request)

    def _groups(self, request: requests.ListGroups) -> Steps:
        coordinator = self._node.broker.groups
        for namespace, name in coordinator.places():
            found = coordinator.maybe_group(namespace, name) if _is_wanted(request, namespace, name) else None
            if found is None:
                yield None
                continue
            group, offsets = found
            count = lag = 0
            for behind in self._lags(namespace, offsets):
                if isinstance(behind, int):
                    count += 1
                    lag += behind
                else:
                    yield behind
            yield requests.GroupRow(namespace, name, group.kind, group.state, _text(group.protocol_type), len(group.members), count, lag)

    def _lags(self, namespace: str, offsets: GroupOffsets | None) -> Iterator[int | Waiting | None]:
        """For each committed offset how far behind the end it is; None: a step is over, or Waiting."""
        space = self._catalogue.namespaces.get(namespace)
        for name in [] if offsets is None or space is None else list(offsets.table):
            assert offsets is not None
            assert space is not None
            definition = space.topics.get(name)
            if definition is None:
                yield None
                continue
            committed = {number: one.offset for number, one in offsets.table.get(name, {}).items() if one.offset >= 0}
            for numbers in _in_pieces(sorted(number for number in committed if 0 <= number < len(definition.partitions))):
                figures = yield from self._figures.of_partitions(definition, numbers)
                for number, (_, (first, end, *_)) in figures.items():
                    yield max(0, end - max(committed[number], first))
                yield None

    def exchanges(self, request: requests.ListExchanges) -> Steps:
        """See ListExchanges."""
        return self._of_namespaces(request, lambda space: _noted(space.exchanges), lambda space: space.exchanges, self._exchange)

    def _exchange(self, definition: Any) -> Steps:
        yield requests.ExchangeRow(
            definition.namespace,
            definition.name,
            definition.type,
            definition.durable,
            definition.auto_delete,
            definition.internal,
            len(definition.bindings_out),
        )

    def bindings(self, request: requests.ListBindings) -> Steps:
        """See ListBindings."""
        return self._of_namespaces(request, lambda space: _noted(space.exchanges), lambda space: space.exchanges, self._bindings_of)

    def _bindings_of(self, exchange: Any) -> Steps:
        yield None
        for identity in _noted(exchange.bindings_out):
            binding = None if identity is None else exchange.bindings_out.get(identity)
            if binding is None:
                yield None
                continue
            _, kind, destination, routing_key, _ = identity
            arguments = _text(", ".join(f"{key}={_argument(value)}" for key, value in islice(binding.arguments.items(), TEXT_MAX)))
            yield requests.BindingRow(exchange.namespace, exchange.name, kind, destination, _whole(routing_key), arguments, list(binding.makers))

    def connections(self, request: requests.ListConnections) -> Steps:
        """See ListConnections."""
        self._check_namespace(request.namespace)
        return self._connections(request)

    def _connections(self, request: requests.ListConnections) -> Steps:
        for listener in [] if self._network is None else list(self._network.listeners):
            for connection in list(listener.connections) if listener.for_clients else []:
                session, peer, arrival = connection.session, connection.peer, connection.arrival
                if session is None or connection.is_closing or peer is None or arrival is None:
                    yield None
                    continue
                client = listener.client_of(session)
                for _ in range(client.channels // CHANNELS_PER_STEP):
                    yield None
                is_there = request.namespace is None or request.namespace in client.namespaces
                if not is_there or (request.prefix and not any(user.startswith(request.prefix) for user in client.users)):
                    yield None
                else:
                    yield requests.ConnectionRow(
                        arrival.number,
                        listener.name,
                        str(peer),
                        list(client.users),
                        list(client.namespaces),
                        _text(client.name),
                        _text(client.product),
                        client.channels,
                        client.consumers,
                        peer.tls,
                        arrival.since_ms,
                    )

    def users(self, request: requests.ListUsers) -> Steps:
        """See ListUsers."""
        self._check_namespace(request.namespace)
        return self._users(request)

    def _users(self, request: requests.ListUsers) -> Steps:
        for name in self._node.users.names():
            user = self._node.users.maybe_user(name)
            if user is None or not name.startswith(request.prefix) or (request.namespace is not None and user.permission(request.namespace) is None):
                yield None
                continue
            permissions = [
                requests.PermissionRow(namespace, *permission.patterns) for namespace, permission in sorted(user.permissions.items()) if not permission.closed
            ]
            yield requests.UserRow(name, user.administrator, bool(user.configured), permissions, list(user.forbidden))

    def namespaces(self, request: requests.ListNamespaces) -> Steps:
        """See ListNamespaces."""
        self._check_namespace(request.namespace)
        return self._namespaces(request)

    def _namespaces(self, request: requests.ListNamespaces) -> Steps:
        for name in list(self._catalogue.namespaces):
            space = self._catalogue.namespaces.get(name)
            if space is None or not name.startswith(request.prefix) or request.namespace not in (None, name):
                yield None
            else:
                exchanges = len(space.exchanges) - len(SYSTEM_EXCHANGES)
                yield requests.NamespaceRow(name, len(space.queues), len(space.topics), exchanges, len(space.bindings))

    def keys(self, request: requests.ListKeys) -> Steps:
        """See ListKeys."""
        users = self._node.users
        users.user(request.user)
        found = [key.id for key in users.access_keys(request.user)]
        return (requests.KeyRow(id_, request.user, users.secret_of(id_) if request.secrets else "") for id_ in found)

    def _check_namespace(self, name: str | None) -> None:
        if name is not None and name not in self._catalogue.namespaces:
            raise Refused(Reason.NOT_FOUND, f"there is no namespace {name!r}")

    def _of_namespaces(self, request: requests.Listing, names: Names, table: Callable[[Any], dict[str, Any]], rows: Callable[[Any], Steps]) -> Steps:
        """What lies in the namespaces that are asked for, in a table of theirs by name."""
        self._check_namespace(request.namespace)
        wanted: Iterable[str] = list(self._catalogue.namespaces) if request.namespace is None else [request.namespace]
        return self._in_namespaces(wanted, request.prefix, names, table, rows)

    def _in_namespaces(self, wanted: Iterable[str], prefix: str, names: Names, table: Callable[[Any], dict[str, Any]], rows: Callable[[Any], Steps]) -> Steps:
        for name in wanted:
            space = self._catalogue.namespaces.get(name)
            if space is None:
                yield None
                continue
            found = table(space)
            for each in names(space):
                definition = None if each is None else found.get(each)
                if definition is None or not each.startswith(prefix):
                    yield None
                else:
                    yield from rows(definition)


def _itself(definition: Any) -> Iterator[Any]:
    yield definition


def _in_pieces(numbers: Sequence[int]) -> Iterator[Sequence[int]]:
    return (numbers[start : start + AT_ONCE] for start in range(0, len(numbers), AT_ONCE))


def _in_order(space: Namespace, prefix: str) -> Iterator[str]:
    """Names of queues, of which there may be a million: so many at a time, behind those before."""
    after = ""
    while names := list(islice(space.queue_names(prefix, after), NAMES_PER_STEP)):
        yield from names
        after = names[-1]


def _noted(table: dict[Any, Any]) -> Iterator[Any]:
    """The keys that are there now, noted so many in a step, with None between; at once, where some come or go meanwhile."""
    keys: list[Any] = []
    left = iter(table)
    try:
        while some := list(islice(left, NAMES_PER_STEP)):
            keys += some
            if len(some) == NAMES_PER_STEP:
                yield None
    except RuntimeError:  # it is another table now
        keys = list(table)
    yield from keys


def _is_wanted(request: requests.Listing, namespace: str, name: str) -> bool:
    return request.namespace in (None, namespace) and name.startswith(request.prefix)


def _argument(value: object) -> str:
    """An argument's value: text as it is, anything else as in JSON."""
    return _plain(value) if isinstance(value, str | bytes) else json.dumps(value, default=_plain)


def _plain(value: object) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _whole(name: str) -> str:
    """A routing key, such that it can be written as UTF-8: it may be any bytes."""
    return name.encode("utf-8", "backslashreplace").decode()


def _text(said: str) -> str:
    """What a client says of itself, cut, and such that it can be written as UTF-8."""
    return said[:TEXT_MAX].encode("utf-8", "backslashreplace").decode()


_LISTS: dict[type, Callable[[Lists, Any], Steps]] = {
    requests.ListQueues: Lists.queues,
    requests.ListTopics: Lists.topics,
    requests.ListGroups: Lists.groups,
    requests.ListExchanges: Lists.exchanges,
    requests.ListBindings: Lists.bindings,
    requests.ListConnections: Lists.connections,
    requests.ListUsers: Lists.users,
    requests.ListNamespaces: Lists.namespaces,
    requests.ListKeys: Lists.keys,
}
assert _LISTS.keys() == {asked for asked, _ in requests.LISTS.values()}
