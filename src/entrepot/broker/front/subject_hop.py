"""Hop: a partition whose records have not all been sent on by its topic's subject yet, and what remains is read from its log, in order.

    fall behind   position and era are staged in the commit that appends the first batch that waits
    a piece       what it appends and the position behind it are one commit, so that a crash neither loses nor repeats it
    caught up     the row goes in the commit of the last piece: no row means that all is sent on, and costs nobody anything
    elsewhere     a piece some of which goes to what is not open in this process is handed over (outbox/): its intents and the position behind it are one
                  commit. While any of them is not answered all pieces go so, in their order, the hop is not caught up, and retention holds them back

Who may be sent a record is what the subject could reach when it was appended (its era), and reaches when it is sent: a binding that was made later gets
nothing of what is older than it, one that is gone, or may not carry it any more, nothing at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from entrepot.broker.calls.port import make_publish
from entrepot.broker.catalogue.routing import Router, make_route
from entrepot.broker.front.owners_here import OwnersHere
from entrepot.broker.front.parting import make_address
from entrepot.broker.front.publisher import Path, Publisher, sole_log
from entrepot.broker.front.subject_state import Era, pack_targets, stage_end, stage_era, stage_era_end, stage_position
from entrepot.broker.logs.cursor import Cursor
from entrepot.broker.logs.entry_codec import EntryCodec
from entrepot.broker.logs.hub import NO_ADDRESS
from entrepot.broker.outbox.handover import SUBJECT, Target
from entrepot.broker.outbox.intents import Intent, Packed
from entrepot.broker.topic.partition import Partition, TopicRules, Watcher
from entrepot.model.entry import CONTROL, OPAQUE, TRANSACTIONAL, Entry, StoredEntry, make_entry, restore_entry, stored_entry
from entrepot.model.errors import EntrepotError, Unavailable
from entrepot.store.interface import Store

SUBJECT_EXCHANGE = "amq.topic"
SLICE_DIFFERENT = 64  # headers, of the records that are sent on in one go
HANDED_OVER_RECORDS = 256  # in one go
ERAS_MAX = 64  # of one partition; what would be more belongs to the last, whose records may go to the targets of both

_SUBJECT_SIZE_MAX = 255  # of a routing key
_BY_PIECE = 20  # steps
_BY_DIFFERENT = 6
_RECORDS_PER_STEP = 8
_TRANSLATED_PER_STEP = 3
_BYTES_PER_STEP = 2048
_LOGS_PER_STEP = 8


def identity_of(definition: Any) -> bytes:
    """A target's, of 16 bytes, never used again."""
    identity: bytes = definition.id if definition.is_topic else definition.log_id
    return identity


def way_on(definition: Any, router: Router, among: frozenset[bytes] | None, owners: OwnersHere) -> Path:
    """The path of what a topic's subject leads to now; where `among` is not None, of these ids alone. Where a target is not here, each record is asked for."""
    address = NO_ADDRESS
    targets: tuple[Any, ...] = ()
    needs_headers = False
    if len(definition.subject.encode("utf-8", "surrogateescape")) <= _SUBJECT_SIZE_MAX:
        address = make_address(SUBJECT_EXCHANGE, definition.subject)
        route = router.route_subject(definition)
        needs_headers = route.needs_headers
        targets = tuple(target for target in route.targets if target is not definition and (among is None or identity_of(target) in among))
    try:
        path = Path(address, SUBJECT_EXCHANGE, make_route(targets, needs_headers), router, owners)
    except Unavailable:
        path = Path(address, SUBJECT_EXCHANGE, make_route((), True), router, owners)
    path.sender = partial(_targets, definition, router, among)
    return path


def _targets(definition: Any, router: Router, among: frozenset[bytes] | None, headers: Any) -> tuple[Any, ...]:
    """Where a record with these headers goes on to."""
    targets = router.subject_targets(definition, headers)
    return targets if among is None else tuple(target for target in targets if identity_of(target) in among)


def leads_nowhere(path: Path) -> bool:
    """Whether there is no target, whatever the record."""
    return path.plain and not path.lanes


def publish_records(publisher: Publisher, path: Path, form: EntryCodec, records: bytes, count: int) -> None:
    """Stage packed records along a path, all of them, whatever the stores have room for. What a full queue refuses is not in it. Unavailable: nothing was."""
    call = make_publish(0, path.address, form.tag, form.version, 0, records, count, form.body_bytes(records, 0, count))
    stores: tuple[Store, ...] = (publisher.store, publisher.volatile)
    for store in stores:
        store.whole = True
    try:
        publisher.parting.publish(publisher, path, call)
    finally:
        for store in stores:
            store.whole = False


