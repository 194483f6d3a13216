"""Authorized operations: what a user may do, as Kafka's answers tell it where they are asked to (KIP-430): a set of bits, numbered as AclOperation."""

from __future__ import annotations

READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS, IDEMPOTENT_WRITE = 3, 4, 5, 6, 7, 8, 10, 11, 12

_Table = dict[str, tuple[int, ...]]

TOPIC: _Table = {
    "read": (READ, DESCRIBE, DESCRIBE_CONFIGS),
    "write": (WRITE, DESCRIBE, DESCRIBE_CONFIGS),
    "configure": (CREATE, DELETE, ALTER, ALTER_CONFIGS, DESCRIBE, DESCRIBE_CONFIGS),
}
GROUP: _Table = {"read": (READ, DESCRIBE), "configure": (DELETE,)}
CLUSTER: _Table = {
    "read": (DESCRIBE, DESCRIBE_CONFIGS),
    "write": (IDEMPOTENT_WRITE, DESCRIBE, DESCRIBE_CONFIGS),
    "configure": (CREATE, DESCRIBE, DESCRIBE_CONFIGS),
}
"""Each permission's operations. What nobody may do over this protocol (the cluster's settings, a group's) is not among them."""


def bits(table: _Table, actions: set[str]) -> int:
    """The operations that permissions amount to."""
    found = 0
    for action in actions:
        for operation in table.get(action, ()):
            found |= 1 << operation
    return found
