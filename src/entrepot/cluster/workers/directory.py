"""The file that says that a data directory is several workers': `workers.json` in it, JSON; worker n's store is in DIR/wN."""

from __future__ import annotations

from pathlib import Path

import msgspec

from entrepot.cluster.workers.place import name_of
from entrepot.model.errors import CorruptData

NAME = "workers.json"


class WorkersFile(msgspec.Struct, frozen=True, kw_only=True):
    """How many workers a directory has for good; `cluster_id` and `shards` are the same in each of their stores."""

    version: int
    workers: int
    cluster_id: str
    shards: int


def read(directory: Path) -> WorkersFile | None:
    """What it says; None: there is none. Raises CorruptData, OSError."""
    try:
        return msgspec.json.decode((directory / NAME).read_bytes(), type=WorkersFile)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptData(f"{directory / NAME}: {error}") from None


def directory_of(directory: Path, number: int) -> Path:
    """Where the store and the sockets of a worker are."""
    return directory / name_of(number)
