"""`entrepot store`: look at a data directory, and change it, while no broker runs on it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from entrepot.cluster.workers.splitting import Outcome
    from entrepot.store.local.opening import Progress
    from entrepot.store.local.verify import Report

store = typer.Typer(help="Look at a data directory, isolate damage in it, divide it for workers. The broker must not run.", no_args_is_help=True)
commands = typer.Typer()
commands.add_typer(store, name="store")

Directory = Annotated[Path, typer.Argument(metavar="DIR", help="The data directory.", exists=True, file_okay=False)]


@store.command()
def verify(directory: Directory) -> None:
    """Read everything and check every checksum; changes nothing.

    Exit status 0: whole. 1: damaged; each damage is printed with its file and position.
    """
    from entrepot.cluster.workers.directory import stores_of
    from entrepot.store.local.verify import verify as check

    reports = [_printed(directory, path, check(path)) for path in stores_of(directory)]
    raise typer.Exit(0 if all(report.is_whole for report in reports) else 1)


@store.command()
def quarantine(directory: Directory) -> None:
    """Set damaged parts aside as DIR/quarantine-* (of a worker's: DIR/wN/quarantine-*), so that the broker starts with what is whole.

    What is missing from then on is printed, by log and offset; the files stay as evidence. Exit status 1: something could not be mended.
    """
    from entrepot.cluster.workers.directory import stores_of
    from entrepot.store.local.quarantine import quarantine as isolate

    reports = [_printed(directory, path, isolate(path)) for path in stores_of(directory)]
    raise typer.Exit(0 if all(report.is_whole or report.is_mended for report in reports) else 1)


@store.command()
def split(
    directory: Directory, workers: Annotated[int, typer.Option("--workers", metavar="N", min=1, help="How many workers there are to be; 1: one process.")]
) -> None:
    """Divide a data directory for another number of workers. Interrupted at any moment, run it again.

    What is kept is not copied: files get further names (hard links), where the file system has such.
    """
    from entrepot.cluster.workers.splitting import split as divide
    from entrepot.entropy import SystemEntropy
    from entrepot.model.errors import Unavailable

    began = time.monotonic()
    try:
        with _progress() as on_progress:
            outcome = divide(directory, workers, SystemEntropy(), on_progress)
    except OSError as error:  # no space, mostly
        raise Unavailable(f"{directory} cannot be divided now: {error}. Nothing is lost: run it again once that is mended") from error
    typer.echo(_told(outcome, time.monotonic() - began))


def _printed(directory: Path, path: Path, report: Report) -> Report:
    """Print a report, of which of several stores it is."""
    if path != directory:
        typer.echo(f"{path.name}:")
    typer.echo(str(report))
    return report


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on a terminal's stderr; elsewhere nothing."""
    from rich.console import Console
    from rich.progress import Progress as Bars

    with Bars(console=Console(stderr=True), transient=True) as bars:
        tasks = {}

        def on_progress(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield on_progress


def _told(outcome: Outcome, seconds: float) -> str:
    lines = []
    if outcome.resumed:
        lines.append("A split that had been interrupted was finished.")
    if (divided := outcome.divided) is None:
        lines.append(f"The directory is divided for {_workers(outcome.new)}.")
    else:
        lines.append(f"Divided for {_workers(outcome.new)}, which were {_workers(outcome.old)}, in {seconds:.1f} s.")
        lines.append(f"{divided.logs:,} logs, {divided.values:,} values of state, {divided.segments:,} segments.")
        lines.append(f"{divided.linked_size:,} bytes of files were given names, and not copied.")
        if divided.copied_size:
            lines.append(f"{divided.copied_size:,} bytes were copied: this file system has no hard links.")
        if divided.left:
            lines.append(f"{divided.left:,} values lay with workers whose shards they are not of, and were left out.")
    return "\n".join(lines)


def _workers(count: int) -> str:
    return "one worker" if count == 1 else f"{count} workers"
