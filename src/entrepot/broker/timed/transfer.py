"""transfer(): one record from one queue to another, staged; the caller stages its end at the source in the same commit."""

from __future__ import annotations

from entrepot.broker.logs.cursor import Cursor
from entrepot.broker.timed.timed_state import TimedState
from entrepot.model.entry import HAS_DELIVER_AT, HAS_EXPIRY, HAS_GROUPS, HAS_PRIORITY, HAS_SENT_TIME, TRANSIENT

_OF_RECORDS = HAS_EXPIRY | HAS_PRIORITY | HAS_DELIVER_AT | TRANSIENT | HAS_GROUPS  # flags that go with a record elsewhere


def transfer(source: TimedState, target: TimedState, cursor: Cursor, offset: int, name: str, new_id: bytes = b"") -> int:
    """Append the record at `offset`, which `cursor` has located, to `target`: its offset there. `name`: where it is dead-lettered from.

    It keeps its age, but in a queue that orders groups, where it begins anew (as SQS has it). With `new_id`, 16 random octets, it is a new message.
    """
    entry = cursor.entry
    codec = source.hub.codec(cursor.tag)
    data = cursor.data()
    position = cursor.position_of(offset)
    sent_ms = -1
    flags = entry.flags & _OF_RECORDS
    if not target.ordered and not new_id:
        if entry.flags & HAS_SENT_TIME:
            sent_ms = codec.sent_time_ms(data, position)
        if sent_ms < 0:
            sent_ms = entry.append_time_ms
        flags |= HAS_SENT_TIME
    record = codec.split(data, position, 1)[0]
    record = codec.renewed(record, new_id) if new_id else codec.moved(record, name, sent_ms, source.now_ms())
    base: int = target.sending.stage(cursor.tag, codec.version, flags, record, 1)
    if flags & HAS_GROUPS and target.scan is None:
        target.look_at_groups()
    target.store.urgent()
    return base
