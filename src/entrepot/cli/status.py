"""`entrepot status`: the workers of a running broker, their links, and how much goes through them; live, or once."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from entrepot.cli.listings import Json
from entrepot.cli.printing import print_json
from entrepot.cli.reach import no_broker
from entrepot.cli.settings import ConfigFile, DataDirectory, Settings, loaded
from entrepot.model.errors import CorruptData, Reason, Refused, Unavailable

if TYPE_CHECKING:
    from rich.text import Text

    from entrepot.admin.status import Status
    from entrepot.cli.looks import Look, Looks

INTERVAL_S = 1.0  # between two looks

commands = typer.Typer()


@commands.command("status")
def status(
    directory: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="The data directory, instead of --data.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Print it once, without rates, as into a pipe; else it goes on until Ctrl-C.")] = False,
    as_json: Json = False,
    config: ConfigFile = None,
    data: DataDirectory = None,
    settings: Settings = None,
) -> None:
    """Workers: what each does, whether their links hold, what is on its way, and how many messages go through them."""
    from entrepot.cli.looks import Looks

    place = directory or Path(loaded(config, data, settings).config.data)
    looks = Looks()
    looks.take(look_at(place))
    if as_json:
        print_json(_document(looks))
    elif once or not sys.stdout.isatty():
        typer.echo(looks.shown())
    else:
        _watch(place, looks)


def _document(looks: Looks) -> dict[str, object]:
    """What workers say of themselves, and why the others do not."""
    from entrepot.admin.status import Status

    assert looks.last is not None
    found = sorted(looks.last.found.items())
    silent = {str(number): why for number, why in found if isinstance(why, str)}
    return {"workers": [status for _, status in found if isinstance(status, Status)], "silent": silent}


def _watch(place: Path, looks: Looks) -> None:
    """Until Ctrl-C, or the broker ends."""
    from rich.live import Live

    try:
        with Live(_text(looks), auto_refresh=False) as live:
            while True:
                time.sleep(INTERVAL_S)
                looks.take(look_at(place))
                live.update(_text(looks), refresh=True)
    except KeyboardInterrupt:
        pass


def _text(looks: Looks) -> Text:
    from rich.text import Text

    return Text(looks.shown(), no_wrap=True, overflow="ellipsis")


def look_at(place: Path) -> Look:
    """What the workers of a directory say now. Refused (NOT_FOUND) where none runs."""
    from entrepot.cli.looks import Look
    from entrepot.cluster.workers.directory import directory_of, read

    file = read(place)
    count = 1 if file is None else file.workers
    found = {number: _asked(place if file is None else directory_of(place, number)) for number in range(count)}
    if all(answer is None for answer in found.values()):
        raise Refused(Reason.NOT_FOUND, no_broker(place))
    return Look(time.monotonic(), {number: "does not run" if answer is None else answer for number, answer in found.items()})


def _asked(place: Path) -> Status | str | None:
    """What one says, or why it does not; None: it does not run."""
    import msgspec

    from entrepot.admin.client import Client, NotRunning
    from entrepot.admin.status import Status

    try:
        client = Client(place, timeout_s=5.0)
    except NotRunning:
        return None
    except Unavailable:
        return "does not answer"
    try:
        return msgspec.json.decode(client.get("/v1/status"), type=Status)
    except (Unavailable, CorruptData):
        return "does not answer"
    except (msgspec.DecodeError, Refused):
        return "is of another version"
    finally:
        client.close()
