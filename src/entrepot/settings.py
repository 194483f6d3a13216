"""What can be set: the sections of the configuration, and what a key is. What is of one protocol alone stands in its package; config.py reads them all.

A key is one line here: its type, what it is for, its unit, the figure that shows how much of it is used, its bounds, its default.
docs/configuration.md and docs/limits.md are made from these lines (tools/write_reference.py) and tested against them.
In the environment `limits.connections` is ENTREPOT_LIMITS_CONNECTIONS.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec

from entrepot.model.errors import Reason, Refused


def key(text: str, *, unit: str = "", metric: str = "", at: str = "", least: int | None = None, most: int | None = None) -> msgspec.Meta:
    """What a key is. `metric`: the figure that shows how much of a limit is in use; `at`: what happens at the limit."""
    return msgspec.Meta(description=text, ge=least, le=most, extra={"unit": unit, "metric": metric, "at": at})


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the configuration."""

    after: ClassVar[str] = ""  # of a protocol's: what it stands behind in the reference; "": as Config and Limits say


SectionT = TypeVar("SectionT", bound=Section)


class Durability(Section, frozen=True):
    """When a message counts as durable, and so is confirmed and delivered."""

    mode: Annotated[
        Literal["fsync", "interval", "none"],
        key("fsync: after the disk has it; interval: when written, synced every interval_ms; none: when written, synced by the system"),
    ] = "fsync"
    interval_ms: Annotated[int, key("time between syncs in mode interval: what a power loss may cost", unit="ms", least=1, most=60_000)] = 100
    linger_ms: Annotated[int, key("longest wait of a commit that nobody waits for", unit="ms", least=0, most=60_000)] = 5


class Journal(Section, frozen=True):
    """The journal's files."""

    file_size_bytes: Annotated[int, key("size of one journal file", unit="bytes", least=1 << 20, most=1 << 30)] = 32 << 20
    files_ready: Annotated[int, key("files kept ready to be written over", unit="files", least=1, most=64)] = 2
    unsorted_bytes: Annotated[
        int,
        key(
            "journal waiting to be sorted into segments, at which publishing slows down",
            unit="bytes",
            metric="entrepot_store_journal_unsorted_bytes",
            least=1 << 24,
        ),
    ] = 512 << 20


class Cache(Section, frozen=True):
    """Memory for stored messages."""

    size_bytes: Annotated[int, key("stored entries kept in memory for readers", unit="bytes", metric="entrepot_store_cached_bytes", least=1 << 20)] = 24 << 20
    files_bytes: Annotated[
        int, key("newest segments that the system keeps in its cache; older ones are dropped from it; 0: all are kept, as far as it can", unit="bytes", least=0)
    ] = 1 << 30
    volatile_bytes: Annotated[
        int, key("transient messages kept in memory; more are spilled to scratch files", unit="bytes", metric="entrepot_volatile_memory_bytes", least=1 << 20)
    ] = 64 << 20
    translated_bytes: Annotated[
        int,
        key("entries in the form of another protocol, kept for its next reader", unit="bytes", metric="entrepot_broker_translations_bytes", least=0),
    ] = 16 << 20


class Disk(Section, frozen=True):
    """The disk under the data directory."""

    reserve_bytes: Annotated[
        int,
        key(
            "free space below which publishing is refused; settling and checkpoints go on", unit="bytes", metric="entrepot_store_disk_free_bytes", least=1 << 20
        ),
    ] = 64 << 20


class Groups(Section, frozen=True):
    """Consumer groups; in brackets what Kafka calls the same."""

    initial_rebalance_delay_ms: Annotated[
        int, key("how long an empty group waits for more members (group.initial.rebalance.delay.ms)", unit="ms", least=0, most=600_000)
    ] = 100
    session_timeout_min_ms: Annotated[int, key("least session timeout of a member (group.min.session.timeout.ms)", unit="ms", least=1)] = 6_000
    session_timeout_max_ms: Annotated[int, key("greatest session timeout of a member (group.max.session.timeout.ms)", unit="ms", least=1)] = 1_800_000
    consumer_session_timeout_ms: Annotated[
        int, key("session timeout where the broker assigns (group.consumer.session.timeout.ms)", unit="ms", least=100, most=1_800_000)
    ] = 45_000
    consumer_heartbeat_interval_ms: Annotated[
        int, key("heartbeat interval where the broker assigns (group.consumer.heartbeat.interval.ms)", unit="ms", least=10, most=600_000)
    ] = 5_000
    offsets_retention_ms: Annotated[
        int, key("how long a group without members keeps its committed offsets (offsets.retention.minutes)", unit="ms", least=1)
    ] = 604_800_000
    offsets_check_interval_ms: Annotated[
        int, key("time between two searches for old offsets (offsets.retention.check.interval.ms)", unit="ms", least=1, most=86_400_000)
    ] = 600_000


