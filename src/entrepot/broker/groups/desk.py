"""Desk: what every group is handed to work with: time, chance, the store, and how calls are answered. And Deadline, a timer that is mostly put off."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any, Protocol

from entrepot.broker.calls.port import DONE, Ask
from entrepot.broker.catalogue.quotas import Quotas
from entrepot.broker.catalogue.shards import Shards
from entrepot.broker.groups.settings import GroupSettings
from entrepot.broker.groups.work import Work
from entrepot.model.errors import Reason, Refused
from entrepot.store.interface import Group, Scheduler


class GroupStore(Protocol):
    """What groups need of a store."""

    def fold(self, shard: int, key: bytes, delta: bytes) -> None:
        """Stage a change of state."""

    def scan(self, shard: int, first: bytes, end: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        """State in the order of keys."""

    def group(self) -> Group:
        """The open group commit."""

    def urgent(self) -> None:
        """Somebody waits for it."""


class Desk:
    """Shared by all groups of a broker."""

    __slots__ = ("clock", "committed_count", "entropy", "holders", "quotas", "rebalance_count", "scheduler", "settings", "shards", "store", "work")

    def __init__(self, scheduler: Scheduler, clock: Any, entropy: Any, store: GroupStore, shards: Shards, settings: GroupSettings, quotas: Quotas) -> None:
        self.scheduler = scheduler
        self.clock = clock
        self.entropy = entropy
        self.store = store
        self.shards = shards
        self.settings = settings
        self.quotas = quotas
        self.work = Work(scheduler.call_soon)
        self.rebalance_count = 0  # generations completed, and target assignments made
        self.committed_count = 0  # offsets
        self.holders: dict[tuple[str, str], dict[Any, None]] = {}  # namespace and topic -> GroupOffsets that have committed some of it

    def shard(self, namespace: str, group: str) -> int:
        """Where a group's state lies."""
        return self.shards.shard("group", namespace, group)

    def wall_ms(self) -> int:
        """Milliseconds since 1970."""
        now: int = self.clock.wall_ms()
        return now

    def new_member_id(self, name: str) -> str:
        """An id never given before: `name` and a UUID."""
        return f"{name}-{uuid.UUID(bytes=self.entropy.octets(16), version=4)}"

    def answer(self, call: Ask, result: Any) -> None:
        """The call is done."""
        call.result = result
        call.outcome = DONE
        if not call.attachment.closed:
            call.attachment.sink.completed(call)

    def answer_when_durable(self, call: Ask, result: Any) -> None:
        """The call is done once everything staged up to now is durable."""
        call.result = result
        self.store.urgent()
        self.store.group().calls.append(call)

    def deadline(self, expired: Callable[[], None]) -> Deadline:
        """A timer that does not run yet."""
        return Deadline(self.scheduler, expired)


LATE_S = 1.0  # a timer later than this: the process stood still, and what was sent to it meanwhile is still to be read
GRACE_MS = 2_000


class Deadline:
    """Calls `expired` when it was not put off in time. Putting off costs an assignment, not a timer.

    Where the process itself stood still there is some grace, for those who wanted to put it off to be heard.
    """

    __slots__ = ("_at_s", "_expired", "_handle", "_scheduler", "_wakes_s")

    def __init__(self, scheduler: Scheduler, expired: Callable[[], None]) -> None:
        self._scheduler = scheduler
        self._expired = expired
        self._at_s: float | None = None
        self._wakes_s = 0.0
        self._handle: Any = None

    @property
    def is_running(self) -> bool:
        """Whether it will expire if nobody does anything."""
        return self._at_s is not None

    def put_off(self, delay_ms: int) -> None:
        """Expire `delay_ms` from now, and not when it would have."""
        at_s = self._scheduler.time() + delay_ms / 1000
        self._at_s = at_s
        if self._handle is not None:
            if self._wakes_s <= at_s:
                return
            self._handle.cancel()
        self._wakes_s = at_s
        self._handle = self._scheduler.call_later(delay_ms / 1000, self._woken)

    def stop(self) -> None:
        """Not at all."""
        self._at_s = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _woken(self) -> None:
        self._handle = None
        if self._at_s is None:
            return
        now_s = self._scheduler.time()
        left_s = self._at_s - now_s
        if now_s - self._wakes_s > LATE_S and left_s < GRACE_MS / 1000:
            self.put_off(GRACE_MS)
        elif left_s > 1e-4:
            self._wakes_s = self._at_s
            self._handle = self._scheduler.call_later(left_s, self._woken)
        else:
            self._at_s = None
            self._expired()


def unknown_member(group: str, member_id: str) -> Refused:
    """The member has to join as a new one."""
    return Refused(Reason.UNKNOWN_MEMBER, f"group '{group}' has no member '{member_id}': join it")
