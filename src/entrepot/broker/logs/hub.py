"""Hub: what queues and topics share within one broker: the tick's list of who has work, the tick's time, the codecs, counters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cython

from entrepot.broker.logs.entry_codec import EntryCodec
from entrepot.broker.logs.log_owner import LogOwner
from entrepot.broker.logs.long_translations import LongTranslations
from entrepot.broker.logs.pieces import Pieces
from entrepot.broker.logs.translations import Translations
from entrepot.model.batch import HEADER_BYTES, VALUE
from entrepot.model.entry import CONTROL, OPAQUE, Entry, StoredEntry

if not cython.compiled:
    from entrepot.model.batch import field_at

CODEC_TAG_MAX = 63
TURN_MAX = 20_000  # records delivered in one turn of the loop before others have theirs

NO_ADDRESS = b"\x00\x00"

SHELVED_MAX_BYTES = 32 << 20  # on the shelves of all queues
LOCATED_MAX_BYTES = 32 << 20  # of entries that all cursors have at hand, and of the stretches around them that were read from the disk
STRETCH_BYTES_MAX, STRETCH_BYTES_MIN = 256 << 10, 16 << 10  # that one of them reads at once
STRETCHES = 8  # small entries take four times as much in memory, and as many are read ahead
LARGE_BYTES = 256 << 10  # of an entry of one record: its value is put into the translation as it is, copied once; of one that is looked into: a long one
STEP_RECORDS, STEP_BYTES = 3, 2048  # translated in a microsecond,
LOOKED_AT_BYTES = 384  # where each octet is looked at
STEPS_MAX = 2000  # of translating in a tick; the entry that passes it is the last
_TURN_MAX = TURN_MAX
_STRETCH_MAX, _STRETCH_MIN, _STRETCHES = STRETCH_BYTES_MAX, STRETCH_BYTES_MIN, STRETCHES
_STEP_RECORDS, _STEP_BYTES, _LOOKED_AT, _STEPS_MAX = STEP_RECORDS, STEP_BYTES, LOOKED_AT_BYTES, STEPS_MAX
_OPAQUE = OPAQUE
_WHOLE = OPAQUE | CONTROL
_LARGE = LARGE_BYTES
_BATCH_HEADER, _VALUE = HEADER_BYTES, VALUE


class Hub:
    """One per broker. mark_dirty() has an owner dispatched once, at the end of the tick, however often it was marked."""

    __slots__ = (
        "clock",
        "codecs",
        "dead_lettered_count",
        "dead_letters_dropped_count",
        "delivered_count",
        "dirty",
        "expired_count",
        "held",
        "located",
        "located_bytes",
        "located_max_bytes",
        "long_translations",
        "now",
        "outbox",
        "pieces",
        "publish_dead",
        "record_tag",
        "refusing",
        "scheduled",
        "scheduler",
        "settled_count",
        "shelved_bytes",
        "shelved_max_bytes",
        "shelves",
        "transactions",
        "translation_steps",
        "translations",
    )

    def __init__(self, scheduler: Any, clock: Any) -> None:
        self.scheduler = scheduler
        self.clock = clock
        self.publish_dead: Any = None  # (namespace, address, codec tag, flags, record, maker of the queue) -> None; the broker sets it
        self.outbox: Any = None  # outbox.Outbox, for what cannot go in one commit; the broker sets it
        self.record_tag = 0  # the codec into which entries are translated that cannot be taken apart, where a record alone is asked for
        self.refusing = False  # nothing may be appended to durable logs now
        self.dirty: list[LogOwner] = []
        self.scheduled = False
        self.held = False  # nobody is dispatched
        self.now = 0  # wall clock of this tick, 0 if not asked for yet
        self.transactions: dict[bytes, Any] = {}  # log id -> LogTransactions, of logs that have any
        self.codecs: list[EntryCodec | None] = [None] * (CODEC_TAG_MAX + 1)
        self.translations = Translations()
        self.pieces = Pieces()
        self.long_translations = LongTranslations(self.pieces)
        self.shelved_bytes = 0  # on the shelves of all queues (entry_shelf.py)
        self.shelved_max_bytes = SHELVED_MAX_BYTES
        self.shelves: dict[Any, None] = {}  # those that hold something, the one that was used last at the end
        self.located: dict[Any, None] = {}  # cursors that have an entry at hand
        self.located_bytes = 0  # of those entries
        self.located_max_bytes = LOCATED_MAX_BYTES
        self.translation_steps = 0  # of about a microsecond, in this tick
        self.delivered_count = 0
        self.settled_count = 0
        self.dead_lettered_count = 0
        self.dead_letters_dropped_count = 0  # for want of room: records that were refused, in no queue
        self.expired_count = 0

    def register(self, codec: EntryCodec) -> None:
        """Make a codec known by its tag; each tag is taken once."""
        assert self.codecs[codec.tag] is None, codec.tag
        self.codecs[codec.tag] = codec
        if codec.by_record and self.record_tag == 0:
            self.record_tag = codec.tag

    def codec(self, tag: int) -> EntryCodec:
        """The codec of a stored entry. Its tag is known: a store written by a newer version is refused when it is opened."""
        codec = self.codecs[tag]
        assert codec is not None, tag
        return codec

    def maybe_codec(self, tag: int) -> EntryCodec | None:
        """The codec of a tag that somebody else says; None: there is none."""
        return self.codecs[tag] if 0 <= tag < len(self.codecs) else None

    def is_long(self, stored: StoredEntry, tag: int, address: bytes = NO_ADDRESS) -> bool:
        """Whether translated() would have more to do for these arguments than is done in one go: it is asked for pieces of the entry instead."""
        entry = stored.entry
        if entry.codec == tag or entry.flags & _WHOLE or self.translations.has(entry, stored.base, tag, address):
            return False
        data = entry.data
        assert data is not None
        return self.codec(entry.codec).is_long(data)

    def translated(self, stored: StoredEntry, tag: int, address: bytes = NO_ADDRESS) -> bytes | None:
        """An entry in memory as the codec `tag` packs it, with as many records, each at its place; None: it is opaque to that codec, and counted.

        What another codec packed is translated, and kept for the next reader. `address` is what the records say they were published to
        where they do not know it themselves.
        """
        entry = stored.entry
        codec = self.codec(tag)
        data = entry.data
        assert data is not None
        if entry.codec == tag:
            return codec.placed(data, stored.base)
        if entry.flags & _OPAQUE:
            self.translations.opaque_count += 1
            return None
        known: bytes | None = self.translations.get(entry, stored.base, tag, address)
        if known is not None:
            return known
        if len(data) > _LARGE and codec.looks_into_values():
            made: tuple[bytes | None] | None = self.long_translations.get(entry, stored.base, tag, address)
            if made is not None:
                if made[0] is None:
                    self.translations.opaque_count += 1
                return made[0]
        known = self.translate(entry, data, stored.base, codec, address)
        if known is None:
            self.translations.opaque_count += 1
            return None
        self.translations.put(entry, stored.base, tag, address, known)
        self.translation_steps += entry.count // _STEP_RECORDS + len(known) // (_LOOKED_AT if codec.looks_into_values() else _STEP_BYTES)
        if self.translation_steps >= _STEPS_MAX:
            self._schedule()  # which begins anew
        return known

    def translate(self, entry: Entry, data: bytes, base: int, codec: EntryCodec, address: bytes) -> bytes | None:
        """What translated() does not know yet. On any thread."""
        source = self.codec(entry.codec)
        cut = source.without_value(data) if entry.count == 1 and len(data) > _LARGE and codec.takes_value() else None
        batch = source.to_record_batch(data if cut is None else cut[0], base, entry.append_time_ms)
        if cut is not None and (batch is None or field_at(batch, _BATCH_HEADER, _VALUE) < 0):  # without its value it would mean something else
            cut = None
            batch = source.to_record_batch(data, base, entry.append_time_ms)
        if batch is None:
            return None
        if cut is not None:
            return codec.from_record_batch_with(batch, base, entry.append_time_ms, address, data, cut[1], cut[2])
        return codec.from_record_batch(batch, base, entry.append_time_ms, address)

    def is_ready(self, stored: StoredEntry, tag: int, loaded: Callable[[], object]) -> bool:
        """Whether translated() is to be asked for these arguments now: if not, loaded() is called when it may be. For codecs that look into values."""
        entry = stored.entry
        if entry.codec == tag or entry.flags & _WHOLE or self.translations.has(entry, stored.base, tag, NO_ADDRESS):
            return True
        data = entry.data
        assert data is not None
        codec = self.codec(tag)
        if len(data) > _LARGE and codec.looks_into_values():
            base = stored.base
            return bool(self.long_translations.make(entry, base, tag, NO_ADDRESS, lambda: self.translate(entry, data, base, codec, NO_ADDRESS), loaded))
        if self.translation_steps < _STEPS_MAX:
            return True
        self.scheduler.call_soon(loaded)
        return False

    def is_spent(self) -> bool:
        """Whether as much has been translated in this tick as is in one: who can wait for its entry does, until the next."""
        return self.translation_steps >= _STEPS_MAX

    def now_ms(self) -> int:
        """Wall clock, read once a tick."""
        if self.now == 0:
            self.now = self.clock.wall_ms()
            self._schedule()
        return self.now

    def mark_dirty(self, owner: LogOwner) -> None:
        """Dispatch `owner` at the end of this tick."""
        if not owner.dirty:
            owner.dirty = True
            self.dirty.append(owner)
            self._schedule()

    def run(self) -> None:
        """End of the tick: dispatch whoever was marked, as many as fit a turn; the rest, and what gets marked meanwhile, at the next."""
        self.scheduled = False
        self.now = 0
        self.translation_steps = 0
        if self.located_bytes > self.located_max_bytes:
            self.make_room()
        if self.held:
            return
        dirty = self.dirty
        self.dirty = []
        stop = self.delivered_count + _TURN_MAX
        index = 0
        try:
            while index < len(dirty) and self.delivered_count < stop:
                owner = dirty[index]
                index += 1
                owner.dirty = False
                owner.dispatch()
        finally:  # one that fails, by a bug of ours, must not cost those behind it their turn
            if index < len(dirty):
                self.dirty = dirty[index:] + self.dirty
                self._schedule()

    def hold(self) -> None:
        """Dispatch nobody, until go_on()."""
        self.held = True

    def go_on(self) -> None:
        """Who was marked meanwhile is dispatched."""
        self.held = False
        if self.dirty:
            self._schedule()

    def locating(self, cursor: Any, size: int, before: int) -> None:
        """A cursor has so many bytes at hand, until its queue is read again: of many that is much. `before`: as it said last; 0: it had none."""
        if before == 0:
            self.located[cursor] = None
        self.located_bytes += size - before
        if self.located_bytes > self.located_max_bytes:
            self._schedule()

    def closed(self, cursor: Any, size: int) -> None:
        """A cursor that has so many bytes at hand has them no more."""
        del self.located[cursor]
        self.located_bytes -= size

    def stretch_size(self) -> int:
        """How many bytes a cursor reads at once: all that have something at hand share what there may be."""
        size: int = self.located_max_bytes // (_STRETCHES * (len(self.located) + 1))
        return max(_STRETCH_MIN, min(_STRETCH_MAX, size))

    def make_room(self) -> None:
        """Between two turns: cursors that were not used since the last time let go of what they have, and others, as many as it takes."""
        for cursor in list(self.located):
            if cursor.used:
                cursor.used = False
            else:
                cursor.rest()
        for cursor in list(self.located):  # the longest known first
            if self.located_bytes * 4 <= self.located_max_bytes * 3:
                break
            cursor.rest()

    def let_go(self) -> None:
        """Between two turns, when nobody uses what a cursor has found."""
        located = self.located
        self.located = {}
        self.located_bytes = 0
        for cursor in located:
            cursor.let_go()

    def _schedule(self) -> None:
        if not self.scheduled:
            self.scheduled = True
            self.scheduler.call_soon(self.run)
