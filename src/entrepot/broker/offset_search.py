"""Searches for offsets in one log, by time and by owner's epoch. Each calls done(...) once, perhaps at once; none holds up the loop.

They read entries through a LogReader of their own, which fetches what is not in memory.
"""

from __future__ import annotations

from collections.abc import Callable

from entrepot.broker.hub import Hub
from entrepot.model.entry import CONTROL, StoredEntry
from entrepot.store.interface import Log

TIME_MAX_MS = 1 << 62

Found = Callable[[int, int, int], None]
"""Takes offset, time in ms or -1, and epoch or -1; offset -1: none."""


class EntrySeek:
    """Finds the entry that holds an offset, or the first behind it: done(entry), None if there is none below the durable end."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._reader = log.reader()
        self._offset = 0
        self._fetched = False
        self._done: Callable[[StoredEntry | None], None] | None = None

    def seek(self, offset: int, done: Callable[[StoredEntry | None], None]) -> None:
        """Look for one; one at a time."""
        self._offset = offset
        self._fetched = False
        self._done = done
        self._look()

    def close(self) -> None:
        """Unpin what was read."""
        self._done = None
        self._reader.close()

    def _look(self) -> None:
        done = self._done
        if done is None:
            return
        stored = None
        if self._offset < self._log.durable_offset:
            stored = self._reader.at(self._offset)
            if stored is None and not self._fetched:
                self._fetched = True
                self._reader.fetch(self._offset, self._look)
                return
        self._done = None
        done(stored)


class TimeSearch:
    """The first record of a time or later, below `end`."""

    def __init__(self, hub: Hub, log: Log, end: int, done: Found) -> None:
        self._hub = hub
        self._log = log
        self._end = end
        self._done = done
        self._time_ms = 0
        self._seek = EntrySeek(log)

    def find(self, time_ms: int) -> None:
        """Look for it."""
        self._time_ms = time_ms
        self._log.find(time_ms, self._found)

    def _found(self, base: int) -> None:
        self._seek.seek(base, self._entry)

    def _entry(self, stored: StoredEntry | None) -> None:
        if stored is None or stored.base >= self._end:
            self._answer(-1, -1, -1)
            return
        entry = stored.entry
        if entry.flags & CONTROL or _time_of(stored) < self._time_ms:  # the first that is late enough is behind it
            self._hub.scheduler.call_soon(self._found, stored.base + entry.span)
            return
        data = entry.data
        assert data is not None
        offset, time_ms = self._hub.codec(entry.codec).first_at(data, stored.base, self._time_ms)
        offset = max(offset, self._log.first_offset)
        self._answer(offset, time_ms if time_ms >= 0 else _time_of(stored), entry.epoch)

    def _answer(self, offset: int, time_ms: int, epoch: int) -> None:
        self._seek.close()
        self._done(offset, time_ms, epoch)


class MaxTimeSearch:
    """The record with the greatest timestamp: the greatest time at which a TimeSearch finds something, halved down from all times."""

    def __init__(self, hub: Hub, log: Log, end: int, done: Found) -> None:
        self._hub = hub
        self._log = log
        self._end = end
        self._done = done
        self._low = 0  # something is found at `low`, nothing at `high`
        self._high = TIME_MAX_MS
        self._step = 1
        self._middle = 0
        self._best = (-1, -1, -1)

    def find(self) -> None:
        """Look for it."""
        self._look(0)

    def _look(self, time_ms: int) -> None:
        self._middle = time_ms
        TimeSearch(self._hub, self._log, self._end, self._found).find(time_ms)

    def _found(self, offset: int, time_ms: int, epoch: int) -> None:
        if offset < 0:
            self._high = self._middle
        else:
            self._best = (offset, time_ms, epoch)
            self._low = max(self._middle, time_ms)
        if self._high - self._low <= 1 or (offset < 0 and self._middle == 0):
            self._done(*self._best)
        elif self._high == TIME_MAX_MS:  # nothing was too late yet: times lie close to each other, so reach out in growing steps
            self._hub.scheduler.call_soon(self._look, min(self._low + self._step, TIME_MAX_MS - 1))
            self._step *= 16
        else:
            self._hub.scheduler.call_soon(self._look, (self._low + self._high) // 2)


class EpochSearch:
    """The end of what was written in an owner's epoch or before: done(epoch, end), (-1, -1) if not known."""

    def __init__(self, log: Log, current: int, done: Callable[[int, int], None]) -> None:
        self._log = log
        self._current = current
        self._done = done
        self._epoch = 0
        self._seek = EntrySeek(log)
        self._low = 0  # what lies below is of the epoch or before
        self._high = 0  # what lies at or above is of a later one, and begins at `end`
        self._end = 0
        self._found_epoch = -1

    def find(self, epoch: int) -> None:
        """Look for it."""
        if epoch == self._current:
            self._answer(epoch, self._log.durable_offset)
        elif not 0 <= epoch < self._current:
            self._answer(-1, -1)
        else:
            self._epoch = epoch
            self._low = self._log.first_offset
            self._end = self._high = self._log.durable_offset
            self._halve()

    def _halve(self) -> None:
        if self._low >= self._high:
            self._answer(self._found_epoch if self._found_epoch >= 0 else self._epoch, max(self._end, self._log.first_offset))
            return
        self._seek.seek((self._low + self._high) // 2, self._entry)

    def _entry(self, stored: StoredEntry | None) -> None:
        middle = (self._low + self._high) // 2
        if stored is None:
            self._high = middle  # nothing lies from there on
        elif stored.entry.epoch > self._epoch:
            self._end = stored.base
            self._high = min(stored.base, middle)
        else:
            self._found_epoch = stored.entry.epoch
            self._low = stored.base + stored.entry.span
        self._halve()

    def _answer(self, epoch: int, end: int) -> None:
        self._seek.close()
        self._done(epoch, end)


def _time_of(stored: StoredEntry) -> int:
    return stored.entry.max_time_ms or stored.entry.append_time_ms