class Tls(Section, frozen=True):
    """Files in PEM, for the listeners that use TLS."""

    certificate: Annotated[str, key("certificate chain")] = ""
    key: Annotated[str, key("its private key")] = ""
    client_authorities: Annotated[str, key("when set, clients must show a certificate signed by one of these")] = ""


class Limits(Section, frozen=True):
    """Everything that is bounded. docs/limits.md is this table."""

    connections: Annotated[
        int, key("open connections of all listeners", unit="connections", metric="entrepot_connections", at="a new connection is closed at once", least=1)
    ] = 16_000
    connections_per_listener: Annotated[
        int, key("open connections of one listener", unit="connections", metric="entrepot_connections", at="a new connection is closed at once", least=1)
    ] = 16_000
    strangers_per_listener: Annotated[
        int,
        key(
            "connections of one listener on which nobody has logged in yet",
            unit="connections",
            metric="entrepot_strangers",
            at="the one that has waited for longest is cut off",
            least=1,
        ),
    ] = 2000
    strangers_per_address: Annotated[
        int,
        key(
            "the same from one address (IPv6: one /64)",
            unit="connections",
            metric="entrepot_strangers",
            at="the one that has waited for longest is cut off",
            least=1,
        ),
    ] = 1000
    strangers_bytes: Annotated[
        int,
        key(
            "received on all such connections and not yet taken (4 KiB of each are free)",
            unit="bytes",
            metric="entrepot_strangers_bytes",
            at="the one that has waited for longest is cut off",
            least=1 << 16,
        ),
    ] = 16 << 20
    connection_moves: Annotated[
        int, key("times one connection may move to the worker whose queue it uses", unit="moves", at="it stays where it is", least=0, most=100)
    ] = 3
    accept_backlog: Annotated[
        int, key("connections the system holds until they are accepted", unit="connections", at="the system makes new ones wait", least=1, most=65_535)
    ] = 4096
    socket_output_bytes: Annotated[
        int,
        key(
            "written to one connection and not yet taken by its peer",
            unit="bytes",
            at="no more is delivered to that connection until half is taken",
            least=4096,
        ),
    ] = 1 << 20
    connection_output_bytes: Annotated[
        int, key("answers waiting for one connection that is at socket_output_bytes", unit="bytes", at="that connection is not read from", least=4096)
    ] = 1 << 20
    close_timeout_ms: Annotated[int, key("time a closing connection has to take its last bytes", unit="ms", at="it is cut off", least=1, most=600_000)] = 10_000
    dead_peer_timeout_ms: Annotated[
        int, key("time a peer may leave sent bytes, or probes, unanswered", unit="ms", at="it is cut off", least=1000, most=3_600_000)
    ] = 60_000
    stop_grace_ms: Annotated[
        int, key("time connections have to say goodbye when the broker stops", unit="ms", at="they are cut off", least=0, most=600_000)
    ] = 5_000
    handshake_timeout_ms: Annotated[
        int, key("time a connection has to log in and open its virtual host", unit="ms", at="it is closed", least=1, most=600_000)
    ] = 10_000
    message_bytes: Annotated[
        int, key("one message's body (max_message_size)", unit="bytes", at="a larger one closes its channel with 406", least=1024, most=512 << 20)
    ] = 16 << 20
    unfinished_bytes: Annotated[
        int,
        key(
            "received of requests and messages that are not whole (256 KiB of each connection are free), and held by transactions, in all",
            unit="bytes",
            metric="entrepot_unfinished_bytes",
            at="the connection that has waited longest for the rest of one is closed; where it is transactions, their channels are (AMQP), or it is (STOMP)",
            least=1 << 20,
        ),
    ] = 512 << 20
    prefetch: Annotated[
        int, key("unacknowledged messages of one consumer without a prefetch; 0 for no other limit than leases", unit="messages", at="it gets no more", least=0)
    ] = 0
    staged_bytes: Annotated[
        int,
        key("published and not yet durable", unit="bytes", metric="entrepot_store_staged_bytes", at="publishing connections are not read from", least=1 << 20),
    ] = 64 << 20
    namespaces: Annotated[int, key("namespaces", unit="namespaces", metric="entrepot_namespaces", at="declaring is refused", least=1)] = 1000
    exchanges: Annotated[int, key("exchanges", unit="exchanges", metric="entrepot_exchanges", at="declaring is refused", least=1)] = 100_000
    queues: Annotated[int, key("queues", unit="queues", metric="entrepot_queues", at="declaring is refused", least=1)] = 1_000_000
    topics: Annotated[int, key("topics, streams among them", unit="topics", metric="entrepot_topics", at="declaring is refused", least=1)] = 100_000
    partitions: Annotated[int, key("partitions of one topic", unit="partitions", at="declaring is refused", least=1)] = 10_000
    total_partitions: Annotated[
        int, key("partitions of all topics", unit="partitions", metric="entrepot_partitions", at="declaring and adding are refused", least=1)
    ] = 200_000
    bindings: Annotated[int, key("bindings", unit="bindings", metric="entrepot_bindings", at="binding is refused", least=1)] = 2_000_000
    consumers: Annotated[
        int, key("consumers of AMQP, STOMP and MQTT clients", unit="consumers", metric="entrepot_broker_consumers", at="consuming is refused", least=1)
    ] = 500_000
    groups: Annotated[int, key("consumer groups", unit="groups", metric="entrepot_broker_groups", at="joining and committing are refused", least=1)] = 100_000
    total_group_members: Annotated[
        int, key("members of all consumer groups", unit="members", metric="entrepot_broker_group_members", at="joining is refused", least=1)
    ] = 200_000
    offsets: Annotated[
        int,
        key(
            "committed offsets, of each group and partition one", unit="offsets", metric="entrepot_broker_offsets", at="committing another is refused", least=1
        ),
    ] = 1_000_000
    metadata_bytes: Annotated[
        int,
        key(
            "arguments, tags and policies of all that is declared, metadata of offsets, what members of groups say of themselves and are assigned, "
            "and what groups know of topics",
            unit="bytes",
            metric="entrepot_broker_metadata_bytes",
            at="what would add to it is refused",
            least=1 << 16,
        ),
    ] = 512 << 20
    share_percent: Annotated[
        int,
        key(
            "of each limit from exchanges to metadata_bytes that is one of the whole broker, what one user may have",
            unit="percent",
            at="as at the limit itself, for that user",
            least=1,
            most=100,
        ),
    ] = 80
    group_members: Annotated[int, key("members of one consumer group", unit="members", at="joining is refused", least=1)] = 10_000
    group_metadata_bytes: Annotated[
        int, key("what one member says of its subscription, and what it is assigned", unit="bytes", at="joining or assigning is refused", least=1024)
    ] = 1 << 20
    offset_metadata_bytes: Annotated[
        int, key("metadata of one committed offset (offset.metadata.max.bytes)", unit="bytes", at="committing it is refused", least=0, most=1 << 20)
    ] = 4_096
    http_request_bytes: Annotated[int, key("one HTTP request with its headers", unit="bytes", at="it is answered 400 or 413", least=1024, most=1 << 26)] = (
        65_536
    )
    retained: Annotated[
        int,
        key("retained messages of one namespace", unit="messages", metric="entrepot_broker_retained", at="another is published, and not retained", least=0),
    ] = 1_000_000
    retained_bytes: Annotated[
        int,
        key("the same in bytes", unit="bytes", metric="entrepot_broker_retained_bytes", at="another is published, and not retained", least=1024),
    ] = 1 << 30