class BehindTopic:
    """A topic that has such partitions, `count` of them, or had. What it finds of the routes holds until they change, or shards move."""

    def __init__(self, definition: Any, rules: TopicRules, router: Router, owners: OwnersHere) -> None:
        self.definition = definition
        self._owners = owners
        self.rules = rules
        self.router = router
        self.count = 0
        self._version = 0
        self._candidates: dict[bytes, Any] = {}
        self._targets: frozenset[bytes] = frozenset()
        self._packed = b""
        self._paths: dict[tuple[frozenset[bytes], bool], Path] = {}

    def targets(self) -> frozenset[bytes]:
        """The ids of all that its subject may reach now."""
        if self._version != self.router.version:
            self.forget_found()
            self._version = self.router.version
            self._candidates = {identity_of(definition): definition for definition in self.router.subject_candidates(self.definition)}
            found = frozenset(self._candidates)
            if found != self._targets:  # else eras keep the set that they have
                self._targets = found
                self._packed = b""
        return self._targets

    def packed(self) -> bytes:
        """targets(), as they are kept: of very many that takes a while, and is done once."""
        targets = self.targets()
        if not self._packed:
            self._packed = pack_targets(targets)
        return self._packed

    def path(self, allowed: frozenset[bytes], durable: bool) -> Path:
        """The way of records that may go to the targets `allowed`; `durable`: to none that is in memory alone."""
        targets = self.targets()
        found = self._paths.get((allowed, durable))
        if found is None:
            among = frozenset(one for one in targets & allowed if not durable or self._candidates[one].persistent)
            if among != targets:
                found = way_on(self.definition, self.router, among, self._owners)
            elif self.rules.onward is not None and self.rules.onward_version == self.router.version:
                found = self.rules.onward
            else:
                found = way_on(self.definition, self.router, None, self._owners)
            self._paths[allowed, durable] = found
        return found

    def forget_found(self) -> None:
        """Queues may be others now."""
        self._version = 0
        self._candidates = {}
        self.forget_paths()

    def forget_paths(self) -> None:
        """It is not behind any more."""
        self._paths = {}


