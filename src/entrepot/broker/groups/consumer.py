"""ConsumerGroup: the coordinator assigns (KIP-848), members say by heartbeats what they read and have.

    group epoch        grows when members come or go, subscriptions change, or topics do
    assignment epoch   the group epoch that the target assignment was made for: made with the next heartbeat after it has grown
    member epoch       the assignment epoch that a member has reached: it has given up what it is to give up (consumer_member.py)

A member is fenced (it is out, and what it had is free) when its session ends, or when it takes longer than its rebalance timeout to give
up what it is to. Member ids are the clients' own. A static member that leaves with epoch -2 keeps its partitions until its session ends.

Heartbeats are worked off one after the other, the long ones in pieces (work.py). Meanwhile members may be fenced, and nothing else happens to the group.

Kept: epochs, and each member with what it has; not the target, which is what everybody has, or is made anew.
"""

from __future__ import annotations

import uuid
from collections import Counter, deque
from collections.abc import Callable, Generator
from functools import partial
from typing import Any

from entrepot.broker.calls.group_requests import ConsumerHeartbeat, ConsumerHeartbeatResult, GroupDescription
from entrepot.broker.calls.port import Ask, fail
from entrepot.broker.catalogue.quotas import MEMBERS, METADATA, Account
from entrepot.broker.groups.assignors import ASSIGNORS, DEFAULT_ASSIGNOR, Subscriber
from entrepot.broker.groups.consumer_member import STABLE, STATIC_AWAY, TOPIC_BYTES, UNREVOKED, ConsumerMember, Owners
from entrepot.broker.groups.desk import Desk, unknown_member
from entrepot.broker.groups.kept import EPOCHS, MEMBER, KeptEpochs, KeptMember, encode, group_key, partitions_kept
from entrepot.broker.groups.matched_topics import Matched
from entrepot.broker.groups.subscribed_topics import CONSUMER
from entrepot.broker.groups.topics import TopicFacts, Topics
from entrepot.broker.groups.work import Pieces, at_once
from entrepot.broker.state import DELETE, GROUP_PREFIX
from entrepot.broker.users.authorization import Action
from entrepot.broker.users.name_pattern import NamePattern
from entrepot.model.errors import NotDone, Reason, Refused
from entrepot.model.principal import Principal

PATTERNS_MAX = 32  # different expressions that the members of a group may read by
PARTITION_BYTES = 100  # what it costs to know who has a partition, and is to have it

JOIN = 0  # member epochs that say what a member wants
LEAVE = -1

_CHEAP = 8  # of the cheapest things, in a step
_PIECE = 64  # topics looked at between two looks at what they cost


