"""Counting: what a declared queue or topic holds, and how many read it, asked of each owner that has some of it."""

from __future__ import annotations

from functools import partial

from entrepot.broker.calls.port import DONE, PENDING, Ask, fail
from entrepot.broker.catalogue.stream import Ticket
from entrepot.broker.owners import Owner
from entrepot.model.errors import NotDone


class Counting:
    """Of one DeclareQueue, which is answered when the last owner has answered. Owners are asked when `staged`, if it is not None, is durable: before that one
    of another process may not have heard of what somebody else has just declared.
    """

    def __init__(self, call: Ask, name: str, staged: Ticket | None) -> None:
        self._call = call
        self._name = name
        self._staged = staged
        self._left = 0
        self._ready = 0
        self._consumers = 0

    def begin(self, by_owner: dict[Owner, list[bytes]]) -> None:
        """Ask every owner for its logs, once all of them know it."""
        if self._staged is None or self._staged.durable:
            self.ask(by_owner)
        else:
            self._staged.calls.append(partial(self.ask, by_owner))

    def ask(self, by_owner: dict[Owner, list[bytes]]) -> None:
        """Ask every owner for its logs."""
        if self._staged is not None and not self._staged.durable:
            self._staged.calls.append(partial(self._ask, by_owner))
        else:
            self._ask(by_owner)

    def _ask(self, by_owner: dict[Owner, list[bytes]]) -> None:
        self._left = len(by_owner)
        for owner, log_ids in by_owner.items():
            owner.count(log_ids, self._counted)

    def _counted(self, error: NotDone | None, ready: int, consumers: int) -> None:
        call = self._call
        self._left -= 1
        self._ready += ready
        self._consumers += consumers
        if error is not None and call.outcome == PENDING:
            fail(call, error)
        if self._left or call.outcome != PENDING:
            return
        call.result = (self._name, self._ready, self._consumers)
        call.outcome = DONE
        if not call.attachment.closed:
            call.attachment.sink.completed(call)
