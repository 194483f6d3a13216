"""CatalogueStream: the order of all changes of the catalogue, at the owner of shard 0: staged, applied here, and sent on to everybody once durable.

    commit(rows)                 the next revision: what is kept is folded, then the parts that follow here apply the rows
    ticket() -> its `calls`      what hangs there is answered when all that was committed so far is durable, and every member has applied it

A member is another process that follows: it joins with a snapshot, takes changes in order, and says what it has applied; it counts from before its
snapshot is cut, until it is left out. Without members the ticket is the store's own group. In a process that follows, restart(), take_in() and take() are
what it is sent. Revisions are not kept: shard 0 has another epoch whenever somebody else opens it,
who then has all that was decided before, and counts from 0 again.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from functools import partial
from typing import Any, Protocol

from entrepot.broker.calls.port import complete
from entrepot.broker.catalogue.changes import NO_REVISION, Revision, Row, difference, encode_change
from entrepot.broker.catalogue.kept_definitions import CATALOGUE_SHARD, StateStore, encode_value, scan_all
from entrepot.broker.catalogue.snapshots import Ahead, Arriving, Part, Pieces, cut, take_in
from entrepot.broker.state import CLUSTER_PREFIX, DELETE, set_value
from entrepot.model.errors import Unavailable

EPOCH_KEY = CLUSTER_PREFIX + b"epoch"
"""In shard 0: u8 version (1), u32 epoch, little-endian. Nobody reads it: that it was written makes the next start's epoch another."""

_EPOCH = struct.Struct("<BI")
_EPOCH_VERSION = 1


class Member(Protocol):
    """Another process that follows; what it is sent arrives in order. It answers with CatalogueStream.applied()."""

    def restart(self, snapshot: bytes) -> None:
        """Forget everything, and be as this change alone says."""

    def take(self, change: bytes) -> None:
        """Apply a change."""


class PieceMember(Member, Protocol):
    """One whose snapshot comes in pieces, changes between them."""

    def has_room(self, pending: int) -> bool:
        """Whether it can be sent another piece, though so many octets are still to be."""

    def piece(self, piece: bytes, number: int, is_last: bool) -> None:
        """See snapshots.cut(). With 0 another snapshot begins."""


class Ticket(Protocol):
    """Of what was committed last: who waits for it. `durable`: nobody needs to, any more."""

    calls: list[Any]
    durable: bool


class _Barrier:
    """Calls that wait until every member has applied `revision`, which may be `sent` once the store has it; `durable`: both."""

    def __init__(self, revision: Revision) -> None:
        self.revision = revision
        self.sent = False
        self.durable = False
        self.calls: list[Any] = []


class _Cutting:
    """One snapshot in pieces. `pending`: octets that wait until they are durable."""

    def __init__(self, member: PieceMember, run: Callable[[Iterator[bool]], None]) -> None:
        self.member = member
        self.run = run
        self.pending = 0


