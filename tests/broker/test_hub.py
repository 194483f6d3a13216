"""The tick's list of who has work: one that fails costs nobody else a turn."""

from __future__ import annotations

import pytest

from entrepot.broker.logs.hub import Hub
from entrepot.broker.logs.log_owner import LogOwner


class Scheduler:
    def __init__(self) -> None:
        self.callbacks: list[object] = []

    def call_soon(self, callback: object) -> None:
        self.callbacks.append(callback)


class Owner(LogOwner):
    def __init__(self, told: list[str], name: str) -> None:
        self.dirty = False
        self.told = told
        self.name = name

    def dispatch(self) -> None:
        self.told.append(self.name)
        if self.name == "fails":
            raise ZeroDivisionError


def test_an_owner_that_fails_costs_no_other_its_turn() -> None:
    scheduler = Scheduler()
    told: list[str] = []
    hub = Hub(scheduler, None)
    owners = [Owner(told, name) for name in ("first", "fails", "last")]
    for owner in owners:
        hub.mark_dirty(owner)
    assert len(scheduler.callbacks) == 1
    with pytest.raises(ZeroDivisionError):
        hub.run()
    assert told == ["first", "fails"]
    assert len(scheduler.callbacks) == 2, "nobody comes back for the rest"
    hub.run()
    assert told == ["first", "fails", "last"]
    hub.mark_dirty(owners[1])
    with pytest.raises(ZeroDivisionError):
        hub.run()
