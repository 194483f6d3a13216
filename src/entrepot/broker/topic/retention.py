"""Retention: lets go of a partition's oldest records, by age and by size, whoever has read them.

By age: everything before the first entry whose time is at or after now - max_age_ms. By size: from the front, until what is alive is
max_bytes again; begun when it is a sixteenth over, so that not every commit discards. The size of an entry in memory is known;
that of one on disk is taken to be the average, in small steps with the log's own count looked at after each, so that nothing has to be
read in order to be discarded.

What the topic's subject has not sent on yet (front/subject_hop.py) is held back, for at most HELD_MAX_MS and HELD_MAX_BYTES more than the limits say.
"""

from __future__ import annotations

from functools import partial

from entrepot.store.interface import Log, LogReader, Store

INTERVAL_MAX_S = 60.0
INTERVAL_MIN_S = 1.0
HELD_MAX_MS = 86_400_000
HELD_MAX_BYTES = 1 << 30
STEPS_MAX = 64  # discards by size in one go; what is left over is the next check's


def interval_s(max_age_ms: int | None) -> float:
    """How often check_age() is worth calling: a tenth of the age, within a second and a minute."""
    if max_age_ms is None:
        return INTERVAL_MAX_S
    return min(max(max_age_ms / 10_000, INTERVAL_MIN_S), INTERVAL_MAX_S)


class Retention:
    """One partition's. Either limit may be None."""

    __slots__ = ("_closed", "_finding", "_max_age_ms", "_max_bytes", "_reader", "_store", "log")

    def __init__(self, log: Log, store: Store, max_age_ms: int | None, max_bytes: int | None) -> None:
        self.log = log
        self._store = store
        self._max_age_ms = max_age_ms
        self._max_bytes = max_bytes
        self._reader: LogReader | None = None
        self._finding = False
        self._closed = False

    def limit(self, max_age_ms: int | None, max_bytes: int | None) -> bool:
        """Have other limits from now on. False: a check by the old ones is under way, and would still discard by them: it wants to be closed."""
        if self._finding:
            return False
        self._max_age_ms = max_age_ms
        self._max_bytes = max_bytes
        return True

    def check_age(self, now_ms: int) -> None:
        """Discard what is too old. The log may answer later."""
        log = self.log
        if self._max_age_ms is None or self._finding or log.first_offset >= log.durable_offset:
            return
        self._finding = True
        log.find(now_ms - self._max_age_ms, partial(self._found, now_ms - self._max_age_ms - HELD_MAX_MS))

    def check_size(self) -> None:
        """Discard what is too much."""
        limit = self._max_bytes
        if limit is None or self.log.bytes_alive <= limit + limit // 16:
            return
        if self._reader is None:
            self._reader = self.log.reader()
        for _ in range(STEPS_MAX):
            if self._closed or self.log.bytes_alive <= limit or not self._step(self.log.bytes_alive - limit):
                return

    def close(self) -> None:
        """The log is gone."""
        self._closed = True
        if self._reader is not None:
            self._reader.close()

    def _step(self, excess: int) -> bool:
        """Discard the first entry, or an eighth of the excess as the average has it; False where nothing may go."""
        log = self.log
        first, durable = log.first_offset, log.durable_offset
        if first >= durable or self._reader is None:
            return False
        stored = self._reader.at(first)
        if self.log.bytes_alive <= (self._max_bytes or 0) + HELD_MAX_BYTES:
            durable = min(durable, self._held_from(durable))
            if first >= durable:
                return False
        if stored is not None:
            end = stored.base + stored.entry.span
        else:
            average = log.bytes_alive // (log.next_offset - first) + 1
            end = first + excess // (8 * average) + 1
        self._store.discard(log, first, min(end, durable))
        return True

    def _held_from(self, end: int) -> int:
        """The first record below `end` that is to be sent on still, else `end`."""
        hop = None if self.log.owner is None else self.log.owner.hop
        return end if hop is None else min(end, hop.held_from())

    def _found(self, held_ms: int, offset: int) -> None:
        """Up to `offset` it is too old. `held_ms`: what is older is not held back."""
        self._finding = False
        held_from = self._held_from(offset)
        self._discard(held_from)
        if held_from < offset and not self._closed:
            self._finding = True
            self.log.find(held_ms, self._found_held)

    def _found_held(self, offset: int) -> None:
        self._finding = False
        self._discard(offset)

    def _discard(self, offset: int) -> None:
        log = self.log
        if not self._closed and log.first_offset < offset <= log.durable_offset:
            self._store.discard(log, log.first_offset, offset)
