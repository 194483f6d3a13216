"""ConsumerMember: one member of a group whose coordinator assigns; and the step by which it gets nearer to its target.

    STABLE      it has its target, or has not been told of a newer one
    UNREVOKED   it is to give up `revoking`, and has not said yet that it did; until then they are its own
    UNRELEASED  it has what it can have of its target; the rest still belongs to others

A partition has one owner: a member it is assigned to, or who is to give it up. Only what has no owner is given away.
"""

from __future__ import annotations

from entrepot.broker.calls.group_requests import MemberDescription
from entrepot.broker.groups.assignors import Partitions
from entrepot.broker.groups.desk import Deadline
from entrepot.broker.groups.kept import KeptMember, partitions_kept

STABLE = 0
UNREVOKED = 1
UNRELEASED = 2

TOPIC_BYTES = 100  # what it costs to know of a topic that a member reads

STATIC_AWAY = -2  # epoch of a static member that said that it will be back


class Owners:
    """Who has which partition of a group."""

    __slots__ = ("_owners",)

    def __init__(self) -> None:
        self._owners: dict[bytes, dict[int, ConsumerMember]] = {}

    def get(self, topic: bytes, partition: int) -> ConsumerMember | None:
        """Its owner."""
        partitions = self._owners.get(topic)
        return None if partitions is None else partitions.get(partition)

    def set(self, member: ConsumerMember, owned: Partitions) -> None:
        """All of these are the member's now."""
        for topic, partitions in owned.items():
            mine = self._owners.setdefault(topic, {})
            for partition in partitions:
                assert mine.get(partition, member) is member, (topic, partition)
                mine[partition] = member

    def release(self, member: ConsumerMember, owned: Partitions) -> None:
        """The member has none of these any more."""
        for topic, partitions in owned.items():
            mine = self._owners.get(topic)
            if mine is None:
                continue
            for partition in partitions:
                if mine.get(partition) is member:
                    del mine[partition]
            if not mine:
                del self._owners[topic]


