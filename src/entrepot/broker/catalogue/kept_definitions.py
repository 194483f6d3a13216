"""How definitions are kept: state of shard 0, one key and value a definition (docs/formats/catalogue.md).

The key says what and where; the value is MessagePack `[version, minimum reader version, {field: value}]`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import msgspec

from entrepot.broker.catalogue.arguments import from_plain, to_plain
from entrepot.broker.catalogue.definitions import TO_EXCHANGE, TO_QUEUE, Binding, Destination, ExchangeDefinition, Identity, QueueDefinition, TopicDefinition
from entrepot.broker.catalogue.namespace import Namespace, exchange_text, queue_text
from entrepot.broker.catalogue.queue_arguments import STREAM, parse_queue_arguments
from entrepot.broker.catalogue.routing import KINDS
from entrepot.broker.catalogue.timed_definition import TimedDefinition
from entrepot.broker.state import CATALOGUE_PREFIX, prefix_end
from entrepot.model.errors import CorruptData

CATALOGUE_SHARD = 0

NAMESPACE_KEY = CATALOGUE_PREFIX + b"n"
EXCHANGE_KEY = CATALOGUE_PREFIX + b"x"
QUEUE_KEY = CATALOGUE_PREFIX + b"q"
TOPIC_KEY = CATALOGUE_PREFIX + b"t"
BINDING_KEY = CATALOGUE_PREFIX + b"b"

VALUE_VERSION = 1
VALUE_READER_MIN = 1

_SCAN_COUNT = 4096


class StateStore(Protocol):
    """What the catalogue needs of a store."""

    closed: set[int]  # see Store

    def fold(self, shard: int, key: bytes, delta: bytes) -> None:
        """Stage a change of state."""

    def scan(self, shard: int, first: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """State in the order of keys."""


def scan_all(store: StateStore, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Every key and value of the catalogue's shard that starts with `prefix`, in order."""
    first, end = prefix, prefix_end(prefix)
    while True:
        found = store.scan(CATALOGUE_SHARD, first, end, _SCAN_COUNT)
        yield from found
        if len(found) < _SCAN_COUNT:
            return
        first = found[len(found) - 1][0] + b"\x00"


def load(store: StateStore, namespace_of: Callable[[str], Namespace]) -> None:
    """Put everything kept into its namespace; `namespace_of` makes one that is missing. Raises CorruptData for what cannot be understood."""
    for key, value in scan_all(store, NAMESPACE_KEY):
        decode_value(key, value)
        namespace_of(split_key(key, NAMESPACE_KEY)[0])
    for key, value in scan_all(store, EXCHANGE_KEY):
        namespace, name = split_key(key, EXCHANGE_KEY)
        _load_exchange(namespace_of(namespace), name.decode(), decode_value(key, value))
    for key, value in scan_all(store, QUEUE_KEY):
        namespace, name = split_key(key, QUEUE_KEY)
        _load_queue(namespace_of(namespace), name.decode(), decode_value(key, value))
    for key, value in scan_all(store, TOPIC_KEY):
        namespace, name = split_key(key, TOPIC_KEY)
        _load_topic(namespace_of(namespace), name.decode(), decode_value(key, value))
    for key, value in scan_all(store, BINDING_KEY):
        _load_binding(namespace_of(split_key(key, BINDING_KEY)[0]), key, decode_value(key, value))


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
    fields = {
        "type": exchange.type,
        "auto_delete": exchange.auto_delete,
        "internal": exchange.internal,
        "arguments": to_plain(exchange.arguments),
    }
    return fields | {"maker": exchange.maker} if exchange.maker else fields


def queue_fields(queue: QueueDefinition) -> dict[str, Any]:
    """What is kept of a queue."""
    fields = {"log_id": queue.log_id, "auto_delete": queue.auto_delete, "arguments": to_plain(queue.arguments)}
    if queue.maker:
        fields["maker"] = queue.maker
    if queue.timed is not None:
        fields["timed"] = queue.timed.kept()
    return fields


