"""Transactions in one log, or one queue's subscription: what is open, where readers stop, what was aborted, which settlements wait.

A transactional append has its offset at once. Readers stop at the log's *stable offset*, the lowest first offset of a transaction whose
marker is not yet durable, and pass over markers and aborted entries. A settlement in a transaction is pending: neither ready nor
settled, until the transaction ends. A transaction that lies wholly inside one commit carries no id and needs none of this.

All of it is folded state, staged in the commit that it belongs to (docs/formats/transactions.md):

    key     b"x:" log or subscription id (16 bytes) kind (1 byte) transaction id (u64, big-endian)
    value   format (u8, 1), then, little-endian, by kind
              o open     first offset u64, producer id i64, producer epoch i32
              a aborted  first offset u64, marker's offset u64, producer id i64
              p pending  (first u64, end u64)*, ascending, not touching
    delta   the value (of p: what is added to it), or nothing: ended
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterable
from functools import partial
from typing import Any

from entrepot.broker.transactions.marker import make_marker
from entrepot.model.entry import TRANSACTIONAL, Entry
from entrepot.model.errors import CorruptData, Reason, Refused
from entrepot.model.ranges import RangeSet
from entrepot.store.interface import LOG_ID_SIZE, Log, Store

TRANSACTION_PREFIX = b"x:"
OPEN = b"o"
ABORTED = b"a"
PENDING = b"p"

OPEN_MAX = 10_000  # open transactions of one log; one more is refused
SCAN_LIMIT = 1024  # rows read at once at opening
NOT_ENDED = 0xFFFFFFFFFFFFFFFF

_FORMAT = b"\x01"
_KIND_AT = len(TRANSACTION_PREFIX) + LOG_ID_SIZE
_OPEN = struct.Struct("<Qqi")
_ABORTED = struct.Struct("<QQq")
_RUN = struct.Struct("<QQ")


def fold_transaction(key: bytes, value: bytes | None, delta: bytes) -> bytes | None:
    """The fold of every key that starts with TRANSACTION_PREFIX. CorruptData for what no version wrote."""
    if delta == b"":
        return None
    if delta[:1] != _FORMAT or (value is not None and value[:1] != _FORMAT):
        raise CorruptData(f"transaction state {key!r} has format {delta[:1]!r} or {(value or b'')[:1]!r}, expected 1")
    kind = key[_KIND_AT : _KIND_AT + 1]
    if kind in (OPEN, ABORTED):
        return delta
    if kind != PENDING:
        raise CorruptData(f"transaction state {key!r} is of unknown kind {kind!r}")
    if value is None:
        return delta
    runs = RangeSet()
    for first, end in (*_RUN.iter_unpack(value[1:]), *_RUN.iter_unpack(delta[1:])):
        runs.add(first, end)
    return _FORMAT + b"".join(_RUN.pack(first, end) for first, end in runs)


class OpenTransaction:
    """One transaction with appends in one log, until its marker is durable. `marker`: the marker's offset once that is staged, else NOT_ENDED."""

    __slots__ = ("first", "marker", "producer_epoch", "producer_id", "transaction_id")

    def __init__(self, transaction_id: int, first: int, producer_id: int, producer_epoch: int) -> None:
        self.transaction_id = transaction_id
        self.first = first
        self.marker = NOT_ENDED
        self.producer_id = producer_id
        self.producer_epoch = producer_epoch


class AbortedTransaction:
    """What readers pass over: entries of that id, which all lie in [first, marker)."""

    __slots__ = ("first", "marker", "producer_id", "transaction_id")

    def __init__(self, transaction_id: int, first: int, marker: int, producer_id: int) -> None:
        self.transaction_id = transaction_id
        self.first = first
        self.marker = marker
        self.producer_id = producer_id