class ConsumerMember:
    """`topics`: what it reads, by name, expressions resolved. `session` runs always, `revocation` while it is UNREVOKED."""

    __slots__ = (
        "assigned",
        "assignor",
        "client_host",
        "client_id",
        "epoch",
        "instance_id",
        "member_id",
        "own_topics",
        "previous_epoch",
        "principal",
        "rack_id",
        "rebalance_timeout_ms",
        "revocation",
        "revoking",
        "session",
        "state",
        "subscribed_names",
        "subscribed_regex",
        "target",
        "topics",
    )

    def __init__(self, member_id: str, instance_id: str | None, session: Deadline, revocation: Deadline) -> None:
        self.member_id = member_id
        self.instance_id = instance_id
        # what it says of itself
        self.rack_id: str | None = None
        self.client_id = ""
        self.client_host = ""
        self.principal = ""
        self.rebalance_timeout_ms = -1
        self.subscribed_names: list[str] = []
        self.subscribed_regex: str | None = None
        self.assignor: str | None = None
        self.topics: frozenset[str] = frozenset()
        self.own_topics = 0  # of these that no other member's are the same set as
        # where it is
        self.epoch = 0
        self.previous_epoch = 0
        self.state = STABLE
        self.assigned: Partitions = {}
        self.revoking: Partitions = {}
        self.target: Partitions = {}
        # timers
        self.session = session
        self.revocation = revocation

    def size(self) -> int:
        """Of what it says of itself, and of what that means."""
        ids = (self.member_id, self.instance_id or "", self.rack_id or "", self.client_id, self.client_host, self.subscribed_regex or "")
        return sum(map(len, ids)) + sum(map(len, self.subscribed_names)) + TOPIC_BYTES * self.own_topics

    def take_over(self, other: ConsumerMember) -> None:
        """Be what a static member was that is gone; its partitions are in nobody's hands meanwhile."""
        self.rack_id, self.assignor, self.rebalance_timeout_ms = other.rack_id, other.assignor, other.rebalance_timeout_ms
        self.subscribed_names, self.subscribed_regex = other.subscribed_names, other.subscribed_regex
        self.assigned, self.target = other.assigned, other.target

    def is_settled(self, assignment_epoch: int) -> bool:
        """It has its whole target; or it is away, and would have it."""
        return self.state == STABLE and self.epoch in (assignment_epoch, STATIC_AWAY)

    def owns_one_of(self, owned: dict[bytes, list[int]], partitions: Partitions) -> bool:
        """Whether it says that it still has one of `partitions`."""
        return any(not partitions[topic].isdisjoint(held) for topic, held in owned.items() if topic in partitions)

    def has_no_more_than_assigned(self, owned: dict[bytes, list[int]]) -> bool:
        """Whether all that it says it has is assigned to it."""
        return all(self.assigned.get(topic, set()).issuperset(held) for topic, held in owned.items())

    def advance(self, owned: dict[bytes, list[int]] | None, assignment_epoch: int, owners: Owners) -> bool:
        """The next step towards its target; `owned` is what it says it has, None if it did not say. Whether anything has changed."""
        if self.state == STABLE and self.epoch == assignment_epoch:
            return False
        if self.state == UNREVOKED:
            if owned is None or self.owns_one_of(owned, self.revoking):
                return False
            owners.release(self, self.revoking)
            self.revoking = {}
            self.state = STABLE
            self._towards(owned, assignment_epoch, owners)
            return True
        before = self.epoch, self.state, self.assigned
        self._towards(owned, assignment_epoch, owners)
        return before != (self.epoch, self.state, self.assigned)

    def _towards(self, owned: dict[bytes, list[int]] | None, assignment_epoch: int, owners: Owners) -> None:
        target, assigned = self.target, self.assigned
        kept = {topic: both for topic, partitions in assigned.items() if (both := partitions & target.get(topic, set()))}
        leaving = {topic: gone for topic, partitions in assigned.items() if (gone := partitions - target.get(topic, set()))}
        if leaving and (owned is None or self.owns_one_of(owned, leaving)):
            self.assigned, self.revoking, self.state = kept, leaving, UNREVOKED
            return
        owners.release(self, leaving)
        self.state = STABLE
        coming: Partitions = {}
        for topic, partitions in target.items():
            for partition in partitions - kept.get(topic, set()):
                if owners.get(topic, partition) is None:
                    coming.setdefault(topic, set()).add(partition)
                else:
                    self.state = UNRELEASED
        owners.set(self, coming)
        self.assigned = {topic: kept.get(topic, set()) | coming.get(topic, set()) for topic in {**kept, **coming}}
        if self.epoch != assignment_epoch:
            self.previous_epoch, self.epoch = self.epoch, assignment_epoch

    # ---- what is kept

    def kept(self) -> KeptMember:
        """As it is kept."""
        return KeptMember(
            self.instance_id,
            self.rack_id,
            self.client_id,
            self.client_host,
            self.principal,
            self.rebalance_timeout_ms,
            self.subscribed_names,
            self.subscribed_regex,
            self.assignor,
            self.epoch,
            self.previous_epoch,
            self.state,
            partitions_kept(self.assigned),
            partitions_kept(self.revoking),
        )

    def restore(self, kept: KeptMember) -> None:
        """As it was kept."""
        self.rack_id, self.client_id, self.client_host, self.principal = kept.rack_id, kept.client_id, kept.client_host, kept.principal
        self.rebalance_timeout_ms = kept.rebalance_timeout_ms
        self.subscribed_names, self.subscribed_regex, self.assignor = kept.subscribed_names, kept.subscribed_regex, kept.assignor
        self.epoch, self.previous_epoch, self.state = kept.epoch, kept.previous_epoch, kept.state
        self.assigned = {topic: set(partitions) for topic, partitions in kept.assigned.items()}
        self.revoking = {topic: set(partitions) for topic, partitions in kept.revoking.items()}
        self.target = {topic: set(partitions) for topic, partitions in kept.assigned.items()}

    def describe(self) -> MemberDescription:
        """For DescribeGroup."""
        return MemberDescription(
            self.member_id,
            self.instance_id,
            self.client_id,
            self.client_host,
            member_epoch=self.epoch,
            rack_id=self.rack_id,
            subscribed_names=list(self.subscribed_names),
            subscribed_regex=self.subscribed_regex,
            assigned=partitions_kept(self.assigned),
            target=partitions_kept(self.target),
        )