class User(Section, frozen=True):
    """A user given by the configuration, as if added by `entrepot users add`."""

    password: Annotated[str, key("password")]
    namespaces: Annotated[tuple[str, ...], key("namespaces it may use; empty for all")] = ()
    administrator: Annotated[bool, key("may change users and namespaces")] = False


class Config(Section, frozen=True):
    """The whole configuration. `listen` and `parts` have what was given: what was not is as the protocols say."""

    data: Annotated[str, key("data directory")] = "./entrepot-data"
    workers: Annotated[
        int,
        key("processes that are the broker together; 0: as many as the data directory is divided for, one where it is new", unit="processes", least=0, most=64),
    ] = 0
    log_level: Annotated[Literal["debug", "info", "warning", "error"], key("least level that is logged")] = "info"
    log_format: Annotated[Literal["text", "json"], key("text for people, json for machines, one line each")] = "text"
    namespaces: Annotated[tuple[str, ...], key("namespaces made at start if they are missing, as tenant/name")] = ("public/default",)
    http_hosts: Annotated[
        tuple[str, ...],
        key("names besides localhost by which HTTP requests without a signature may call this broker: SQS without users or unsigned, health, metrics"),
    ] = ()
    websocket_origins: Annotated[
        tuple[str, ...],
        key("origins of web pages that may open WebSockets, such as https://app.example.com; * for all, which then count as from elsewhere: not as guest"),
    ] = ()
    secrets_key_file: Annotated[
        str, key("file with the key that seals the secrets of access keys: 32 bytes, or a data directory's secrets.key; empty: the data directory's own")
    ] = ""
    listen: dict[str, str] = {}  # addresses by listener
    durability: Durability = Durability()
    journal: Journal = Journal()
    cache: Cache = Cache()
    disk: Disk = Disk()
    groups: Groups = Groups()
    tls: Tls = Tls()
    limits: Limits = Limits()
    users: dict[str, User] = {}
    parts: dict[type[Section], Section] = {}  # of the protocols

    def of(self, section: type[SectionT]) -> SectionT:
        """A protocol's section, or its part of [limits]."""
        found = self.parts.get(section)
        return found if isinstance(found, section) else section()


