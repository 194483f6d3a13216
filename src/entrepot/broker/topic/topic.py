"""Topic: a name over partition logs, those of one owner. Records stay as its retention says; every consumer reads at a place of its own.

A consumer holds no leases: its limit bounds what it has been sent and not settled, and settling gives it credit, nothing more. Each has
one PartitionReader a partition. dispatch() goes round the readers, a slice at a time, until each is out of credit or at the durable
end, or waits for the disk. A slice never crosses an entry.
"""

from __future__ import annotations

from bisect import bisect_left
from operator import attrgetter
from typing import Any

from entrepot.broker.calls.port import Delivery
from entrepot.broker.logs.hub import NO_ADDRESS, Hub
from entrepot.broker.logs.log_owner import LogOwner
from entrepot.broker.subscription.consumer import Consumer
from entrepot.broker.topic.partition import Partition, TopicRules
from entrepot.broker.topic.retention import Retention, interval_s
from entrepot.broker.topic.stream_start import FIRST, LAST, NEXT, Start
from entrepot.broker.topic.topic_config import TopicPolicy
from entrepot.model.entry import CONTROL, TRANSACTIONAL, Entry, StoredEntry
from entrepot.model.errors import NotDone
from entrepot.store.interface import Log, LogReader, Store

SLICE_MAX = 512  # records handed to one consumer before the next has its turn
SLICE_BYTES = 262_144  # and about so many bytes
TURN_MAX = 16_384  # records handed out by one topic in one tick
RETAIN_MAX = 64  # partitions whose age is looked at in one tick
SKIP_MAX = 64  # entries without anything to deliver that are passed over in one go

# C aliases, declared in the .pxd.
_SLICE_MAX = SLICE_MAX
_SLICE_BYTES = SLICE_BYTES
_TURN_MAX = TURN_MAX
_SKIP_MAX = SKIP_MAX
_CONTROL = CONTROL
_TRANSACTIONAL = TRANSACTIONAL


class PartitionReader:
    """One consumer's place in one partition; lives as long as the consumer is active."""

    __slots__ = (
        "closed",
        "consumer",
        "current",
        "empty_end",
        "entry_start",
        "fetched",
        "form",
        "loading",
        "log",
        "next_index",
        "next_position",
        "position",
        "reader",
        "start",
        "topic",
        "transactions",
    )

    consumer: Consumer
    topic: Topic
    log: Log
    reader: LogReader
    position: int  # offset of the next record to deliver
    entry_start: bool  # begin at the base of the entry that holds `position`
    start: Any  # the Start that `position` is still being looked for, None: it is known
    current: StoredEntry | None
    form: bytes | None  # the current entry as the consumer's codec packs it, once it was asked for
    next_index: int
    next_position: int
    loading: bool  # a fetch or find is under way
    fetched: bool  # the last fetch was for `position`
    empty_end: int  # below this durable end nothing was found at or after `position`
    closed: bool
    transactions: Any  # the log's LogTransactions, None if it has none

    def found(self, offset: int) -> None:
        """Log.find() has answered: begin there."""
        self.loading = False
        self.start = None
        self.position = offset
        self.topic.wake()

    def loaded(self) -> None:
        """A fetch has ended."""
        self.loading = False
        self.topic.wake()


