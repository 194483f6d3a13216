"""Coordinator: which transactions a shard has begun, who takes part, how far each is, and how it was decided. One log a shard.

    begin -> OPEN --prepare--> PREPARED          survives restarts, has no deadline (XA)
             OPEN, PREPARED --decide--> COMMITTING | ABORTING          the outcome is fixed; markers go out to the participants
             COMMITTING, ABORTING --every participant has ended it--> gone

Each step is a record in the coordinator's log, staged in the open commit; opening reads them again. A transaction's id is its shard
and the offset of its begin record, so it is never used twice. Records of what has ended are discarded. What was decided and is still
here after a restart has participants whose marker may be missing: they are told again, which does nothing where it is not.

A record, little-endian (docs/formats/transactions.md):
    0 version u8 | 1 minimum reader version u8 | 2 step u8 | 3 u8 0 | 4 transaction id u64, of all but begin | 12 by step
    begin    producer id i64, producer epoch i32, deadline in ms since 1970 i64 (0: none), name to the end
    join     (kind u8, shard u16, id 16 bytes)*
    decide   outcome u8: 0 abort, 1 commit; end: the same
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple

from entrepot.model.entry import CODEC_COORDINATOR, CONTROL, StoredEntry, make_entry
from entrepot.model.errors import CorruptData, Reason, Refused
from entrepot.store.interface import Log, Store

TRANSACTIONS_MAX = 100_000  # unfinished transactions of one shard; one more is refused
PARTICIPANTS_MAX = 10_000  # of one transaction
NAME_SIZE_MAX = 1024  # bytes
SHARD_MAX = 0x7FFE
RECORD_VERSION = 1

_OFFSET_BITS = 48
_HEAD = struct.Struct("<BBBxQ")
_BEGIN = struct.Struct("<qiq")
_PARTICIPANT = struct.Struct("<BH16s")


class Phase(enum.IntEnum):
    """How far a transaction is."""

    OPEN = 0
    PREPARED = 1
    COMMITTING = 2
    ABORTING = 3


class Step(enum.IntEnum):
    """What a record says."""

    BEGIN = 1
    JOIN = 2
    PREPARE = 3
    DECIDE = 4
    END = 5


_DECIDED = {True: Phase.COMMITTING, False: Phase.ABORTING}
_MAY_DECIDE = frozenset({Phase.OPEN, Phase.PREPARED})


class ParticipantKind(enum.IntEnum):
    """What takes part."""

    LOG = 1
    SUBSCRIPTION = 2


class Participant(NamedTuple):
    """A log, or a subscription (a queue's has its log's id), and the shard whose owner writes its end."""

    kind: ParticipantKind
    shard: int
    id: bytes


class Transaction:
    """One that has not ended. `waiting` is empty until it is decided, then who has not ended it yet."""

    __slots__ = ("deadline_ms", "id", "name", "offsets", "participants", "phase", "producer_epoch", "producer_id", "waiting")

    def __init__(self, transaction_id: int, name: bytes, producer_id: int, producer_epoch: int, deadline_ms: int) -> None:
        self.id = transaction_id
        self.name = name
        self.phase = Phase.OPEN
        self.producer_id = producer_id
        self.producer_epoch = producer_epoch
        self.deadline_ms = deadline_ms
        self.participants: dict[Participant, None] = {}  # in the order in which they joined
        self.waiting: dict[Participant, None] = {}
        self.offsets: list[int] = []  # of its records

    @property
    def is_committed(self) -> bool:
        """Whether it was decided to commit."""
        return self.phase is Phase.COMMITTING


def coordinator_log_id(shard: int) -> bytes:
    """The id of a shard's coordinator log; no log that is made by chance has it."""
    return b"coordinator\x00" + shard.to_bytes(4, "big")


