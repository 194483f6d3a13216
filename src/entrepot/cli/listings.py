"""`entrepot queues`, `topics`, `groups`, `exchanges`, `bindings`, `connections` and `namespaces`: what a running broker has, and who is connected."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from entrepot.cli.printing import print_rows
from entrepot.cli.reach import kept, running
from entrepot.cli.settings import ConfigFile, DataDirectory, Settings, loaded
from entrepot.model.printable import printable

queues = typer.Typer(help="Queues of the running broker.", no_args_is_help=True)
topics = typer.Typer(help="Topics and streams of the running broker.", no_args_is_help=True)
groups = typer.Typer(help="Consumer groups of the running broker.", no_args_is_help=True)
exchanges = typer.Typer(help="Exchanges of the running broker.", no_args_is_help=True)
bindings = typer.Typer(help="Bindings of the running broker.", no_args_is_help=True)
connections = typer.Typer(help="Connections of clients to the running broker.", no_args_is_help=True)
namespaces = typer.Typer(help="Namespaces (virtual hosts, accounts), whether the broker runs or not.", no_args_is_help=True)
commands = typer.Typer()
for _name, _listed in (
    ("queues", queues),
    ("topics", topics),
    ("groups", groups),
    ("exchanges", exchanges),
    ("bindings", bindings),
    ("connections", connections),
    ("namespaces", namespaces),
):
    commands.add_typer(_listed, name=_name)

InNamespace = Annotated[str | None, typer.Option("--namespace", "-n", metavar="TENANT/NAME", help="Of this namespace only.")]
Prefix = Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Whose names begin so.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document.")]


@queues.command("list")
def list_queues(
    namespace: InNamespace = None,
    prefix: Prefix = "",
    as_json: Json = False,
    config: ConfigFile = None,
    data: DataDirectory = None,
    settings: Settings = None,
) -> None:
    """Every queue with its messages and consumers."""
    from entrepot.admin.requests import ListQueues, QueueRow

    with running(loaded(config, data, settings).config) as broker:
        rows = sorted(broker.rows(ListQueues(namespace, prefix), QueueRow), key=lambda row: (row.namespace, row.name))
    print_rows(
        "queues",
        rows,
        as_json,
        ("NAMESPACE", "NAME", "TYPE", "FLAGS", "READY", "UNACKED", "DELAYED", "CONSUMERS", "BYTES"),
        [
            (
                row.namespace,
                row.name,
                row.type,
                _flags(durable=row.durable, auto_delete=row.auto_delete, exclusive=row.exclusive),
                *(
                    (row.messages_ready, row.messages_unacknowledged, row.messages_delayed, row.consumers, row.bytes)
                    if row.known
                    else ("-", "-", "-", "-", "-")
                ),
            )
            for row in rows
        ],
    )


@topics.command("list")
def list_topics(
    namespace: InNamespace = None,
    prefix: Prefix = "",
    as_json: Json = False,
    config: ConfigFile = None,
    data: DataDirectory = None,
    settings: Settings = None,
) -> None:
    """Every topic with its partitions and records; with --json each partition's first and end offset."""
    from entrepot.admin.requests import ListTopics, TopicRow

    with running(loaded(config, data, settings).config) as broker:
        rows = sorted(broker.rows(ListTopics(namespace, prefix), TopicRow), key=lambda row: (row.namespace, row.name))
    print_rows(
        "topics",
        rows,
        as_json,
        ("NAMESPACE", "NAME", "KIND", "PARTITIONS", "RECORDS", "CONSUMERS", "BYTES"),
        [(row.namespace, row.name, row.kind, row.partitions, row.records, row.consumers, row.bytes) for row in rows],
    )


@groups.command("list")
def list_groups(
    namespace: InNamespace = None,
    prefix: Prefix = "",
    as_json: Json = False,
    config: ConfigFile = None,
    data: DataDirectory = None,
    settings: Settings = None,
) -> None:
    """Every consumer group with its members, and how far they are behind."""
    from entrepot.admin.requests import GroupRow, ListGroups

    with running(loaded(config, data, settings).config) as broker:
        rows = sorted(broker.rows(ListGroups(namespace, prefix), GroupRow), key=lambda row: (row.namespace, row.name))
    print_rows(
        "groups",
        rows,
        as_json,
        ("NAMESPACE", "NAME", "KIND", "STATE", "MEMBERS", "PARTITIONS", "LAG"),
        [(row.namespace, row.name, row.kind, row.state, row.members, row.partitions_committed, row.lag) for row in rows],
    )


@exchanges.command("list")
def list_exchanges(
    namespace: InNamespace = None,
    prefix: Prefix = "",
    as_json: Json = False,
    config: ConfigFile = None,
    data: DataDirectory = None,
    settings: Settings = None,
) -> None:
    """Every exchange but the default one, with how many bindings lead from it."""
    from entrepot.admin.requests import ExchangeRow, ListExchanges

    with running(loaded(config, data, settings).config) as broker:
        rows = sorted(broker.rows(ListExchanges(namespace, prefix), ExchangeRow), key=lambda row: (row.namespace, row.name))
    print_rows(
        "exchanges",
        rows,
        as_json,
        ("NAMESPACE", "NAME", "TYPE", "FLAGS", "BINDINGS"),
        [(row.namespace, row.name, row.type, _flags(durable=row.durable, auto_delete=row.auto_delete, internal=row.internal), row.bindings) for row in rows],
    )


