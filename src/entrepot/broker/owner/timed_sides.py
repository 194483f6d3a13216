"""TimedSides: the sides of live queues whose leases are timed, made and changed as the catalogue says, and what such queues know of others.

What is defined of any queue everybody knows. A live queue is known to those of its own owner, and to those in memory alone, which live beside it: to all
others things go by intent (outbox/).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from entrepot.broker.catalogue.catalogue import Catalogue
from entrepot.broker.catalogue.decisions import Decisions
from entrepot.broker.catalogue.definitions import QueueDefinition
from entrepot.broker.catalogue.timed_definition import TimedDefinition, timed_by_default
from entrepot.broker.logs.hub import Hub
from entrepot.broker.owner.local_owner import LocalOwner
from entrepot.broker.queue.queue import Queue
from entrepot.broker.timed.moves import MoveTasks
from entrepot.broker.timed.redrive import Elsewhere
from entrepot.broker.timed.sending import Sending
from entrepot.broker.timed.timed_queue import TimedQueue
from entrepot.broker.timed.waits import Waits
from entrepot.entropy import Entropy
from entrepot.model.errors import Reason, Refused, Unavailable
from entrepot.store.interface import Log


class TimedSides:
    """Of all owners in this process; holder(log) is who has a log, place(definition) the shard of a queue, wherever it is (OwnerTable)."""

    def __init__(self, hub: Hub, entropy: Entropy, decisions: Decisions, holder: Callable[[Log], LocalOwner], place: Callable[[QueueDefinition], int]) -> None:
        self._hub = hub
        self._entropy = entropy
        self._decisions = decisions
        self.holder = holder
        self.place = place
        self._waits = Waits(hub, _wait_over)
        self.moves = MoveTasks(entropy)
        self.ask_for_timed: Callable[[QueueDefinition], None] | None = None  # has it decided, where the catalogue is decided in another process

    def changed(self, definition: QueueDefinition) -> None:
        """What is said of a queue's timed leases has come to be, or is another: see LiveObjects."""
        if definition.runtime.gone is not None:
            return  # it is done so when its shard opens
        timed: TimedQueue | None = definition.runtime.timed
        if timed is None:
            self.timed_of(definition)
            return
        before = timed.definition
        assert definition.timed is not None
        timed.definition = definition.timed
        _configure(timed, definition)
        if before.access_policy != definition.timed.access_policy:
            timed.withdraw_all(None)  # whoever waits was let in by the policy before

    def timed_of(self, definition: QueueDefinition) -> TimedQueue:
        """The timed side of a live queue; made, if there is none, and said to the catalogue, if that knows of none. Unavailable; Refused."""
        queue: Queue = definition.here()
        timed: TimedQueue | None = queue.timed
        _check_levels(definition)
        if timed is None:
            if definition.timed is None:
                self.make_timed(definition)
                timed = queue.timed
                assert timed is not None  # by changed()
                return timed
            timed = TimedQueue(queue, definition.timed, self._waits, self._entropy.octets(4), Finder(self, queue))
            timed.sending = Sending(timed, self.holder(queue.log).growing)
            queue.timed = timed
            timed.moves = self.moves
            self.moves.open(timed)
            _configure(timed, definition)
        return timed

    def make_timed(self, definition: QueueDefinition) -> None:
        """Say to the catalogue that a queue has timed leases. Unavailable: it is not so yet. Refused: it cannot have any."""
        _check_levels(definition)
        if self.ask_for_timed is not None:
            self.ask_for_timed(definition)
            raise Unavailable(f"queue '{definition.name}' will have timed leases in a moment")
        self._decisions.change_timed(definition, self._default(definition))

    def found(self, namespace: str, name: str) -> QueueDefinition | None:
        """The queue of that name, unless it is one connection's own."""
        catalogue: Catalogue = self._decisions.catalogue
        definition: QueueDefinition | None = catalogue.namespace(namespace).queues.get(name)
        return None if definition is None or definition.exclusive_to is not None else definition

    def elsewhere(self, definition: QueueDefinition) -> Elsewhere:
        """Where a queue is, and what those have to know who send something there."""
        policy = (definition.timed or self._default(definition)).policy
        return Elsewhere((self.place(definition), definition.log_id), policy.groups, policy.dead_letter_queue)

    def _default(self, definition: QueueDefinition) -> TimedDefinition:
        return timed_by_default(definition.policy, self._hub.clock.wall_ms() // 1000)


class Finder:
    """Finds queues of the namespace of one, for its dead letters and moves."""

    def __init__(self, sides: TimedSides, queue: Queue) -> None:
        self._sides = sides
        self._namespace: str = queue.definition.namespace
        self._store = queue.store
        self._volatile = queue.log.volatile

    def __call__(self, name: str) -> TimedQueue | None:
        """The live queue of that name; None: there is none, or one that can have no timed leases. Unavailable: it is not open here, or another owner's."""
        definition = self._sides.found(self._namespace, name)
        if definition is None or definition.policy.max_priority:
            return None
        queue: Queue = definition.here()
        if queue.store is not self._store and not (queue.log.volatile or self._volatile):
            raise Unavailable(f"queue '{name}' is another owner's")
        self._sides.holder(queue.log).seals.check([queue.log])
        return self._sides.timed_of(definition)

    def elsewhere(self, name: str) -> Elsewhere | None:
        """The queue of that name, wherever it is; None: as above."""
        definition = self._sides.found(self._namespace, name)
        return None if definition is None or definition.policy.max_priority else self._sides.elsewhere(definition)


def _check_levels(definition: QueueDefinition) -> None:
    """Refused: a queue with priorities leases to connections alone."""
    if definition.policy.max_priority:
        raise Refused(Reason.NOT_SUPPORTED, f"queue '{definition.name}' has priorities (x-max-priority): its messages are not leased for a time")


def _configure(timed: TimedQueue, definition: QueueDefinition) -> None:
    """Have a live queue do what its definition says."""
    assert definition.timed is not None
    timed.configure()
    timed.sending.configure(definition.timed.policy)
    own = definition.policy.message_ttl_ms
    limits = [limit for limit in (own, definition.timed.policy.retention_ms or None) if limit is not None]
    timed.queue.message_ttl_ms = min(limits, default=-1)
    if limits:
        timed.queue.expirable = True


def _wait_over(call: Any) -> None:
    call.attachment.timed_out(call)
