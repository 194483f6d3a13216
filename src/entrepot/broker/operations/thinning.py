"""Thinning out: what is to be deleted loses its bindings, and a topic the offsets that groups hold of it, some in a turn of the loop, before it goes.

Each commit on the way is a state that the client could have made; until the last one it has not been told that anything is gone.
"""

from __future__ import annotations

from typing import Any

from entrepot.broker.calls.port import Ask, fail
from entrepot.broker.catalogue.definitions import TopicDefinition
from entrepot.broker.front.door import Door
from entrepot.broker.groups.work import STEPS, Pieces
from entrepot.broker.operations.parts import BrokerParts
from entrepot.model.errors import OutcomeUnknown, Reason, Refused, Unavailable

THINNED_AT_ONCE = 200  # bindings, and offsets, that are taken away in a turn of the loop, or with the rest


def is_thick(broker: BrokerParts, definition: Any) -> bool:
    """Whether more goes with a queue or topic than may go with it at once."""
    if isinstance(definition, TopicDefinition) and broker.groups.holds_many(definition.namespace, definition.name, THINNED_AT_ONCE):
        return True
    return len(definition.bindings_in) > THINNED_AT_ONCE


def thin_out(broker: BrokerParts, door: Door, call: Ask, definition: Any) -> None:
    """Do so; when little is left, the call is asked once more, and answered by that."""
    broker.desk.work.run(_thinning(broker, door, call, definition))


def _thinning(broker: BrokerParts, door: Door, call: Ask, definition: Any) -> Pieces:
    begun = False
    try:
        while _thin_out(broker, definition):
            begun = True
            broker.store.urgent()
            yield STEPS
    except Unavailable as error:
        fail(call, OutcomeUnknown(f"{error}; some of what was bound to '{definition.name}' is gone") if begun else error)
        return
    if isinstance(definition, TopicDefinition) and not _is_there(broker, definition):  # what has its name now, if anything, is another
        fail(call, Refused(Reason.NOT_FOUND, f"'{definition.name}' was deleted meanwhile"))
    else:
        broker.ask(door, call)


def _thin_out(broker: BrokerParts, definition: Any) -> bool:
    broker.decisions.stream.check()  # its shard may have closed since the last piece
    many: bool = broker.decisions.thin_out(definition, THINNED_AT_ONCE)
    if isinstance(definition, TopicDefinition) and _is_there(broker, definition):
        many |= broker.groups.thin_out(definition.namespace, definition.name, THINNED_AT_ONCE)
    return many


def _is_there(broker: BrokerParts, topic: TopicDefinition) -> bool:
    return broker.catalogue.topic_by_id(topic.id) is topic