def topic_fields(topic: TopicDefinition) -> dict[str, Any]:
    """What is kept of a topic."""
    fields = {
        "id": topic.id,
        "config": topic.config,
        "partitions": topic.partitions,
        "subject": topic.subject,
        "arguments": to_plain(topic.arguments),
        "max_age_ms": topic.policy.max_age_ms,
        "max_length_bytes": topic.policy.max_length_bytes,
    }
    return fields | {"maker": topic.maker} if topic.maker else fields


def binding_fields(binding: Binding) -> dict[str, Any]:
    """What is kept of a binding."""
    source, kind, name, routing_key, _ = binding.identity
    plain_key: str | bytes
    try:
        routing_key.encode()
        plain_key = routing_key
    except UnicodeEncodeError:
        plain_key = routing_key.encode(errors="surrogateescape")
    fields: dict[str, Any] = {"source": source, "kind": kind, "destination": name, "routing_key": plain_key, "arguments": to_plain(binding.arguments)}
    if binding.makers:
        fields["makers"] = list(binding.makers)
    return fields


def kept_arguments(fields: dict[str, Any]) -> dict[str, Any]:
    """The arguments among decoded fields."""
    arguments: dict[str, Any] = from_plain(fields["arguments"])
    return arguments


def _load_exchange(namespace: Namespace, name: str, fields: dict[str, Any]) -> None:
    kind = KINDS.get(fields["type"])
    if kind is None:
        raise CorruptData(f"{exchange_text(namespace, name)} has type {fields['type']!r}, which this version does not know")
    namespace.add_exchange(
        ExchangeDefinition(
            namespace.name,
            name,
            fields["type"],
            durable=True,
            auto_delete=fields["auto_delete"],
            internal=fields["internal"],
            arguments=kept_arguments(fields),
            kind=kind,
            maker=fields.get("maker", ""),
        )
    )


def _load_queue(namespace: Namespace, name: str, fields: dict[str, Any]) -> None:
    arguments = kept_arguments(fields)
    namespace.add_queue(
        QueueDefinition(
            namespace.name,
            name,
            fields["log_id"],
            durable=True,
            auto_delete=fields["auto_delete"],
            exclusive_to=None,
            arguments=arguments,
            policy=parse_queue_arguments(queue_text(namespace, name), arguments),
            timed=TimedDefinition.of(fields["timed"]) if fields.get("timed") else None,
            maker=fields.get("maker", ""),
        )
    )


def _load_topic(namespace: Namespace, name: str, fields: dict[str, Any]) -> None:
    arguments = kept_arguments(fields)
    policy = parse_queue_arguments(queue_text(namespace, name), arguments)._replace(
        queue_type=STREAM, max_age_ms=fields["max_age_ms"], max_length_bytes=fields["max_length_bytes"]
    )
    partitions = fields["partitions"]
    namespace.add_topic(
        TopicDefinition(
            namespace.name,
            name,
            partitions,
            subject=fields["subject"],
            arguments=arguments,
            policy=policy,
            id_=fields.get("id") or _id_of(partitions),
            config=fields.get("config"),
            maker=fields.get("maker", ""),
        )
    )


def _id_of(partitions: list[bytes]) -> bytes:
    """The id of a topic that was made before topics had one: always the same, for its first log is."""
    return hashlib.blake2b(partitions[0], digest_size=16, person=b"topic id").digest()


def _load_binding(namespace: Namespace, key: bytes, fields: dict[str, Any]) -> None:
    source = namespace.exchanges.get(fields["source"])
    name = fields["destination"]
    destination: Destination | None
    if fields["kind"] == TO_EXCHANGE:
        destination = namespace.exchanges.get(name)
    elif fields["kind"] == TO_QUEUE:
        destination = namespace.queues.get(name)
    else:
        destination = namespace.topics.get(name)
    if source is None or destination is None:
        raise CorruptData(f"binding {key!r} joins {fields['source']!r} and {fields['kind']} {name!r}, of which one does not exist")
    routing_key = fields["routing_key"]
    if isinstance(routing_key, bytes):
        routing_key = routing_key.decode(errors="surrogateescape")
    namespace.add_binding(source, destination, routing_key, kept_arguments(fields), tuple(fields.get("makers", ())))


_ENCODER = msgspec.msgpack.Encoder()
