"""A state store in memory, folding as the real ones do."""

from typing import Any

from entrepot.broker.calls.port import complete
from entrepot.broker.state_kinds import default_folds


class MemoryGroup:
    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.durable = False


class MemoryState:
    epoch = 1

    def __init__(self) -> None:
        self.closed: set[int] = set()
        self._group = MemoryGroup()
        self.values: dict[tuple[int, bytes], bytes] = {}
        self.fold_count = 0
        self.closed: set[int] = set()
        self._fold = default_folds().fold

    def fold(self, shard: int, key: bytes, delta: bytes) -> None:
        self.fold_count += 1
        value = self._fold(key, self.values.get((shard, key)), delta)
        if value is None:
            self.values.pop((shard, key), None)
        else:
            self.values[shard, key] = value

    def group(self) -> MemoryGroup:
        return self._group

    def urgent(self) -> None:
        pass

    def commit(self) -> None:
        """What was staged is durable."""
        group, self._group = self._group, MemoryGroup()
        group.durable = True
        complete(group.calls)

    def get(self, shard: int, key: bytes) -> bytes | None:
        return self.values.get((shard, key))

    def scan(self, shard: int, first: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        found = sorted((key, value) for (at, key), value in self.values.items() if at == shard and first <= key < end)
        return found[:limit]


class LogIds:
    """Distinct ids, in order."""

    def __init__(self, count: int = 0) -> None:
        self.count = count

    def __call__(self) -> bytes:
        self.count += 1
        return self.count.to_bytes(16, "big")
