"""`entrepot store`: look at a data directory while no broker runs on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

commands = typer.Typer(help="Look at a data directory, and isolate damage in it. The broker must not run.", no_args_is_help=True)

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The data directory.", exists=True, file_okay=False)]


@commands.command()
def verify(directory: Directory) -> None:
    """Read everything and check every checksum; changes nothing.

    Exit status 0: whole. 1: damaged; each damage is printed with its file and position.
    """
    from entrepot.store.local import verify as check  # type: ignore[attr-defined]

    report = check(directory)
    typer.echo(str(report))
    raise typer.Exit(0 if report.is_whole else 1)


@commands.command()
def quarantine(directory: Directory) -> None:
    """Move damaged parts into DIR/quarantine, so that the broker starts with what is whole.

    Messages in the damaged parts are not served any more; the files stay as evidence.
    """
    from entrepot.store.local import quarantine as isolate  # type: ignore[attr-defined]

    typer.echo(str(isolate(directory)))