class CatalogueStream:
    """Of one `store`. `revision` is the newest that was committed, `kept` the newest with something that is kept; `let_through` the newest that was answered,
    while there are members. `elsewhere`: why nothing is decided here though shard 0 may be open, "" where it is.
    """

    def __init__(self, store: StateStore) -> None:
        self.store: Any = store
        self._parts: list[Part] = []
        self._members: dict[Hashable, tuple[Member, Revision]] = {}
        self._barriers: deque[_Barrier] = deque()
        self._left_out: set[Hashable] = set()  # members that are not waited for
        self._cuttings: dict[Hashable, _Cutting] = {}  # members whose snapshot is cut in pieces, or was
        self._open: tuple[Any, _Barrier] | None = None  # of the group that is open
        self.revision = self.kept = self.let_through = Revision(store.epoch, 0)
        self.elsewhere = ""

    def add(self, part: Part) -> None:
        """It applies what is committed from now on."""
        self._parts.append(part)

    def reload(self) -> None:
        """Shard 0 opens: whoever had it may have changed everything that is kept. Members take another snapshot. Raises CorruptData."""
        self.revision = max(self.revision, Revision(self.store.epoch, 0))
        for part in self._parts:
            here = [row for row in part.rows() if row.kept]
            rows = difference(
                part.prefixes, here, [Row(key, part.value(key, value)) for prefix in part.prefixes for key, value in scan_all(self.store, prefix)]
            )
            part.apply(self.revision, rows)  # also where there is none: it is as far as that
        self.let_through = self.revision
        for name, (member, _) in list(self._members.items()):
            self._join(name, member)

    # ---- deciding

    def check(self) -> None:
        """Raises Unavailable where shard 0 is not open here, or it is not time to: nothing can be decided."""
        self._check_open()
        if self.elsewhere:
            raise Unavailable(self.elsewhere)

    def _check_open(self) -> None:
        if CATALOGUE_SHARD in self.store.closed:
            raise Unavailable("the catalogue is on its way to another owner")

    @property
    def decides(self) -> bool:
        """Whether check() would let something be decided."""
        return CATALOGUE_SHARD not in self.store.closed and not self.elsewhere

    def commit(self, rows: list[Row], *, announced: bool = False) -> Revision:
        """Make a change, in the open commit: staged, and applied here at once. Raises Unavailable, and nothing has changed then.

        What is not kept needs no commit, nor shard 0 while nobody else follows: its home is here. `announced`: it was decided before, and its home tells
        who decides now, who may not decide anything yet.
        """
        kept = any(row.kept for row in rows)
        if announced:
            self._check_open()
        elif kept or self._members or self.elsewhere:
            self.check()
        revision = Revision(self.revision.epoch, self.revision.number + 1)
        folds = [(row.key, DELETE if row.gone else set_value(_kept(row.fields))) for row in rows if row.kept]
        send = partial(self._send, encode_change(revision, rows)) if self._members else None  # nothing is staged before all of it is encoded
        self.revision = revision
        if kept:
            self.kept = revision
            for key, delta in folds:
                self.store.fold(CATALOGUE_SHARD, key, delta)
        if send is not None:
            self._when_durable(send)
        for part in self._parts:
            part.apply(revision, rows)
        return revision

    def keep_epoch(self, done: Callable[[], None]) -> None:
        """done() once something of the shard's epoch is durable: one of which nothing is may come again, and with it revisions that others have heard of."""
        self.store.fold(CATALOGUE_SHARD, EPOCH_KEY, set_value(_EPOCH.pack(_EPOCH_VERSION, self.revision.epoch)))
        self._when_durable(done)

    def ticket(self) -> Ticket:
        """Who waits for what was committed last hangs on its `calls`; the store is asked to make haste."""
        store = self.store
        store.urgent()
        group: Ticket = store.group()
        if not self._members:
            return group
        if self._open is not None and self._open[0] is group:
            barrier = self._open[1]
            barrier.revision = self.revision
            return barrier
        barrier = _Barrier(self.revision)
        self._open = (group, barrier)
        self._barriers.append(barrier)
        group.calls.append(partial(self._is_sent, barrier))
        return barrier

    @property
    def is_followed(self) -> bool:
        """Whether there are members: then what is not kept has to be waited for, too."""
        return bool(self._members)

    # ---- members

    def join(self, name: Hashable, member: Member) -> None:
        """A process follows from now on: its snapshot is cut now, and sent when all that is in it is durable."""
        self._cuttings.pop(name, None)
        self._join(name, member)

    def join_by_pieces(self, name: Hashable, member: PieceMember, run: Callable[[Iterator[bool]], None]) -> None:
        """The same, but its snapshot is cut in pieces: run(pieces) asks for one after another; False: not now, for there is no room."""
        self._cuttings[name] = _Cutting(member, run)
        self._join(name, member)

    def _join(self, name: Hashable, member: Member) -> None:
        self._check_open()
        if not self._members:
            self.let_through = self.revision
        self._left_out.discard(name)
        self._members[name] = (member, NO_REVISION)
        cutting = self._cuttings.get(name)
        if cutting is None:
            rows = [row for part in self._parts for row in part.rows()]
            self._when_durable(partial(self._restart, name, member, encode_change(self.revision, rows)))
        else:
            cutting = self._cuttings[name] = _Cutting(cutting.member, cutting.run)
            cutting.run(self._cut(name, cutting))

    def leave(self, name: Hashable) -> None:
        """It follows no more: nobody waits for it."""
        del self._members[name]
        self._cuttings.pop(name, None)
        self._left_out.discard(name)
        self._let_through()

    def leave_out(self, name: Hashable) -> None:
        """It is sent what there is, and nobody waits for it. Who says so knows that it answers nobody by what it has."""
        self._left_out.add(name)
        self._let_through()

    def count_in(self, name: Hashable) -> None:
        """It is waited for again."""
        self._left_out.discard(name)

    def applied(self, name: Hashable, revision: Revision) -> None:
        """A member has applied everything up to there."""
        found = self._members.get(name)
        if found is not None:
            self._members[name] = (found[0], max(found[1], revision))
            self._let_through()

    def behind(self, name: Hashable) -> bool:
        """Whether a member has not applied everything yet."""
        return self._members[name][1] < self.revision

    def applied_by(self, name: Hashable) -> Revision:
        """Up to where a member has applied everything."""
        return self._members[name][1]

    # ---- in a process that follows

    def follow(self) -> None:
        """At the start: what there is is decided in another process, and nothing of it has come yet."""
        self.elsewhere = "the catalogue is decided in another process"
        self.restart(NO_REVISION, [])

    def restart(self, revision: Revision, rows: list[Row]) -> None:
        """Be as these rows say, and nothing else."""
        self.revision = revision
        for part in self._parts:
            own = [row for row in rows if row.key.startswith(part.prefixes)]
            part.apply(revision, difference(part.prefixes, list(part.rows()), own))

    def take_in(self, arrived: Arriving, ahead: Ahead) -> Pieces:
        """restart() over turns of the loop: `revision` is another when it is done. Between its pieces nothing here is to be gone by."""
        return take_in(arrived, self._parts, ahead, self._is_at)

    def _is_at(self, revision: Revision) -> None:
        self.revision = revision

    def take(self, revision: Revision, rows: list[Row]) -> None:
        """Apply a change that somebody else has made."""
        self.revision = revision
        for part in self._parts:
            part.apply(revision, rows)

    # ---- below: how

    def _when_durable(self, do: Callable[[], None]) -> None:
        self.store.urgent()
        self.store.group().calls.append(do)

    def _send(self, change: bytes) -> None:
        for member, _ in list(self._members.values()):
            member.take(change)

    def _restart(self, name: Hashable, member: Member, snapshot: bytes) -> None:
        found = self._members.get(name)
        if found is not None and found[0] is member:
            member.restart(snapshot)

    def _cut(self, name: Hashable, cutting: _Cutting) -> Iterator[bool]:
        """Piece by piece; behind what was committed before it was cut."""
        pieces = enumerate(cut(self._parts, lambda: self.revision))
        while self._cuttings.get(name) is cutting:
            if not cutting.member.has_room(cutting.pending):
                yield False
                continue
            number, (piece, is_last) = next(pieces)
            cutting.pending += len(piece)
            self._when_durable(partial(self._send_piece, name, cutting, piece, number, is_last))
            if is_last:
                return
            yield True

    def _send_piece(self, name: Hashable, cutting: _Cutting, piece: bytes, number: int, is_last: bool) -> None:
        cutting.pending -= len(piece)
        if self._cuttings.get(name) is cutting:
            cutting.member.piece(piece, number, is_last)

    def _is_sent(self, barrier: _Barrier) -> None:
        barrier.sent = True
        if self._open is not None and self._open[1] is barrier:
            self._open = None
        self._let_through()

    def _let_through(self) -> None:
        failure: Exception | None = None
        counted = [revision for name, (_, revision) in self._members.items() if name not in self._left_out]
        least = min(counted, default=self.revision)
        while self._barriers and self._barriers[0].sent and self._barriers[0].revision <= least:
            barrier = self._barriers.popleft()
            barrier.durable = True
            self.let_through = max(self.let_through, barrier.revision)
            failure = complete(barrier.calls) or failure
        if failure is not None:
            raise failure


def _kept(fields: Any) -> bytes:
    return fields if isinstance(fields, bytes) else encode_value(fields)
