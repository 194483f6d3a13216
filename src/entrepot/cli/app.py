"""The commands and what they have in common."""

from __future__ import annotations

from typing import Annotated

import typer

from entrepot import __version__
from entrepot.cli import listings, serve, store, users
from entrepot.protocol_table import listeners

ADDRESSES = ", ".join(f"{kind.title} at {kind.scheme}://{kind.address}" for kind in listeners().kinds.values() if kind.address)

app = typer.Typer(
    name="entrepot",
    help=(
        "One durable messaging broker, spoken to by the clients of many.\n\n"
        f"Start it with [bold]entrepot serve[/bold], which listens for {ADDRESSES}."
        " Messages are in ./entrepot-data; nothing is confirmed before it is on the disk.\n\n"
        "Every setting can stand in a TOML file (--config), in the environment (limits.connections is ENTREPOT_LIMITS_CONNECTIONS) and on the command line"
        " (--set limits.connections=100); the last of these wins. docs/configuration.md lists them all."
    ),
    rich_markup_mode="rich",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve", help=serve.HELP)(serve.serve)
app.add_typer(store.commands, name="store")
app.add_typer(users.commands, name="users")
app.add_typer(listings.namespaces, name="namespaces")
app.add_typer(listings.queues, name="queues")
app.add_typer(listings.topics, name="topics")
app.add_typer(listings.groups, name="groups")
app.add_typer(listings.exchanges, name="exchanges")
app.add_typer(listings.bindings, name="bindings")
app.add_typer(listings.connections, name="connections")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"entrepot {__version__}")
        raise typer.Exit


@app.callback()
def _common(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")] = False) -> None:
    pass
