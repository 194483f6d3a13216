"""LateWills: wills that are due, whatever becomes of their sessions: published at once, or as soon as that can be.

Of a session that was kept there is a row as long as it is not published: it goes in the same commit. What goes to other owners is kept there, and sent on once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeAlias

from entrepot.broker.calls.questions import WillFields
from entrepot.broker.sessions.session_state import LATE_WILL, gone, late_will_delta, late_will_of
from entrepot.model.errors import NotDone, Refused, Unavailable
from entrepot.store.interface import Store

Publish: TypeAlias = Callable[[str, WillFields, int, Callable[[NotDone | None], None]], bool]
"""(namespace, will, its shard, done): True: it is staged, in the open commit, wherever it goes, or goes nowhere; False: done(why not, or None) is called later.
Raises a NotDone: not now; Refused: never."""


HELD_BYTES_MAX = 16_777_216
"""Of wills that are in memory alone, and cannot be published now; more are dropped."""


class LateWill(NamedTuple):
    """`key`: of its row, in `shard`; b"": it is in memory alone."""

    shard: int
    key: bytes
    namespace: str
    will: WillFields


class LateWills:
    """Over one store. arm(): some of them are to be tried again."""

    def __init__(self, store: Store, publish: Publish, arm: Callable[[], None]) -> None:
        self._store = store
        self._publish = publish
        self._arm = arm
        self.waiting: list[LateWill] = []
        self._held_bytes = 0  # of those in memory alone, since they were last tried
        self.published_count = 0
        self.dropped_count = 0

    def add(self, late: LateWill) -> None:
        """Publish it, now or later."""
        if late.key:
            self._store.fold(late.shard, late.key, late_will_delta(late.namespace, late.will))
        self._try(late)

    def load(self, shard: int, key: bytes, value: bytes) -> None:
        """One that was kept."""
        self.waiting.append(LateWill(shard, key, *late_will_of(key, value)))

    def unload(self, shard: int) -> None:
        """It closes."""
        self.waiting = [late for late in self.waiting if late.shard != shard or not late.key]

    def again(self) -> None:
        """Try what waits."""
        waiting, self.waiting = self.waiting, []
        self._held_bytes = 0
        for late in waiting:
            self._try(late)

    def _try(self, late: LateWill) -> None:
        try:
            staged = self._publish(late.namespace, late.will, late.shard, partial(self._published, late))
        except Refused:
            self.dropped_count += 1
            self._forget(late)
        except NotDone:
            self._wait(late)
        else:
            if staged:
                self._published(late, None)

    def _wait(self, late: LateWill) -> None:
        if late.key and late.shard in self._store.closed:
            return  # whoever opens it has it
        if not late.key:
            size = sum(len(part) for part in (late.will[0], late.will[4]))
            if self._held_bytes + size > HELD_BYTES_MAX:
                self.dropped_count += 1
                return
            self._held_bytes += size
        self.waiting.append(late)
        self._arm()

    def _published(self, late: LateWill, error: NotDone | None) -> None:
        if isinstance(error, Unavailable):
            self._wait(late)
            return
        self.published_count += 1
        self._forget(late)

    def _forget(self, late: LateWill) -> None:
        if late.key and late.shard not in self._store.closed:
            self._store.fold(late.shard, late.key, gone(LATE_WILL))
