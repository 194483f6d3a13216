"""ClassicMember: one member of a group whose members agree among themselves, and the calls of its that wait."""

from __future__ import annotations

from entrepot.broker.calls.group_requests import JoinGroup, MemberDescription
from entrepot.broker.calls.port import Ask
from entrepot.broker.groups.desk import Deadline
from entrepot.broker.groups.kept import KeptClassicMember
from entrepot.broker.groups.subscribed_topics import has_topic, topics_end

EMPTY = "Empty"
PREPARING = "PreparingRebalance"  # members are to join again
COMPLETING = "CompletingRebalance"  # the leader is to hand in assignments
STABLE = "Stable"
DEAD = "Dead"  # deleted while it was empty


class ClassicMember:
    """`joining` and `syncing` are its calls that wait for an answer; `session` runs while neither does."""

    __slots__ = (
        "assignment",
        "client_host",
        "client_id",
        "instance_id",
        "is_behind",
        "is_new",
        "joining",
        "member_id",
        "protocols",
        "rebalance_timeout_ms",
        "session",
        "session_timeout_ms",
        "syncing",
        "topics_end",
    )

    def __init__(self, member_id: str, request: JoinGroup, session: Deadline) -> None:
        self.member_id = member_id
        self.instance_id = request.instance_id
        self.client_id = request.client_id
        self.client_host = request.client_host
        self.session = session
        self.assignment = b""
        self.is_new = True  # until its first generation is complete
        self.is_behind = False  # a static one that was away when the last generation was made
        self.joining: Ask | None = None
        self.syncing: Ask | None = None
        self.update(request)

    def update(self, request: JoinGroup) -> None:
        """What it says of itself now."""
        self.session_timeout_ms = request.session_timeout_ms
        self.rebalance_timeout_ms = request.rebalance_timeout_ms
        self.protocols = request.protocols
        self.topics_end = -1  # of the first protocol's metadata, once somebody asked

    def reads(self, topic: str) -> bool:
        """Whether it may be reading `topic`, if it is a consumer."""
        metadata = self.protocols[0][1]
        if self.topics_end < 0:
            self.topics_end = topics_end(metadata)
        return self.topics_end == 0 or has_topic(metadata, self.topics_end, topic)

    def size(self) -> int:
        """Of what it says of itself."""
        return size_of(self.protocols, self.member_id, self.instance_id, self.client_id, self.client_host)

    def metadata(self, protocol: str) -> bytes:
        """What it says under one protocol."""
        return next((metadata for name, metadata in self.protocols if name == protocol), b"")

    def first_of(self, candidates: set[str]) -> str:
        """Its vote: the protocol it prefers."""
        return next(name for name, _ in self.protocols if name in candidates)

    def kept(self) -> KeptClassicMember:
        """As it is kept."""
        return KeptClassicMember(
            self.member_id,
            self.instance_id,
            self.client_id,
            self.client_host,
            self.session_timeout_ms,
            self.rebalance_timeout_ms,
            self.protocols,
            self.assignment,
            self.is_behind,
        )

    @classmethod
    def of_kept(cls, kept: KeptClassicMember, session: Deadline) -> ClassicMember:
        """A member of a complete generation."""
        request = JoinGroup(
            "",
            kept.member_id,
            kept.instance_id,
            kept.client_id,
            kept.client_host,
            kept.session_timeout_ms,
            kept.rebalance_timeout_ms,
            "",
            kept.protocols,
        )
        member = cls(kept.member_id, request, session)
        member.assignment = kept.assignment
        member.is_new = False
        member.is_behind = kept.is_behind
        return member

    def describe(self, protocol: str, is_stable: bool) -> MemberDescription:
        """For DescribeGroup: what it says under `protocol`, and what it was assigned."""
        return MemberDescription(
            self.member_id,
            self.instance_id,
            self.client_id,
            self.client_host,
            metadata=self.metadata(protocol) if is_stable else b"",
            assignment=self.assignment if is_stable else b"",
            is_classic=True,
        )


def size_of(protocols: list[tuple[str, bytes]], *ids: str | None) -> int:
    """Bytes of what a member says of itself."""
    return sum(len(name) + len(metadata) for name, metadata in protocols) + sum(len(one or "") for one in ids)
