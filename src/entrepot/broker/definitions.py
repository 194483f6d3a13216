"""Definitions: what exchanges, queues, topics and bindings were declared to be, and how that is kept.

Kept as state of shard 0 (docs/formats/catalogue.md): the key says what and where, the value is MessagePack
`[version, minimum reader version, {field: value}]`. Definitions compare and hash by identity; `runtime` is where the broker
hangs its own object.
"""

from __future__ import annotations

import hashlib
from typing import Any, TypeAlias

import msgspec

from entrepot.broker.arguments import Arguments, from_plain, pack, to_plain
from entrepot.broker.queue_arguments import QueuePolicy
from entrepot.broker.routing import ExchangeRoutes
from entrepot.broker.state import CATALOGUE_PREFIX
from entrepot.model.errors import CorruptData

NAMESPACE_KEY = CATALOGUE_PREFIX + b"n"
EXCHANGE_KEY = CATALOGUE_PREFIX + b"x"
QUEUE_KEY = CATALOGUE_PREFIX + b"q"
TOPIC_KEY = CATALOGUE_PREFIX + b"t"
BINDING_KEY = CATALOGUE_PREFIX + b"b"

VALUE_VERSION = 1
VALUE_READER_MIN = 1

TO_EXCHANGE = "exchange"
TO_QUEUE = "queue"
TO_TOPIC = "topic"

Identity: TypeAlias = tuple[str, str, str, str, bytes]  # source, kind and name of the destination, routing key, packed arguments


class ExchangeDefinition:
    """A declared exchange."""

    __slots__ = ("arguments", "auto_delete", "bindings_in", "bindings_out", "durable", "internal", "name", "namespace", "routes", "runtime", "type")

    is_topic = False

    def __init__(self, namespace: str, name: str, type_name: str, *, durable: bool, auto_delete: bool, internal: bool, arguments: Arguments, kind: int) -> None:
        self.namespace = namespace
        self.name = name
        self.type = type_name
        self.durable = durable
        self.auto_delete = auto_delete
        self.internal = internal
        self.arguments = dict(arguments)
        self.routes = ExchangeRoutes(name, kind, self.arguments.get("alternate-exchange"))
        self.bindings_in: dict[Identity, Binding] = {}
        self.bindings_out: dict[Identity, Binding] = {}
        self.runtime: Any = None

    @property
    def persistent(self) -> bool:
        """Whether it survives a restart."""
        return self.durable


class QueueDefinition:
    """A declared queue. `exclusive_to` is the connection that owns it; such a queue never survives a restart, durable or not."""

    __slots__ = ("arguments", "auto_delete", "bindings_in", "durable", "exclusive_to", "log_id", "name", "namespace", "policy", "runtime")

    is_topic = False

    def __init__(
        self, namespace: str, name: str, log_id: bytes, *, durable: bool, auto_delete: bool, exclusive_to: Any, arguments: Arguments, policy: QueuePolicy
    ) -> None:
        self.namespace = namespace
        self.name = name
        self.log_id = log_id
        self.durable = durable
        self.auto_delete = auto_delete
        self.exclusive_to = exclusive_to
        self.arguments = dict(arguments)
        self.policy = policy
        self.bindings_in: dict[Identity, Binding] = {}
        self.runtime: Any = None

    @property
    def persistent(self) -> bool:
        """Whether it survives a restart."""
        return self.durable and self.exclusive_to is None


class TopicDefinition:
    """A declared topic, by whatever protocol; a stream if an AMQP client declared it (`arguments` then say so).

    `partitions` are log ids. `subject` is what it is called in amq.topic, "" for nothing. Retention: see QueuePolicy's max_age_ms and
    max_length_bytes, of the whole topic's partition each.
    """

    __slots__ = ("arguments", "bindings_in", "name", "namespace", "partitions", "policy", "runtime", "subject")

    is_topic = True
    durable = True
    auto_delete = False
    exclusive_to = None
    persistent = True

    def __init__(self, namespace: str, name: str, partitions: list[bytes], *, subject: str, arguments: Arguments, policy: QueuePolicy) -> None:
        self.namespace = namespace
        self.name = name
        self.partitions = partitions
        self.subject = subject
        self.arguments = dict(arguments)
        self.policy = policy
        self.bindings_in: dict[Identity, Binding] = {}
        self.runtime: Any = None

    @property
    def is_stream(self) -> bool:
        """Whether AMQP clients declared it, and so meet it where they ask for a queue of its name."""
        return "x-queue-type" in self.arguments


Destination: TypeAlias = ExchangeDefinition | QueueDefinition | TopicDefinition