class LogTransactions:
    """The transactions of one log. Made by Transactions; exists only for logs that have, or had, any."""

    def __init__(self, store: Store, log: Log) -> None:
        self.log = log
        self.open: dict[int, OpenTransaction] = {}  # without those whose marker is staged
        self.pending: dict[int, RangeSet] = {}  # transaction id -> offsets whose settlement waits
        self._store = store
        self._order: deque[OpenTransaction] = deque()  # by first offset; leaves at the front once the marker is durable
        self._aborted: deque[AbortedTransaction] = deque()  # by marker
        self._aborted_ids: set[int] = set()

    # ---- staging

    def appending(self, transaction_id: int, producer_id: int, producer_epoch: int) -> None:
        """An entry of the transaction is about to be appended at next_offset. Refused (LIMIT): too many are open here."""
        if transaction_id in self.open:
            return
        if len(self.open) >= OPEN_MAX:
            raise Refused(Reason.LIMIT, f"{OPEN_MAX} transactions are open in one log: end some first")
        opened = OpenTransaction(transaction_id, self.log.next_offset, producer_id, producer_epoch)
        self.open[transaction_id] = opened
        self._order.append(opened)
        self._fold(OPEN, transaction_id, _FORMAT + _OPEN.pack(opened.first, producer_id, producer_epoch))

    def settling(self, transaction_id: int, ranges: Iterable[tuple[int, int]]) -> None:
        """These settlements wait for the transaction's end; the subscription holds them already."""
        pending = self.pending.setdefault(transaction_id, RangeSet())
        delta = _FORMAT
        for first, end in ranges:
            pending.add(first, end)
            delta += _RUN.pack(first, end)
        if delta != _FORMAT:
            self._fold(PENDING, transaction_id, delta)

    def end(self, transaction_id: int, committed: bool, coordinator_epoch: int = 0) -> bool:
        """Stage the transaction's end here: its marker, and what becomes of its settlements. False: it had nothing here (it ended already)."""
        opened = self.open.pop(transaction_id, None)
        if opened is not None:
            opened.marker = self.log.next_offset
            self._store.append([self.log], make_marker(transaction_id, committed, opened.producer_id, opened.producer_epoch, coordinator_epoch))
            self._fold(OPEN, transaction_id, b"")
            if not committed:
                self._note_aborted(AbortedTransaction(transaction_id, opened.first, opened.marker, opened.producer_id))
                self._fold(ABORTED, transaction_id, _FORMAT + _ABORTED.pack(opened.first, opened.marker, opened.producer_id))
                self.trim()
        pending = self.pending.pop(transaction_id, None)
        if pending is not None:
            self._fold(PENDING, transaction_id, b"")
            if self.log.owner is not None:
                if committed:
                    self.log.owner.end_pending(transaction_id, True)
                else:  # not to be delivered again before it is durable that it may be
                    self._store.group().calls.append(partial(self.log.owner.end_pending, transaction_id, False))
        if opened is None and pending is None:
            return False
        self._store.urgent()
        return True

    def trim(self) -> None:
        """Forget aborted transactions that the log has let go of."""
        while self._aborted and self._aborted[0].marker < self.log.first_offset:
            gone = self._aborted.popleft()
            self._aborted_ids.discard(gone.transaction_id)
            self._fold(ABORTED, gone.transaction_id, b"")

    def dropped(self) -> None:
        """The log is being dropped: nothing stays behind."""
        for kind, ids in ((OPEN, list(self.open)), (ABORTED, list(self._aborted_ids)), (PENDING, list(self.pending))):
            for transaction_id in ids:
                self._fold(kind, transaction_id, b"")
        self.open.clear()
        self._order.clear()
        self.pending.clear()

    # ---- questions

    def visible_end(self, durable_offset: int) -> int:
        """Where readers stop: min(durable end, stable offset). Markers count once they are durable."""
        while self._order:
            lowest = self._order[0]
            if lowest.marker >= durable_offset:
                return min(lowest.first, durable_offset)
            self._order.popleft()
        return durable_offset

    def is_aborted(self, transaction_id: int) -> bool:
        """Whether entries of that transaction are to be passed over."""
        return transaction_id in self._aborted_ids

    def aborted_within(self, first: int, end: int) -> list[AbortedTransaction]:
        """Aborted transactions that reach into [first, end), by marker: what a reader that filters for itself has to know."""
        return [aborted for aborted in self._aborted if aborted.marker >= first and aborted.first < end]

    # ---- opening

    def restore(self, kind: bytes, transaction_id: int, value: bytes) -> None:
        """One row of the folded state; then restored()."""
        if kind == OPEN:
            first, producer_id, producer_epoch = _OPEN.unpack(value)
            self.open[transaction_id] = OpenTransaction(transaction_id, first, producer_id, producer_epoch)
        elif kind == ABORTED:
            first, marker, producer_id = _ABORTED.unpack(value)
            self._note_aborted(AbortedTransaction(transaction_id, first, marker, producer_id))
        else:
            pending = self.pending.setdefault(transaction_id, RangeSet())
            for first, end in _RUN.iter_unpack(value):
                pending.add(first, end)

    def restored(self) -> None:
        """All rows were told."""
        self._order = deque(sorted(self.open.values(), key=lambda opened: opened.first))
        self._aborted = deque(sorted(self._aborted, key=lambda aborted: aborted.marker))

    def _note_aborted(self, aborted: AbortedTransaction) -> None:
        self._aborted.append(aborted)
        self._aborted_ids.add(aborted.transaction_id)

    def _fold(self, kind: bytes, transaction_id: int, delta: bytes) -> None:
        self._store.fold(self.log.shard, TRANSACTION_PREFIX + self.log.id + kind + transaction_id.to_bytes(8, "big"), delta)


