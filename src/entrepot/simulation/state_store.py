"""StateStore: state alone, as groups need it, without a disk: commits become durable a little later, and a crash loses the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from entrepot.broker.calls.port import DONE
from entrepot.store.interface import Fold, Group, Scheduler


class StateStore:
    """Folded state in memory. Everything staged until the next commit is durable with it; crash() loses what is not."""

    def __init__(self, loop: Scheduler, fold: Fold, commit_s: Callable[[], float]) -> None:
        self._loop = loop
        self._fold = fold
        self._commit_s = commit_s
        self._values: dict[tuple[int, bytes], bytes] = {}
        self._durable: dict[tuple[int, bytes], bytes] = {}
        self._staged: list[tuple[tuple[int, bytes], bytes | None]] = []
        self._open = self._new_group()
        self._committing = False
        self.fold_count = 0
        self.closed: set[int] = set()

    def fold(self, shard: int, key: bytes, delta: bytes) -> None:
        """See Store.fold."""
        self.fold_count += 1
        value = self._fold(key, self._values.get((shard, key)), delta)
        self._put(self._values, (shard, key), value)
        self._staged.append(((shard, key), value))
        self.urgent()

    def get(self, shard: int, key: bytes) -> bytes | None:
        """See Store.get."""
        return self._values.get((shard, key))

    def scan(self, shard: int, first: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """See Store.scan."""
        return sorted((key, value) for (at, key), value in self._values.items() if at == shard and first <= key < end)[:limit]

    def group(self) -> Group:
        """See Store.group."""
        return self._open

    def urgent(self) -> None:
        """See Store.urgent."""
        if not self._committing:
            self._committing = True
            self._loop.call_soon(self._begin)

    def crash(self, loop: Scheduler | None = None) -> None:
        """The process is gone, and all that it had asked of its loop: what was not durable is lost. The next one has `loop`, or the same again."""
        self._loop = loop or self._loop
        self._values = dict(self._durable)
        self._staged = []
        self._open = self._new_group()
        self._committing = False

    @staticmethod
    def _new_group() -> Group:
        group = Group.__new__(Group)
        group.calls = []
        group.logs = []
        group.durable = False
        return group

    @staticmethod
    def _put(values: dict[tuple[int, bytes], bytes], key: tuple[int, bytes], value: bytes | None) -> None:
        if value is None:
            values.pop(key, None)
        else:
            values[key] = value

    def _begin(self) -> None:
        group, staged = self._open, self._staged
        self._open, self._staged = self._new_group(), []
        self._loop.call_later(self._commit_s(), self._commit, group, staged)

    def _commit(self, group: Group, staged: list[tuple[tuple[int, bytes], bytes | None]]) -> None:
        for key, value in staged:
            self._put(self._durable, key, value)
        self._committing = False
        group.durable = True
        if self._open.calls or self._staged:
            self.urgent()
        for call in group.calls:
            self._complete(call)

    @staticmethod
    def _complete(call: Any) -> None:
        call.outcome = DONE
        call.attachment.sink.completed(call)