class Coordinator:
    """The transactions that one shard coordinates. load() first; then every call stages its record in the store's open commit.

    Nothing may be told to a client before that commit is durable, and nobody on another owner may take part before its join is.
    """

    def __init__(self, store: Store, log: Log) -> None:
        assert log.shard <= SHARD_MAX, log.shard
        self.transactions: dict[int, Transaction] = {}
        self._by_name: dict[bytes, Transaction] = {}
        self._store = store
        self._log = log
        self._over: list[int] = []  # offsets of records that nothing needs any more, to be discarded once they are durable

    # ---- opening

    def load(self, done: Callable[[], None]) -> None:
        """Read the log; then done(). Raises CorruptData, from a callback of the store's where it had to be fetched."""
        _Replay(self, self._log, done).go_on()

    def replay(self, stored: StoredEntry) -> None:
        """One record, at its offset."""
        data = stored.entry.data
        assert data is not None
        if stored.entry.codec != CODEC_COORDINATOR or len(data) < _HEAD.size:
            raise CorruptData(f"coordinator log of shard {self._log.shard}: at offset {stored.base} lies an entry of codec {stored.entry.codec}, no record")
        version, minimum, step, transaction_id = _HEAD.unpack_from(data)
        if minimum > RECORD_VERSION or step not in Step.__members__.values():
            raise CorruptData(f"coordinator log of shard {self._log.shard}: the record at offset {stored.base} has version {version}, step {step}")
        body = data[_HEAD.size :]
        if step == Step.BEGIN:
            producer_id, producer_epoch, deadline_ms = _BEGIN.unpack_from(body)
            self._begun(Transaction(self._id_at(stored.base), body[_BEGIN.size :], producer_id, producer_epoch, deadline_ms), stored.base)
            return
        transaction = self.transactions.get(transaction_id)
        if transaction is None:
            self._over.append(stored.base)  # its begin was discarded: it has ended
            return
        transaction.offsets.append(stored.base)
        if step == Step.JOIN:
            for kind, shard, id_ in _PARTICIPANT.iter_unpack(body):
                transaction.participants[Participant(ParticipantKind(kind), shard, id_)] = None
        elif step == Step.PREPARE:
            transaction.phase = Phase.PREPARED
        elif step == Step.DECIDE:
            self._decided(transaction, body == b"\x01")
        else:
            self._ended(transaction)

    # ---- steps

    def begin(self, name: bytes, producer_id: int = -1, producer_epoch: int = -1, deadline_ms: int = 0) -> Transaction:
        """A new transaction. `name` (a transactional id, an XA transaction's id) is unique among those that have not ended; b"" for none.

        Refused: LIMIT; IN_USE: one of that name has not ended.
        """
        if len(self.transactions) >= TRANSACTIONS_MAX:
            raise Refused(Reason.LIMIT, f"{TRANSACTIONS_MAX} transactions have not ended: end some first")
        if len(name) > NAME_SIZE_MAX:
            raise Refused(Reason.LIMIT, f"a transaction's name of {len(name)} bytes; {NAME_SIZE_MAX} are allowed")
        if name and name in self._by_name:
            raise Refused(Reason.IN_USE, f"a transaction named {name!r} has not ended yet")
        offset = self._log.next_offset
        transaction = Transaction(self._id_at(offset), name, producer_id, producer_epoch, deadline_ms)
        self._stage(Step.BEGIN, 0, _BEGIN.pack(producer_id, producer_epoch, deadline_ms) + name)
        self._begun(transaction, offset)
        return transaction

    def join(self, transaction: Transaction, participants: Iterable[Participant]) -> None:
        """These take part from now on; nothing for those that do. Refused: it is not open any more, or LIMIT."""
        self._check(transaction, frozenset({Phase.OPEN}), "joined")
        new = [participant for participant in dict.fromkeys(participants) if participant not in transaction.participants]
        if len(transaction.participants) + len(new) > PARTICIPANTS_MAX:
            raise Refused(Reason.LIMIT, f"a transaction over more than {PARTICIPANTS_MAX} logs and subscriptions")
        if new:
            self._note(transaction, Step.JOIN, b"".join(_PARTICIPANT.pack(*participant) for participant in new))
            transaction.participants.update(dict.fromkeys(new))

    def prepare(self, transaction: Transaction) -> None:
        """It can be committed, and is kept until somebody decides. Again: nothing. Refused: it is decided."""
        if transaction.phase is Phase.PREPARED:
            return
        self._check(transaction, frozenset({Phase.OPEN}), "prepared")
        self._note(transaction, Step.PREPARE, b"")
        transaction.phase = Phase.PREPARED

    def decide(self, transaction: Transaction, committed: bool) -> None:
        """Fix the outcome; now every one of `waiting` has to end it. The same outcome again: nothing. Refused: the other one is decided."""
        if transaction.phase is _DECIDED[committed]:
            return
        self._check(transaction, _MAY_DECIDE, "committed" if committed else "aborted")
        self._note(transaction, Step.DECIDE, bytes((committed,)))
        self._decided(transaction, committed)
        if not transaction.waiting:
            self._end(transaction)

    def participant_ended(self, transaction: Transaction, participant: Participant) -> None:
        """Its marker is durable there, or staged in this same commit. The last one ends the transaction."""
        assert transaction.phase not in _MAY_DECIDE, transaction.phase
        transaction.waiting.pop(participant, None)
        if not transaction.waiting and transaction.id in self.transactions:
            self._end(transaction)

    # ---- questions

    def named(self, name: bytes) -> Transaction | None:
        """The transaction of that name that has not ended."""
        return self._by_name.get(name)

    def expired(self, now_ms: int) -> list[Transaction]:
        """Open ones whose deadline has come: to be aborted. Prepared ones wait for whoever prepared them."""
        return [found for found in self.transactions.values() if found.phase is Phase.OPEN and 0 < found.deadline_ms <= now_ms]

    def decided(self) -> list[Transaction]:
        """Those with participants that have not ended them yet: after load(), tell them again."""
        return [found for found in self.transactions.values() if found.phase not in _MAY_DECIDE]

    # ---- records

    def _id_at(self, offset: int) -> int:
        assert offset >> _OFFSET_BITS == 0, offset
        return self._log.shard << _OFFSET_BITS | offset

    def _check(self, transaction: Transaction, phases: frozenset[Phase], verb: str) -> None:
        if transaction.id not in self.transactions:
            raise Refused(Reason.NOT_FOUND, f"transaction {transaction.id} has ended: it cannot be {verb}")
        if transaction.phase not in phases:
            raise Refused(Reason.INVALID, f"transaction {transaction.id} is {transaction.phase.name.lower()}: it cannot be {verb}")

    def _begun(self, transaction: Transaction, offset: int) -> None:
        transaction.offsets.append(offset)
        self.transactions[transaction.id] = transaction
        if transaction.name:
            self._by_name[transaction.name] = transaction

    def _decided(self, transaction: Transaction, committed: bool) -> None:
        transaction.phase = _DECIDED[committed]
        transaction.waiting = dict(transaction.participants)

    def _end(self, transaction: Transaction) -> None:
        self._note(transaction, Step.END, bytes((transaction.is_committed,)))
        self._ended(transaction)

    def _ended(self, transaction: Transaction) -> None:
        del self.transactions[transaction.id]
        if transaction.name:
            del self._by_name[transaction.name]
        self._over += transaction.offsets

    def _note(self, transaction: Transaction, step: Step, body: bytes) -> None:
        transaction.offsets.append(self._log.next_offset)
        self._stage(step, transaction.id, body)

    def _stage(self, step: Step, transaction_id: int, body: bytes) -> None:
        entry = make_entry(CODEC_COORDINATOR, RECORD_VERSION, CONTROL, b"", _HEAD.pack(RECORD_VERSION, RECORD_VERSION, step, transaction_id) + body, 1)
        self._store.append([self._log], entry)
        self._store.urgent()
        self._discard_over()

    def _discard_over(self) -> None:
        """Let go of records that are durable and needed no more; an end goes last, so that a begin without it is one that has not ended."""
        durable = self._log.durable_offset
        left = []
        for offset in self._over:
            if offset < durable:
                self._store.discard(self._log, offset, offset + 1)
            else:
                left.append(offset)
        self._over = left


class _Replay:
    """Reads a coordinator's log from its first record to its durable end."""

    def __init__(self, coordinator: Coordinator, log: Log, done: Callable[[], None]) -> None:
        self._coordinator = coordinator
        self._log = log
        self._done = done
        self._reader = log.reader()
        self._offset = log.first_offset
        self._fetched = -1

    def go_on(self) -> None:
        """As far as what is in memory goes; then the next fetch."""
        while self._offset < self._log.durable_offset:
            stored = self._reader.at(self._offset)
            if stored is None:
                if self._fetched == self._offset:
                    break  # discarded to the end
                self._fetched = self._offset
                self._reader.fetch(self._offset, self.go_on)
                return
            self._coordinator.replay(stored)
            self._offset = stored.base + stored.entry.span
        self._reader.close()
        self._done()
