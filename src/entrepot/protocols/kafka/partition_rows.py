"""Partitions as Metadata lists them, ready: those that one node leads differ by their number alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from entrepot.protocols.kafka.primitives import Writer
from entrepot.protocols.kafka.schema import Encoded, Plan

_INDEX_AT = 2  # a row begins with its error code (i16) and its number (i32), in every version
_MIN_COUNT = 16


class PartitionRows:
    """Rows of Metadata's partitions by version, epoch and node, as many as the largest topic so far had. Of all connections of a process."""

    def __init__(self) -> None:
        self._rows: dict[tuple[int, int, int], tuple[int, bytes]] = {}  # the size of one, and all

    def encoded(self, plan: Plan, version: int, node_id: int, epoch: int, count: int) -> Encoded:
        """`count` partitions, led by `node_id` in `epoch`. `plan`: of the response in that version."""
        size, data = self._of_node(plan, version, node_id, epoch, count)
        return Encoded(count, data[: count * size])

    def spread(self, plan: Plan, version: int, leaders: Sequence[int], epoch: int) -> Encoded:
        """Partitions that are led by several nodes: `leaders` has the id of each one's."""
        count = len(leaders)
        rows = {leader: self._of_node(plan, version, leader, epoch, count) for leader in set(leaders)}
        parts = []
        for number, leader in enumerate(leaders):
            size, data = rows[leader]
            parts.append(data[number * size : (number + 1) * size])
        return Encoded(count, b"".join(parts))

    def _of_node(self, plan: Plan, version: int, node_id: int, epoch: int, count: int) -> tuple[int, bytes]:
        """The size of a row, and `count` rows at least."""
        size, data = self._rows.get((version, epoch, node_id), (0, b""))
        if size == 0 or len(data) < count * size:
            data = _rows(plan, node_id, epoch, max(count, _MIN_COUNT))
            size = len(data) // max(count, _MIN_COUNT)
            self._rows[version, epoch, node_id] = size, data
        return size, data


def _rows(plan: Plan, node_id: int, epoch: int, count: int) -> bytes:
    partitions = _plan_of(_plan_of(plan, "topics"), "partitions")
    node = [node_id]
    row: dict[str, Any] = {"error_code": 0, "partition_index": 0, "leader_id": node_id, "leader_epoch": epoch, "replica_nodes": node, "isr_nodes": node}
    writer = Writer()
    partitions.write(writer, row)
    one = b"".join(writer.finish())[4:]  # without the size that a writer begins with
    before, after = one[:_INDEX_AT], one[_INDEX_AT + 4 :]
    return b"".join([before + number.to_bytes(4, "big") + after for number in range(count)])


def _plan_of(plan: Plan, name: str) -> Plan:
    """Of the elements of the array that has that name."""
    found = next(field.plan for field in plan.fields if field.name == name)
    assert found is not None, name
    return found
