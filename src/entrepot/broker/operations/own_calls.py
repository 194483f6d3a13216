"""Calls of the broker itself: asked through a door of its own, as the port's are, by the principal to whom nothing is forbidden."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from entrepot.broker.calls.port import DONE, Call, Delivery, Sink, make_ask
from entrepot.broker.front.door import Door
from entrepot.broker.operations.parts import BrokerParts
from entrepot.model.errors import NotDone
from entrepot.model.principal import BROKER

NO_CODEC = 0  # of doors that are delivered nothing
NO_CONNECTION = (1 << 63) - 1  # the broker's own, among the connections of a start

Done = Callable[[NotDone | None, Any], object]


def ask_as_broker(broker: BrokerParts, namespace: str, request: Any, done: Done, *, waits: bool = False) -> None:
    """done(why not, or None, the result). `waits`: see Attachment.wait_for_catalogue()."""
    door = Door(broker, _Waiting(done), BROKER, namespace, NO_CODEC, False, (broker.start_id, NO_CONNECTION))
    if waits:
        door.wait_for_catalogue()
    door.submit(make_ask(0, request))


class _Waiting(Sink):
    """Hears of one call."""

    __slots__ = ("_done",)

    def __init__(self, done: Done) -> None:
        self._done = done

    def completed(self, call: Call) -> None:
        """See port.Sink."""
        if call.outcome == DONE:
            self._done(None, call.result)
        else:
            self._done(call.error, None)

    def deliver(self, delivery: Delivery) -> int:
        """See port.Sink: it consumes nothing."""
        raise AssertionError(delivery)

    def cancelled(self, token: Any) -> None:
        """See port.Sink."""

    def revoked(self, reason: str) -> None:
        """See port.Sink."""

    def throttle(self, blocked: bool, reason: str) -> None:
        """See port.Sink."""
