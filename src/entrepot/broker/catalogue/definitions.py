"""Definitions: what exchanges, queues, topics and bindings were declared to be.

They compare and hash by identity; `runtime` is where the broker hangs its own object. How they are kept: kept_definitions.py.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from entrepot.broker.catalogue.arguments import Arguments, pack
from entrepot.broker.catalogue.queue_arguments import DROP_HEAD, QueuePolicy
from entrepot.broker.catalogue.quotas import BINDINGS, EXCHANGES, METADATA, PARTITIONS, QUEUES, TOPICS
from entrepot.broker.catalogue.routing import ExchangeRoutes
from entrepot.broker.catalogue.timed_definition import TimedDefinition

TO_EXCHANGE = "exchange"
TO_QUEUE = "queue"
TO_TOPIC = "topic"

Home: TypeAlias = tuple[bytes, int]  # a connection: which start of which process, and its number there
Identity: TypeAlias = tuple[str, str, str, str, bytes]  # source, kind and name of the destination, routing key, packed arguments


class ExchangeDefinition:
    """A declared exchange. `home`: as a queue's."""

    __slots__ = (
        "arguments",
        "auto_delete",
        "bindings_in",
        "bindings_out",
        "durable",
        "home",
        "internal",
        "maker",
        "metadata_bytes",
        "name",
        "namespace",
        "routes",
        "runtime",
        "type",
    )

    is_topic = False

    def __init__(
        self,
        namespace: str,
        name: str,
        type_name: str,
        *,
        durable: bool,
        auto_delete: bool,
        internal: bool,
        arguments: Arguments,
        kind: int,
        maker: str = "",
        home: bytes = b"",
    ) -> None:
        self.maker = maker
        self.home = home
        self.metadata_bytes = packed_size(arguments)
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

    def uses(self) -> dict[str, int]:
        """What it takes of the quotas."""
        return {EXCHANGES: 1, METADATA: self.metadata_bytes}


class Alive:
    """What has a live object, `runtime`, where its shards are open."""

    __slots__ = ()

    runtime: Any

    def here(self) -> Any:
        """The live object. Unavailable: its shard, or that of one of its partitions, is not open here."""
        if self.runtime.gone is not None:
            raise self.runtime.gone.again()
        return self.runtime


class QueueDefinition(Alive):
    """A declared queue. `exclusive_to` is the connection that owns it (a Home); such a queue never survives a restart, durable or not.

    `timed`: what it does with leases that are timed; None as long as nobody has asked for one. `maker` is the user who declared it, whose its dead
    letters are; "": not known. `may_refuse`: it has a limit that counts octets, or that refuses, or it sorts what comes. `shard`: see shards.Placed.
    `home`: of what does not survive a restart, the start of the process in which it lives; b"": it has none, or that was before it was said.
    """

    __slots__ = (
        "arguments",
        "auto_delete",
        "bindings_in",
        "durable",
        "exclusive_to",
        "home",
        "log_id",
        "maker",
        "may_refuse",
        "metadata_bytes",
        "name",
        "namespace",
        "policy",
        "runtime",
        "shard",
        "timed",
    )

    is_topic = False

    def __init__(
        self,
        namespace: str,
        name: str,
        log_id: bytes,
        *,
        durable: bool,
        auto_delete: bool,
        exclusive_to: Home | None,
        arguments: Arguments,
        policy: QueuePolicy,
        timed: TimedDefinition | None = None,
        maker: str = "",
        home: bytes = b"",
    ) -> None:
        self.maker = maker
        self.home = home
        self.namespace = namespace
        self.name = name
        self.log_id = log_id
        self.durable = durable
        self.auto_delete = auto_delete
        self.exclusive_to = exclusive_to
        self.arguments = dict(arguments)
        self.policy = policy
        self.may_refuse = policy.overflow != DROP_HEAD or policy.max_length_bytes is not None or policy.max_priority > 0
        self.timed = timed
        self.metadata_bytes = self.size()
        self.bindings_in: dict[Identity, Binding] = {}
        self.runtime: Any = None
        self.shard: int | None = None

    @property
    def persistent(self) -> bool:
        """Whether it survives a restart."""
        return self.durable and self.exclusive_to is None

    def size(self) -> int:
        """Bytes of what was said of it; `metadata_bytes` is what was counted of them."""
        return packed_size(self.arguments) + (0 if self.timed is None else self.timed.size())

    def uses(self) -> dict[str, int]:
        """What it takes of the quotas."""
        return {QUEUES: 1, METADATA: self.metadata_bytes}


