"""`entrepot store`: look at a data directory while no broker runs on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

store = typer.Typer(help="Look at a data directory, and isolate damage in it. The broker must not run.", no_args_is_help=True)
commands = typer.Typer()
commands.add_typer(store, name="store")

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The data directory.", exists=True, file_okay=False)]


@store.command()
def verify(directory: Directory) -> None:
    """Read everything and check every checksum; changes nothing.

    Exit status 0: whole. 1: damaged; each damage is printed with its file and position.
    """
    from entrepot.store.local.verify import verify as check

    report = check(directory)
    typer.echo(str(report))
    raise typer.Exit(0 if report.is_whole else 1)


@store.command()
def quarantine(directory: Directory) -> None:
    """Set damaged parts aside as DIR/quarantine-*, so that the broker starts with what is whole.

    What is missing from then on is printed, by log and offset; the files stay as evidence. Exit status 1: something could not be mended.
    """
    from entrepot.store.local.quarantine import quarantine as isolate

    report = isolate(directory)
    typer.echo(str(report))
    raise typer.Exit(0 if report.is_whole or report.is_mended else 1)
