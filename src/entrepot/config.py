"""The configuration: one typed object, from defaults, then a TOML file, then the environment, then flags; the last one wins.

A key is one line here: its type, what it is for, its unit, the figure that shows how much of it is used, its bounds, its default.
docs/configuration.md and docs/limits.md are made from these lines (tools/write_reference.py) and tested against them.
In the environment `limits.connections` is ENTREPOT_LIMITS_CONNECTIONS.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from entrepot.model.errors import Reason, Refused
from entrepot.model.listeners import LISTENERS
from entrepot.model.mismatch import mismatch_text


def key(text: str, *, unit: str = "", metric: str = "", at: str = "", least: int | None = None, most: int | None = None) -> msgspec.Meta:
    """What a key is. `metric`: the figure that shows how much of a limit is in use; `at`: what happens at the limit."""
    return msgspec.Meta(description=text, ge=least, le=most, extra={"unit": unit, "metric": metric, "at": at})


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the configuration."""


def _listener(name: str) -> Any:
    kind = LISTENERS[name]
    return key(kind.title + ("; needs [tls]" if kind.without_tls else ""))


class Listen(Section, frozen=True):
    """Addresses, as HOST:PORT; port 0 takes a free one, an empty string listens not at all."""

    amqp: Annotated[str, _listener("amqp")] = LISTENERS["amqp"].address
    amqps: Annotated[str, _listener("amqps")] = LISTENERS["amqps"].address
    kafka: Annotated[str, _listener("kafka")] = LISTENERS["kafka"].address
    kafkas: Annotated[str, _listener("kafkas")] = LISTENERS["kafkas"].address
    sqs: Annotated[str, _listener("sqs")] = LISTENERS["sqs"].address
    sqss: Annotated[str, _listener("sqss")] = LISTENERS["sqss"].address
    http: Annotated[str, _listener("http")] = LISTENERS["http"].address


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


class Amqp(Section, frozen=True):
    """AMQP 0-9-1."""

    heartbeat_s: Annotated[int, key("heartbeat interval suggested to clients; 0 for none", unit="s", least=0, most=65_535)] = 60


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


class Kafka(Section, frozen=True):
    """Apache Kafka."""

    node_id: Annotated[int, key("the broker's id, as clients see it (broker.id)", least=0, most=0x7FFFFFFF)] = 1
    advertised: Annotated[
        str,
        key(
            "address that clients of listen.kafka are told to connect to, as HOST:PORT: where it is not the one at which they arrive (a port forwarded to "
            "another number, a container); empty: that one (advertised.listeners)"
        ),
    ] = ""
    advertised_tls: Annotated[str, key("the same of listen.kafkas")] = ""
    namespace: Annotated[str, key("namespace of connections whose user may use it, or may use all")] = "public/default"
    create_topics: Annotated[bool, key("topics are made when a client that wants it first asks for them (auto.create.topics.enable)")] = True
    partitions: Annotated[int, key("partitions of a topic whose maker does not say (num.partitions)", unit="partitions", least=1, most=10_000)] = 1
    retention_ms: Annotated[
        int, key("how long topics that Kafka's clients make keep their records, unless they say otherwise; -1 for ever (log.retention.ms)", unit="ms", least=-1)
    ] = 604_800_000
    producer_idle_ms: Annotated[
        int,
        key(
            "silence after which the sequence of a producer is forgotten (producer.id.expiration.ms); from five minutes on where limits are reached",
            unit="ms",
            least=1,
        ),
    ] = 86_400_000
    idle_s: Annotated[int, key("silence after which a connection is closed (connections.max.idle.ms)", unit="s", least=1, most=86_400 * 30)] = 600


