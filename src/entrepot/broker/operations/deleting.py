"""Deleting: a queue or stream goes as a client asks for it: its owners count and seal what they have of it, the catalogue removes it, or they go on.

Between the counts and the removal nothing comes to it: what was empty is, and how many went is what is said. One that is deleted by two at a time was not
there for the second.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from entrepot.broker.calls.port import DONE, Ask, fail
from entrepot.broker.calls.questions import Seal, Unseal
from entrepot.broker.calls.requests import DeleteQueue
from entrepot.broker.front.door import Door
from entrepot.broker.operations.parts import BrokerParts
from entrepot.broker.operations.steps import QUEUE_STEPS
from entrepot.broker.owners import Owner
from entrepot.model.errors import NotDone


class Deleting:
    """Of one DeleteQueue."""

    def __init__(self, broker: BrokerParts, door: Door, call: Ask, definition: Any) -> None:
        self._broker = broker
        self._door = door
        self._call = call
        self._request: DeleteQueue = call.request
        self._definition = definition
        self._left = 0
        self._sealed: list[tuple[Owner, list[bytes]]] = []
        self._error: NotDone | None = None
        self._ready = 0
        self._consumers = 0

    def begin(self) -> None:
        """Ask every owner of it. Raises Unavailable."""
        request = self._request
        by_owner = self._broker.owners.by_owner(self._definition)
        self._left = len(by_owner)
        for owner, log_ids in by_owner.items():
            owner.ask(Seal(log_ids, request.if_unused, request.if_empty), partial(self._answered, owner, log_ids))

    def _answered(self, owner: Owner, log_ids: list[bytes], error: NotDone | None, answer: Any) -> None:
        self._left -= 1
        if error is None:
            ready, consumers = answer
            self._sealed.append((owner, log_ids))
            self._ready += ready
            self._consumers += consumers  # one that reads at several owners counts at one of them
        else:
            self._error = self._error or error
        if self._left:
            return
        if not self._is_there():
            self._complete(0, False)
        elif self._error is not None:
            self._unseal()
            fail(self._call, self._error)
        else:
            self._remove()

    def _is_there(self) -> bool:
        definition = self._definition
        space = self._broker.catalogue.namespaces.get(definition.namespace)
        return space is not None and definition in (space.queues.get(definition.name), space.topics.get(definition.name))

    def _remove(self) -> None:
        decisions = self._broker.decisions
        request = self._request
        self._door.spent += QUEUE_STEPS
        try:
            decisions.delete_queue(
                self._door.namespace,
                request.name,
                connection=self._door.home,
                if_unused=request.if_unused,
                if_empty=request.if_empty,
                consumers=self._consumers,
                messages=self._ready,
            )
        except NotDone as error:
            self._unseal()
            fail(self._call, error)
            return
        self._complete(self._ready, decisions.stream.kept == decisions.stream.revision)  # exchanges that are kept may go with it, though it is not

    def _unseal(self) -> None:
        for owner, log_ids in self._sealed:
            owner.ask(Unseal(log_ids), _unheard)

    def _complete(self, ready: int, kept: bool) -> None:
        call = self._call
        call.result = ready
        stream = self._broker.decisions.stream
        if kept or stream.is_followed:
            stream.ticket().calls.append(call)
            return
        call.outcome = DONE
        if not call.attachment.closed:
            call.attachment.sink.completed(call)


def _unheard(error: NotDone | None, answer: Any) -> None:
    """What is sealed at an owner that cannot be asked is open again by itself."""
