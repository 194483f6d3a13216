"""What is kept of a partition whose subject hop is behind: up to where its records were sent on, and which targets the rest may go to.

Format: docs/formats/subject-positions.md. A partition without a row has sent on, in the commit that appended it, all that is in it.
"""

from __future__ import annotations

from entrepot.broker.state import DELETE, SUBJECT_PREFIX, set_value
from entrepot.model.errors import CorruptData
from entrepot.store.interface import LOG_ID_SIZE, Log, Store

TARGET_ID_SIZE = 16

_FORMAT = b"\x01"
_KEY_SIZE = len(SUBJECT_PREFIX) + LOG_ID_SIZE
_POSITION_SIZE = 8

Era = tuple[int, frozenset[bytes]]
"""Records from an offset on may go to the targets of these ids, which were what the subject could reach when they were appended."""


def stage_position(store: Store, log: Log, position: int) -> None:
    """Records below `position` have been sent on."""
    store.fold(log.shard, _key(log.id), set_value(_FORMAT + position.to_bytes(_POSITION_SIZE, "little")))


def pack_targets(targets: frozenset[bytes]) -> bytes:
    """An era's, for stage_era()."""
    return set_value(_FORMAT + b"".join(sorted(targets)))


def stage_era(store: Store, log: Log, first: int, packed: bytes) -> None:
    """One begins at `first`, or has changed."""
    store.fold(log.shard, _era_key(log.id, first), packed)


def stage_era_end(store: Store, log: Log, era: Era) -> None:
    """All of its records have been sent on."""
    store.fold(log.shard, _era_key(log.id, era[0]), DELETE)


def stage_end(store: Store, log: Log, eras: list[Era]) -> None:
    """Nothing is behind any more. `eras`: those that are left."""
    store.fold(log.shard, _key(log.id), DELETE)
    for era in eras:
        stage_era_end(store, log, era)


class KeptHop:
    """What is kept of one partition. `eras` are in order of their offsets."""

    __slots__ = ("eras", "keys", "position")

    def __init__(self) -> None:
        self.position = -1
        self.eras: list[Era] = []
        self.keys: list[bytes] = []


def read_kept(rows: list[tuple[bytes, bytes]]) -> dict[bytes, KeptHop]:
    """Rows of a shard, ascending by key, by the log's id. CorruptData for what no version wrote."""
    found: dict[bytes, KeptHop] = {}
    for key, value in rows:
        if value[:1] != _FORMAT:
            raise CorruptData(f"subject position {key!r} has format {value[:1]!r}, expected 1")
        kept = found.setdefault(key[len(SUBJECT_PREFIX) : _KEY_SIZE], KeptHop())
        kept.keys.append(key)
        if len(key) == _KEY_SIZE and len(value) == 1 + _POSITION_SIZE:
            kept.position = int.from_bytes(value[1:], "little")
        elif len(key) == _KEY_SIZE + _POSITION_SIZE and len(value) % TARGET_ID_SIZE == 1:
            ids = frozenset(value[at : at + TARGET_ID_SIZE] for at in range(1, len(value), TARGET_ID_SIZE))
            kept.eras.append((int.from_bytes(key[_KEY_SIZE:], "big"), ids))
        else:
            raise CorruptData(f"subject position {key!r} is not one: {len(value)} bytes")
    for log_id, kept in found.items():
        if kept.position < 0 or not kept.eras:
            raise CorruptData(f"of log {log_id.hex()} there are {len(kept.eras)} eras of its subject, and position {kept.position}")
    return found


def _key(log_id: bytes) -> bytes:
    return SUBJECT_PREFIX + log_id


def _era_key(log_id: bytes, first: int) -> bytes:
    return SUBJECT_PREFIX + log_id + first.to_bytes(_POSITION_SIZE, "big")
