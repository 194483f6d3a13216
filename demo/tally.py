"""What passed one point."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Tally:
    """How many lines, their checksum in order, and when."""

    count: int = 0
    checksum: Any = field(default_factory=hashlib.sha256)  # None where only the number is known
    began: float = 0.0
    ended: float = 0.0

    def add(self, line: bytes) -> None:
        self.began = self.began or time.perf_counter()
        self.count += 1
        self.checksum.update(line)
        self.ended = time.perf_counter()

    def same(self, other: Tally) -> bool:
        return self.count == other.count and (self.checksum is None or self.checksum.digest() == other.checksum.digest())
