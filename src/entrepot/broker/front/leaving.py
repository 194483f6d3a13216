"""Whether a connection might as well be in another process, as far as its door knows."""

from __future__ import annotations

from typing import Any

from entrepot.broker.front.door import Door
from entrepot.model.errors import NotDone

PATHS_MAX = 64  # addresses that a connection may have used that goes to another process


def process_of(door: Door, queue: str) -> str:
    """The other process that has all of what is read by that name; empty: this one, several, or nobody knows."""
    broker: Any = door.broker
    try:
        by_owner = broker.owners.by_owner(broker.catalogue.find_queue(door.namespace, queue, door.home))
    except NotDone:  # as who reads it will be told
        return ""
    return str(broker.owners.process_of(by_owner))


def may_leave(door: Door, process: str) -> bool:
    """Whether nothing that it has is bound to this process, neither consumers nor queues of its own, and all that it publishes goes to that one."""
    broker: Any = door.broker
    paths = door.paths.values()
    if door.closed or door.consumers or door.reply_path is not None or len(paths) > PATHS_MAX or any(path.spread for path in paths):
        return False
    owners = {lane.owner for path in paths for lane in path.lanes}
    if owners and broker.owners.process_of(owners) != process:
        return False
    return not broker.catalogue.exclusive_queues(door.home)


def owes(door: Door) -> bool:
    """Whether something that was published is still on its way to another process. It is looked for among what all have published."""
    broker: Any = door.broker
    return bool(door.publishes and (broker.held.has(door) or broker.owners.owes(door)))
