"""transfer(): one record from one queue to another, staged; the caller stages its end at the source in the same commit. And its two halves."""

from __future__ import annotations

from entrepot.broker.logs.cursor import Cursor
from entrepot.broker.timed.timed_state import TimedState
from entrepot.model.entry import HAS_DELIVER_AT, HAS_EXPIRY, HAS_GROUPS, HAS_PRIORITY, HAS_SENT_TIME, TRANSIENT

CARRIED_MAX = 1_000_000  # records of the other queue of which is known how often they were received; with more, a further one begins at 0
_OF_RECORDS = HAS_EXPIRY | HAS_PRIORITY | HAS_DELIVER_AT | TRANSIENT | HAS_GROUPS  # flags that go with a record elsewhere


def transfer(source: TimedState, target: TimedState, cursor: Cursor, offset: int, name: str, new_id: bytes = b"") -> int:
    """Append the record at `offset`, which `cursor` has located, to `target`: its offset there. `name`: where it is dead-lettered from.

    It keeps its age, but in a queue that orders groups, where it begins anew (as SQS has it). With `new_id`, 16 random octets, it is a new message.
    """
    flags, record = leaving(source, cursor, offset, name, target.ordered, new_id)
    return arriving(target, cursor.tag, source.hub.codec(cursor.tag).version, flags, record, 1)


def leaving(source: TimedState, cursor: Cursor, offset: int, name: str, anew: bool, new_id: bytes = b"") -> tuple[int, bytes]:
    """The record at `offset`, as it goes: flags and what is packed. `anew`: it goes to a queue that orders groups."""
    entry = cursor.entry
    codec = source.hub.codec(cursor.tag)
    data = cursor.data()
    position = cursor.position_of(offset)
    sent_ms = -1
    flags = entry.flags & _OF_RECORDS
    if not anew and not new_id:
        if entry.flags & HAS_SENT_TIME:
            sent_ms = codec.sent_time_ms(data, position)
        if sent_ms < 0:
            sent_ms = entry.append_time_ms
        flags |= HAS_SENT_TIME
    record = codec.split(data, position, 1)[0]
    return flags, codec.renewed(record, new_id) if new_id else codec.moved(record, name, sent_ms, source.now_ms())


def arriving(target: TimedState, tag: int, version: int, flags: int, data: bytes, count: int) -> int:
    """Append what has left elsewhere: the first one's offset."""
    base: int = target.sending.stage(tag, version, flags, data, count)
    if flags & HAS_GROUPS and target.scan is None:
        target.look_at_groups()
    target.store.urgent()
    return base


def adopt(target: TimedState, offset: int, first_received_ms: int, deliveries: int) -> None:
    """A record that has just arrived was received before. The caller stages `target.kept` behind the last."""
    if target.leases.count < CARRIED_MAX:
        target.leases.adopt(offset, target.now_ms(), first_received_ms, deliveries)
