"""What a session may ask of shared subscriptions: queues that several sessions consume from, each record going to one of them. Requests of a port.Ask.

A shared subscription has a name. Its queue has that name, is durable, and is bound to an exchange by a pattern; who consumes from it gets records as from any
queue: what one has not settled when its connection ends goes to another. Its members are queues: it is there as long as one of them is, and has not left.
So a session that is kept is a member while its client is away, and one that is not stops being one when its connection ends.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field


class JoinShared(Struct):
    """Make a queue of the session a member; the subscription, if it is not there. result: None. Then its queue, `name`, may be consumed from.

    That a queue is a member is a binding: from the exchange `name` to that queue, with `pattern` for a routing key, and `arguments`; it is listed as others
    are. Joining again with other arguments replaces them. `queue_arguments`: of the queue, if it is made now (x-max-length, say).

    Refused NOT_PERMITTED: CONFIGURE and WRITE of the queue `name`, and READ of the exchange are needed; EXISTS_DIFFERENT: there is a queue or an exchange of
    that name that is no shared subscription's; INVALID: it cannot be a queue's name (255 bytes); LIMIT.
    """

    name: str
    pattern: str
    member: str
    arguments: dict[str, Any] = field(default_factory=dict)
    queue_arguments: dict[str, Any] = field(default_factory=dict)
    exchange: str = "amq.topic"


class LeaveShared(Struct):
    """A queue is a member no more; the last one takes the subscription along, with what lies in its queue. result: None; also if it was none."""

    name: str
    member: str