class Key(msgspec.Struct, frozen=True):
    """One key as documentation and errors speak of it."""

    name: str  # dotted
    type: Any
    default: Any
    meta: msgspec.Meta
    section: type[Section] | None = None  # where it lies; None: the table of listeners

    @property
    def environment(self) -> str:
        """The variable that sets it."""
        return "ENTREPOT_" + self.name.replace(".", "_").replace("-", "_").upper()

    @property
    def extra(self) -> dict[str, Any]:
        """Unit, metric, and what happens at the limit."""
        return self.meta.extra or {}

    @property
    def allowed(self) -> str:
        """What its value may be, in words."""
        if get_origin(self.type) is Literal:
            return " | ".join(get_args(self.type))
        if self.type is int:
            unit = self.extra["unit"]
            what = "a size such as 1048576, 64 KiB or 1 GiB" if unit == "bytes" else f"a whole number{' of ' + unit if unit else ''}"
            low, high = self.meta.ge, self.meta.le
            return what + (f", at least {low}" if low is not None else "") + (f", at most {high}" if high is not None else "")
        return {str: "a string", bool: "true or false"}.get(self.type, "a list of strings, in the environment and in flags separated by commas")


def keys_of(section: type[Section], prefix: str = "") -> Iterator[Key]:
    """Every key of a section, not those of sections within it, in the order of its lines."""
    hints = get_type_hints(section, include_extras=True)
    for field in msgspec.structs.fields(section):
        hint = hints[field.name]
        if get_origin(hint) is Annotated:
            kind, meta = get_args(hint)
            default = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
            yield Key(prefix + field.name, kind, default, meta, section)


def sections() -> dict[str, type[Section]]:
    """The sections that are no protocol's, by name, in the order of Config's lines."""
    hints = get_type_hints(Config)
    return {name: hint for name, hint in hints.items() if isinstance(hint, type) and issubclass(hint, Section)}


def address(name: str, text: str) -> tuple[str, int]:
    """HOST:PORT of listener `name` (or of a dotted key), or [V6]:PORT. Refused if it is neither."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65_535:
        key_name = name if "." in name else f"listen.{name}"
        raise Refused(Reason.INVALID, f"{key_name} = {text!r}: HOST:PORT is expected, such as 127.0.0.1:5672 or [::1]:5672; port 0 takes a free one")
    return host.removeprefix("[").removesuffix("]"), int(port)
