"""How definitions are kept, and sent: state of shard 0, one key and value a definition (docs/formats/catalogue.md).

The key says what and where; the value is MessagePack `[version, minimum reader version, {field: value}]`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Protocol

import msgspec

from entrepot.broker.catalogue.arguments import Arguments, from_plain, to_plain
from entrepot.broker.catalogue.changes import Row
from entrepot.broker.catalogue.definitions import Binding, ExchangeDefinition, Identity, QueueDefinition, TopicDefinition
from entrepot.broker.catalogue.namespace import Namespace, exchange_text, queue_text
from entrepot.broker.catalogue.queue_arguments import STREAM, QueuePolicy, parse_queue_arguments
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
    """What the catalogue needs of a store. `epoch` is that of its shard; see Store for `closed`."""

    epoch: int
    closed: set[int]

    def get(self, shard: int, key: bytes) -> bytes | None:
        """State."""

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


def namespace_row(name: str, *, gone: bool = False) -> Row:
    """A namespace."""
    return Row(named_key(NAMESPACE_KEY, name, ""), {}, gone)


def exchange_row(exchange: ExchangeDefinition) -> Row:
    """An exchange."""
    fields: dict[str, Any] = {
        "type": exchange.type,
        "auto_delete": exchange.auto_delete,
        "internal": exchange.internal,
        "arguments": to_plain(exchange.arguments),
    }
    if exchange.maker:
        fields["maker"] = exchange.maker
    if not exchange.durable:
        fields["durable"] = False
    if exchange.home:
        fields["home"] = exchange.home
    return Row(named_key(EXCHANGE_KEY, exchange.namespace, exchange.name), fields, kept=exchange.persistent)


def queue_row(queue: QueueDefinition, **changes: Any) -> Row:
    """A queue, but for what `changes` say of it."""
    fields: dict[str, Any] = {"log_id": queue.log_id, "auto_delete": queue.auto_delete, "arguments": to_plain(queue.arguments)}
    if queue.maker:
        fields["maker"] = queue.maker
    if queue.timed is not None:
        fields["timed"] = queue.timed.kept()
    if not queue.durable:
        fields["durable"] = False
    if queue.home:
        fields["home"] = queue.home
    if queue.exclusive_to is not None:
        fields["exclusive_to"] = list(queue.exclusive_to)
    return Row(named_key(QUEUE_KEY, queue.namespace, queue.name), fields | changes, kept=queue.persistent)


def topic_row(topic: TopicDefinition, **changes: Any) -> Row:
    """A topic, but for what `changes` say of it."""
    fields = {
        "id": topic.id,
        "config": topic.config,
        "partitions": topic.partitions,
        "subject": topic.subject,
        "arguments": to_plain(topic.arguments),
        "max_age_ms": topic.policy.max_age_ms,
        "max_length_bytes": topic.policy.max_length_bytes,
    }
    if topic.maker:
        fields["maker"] = topic.maker
    return Row(named_key(TOPIC_KEY, topic.namespace, topic.name), fields | changes)


def binding_row(namespace: str, binding: Binding) -> Row:
    """A binding that is there."""
    return made_binding_row(namespace, binding.identity, binding.makers, kept=binding.persistent)


def made_binding_row(namespace: str, identity: Identity, makers: tuple[str, ...], *, kept: bool) -> Row:
    """A binding as it shall be."""
    packed = identity[4]
    fields = _binding_fields(identity, msgspec.msgpack.decode(packed) if packed else {})
    if makers:
        fields["makers"] = list(makers)
    return Row(binding_key(namespace, identity), fields, kept=kept)


def gone_binding_row(namespace: str, binding: Binding) -> Row:
    """A binding that is not there any more; its arguments, which may be many, are not taken apart."""
    packed = binding.identity[4]
    fields = _binding_fields(binding.identity, msgspec.Raw(packed) if packed else {})
    return Row(binding_key(namespace, binding.identity), fields, True, binding.persistent)


def _binding_fields(identity: Identity, arguments: Any) -> dict[str, Any]:
    source, kind, name, routing_key, _ = identity
    plain_key: str | bytes
    try:
        routing_key.encode()
        plain_key = routing_key
    except UnicodeEncodeError:
        plain_key = routing_key.encode(errors="surrogateescape")
    return {"source": source, "kind": kind, "destination": name, "routing_key": plain_key, "arguments": arguments}


def gone(row: Row) -> Row:
    """A namespace, exchange, queue, topic, user or access key is not there any more."""
    return Row(row.key, {}, True, row.kept)


def is_same(one: Row, other: Row) -> bool:
    """Whether two rows under one key say the same: as they are kept, for some values (NaN) do not equal themselves."""
    return one == other or (one[2:] == other[2:] and encode_value(one.fields) == encode_value(other.fields))


def kept_arguments(fields: dict[str, Any]) -> dict[str, Any]:
    """The arguments among decoded fields."""
    arguments: dict[str, Any] = from_plain(fields["arguments"])
    return arguments


def exchange_of(namespace: Namespace, name: str, fields: dict[str, Any]) -> ExchangeDefinition:
    """The exchange that a row's fields describe. Raises CorruptData for a type that this version does not know."""
    kind = KINDS.get(fields["type"])
    if kind is None:
        raise CorruptData(f"{exchange_text(namespace, name)} has type {fields['type']!r}, which this version does not know")
    return ExchangeDefinition(
        namespace.name,
        name,
        fields["type"],
        durable=fields.get("durable", True),
        auto_delete=fields["auto_delete"],
        internal=fields["internal"],
        arguments=kept_arguments(fields),
        kind=kind,
        maker=fields.get("maker", ""),
        home=fields.get("home", b""),
    )


