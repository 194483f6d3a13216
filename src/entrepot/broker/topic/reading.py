"""Reading: Read calls, which follow many partitions at once and wait where nothing new is there.

    Place    one ReadPart's place in its partition; it lives as long as the part is read, and watches the partition
    Reading  a list of parts that are read together: the Read under way, and whose turn is next

A Read goes once over its parts, in a compiled loop, and takes what lies there. While it waits nothing runs: a commit wakes the places of the
partitions that got something, and at the end of the tick their Reading looks at those alone. What is not in memory is fetched, and wakes the
place when it is there. A Read that has something from memory goes without it; one that has not (its client has fallen behind) takes along what
is being fetched, so that answers are as long as the client wants them: some clients rest for a second once they hold enough, and should hold it then.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from entrepot.broker.calls.partition_calls import CloseParts, Read, ReadPart, forget_answer, wrong_epoch
from entrepot.broker.calls.port import DONE
from entrepot.broker.logs.hub import Hub
from entrepot.broker.logs.log_owner import LogOwner
from entrepot.broker.topic.partition import Partition, TopicTable, Watcher
from entrepot.model.entry import CONTROL, StoredEntry
from entrepot.model.errors import NotDone, Reason, Refused
from entrepot.store.interface import LogReader

COLD_MAX = 128  # places that hold, or are being brought, what was fetched (two stretches each); others wait for one of them
STRETCHES_SIZE = 32 << 20  # bytes of a stretch, or of what one answer takes of several, over all of them
STRETCH_SIZE_MIN = 256 << 10
STRETCH_SIZE_MAX = 2 << 20
SHARE_SIZE_MAX = 8 << 20  # of one part in an answer, as one stretch after the other
ENTRIES_MAX = 16_384  # looked at in one go; a Read that has none of them goes on in the next tick
FOREIGN_MAX = 16_384  # records of another protocol in one answer: they are translated while the loop waits
PARTS_MAX = 1024  # gone over in one go; the rest of a Read's in the next tick
_COLD_MAX = COLD_MAX
_STRETCHES_SIZE = STRETCHES_SIZE
_STRETCH_SIZE_MIN = STRETCH_SIZE_MIN
_STRETCH_SIZE_MAX = STRETCH_SIZE_MAX
_SHARE_SIZE_MAX = SHARE_SIZE_MAX
_ENTRIES_MAX = ENTRIES_MAX
_FOREIGN_MAX = FOREIGN_MAX
_PARTS_MAX = PARTS_MAX
_CONTROL = CONTROL


class Place(Watcher):
    """Where one part is. `expected` is the offset that its owner asks for next, if it goes on; what lies there begins at `next` (behind
    what was passed over)."""

    __slots__ = (
        "cold", "empty_end", "expected", "fetched", "index", "loading", "next", "part", "partition", "queued", "reader", "reading",
        "reads", "table", "version", "woken",
    )  # fmt: skip

    part: ReadPart | None
    partition: Partition
    table: TopicTable
    version: int  # of the authorizer, when it was asked
    reader: LogReader
    reading: Reading | None
    index: int  # of the part in its reading
    expected: int
    next: int
    reads: Reads
    cold: bool  # the reader may hold what was fetched
    loading: bool  # a fetch is under way, or queued
    queued: bool  # it waits for its turn to fetch
    fetched: bool  # the last fetch was for `next`
    empty_end: int  # below this durable end nothing was found at or after `next`
    woken: bool

    def wake(self) -> None:
        """See Watcher: there may be something to read."""
        reading = self.reading
        if reading is not None and reading.call is not None and not self.woken:
            self.woken = True
            reading.woken.append(self)
            reading.hub.mark_dirty(reading)

    def loaded(self) -> None:
        """A fetch has ended. Not in the .pxd: it is passed on as a callback."""
        self.loading = False
        self.wake()
        self.reads.go_on()

    def take(self, durable: int) -> StoredEntry | None:
        """The entry that holds `next`, else the first behind it; None: not here yet, or nothing below `durable`."""
        while True:
            if self.loading or self.empty_end == durable:
                return None
            stored = self.reader.at(self.next)
            if stored is not None:
                self.fetched = False
                return stored
            if self.fetched:
                self.fetched = False
                self.empty_end = durable  # all gone up to there: something new has to come first
                return None
            part = self.part
            if part is not None and part.size >= self.reads.share_size:
                return None  # its share of an answer: the rest comes with the next
            self.fetched = True
            self.loading = True
            if self.cold or self.reads.admit(self):
                self.fetch()
            else:
                self.queued = True
                self.reads.waiting.append(self)

    def fetch(self) -> None:
        """Bring what lies at `next`."""
        self.queued = False
        self.reader.fetch(self.next, self.loaded)

    def release(self) -> None:
        """Let go of what was fetched."""
        self.reader.close()
        self.cold = False
        self.fetched = False
        self.reads.cold.pop(self, None)
        self.reads.share()

    def close(self) -> None:
        """Nobody reads the part any more."""
        part = self.part
        if part is not None:
            part.place = None
            self.part = None
        self.reading = None
        self.loading = False
        self.queued = False
        self.release()
        self.partition.unwatch(self)
        self.table.watchers.discard(self)
        self.reads.go_on()


class Reading(LogOwner):
    """Parts that are read together. dispatch() looks at those that were woken, when all have been gone over."""

    __slots__ = (
        "budget", "call", "cut", "expired", "failed", "foreign", "found", "hub", "index", "left", "prompt", "reads", "size", "table",
        "timer", "turn", "woken",
    )  # fmt: skip

    def __init__(self, reads: Reads) -> None:
        self.dirty = False
        self.reads = reads
        self.hub = reads.hub
        self.call: Read | None = None
        self.turn = 0  # index of the part that the next Read begins with
        self.woken: list[Place] = []
        # of the Read under way
        self.size = 0
        self.budget = 0
        self.foreign = 0
        self.table: TopicTable | None = None
        self.left = 0  # parts that it has not gone over yet, from `index` on
        self.index = 0
        self.found = False  # a part that is there
        self.cut = False  # something did not fit
        self.prompt = False  # not to wait for what is being fetched: something of it was in memory, or nothing else would fit
        self.failed = False  # a part has an error
        self.expired = False
        self.timer: Any = None

    # ---- a Read

    def begin(self, call: Read, table: TopicTable) -> None:
        """Take what is there of every part; wait if it is not enough."""
        self.call = call
        self.table = table
        self.size = 0
        self.foreign = 0
        self.cut = self.prompt = self.failed = self.expired = False
        parts = call.parts
        count = len(parts)
        if self.turn >= count:
            self.turn = 0
        self.index = self.turn
        self.left = count
        self.found = False
        if count > _PARTS_MAX:  # it may end before all were gone over: nothing of the last one may be left then
            for part in parts:
                forget_answer(part)
        self._go_over()

    def _go_over(self) -> None:
        """Begin with the next parts, as many as may be; when they were the last, wait or answer."""
        call = self.call
        table = self.table
        assert call is not None
        assert table is not None
        self.budget = _ENTRIES_MAX
        version: int = self.reads.authorizer.version
        parts = call.parts
        count = len(parts)
        index = self.index
        most = min(self.left, _PARTS_MAX)
        self.left -= most
        while most > 0:
            most -= 1
            part = parts[index]
            place = part.place
            forget_answer(part)
            if place is None or place.version != version or place.partition.gone is not None or place.partition.rules.closed:
                place = self._open(part, table, version)
            if place is not None:
                self.found = True
                place.reading = self
                place.index = index
                if self._ask(place, part):
                    self._gather(place, part)
            index += 1
            if index == count:
                index = 0
        self.index = index
        if self.left > 0:
            self.hub.mark_dirty(self)
            return
        if not self.found:
            self.failed = True  # a part that is not there, or not to be read, hurries nobody as long as another is; an offset that is not there does
        if not self._is_complete() and call.max_wait_ms > 0:
            self.timer = self.hub.scheduler.call_later(call.max_wait_ms / 1000, self.expire)
        else:
            self.expired = True
        self._check()

    def dispatch(self) -> None:
        """See LogOwner."""
        if self.left > 0:
            self._go_over()
            if self.left > 0:
                return
        woken = self.woken
        self.woken = []
        self.budget = _ENTRIES_MAX
        for place in woken:
            place.woken = False
            part = place.part
            if part is None or place.reading is not self or self.call is None:
                continue
            if place.partition.gone is not None:
                part.error = place.partition.gone
                self.failed = True
            else:
                self._gather(place, part)
        self._check()

    def expire(self) -> None:
        """It has waited long enough. Not in the .pxd: it is passed on as a callback."""
        self.timer = None
        self.expired = True
        self._check()

    def cancel(self) -> None:
        """End the Read under way without an answer."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.call = None
        self.table = None
        self.left = 0

    def ask_again(self, place: Place, table: TopicTable, version: int) -> bool:
        """Users have changed: whether the place's part may not be read any more; it is refused then, with what it has brought."""
        part = place.part
        if part is None:
            return False
        try:
            access = table.by_id(part.topic_id, version) if part.topic_id else table.access(part.topic, version)
            if access.no_read is None:
                return False
            raise access.no_read.with_traceback(None)
        except NotDone as error:
            part.error = error
        self.size -= part.size
        part.data = []
        part.size = 0
        place.close()
        self.failed = True
        return True

    def finish(self) -> None:
        """Answer the Read under way with what there is."""
        call = self.call
        if call is None:
            return
        self.cancel()
        self.reads.read_bytes += self.size
        if call.committed:
            _note_aborted(call)
        call.outcome = DONE
        self.reads.go_on()
        call.attachment.sink.completed(call)

    # ---- below

    def _is_complete(self) -> bool:
        call = self.call
        assert call is not None
        if self.failed or not call.parts:
            return True
        if self.size < call.min_bytes and not (self.cut and self.size > 0):
            return False
        return self.prompt or not self._is_fetching()

    def _is_fetching(self) -> bool:
        """Whether something for one of the parts is being brought, which takes no longer than it takes."""
        for place in self.reads.cold:  # noqa: SIM110 - typed, no generator
            if place.reading is self and place.loading:
                return True
        return False

    def _check(self) -> None:
        """Complete the Read if it is time."""
        if self.call is not None and (self._is_complete() or (self.expired and (self.size > 0 or not self._is_loading()))):
            self.finish()

    def _is_loading(self) -> bool:
        """Whether a fetch for one of the parts, or the rest of a long way over what is passed over, is under way."""
        call = self.call
        assert call is not None
        if self.woken:
            return True
        for part in call.parts:
            place = part.place
            if place is not None and place.loading:
                return True
        return False

    def _open(self, part: ReadPart, table: TopicTable, version: int) -> Place | None:
        """The part's place; None: its error says why there is none."""
        place: Place | None = part.place
        if place is not None:
            place.close()
        try:
            access = table.by_id(part.topic_id, version) if part.topic_id else table.access(part.topic, version)
            if access.no_read is not None:
                raise access.no_read.with_traceback(None)
            partition = table.partition(access, part.partition)
        except NotDone as error:
            part.error = error
            error.__traceback__ = None
            return None
        place = Place.__new__(Place)
        place.part = part
        place.partition = partition
        place.table = table
        place.version = version
        place.reader = partition.log.reader()
        place.reading = None
        place.index = 0
        place.expected = -1
        place.next = 0
        place.reads = self.reads
        place.cold = False
        place.loading = False
        place.queued = False
        place.fetched = False
        place.empty_end = 0
        place.woken = False
        partition.watch(place)
        table.watchers.add(place)
        part.place = place
        return place

    def _ask(self, place: Place, part: ReadPart) -> bool:
        """Go where the part's owner wants to read; False: there is no such offset."""
        log = place.partition.log
        if part.leader_epoch >= 0 and part.leader_epoch != log.epoch:
            part.error = wrong_epoch(part.leader_epoch, log.epoch)
            self.failed = True
            return False
        offset = part.offset
        if offset != place.expected:
            if place.loading:  # for another place
                place.reader.close()
                place.reader = log.reader()
                place.loading = False
                place.queued = False
            place.fetched = False
            place.empty_end = 0
            place.expected = offset
            if offset >= 0:
                place.next = offset
        if offset < 0 or offset < log.first_offset or offset > log.durable_offset:
            self._out_of_range(place, part)
            return False
        return True

    def _out_of_range(self, place: Place, part: ReadPart) -> None:
        """There is no such offset."""
        log = place.partition.log
        part.durable_end = log.durable_offset
        part.stable_end = log.durable_offset
        part.first_offset = log.first_offset
        part.error = Refused(Reason.OUT_OF_RANGE, f"offset {part.offset}: there are {log.first_offset} to {log.durable_offset}")
        place.expected = -1
        self.failed = True

    def _gather(self, place: Place, part: ReadPart) -> None:
        """Add what fits of what lies at the part's place."""
        call = self.call
        assert call is not None
        log = place.partition.log
        if place.next < log.first_offset:  # trimmed while it waited: who reads is to hear of it, and not to go on behind what is gone
            if part.size:
                self._leave(place, part)
            else:
                self._out_of_range(place, part)
            return
        durable = log.durable_offset
        end = durable
        if place.partition.transactions is not None:
            end = place.partition.transactions.visible_end(durable)
        part.durable_end = durable
        part.stable_end = end
        part.first_offset = log.first_offset
        if not call.committed:
            end = durable
        if place.next >= end:
            if place.cold and not place.loading:
                place.release()  # what comes next is in memory
                self.reads.go_on()
            return
        room = call.max_bytes - self.size
        if part.max_bytes - part.size < room:
            room = part.max_bytes - part.size
        place.reader.stretch_size = self.reads.stretch_size
        while place.next < end:
            if self.budget == 0 or (room <= 0 and self.size > 0):
                self._leave(place, part)
                return
            stored = place.take(durable)
            if stored is None and not place.loading and place.empty_end != durable:
                self._leave(place, part)  # it has its share
            if stored is None or stored.base >= end:
                return
            self.budget -= 1
            entry = stored.entry
            data = None
            if entry.codec != call.codec:
                if (self.foreign >= _FOREIGN_MAX or self.hub.is_spent()) and self.size > 0:
                    self._leave(place, part)
                    return
                self.foreign += entry.count
            if not entry.flags & _CONTROL:
                data = self.hub.translated(stored, call.codec)
            if data is None:
                data = self._stand_in(stored, part, call.codec)
            if data is not None:
                size = len(data)
                if size > room and self.size > 0:
                    self._leave(place, part)
                    return
                if not place.cold:
                    self.prompt = True
                part.data.append(data)
                part.size += size
                self.size += size
                room -= size
                place.expected = stored.base + entry.span
            place.next = stored.base + entry.span

    def _leave(self, place: Place, part: ReadPart) -> None:
        """There is more than may be given now. The first part that got nothing, or the one behind the first that got less, begins the next time."""
        if self.budget == 0 and self.size == 0:
            place.wake()
            return
        call = self.call
        assert call is not None
        if self.budget == 0 or self.foreign >= _FOREIGN_MAX or call.max_bytes - self.size <= part.max_bytes - part.size:
            self.prompt = True
        if not self.cut:
            self.cut = True
            self.turn = place.index + 1 if part.size else place.index

    def _stand_in(self, stored: StoredEntry, part: ReadPart, codec: int) -> bytes | None:
        """What stands for an entry that no translation of exists, or for a transaction's end; None: it is passed over."""
        entry = stored.entry
        if not entry.flags & _CONTROL:
            part.skipped += 1
            self.reads.skipped_count += 1
        return self.hub.codec(codec).placeholder(stored.base, entry.span)


