"""The port's requests that only the decider can carry out, and their results, as plain values.

A request is its fields in their order, each packed as the catalogue packs arguments, so that texts which are no UTF-8 come over, too. One that has fewer
was sent by an earlier version: the others are as by default. One that has more was sent by a later one, and they are passed over.
"""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any

import msgspec

from entrepot.broker.calls import administration, queue_requests, requests, shared_requests, topic_requests
from entrepot.broker.calls.queue_requests import QueueDescription
from entrepot.broker.calls.topic_requests import TopicDescription
from entrepot.broker.catalogue.arguments import pack, unpack
from entrepot.broker.catalogue.catalogue import Catalogue
from entrepot.broker.catalogue.definitions import QueueDefinition, identity_of
from entrepot.cluster.catalogue.frames import heard, said
from entrepot.model.errors import CorruptData, NotDone, Reason, Refused

_RESULTS: dict[type, Any] = {
    requests.DeclareQueue: tuple[str, int, int],
    requests.DeleteQueue: int,
    requests.DeclareExchange: None,
    requests.DeleteExchange: None,
    requests.Bind: None,
    topic_requests.CreateTopic: TopicDescription,
    topic_requests.CreatePartitions: TopicDescription,
    topic_requests.DeleteTopic: TopicDescription,
    topic_requests.AlterTopicConfig: None,
    topic_requests.NewProducer: tuple[int, int],
    queue_requests.CreateTimedQueue: tuple[QueueDescription, bool],
    queue_requests.SetQueuePolicy: QueueDescription,
    queue_requests.DeleteTimedQueue: None,
    shared_requests.JoinShared: None,
    shared_requests.LeaveShared: None,
    **dict.fromkeys(administration.REQUESTS),
    administration.AddAccessKey: str,
}
"""What each of them is answered with; topic_requests.DescribeTopics, which makes those that are missing, besides: a list of it and of errors."""

_REQUESTS: dict[str, Any] = {kind.__name__: kind for kind in (*_RESULTS, topic_requests.DescribeTopics)}
_FIELDS = {kind: [(name, typing.get_type_hints(kind)[name]) for name in kind.__struct_fields__] for kind in _REQUESTS.values()}
_WRONG = (msgspec.DecodeError, msgspec.ValidationError, UnicodeError, RecursionError, ValueError, TypeError, ArithmeticError)


def request_fields(request: Any) -> list[bytes]:
    """Of one that is carried. Raises Refused: it has what cannot be written down."""
    try:
        return [_packed(getattr(request, name)) for name, _ in _FIELDS[type(request)]]
    except (UnicodeEncodeError, OverflowError, TypeError, RecursionError) as error:
        raise Refused(Reason.INVALID, f"a value that cannot be: {error}") from None


def request_of(name: str, fields: list[bytes]) -> Any:
    """The request. Raises CorruptData."""
    kind = _REQUESTS.get(name)
    if kind is None:
        raise CorruptData(f"a request {name[:100]!r}, which is none that is carried")
    try:
        values = {field: msgspec.convert(unpack(data), hint) for (field, hint), data in zip(_FIELDS[kind], fields, strict=False)}
        return kind(**values)
    except _WRONG as error:
        raise CorruptData(f"a {name} that does not decode: {error}") from None


def pack_result(request: Any, result: Any) -> bytes:
    """The result of a call with that request."""
    if isinstance(request, topic_requests.DescribeTopics):
        return _packed([[said(one), None] if isinstance(one, NotDone) else [None, one] for one in result])
    return _packed(result)


def result_of(request: Any, data: bytes) -> Any:
    """What pack_result() was given. Raises CorruptData."""
    try:
        plain = unpack(data)
        if not isinstance(request, topic_requests.DescribeTopics):
            return msgspec.convert(plain, _RESULTS[type(request)])
        found = msgspec.convert(plain, list[tuple[list[Any] | None, TopicDescription | None]])
        return [heard(error) or description for error, description in found]
    except _WRONG as error:
        raise CorruptData(f"the result of a {type(request).__name__} does not decode: {error}") from None


def may_be_repeated(request: Any) -> bool:
    """Whether it may be carried out a second time, where it is not known whether it was: a declare, a bind, what one session says of its own membership.

    Not what takes away: somebody may have made another of that name in between, and it would go, too; see looks_gone().
    """
    if isinstance(request, (requests.DeclareQueue, requests.DeclareExchange, shared_requests.JoinShared, shared_requests.LeaveShared)):
        return True
    return isinstance(request, requests.Bind) and not request.remove


def looks_gone(request: Any, catalogue: Catalogue, namespace: str) -> Callable[[], bool] | None:
    """For a request that takes something away: how to see, later, that this is not there any more; None: it is not there now, or cannot be told apart.

    By who has decided before it was taken away, or it is the very same: nobody was told of another of that name, for then this process would have it.
    """
    what = _named(request, catalogue, namespace)
    if what is None:
        return None
    return lambda: not _is_same(what, _named(request, catalogue, namespace))


def _named(request: Any, catalogue: Catalogue, namespace: str) -> Any:
    """What a request takes away, as this process knows it."""
    space = catalogue.namespaces.get(namespace)
    if space is None:
        return None
    if isinstance(request, requests.DeleteQueue):
        return space.queues.get(request.name) or space.topics.get(request.name)
    if isinstance(request, requests.DeleteExchange):
        return space.exchanges.get(request.name)
    if not isinstance(request, requests.Bind) or not request.remove:
        return None
    to_queue = request.destination_kind == "queue"
    name = request.destination
    destination = (space.queues.get(name) or space.topics.get(name)) if to_queue else space.exchanges.get(name)
    return None if destination is None else space.bindings.get(identity_of(request.source, destination, request.routing_key, request.arguments))


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, QueueDefinition):  # it may have been changed
        return isinstance(other, QueueDefinition) and one.log_id == other.log_id
    return one is other


def _packed(value: Any) -> bytes:
    if isinstance(value, tuple):
        value = list(value)
    return pack(value)
