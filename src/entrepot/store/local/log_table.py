"""LogTable: the logs of the local store by their ids, and in an order in which they can be gone over little by little while others come and go."""

from __future__ import annotations

from entrepot.store.local.log import LocalLog


class LogTable:
    """A log has a place of its own as long as it is in the table. `by_id` is for looking; add() and remove() change it."""

    __slots__ = ("_free", "_places", "by_id", "walks")

    def __init__(self) -> None:
        self.by_id: dict[bytes, LocalLog] = {}
        self._places: list[LocalLog | None] = []
        self._free: list[int] = []  # places of which nobody is
        self.walks = 0  # that are not at their end

    def add(self, log: LocalLog) -> None:
        """One more, whose id is not in it."""
        self.by_id[log.id] = log
        if self._free and not self.walks:
            log.place = self._free.pop()
            self._places[log.place] = log
        else:  # behind the end of every walk
            log.place = len(self._places)
            self._places.append(log)

    def remove(self, log: LocalLog) -> None:
        """It is there no more."""
        del self.by_id[log.id]
        self._places[log.place] = None
        self._free.append(log.place)

    def walk(self) -> Walk:
        """Over all that are there now."""
        return Walk(self, len(self._places))

    def at(self, first: int, end: int) -> list[LocalLog]:
        """Those at places first to end - 1."""
        return [log for log in self._places[first:end] if log is not None]


class Walk:
    """Once over the logs of a table: those that were there when it began, but for those that have gone since."""

    __slots__ = ("_at", "_end", "_table")

    def __init__(self, table: LogTable, end: int) -> None:
        self._table = table
        self._at = 0
        self._end = end
        table.walks += 1

    @property
    def is_over(self) -> bool:
        """Whether there are no more."""
        return self._at >= self._end

    def take(self, count: int) -> list[LocalLog]:
        """The next ones: of `count` places, some of which may be empty. To be called until it is over, at least once."""
        first = self._at
        self._at = min(first + count, self._end)
        if self.is_over:
            self._table.walks -= 1
        return self._table.at(first, self._at)