class Sqs(Section, frozen=True):
    """Amazon SQS."""

    region: Annotated[str, key("region in the ARNs of queues")] = "us-east-1"
    regions: Annotated[
        Literal["one", "apart"],
        key("one: there is `region`, whatever clients sign for; apart: a queue is of the region that its requests are signed for, others do not see it"),
    ] = "one"
    account: Annotated[str, key("account of the namespace public/default, twelve digits; without users also of every key id that is not twelve digits")] = (
        "000000000000"
    )
    anonymous: Annotated[str, key("user whose requests without a signature are; empty: they may only do what a queue's own policy allows everybody")] = ""
    allowed_origins: Annotated[
        tuple[str, ...],
        key("origins of web pages whose scripts may call (CORS), as http://localhost:3000; * for all, which must sign then and need users"),
    ] = ()
    idle_s: Annotated[int, key("silence after which a connection is closed", unit="s", least=1, most=86_400)] = 120


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
    channels: Annotated[int, key("AMQP channels of one connection", unit="channels", at="the next one is an error 530", least=1, most=65_535)] = 2047
    frame_bytes: Annotated[int, key("one AMQP frame", unit="bytes", at="a larger one is an error 501", least=4096, most=1 << 24)] = 131_072
    message_bytes: Annotated[
        int, key("one message's body (max_message_size)", unit="bytes", at="a larger one closes its channel with 406", least=1024, most=512 << 20)
    ] = 16 << 20
    unpacked_batch_bytes: Annotated[
        int, key("one compressed Kafka record batch, unpacked", unit="bytes", at="a larger one is refused", least=1 << 16, most=1 << 30)
    ] = 64 << 20
    kafka_produce_bytes: Annotated[
        int,
        key("one Produce request (socket.request.max.bytes)", unit="bytes", at="its connection is closed", least=1 << 20, most=1 << 30),
    ] = 100 << 20
    kafka_request_bytes: Annotated[int, key("any other Kafka request", unit="bytes", at="its connection is closed", least=1 << 16, most=1 << 30)] = 16 << 20
    kafka_fetch_bytes: Annotated[
        int, key("records in one answer to a Fetch (fetch.max.bytes)", unit="bytes", at="the rest comes with the next one", least=1 << 16, most=1 << 30)
    ] = 55 << 20
    unfinished_bytes: Annotated[
        int,
        key(
            "received of requests and messages that are not whole (256 KiB of each connection are free), and held by AMQP transactions, in all",
            unit="bytes",
            metric="entrepot_unfinished_bytes",
            at="the connection that has waited longest for the rest of one is closed; where it is transactions, their channels are",
            least=1 << 20,
        ),
    ] = 512 << 20
    sqs_request_bytes: Annotated[int, key("the body of one SQS request", unit="bytes", at="it is answered 413", least=1 << 20, most=1 << 26)] = 4 << 20
    sqs_request_ms: Annotated[int, key("time an SQS request has to arrive", unit="ms", at="it is answered 408", least=1_000, most=3_600_000)] = 30_000
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
        int, key("consumers of AMQP clients, on all connections", unit="consumers", metric="entrepot_broker_consumers", at="consuming is refused", least=1)
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


class User(Section, frozen=True):
    """A user given by the configuration, as if added by `entrepot users add`."""

    password: Annotated[str, key("password")]
    namespaces: Annotated[tuple[str, ...], key("namespaces it may use; empty for all")] = ()
    administrator: Annotated[bool, key("may change users and namespaces")] = False


class Config(Section, frozen=True):
    """The whole configuration."""

    data: Annotated[str, key("data directory")] = "./entrepot-data"
    log_level: Annotated[Literal["debug", "info", "warning", "error"], key("least level that is logged")] = "info"
    log_format: Annotated[Literal["text", "json"], key("text for people, json for machines, one line each")] = "text"
    namespaces: Annotated[tuple[str, ...], key("namespaces made at start if they are missing, as tenant/name")] = ("public/default",)
    http_hosts: Annotated[
        tuple[str, ...],
        key("names besides localhost by which HTTP requests without a signature may call this broker: SQS without users or unsigned, health, metrics"),
    ] = ()
    listen: Listen = Listen()
    durability: Durability = Durability()
    journal: Journal = Journal()
    cache: Cache = Cache()
    disk: Disk = Disk()
    amqp: Amqp = Amqp()
    groups: Groups = Groups()
    kafka: Kafka = Kafka()
    sqs: Sqs = Sqs()
    tls: Tls = Tls()
    limits: Limits = Limits()
    users: dict[str, User] = {}


class Key(msgspec.Struct, frozen=True):
    """One key as documentation and errors speak of it."""

    name: str  # dotted
    type: Any
    default: Any
    meta: msgspec.Meta

    @property
    def environment(self) -> str:
        """The variable that sets it."""
        return "ENTREPOT_" + self.name.replace(".", "_").upper()

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


def keys(section: type[Section] = Config, prefix: str = "") -> Iterator[Key]:
    """Every key of fixed name, in the order of the classes."""
    hints = get_type_hints(section, include_extras=True)
    for field in msgspec.structs.fields(section):
        hint = hints[field.name]
        if get_origin(hint) is Annotated:
            kind, meta = get_args(hint)
            default = field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default
            yield Key(prefix + field.name, kind, default, meta)
        elif isinstance(hint, type) and issubclass(hint, Section):
            yield from keys(hint, f"{prefix}{field.name}.")


class Loaded(msgspec.Struct, frozen=True):
    """A configuration, and what its reader should be told."""

    config: Config
    notes: list[str]


