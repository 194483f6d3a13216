"""The cluster, as Kafka's clients see it: its nodes by ids and addresses, and which of them leads a partition, or coordinates a group.

Node n is broker `kafka.node_id` + n. A broker that is alone is found where it is asked. With several no epoch of leaders is told, which clients take as of a
cluster that has none: each node counts its own starts, and what one would tell of another is out of date where clients must believe it. What they say
themselves is passed over then: librdkafka says 0 where it knows none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from entrepot.broker.calls.port import DONE
from entrepot.model.errors import Reason, Refused
from entrepot.model.nodes import Address, Nodes
from entrepot.protocols.kafka.answers import error_code
from entrepot.protocols.kafka.error_codes import GROUP, ErrorCode

NO_EPOCH = -1
PORT_MAX = 65_535
NODE_ID_MAX = 0x7FFFFFFF
_ANY_HOST = frozenset({"", "0.0.0.0", "::"})


def told_addresses(nodes: Nodes, name: str, shared_port: int, advertised: Address | None) -> list[Address]:
    """Where clients of that listener, which is at `shared_port` at every node, are told that the nodes are; host "": the one that the client has reached.

    Advertised at another port, nodes are as far behind that as they are behind the listener's. Refused: there are no such ports.
    """
    addresses = nodes.addresses.get(name, ())
    if advertised is not None:
        host, further = advertised[0], advertised[1] - shared_port
        if any(not 0 < port + further <= PORT_MAX for _, port in addresses):
            raise Refused(Reason.INVALID, f"{name} advertised at port {advertised[1]}: its {nodes.count} nodes' ports would not all be ports")
        return [(host, port + further) for _, port in addresses]
    return [("" if host in _ANY_HOST else host, port) for host, port in addresses]


def check_ids(nodes: Nodes, first: int) -> None:
    """Refused: there are not so many ids from `first` on."""
    if first + nodes.count - 1 > NODE_ID_MAX:
        raise Refused(
            Reason.INVALID, f"kafka.node_id = {first}: the last of {nodes.count} nodes would be broker {first + nodes.count - 1}; {NODE_ID_MAX} is the greatest"
        )


# ---- nodes: by the numbers of model/nodes.py, and by the ids that clients know


def node_id(session: Any, number: int) -> int:
    """How clients know a node."""
    first: int = session.settings.node_id
    return first + number


def own_id(session: Any) -> int:
    """How clients know this node."""
    return node_id(session, session.settings.nodes.own)


def node_ids(session: Any) -> range:
    """All of them."""
    return range(node_id(session, 0), node_id(session, session.settings.nodes.count))


def brokers(session: Any, id_field: str) -> list[dict[str, Any]]:
    """Those whose address is known, as Metadata and its kin list them."""
    return [found for number in range(session.settings.nodes.count) if (found := maybe_broker(session, number, id_field)) is not None]


def maybe_broker(session: Any, number: int, id_field: str) -> dict[str, Any] | None:
    """One of them; None: nobody has said where it is."""
    settings, reached = session.settings, session.peer
    if number < len(settings.addresses) and settings.nodes.count > 1:
        host, port = settings.addresses[number]
    elif number != settings.nodes.own:
        return None
    else:
        host, port = settings.advertised or (reached.local_host, reached.local_port)
    return {id_field: node_id(session, number), "host": host or reached.local_host, "port": port}


# ---- what is where


def leaders(session: Any, topic: str, partitions: range) -> Sequence[int]:
    """The ids of the nodes that lead these partitions."""
    nodes = session.settings.nodes
    if nodes.count == 1:
        return [node_id(session, 0)] * len(partitions)
    shards = session.port.shards.shards("topic", session.attachment.namespace, topic, partitions)
    return [node_id(session, nodes.of_shard(shard)) for shard in shards]


def not_led(session: Any, topic: str, replicas: Iterable[Sequence[int]], first: int = 0) -> str | None:
    """What is wrong with the brokers that are to have partitions from `first` on: each is one node's, once, whatever anybody would like."""
    wanted = list(replicas)
    for number, (brokers, leader) in enumerate(zip(wanted, leaders(session, topic, range(first, first + len(wanted))), strict=True), first):
        if list(brokers) != [leader]:
            if session.settings.nodes.count == 1:
                return f"there is one broker, {leader}: every partition is its own, once"
            return f"partition {number} is of broker {leader}, and of no other: where a partition is follows from its name"
    return None


def coordinator(session: Any, group: str) -> int:
    """The number of the node that coordinates a group."""
    nodes: Nodes = session.settings.nodes
    if nodes.count == 1:
        return 0
    return nodes.of_shard(session.port.shards.shard("group", session.attachment.namespace, group))


def group_code(exchange: Any, call: Any, table: dict[Reason, ErrorCode] = GROUP) -> int:
    """The code of the outcome of a call about one group. One that is not here now is another node's, or to be tried again."""
    if call.outcome == DONE:
        return 0
    is_ours = coordinator(exchange.session, call.request.group) == exchange.session.settings.nodes.own
    return error_code(exchange, call.error, table, ErrorCode.COORDINATOR_NOT_AVAILABLE if is_ours else ErrorCode.NOT_COORDINATOR)


def undecided(session: Any) -> ErrorCode:
    """What is told of a change that nobody decides just now: whoever asks for it looks for the controller, and tries again."""
    return ErrorCode.NOT_LEADER_OR_FOLLOWER if session.settings.nodes.count == 1 else ErrorCode.NOT_CONTROLLER


def epoch_told(session: Any, epoch: int) -> int:
    """A leader's epoch, as it is told."""
    return epoch if session.settings.nodes.count == 1 else NO_EPOCH


def epoch_known(session: Any, epoch: int) -> int:
    """A leader's epoch that a client says it knows, as far as it counts."""
    return epoch if session.settings.nodes.count == 1 else NO_EPOCH
