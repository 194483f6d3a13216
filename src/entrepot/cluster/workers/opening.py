"""Opening a node's directory for workers: with how many, by one parent at a time, and what it has beside their stores.

link.key       32 octets by chance, that the links between the workers prove themselves with (cluster/greeting.py)
secrets.key    see broker/users/secret_box.py; where the configuration names no other
workers.json   see directory.py: written last, when the directory is made
workers.lock   held by the parent that runs
last.start     the latest start of any worker (restarts.py)
"""

from __future__ import annotations

import base64
import re
from pathlib import Path

from entrepot.broker.catalogue.shards import SHARD_COUNT_DEFAULT
from entrepot.cluster.greeting import KEY_MIN_BYTES
from entrepot.cluster.workers.directory import WORKERS_FILE, WorkersFile, check_whole, directory_of, read, write
from entrepot.entropy import Entropy
from entrepot.model.errors import CorruptData, Reason, Refused
from entrepot.store.local.whole_file import hold, write_whole

WORKERS_MAX = 64
LINK_KEY_NAME = "link.key"
LOCK_NAME = "lock"  # as of a store (store/local/posix_disk.py)

_CLUSTER_ID_BYTES = 16
_OF_A_STORE = re.compile(r"journal-|segment-|checkpoint\.")


def number_for(directory: Path, wanted: int | None) -> int:
    """How many workers to start, 1 for none: this process is the broker. `wanted`: None where nobody said. Raises Refused, CorruptData, OSError."""
    check_whole(directory)
    found = _checked(directory)
    if found is None and not is_store(directory):
        return wanted or 1
    has = 1 if found is None else found.workers
    if wanted is not None and wanted != has:
        made = f"{has} workers" if has > 1 else "one process"
        raise Refused(
            Reason.EXISTS_DIFFERENT,
            f"{directory} is divided for {made}, and {wanted} are wanted: while no broker runs on it, "
            f"`entrepot store split {directory} --workers {wanted}` divides it anew",
        )
    return has


def is_store(directory: Path) -> bool:
    """Whether one process keeps its messages there, in the directory itself."""
    return directory.is_dir() and any(_OF_A_STORE.match(found.name) for found in directory.iterdir())


def lock(directory: Path) -> int:
    """The parent's lock, as a descriptor that holds it. The directory is made. Raises Refused: another has it, OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    held = hold(directory / LOCK_NAME)
    if held is None:
        raise Refused(Reason.IN_USE, f"{directory} is in use by another process: a data directory has one broker")
    return held


def opened(directory: Path, count: int, entropy: Entropy) -> WorkersFile:
    """What workers.json says; a new directory becomes one of `count` workers. The lock is held. Raises CorruptData, OSError."""
    found = _checked(directory)
    if not (directory / LINK_KEY_NAME).exists():  # nobody else has it: all workers start anew
        write_whole(directory / LINK_KEY_NAME, entropy.octets(KEY_MIN_BYTES))
    if found is None or not found.cluster_id:
        shards = SHARD_COUNT_DEFAULT if found is None else found.shards
        found = WorkersFile(workers=count, cluster_id=_new_cluster_id(entropy), shards=shards)
        write(directory, found)
    link_key(directory)
    return found


def link_key(directory: Path) -> bytes:
    """What the workers prove themselves with to each other. Raises CorruptData, OSError."""
    key = (directory / LINK_KEY_NAME).read_bytes()
    if len(key) != KEY_MIN_BYTES:
        raise CorruptData(f"{directory / LINK_KEY_NAME} is damaged: {len(key)} bytes; without the file a start of all workers makes another")
    return key


def cluster_octets(file: WorkersFile) -> bytes:
    """The cluster's id as shard 0 keeps it (broker/catalogue/cluster_id.py). Raises ValueError."""
    octets = base64.urlsafe_b64decode(file.cluster_id + "==")
    if len(octets) != _CLUSTER_ID_BYTES:
        raise ValueError(f"'{file.cluster_id}' is no cluster's id")
    return octets


def _checked(directory: Path) -> WorkersFile | None:
    found = read(directory)
    if found is None:
        if directory_of(directory, 0).is_dir() and not is_store(directory):
            raise CorruptData(f"{directory}: there are workers' stores, but no {WORKERS_FILE}; restore it from a copy")
        return None
    try:
        if found.cluster_id:
            cluster_octets(found)
        if found.workers > WORKERS_MAX:
            raise ValueError(f"{found.workers} workers are more than the {WORKERS_MAX} that there may be")
    except ValueError as error:
        raise CorruptData(f"{directory / WORKERS_FILE}: {error}") from None
    return found


def _new_cluster_id(entropy: Entropy) -> str:
    return base64.urlsafe_b64encode(entropy.octets(_CLUSTER_ID_BYTES)).rstrip(b"=").decode()
