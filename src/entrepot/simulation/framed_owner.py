"""FramedOwner: an owner as it looks from another process: what goes to it, and what it answers, goes through octets, and nothing else does.

What cannot be written down (a live queue, a connection, a lane of the owner's own) cannot come by: `marshal` takes plain values and no others. Errors are
words. Requests arrive in the order in which they are sent; answers come at a later turn of the loop.
"""

from __future__ import annotations

import marshal
from collections.abc import Callable
from functools import partial
from typing import Any

from entrepot.broker.calls.port import DONE, REFUSED, UNAVAILABLE, Attachment, Call, Publish, Sink, fail, make_publish
from entrepot.broker.front.owner_table import OwnerTable
from entrepot.broker.logs.hub import Hub
from entrepot.broker.owner.local_owner import LocalOwner
from entrepot.broker.owners import Lane, Owner, Run
from entrepot.model.errors import NotDone, OutcomeUnknown, Reason, Refused, Unavailable
from entrepot.store.interface import Scheduler, Store


def carried(*values: Any) -> Any:
    """What arrives of values that are sent. Raises ValueError for what is not plain."""
    return marshal.loads(marshal.dumps(values))


def _said(error: NotDone | None) -> tuple[str, str, str] | None:
    if error is None:
        return None
    return type(error).__name__, error.reason.name if isinstance(error, Refused) else "", str(error)


def _heard(said: tuple[str, str, str] | None) -> NotDone | None:
    if said is None:
        return None
    kind, reason, text = said
    if kind == "Refused":
        return Refused(Reason[reason], text)
    return Unavailable(text) if kind == "Unavailable" else OutcomeUnknown(text)


class FramedLane(Lane):
    """The number of one over there."""

    def __init__(self, owner: Owner, number: int) -> None:
        self.owner = owner
        self.number = number


class FramedOwner(Owner):
    """The front's side. Counts what went over."""

    def __init__(self, far: FarSide) -> None:
        self.far = far
        self.frame_count = 0
        self._waiting: dict[int, Publish] = {}  # number -> who waits for the answer
        far.answer = self._answered

    def lane(self, address: bytes, log_ids: list[bytes]) -> Lane:
        """See Owner."""
        number, error = self._asked("lane", address, log_ids)
        if error is not None:
            raise error
        return FramedLane(self, number)

    def stage(self, lane: Lane, call: Publish) -> bool:
        """See Owner."""
        assert isinstance(lane, FramedLane)
        return self._staged(call, "stage", lane.number)

    def stage_runs(self, address: bytes, runs: list[Run], call: Publish) -> bool:
        """See Owner."""
        return self._staged(call, "stage_runs", address, [(ids, hidden, data, count, list(indices)) for ids, hidden, data, count, indices in runs])

    def is_full(self) -> bool:
        """See Owner."""
        full, _ = self._asked("is_full")
        return bool(full)

    def is_over(self, log_id: bytes, count: int, body_bytes: int) -> bool:
        """See Owner."""
        over, error = self._asked("is_over", log_id, count, body_bytes)
        if error is not None:
            raise error
        return bool(over)

    def _staged(self, call: Publish, what: str, *where: Any) -> bool:
        """Send it; it is answered later, if anybody waits, or if it is refused."""
        number = self.frame_count
        self._waiting[number] = call
        fields = (call.stream, call.address, call.codec, call.codec_version, call.flags, call.data, call.count, call.body_bytes)
        self._send(what, number, fields, *where)
        if call.confirm:
            return False
        call.outcome = DONE
        return True

    def _asked(self, what: str, *arguments: Any) -> tuple[Any, NotDone | None]:
        result, said = self._send(what, *arguments)
        return result, _heard(said)

    def _send(self, what: str, *arguments: Any) -> Any:
        self.frame_count += 1
        what, arguments = carried(what, arguments)
        return carried(getattr(self.far, what)(*arguments))[0]

    def _answered(self, number: int, outcome: int, said: tuple[str, str, str] | None, nacked: list[int] | None) -> None:
        call = self._waiting.pop(number)
        error = _heard(said)
        if error is not None:
            fail(call, error)
        elif call.confirm:
            call.nacked = nacked
            call.outcome = outcome
            call.attachment.sink.completed(call)


class FarSide(Sink):
    """The owner's side: carries out what arrives at a real owner, with calls and a door of its own. `answer` takes an answer over, at a later turn."""

    def __init__(self, owner: Owner, scheduler: Scheduler) -> None:
        self._owner = owner
        self._scheduler = scheduler
        self._attachment = Attachment()
        self._attachment.sink = self
        self._attachment.closed = False
        self._registered: list[tuple[bytes, list[bytes]]] = []
        self._lanes: dict[int, Lane] = {}  # those at hand
        self._numbers: dict[Call, int] = {}
        self.answer: Callable[..., None] = lambda *_: None

    def lane(self, address: bytes, log_ids: list[bytes]) -> Any:
        """Registers it by the next number."""
        number = len(self._registered)
        try:
            self._lanes[number] = self._owner.lane(address, log_ids)
        except NotDone as error:
            return 0, _said(error)
        self._registered.append((address, log_ids))
        return number, None

    def let_go(self) -> None:
        """A shard moves: lanes are made again when they are used."""
        self._lanes.clear()

    def stage(self, number: int, fields: Any, lane: int) -> None:
        """See Owner."""

        def stage(call: Publish) -> bool:
            known = self._lanes.get(lane)
            if known is None:
                known = self._lanes[lane] = self._owner.lane(*self._registered[lane])
            return self._owner.stage(known, call)

        self._carry_out(number, fields, stage)

    def stage_runs(self, number: int, fields: Any, address: bytes, runs: list[Run]) -> None:
        """See Owner."""
        self._carry_out(number, fields, partial(self._owner.stage_runs, address, runs))

    def is_full(self) -> Any:
        """See Owner."""
        return self._owner.is_full(), None

    def is_over(self, log_id: bytes, count: int, body_bytes: int) -> Any:
        """See Owner."""
        try:
            return self._owner.is_over(log_id, count, body_bytes), None
        except NotDone as error:
            return False, _said(error)

    def completed(self, call: Call) -> None:
        """The owner has answered one."""
        assert isinstance(call, Publish)
        self._scheduler.call_soon(self.answer, *carried(self._numbers.pop(call), call.outcome, _said(call.error), call.nacked))

    def _carry_out(self, number: int, fields: Any, stage: Callable[[Publish], bool]) -> None:
        call = make_publish(*fields)
        call.attachment = self._attachment
        call.confirm = True
        self._numbers[call] = number
        try:
            if stage(call):
                self.completed(call)
        except NotDone as error:
            call.outcome = REFUSED if isinstance(error, Refused) else UNAVAILABLE
            call.error = error
            self.completed(call)


class FramedOwnerTable(OwnerTable):
    """What a front has that reaches every owner over a link."""

    def __init__(self, hub: Hub, store: Store, volatile: Store) -> None:
        super().__init__(hub, store, volatile)
        self.framed = {owner: FramedOwner(FarSide(owner, hub.scheduler)) for owner in self.local()}

    def let_go(self) -> None:
        """See OwnerTable."""
        super().let_go()
        for framed in self.framed.values():
            framed.far.let_go()

    def reached(self, owner: LocalOwner) -> Owner:
        """See OwnerTable."""
        return self.framed[owner]
