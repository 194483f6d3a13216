"""The commands and what they have in common."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from entrepot import __version__
from entrepot.protocol_table import listeners

ADDRESSES = ", ".join(f"{kind.title} at {kind.scheme}://{kind.address}" for kind in listeners().kinds.values() if kind.address)
# The file that each is in, whose `commands` has it by name; in the order of the help.
COMMANDS = {
    "serve": "serve",
    "store": "store",
    "status": "status",
    "users": "users",
    **dict.fromkeys(("namespaces", "queues", "topics", "groups", "exchanges", "bindings", "connections"), "listings"),
}


class _Commands(TyperGroup):
    """COMMANDS, each imported once it is asked for: who starts a broker waits for none of the others."""

    def __init__(self, **words: Any) -> None:
        super().__init__(**words)
        self.commands = dict.fromkeys(COMMANDS)  # type: ignore[assignment]  # the names, for the help and for what was mistyped

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        found = import_module(f"entrepot.cli.{COMMANDS[cmd_name]}")
        return get_group(found.commands).commands[cmd_name]


app = typer.Typer(
    name="entrepot",
    cls=_Commands,
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


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"entrepot {__version__}")
        raise typer.Exit


@app.callback()
def _common(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")] = False) -> None:
    pass