@bindings.command("list")
def list_bindings(
    namespace: InNamespace = None,
    prefix: Annotated[str, typer.Option("--prefix", metavar="TEXT", help="From exchanges whose names begin so.")] = "",
    as_json: Json = False,
    config: ConfigFile = None,
    data: DataDirectory = None,
    settings: Settings = None,
) -> None:
    """Every binding: the exchange, what it leads to, key and arguments, and who made it."""
    from entrepot.admin.requests import BindingRow, ListBindings

    with running(loaded(config, data, settings).config) as broker:
        rows = sorted(broker.rows(ListBindings(namespace, prefix), BindingRow), key=lambda row: (row.namespace, row.source, row.destination, row.routing_key))
    print_rows(
        "bindings",
        rows,
        as_json,
        ("NAMESPACE", "EXCHANGE", "TO", "NAME", "ROUTING KEY", "ARGUMENTS", "USER"),
        [(row.namespace, row.source, row.destination_kind, row.destination, row.routing_key, row.arguments, ", ".join(row.users)) for row in rows],
    )


@connections.command("list")
def list_connections(
    namespace: InNamespace = None,
    user: Annotated[str, typer.Option("--user", metavar="TEXT", help="Of users whose names begin so.")] = "",
    as_json: Json = False,
    config: ConfigFile = None,
    data: DataDirectory = None,
    settings: Settings = None,
) -> None:
    """Every connection: who it is, where from, and since when."""
    from entrepot.admin.requests import ConnectionRow, ListConnections

    with running(loaded(config, data, settings).config) as broker:
        rows = sorted(broker.rows(ListConnections(namespace, user), ConnectionRow), key=lambda row: row.id)
    print_rows(
        "connections",
        rows,
        as_json,
        ("ID", "PROTOCOL", "PEER", "USER", "NAMESPACE", "NAME", "PRODUCT", "CHANNELS", "CONSUMERS", "SINCE"),
        [
            (
                row.id,
                row.protocol,
                row.peer,
                ", ".join(row.users),
                ", ".join(row.namespaces),
                row.name,
                row.product,
                row.channels,
                row.consumers,
                datetime.fromtimestamp(row.since_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            )
            for row in rows
        ],
    )


@connections.command("close")
def close_connection(
    number: Annotated[int, typer.Argument(metavar="ID", help="Its id in `connections list`.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="What AMQP's clients are told.")] = "closed by an administrator",
    config: ConfigFile = None,
    data: DataDirectory = None,
    settings: Settings = None,
) -> None:
    """End a connection; its client may come again, unless its user is changed first."""
    from entrepot.admin.requests import CloseConnection

    with running(loaded(config, data, settings).config) as broker:
        broker.change(CloseConnection(number, reason))
    typer.echo(f"connection {number} closed")


@namespaces.command("list")
def list_namespaces(
    prefix: Prefix = "",
    as_json: Json = False,
    config: ConfigFile = None,
    data: DataDirectory = None,
    settings: Settings = None,
) -> None:
    """Every namespace with how much is in it."""
    from entrepot.admin.requests import ListNamespaces, NamespaceRow

    with kept(loaded(config, data, settings).config) as broker:
        rows = sorted(broker.rows(ListNamespaces(None, prefix), NamespaceRow), key=lambda row: row.name)
    print_rows(
        "namespaces",
        rows,
        as_json,
        ("NAME", "QUEUES", "TOPICS", "EXCHANGES", "BINDINGS"),
        [(row.name, row.queues, row.topics, row.exchanges, row.bindings) for row in rows],
    )


NamespaceName = Annotated[str, typer.Argument(metavar="TENANT/NAME", help="The namespace.")]


@namespaces.command("add")
def add_namespace(name: NamespaceName, config: ConfigFile = None, data: DataDirectory = None, settings: Settings = None) -> None:
    """Make a namespace; who may use it, users' permissions say."""
    from entrepot.admin.requests import AddNamespace

    with kept(loaded(config, data, settings).config, may_make=True) as broker:
        broker.change(AddNamespace(name))
    typer.echo(f"{name} added")


@namespaces.command("delete")
def delete_namespace(name: NamespaceName, config: ConfigFile = None, data: DataDirectory = None, settings: Settings = None) -> None:
    """Remove a namespace that nothing is in and nobody is connected to; the configuration's come again at the next start."""
    from entrepot.admin.requests import DeleteNamespace

    with kept(loaded(config, data, settings).config) as broker:
        broker.change(DeleteNamespace(name))
    typer.echo(f"{printable(name)} deleted")


def _flags(**flags: bool) -> str:
    return " ".join(name.replace("_", "-") for name, holds in flags.items() if holds)