class Reads:
    """Every Read of one broker."""

    __slots__ = ("authorizer", "cold", "hub", "read_bytes", "read_count", "share_size", "skipped_count", "stretch_size", "waiting")

    def __init__(self, hub: Hub, authorizer: Any) -> None:
        self.hub = hub
        self.authorizer = authorizer
        self.cold: dict[Place, bool] = {}  # who holds what was fetched, or waits for it, the longest first
        self.waiting: deque[Place] = deque()  # whose turn to fetch has not come
        self.stretch_size = _STRETCH_SIZE_MAX  # what one brings
        self.share_size = _SHARE_SIZE_MAX  # what one part gets into an answer of what is brought, and no further stretch after it
        self.read_count = 0
        self.read_bytes = 0
        self.skipped_count = 0  # entries that no translation of exists

    def read(self, call: Read, table: TopicTable) -> None:
        """Carry out a Read; it is completed now, or when there is enough, or its time is over."""
        self.read_count += 1
        reading: Reading | None = None
        if call.parts:
            first = call.parts[0]
            place: Place | None = first.place
            if place is not None:
                reading = place.reading
        if reading is None:
            reading = Reading(self)
        elif reading.call is not None:
            reading.finish()
        reading.begin(call, table)

    def ask_again(self, table: TopicTable) -> None:
        """Users have changed: Reads that wait are answered if a part of theirs may not be read any more; others ask at their next Read."""
        ended = []
        for place in list(table.watchers):
            reading = place.reading
            if reading is not None and reading.call is not None and reading.ask_again(place, table, self.authorizer.version):
                ended.append(reading)
        for reading in ended:
            reading.finish()

    def admit(self, place: Place) -> bool:
        """Whether it may fetch now. Where too many do, one that nobody waits for lets go of what it holds."""
        if len(self.cold) >= _COLD_MAX:
            victim: Place | None = None
            for victim in self.cold:
                reading = victim.reading
                if not victim.loading and (reading is None or reading.call is None):
                    break
            else:
                return False
            victim.release()
        place.cold = True
        self.cold[place] = True
        self.share()
        place.reader.stretch_size = self.stretch_size
        return True

    def share(self) -> int:
        """How long stretches are, and how much of them goes into an answer: all places that have some share that."""
        size = _STRETCHES_SIZE // max(1, len(self.cold))
        self.stretch_size = max(_STRETCH_SIZE_MIN, min(_STRETCH_SIZE_MAX, size))
        self.share_size = max(_STRETCH_SIZE_MIN, min(_SHARE_SIZE_MAX, size))
        return 0

    def go_on(self) -> None:
        """Somebody may have let go: those that wait have their turn."""
        while self.waiting:
            place = self.waiting[0]
            if place.queued and not self.admit(place):
                return
            self.waiting.popleft()
            if place.queued:
                place.fetch()

    def close_parts(self, call: CloseParts) -> None:
        """Release the places."""
        for part in call.parts:
            place = part.place
            if place is not None:
                if place.reading is not None:
                    place.reading.cancel()
                place.close()
        call.outcome = DONE

    def detach(self, table: TopicTable) -> None:
        """The attachment has ended, and its reads with it."""
        places: list[Place] = []
        for place in table.watchers:
            if place.reading is not None:
                place.reading.cancel()
            places.append(place)
        self.close_places(places)

    def close_places(self, places: list[Place]) -> None:
        """Close them, some now and the rest in the next ticks."""
        most = _PARTS_MAX
        while places and most > 0:
            most -= 1
            place = places.pop()
            place.close()
        if places:
            self.hub.scheduler.call_soon(self.close_places, places)


def _note_aborted(call: Read) -> None:
    """Tell of aborted transactions among the data."""
    for part in call.parts:
        part.aborted = []
        place = part.place
        if part.size and place is not None and place.partition.transactions is not None:
            found = place.partition.transactions.aborted_within(part.offset, place.next)
            part.aborted = [(aborted.producer_id, aborted.first) for aborted in found]
