"""What a store must hold: a plain model of its contents, and the check of a store against it.

Operations belong to groups. A group is done once the store said so; those behind it are unknown: after a crash the store must hold
everything that is done, and of the unknown ones the first n for some n, each whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from entrepot.model.entry import Entry
from entrepot.store.interface import Group, Log, Store

RECORD_SIZE = 16  # bytes of a record in a MANY entry
CODEC_MANY = 201  # records of RECORD_SIZE bytes
CODEC_ONE = 202  # one record of any size

Operation = tuple[Any, ...]
"""("create", log id, shard) | ("drop", log id) | ("append", log id, [record]) | ("discard", log id, first, end) | ("mark", log id, offset)
| ("fold", shard, key, delta)"""


class Violation(AssertionError):
    """The store broke a promise."""


def fold(key: bytes, value: bytes | None, delta: bytes) -> bytes | None:
    """A fold that shows every loss, repetition and change of order; an empty delta deletes."""
    if delta == b"":
        return None
    number = int.from_bytes(value or b"", "big") * 31 + int.from_bytes(delta, "big") + len(key)
    return (number % (1 << 64)).to_bytes(8, "big")


def records_of(entry: Entry) -> list[bytes]:
    """The records of an entry of one of the two codecs."""
    data = entry.data
    assert data is not None
    if entry.codec == CODEC_ONE:
        return [data]
    return [data[position : position + RECORD_SIZE] for position in range(0, len(data), RECORD_SIZE)]


@dataclass
class LogModel:
    """One log: offset -> record, of what is not discarded."""

    shard: int
    records: dict[int, bytes] = field(default_factory=dict)
    next_offset: int = 0
    marked_offset: int = 0

    def figures(self) -> tuple[int, int, int, int]:
        """(first, next, marked, how many alive)."""
        return min(self.records, default=self.next_offset), self.next_offset, self.marked_offset, len(self.records)


class StoreModel:
    """The contents after everything that is done, and the unknown groups behind it."""

    def __init__(self) -> None:
        self.logs: dict[bytes, LogModel] = {}
        self.values: dict[tuple[int, bytes], bytes] = {}
        self.unknown: list[tuple[Group, list[Operation]]] = []
        self.reported = 0  # how many of the unknown the store has reported, without a sync: in the weaker modes
        self.seen: set[tuple[bytes, int]] = set()  # (log id, offset) that was delivered from an unknown group

    # ---- what happens

    def staged(self, group: Group, operation: Operation) -> None:
        """An operation was staged in that group."""
        if not self.unknown or self.unknown[-1][0] is not group:
            self.unknown.append((group, []))
        self.unknown[-1][1].append(operation)

    def committed(self, group: Group) -> None:
        """The store says that the group is durable."""
        if not self.unknown or self.unknown[0][0] is not group:
            if any(other is group for other, _ in self.unknown):
                raise Violation("a group was reported durable before one that was staged earlier")
            return  # nothing was staged in it
        for operation in self.unknown.pop(0)[1]:
            self.apply(operation)

    def written(self, group: Group) -> None:
        """The store, in a mode that does not wait for syncs, says that the group is written."""
        if len(self.unknown) > self.reported and self.unknown[self.reported][0] is group:
            self.reported += 1

    def synced(self, sequence: int) -> None:
        """The store says that everything up to this commit is durable after all."""
        while self.reported and self.unknown[0][0].sequence <= sequence:
            self.reported -= 1
            for operation in self.unknown.pop(0)[1]:
                self.apply(operation)

    def delivered(self, log_id: bytes, offset: int, record: bytes) -> None:
        """A reader was given this record, in the mode that waits for syncs."""
        log = self.logs.get(log_id)
        if log is not None and offset in log.records:
            if log.records[offset] != record:
                raise Violation(f"log {log_id.hex()[:8]} offset {offset} was read as {record[:24]!r}, but is {log.records[offset][:24]!r}")
        elif log is None or offset >= log.next_offset:
            self.seen.add((log_id, offset))  # it had better be durable

    def apply(self, operation: Operation) -> None:
        """Change the contents."""
        kind = operation[0]
        if kind == "fold":
            _, shard, key, delta = operation
            value = fold(key, self.values.get((shard, key)), delta)
            if value is None:
                self.values.pop((shard, key), None)
            else:
                self.values[shard, key] = value
            return
        log_id = operation[1]
        if kind == "create":
            self.logs[log_id] = LogModel(operation[2])
            return
        if kind == "drop":
            del self.logs[log_id]
            self.seen = {pair for pair in self.seen if pair[0] != log_id}
            return
        log = self.logs[log_id]
        if kind == "append":
            for record in operation[2]:
                log.records[log.next_offset] = record
                self.seen.discard((log_id, log.next_offset))
                log.next_offset += 1
        elif kind == "discard":
            first, end = operation[2:]
            if end - first > len(log.records):
                log.records = {offset: record for offset, record in log.records.items() if not first <= offset < end}
            else:
                for offset in range(first, end):
                    log.records.pop(offset, None)
        else:
            log.marked_offset = max(log.marked_offset, operation[2])

    # ---- what must be

    def recovered(self, store: Store, run_until: Callable[[Callable[[], bool]], None], *, keeps_reported: bool) -> int:
        """A store was opened: find how many unknown groups it holds, check all of it, and go on from there. How many those were."""
        problems = []
        least = self.reported if keeps_reported else 0
        self.reported = 0
        unknown = self.unknown
        self.unknown = []
        for count in range(len(unknown) + 1):
            if count:
                for operation in unknown[count - 1][1]:
                    self.apply(operation)
            if count < least:
                continue
            problem = self.difference(store)
            if problem is None and self.seen:
                problem = f"{min(self.seen)} was delivered and is gone"
            if problem is None:
                self.check_records(store, run_until)
                return count
            problems.append(f"with {count} of {len(unknown)} unknown groups: {problem}")
        raise Violation("; ".join(problems[:6]))

    def difference(self, store: Store) -> str | None:
        """What of the store's figures and state is not as it must be."""
        present = {log.id: log for log in store.logs()}
        for log_id in set(present) ^ set(self.logs):
            return f"log {log_id.hex()[:8]} {'should not exist' if log_id in present else 'is gone'}"
        for log_id, model in sorted(self.logs.items()):
            log = present[log_id]
            alive = log.next_offset - log.first_offset - sum(end - first for first, end in log.holes())
            figures = (log.first_offset, log.next_offset, log.marked_offset, alive)
            if figures != model.figures():
                return f"log {log_id.hex()[:8]} has first, next, marked, alive {figures}, must have {model.figures()}"
            if log.durable_offset != log.next_offset or log.shard != model.shard:
                return f"log {log_id.hex()[:8]} is durable up to {log.durable_offset} of {log.next_offset}, in shard {log.shard}"
        for shard in sorted({shard for shard, _ in self.values} | {0, 1, 2, 3}):
            found = dict(store.scan(shard, b"", b"\xff" * 32, 1 << 20))
            wanted = {key: value for (of, key), value in self.values.items() if of == shard}
            if found != wanted:
                keys = sorted(key for key in set(found) | set(wanted) if found.get(key) != wanted.get(key))
                return f"state of shard {shard} differs at {keys[:3]}"
        return None

    def check_records(self, store: Store, run_until: Callable[[Callable[[], bool]], None]) -> None:
        """Every record of every log reads as it must."""
        for log_id, model in sorted(self.logs.items()):
            log = store.log(log_id)
            assert log is not None
            wanted = sorted(model.records.items())
            place = 0
            for offset, record in read_records(log, wanted[0][0] if wanted else log.next_offset, run_until):
                while place < len(wanted) and wanted[place][0] < offset:
                    raise Violation(f"log {log_id.hex()[:8]} offset {wanted[place][0]} is gone; the next is {offset}")
                if place < len(wanted) and wanted[place][0] == offset:
                    if wanted[place][1] != record:
                        raise Violation(f"log {log_id.hex()[:8]} offset {offset} is {record[:24]!r}, must be {wanted[place][1][:24]!r}")
                    place += 1
            if place < len(wanted):
                raise Violation(f"log {log_id.hex()[:8]} ends before offset {wanted[place][0]}")


def read_records(log: Log, first: int, run_until: Callable[[Callable[[], bool]], None]) -> Iterator[tuple[int, bytes]]:
    """Every record from `first` to the durable end that is still there, and perhaps discarded neighbours in its entry."""
    reader = log.reader()
    offset = first
    while offset < log.durable_offset:
        stored = reader.at(offset)
        if stored is None:
            done: list[bool] = []
            reader.fetch(offset, lambda done=done: done.append(True))  # type: ignore[misc]
            run_until(lambda done=done: bool(done))  # type: ignore[misc]
            stored = reader.at(offset)
            if stored is None:
                break
        for index, record in enumerate(records_of(stored.entry)):
            if stored.base + index >= offset:
                yield stored.base + index, record
        offset = stored.base + stored.entry.span
    reader.close()
