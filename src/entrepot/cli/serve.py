"""`entrepot serve`: run a broker until a signal ends it."""

from __future__ import annotations

import gc
import json
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from entrepot.cli.settings import ConfigFile, DataDirectory, Settings, loaded
from entrepot.protocol_table import listeners

if TYPE_CHECKING:
    from entrepot.server import Started


LISTENERS = listeners().kinds
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
    ready_fd: Annotated[
        int | None, typer.Option("--ready-fd", metavar="N", help="Write one line of JSON with all addresses to this file descriptor once ready, and close it.")
    ] = None,
    control_fd: Annotated[
        int | None, typer.Option("--control-fd", metavar="N", hidden=True, help="A connected socket for entrepot.control's commands.")
    ] = None,
) -> None:
    """Run a broker; HELP is what its users are told."""
    gc.disable()  # what is imported and recovered stays: the server collects once it is ready, and not before
    from entrepot import logs
    from entrepot.allocator import keep_free_memory
    from entrepot.server import run

    found = loaded(config, data, settings, listen)
    logs.set_up(found.config.log_level, found.config.log_format)
    keep_free_memory()

    def announce(started: Started) -> None:
        if ready_fd is not None:
            os.write(ready_fd, json.dumps(started.as_json()).encode() + b"\n")
            if ready_fd > 2:  # the standard ones stay open
                os.close(ready_fd)
        print(_banner(started), flush=True)

    sys.exit(run(found.config, announce, notes=found.notes, control_fd=control_fd))


def _banner(started: Started) -> str:
    lines = [f"Entrepot {started.version} is ready after {started.seconds:.2f} s (process {started.pid})"]
    lines += [f"  {name:6} {started.url(name):31} {LISTENERS[name].clients}" for name in started.addresses]
    if not started.is_compiled:
        lines.append("  the modules run interpreted, many times slower: there was no C compiler (or ENTREPOT_PURE was set) when Entrepot was installed")
    lines += [f"  data  {started.data}   durability: {started.durability}", "Ctrl-C stops it."]
    return "\n".join(lines)