def load(file: Path | None = None, environment: Mapping[str, str] | None = None, flags: Mapping[str, str] | None = None) -> Loaded:
    """The configuration from `file`, then `environment`, then `flags` (dotted key -> text).

    Raises Refused (INVALID) naming the key, the value, where it stands, and what is allowed.
    """
    table = {found.name: found for found in keys()}
    values: dict[str, Any] = {}
    users: dict[str, User] = {}
    notes: list[str] = []
    if file is not None:
        _take_table(_read(file), "", str(file), table, values, users)
    by_variable = {found.environment: found for found in table.values()}
    for name, text in (environment or {}).items():
        if name in by_variable:
            found = by_variable[name]
            values[found.name] = _convert(found, text, f"environment variable {name}")
        elif name.startswith("ENTREPOT_") and (near := difflib.get_close_matches(name, by_variable, 1, 0.85)):
            notes.append(f"environment variable {name} is none of Entrepot's; {near[0]} is")
    for name, text in (flags or {}).items():
        if name not in table:
            raise _unknown(name, "command line", table)
        values[name] = _convert(table[name], text, "command line")
    return Loaded(_build(Config, "", values, users), notes)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise Refused(Reason.INVALID, f"configuration {file} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Refused(Reason.INVALID, f"configuration {file} is not TOML: {error}") from None


def _take_table(found: Mapping[str, Any], prefix: str, source: str, table: Mapping[str, Key], values: dict[str, Any], users: dict[str, User]) -> None:
    for name, value in found.items():
        dotted = prefix + name
        if dotted == "users":
            users.update(_users(value, source))
        elif dotted in table:
            values[dotted] = _convert(table[dotted], value, source)
        elif isinstance(value, dict) and any(there.startswith(dotted + ".") for there in table):
            _take_table(value, dotted + ".", source, table, values, users)
        else:
            raise _unknown(dotted, source, table)


def _users(value: object, source: str) -> dict[str, User]:
    if not isinstance(value, dict):
        raise Refused(Reason.INVALID, f"users ({source}): a table per user is expected: [users.NAME]")
    users = {}
    for name, fields in value.items():
        try:
            users[name] = msgspec.convert(fields, User)
        except msgspec.ValidationError as error:
            known = ", ".join(field.name for field in msgspec.structs.fields(User))
            raise Refused(Reason.INVALID, f"users.{name} ({source}): {mismatch_text(str(error))}; a user has: {known}") from None
    return users


def _unknown(name: str, source: str, table: Mapping[str, Key]) -> Refused:
    near = difflib.get_close_matches(name, table, 1)
    section = name.rpartition(".")[0]
    there = [known for known in table if known.rpartition(".")[0] == section] or list(table)
    return Refused(Reason.INVALID, f"{name} ({source}): there is no such key; " + (f"{near[0]} is meant?" if near else "there are: " + ", ".join(there)))


_SIZE = re.compile(r"(\d+)\s*(B|KiB|MiB|GiB|TiB)\Z")
_SIZE_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}


def _convert(found: Key, value: object, source: str) -> Any:
    plain = value
    if isinstance(plain, str):
        if found.type is int and found.extra["unit"] == "bytes" and (size := _SIZE.match(plain)):
            plain = int(size[1]) * _SIZE_UNITS[size[2]]
        elif get_origin(found.type) is tuple and source.startswith(("environment", "command")):
            plain = [part.strip() for part in plain.split(",") if part.strip()]
    try:
        return msgspec.convert(plain, Annotated[found.type, _bounds(found)], strict=not isinstance(plain, str))
    except msgspec.ValidationError:
        default = ", ".join(found.default) if isinstance(found.default, tuple) else found.default
        raise Refused(Reason.INVALID, f"{found.name} = {_shown(value)} ({source}): {found.allowed} is expected (default: {_shown(default)})") from None


def _shown(value: object) -> str:
    """As it stands in TOML, where that is one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"'{value}'" if isinstance(value, str) else str(value)


def _bounds(found: Key) -> msgspec.Meta:
    return msgspec.Meta(ge=found.meta.ge, le=found.meta.le) if found.type is int else msgspec.Meta()


def _build(section: type[Any], prefix: str, values: Mapping[str, Any], users: Mapping[str, User]) -> Any:
    hints = get_type_hints(section)
    arguments: dict[str, Any] = {}
    for field in msgspec.structs.fields(section):
        hint = hints[field.name]
        dotted = prefix + field.name
        if dotted in values:
            arguments[field.name] = values[dotted]
        elif isinstance(hint, type) and issubclass(hint, Section):
            arguments[field.name] = _build(hint, dotted + ".", values, users)
        elif dotted == "users":
            arguments[field.name] = dict(users)
    return section(**arguments)


def address(name: str, text: str) -> tuple[str, int]:
    """HOST:PORT of listener `name` (or of a dotted key), or [V6]:PORT. Refused if it is neither."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65_535:
        key_name = name if "." in name else f"listen.{name}"
        raise Refused(Reason.INVALID, f"{key_name} = {text!r}: HOST:PORT is expected, such as 127.0.0.1:5672 or [::1]:5672; port 0 takes a free one")
    return host.removeprefix("[").removesuffix("]"), int(port)


def listening_only(given: Sequence[str]) -> dict[str, str]:
    """The flags for `--listen PROTOCOL=HOST:PORT`…: those listeners and no others."""
    names = [field.name for field in msgspec.structs.fields(Listen)]
    chosen = dict.fromkeys(names, "")
    for text in given:
        name, equals, where = text.partition("=")
        if not equals or name not in names:
            raise Refused(Reason.INVALID, f"--listen {text}: PROTOCOL=HOST:PORT is expected, PROTOCOL one of {', '.join(names)}")
        address(name, where)
        chosen[name] = where
    return {f"listen.{name}": where for name, where in chosen.items()}
