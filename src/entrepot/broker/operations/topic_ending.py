"""Partitions that nobody finds any more end: a topic was deleted, or does not come to be. What there was of them goes over turns of the loop.

Ten thousand partitions are ten thousand logs and as many objects of the broker's. What counts is the commit in which the catalogue loses the topic: of what
goes after it, a piece in a commit, the rest goes when its shard opens again, after a crash too, since no definition names it (LiveObjects.drop_unnamed()).
"""

from __future__ import annotations

from collections.abc import Iterable

from entrepot.broker.groups.work import Pieces
from entrepot.broker.operations.parts import BrokerParts
from entrepot.broker.operations.steps import ENDED_STEPS
from entrepot.broker.topic.partition import Partition
from entrepot.model.errors import Reason, Refused
from entrepot.store.interface import Log

PIECE = 64


def end_partitions(broker: BrokerParts, topic: str, partitions: list[Partition]) -> None:
    """Have all of them end: who waits for something of one is told, and its log goes. `partitions` is emptied; a piece of it is so before this returns."""
    pieces = _ending(broker, topic, partitions)
    if next(pieces, None) is not None and partitions:
        broker.desk.work.run(pieces)


def drop_logs(broker: BrokerParts, logs: Iterable[Log]) -> None:
    """End logs, and what is known of them, all in this commit."""
    for log in logs:
        broker.transactions.drop(log)
        broker.producers.forget(log)
        broker.owners.store_of(log).drop_log(log)


def _ending(broker: BrokerParts, topic: str, partitions: list[Partition]) -> Pieces:
    gone = Refused(Reason.NOT_FOUND, f"topic '{topic}' has been deleted")
    while partitions:
        piece = partitions[-PIECE:]
        del partitions[-PIECE:]
        here = [partition.log for partition in piece if _is_here(broker, partition.log)]
        for partition in piece:
            partition.close(gone)
        drop_logs(broker, here)
        yield ENDED_STEPS * len(piece)


def _is_here(broker: BrokerParts, log: Log) -> bool:
    """Whether its shard is open, and has not closed meanwhile."""
    store = broker.owners.store_of(log)
    return log.shard not in store.closed and store.log(log.id) is log
