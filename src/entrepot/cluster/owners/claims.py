"""What a front says of its consumers to another start of an owner: what each holds there, and on what terms it reads."""

from __future__ import annotations

from entrepot.cluster.owners import words
from entrepot.cluster.owners.doors import Reader
from entrepot.cluster.owners.settlements import Ranges
from entrepot.model.ranges import OFFSET_LIMIT

_ALL = 0x7FFFFFFF  # ranges
_U32_MAX = (1 << 32) - 1


def words_of(reader: Reader) -> words.WordsOfConsumer:
    """On what terms it reads."""
    consumer = reader.consumer
    auto_settle = consumer.auto_settle and not reader.settles
    is_getter = consumer.token is None
    terms = (consumer.stream, consumer.pool.limit, consumer.limit, auto_settle, consumer.exclusive, consumer.priority)
    more = (is_getter, is_getter or consumer.auto_settle, consumer.lent, consumer.counts)
    return words.WordsOfConsumer(reader.door.number, consumer.id, *terms, *more)


def claim_of(reader: Reader, unsaid: Ranges) -> words.Claim | None:
    """What a reader had, and what it has settled that may not be durable; None: nothing, or it waits to hear whether it may read."""
    if reader.asked:
        return None
    consumer = reader.consumer
    ranges = sorted([*reader.holds.ranges(0, OFFSET_LIMIT, _ALL), *unsaid])
    reads = consumer.active and consumer.token is not None
    if not reads and not ranges:
        return None
    leased = min(consumer.leased, _U32_MAX) if reader.positions is not None else 0
    where = (ranges, reader.positions, leased, words.words_of_start(reader.start))
    return words.Claim(words_of(reader), reader.log_ids, reads, reader.was_given, min(consumer.credit, _U32_MAX), *where)


def left_of(ended: list[Reader], unsaid: dict[int, Ranges]) -> list[Reader]:
    """Those of readers that have ended that have settled something which may not be durable, each once; they hold nothing else."""
    left = {reader.consumer.id: reader for reader in ended if reader.consumer.id in unsaid}
    for reader in left.values():
        reader.holds.clear()
    return list(left.values())