class TopicDefinition(Alive):
    """A declared topic, by whatever protocol; a stream if an AMQP client declared it (`arguments` then say so).

    `partitions` are log ids. `subject` is what it is called in amq.topic, "" for nothing. Retention: see QueuePolicy's max_age_ms and
    max_length_bytes, of the whole topic's partition each; what `config` says goes before them. `id` is 16 bytes, never reused; `config` what was
    set by Kafka's names (topic/topic_config.py). `maker` is the user who made it; "": not known. `shard`: as a queue's.
    """

    __slots__ = (
        "arguments",
        "bindings_in",
        "config",
        "id",
        "maker",
        "metadata_bytes",
        "name",
        "namespace",
        "partitions",
        "policy",
        "runtime",
        "shard",
        "subject",
    )

    is_topic = True
    may_refuse = False
    durable = True
    home = b""
    auto_delete = False
    exclusive_to: Home | None = None
    persistent = True

    def __init__(
        self,
        namespace: str,
        name: str,
        partitions: list[bytes],
        *,
        subject: str,
        arguments: Arguments,
        policy: QueuePolicy,
        id_: bytes,
        config: dict[str, str] | None = None,
        maker: str = "",
    ) -> None:
        self.id = id_
        self.maker = maker
        self.metadata_bytes = packed_size(arguments)
        self.config = dict(config or {})
        self.namespace = namespace
        self.name = name
        self.partitions = partitions
        self.subject = subject
        self.arguments = dict(arguments)
        self.policy = policy
        self.bindings_in: dict[Identity, Binding] = {}
        self.runtime: Any = None
        self.shard: int | None = None

    @property
    def is_stream(self) -> bool:
        """Whether AMQP clients declared it, and so meet it where they ask for a queue of its name."""
        return "x-queue-type" in self.arguments

    def uses(self) -> dict[str, int]:
        """What it takes of the quotas."""
        return {TOPICS: 1, PARTITIONS: len(self.partitions), METADATA: self.metadata_bytes}


Destination: TypeAlias = ExchangeDefinition | QueueDefinition | TopicDefinition


class Binding:
    """A binding from an exchange to what it leads to. `makers` are the users who made it, by name, the latest of them last; (): not known.

    `maker` is the one of them for whom it is counted.
    """

    __slots__ = ("arguments", "destination", "identity", "maker", "makers", "routing_key", "source")

    def __init__(
        self,
        identity: Identity,
        source: ExchangeDefinition,
        destination: Destination,
        routing_key: str,
        arguments: Arguments,
        makers: tuple[str, ...] = (),
    ) -> None:
        self.makers = makers
        self.maker = makers[0] if makers else ""
        self.identity = identity
        self.source = source
        self.destination = destination
        self.routing_key = routing_key
        self.arguments = dict(arguments)

    @property
    def persistent(self) -> bool:
        """Whether it survives a restart: both of its ends do."""
        return self.source.persistent and self.destination.persistent

    def uses(self) -> dict[str, int]:
        """What it takes of the quotas."""
        return binding_uses(self.identity)


def binding_uses(identity: Identity) -> dict[str, int]:
    """What a binding takes of the quotas: of a routing key that is longer than AMQP's are, the octets, too."""
    key = identity[3]
    long = 0 if len(key) <= 63 else max(0, len(key.encode("utf-8", "surrogateescape")) - 255)
    return {BINDINGS: 1, METADATA: len(identity[4]) + long}


def kind_of(destination: Destination) -> str:
    """What a binding's identity calls the destination's kind."""
    if isinstance(destination, QueueDefinition):
        return TO_QUEUE
    return TO_TOPIC if isinstance(destination, TopicDefinition) else TO_EXCHANGE


def packed_size(arguments: Arguments) -> int:
    """Bytes that arguments take."""
    return len(pack(dict(arguments))) if arguments else 0


def identity_of(source: str, destination: Destination, routing_key: str, arguments: Arguments) -> Identity:
    """What makes two bindings the same one."""
    return source, kind_of(destination), destination.name, routing_key, pack(dict(arguments)) if arguments else b""
