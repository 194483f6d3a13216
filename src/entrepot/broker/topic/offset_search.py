"""Searches for offsets in one log, by time and by owner's epoch. Each calls done(...) once, perhaps at once; none holds up the loop.

They read entries through a LogReader of their own, which fetches what is not in memory. To look into an entry may mean to unpack it: that is done
for one entry in a turn of the loop, whoever asks (SearchTurns).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from entrepot.broker.logs.hub import Hub
from entrepot.model.entry import CONTROL, StoredEntry
from entrepot.model.errors import EntrepotError, Unavailable
from entrepot.store.interface import Log, Scheduler

TIME_MAX_MS = 1 << 62
ACTIVE_MAX = 16  # searches by time at once: each may hold a fetched stretch of its log

Found = Callable[[int, int, int], None]
"""Takes offset, time in ms or -1, and epoch or -1; offset -1: none."""

Failed = Callable[[EntrepotError], None]
"""Takes what is wrong with the entry that the answer is in."""


class SearchTurns:
    """Of one broker: the searches by time that are under way, at most ACTIVE_MAX, since each may hold what it has fetched; the others wait."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._active = 0
        self._waiting: deque[Callable[[], object]] = deque()  # searches to begin
        self._looks: deque[Callable[[], object]] = deque()  # entries to look into

    def begin(self, find: Callable[[], object]) -> None:
        """Begin a search, now or when another has ended; it calls ended() once."""
        if self._active >= ACTIVE_MAX:
            self._waiting.append(find)
        else:
            self._active += 1
            find()

    def ended(self) -> None:
        """A search has its answer."""
        self._active -= 1
        if self._waiting:
            self._active += 1
            self._scheduler.call_soon(self._waiting.popleft())

    def look(self, function: Callable[[], object]) -> None:
        """Call it in a later turn of the loop, in which nobody else looks into an entry."""
        self._looks.append(function)
        if len(self._looks) == 1:
            self._scheduler.call_soon(self._next)

    def _next(self) -> None:
        function = self._looks[0]
        try:
            function()
        finally:
            self._looks.popleft()
            if self._looks:
                self._scheduler.call_soon(self._next)


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


class EntryTimeSearch:
    """The first entry below `end` that holds a record of a time or later: done(entry), None if there is none. Looks into none."""

    def __init__(self, hub: Hub, log: Log, end: int, done: Callable[[StoredEntry | None], None]) -> None:
        self._hub = hub
        self._log = log
        self._end = end
        self._done = done
        self._time_ms = 0
        self._seek = EntrySeek(log)

    def find(self, time_ms: int) -> None:
        """Look for it; one at a time."""
        self._time_ms = time_ms
        self._log.find(time_ms, self._found)

    def close(self) -> None:
        """Unpin what was read."""
        self._seek.close()

    def _found(self, base: int) -> None:
        self._seek.seek(base, self._entry)

    def _entry(self, stored: StoredEntry | None) -> None:
        if stored is None or stored.base >= self._end:
            self._done(None)
        elif stored.entry.flags & CONTROL or _time_of(stored) < self._time_ms:  # the first that is late enough is behind it
            self._hub.scheduler.call_soon(self._found, stored.base + stored.entry.span)
        else:
            self._done(stored)


class TimeSearch:
    """The first record of a time or later, below `end`. One find() or look_into() each."""

    def __init__(self, hub: Hub, turns: SearchTurns, log: Log, end: int, done: Found, failed: Failed) -> None:
        self._hub = hub
        self._turns = turns
        self._log = log
        self._done = done
        self._failed = failed
        self._time_ms = 0
        self._search = EntryTimeSearch(hub, log, end, self._entry)
        self._stored: StoredEntry | None = None

    def find(self, time_ms: int) -> None:
        """Look for it, when there is a place for one more search."""
        self._time_ms = time_ms
        self._turns.begin(partial(self._search.find, time_ms))

    def look_into(self, stored: StoredEntry, time_ms: int) -> None:
        """Look for it in an entry that holds it, within a search that has begun."""
        self._time_ms = time_ms
        self._entry(stored)

    def _entry(self, stored: StoredEntry | None) -> None:
        if stored is None:
            self._end(partial(self._done, -1, -1, -1))
            return
        self._stored = stored
        self._turns.look(self._look)

    def _look(self) -> None:
        stored = self._stored
        assert stored is not None
        entry = stored.entry
        data = entry.data
        assert data is not None
        codec = self._hub.codec(entry.codec)
        found: list[tuple[int, int] | EntrepotError] = []

        def look() -> None:
            try:
                found.append(codec.first_at(data, stored.base, self._time_ms))
            except EntrepotError as error:
                found.append(error)

        elsewhere = self._hub.pieces.elsewhere
        if elsewhere is not None and codec.is_long(data):
            elsewhere(look, lambda: self._looked(stored, found))
        else:
            look()
            self._looked(stored, found)

    def _looked(self, stored: StoredEntry, found: list[tuple[int, int] | EntrepotError]) -> None:
        if not found:
            self._end(partial(self._failed, Unavailable("an entry could not be looked into")))
        elif isinstance(found[0], EntrepotError):
            self._end(partial(self._failed, found[0]))
        else:
            offset, time_ms = found[0]
            self._end(partial(self._done, max(offset, self._log.first_offset), time_ms if time_ms >= 0 else _time_of(stored), stored.entry.epoch))

    def _end(self, answer: Callable[[], None]) -> None:
        self._search.close()
        self._turns.ended()
        answer()


class MaxTimeSearch:
    """The record with the greatest timestamp: the greatest time at which an entry is found, halved down from all times; that one is looked into."""

    def __init__(self, hub: Hub, turns: SearchTurns, log: Log, end: int, done: Found, failed: Failed) -> None:
        self._hub = hub
        self._turns = turns
        self._done = done
        self._search = EntryTimeSearch(hub, log, end, self._found)
        self._inside = TimeSearch(hub, turns, log, end, done, failed)
        self._low = 0  # something is found at `low`, nothing at `high`
        self._high = TIME_MAX_MS
        self._step = 1
        self._middle = 0
        self._best: StoredEntry | None = None

    def find(self) -> None:
        """Look for it, when there is a place for one more search."""
        self._turns.begin(partial(self._look, 0))

    def _look(self, time_ms: int) -> None:
        self._middle = time_ms
        self._search.find(time_ms)

    def _found(self, stored: StoredEntry | None) -> None:
        if stored is None:
            self._high = self._middle
        else:
            self._best = stored
            self._low = max(self._middle, _time_of(stored))
        if self._high - self._low <= 1 or (stored is None and self._middle == 0):
            self._search.close()
            if self._best is None:
                self._turns.ended()
                self._done(-1, -1, -1)
            else:
                self._inside.look_into(self._best, _time_of(self._best))
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