class Binding:
    """A binding from an exchange to what it leads to."""

    __slots__ = ("arguments", "destination", "identity", "routing_key", "source")

    def __init__(self, identity: Identity, source: ExchangeDefinition, destination: Destination, routing_key: str, arguments: Arguments) -> None:
        self.identity = identity
        self.source = source
        self.destination = destination
        self.routing_key = routing_key
        self.arguments = dict(arguments)

    @property
    def persistent(self) -> bool:
        """Whether it survives a restart: both of its ends do."""
        return self.source.persistent and self.destination.persistent


def kind_of(destination: Destination) -> str:
    """What a binding's identity calls the destination's kind."""
    if isinstance(destination, QueueDefinition):
        return TO_QUEUE
    return TO_TOPIC if isinstance(destination, TopicDefinition) else TO_EXCHANGE


def identity_of(source: str, destination: Destination, routing_key: str, arguments: Arguments) -> Identity:
    """What makes two bindings the same one."""
    return source, kind_of(destination), destination.name, routing_key, pack(dict(arguments)) if arguments else b""


def named_key(prefix: bytes, namespace: str, name: str) -> bytes:
    """The state key of a named thing: prefix, u8 size and UTF-8 of the namespace, UTF-8 of the name."""
    space = namespace.encode()
    return prefix + bytes((len(space),)) + space + name.encode()


def binding_key(namespace: str, identity: Identity) -> bytes:
    """The state key of a binding: as named_key(), with 16 bytes of BLAKE2b of its identity for a name."""
    source, kind, name, routing_key, arguments = identity
    digest = hashlib.blake2b(digest_size=16)
    for part in (source.encode(), kind.encode(), name.encode(), routing_key.encode(errors="surrogateescape"), arguments):
        digest.update(len(part).to_bytes(4, "little"))
        digest.update(part)
    space = namespace.encode()
    return BINDING_KEY + bytes((len(space),)) + space + digest.digest()


def split_key(key: bytes, prefix: bytes) -> tuple[str, bytes]:
    """Namespace and the rest of a key made by named_key() or binding_key()."""
    start = len(prefix) + 1
    end = start + key[len(prefix)]
    return key[start:end].decode(), key[end:]


def encode_value(fields: dict[str, Any]) -> bytes:
    """A kept value: version, minimum reader version, fields."""
    return _ENCODER.encode([VALUE_VERSION, VALUE_READER_MIN, fields])


def decode_value(key: bytes, value: bytes) -> dict[str, Any]:
    """The fields of a kept value. Raises CorruptData where it is none, or of a version this one cannot read."""
    try:
        _, reader_min, fields = msgspec.msgpack.decode(value)
    except (msgspec.DecodeError, ValueError, TypeError) as error:
        raise CorruptData(f"catalogue entry {key!r} does not decode: {error}") from None
    if reader_min > VALUE_VERSION:
        raise CorruptData(f"catalogue entry {key!r} needs a reader of version {reader_min}; this one is {VALUE_VERSION}")
    return dict(fields)


def exchange_fields(exchange: ExchangeDefinition) -> dict[str, Any]:
    """What is kept of an exchange."""
    return {
        "type": exchange.type,
        "auto_delete": exchange.auto_delete,
        "internal": exchange.internal,
        "arguments": to_plain(exchange.arguments),
    }


def queue_fields(queue: QueueDefinition) -> dict[str, Any]:
    """What is kept of a queue."""
    return {"log_id": queue.log_id, "auto_delete": queue.auto_delete, "arguments": to_plain(queue.arguments)}


def topic_fields(topic: TopicDefinition) -> dict[str, Any]:
    """What is kept of a topic."""
    return {
        "partitions": topic.partitions,
        "subject": topic.subject,
        "arguments": to_plain(topic.arguments),
        "max_age_ms": topic.policy.max_age_ms,
        "max_length_bytes": topic.policy.max_length_bytes,
    }


def binding_fields(binding: Binding) -> dict[str, Any]:
    """What is kept of a binding."""
    source, kind, name, routing_key, _ = binding.identity
    plain_key: str | bytes
    try:
        routing_key.encode()
        plain_key = routing_key
    except UnicodeEncodeError:
        plain_key = routing_key.encode(errors="surrogateescape")
    return {"source": source, "kind": kind, "destination": name, "routing_key": plain_key, "arguments": to_plain(binding.arguments)}


def kept_arguments(fields: dict[str, Any]) -> dict[str, Any]:
    """The arguments among decoded fields."""
    arguments = fields["arguments"]
    return {name: from_plain(value) for name, value in arguments.items()} if arguments else {}


_ENCODER = msgspec.msgpack.Encoder()
