"""Revocation: what users may do has changed, and whoever is connected is asked again, a few hundred doors in a turn of the loop.

    routes      are resolved anew at once: publishers' permissions, and what bindings of their makers carry (catalogue/routing.py)
    a door      whose user is gone, whose password or access key is another, or whose namespace is closed to it: is closed, its session told
    a consumer  of what may not be read any more: is cancelled, as if its queue had been deleted; what it holds it may still settle
    what waits  a read of topics is answered, a receive of a queue ends with nothing: the next one is refused

Every other call asks when it comes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from entrepot.broker.front.door import Door
from entrepot.broker.subscription.consumer import Consumer
from entrepot.broker.users.authorization import Action
from entrepot.model.names import vhost_of
from entrepot.model.principal import GUEST, Principal
from entrepot.store.interface import Scheduler

TURN_MAX = 500  # doors, and consumers of theirs, in one turn
CACHE_MAX = 65_536  # answers remembered; one more forgets all


class Revocation:
    """Of one broker. `ended_count`: doors that were closed; `cancelled_count`: consumers that were cancelled."""

    def __init__(self, scheduler: Scheduler, catalogue: Any, authorizer: Any, doors: set[Door], stop_consumer: Callable[[Door, Consumer], None]) -> None:
        self._scheduler = scheduler
        self._catalogue = catalogue
        self._authorizer = authorizer
        self._doors = doors
        self._stop_consumer = stop_consumer
        self._waiting: list[Door] = []  # to be asked
        self._scheduled = False
        self._carries: dict[tuple[str, str, tuple[str, ...]], bool] = {}  # what may_carry() has answered: headers exchanges ask for every message
        self.ended_count = 0
        self.cancelled_count = 0
        catalogue.guard(self.may_carry)
        authorizer.watch(self.users_changed)

    def may_carry(self, namespace: str, topic: str, makers: tuple[str, ...]) -> bool:
        """Whether a binding of these makers carries what the topic sends on: one of them may read it. Where they are not known it is guest's."""
        key = (namespace, topic, makers)
        answer = self._carries.get(key)
        if answer is None:
            if len(self._carries) >= CACHE_MAX:
                self._carries.clear()
            answer = any(self._authorizer.may(Principal(maker), Action.READ, namespace, topic) for maker in makers or (GUEST,))
            self._carries[key] = answer
        return answer

    def users_changed(self) -> None:
        """Ask everybody again."""
        self._carries.clear()
        self._catalogue.routes_changed()
        self._waiting = list(self._doors)
        if not self._scheduled:
            self._turn()

    def statistics(self) -> dict[str, float]:
        """Figures for metrics."""
        return {"attachments_revoked_total": self.ended_count, "consumers_revoked_total": self.cancelled_count}

    def _turn(self) -> None:
        self._scheduled = False
        left = TURN_MAX
        while self._waiting and left > 0:
            door = self._waiting.pop()
            if not door.closed:
                left -= 1 + len(door.consumers)
                self._ask(door)
        if self._waiting:
            self._scheduled = True
            self._scheduler.call_soon(self._turn)

    def _ask(self, door: Door) -> None:
        authorizer = self._authorizer
        principal = door.principal
        if not authorizer.is_current(principal):
            self._end(door, f"user '{principal.name}' was deleted, or has other credentials")
        elif not door.by_policy and not authorizer.may_use(principal, door.namespace):
            self._end(door, f"access to vhost '{vhost_of(door.namespace)}' was taken from user '{principal.name}'")
        else:
            door.principal = door.topics.principal = authorizer.refreshed(principal)
            self._ask_consumers(door)
            door.ask_again()

    def _end(self, door: Door, reason: str) -> None:
        self.ended_count += 1
        door.close()
        door.sink.revoked(reason)

    def _ask_consumers(self, door: Door) -> None:
        may = self._authorizer.may
        for consumer in list(door.consumers.values()):
            if consumer.token is None or not consumer.active or consumer.source is None:
                continue
            if may(door.principal, Action.READ, door.namespace, consumer.source.name):
                continue
            self.cancelled_count += 1
            self._stop_consumer(door, consumer)
            door.sink.cancelled(consumer.token)
