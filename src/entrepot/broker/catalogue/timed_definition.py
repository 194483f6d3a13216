"""TimedDefinition: what is kept of a queue whose leases are timed, with its definition in the catalogue (docs/formats/catalogue.md)."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from entrepot.broker.calls.queue_requests import TimedPolicy
from entrepot.broker.catalogue.queue_arguments import QueuePolicy


@dataclass(slots=True)
class TimedDefinition:
    """Times are in seconds since 1970. `policy_version` grows with every change of `access_policy`."""

    policy: TimedPolicy
    attributes: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    created_s: int = 0
    modified_s: int = 0
    policy_version: int = 0
    access_policy: str = ""

    def size(self) -> int:
        """Bytes of what its users say of it."""
        texts = (*self.attributes, *self.attributes.values(), *self.tags, *self.tags.values(), self.access_policy)
        return sum(len(text.encode(errors="replace")) for text in texts)

    def kept(self) -> dict[str, Any]:
        """As plain values; of the policy what is not as by default."""
        plain = TimedPolicy()
        policy: dict[str, Any] = {}
        for one in fields(TimedPolicy):
            value = getattr(self.policy, one.name)
            if value != getattr(plain, one.name):
                policy[one.name] = list(value) if isinstance(value, tuple) else value
        return {
            "policy": policy,
            "attributes": self.attributes,
            "tags": self.tags,
            "created_s": self.created_s,
            "modified_s": self.modified_s,
            "policy_version": self.policy_version,
            "access_policy": self.access_policy,
        }

    @classmethod
    def of(cls, kept: dict[str, Any]) -> TimedDefinition:
        """What kept() gave; fields that are not known are passed over."""
        known = {one.name for one in fields(TimedPolicy)}
        policy: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in kept["policy"].items() if name in known}
        rest = {name: kept[name] for name in ("attributes", "tags", "created_s", "modified_s", "policy_version", "access_policy") if name in kept}
        return cls(TimedPolicy(**policy), **rest)


def timed_by_default(policy: QueuePolicy, now_s: int) -> TimedDefinition:
    """Of a queue that another protocol declared."""
    return TimedDefinition(TimedPolicy(retention_ms=policy.message_ttl_ms or 0), created_s=now_s, modified_s=now_s)
