"""Sweep: offsets of groups without members expire after a time, and a group that has neither members nor offsets is forgotten.

It goes over the groups in pieces, between which shards may close: what has left is passed over, and swept by who has it then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from entrepot.broker.groups.classic import ClassicGroup
from entrepot.broker.groups.consumer import ConsumerGroup
from entrepot.broker.groups.desk import Desk
from entrepot.broker.groups.offsets import GroupOffsets
from entrepot.broker.groups.work import Pieces

GroupKey: TypeAlias = tuple[str, str]  # namespace, name
AnyGroup: TypeAlias = ClassicGroup | ConsumerGroup

LOOK_STEPS = 3  # of looking at one group, of work.py


class Sweep:
    """Over the groups of one coordinator, and their offsets. forget(group) ends one that is not needed any more."""

    def __init__(self, desk: Desk, groups: Mapping[GroupKey, AnyGroup], offsets: Mapping[GroupKey, GroupOffsets], forget: Callable[[AnyGroup], None]) -> None:
        self._desk = desk
        self._groups = groups
        self._offsets = offsets
        self._forget = forget
        self._arranged = False

    def later(self) -> None:
        """There are groups: sweep after a while, and again as long as there are any."""
        if not self._arranged:
            self._arranged = True
            self._desk.scheduler.call_later(self._desk.settings.offsets_check_interval_ms / 1000, self._begin)

    def _begin(self) -> None:
        self._desk.work.run(self._sweeping())

    def _sweeping(self) -> Pieces:
        for key in list(self._groups):
            yield LOOK_STEPS
            group = self._groups.get(key)
            if group is None or not group.is_empty:
                continue
            offsets = self._offsets.get(key)
            before_ms = self._desk.wall_ms() - self._desk.settings.offsets_retention_ms
            if offsets is not None and (group.since_ms <= before_ms or not group.protocol_type):
                yield from offsets.expiring(before_ms)
            if self._groups.get(key) is group and group.is_empty and (offsets is None or not offsets.table):
                self._forget(group)
        self._arranged = False
        if self._groups:
            self.later()
