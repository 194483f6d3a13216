"""WorkerPlace: what one start of one worker is told of itself by its parent, when it begins. It is handed over as JSON.

Shards are divided for good when the directory is made: shard s belongs to worker s modulo `count`, so that shard 0, and with it what decides the catalogue,
is worker 0's. `entrepot store split` makes another directory's worth of it.
"""

from __future__ import annotations

import msgspec

from entrepot.cluster.greeting import START_SIZE
from entrepot.model.nodes import Nodes
from entrepot.settings import address

SHARD_OF_DECISIONS = 0


class WorkerPlace(msgspec.Struct, frozen=True, kw_only=True):
    """`number` of `count` workers. `start`: of this start (greeting.py), hexadecimal. `data`: the node's directory.

    `addresses`: of each listener that clients reach, where all workers listen together, or the parent (HTTP), "host:port" with the port that it is; `own`:
    of those listeners that each worker has one more of for itself (Kafka's), by name, the addresses of all workers in their order.
    """

    number: int
    count: int
    start: str
    data: str
    addresses: dict[str, str] = {}
    own: dict[str, list[str]] = {}

    def __post_init__(self) -> None:
        if not 0 <= self.number < self.count or len(bytes.fromhex(self.start)) != START_SIZE:
            raise ValueError(f"worker {self.number} of {self.count}, start '{self.start}'")

    @property
    def name(self) -> str:
        """Of the process, for the others."""
        return name_of(self.number)

    @property
    def start_id(self) -> bytes:
        """Of this start."""
        return bytes.fromhex(self.start)

    def others(self) -> list[str]:
        """The names of all other workers."""
        return [name_of(number) for number in range(self.count) if number != self.number]

    def nodes(self) -> Nodes:
        """The workers as clients see them that tell nodes apart."""
        return Nodes(self.number, self.count, {name: [address(name, where) for where in workers] for name, workers in self.own.items()})

    def worker_of(self, shard: int) -> int:
        """Whose a shard is."""
        return shard % self.count

    def shards(self, count: int) -> range:
        """Those of its own, of so many that there are."""
        return range(self.number, count, self.count)


def name_of(number: int) -> str:
    """What a worker is called."""
    return f"w{number}"


def number_of(name: str) -> int:
    """The worker that is called that. Raises ValueError."""
    if name[:1] != "w":
        raise ValueError(f"'{name}' is no worker's name")
    return int(name[1:])