class Topic(LogOwner):
    """What one owner has of a topic: a live object over those of its partitions that this owner's store has, in the order of their numbers.

    Its definition says what it is, `policy` what its configuration amounts to. The whole of it, as far as it is in this process: live_topic.py.
    """

    __slots__ = (
        "_away",
        "_consumer_count",
        "address",
        "closed",
        "consumers",
        "definition",
        "giving",
        "hub",
        "name",
        "partitions",
        "policy",
        "readers",
        "rules",
        "store",
        "timer",
    )

    def __init__(self, definition: Any, hub: Hub, store: Store, rules: TopicRules, policy: TopicPolicy) -> None:
        self.dirty = False
        self.definition = definition
        self.name = definition.name
        self.address = _address(definition.name)
        self.hub = hub
        self.store = store
        self.partitions: list[Partition] = []
        self.rules = rules
        self.consumers: list[Consumer] = []
        self._consumer_count = 0
        self.readers: list[PartitionReader] = []
        self.giving: Any = None  # the log of what is being delivered
        self.closed = False
        self._away: dict[int, list[PartitionReader]] = {}  # partitions that are not open here -> who reads there, and from where
        self.timer: Any = None
        self.policy = policy

    def prepared(self, log: Log, number: int) -> Partition:
        """A partition that add() takes."""
        partition = Partition(self, self.rules, number, log, self.hub.transactions.get(log.id))
        self._retain(partition)
        return partition

    def add(self, partition: Partition) -> None:
        """One more, of a higher number than those before. What is kept of it may have changed since it was prepared."""
        self._retain(partition)
        self.partitions.append(partition)

    def configure(self, policy: TopicPolicy) -> None:
        """What holds from now on."""
        limits = (policy.max_age_ms, policy.max_bytes)
        are_others = limits != (self.policy.max_age_ms, self.policy.max_bytes)
        self.policy = policy
        if are_others:  # there may be ten thousand partitions
            for partition in self.partitions:
                self._retain(partition)
        self._set_timer()

    def _retain(self, partition: Partition) -> None:
        """Give a partition the retention that the policy says."""
        if partition.gone is not None:
            return
        policy = self.policy
        partition.sized = policy.max_bytes is not None
        retention = partition.retention
        if policy.max_age_ms is None and policy.max_bytes is None:
            if retention is not None:
                retention.close()
                partition.retention = None
        elif retention is None or not retention.limit(policy.max_age_ms, policy.max_bytes):
            if retention is not None:
                retention.close()
            partition.retention = Retention(partition.log, self.store, policy.max_age_ms, policy.max_bytes)

    # ---- partitions whose shard closes and opens

    def leave(self, partition: Partition, gone: NotDone) -> None:
        """It is not open here any more: `gone` for whoever asks. Who reads it goes on when it is again."""
        readers = [reader for reader in self.readers if reader.log is partition.log]
        self._away[partition.number] = readers
        self.readers = [reader for reader in self.readers if reader.log is not partition.log]
        for reader in readers:
            _close_reader(reader)
        partition.close(gone)

    def return_to(self, left: Partition) -> Partition:
        """It is open again: its partition."""
        log = left.log
        partition = self.prepared(log, left.number)
        self.partitions[bisect_left(self.partitions, left.number, key=attrgetter("number"))] = partition
        for before in self._away.pop(left.number):
            if before.consumer.active:
                reader = _make_reader(self, before.consumer, log)
                self.readers.append(reader)
                if before.start is not None:
                    _place(reader, before.start)
                else:
                    reader.position = before.position
                    reader.entry_start = before.entry_start
        self.wake()
        return partition

    # ---- what producers do

    def on_durable(self, log: Log) -> None:
        """What was appended may be delivered."""
        if self.readers:
            self.hub.mark_dirty(self)

    def follow(self, log: Log, transactions: Any) -> None:
        """See LogOwner."""
        for reader in self.readers:
            if reader.log is log:
                reader.transactions = transactions

    # ---- consumers

    def consumer_count(self) -> int:
        """How many read, of those that count here."""
        return self._consumer_count

    def add_consumer(self, consumer: Consumer, partitions: list[Partition], start: Start) -> None:
        """A new reader of some of its partitions, which are open."""
        self.consumers.append(consumer)
        self._consumer_count += consumer.counts
        for partition in partitions:
            reader = _make_reader(self, consumer, partition.log)
            self.readers.append(reader)
            _place(reader, start)
        self.hub.mark_dirty(self)

    def read_on(self, consumer: Consumer, partition: Partition, position: int) -> None:
        """One that was added reads this partition, too, from a place where it was before."""
        reader = _make_reader(self, consumer, partition.log)
        reader.position = min(position, partition.log.next_offset)
        self.readers.append(reader)
        self.hub.mark_dirty(self)

    def places(self, consumer: Consumer) -> dict[bytes, int]:
        """Where a consumer is in each partition, by its log, as far as it is known."""
        return {reader.log.id: reader.position for reader in self.readers if reader.consumer is consumer and reader.start is None}

    def remove_consumer(self, consumer: Consumer) -> None:
        """It is sent no more; what it holds still counts until it is settled."""
        consumer.active = False
        if consumer in self.consumers:
            self.consumers.remove(consumer)
            self._consumer_count -= consumer.counts
        kept = []
        for reader in self.readers:
            if reader.consumer is consumer:
                _close_reader(reader)
            else:
                kept.append(reader)
        self.readers = kept

    def settle(self, consumer: Consumer, first: int, count: int) -> None:
        """`count` records it was sent are done with: it may have as many more."""
        if count > consumer.leased:
            count = consumer.leased
        consumer.freed(count)
        self.hub.settled_count += count
        self.wake()

    def release_all(self, consumer: Consumer) -> None:
        """It holds nothing any more; a stream has nothing to give back."""
        consumer.freed(consumer.leased)
        self.wake()

    def close(self) -> list[Consumer]:
        """The topic is gone: reading ends. Who was reading. Its partitions are closed by themselves."""
        self.closed = True
        consumers = self.consumers
        self.consumers = []
        self._consumer_count = 0
        for reader in self.readers:
            _close_reader(reader)
        self.readers = []
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        self.partitions = []
        return consumers

    def wake(self) -> None:
        """Somebody may go on reading: look at the end of this tick."""
        if not self.closed and self.readers:
            self.hub.mark_dirty(self)

    # ---- delivering

    def dispatch(self) -> None:
        """Give every reader with credit what is durable, a slice each in turn."""
        left = _TURN_MAX
        busy = self.readers
        while busy and left > 0:
            going = []
            for reader in busy:
                given = self.advance(reader)
                if given:
                    going.append(reader)
                    left = left - given if given < left else 0
            busy = going
        if busy:
            # The rest at the next tick, and others first.
            waiting = set(busy)
            self.readers = [reader for reader in self.readers if reader not in waiting] + busy
            self.wake()

    def advance(self, reader: PartitionReader) -> int:
        """Send one slice; how many records that were, 0 if none can be sent now."""
        if reader.loading or reader.closed:
            return 0
        consumer = reader.consumer
        if consumer.lent and consumer.credit == 0 and (consumer.asked or not self.locate(reader)):
            return 0  # only who has something at hand asks for credit: when it comes, it is spent
        limit = consumer.room(_SLICE_MAX)
        if limit == 0 or not self.locate(reader):
            return 0
        stored = reader.current
        assert stored is not None
        entry = stored.entry
        data = reader.form
        assert data is not None  # locate() saw to it
        left = stored.base + entry.span - reader.position
        if left < limit:
            limit = left
        if len(data) > _SLICE_BYTES:
            average = len(data) // entry.span
            if average * limit > _SLICE_BYTES:
                limit = _SLICE_BYTES // average
                if limit == 0:
                    limit = 1
        delivery = Delivery.__new__(Delivery)
        delivery.consumer_id = consumer.id
        delivery.token = consumer.token
        delivery.codec = consumer.codec
        delivery.codec_version = entry.codec_version if entry.codec == consumer.codec else self.hub.codec(consumer.codec).version
        delivery.data = data
        delivery.position = self.position_of(reader)
        delivery.count = limit
        delivery.offset = reader.position
        delivery.deliveries = 0
        delivery.counted = False
        delivery.redelivered = False
        delivery.settled = consumer.auto_settle
        delivery.from_topic = True
        delivery.append_time_ms = entry.append_time_ms
        reader.next_index = reader.position - stored.base + limit
        reader.position += limit
        if not consumer.auto_settle:
            consumer.gave(limit)
        self.hub.delivered_count += limit
        self.giving = reader.log
        reader.next_position = consumer.attachment.sink.deliver(delivery)
        if left == limit:
            reader.form = None  # behind the entry
        return limit

    def locate(self, reader: PartitionReader) -> bool:
        """Make `current` the entry of the next record to deliver; False if it has to be fetched or is not there yet."""
        end = _visible_end(reader)
        skips = 0
        while skips < _SKIP_MAX:
            skips += 1
            if reader.position < reader.log.first_offset:
                reader.position = reader.log.first_offset
            if reader.position >= end:
                return False
            stored = reader.current
            if stored is None or reader.position < stored.base or reader.position - stored.base >= stored.entry.span:
                stored = self._take_up(reader)
                if stored is None:
                    return False
            if reader.position >= end:
                return False
            if not stored.entry.flags & (_CONTROL | _TRANSACTIONAL) or not _is_passed_over(reader, stored.entry):
                if reader.form is None:
                    if stored.entry.codec != reader.consumer.codec and self.hub.is_spent():
                        break
                    reader.form = self.hub.translated(stored, reader.consumer.codec, self.address)
                if reader.form is not None:
                    return True
            reader.position = stored.base + stored.entry.span
        self.wake()  # markers and aborted entries and nothing else so far, or much was translated: go on at the next tick
        return False

    def _take_up(self, reader: PartitionReader) -> StoredEntry | None:
        """Open the entry that holds the reader's position, or the next one there is; None: later, or nothing."""
        durable = reader.log.durable_offset
        if reader.empty_end == durable:
            return None  # all gone up to here; something new has to come first
        stored = reader.reader.at(reader.position)
        if stored is None:
            reader.current = None
            if reader.fetched:
                reader.fetched = False
                reader.empty_end = durable
                return None
            reader.fetched = True
            reader.loading = True
            reader.reader.fetch(reader.position, reader.loaded)
            return None
        reader.fetched = False
        if stored.base > reader.position or reader.entry_start:
            reader.position = max(reader.log.first_offset, stored.base)
        reader.entry_start = False
        reader.current = None
        if self.hub.is_long(stored, reader.consumer.codec, self.address) and not _is_passed_over(reader, stored.entry):
            if reader.position >= _visible_end(reader):
                return None
            stored = self.hub.pieces.find(stored, self.hub.codec(stored.entry.codec), reader.position, reader.loaded)
            if stored is None:
                reader.loading = True
                return None
        reader.current = stored
        reader.form = None
        reader.next_index = 0
        reader.next_position = -1
        return stored

    def position_of(self, reader: PartitionReader) -> int:
        """Byte position of the next record in the current entry; cheap when it follows the last one."""
        stored = reader.current
        assert stored is not None
        data = reader.form
        assert data is not None
        index = reader.position - stored.base
        if reader.next_position >= 0 and index == reader.next_index:
            return reader.next_position
        codec = self.hub.codec(reader.consumer.codec)
        return codec.skip(data, codec.start(data), index)

    # ---- retention

    def retain(self) -> None:
        """The timer: let go of what is too old, or too much."""
        self.timer = None
        self.retain_from(0)

    def retain_from(self, first: int) -> None:
        """The same for partitions from `first` on, some at a time."""
        if self.closed:
            return
        end = min(first + RETAIN_MAX, len(self.partitions))
        for partition in self.partitions[first:end]:
            if partition.retention is not None:
                partition.retention.check_size()
                partition.retention.check_age(self.hub.now_ms())
        if end < len(self.partitions):
            self.timer = self.hub.scheduler.call_soon(self.retain_from, end)
        else:
            self._set_timer()

    def _set_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        policy = self.policy
        if policy.max_age_ms is not None or policy.max_bytes is not None:
            self.timer = self.hub.scheduler.call_later(interval_s(policy.max_age_ms), self.retain)


