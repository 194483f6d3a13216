"""What a ready broker says of itself: to who started it, in the lines at the start, and a worker to its parent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from entrepot.protocol_table import listeners


@dataclass(frozen=True, slots=True)
class Started:
    """`workers`: the processes that it consists of; none where it is this one alone."""

    version: str
    pid: int
    seconds: float  # from the start of `run` to ready
    addresses: Mapping[str, tuple[str, int]]  # by listener
    data: str
    durability: str
    is_compiled: bool
    cluster_id: str
    workers: Sequence[int] = ()

    def url(self, name: str) -> str:
        """A listener's address as a client writes it."""
        host, port = self.addresses[name]
        return f"{listeners().kinds[name].scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    def as_json(self) -> dict[str, Any]:
        """The ready line for programs."""
        urls = {name: self.url(name) for name in self.addresses}
        said = {
            "ready": True,
            "version": self.version,
            "pid": self.pid,
            "data": self.data,
            "durability": self.durability,
            "compiled": self.is_compiled,
            "cluster_id": self.cluster_id,
            "listen": urls,
        }
        return {**said, "workers": list(self.workers)} if self.workers else said