class Transactions:
    """The transactions of all logs of one store. `by_log` (log id -> LogTransactions) is shared with who delivers (Hub.transactions)."""

    def __init__(self, store: Store, by_log: dict[bytes, Any]) -> None:
        self._store = store
        self.by_log = by_log

    def load(self, shards: Iterable[int] | None = None) -> None:
        """As shards open (None: all), before queues and topics are made: what the store has kept. What no log stands behind any more is forgotten."""
        before = set(self.by_log)
        for shard in {log.shard for log in self._store.logs()} if shards is None else shards:
            self._load(shard)
        for log_id, transactions in self.by_log.items():
            if log_id not in before:
                transactions.restored()

    def unload(self, shard: int) -> None:
        """A shard closes: nothing of it is known here any more."""
        for log in self._store.logs(shard):
            self.by_log.pop(log.id, None)

    def _load(self, shard: int) -> None:
        first = TRANSACTION_PREFIX
        while True:
            rows = self._store.scan(shard, first, b"x;", SCAN_LIMIT)
            for key, value in rows:
                if value[:1] != _FORMAT:
                    raise CorruptData(f"transaction state {key!r} has format {value[:1]!r}, expected 1")
                log = self._store.log(key[len(TRANSACTION_PREFIX) : _KIND_AT])
                if log is None:
                    self._store.fold(shard, key, b"")
                    continue
                self.of(log).restore(key[_KIND_AT : _KIND_AT + 1], int.from_bytes(key[_KIND_AT + 1 :], "big"), value[1:])
            if len(rows) < SCAN_LIMIT:
                return
            first = rows[-1][0] + b"\x00"

    def of(self, log: Log) -> LogTransactions:
        """The log's; made, and made known to who delivers from it, if there were none."""
        found = self.by_log.get(log.id)
        if found is None:
            assert self._store.log(log.id) is log, "a log of another store"
            found = self.by_log[log.id] = LogTransactions(self._store, log)
            if log.owner is not None:
                log.owner.follow(log, found)
        assert isinstance(found, LogTransactions)
        return found

    def append(self, logs: list[Log], entry: Entry, transaction_id: int) -> None:
        """Stage an entry (producer set by the caller) at the end of every log as part of a transaction. Refused: nothing was staged."""
        for log in logs:
            self.of(log).appending(transaction_id, entry.producer_id, entry.producer_epoch)
        entry.transaction_id = transaction_id
        entry.flags |= TRANSACTIONAL
        self._store.append(logs, entry)

    def end(self, log_ids: Iterable[bytes], transaction_id: int, committed: bool, coordinator_epoch: int = 0) -> None:
        """Stage the transaction's end in every one of these logs, in one commit. Those that are gone, or have ended it already, are passed over."""
        for log_id in log_ids:
            found = self.by_log.get(log_id)
            if found is not None:
                found.end(transaction_id, committed, coordinator_epoch)

    def drop(self, log: Log) -> None:
        """The log is being dropped."""
        found = self.by_log.pop(log.id, None)
        if found is not None:
            found.dropped()
