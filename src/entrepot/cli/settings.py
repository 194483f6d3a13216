"""Options that every command with a configuration has, and how they become one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from entrepot.model.errors import Reason, Refused

if TYPE_CHECKING:
    from entrepot.config import Loaded

ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", envvar="ENTREPOT_CONFIG", help="A TOML file with settings; docs/configuration.md lists them.")
]
DataDirectory = Annotated[str | None, typer.Option("--data", "-d", metavar="DIR", help="Where messages are kept.  [dim]default: ./entrepot-data[/dim]")]
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting by its name, such as durability.mode=interval.")]


def loaded(config: Path | None, data: str | None, settings: list[str] | None, listen: list[str] | None = None, workers: str | None = None) -> Loaded:
    """The configuration from file, environment and these flags. Refused as config.load says."""
    from entrepot.config import listening_only, load

    flags: dict[str, str] = {}
    for text in settings or []:
        name, equals, value = text.partition("=")
        if not equals:
            raise Refused(Reason.INVALID, f"--set {text}: KEY=VALUE is expected")
        flags[name] = value
    if data is not None:
        flags["data"] = data
    if workers is not None:
        flags["workers"] = workers
    if listen:
        flags |= listening_only(listen)
    return load(config, os.environ, flags)
