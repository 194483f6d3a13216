"""The node's directory where workers have it: how many there are, and what they have in common. The store of worker n is in `wn`.

    workers.json   {"version": 1, "workers": N, "cluster_id": 22 characters, "shards": 256}: written last, when the directory is made; never changed
    link.key       32 octets by chance, that the links between the workers prove themselves with (cluster/greeting.py)
    secrets.key    see broker/users/secret_box.py; where the configuration names no other
    workers.lock   held by the parent that runs
    last.start     the latest start of any worker, hexadecimal (restarts.py)

docs/formats/workers.md
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from entrepot.broker.catalogue.shards import SHARD_COUNT_DEFAULT
from entrepot.cluster.greeting import KEY_MIN_BYTES
from entrepot.cluster.workers.place import name_of
from entrepot.entropy import Entropy
from entrepot.model.errors import CorruptData, Reason, Refused
from entrepot.store.local.whole_file import hold, write_whole

WORKERS_MAX = 64
VERSION = 1
NAME = "workers.json"
LINK_KEY_NAME = "link.key"
LOCK_NAME = "workers.lock"

_CLUSTER_ID_BYTES = 16
_OF_A_STORE = re.compile(r"journal-|segment-|checkpoint\.")


class Workers(msgspec.Struct, frozen=True):
    """workers.json."""

    version: int
    workers: int
    cluster_id: str
    shards: int

    def cluster_octets(self) -> bytes:
        """The id as shard 0 keeps it (broker/catalogue/cluster_id.py)."""
        return base64.urlsafe_b64decode(self.cluster_id + "==")


def read(directory: Path) -> Workers | None:
    """What it says; None: these are no workers' directory. Raises CorruptData, OSError."""
    try:
        data = (directory / NAME).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        if (directory / name_of(0)).is_dir() and not is_store(directory):
            raise CorruptData(f"{directory}: there are workers' stores, but no {NAME}; restore it from a copy") from None
        return None
    try:
        found = msgspec.json.decode(data, type=Workers)
        is_right = 2 <= found.workers <= WORKERS_MAX and found.shards >= found.workers and len(found.cluster_octets()) == _CLUSTER_ID_BYTES
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
        is_right = False
    if not is_right or found.version != VERSION:
        raise CorruptData(f"{directory / NAME} says what this version cannot read: {data[:200]!r}")
    return found


def is_store(directory: Path) -> bool:
    """Whether one process keeps its messages there, in the directory itself."""
    return directory.is_dir() and any(_OF_A_STORE.match(found.name) for found in directory.iterdir())


def number_for(directory: Path, wanted: int | None) -> int:
    """How many workers to start, 1 for none: this process is the broker. `wanted`: None where nobody said. Raises Refused, CorruptData, OSError."""
    found = read(directory)
    if found is not None:
        _check_same(directory, found.workers, wanted)
        return found.workers
    if is_store(directory):
        _check_same(directory, 1, wanted)
        return 1
    return wanted or 1


def _check_same(directory: Path, has: int, wanted: int | None) -> None:
    if wanted is not None and wanted != has:
        made = f"{has} workers" if has > 1 else "one process"
        raise Refused(
            Reason.EXISTS_DIFFERENT,
            f"{directory} is divided for {made}, and {wanted} are wanted: while no broker runs on it, "
            f"`entrepot store split {directory} --workers {wanted}` divides it anew",
        )


def lock(directory: Path) -> int:
    """The parent's lock, as a descriptor that holds it. The directory is made. Raises Refused: another has it, OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    held = hold(directory / LOCK_NAME)
    if held is None:
        raise Refused(Reason.IN_USE, f"{directory} is in use by another process: a data directory has one broker")
    return held


def opened(directory: Path, count: int, entropy: Entropy) -> Workers:
    """What it says; a new directory becomes one of `count` workers. The lock is held. Raises CorruptData, OSError."""
    found = read(directory)
    if not (directory / LINK_KEY_NAME).exists():  # nobody else has it: all workers start anew
        write_whole(directory / LINK_KEY_NAME, entropy.octets(KEY_MIN_BYTES))
    if found is None:
        found = Workers(VERSION, count, _new_cluster_id(entropy), SHARD_COUNT_DEFAULT)
        write_whole(directory / NAME, msgspec.json.encode(found) + b"\n")
    link_key(directory)
    return found


def link_key(directory: Path) -> bytes:
    """What the workers prove themselves with to each other. Raises CorruptData, OSError."""
    key = (directory / LINK_KEY_NAME).read_bytes()
    if len(key) != KEY_MIN_BYTES:
        raise CorruptData(f"{directory / LINK_KEY_NAME} is damaged: {len(key)} bytes; without the file a start of all workers makes another")
    return key


def stores(directory: Path, count: int) -> Iterator[Path]:
    """Where the workers' stores are."""
    for number in range(count):
        yield directory / name_of(number)


def _new_cluster_id(entropy: Entropy) -> str:
    return base64.urlsafe_b64encode(entropy.octets(_CLUSTER_ID_BYTES)).rstrip(b"=").decode()
