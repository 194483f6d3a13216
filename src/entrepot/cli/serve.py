"""`entrepot serve`: run a broker until a signal ends it."""

from __future__ import annotations

import gc
import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from entrepot.cli.settings import ConfigFile, DataDirectory, Settings, loaded
from entrepot.protocol_table import listeners

if TYPE_CHECKING:
    from entrepot.settings import Config
    from entrepot.started import Started


LISTENERS = listeners().kinds
AUTO = "auto"
BY_DEFAULT = ", ".join(f"{kind.title} on {kind.address}" for kind in LISTENERS.values() if kind.address)
HELP = (
    "Run a broker.\n\n"
    f"Without options: {BY_DEFAULT}, messages in ./entrepot-data, every confirmed message synced to the disk.\n\n"
    "SIGTERM or Ctrl-C stops it gracefully (clients are told, everything is stored); a second one stops it at once."
)


commands = typer.Typer()


@commands.command("serve", help=HELP)
def serve(
    config: ConfigFile = None,
    data: DataDirectory = None,
    listen: Annotated[
        list[str] | None,
        typer.Option(
            "--listen",
            "-l",
            metavar="PROTOCOL=HOST:PORT",
            help=f"Listen here, and only where --listen says; repeatable. PROTOCOL: {', '.join(LISTENERS)}; port 0 takes a free one and prints it.",
        ),
    ] = None,
    settings: Settings = None,
    workers: Annotated[
        str | None,
        typer.Option(
            "--workers",
            metavar="N|auto",
            help="Processes that are the broker together. auto: as many as the data directory is divided for; where it is new, one for each core but one.",
        ),
    ] = None,
    ready_fd: Annotated[
        int | None, typer.Option("--ready-fd", metavar="N", help="Write one line of JSON with all addresses to this file descriptor once ready, and close it.")
    ] = None,
    control_fd: Annotated[
        int | None, typer.Option("--control-fd", metavar="N", hidden=True, help="A connected socket for entrepot.control's commands.")
    ] = None,
    worker_fd: Annotated[int | None, typer.Option("--worker-fd", metavar="N", hidden=True, help="The socket to the parent whose worker this is.")] = None,
) -> None:
    """Run a broker; HELP is what its users are told."""
    gc.disable()  # what is imported and recovered stays: the server collects once it is ready, and not before
    from entrepot import logs
    from entrepot.allocator import keep_free_memory

    if worker_fd is not None:
        sys.exit(_work(worker_fd))
    found = loaded(config, data, settings, listen, None if workers == AUTO else workers)
    logs.set_up(found.config.log_level, found.config.log_format)
    count, note = _count(found.config, workers == AUTO)
    notes = [*found.notes, note] if note else found.notes

    def announce(started: Started) -> None:
        if ready_fd is not None:
            os.write(ready_fd, json.dumps(started.as_json()).encode() + b"\n")
            if ready_fd > 2:  # the standard ones stay open
                os.close(ready_fd)
        print(_banner(started), flush=True)

    if count > 1:
        from entrepot.parent.run import run as run_workers

        gc.enable()
        sys.exit(run_workers(found.config, count, announce, notes=notes, control_fd=control_fd, command=_command_of_workers()))
    from entrepot.server import run

    keep_free_memory()
    sys.exit(run(found.config, announce, notes=notes, control_fd=control_fd))


def _command_of_workers() -> tuple[str, ...]:
    """Workers are started as this process was, options of the interpreter and all; () if that cannot be seen."""
    words = sys.orig_argv
    return (sys.executable, *words[1 : words.index("serve") + 1]) if "serve" in words else ()


def _count(config: Config, is_auto: bool) -> tuple[int, str]:
    """How many workers, 1 for none, and what is to be said of that. Refused as number_for says."""
    from entrepot.cluster.workers.opening import WORKERS_MAX, number_for

    directory = Path(config.data)
    has = number_for(directory, None)
    if is_auto:
        is_new = has == 1 and not (directory.is_dir() and any(directory.iterdir()))
        return (max(1, min(WORKERS_MAX, _cores() - 1)) if is_new else has), ""
    count = number_for(directory, config.workers or None)
    return count, f"{directory} is divided for {count} workers: so many are started" if count > 1 and not config.workers else ""


def _cores() -> int:
    """That this process may use, as far as the system says."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _work(descriptor: int) -> int:
    """One of several workers, as the process at the other end of the socket says; the exit status."""
    from entrepot import logs
    from entrepot.allocator import keep_free_memory
    from entrepot.cluster.workers.parent_line import ParentLine
    from entrepot.config import unpacked
    from entrepot.leaving import PARENT_GONE, leave
    from entrepot.model.errors import CorruptData, EntrepotError, OutcomeUnknown, Unavailable
    from entrepot.worker import run_worker

    parent = ParentLine.connected(descriptor, partial(leave, PARENT_GONE))
    config = unpacked(parent.config)
    logs.set_up(config.log_level, config.log_format, worker=parent.place.name)
    keep_free_memory()
    try:
        return run_worker(config, parent)
    except EntrepotError as error:  # said once, by the parent
        parent.failed(str(error))
        return 1 if isinstance(error, (CorruptData, OutcomeUnknown, Unavailable)) else 2


def _banner(started: Started) -> str:
    lines = [f"Entrepot {started.version} is ready after {started.seconds:.2f} s (process {started.pid})"]
    lines += [f"  {name:6} {started.url(name):31} {LISTENERS[name].clients}" for name in started.addresses]
    if not started.is_compiled:
        lines.append("  the modules run interpreted, many times slower: there was no C compiler (or ENTREPOT_PURE was set) when Entrepot was installed")
    if started.workers:
        lines.append(f"  workers {len(started.workers)}: processes {', '.join(map(str, started.workers))}")
    lines += [f"  data  {started.data}   durability: {started.durability}", "Ctrl-C stops it."]
    return "\n".join(lines)