def queue_of(namespace: Namespace, name: str, fields: dict[str, Any]) -> QueueDefinition:
    """The queue that a row's fields describe."""
    arguments = kept_arguments(fields)
    home = fields.get("exclusive_to")
    return QueueDefinition(
        namespace.name,
        name,
        fields["log_id"],
        durable=fields.get("durable", True),
        auto_delete=fields["auto_delete"],
        exclusive_to=None if home is None else (home[0], home[1]),
        arguments=arguments,
        policy=parse_queue_arguments(queue_text(namespace, name), arguments),
        timed=timed_of(fields),
        maker=fields.get("maker", ""),
        home=fields.get("home", b""),
    )


def timed_of(fields: dict[str, Any]) -> TimedDefinition | None:
    """What a queue's fields say of leases that are timed."""
    return TimedDefinition.of(fields["timed"]) if fields.get("timed") else None


def topic_of(namespace: Namespace, name: str, fields: dict[str, Any]) -> TopicDefinition:
    """The topic that a row's fields describe."""
    arguments = kept_arguments(fields)
    partitions = fields["partitions"]
    return TopicDefinition(
        namespace.name,
        name,
        partitions,
        subject=fields["subject"],
        arguments=arguments,
        policy=topic_policy(namespace, name, fields, arguments),
        id_=topic_id_in(fields),
        config=fields.get("config"),
        maker=fields.get("maker", ""),
    )


def topic_policy(namespace: Namespace, name: str, fields: dict[str, Any], arguments: Arguments) -> QueuePolicy:
    """What a topic's fields say of its retention."""
    policy = parse_queue_arguments(queue_text(namespace, name), arguments)
    return policy._replace(queue_type=STREAM, max_age_ms=fields["max_age_ms"], max_length_bytes=fields["max_length_bytes"])


def identity_in(fields: dict[str, Any]) -> Identity:
    """Which binding a row's fields describe."""
    routing_key = fields["routing_key"]
    if isinstance(routing_key, bytes):
        routing_key = routing_key.decode(errors="surrogateescape")
    arguments = fields["arguments"]  # sorted already, so that this is what pack() makes of them
    return fields["source"], fields["kind"], fields["destination"], routing_key, _ENCODER.encode(arguments) if arguments else b""


def topic_id_in(fields: dict[str, Any]) -> bytes:
    """A topic's id. Of one that was made before topics had one it is always the same, for its first log is."""
    kept: bytes | None = fields.get("id")
    return kept or hashlib.blake2b(fields["partitions"][0], digest_size=16, person=b"topic id").digest()


_ENCODER = msgspec.msgpack.Encoder()