class ConsumerGroup:
    """One group. Calls are answered through the desk; what is wrong with one is raised as Refused."""

    kind = "consumer"
    protocol_type = CONSUMER

    def __init__(self, desk: Desk, topics: Topics, authorizer: Any, namespace: str, name: str, account: Account, epoch: int = 0) -> None:
        self.namespace = namespace
        self.name = name
        self._desk = desk
        self._topics = topics
        self._authorizer = authorizer
        self._account = account
        self.when_unused: Callable[[ConsumerGroup], object] | None = None  # called where heartbeats were refused that would have been its first
        self._made_at = epoch
        self._shard = desk.shard(namespace, name)
        self._key = group_key(GROUP_PREFIX, namespace, name)
        # epochs
        self.epoch = epoch
        self.assignment_epoch = epoch
        self.assignor = DEFAULT_ASSIGNOR
        self.since_ms = desk.wall_ms()  # when its last member went
        # heartbeats
        self._asked: deque[tuple[Ask, ConsumerHeartbeat]] = deque()
        self._answered: tuple[Ask, ConsumerHeartbeat] | None = None  # the one at work
        self._working = False
        self._work_under_way: Pieces | None = None
        # members
        self.members: dict[str, ConsumerMember] = {}
        self._static: dict[str, str] = {}  # instance id -> member id
        self._owners = Owners()
        # topics that members read
        self._readers: Counter[frozenset[str]] = Counter()  # topics -> members that read them
        self._facts: dict[str, TopicFacts] = {}  # as the target assignment knows them
        self._known_bytes = 0  # see _count_known()
        self._matched: dict[tuple[str, str], Matched] = {}  # by expression and user
        self._topics_seen = topics.version(namespace)

    # ---- requests

    def heartbeat(self, call: Ask, request: ConsumerHeartbeat) -> None:
        """See ConsumerHeartbeat."""
        self._asked.append((call, request))
        if not self._working:
            self._working = True
            self._work_under_way = self._work()
            self._desk.work.run(self._work_under_way)
        elif request.member_id in self.members:
            self.members[request.member_id].session.put_off(self._desk.settings.consumer_session_timeout_ms)

    def _work(self) -> Pieces:
        try:
            while self._asked:
                self._answered = call, request = self._asked.popleft()
                try:
                    yield from self._answering(call, request)
                except NotDone as error:
                    fail(call, error)
                self._answered = None
        finally:
            self._working = False
        if not self.members and self.epoch == self._made_at and self.when_unused is not None:
            self.when_unused(self)

    def _answering(self, call: Ask, request: ConsumerHeartbeat) -> Pieces:
        if request.member_epoch in (LEAVE, STATIC_AWAY):
            self._leave(call, request)
            return
        self._check_room(request)
        yield from self._look_at_topics(request, call.attachment.principal)
        member = self._member_that_speaks(request)
        joins = request.member_epoch == JOIN
        told_before = member.epoch == request.member_epoch
        assigned_before = member.assigned
        changed = self._update(member, request, call.attachment.principal)
        yield from self._follow_topics()
        if self.assignment_epoch < self.epoch:
            yield from self._assign()
            changed = True
        if self.members.get(member.member_id) is not member:
            raise unknown_member(self.name, member.member_id)
        if member.advance(request.owned, self.assignment_epoch, self._owners):
            self._keep_member(member)
            changed = True
        member.session.put_off(self._desk.settings.consumer_session_timeout_ms)
        if member.state != UNREVOKED:
            member.revocation.stop()
        elif not member.revocation.is_running:
            member.revocation.put_off(member.rebalance_timeout_ms)
        whole = (
            request.owned is not None and request.rebalance_timeout_ms >= 0 and (request.subscribed_names is not None or request.subscribed_regex is not None)
        )
        tells = joins or whole or not told_before or member.assigned != assigned_before
        result = ConsumerHeartbeatResult(
            member.member_id, member.epoch, self._desk.settings.consumer_heartbeat_interval_ms, partitions_kept(member.assigned) if tells else None
        )
        if changed or tells:
            self._desk.answer_when_durable(call, result)
        else:
            self._desk.answer(call, result)

    def _leave(self, call: Ask, request: ConsumerHeartbeat) -> None:
        member = self._member(request.member_id, request.instance_id)
        if request.member_epoch == STATIC_AWAY:
            if member.instance_id is None:
                raise Refused(Reason.INVALID, f"member '{member.member_id}' of group '{self.name}' is no static one: it leaves with epoch {LEAVE}")
            self._owners.release(member, member.revoking)
            member.revoking = {}
            member.state = STABLE
            member.epoch = STATIC_AWAY
            member.revocation.stop()
            member.session.put_off(self._desk.settings.consumer_session_timeout_ms)
            self._keep_member(member)
        else:
            self._remove(member)
        self._desk.answer_when_durable(call, ConsumerHeartbeatResult(member.member_id, request.member_epoch, 0, None))

    def check_commit(self, epoch: int, member_id: str, instance_id: str | None) -> None:
        """Whether offsets may be committed so. Raises Refused."""
        if epoch < 0 and not self.members:
            return
        self.check_fetch(member_id, epoch)

    def check_fetch(self, member_id: str, epoch: int) -> None:
        """Whether a member with this epoch may ask for offsets. Raises Refused."""
        member = self.members.get(member_id)
        if member is None:
            raise unknown_member(self.name, member_id)
        if epoch != member.epoch:
            raise Refused(Reason.STALE_EPOCH, f"member '{member_id}' of group '{self.name}' is at epoch {member.epoch}, not {epoch}")

    # ---- looking at it

    @property
    def state(self) -> str:
        """In Kafka's words."""
        if not self.members:
            return "Empty"
        if self.epoch > self.assignment_epoch:
            return "Assigning"
        return "Stable" if all(member.is_settled(self.assignment_epoch) for member in self.members.values()) else "Reconciling"

    @property
    def is_empty(self) -> bool:
        """No members, and nobody who may be about to become one."""
        return not self.members and not self._working

    def reads(self, topic: str) -> bool:
        """Whether its members read `topic`."""
        return any(topic in topics for topics in self._readers)

    def describe(self) -> GroupDescription:
        """See DescribeGroup."""
        members = [member.describe() for member in self.members.values()]
        return GroupDescription(self.name, self.kind, self.state, CONSUMER, "", members, self.epoch, self.assignment_epoch, self.assignor)

    def close(self, gone: NotDone) -> None:
        """Its shard closes: nothing is done here any more, and who waits is told."""
        self.when_unused = None
        asked, self._asked = self._asked, deque()
        if self._answered is not None:
            asked.appendleft(self._answered)
        if self._working and self._work_under_way is not None:
            self._work_under_way.close()
        for call, _ in asked:
            fail(call, gone)
        for member in self.members.values():
            member.session.stop()
            member.revocation.stop()

    def drop(self) -> None:
        """It is deleted while it is empty, or becomes a group of the other kind."""
        self._desk.store.fold(self._shard, self._key + EPOCHS, DELETE)

    forget = drop

    # ---- who speaks

    def _member(self, member_id: str, instance_id: str | None) -> ConsumerMember:
        """The member of that id. Raises Refused."""
        if instance_id is not None:
            known = self._static.get(instance_id)
            if known is None:
                raise unknown_member(self.name, member_id)
            if known != member_id:
                raise Refused(Reason.FENCED_INSTANCE, f"instance '{instance_id}' of group '{self.name}' is another member now")
        member = self.members.get(member_id)
        if member is None:
            raise unknown_member(self.name, member_id)
        return member

    def _member_that_speaks(self, request: ConsumerHeartbeat) -> ConsumerMember:
        """The member, made if it joins. Raises Refused."""
        if request.member_epoch == JOIN:
            return self._member_that_joins(request)
        member = self._member(request.member_id, request.instance_id)
        if request.member_epoch != member.epoch:
            # The answer that told it of its epoch may have been lost: then it says what it said before.
            lost = request.member_epoch == member.previous_epoch and request.owned is not None and member.has_no_more_than_assigned(request.owned)
            if request.member_epoch > member.epoch or not lost:
                raise Refused(
                    Reason.FENCED_MEMBER,
                    f"member '{member.member_id}' of group '{self.name}' is at epoch {member.epoch}, not {request.member_epoch}: give up all, and join",
                )
        return member

    def _member_that_joins(self, request: ConsumerHeartbeat) -> ConsumerMember:
        instance_id = request.instance_id
        known = self.members.get(self._static.get(instance_id, "") if instance_id is not None else request.member_id)
        if known is not None and known.member_id == request.member_id and known.instance_id == instance_id:
            if known.epoch == STATIC_AWAY:
                known.epoch = JOIN
            return known
        if instance_id is not None and known is not None and known.epoch != STATIC_AWAY:
            raise Refused(Reason.UNRELEASED_INSTANCE, f"instance '{instance_id}' of group '{self.name}' is a member that has not left")
        member_id = request.member_id or str(uuid.UUID(bytes=self._desk.entropy.octets(16), version=4))
        if member_id in self.members:
            raise Refused(Reason.INVALID, f"member '{member_id}' of group '{self.name}' has another instance id")
        if known is None:
            most = self._desk.settings.members_max
            if len(self.members) >= most:
                raise Refused(Reason.LIMIT, f"group '{self.name}' has {most} members, as many as it may")
            self._account.check({MEMBERS: 1})
        member = self._made(member_id, instance_id)
        if known is not None:
            self._replace(known, member)
        else:
            self._grow()
        self.members[member_id] = member
        self._account.count({MEMBERS: 1, METADATA: member.size()})
        return member

    def _check_room(self, request: ConsumerHeartbeat) -> None:
        """Whether there is room for what the member says of itself. Raises Refused."""
        if request.subscribed_names is None and not request.subscribed_regex:
            return
        known = self.members.get(request.member_id)
        ids = (request.member_id, request.instance_id or "", request.rack_id or "", request.client_id, request.client_host)
        size = sum(map(len, request.subscribed_names or ())) + len(request.subscribed_regex or "") + sum(map(len, ids))
        self._account.check({METADATA: size - (0 if known is None else known.size())})
        if request.subscribed_regex:
            used = {member.subscribed_regex for member in self.members.values()} - {None, request.subscribed_regex}
            if len(used) >= PATTERNS_MAX:
                raise Refused(Reason.LIMIT, f"the members of group '{self.name}' read by {len(used)} different expressions, as many as they may")

    def _made(self, member_id: str, instance_id: str | None) -> ConsumerMember:
        if instance_id is not None:
            self._static[instance_id] = member_id
        fence = partial(self._fence, member_id)
        return ConsumerMember(member_id, instance_id, self._desk.deadline(fence), self._desk.deadline(fence))

    def _replace(self, old: ConsumerMember, member: ConsumerMember) -> None:
        """A static member is back under another id; nothing changes for the others."""
        self._forget_member(old)
        member.take_over(old)
        self._owners.release(old, old.assigned)
        self._owners.set(member, member.assigned)

    # ---- members

    def _update(self, member: ConsumerMember, request: ConsumerHeartbeat, principal: Principal) -> bool:
        """What the member says of itself now; whether anything of it is new."""
        says_nothing = request.subscribed_names is None and request.subscribed_regex is None and request.rack_id is None and request.assignor is None
        if says_nothing and request.member_epoch != JOIN and request.rebalance_timeout_ms < 0:
            return False  # as nearly every heartbeat
        before = member.kept()
        size = member.size()
        if request.member_epoch == JOIN:
            member.client_id, member.client_host, member.principal = request.client_id, request.client_host, principal.name
            member.instance_id = request.instance_id
            member.rack_id, member.assignor = request.rack_id, request.assignor
        if request.rack_id is not None:
            member.rack_id = request.rack_id
        if request.assignor is not None:
            member.assignor = request.assignor
        if request.rebalance_timeout_ms >= 0:
            member.rebalance_timeout_ms = request.rebalance_timeout_ms
        if request.subscribed_names is not None:
            member.subscribed_names = sorted(set(request.subscribed_names))
        if request.subscribed_regex is not None:
            member.subscribed_regex = request.subscribed_regex or None
        now = member.kept()
        self._account.count({METADATA: member.size() - size})
        if before == now and member.epoch != JOIN:
            return False
        if (before.subscribed_names, before.subscribed_regex, before.assignor) != (now.subscribed_names, now.subscribed_regex, now.assignor):
            self._grow()
        self._read(member)
        self._keep_member(member)
        return True

    def _remove(self, member: ConsumerMember) -> None:
        """It is no member any more, and what it had is free."""
        self._forget_member(member)
        self._owners.release(member, member.assigned)
        self._owners.release(member, member.revoking)
        self._grow()
        if not self.members:
            self.since_ms = self._desk.wall_ms()
            self.assignment_epoch = self.epoch
            self._matched.clear()
            self._count_known()
        self._keep_epochs()

    def _forget_member(self, member: ConsumerMember) -> None:
        del self.members[member.member_id]
        self._account.count({MEMBERS: -1, METADATA: -member.size()})
        if member.instance_id is not None and self._static.get(member.instance_id) == member.member_id:
            del self._static[member.instance_id]
        self._count_readers(member.topics, -1)
        member.session.stop()
        member.revocation.stop()
        self._desk.store.fold(self._shard, self._member_key(member), DELETE)

    def _fence(self, member_id: str) -> None:
        """Its session is over, or it does not give up what it is to."""
        self._remove(self.members[member_id])

    def _grow(self) -> None:
        """A new target is due."""
        if self.epoch == self.assignment_epoch:
            self.epoch += 1

    # ---- topics

    def _matched_by(self, text: str, user: str) -> Matched:
        matched = self._matched.get((text, user))
        if matched is None:
            if len(self._matched) > len(self.members):
                self._matched.clear()
            matched = self._matched[text, user] = Matched(text)
        return matched

    def _may_read(self, user: str) -> Callable[[str], bool]:
        principal = Principal(user)
        return lambda name: self._authorizer.may(principal, Action.READ, self.namespace, name)

    def _matching(self, text: str, user: str) -> frozenset[str]:
        """The topics that an expression means, of those that the user may read."""
        return self._matched_by(text, user).among(self._topics.names(self.namespace), self._may_read(user), self._authorizer.version)

    def _read(self, member: ConsumerMember) -> None:
        """Find out which topics the member reads."""
        topics = frozenset(member.subscribed_names)
        own = 0
        if member.subscribed_regex is not None:
            matching = self._matching(member.subscribed_regex, member.principal)
            own = len(topics | matching) if topics else 0
            topics = topics | matching if topics else matching  # all who give the same expression have the same object
        self._account.count({METADATA: TOPIC_BYTES * (own - member.own_topics)})
        member.own_topics = own
        self._count_readers(member.topics, -1)
        member.topics = topics
        self._count_readers(member.topics, 1)

    def _count_readers(self, topics: frozenset[str], change: int) -> None:
        self._readers[topics] += change
        if self._readers[topics] <= 0:
            del self._readers[topics]

    def _look_at_topics(self, request: ConsumerHeartbeat, principal: Principal) -> Pieces:
        """Look at the topics that expressions may mean, so that it is known when it is asked for."""
        wanted: dict[tuple[str, str], None] = {}
        member = self.members.get(request.member_id)
        text = request.subscribed_regex or (None if member is None else member.subscribed_regex)
        if text and (request.subscribed_regex or request.member_epoch == JOIN):
            wanted[text, principal.name if member is None or request.member_epoch == JOIN else member.principal] = None
        if self._topics.version(self.namespace) != self._topics_seen:
            wanted.update(((one.subscribed_regex, one.principal), None) for one in self.members.values() if one.subscribed_regex is not None)
        for text, user in wanted:
            yield from self._matched_by(text, user).looking(self._topics.names(self.namespace), self._may_read(user), self._authorizer.version)

    def _follow_topics(self) -> Pieces:
        """If topics were made, deleted or have more partitions since the last heartbeat, and members read them, a new target is due."""
        version = self._topics.version(self.namespace)
        if version == self._topics_seen:
            return
        self._topics_seen = version
        for member in list(self.members.values()):
            if member.subscribed_regex is not None and member.member_id in self.members:
                self._read(member)
                yield 1 + (len(member.topics) // _CHEAP if member.subscribed_names else 0)
        if (yield from self._known_topics()) != self._facts:
            self._grow()

    def _known_topics(self) -> Generator[int, None, dict[str, TopicFacts]]:
        known: dict[str, TopicFacts] = {}
        for topics in list(self._readers):
            names = list(topics)
            for at in range(0, len(names), _PIECE):
                for name in names[at : at + _PIECE]:
                    if name not in known and (facts := self._topics.find(self.namespace, name)) is not None:
                        known[name] = facts
                yield _PIECE // 2
        return known

    # ---- the target

    def _assign(self) -> Pieces:
        """Make the target assignment of this epoch. If members go meanwhile, another one is due."""
        epoch = self.epoch
        self._facts = yield from self._known_topics()
        ids = {name: facts.id for name, facts in self._facts.items()}
        known: dict[frozenset[str], frozenset[bytes]] = {}
        subscribers = []
        for member in list(self.members.values()):
            topics = known.get(member.topics)
            if topics is None:
                topics = known[member.topics] = frozenset(ids[name] for name in member.topics if name in ids)
                yield 1 + len(topics) // _CHEAP
            subscribers.append(Subscriber(member.member_id, member.instance_id or member.member_id, topics, member.target))
        wanted = Counter(member.assignor for member in self.members.values() if member.assignor is not None)
        self.assignor = wanted.most_common(1)[0][0] if wanted else DEFAULT_ASSIGNOR
        targets = yield from ASSIGNORS[self.assignor](subscribers, {facts.id: facts.partition_count for facts in self._facts.values()})
        if not self.members:
            return
        for member_id, target in targets.items():
            if member_id in self.members:
                self.members[member_id].target = target
        self._count_known()
        self.assignment_epoch = epoch
        if len(targets) > len(self.members):
            self._grow()
        self._desk.rebalance_count += 1
        self._keep_epochs()

    def _count_known(self) -> None:
        """What the group knows of topics and who has them; it is only counted: what a member asks for next is refused where that was too much."""
        topics = sum(map(len, self._readers)) + sum(len(matched.topics) for matched in self._matched.values())
        partitions = sum(facts.partition_count for facts in self._facts.values()) if self.members else 0
        change = TOPIC_BYTES * topics + PARTITION_BYTES * partitions - self._known_bytes
        self._known_bytes += change
        self._account.count({METADATA: change})

    # ---- what is kept

    def _member_key(self, member: ConsumerMember) -> bytes:
        return self._key + MEMBER + member.member_id.encode()

    def _keep_member(self, member: ConsumerMember) -> None:
        self._desk.store.fold(self._shard, self._member_key(member), encode(member.kept()))

    def _keep_epochs(self) -> None:
        self._desk.store.fold(self._shard, self._key + EPOCHS, encode(KeptEpochs(self.epoch, self.assignment_epoch, 0 if self.members else self.since_ms)))

    def restore_epochs(self, kept: KeptEpochs) -> None:
        """As it was kept."""
        self.epoch, self.assignment_epoch = kept.epoch, kept.assignment_epoch
        self.since_ms = kept.since_ms or self.since_ms

    def restore_member(self, member_id: str, kept: KeptMember) -> None:
        """As it was kept; its session starts again."""
        member = self.members[member_id] = self._made(member_id, kept.instance_id)
        member.restore(kept)
        self._account.count({MEMBERS: 1, METADATA: member.size()})
        self._owners.set(member, member.assigned)
        self._owners.set(member, member.revoking)
        member.session.put_off(self._desk.settings.consumer_session_timeout_ms)
        if member.state == UNREVOKED:
            member.revocation.put_off(member.rebalance_timeout_ms)

    def restored(self) -> None:
        """Everything kept has been taken in: the target is what everybody has, or is made anew with the next heartbeat."""
        for member in self.members.values():
            self._read(member)
        self._facts = at_once(self._known_topics())
        had: Counter[bytes] = Counter()
        for member in self.members.values():
            for topic, partitions in member.assigned.items():
                had[topic] += len(partitions)
        self._count_known()
        if had != Counter({facts.id: facts.partition_count for facts in self._facts.values()}):
            self._grow()  # topics have changed, and no heartbeat came since
        if not all(member.state == STABLE and member.epoch == self.assignment_epoch for member in self.members.values()):
            self._grow()


def check_heartbeat(request: ConsumerHeartbeat) -> None:
    """What a heartbeat must say, whoever sends it. Raises Refused."""
    joins = request.member_epoch == JOIN
    if request.member_epoch < STATIC_AWAY:
        wrong = f"member epoch {request.member_epoch}"
    elif joins and request.rebalance_timeout_ms < 0:
        wrong = "no rebalance timeout"
    elif joins and request.owned != {}:
        wrong = "partitions that it has already"
    elif joins and request.subscribed_names is None and not request.subscribed_regex:
        wrong = "no topics to read"
    elif not joins and not request.member_id:
        wrong = "no member id"
    elif request.instance_id == "" or request.rack_id == "":
        wrong = "an empty instance or rack id"
    else:
        if request.assignor is not None and request.assignor not in ASSIGNORS:
            raise Refused(Reason.UNSUPPORTED_ASSIGNOR, f"there is no assignor '{request.assignor}'; there are: {', '.join(ASSIGNORS)}")
        if request.subscribed_regex:
            NamePattern(request.subscribed_regex)
        return
    raise Refused(Reason.INVALID, f"a heartbeat {'that joins' if joins else 'of a member of'} group '{request.group}' gives {wrong}")
