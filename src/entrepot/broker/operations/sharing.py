"""Sharing: what the requests of calls/shared_requests.py do, where the catalogue is decided."""

from __future__ import annotations

from entrepot.broker.calls.port import Ask
from entrepot.broker.calls.shared_requests import JoinShared, LeaveShared
from entrepot.broker.catalogue.shared import Shared
from entrepot.broker.front.door import Door
from entrepot.broker.operations.operations import FurtherHandler, Outcome
from entrepot.broker.operations.parts import BrokerParts
from entrepot.broker.users.authorization import Action, ResourceKind
from entrepot.model.errors import Reason, Refused


class Sharing:
    """The requests, over one broker."""

    def __init__(self, broker: BrokerParts) -> None:
        self._broker = broker
        self._shared = Shared(broker.decisions)

    def handlers(self) -> dict[type, FurtherHandler]:
        """For Operations."""
        return {JoinShared: self._join, LeaveShared: self._leave}

    def sweep(self) -> None:
        """The catalogue is decided here, and all that others are home of is known."""
        if self._broker.decisions.stream.decides:
            self._shared.sweep()

    def _join(self, door: Door, call: Ask, request: JoinShared) -> Outcome:
        """See JoinShared."""
        broker = self._broker
        authorize = broker.authorizer.authorize
        authorize(door.principal, Action.CONFIGURE, door.namespace, ResourceKind.QUEUE, request.name)
        authorize(door.principal, Action.WRITE, door.namespace, ResourceKind.QUEUE, request.name)
        authorize(door.principal, Action.READ, door.namespace, ResourceKind.EXCHANGE, request.exchange)
        member = broker.catalogue.find_queue(door.namespace, request.member, door.home)
        if member.is_topic:
            raise Refused(Reason.NOT_SUPPORTED, f"'{request.member}' is a stream: it cannot be a member of a shared subscription")
        self._shared.join(
            door.namespace,
            request.name,
            request.exchange,
            request.pattern,
            member,
            request.arguments,
            request.queue_arguments,
            door.home,
            door.principal.name,
        )
        return None, broker.decisions.stream.ticket()

    def _leave(self, door: Door, call: Ask, request: LeaveShared) -> Outcome:
        """See LeaveShared."""
        broker = self._broker
        member = broker.catalogue.maybe_queue(door.namespace, request.member)
        if member is not None:
            member = broker.catalogue.find_queue(door.namespace, request.member, door.home)
            self._shared.leave(door.namespace, request.name, member)
        return None, broker.decisions.stream.ticket()