def _address(name: str) -> bytes:
    """What records say they were published to that do not know it: the topic through the default exchange; no address for a name that is too long."""
    key = name.encode("utf-8", "surrogateescape")
    return bytes((0, len(key))) + key if len(key) <= 255 else NO_ADDRESS


def _make_reader(topic: Topic, consumer: Consumer, log: Log) -> PartitionReader:
    reader = PartitionReader.__new__(PartitionReader)
    reader.topic = topic
    reader.consumer = consumer
    reader.log = log
    reader.reader = log.reader()
    reader.position = 0
    reader.entry_start = False
    reader.start = None
    reader.current = None
    reader.form = None
    reader.next_index = 0
    reader.next_position = -1
    reader.loading = False
    reader.fetched = False
    reader.empty_end = 0
    reader.closed = False
    reader.transactions = topic.hub.transactions.get(log.id)
    return reader


def _visible_end(reader: PartitionReader) -> int:
    """min(durable end, stable offset): where reading stops."""
    end = reader.log.durable_offset
    if reader.transactions is not None:
        end = reader.transactions.visible_end(end)
    return end


def _is_passed_over(reader: PartitionReader, entry: Entry) -> bool:
    """A transaction's marker, or an entry of an aborted one: not for consumers."""
    if entry.flags & _CONTROL:
        return True
    return reader.transactions is not None and bool(reader.transactions.is_aborted(entry.transaction_id))


def _close_reader(reader: PartitionReader) -> None:
    reader.closed = True
    reader.current = None
    reader.form = None
    reader.reader.close()


def _place(reader: PartitionReader, start: Start) -> None:
    """Put a new reader where it is to begin; an offset that is not there is the nearest one that is."""
    log = reader.log
    end = _visible_end(reader)
    following = log.next_offset if end == log.durable_offset else end  # what open transactions hold back is still to come
    if start == FIRST:
        reader.position = log.first_offset
    elif start == NEXT:
        reader.position = following
    elif start == LAST:
        if end > log.first_offset:
            reader.position = end - 1
            reader.entry_start = True
        else:
            reader.position = following
    elif isinstance(start, int):
        reader.position = min(max(start, log.first_offset), log.next_offset)
    else:
        assert isinstance(start, tuple), start
        reader.loading = True
        reader.start = start
        log.find(start[1], reader.found)