class Hop(Watcher):
    """Of one partition that is behind. `position`: the first record that is not sent on. `queued`: it has its turn; `resting`: later."""

    __slots__ = (
        "_at",
        "_fetched",
        "_fetched_end",
        "_form",
        "_piece",
        "_recent",
        "_stored",
        "ended",
        "eras",
        "loading",
        "log",
        "partition",
        "position",
        "queued",
        "reader",
        "resting",
        "subjects",
        "topic",
    )

    def __init__(self, subjects: Any, topic: BehindTopic, partition: Partition, position: int, eras: list[Era]) -> None:
        self.subjects = subjects
        self.topic = topic
        self.partition = partition
        self.log = partition.log
        self.reader = partition.log.reader()
        self.position = position
        self.eras = eras
        self.queued = False
        self.resting = False
        self.loading = False
        self.ended = False
        self._fetched = -1  # where the last fetch was to begin, until it was looked at
        self._fetched_end = 0  # and what was durable then
        self._stored: StoredEntry | None = None  # what holds `position`
        self._piece: StoredEntry | None = None  # of it, what is translated in one go
        self._form: bytes | None = None
        self._at = -1  # where in `_form` the next record begins
        self._recent: dict[int, StoredEntry] = {}  # what is not durable yet, and cannot be read
        partition.hop = self
        partition.watch(self)

    def begin(self) -> None:
        """Stage that it is behind, in the commit that appends the first batch that waits."""
        stage_position(self.subjects.store, self.log, self.position)
        stage_era(self.subjects.store, self.log, self.position, self.topic.packed())

    def appended(self, entry: Entry, base: int, data: bytes, time_ms: int) -> None:
        """A batch has been appended at `base` just now, and waits for those before it."""
        targets = self.topic.targets()
        first, last = self.eras[-1]
        if targets is not last and targets != last:
            if len(self.eras) < ERAS_MAX:
                self.eras.append((base, targets))
                stage_era(self.subjects.store, self.log, base, self.topic.packed())
            elif not targets <= last:
                self.eras[-1] = (first, last | targets)
                stage_era(self.subjects.store, self.log, first, pack_targets(last | targets))
        if self.partition.transactions is None and not entry.flags & TRANSACTIONAL:
            recent = restore_entry(entry.codec, entry.codec_version, entry.flags, entry.count, entry.span, data)
            recent.append_time_ms = time_ms
            recent.max_time_ms = entry.max_time_ms
            self._recent[base] = stored_entry(base, recent)
        self.subjects.go_on(self)

    # ---- when there is something to do

    def wake(self) -> None:
        """See Watcher."""
        gone = self.partition.gone
        if gone is None:
            self._forget_recent(self.log.durable_offset)
            self.subjects.go_on(self)
            return
        if not isinstance(gone, Unavailable):  # the topic is deleted, and what was not sent on with it
            self.subjects.hub.outbox.forget(self.log)
            stage_end(self.subjects.store, self.log, self.eras)
        self._end()

    def loaded(self) -> None:
        """What was not at hand is."""
        self.loading = False
        self.subjects.go_on(self)

    def let_go(self) -> None:
        """It is not its turn for a while: keep nothing large."""
        self._stored = self._piece = self._form = None
        self._at = -1

    def advance(self) -> int:
        """Send a piece on, in the open commit: how many steps that took; 0: nothing can be done until it is called again."""
        if self.ended or self.loading:
            return 0
        if self.log.shard in self.subjects.hub.outbox.loading:  # what is on its way from here goes first
            self.subjects.rest(self)
            return 0
        stored: StoredEntry | None = None
        try:
            stored = self._locate()
            return 0 if stored is None else self._send(stored)
        except Unavailable:
            self.subjects.rest(self)
        except EntrepotError:  # nothing of it is staged; the others go on
            if stored is None:
                raise
            self.subjects.kept_back_count += 1
            return self._pass(stored.base + stored.entry.span)
        return 0

    # ---- below

    def _locate(self) -> StoredEntry | None:
        """The entry that holds the position. None: all is sent on, or what is next is not durable yet, or being fetched."""
        stored = self._stored
        log = self.log
        if stored is not None and stored.base <= self.position < stored.base + stored.entry.span and self.position >= log.first_offset:
            return stored
        self.let_go()
        while not self.loading:
            if self.position < log.first_offset:
                self.subjects.lost_count += log.first_offset - self.position
                self._move(log.first_offset)
            if self.position >= log.next_offset:
                self._catch_up()
                return None
            asked = self.position
            stored = self._recent.get(asked) or self._read()
            if stored is None:
                if self.position == asked:
                    return None
                continue  # there was nothing up to here
            if stored.base <= self.position:
                self._stored = stored
                return stored
            self._move(stored.base)  # nothing is left before it
        return None

    def _read(self) -> StoredEntry | None:
        end = self.log.durable_offset
        if self.partition.transactions is not None:
            end = self.partition.transactions.visible_end(end)
        while self.position < end:
            stored = self.reader.at(self.position)
            if stored is not None:
                self._fetched = -1
                return stored if stored.base < end else None
            if self._fetched != self.position:
                self._fetched = self.position
                self._fetched_end = end
                self.loading = True
                self.reader.fetch(self.position, self.loaded)
                return None
            self._move(self._fetched_end)  # all gone up to there
        return None

    def _send(self, stored: StoredEntry) -> int:
        hub = self.subjects.hub
        entry = stored.entry
        end = stored.base + entry.span
        transactions = self.partition.transactions
        if entry.flags & CONTROL or (transactions is not None and transactions.is_aborted(entry.transaction_id)):
            return self._pass(end)
        codec: EntryCodec = hub.codec(entry.codec)
        data = entry.data
        assert data is not None
        if codec.by_record or codec.address(data) != NO_ADDRESS:  # it came by an exchange, and went on then
            return self._pass(end)
        if entry.flags & OPAQUE:
            self.subjects.kept_back_count += 1
            return self._pass(end)
        while len(self.eras) > 1 and self.eras[1][0] <= self.position:
            stage_era_end(self.subjects.store, self.log, self.eras.pop(0))
            stage_position(self.subjects.store, self.log, self.position)  # what is before it would belong to the next
        path = self.topic.path(self.eras[0][1], self.subjects.publisher.volatile.is_full())
        if leads_nowhere(path):
            return self._pass(end)
        if path.whole and self.position == stored.base and not self.subjects.hub.outbox.has_any(self.log):
            return self._send_whole(path, codec, stored)
        return self._send_records(path, codec, stored)

    def _send_whole(self, path: Path, codec: EntryCodec, stored: StoredEntry) -> int:
        """The batch as it is, to all of the path."""
        entry = stored.entry
        publisher: Publisher = self.subjects.publisher
        for store, logs in ((publisher.volatile, path.volatile_logs), (publisher.store, path.durable_logs)):
            if logs:
                sent = make_entry(codec.tag, codec.version, entry.flags, codec.prefix(path.address), entry.data or b"", entry.count)
                sent.max_time_ms = entry.max_time_ms
                store.whole = True
                try:
                    store.append(logs, sent)
                finally:
                    store.whole = False
        self._sent(entry.count)
        return _BY_PIECE + (entry.size // _BYTES_PER_STEP) + (len(path.durable_logs) + len(path.volatile_logs)) // _LOGS_PER_STEP

    def _send_records(self, path: Path, codec: EntryCodec, stored: StoredEntry) -> int:
        """The next records of the batch, in the form that can be taken apart."""
        hub = self.subjects.hub
        form: EntryCodec = hub.codec(hub.record_tag)
        piece = self._piece
        if piece is None or not piece.base <= self.position < piece.base + piece.entry.span:
            self._form = None
            self._piece = piece = stored
            if hub.is_long(stored, form.tag, path.address):
                self._piece = piece = hub.pieces.find(stored, codec, self.position, self.loaded)
                if piece is None:
                    self.loading = True
                    return 0
        steps = _BY_PIECE
        if self._form is None:
            if hub.is_spent():
                return int(self.subjects.turn_steps)  # the next has more
            self._form = hub.translated(piece, form.tag, path.address)
            self._at = -1
            steps += piece.entry.count // _TRANSLATED_PER_STEP
        data = self._form
        if data is None:
            self.subjects.kept_back_count += 1
            return self._pass(piece.base + piece.entry.span)
        if self._at < 0:
            self._at = form.skip(data, form.start(data), self.position - piece.base)
        records, count, different = _slice(
            form, data, self._at, min(self.subjects.slice_records, piece.base + piece.entry.span - self.position), path.by_record
        )
        if hub.outbox.has_any(self.log):
            return self._hand_over(path, form, records, count)
        try:
            publish_records(self.subjects.publisher, path, form, records, count)
        except Unavailable:
            return self._hand_over(path, form, records, count)
        self._at += len(records)
        self._sent(count)
        walked: int = path.router.taken_steps()
        return steps + different * _BY_DIFFERENT + count // _RECORDS_PER_STEP + len(records) // _BYTES_PER_STEP + walked

    def _hand_over(self, path: Path, form: EntryCodec, records: bytes, count: int) -> int:
        """Stage intents for as many of these records as there may be, and go where something may be sent now: what cannot waits here, unresolved.

        Runs that go nowhere else go directly, or wait until nothing that they would overtake is on its way: so all goes directly again before long.
        """
        outbox = self.subjects.hub.outbox
        if count > HANDED_OVER_RECORDS:
            count = HANDED_OVER_RECORDS
            records = records[: form.skip(records, 0, count)]
        done = 0
        for targets, many in _ways(path, form, records, count, self.subjects.place):
            shards = [shard for shard, _ in targets]
            if not targets:
                pass
            elif all(map(self.subjects.is_here, shards)):
                if outbox.is_outstanding(self.log, shards) or not self._published(path, form, records, done, many):
                    break
            elif not outbox.has_room(self.log) or not all(map(outbox.owners.is_open, shards)):
                break
            else:
                outbox.stage(self.partition, SUBJECT, self.position + done, many, targets)
            done += many
        if done == 0:
            self.subjects.rest(self)  # at most: when nothing is on its way any more it is called
            return 0
        self._at += form.skip(records, 0, done)
        self._sent(done)
        return _BY_PIECE + count * _BY_DIFFERENT + len(records) // _BYTES_PER_STEP + int(path.router.taken_steps())

    def _published(self, path: Path, form: EntryCodec, records: bytes, first: int, count: int) -> bool:
        """Have some of these records sent on directly; whether that could be."""
        begin = form.skip(records, 0, first)
        try:
            publish_records(self.subjects.publisher, path, form, records[begin : form.skip(records, begin, count)], count)
        except Unavailable:
            return False
        return True

    def held_from(self) -> int:
        """The first record that is not sent on, or is on its way."""
        return int(self.subjects.hub.outbox.first_of(self.log, self.position))

    def _sent(self, count: int) -> None:
        """Records have been staged where they go: so is the position behind them."""
        self._move(self.position + count)
        stage_position(self.subjects.store, self.log, self.position)
        self.subjects.sent_on_count += count
        self.subjects.store.urgent()
        if self.position >= self.log.next_offset:
            self._catch_up()

    def _pass(self, position: int) -> int:
        """What is before `position` goes nowhere. It is not staged: after a crash it is looked at again."""
        self._move(position)
        return 1

    def _move(self, position: int) -> None:
        self.position = position
        self._forget_recent(position)

    def _forget_recent(self, end: int) -> None:
        """What lies before `end`."""
        while self._recent:
            base = next(iter(self._recent))
            if base + self._recent[base].entry.span > end:
                break
            del self._recent[base]

    def _catch_up(self) -> None:
        """All that is in the log has been sent on; what is appended next goes at once again. But for what is on its way: it comes again when that is there."""
        if self.subjects.hub.outbox.has_any(self.log):
            return
        stage_end(self.subjects.store, self.log, self.eras)
        self.partition.unwatch(self)
        self._end()

    def _end(self) -> None:
        self.ended = True
        self.partition.hop = None
        self.reader.close()
        self.let_go()
        self._recent = {}
        self.subjects.ended(self)


class SubjectSender:
    """The outbox's Sender of what hops hand over. `subjects`: whose they are."""

    def __init__(self, subjects: Any) -> None:
        self._subjects = subjects

    def pack(self, queue: Any, cursor: Cursor, first: int, count: int, intent: Intent) -> Packed:
        """See Sender."""
        data = cursor.data()
        codec = self._subjects.hub.codec(cursor.tag)
        position = cursor.position_of(first)
        end = codec.skip(data, position, count)
        cursor.passed(first + count, end)
        return Packed(make_address(SUBJECT_EXCHANGE, queue.topic.definition.subject), b"", 0, data[position:end], count)

    def ended(self, queue: Any, intent: Intent, taken: bool) -> None:
        """See Sender."""
        hop: Hop | None = queue.hop
        if hop is not None and not self._subjects.hub.outbox.has_any(queue.log):
            self._subjects.go_on(hop)
            if hop.resting:
                self._subjects.wake()


def _ways(path: Path, form: EntryCodec, records: bytes, count: int, place: Callable[..., int]) -> Iterator[tuple[tuple[Target, ...], int]]:
    """The records in runs that go to the same logs: (which, none where that is nowhere; how many)."""
    found: dict[bytes, tuple[Any, ...]] = {}
    last: tuple[Target, ...] = ()
    many = 0
    for alike, position, end, run in form.header_runs(records, count):
        definitions = found.get(alike)
        if definitions is None:
            definitions = found[alike] = tuple(path.sender(form.headers(records, position)) if path.by_record else path.route.targets)
        spread = [one for one in definitions if sole_log(one) is None]
        sole = tuple((place(one), sole_log(one) or b"") for one in definitions if sole_log(one) is not None)
        for record, each in [(record, 1) for record in form.split(records[position:end], 0, run)] if spread else [(b"", run)]:
            targets = sole + tuple(_part(path, form, topic, record, place) for topic in spread)
            if targets != last and many:
                yield last, many
                many = 0
            last = targets
            many += each
    if many:
        yield last, many


def _part(path: Path, form: EntryCodec, topic: Any, record: bytes, place: Callable[..., int]) -> Target:
    """The partition of a topic that one record goes to."""
    count = len(topic.partitions)
    ((number, _, _),) = form.by_partition(record, 1, count, path.next_turn() % count)
    return place(topic, number), topic.partitions[number]


def _slice(form: EntryCodec, data: bytes, at: int, count: int, by_record: bool) -> tuple[bytes, int, int]:
    """Of the next `count` records those that are sent on in one go: packed, how many they are, and how many different headers they have (if asked for)."""
    records = data[at : form.skip(data, at, count)]
    if not by_record:
        return records, count, 0
    different: set[bytes] = set()
    taken = end = 0
    for alike, _, stop, many in form.header_runs(records, count):
        if len(different) == SLICE_DIFFERENT and alike not in different:
            break
        different.add(alike)
        taken += many
        end = stop
    return records[:end], taken, len(different)
