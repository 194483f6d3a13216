"""GroupSettings: the figures that groups are run by."""

from __future__ import annotations

from dataclasses import dataclass

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """Times and limits; names in brackets are Kafka's for the same."""

    # groups whose members agree among themselves
    initial_rebalance_delay_ms: int = 100  # an empty group waits so long for more members (group.initial.rebalance.delay.ms, there 3000)
    session_timeout_min_ms: int = 6_000  # group.min.session.timeout.ms
    session_timeout_max_ms: int = 1_800_000  # group.max.session.timeout.ms
    new_member_timeout_ms: int = 300_000  # a member that waits for its first generation is given up after this
    # groups whose coordinator assigns
    consumer_session_timeout_ms: int = 45_000  # group.consumer.session.timeout.ms
    consumer_heartbeat_interval_ms: int = 5_000  # group.consumer.heartbeat.interval.ms
    # offsets
    offsets_retention_ms: int = 7 * DAY_MS  # of a group without members (offsets.retention.minutes)
    offsets_check_interval_ms: int = 600_000  # offsets.retention.check.interval.ms
    offset_metadata_bytes: int = 4_096  # with one offset (offset.metadata.max.bytes)
    # limits
    members_max: int = 10_000  # of one group (group.max.size)
    metadata_bytes_max: int = 1 << 20  # what one member says of itself: protocols, or subscription; and what it is assigned
